"""Regions painted into a labels image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from polystore.components import Value
from polystore.errors import RoiError
from polystore.labels._runs import Planes
from polystore.rois import ROI
from polystore.rois._raster import pixel_box

__all__ = ["rois_to_labels"]

Overlap = Literal["later", "earlier", "refuse"]


def rois_to_labels(
    rois: Iterable[ROI],
    shape: Sequence[int],
    *,
    axes: str | None = None,
    values: Mapping[str, Sequence[Value]] | None = None,
    dtype: DTypeLike | None = None,
    overlap: Overlap = "later",
) -> NDArray[Any]:
    """The labels image of that shape in which each region's pixels have its label.

    A region's label is its property ``label``; those without one get the numbers that follow the largest.
    A region is painted into the plane of its place, into every plane along an axis it leaves open.

    Parameters
    ----------
    rois
        In the order in which they are painted.
    shape
        Of the image (..., y, x); what of a region lies outside y and x is cut off.
    axes, values
        As in `labels_to_rois`.
    dtype
        By default the smallest of uint16, uint32 and uint64 that holds every label.
    overlap
        Who gets a pixel that two want: the ``"later"``, the ``"earlier"``, or ``"refuse"``.

    Raises
    ------
    RoiError
        A label below 1 or too large for the dtype, a place that is not in the image, an overlap to refuse.
    """
    if overlap not in ("later", "earlier", "refuse"):
        raise RoiError(f"overlap={overlap!r} is not known (known: later, earlier, refuse)")
    size = tuple(int(length) for length in shape)
    planes = Planes.of(size, axes, values)
    painted = list(rois)
    labels = _labels(painted)
    kind = _dtype(dtype, max(labels, default=0))
    out = np.zeros(size, kind)
    for roi, label in zip(painted, labels, strict=True):
        top, left, height, width = pixel_box(roi.bounds)
        bottom, right = min(top + height, size[-2]), min(left + width, size[-1])
        top, left = max(top, 0), max(left, 0)
        where = planes.indices(roi.place)
        if top >= bottom or left >= right:
            continue
        mask = roi.to_mask((bottom - top, right - left), (top, left))
        for index in where:
            window = out[index][top:bottom, left:right]
            if overlap != "later":
                taken = mask & (window != 0) & (window != label)
                if overlap == "refuse" and taken.any():
                    raise RoiError(
                        f"label {label} lies over label {int(window[taken][0])}; overlap='later' or 'earlier' "
                        "decides who gets such pixels"
                    )
                window[mask & ~taken] = label
            else:
                window[mask] = label
    return out


def _labels(rois: Sequence[ROI]) -> list[int]:
    given = [roi.properties.get("label") for roi in rois]
    for label in given:
        if label is not None and (isinstance(label, bool) or not isinstance(label, int) or label < 1):
            raise RoiError(f"property label = {label!r}: labels are whole numbers from 1; 0 is background")
    following = max((label for label in given if isinstance(label, int)), default=0)
    found = []
    for label in given:
        if not isinstance(label, int):
            label = following = following + 1
        found.append(label)
    return found


def _dtype(dtype: DTypeLike | None, largest: int) -> np.dtype[Any]:
    if dtype is None:
        for name in ("uint16", "uint32", "uint64"):
            if largest <= np.iinfo(name).max:
                return np.dtype(name)
        raise RoiError(f"label {largest} is larger than uint64 holds; relabel first")
    kind = np.dtype(dtype)
    if kind.kind not in "ui" or largest > np.iinfo(kind).max:
        raise RoiError(f"label {largest} does not fit {kind}: choose a larger integer dtype")
    return kind
