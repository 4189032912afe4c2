"""Labels images with other labels: merged, or numbered without gaps."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polystore.errors import RoiError
from polystore.labels._runs import checked_labels, runs_of

__all__ = ["merge_labels", "relabel_sequential"]


def relabel_sequential(labels: Any, start: int = 1) -> tuple[NDArray[Any], NDArray[Any]]:
    """The image with its labels numbered without gaps, in the same order, and the old label of each new one.

    Returns
    -------
    relabelled, old
        A new image in the smallest of uint16, uint32 and uint64 that holds every label; ``old[i]`` was the
        label of what is ``start + i`` now.

    Raises
    ------
    UnsupportedArrayError, RoiError
        The labels are not labels, or ``start`` is less than 1.
    """
    if start < 1:
        raise RoiError(f"start={start}: labels count from 1; 0 is background")
    array = checked_labels(labels)
    runs = runs_of(array)
    old, group = np.unique(runs.values, return_inverse=True)
    background = int(old.size > 0 and old[0] == 0)
    new = np.arange(old.size) + (start - background)
    new[:background] = 0
    largest = int(new[-1]) if new.size else 0
    dtype = next(name for name in ("uint16", "uint32", "uint64") if largest <= np.iinfo(name).max)
    image = np.repeat(new.astype(dtype)[group], runs.lengths).reshape(array.shape)
    kept = old[background:]
    return image, kept.astype(np.uint8) if kept.dtype.kind == "b" else kept


def merge_labels(labels: Any, groups: Iterable[Iterable[int]]) -> NDArray[Any]:
    """The image with the labels of each group made one: the smallest of the group. A new array.

    Raises
    ------
    UnsupportedArrayError, RoiError
        The labels are not labels; a label that is in two groups, or in a group and not in the image.
    """
    array = checked_labels(labels)
    runs = runs_of(array)
    present, group = np.unique(runs.values, return_inverse=True)
    places = {int(label): index for index, label in enumerate(present.tolist()) if label}
    new = present.copy()
    merged: set[int] = set()
    for each in groups:
        members = sorted({int(label) for label in each})
        for label in members:
            if label not in places:
                raise RoiError(f"label {label} is not in the image, so it cannot be merged")
            if label in merged:
                raise RoiError(f"label {label} is in two groups: put both groups into one")
            merged.add(label)
            new[places[label]] = members[0]
    return np.repeat(new[group], runs.lengths).reshape(array.shape)
