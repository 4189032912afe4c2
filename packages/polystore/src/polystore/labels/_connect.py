"""Connected areas, numbered: from a mask to objects."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polystore.labels._runs import Runs, checked_labels, runs_of

__all__ = ["label_connected"]


def label_connected(image: Any, *, corners: bool = False) -> NDArray[Any]:
    """The image with every connected area of equal pixels numbered, from 1 in reading order; 0 stays 0.

    A mask becomes objects; an object of a labels image that is in several parts becomes several.

    Parameters
    ----------
    image
        A mask, or labels, of two dimensions or more. Neighbouring planes are connected.
    corners
        Whether pixels that only touch at a corner (or, between planes, an edge) are connected.

    Returns
    -------
    array
        New, in the smallest of uint16, uint32 and uint64 that holds every number.

    Raises
    ------
    UnsupportedArrayError, RoiError
        Not whole numbers, or negative ones.
    """
    array = checked_labels(image)
    every = runs_of(array)
    first, second = _neighbours(every.objects(), array.shape, corners)
    roots = _roots(int(np.count_nonzero(every.values)), first, second)
    numbers = np.unique(roots, return_inverse=True)[1] + 1
    largest = int(numbers.max(initial=0))
    dtype = next(name for name in ("uint16", "uint32", "uint64") if largest <= np.iinfo(name).max)
    values = np.zeros(len(every.values), dtype)
    values[every.values != 0] = numbers
    return np.repeat(values, every.lengths).reshape(array.shape)


def _neighbours(
    runs: Runs, shape: tuple[int, ...], corners: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of runs of one value in neighbouring rows that touch."""
    columns, rows = runs.columns, runs.rows
    # Rows one after the other with a gap between them, so that a run is an interval and touching a search.
    stride, reach = runs.width + 2, int(corners)
    starts = rows * stride + columns + 1
    ends = starts + runs.lengths
    places = np.array(np.unravel_index(rows, shape[:-1])).reshape(len(shape) - 1, -1)
    firsts, seconds = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for offset in _offsets(len(shape) - 1, corners):
        moved = places + np.array(offset)[:, None]
        inside = np.flatnonzero(((moved >= 0) & (moved < np.array(shape[:-1])[:, None])).all(axis=0))
        shift = (np.ravel_multi_index(tuple(moved[:, inside]), shape[:-1]) - rows[inside]) * stride
        low = np.searchsorted(ends, starts[inside] + shift - reach, side="right")
        counts = np.maximum(np.searchsorted(starts, ends[inside] + shift + reach, side="left") - low, 0)
        first = np.repeat(inside, counts)
        second = np.repeat(low - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
        equal = runs.values[first] == runs.values[second]
        firsts.append(first[equal])
        seconds.append(second[equal])
    return np.concatenate(firsts), np.concatenate(seconds)


def _offsets(axes: int, corners: bool) -> Iterator[tuple[int, ...]]:
    """Steps to the neighbouring rows that come later: along one axis, or also along several."""
    for offset in product((-1, 0, 1), repeat=axes):
        if offset > (0,) * axes and (corners or sum(map(abs, offset)) == 1):
            yield offset


def _roots(count: int, first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each of so many, the first of all it is connected to by pairs."""
    roots = np.arange(count)
    while True:
        one, other = roots[first], roots[second]
        apart = one != other
        if not apart.any():
            return roots
        first, second, one, other = first[apart], second[apart], one[apart], other[apart]
        np.minimum.at(roots, np.maximum(one, other), np.minimum(one, other))
        while not np.array_equal(nearer := roots[roots], roots):
            roots = nearer
