"""Areas, centres, boxes and intensities of the objects of a labels image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polystore.errors import RoiError
from polystore.labels._runs import Planes, checked_labels, runs_of
from polystore.payload.arrays import as_host_array
from polystore.rois import Property

__all__ = ["LabelTable", "measure_labels"]


@dataclass(frozen=True, slots=True)
class LabelTable:
    """What was measured of each object, sorted by label. An object is all pixels of its label.

    Parameters
    ----------
    axes
        A letter for each axis of the image.
    labels, areas
        Label and number of pixels of each object (N,).
    centroids
        Centre of mass in pixels (N, axes).
    lows, highs
        First and last pixel along each axis (N, axes), both in the object.
    means, minima, maxima
        Of the intensities in the object (N,); None when there was no image.
    """

    axes: str
    labels: NDArray[Any]
    areas: NDArray[np.int64]
    centroids: NDArray[np.float64]
    lows: NDArray[np.int64]
    highs: NDArray[np.int64]
    means: NDArray[np.float64] | None = None
    minima: NDArray[Any] | None = None
    maxima: NDArray[Any] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self) -> list[dict[str, Property]]:
        """A dict for each object, for a table (``fm.save(table.rows(), "cells.csv", ...)``)."""
        columns: dict[str, NDArray[Any]] = {"label": self.labels, "area": self.areas}
        for index, axis in enumerate(self.axes):
            columns[f"centroid_{axis}"] = self.centroids[:, index]
        for index, axis in enumerate(self.axes):
            columns[f"min_{axis}"], columns[f"max_{axis}"] = self.lows[:, index], self.highs[:, index]
        for name, values in (("mean", self.means), ("min", self.minima), ("max", self.maxima)):
            if values is not None:
                columns[f"intensity_{name}"] = values
        lists = [values.tolist() for values in columns.values()]
        return [dict(zip(columns, row, strict=True)) for row in zip(*lists, strict=True)]


def measure_labels(labels: Any, image: Any = None, *, axes: str | None = None) -> LabelTable:
    """Area, centre and box of each object, and the intensities in it where an image of that shape is given.

    Parameters
    ----------
    labels
        Integers (..., y, x), 0 is background.
    image
        Intensities, of the same shape.
    axes
        A letter for each axis; by default ``"yx"``, ``"zyx"``, ``"tzyx"``, ``"tczyx"``.

    Raises
    ------
    UnsupportedArrayError, RoiError
        The labels are not labels, or the image has another shape.
    """
    array = checked_labels(labels)
    names = Planes.of(array.shape, axes, None).axes
    every = runs_of(array)
    inside = np.flatnonzero(every.values)
    runs = every.objects()
    values, group = np.unique(runs.values, return_inverse=True)
    count, dimensions = len(values), array.ndim
    order = np.argsort(group, kind="stable")
    firsts = np.searchsorted(group[order], np.arange(count))
    areas = _sums(runs.lengths, group, count)
    places = np.unravel_index(runs.starts, array.shape) if array.size else ()
    centroids = np.zeros((count, dimensions))
    lows, highs = np.zeros((count, dimensions), np.int64), np.zeros((count, dimensions), np.int64)
    for axis in range(dimensions if count else 0):
        along = places[axis]
        last = along + runs.lengths - 1 if axis == dimensions - 1 else along
        centroids[:, axis] = _sums((along + last) / 2 * runs.lengths, group, count) / areas
        lows[:, axis] = np.minimum.reduceat(along[order], firsts)
        highs[:, axis] = np.maximum.reduceat(last[order], firsts)
    shown = values.astype(np.uint8) if values.dtype.kind == "b" else values
    table = (names, shown, areas.astype(np.int64), centroids, lows, highs)
    if image is None:
        return LabelTable(*table)
    pixels = as_host_array(image)
    if pixels.shape != array.shape or pixels.dtype.kind not in "uibf":
        raise RoiError(
            f"intensities {pixels.dtype} of shape {pixels.shape} for labels of shape {array.shape}: "
            "give real numbers of the same shape"
        )
    if not count:
        nothing = np.zeros(0)
        return LabelTable(*table, nothing, nothing, nothing)
    flat = pixels.reshape(-1)
    sums = np.add.reduceat(flat, every.starts, dtype=np.float64)[inside]
    low, high = (reduce.reduceat(flat, every.starts)[inside] for reduce in (np.minimum, np.maximum))
    return LabelTable(
        *table,
        _sums(sums, group, count) / areas,
        np.minimum.reduceat(low[order], firsts),
        np.maximum.reduceat(high[order], firsts),
    )


def _sums(values: NDArray[Any], group: NDArray[Any], count: int) -> NDArray[np.float64]:
    return np.bincount(group, weights=values, minlength=count).astype(np.float64)
