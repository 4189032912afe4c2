"""Regions of a labels image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polystore.components import ImageKey, Value
from polystore.errors import RoiError
from polystore.labels._runs import Planes, Runs, checked_labels, runs_of
from polystore.rois import ROI, Property, RoiKind
from polystore.rois._trace import trace

__all__ = ["labels_to_rois"]

MAX_MASKS_PIXELS = 1 << 32
"""Most pixels all masks of a call may take: objects strewn over an image have boxes as large as it."""


def labels_to_rois(
    labels: Any,
    *,
    kind: RoiKind | str = RoiKind.POLYGON,
    axes: str | None = None,
    values: Mapping[str, Sequence[Value]] | None = None,
    place: ImageKey | None = None,
    properties: Mapping[int, Mapping[str, Property]] | None = None,
) -> list[ROI]:
    """One region for each label and plane it is in, plane by plane, sorted by label.

    ImageJ, OMERO, QuPath and napari all draw regions in one plane. An object in several has the same
    property ``label`` in each; `roi.place` says which plane it is.

    Parameters
    ----------
    labels
        Integers (..., y, x), 0 is background; bool is one object.
    kind
        ``"polygon"``: its outlines along the edges of its pixels, holes and further parts as ``rings``, so that
        filling them gives exactly its pixels; ``"mask"``: the pixels; ``"rectangle"``: the box around
        its pixels; ``"point"``: their centre of mass.
    axes
        A letter for each axis; by default ``"yx"``, ``"zyx"``, ``"tzyx"``, ``"tczyx"``.
    values
        For axes whose planes do not count 1, 2, 3 ...: ``{"c": ["DAPI", "GFP"]}``.
    place
        What all have in common: ``ImageKey(well="A01", field=1)``.
    properties
        More to be known of each label, beside ``label`` and ``area`` (in pixels, in this plane).

    Raises
    ------
    UnsupportedArrayError, RoiError
        The labels are not labels, or a region would be larger than any may be.
    """
    array = checked_labels(labels)
    try:
        wanted = RoiKind(kind)
    except ValueError:
        wanted = RoiKind.POLYLINE
    if wanted not in _SHAPES:
        raise RoiError(f"regions of labels cannot be of kind {kind!r} (known: {', '.join(_SHAPES)})")
    planes = Planes.of(array.shape, axes, values)
    known = properties or {}
    rois: list[ROI] = []
    height, width = array.shape[-2:]
    if not array.size:
        return rois
    for plane, key in zip(array.reshape(-1, height, width), planes.keys(place or ImageKey()), strict=True):
        runs = runs_of(plane).objects()
        found, group = np.unique(runs.values, return_inverse=True)
        areas = np.bincount(group, weights=runs.lengths, minlength=len(found)).astype(np.int64)
        shapes = _SHAPES[wanted](plane, runs, group, areas)
        for label, area, shape in zip(found.tolist(), areas.tolist(), shapes, strict=True):
            label = int(label)  # of bool images, True
            rois.append(_region(wanted, shape, {"label": label, "area": area, **known.get(label, {})}, key))
    return rois


def _region(kind: RoiKind, shape: tuple[Any, ...], properties: Mapping[str, Property], key: ImageKey) -> ROI:
    points, mask, rings = shape
    try:
        return ROI(kind, points, properties, mask, rings, key)
    except RoiError as exc:
        raise RoiError(
            f"label {properties['label']}: {exc}; is every object one label? kind='mask' or 'rectangle' "
            "takes any shape"
        ) from exc


def _polygons(
    plane: NDArray[Any], runs: Runs, group: NDArray[Any], areas: NDArray[Any]
) -> Iterator[tuple[Any, ...]]:
    rings = trace(plane)
    edges = np.flatnonzero(np.concatenate([[True], rings.labels[1:] != rings.labels[:-1], [True]])).tolist()
    outlines = rings.split()
    for low, high in pairwise(edges) if len(rings.labels) else ():
        yield outlines[low], None, tuple(outlines[low + 1 : high])


def _masks(
    plane: NDArray[Any], runs: Runs, group: NDArray[Any], areas: NDArray[Any]
) -> Iterator[tuple[Any, ...]]:
    order, firsts, boxes = _boxes(runs, group, len(areas))
    sizes = boxes[:, 1] - boxes[:, 0] + 1
    total = int((sizes[:, 0] * sizes[:, 1]).sum())
    if total > MAX_MASKS_PIXELS:
        raise RoiError(
            f"masks of {len(areas)} labels would take {total} pixels, at most {MAX_MASKS_PIXELS}: their boxes "
            "overlap widely; is every object one label? kind='polygon' takes less"
        )
    rows, columns, lengths = (
        runs.rows[order].tolist(),
        runs.columns[order].tolist(),
        runs.lengths[order].tolist(),
    )
    bounds = [*firsts.tolist(), len(order)]
    for index, ((top, left), (bottom, right)) in enumerate(boxes.tolist()):
        mask = np.zeros((bottom - top + 1, right - left + 1), bool)
        for run in range(bounds[index], bounds[index + 1]):
            start = columns[run] - left
            mask[rows[run] - top, start : start + lengths[run]] = True
        yield [[top, left]], mask, ()


def _rectangles(
    plane: NDArray[Any], runs: Runs, group: NDArray[Any], areas: NDArray[Any]
) -> Iterator[tuple[Any, ...]]:
    boxes = _boxes(runs, group, len(areas))[2] + np.array([[-0.5], [0.5]])
    for box in boxes:
        yield box, None, ()


def _centres(
    plane: NDArray[Any], runs: Runs, group: NDArray[Any], areas: NDArray[Any]
) -> Iterator[tuple[Any, ...]]:
    y = np.bincount(group, weights=runs.rows * runs.lengths, minlength=len(areas)) / areas
    middles = runs.columns + (runs.lengths - 1) / 2
    x = np.bincount(group, weights=middles * runs.lengths, minlength=len(areas)) / areas
    for centre in np.stack([y, x], axis=1):
        yield [centre], None, ()


def _boxes(runs: Runs, group: NDArray[Any], count: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """The runs sorted by label, where each label starts among them, and first and last pixel of each label."""
    order = np.argsort(group, kind="stable")
    firsts = np.searchsorted(group[order], np.arange(count))
    if not count:
        return order, firsts, np.zeros((0, 2, 2), np.int64)
    rows, columns = runs.rows[order], runs.columns[order]
    last = columns + runs.lengths[order] - 1
    low = [np.minimum.reduceat(rows, firsts), np.minimum.reduceat(columns, firsts)]
    high = [np.maximum.reduceat(rows, firsts), np.maximum.reduceat(last, firsts)]
    return order, firsts, np.stack([np.stack(low, axis=1), np.stack(high, axis=1)], axis=1)


_SHAPES = {
    RoiKind.POLYGON: _polygons,
    RoiKind.MASK: _masks,
    RoiKind.RECTANGLE: _rectangles,
    RoiKind.POINT: _centres,
}
