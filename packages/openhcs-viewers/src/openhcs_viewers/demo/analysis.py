"""The demo's image analysis: background subtraction and cell counting, on the CPU with `scipy.ndimage` alone.

`cell_counting_cpu` saves through whatever `FileManager` and backend it is given, so the same function serves a folder,
a Zarr store or an image server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from openhcs_viewers.demo._segment import split, stands_out, threshold, typical_radius

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from polystore.filemanager import FileManager

BACKGROUND_RADIUS = 64
"""Structures narrower than about twice this many pixels are kept; anything wider is background."""

_SHRINK = 8  # the background is smooth: it is found on an image 64 times smaller, in a fraction of the time


def subtract_background(image: NDArray[Any], radius: int = BACKGROUND_RADIUS) -> NDArray[Any]:
    """Return the image without what is wide and smooth: uneven light, haze, camera offset.

    The background is the lower envelope of the image (a grey opening wider than the objects, then smoothed), as a
    ball rolled along the underside of the surface would find it.

    Parameters
    ----------
    image
        One plane, (y, x), of any real dtype.
    radius
        Of the ball, in pixels; larger than the objects to keep.

    Returns
    -------
    ndarray
        New array of the same shape and dtype, nothing below 0.
    """
    from scipy import ndimage

    height, width = image.shape
    small = _block_means(image, _SHRINK)
    reach = max(3, 2 * radius // _SHRINK + 1)
    floor = ndimage.grey_opening(small, size=(reach, reach), mode="nearest")
    floor = ndimage.gaussian_filter(floor, radius / _SHRINK / 2, mode="nearest")
    rows = (np.arange(height) + 0.5) / _SHRINK - 0.5
    columns = (np.arange(width) + 0.5) / _SHRINK - 0.5
    background = _bilinear(floor, rows, columns)
    difference = np.clip(image.astype(np.float32) - background, 0.0, None)
    if np.issubdtype(image.dtype, np.integer):
        limits = np.iinfo(image.dtype)
        difference = np.clip(np.rint(difference), limits.min, limits.max)
    subtracted: NDArray[Any] = difference.astype(image.dtype)
    return subtracted


def label_cells(
    image: NDArray[Any], *, sigma: float = 1.0, min_area: int | None = None
) -> NDArray[np.uint16]:
    """Return an image in which every cell has a number of its own, from 1; 0 is background.

    Smooth, threshold (Otsu, but never within the noise), and cut touching cells apart where a blob detector sees two.
    The typical size is taken from the image, so nuclei and beads need no setting.

    Parameters
    ----------
    image
        One plane, (y, x), background subtracted.
    sigma
        Smoothing before the threshold, in pixels.
    min_area
        Smallest cell in pixels; by default a fifth of a typical one.

    Returns
    -------
    ndarray
        Labels of the shape of `image`, uint16, without gaps; at most 65,535 cells.
    """
    from scipy import ndimage

    smooth = ndimage.gaussian_filter(image.astype(np.float32), sigma)
    mask = ndimage.binary_opening(smooth > threshold(smooth))
    radius = typical_radius(mask)
    if radius == 0:
        return np.zeros(image.shape, np.uint16)
    # A bright cell's halo is over the threshold, too: measured again where it has 0.4 of its brightness.
    peak = ndimage.maximum_filter(smooth, size=2 * round(radius) + 1)
    radius = max(2.0, typical_radius(mask & (smooth > 0.4 * peak)) or radius)
    labels = split(smooth, mask, radius)
    areas = np.bincount(labels.ravel())
    smallest = max(8, round(0.2 * np.pi * radius**2)) if min_area is None else min_area
    keep = (areas >= smallest) & stands_out(smooth, labels, len(areas), radius)
    keep[0] = False
    kept = np.flatnonzero(keep)[: np.iinfo(np.uint16).max]
    numbers = np.zeros(len(areas), np.uint16)
    numbers[kept] = np.arange(1, len(kept) + 1)
    return numbers[labels]


def count_cells(labels: NDArray[Any]) -> dict[str, Any]:
    """Return the count and, for each cell, its centre and area in pixels: plain values, ready for JSON.

    ``{"count", "area_mean", "area_median", "coverage", "cells": [{"label", "y", "x", "area"}, ...]}``; the means are
    None without cells. `coverage` is the part of the image that is cell, 0 to 1.
    """
    from scipy import ndimage

    areas = np.bincount(labels.ravel())
    present = np.flatnonzero(areas)
    present = present[present > 0]
    if len(present) == 0:
        return {"count": 0, "area_mean": None, "area_median": None, "coverage": 0.0, "cells": []}
    centres = ndimage.center_of_mass(labels > 0, labels, present)
    cells = [
        {"label": int(label), "y": round(float(y), 2), "x": round(float(x), 2), "area": int(areas[label])}
        for label, (y, x) in zip(present, centres, strict=True)
    ]
    return {
        "count": len(cells),
        "area_mean": round(float(areas[present].mean()), 2),
        "area_median": float(np.median(areas[present])),
        "coverage": round(float(areas[present].sum() / labels.size), 5),
        "cells": cells,
    }


def construct_path(metadata: Mapping[str, Any], name: str) -> str:
    """Return where the result `name` of an image belongs: ``<output>/<well>/<well>_s001_z003_t002_<name>``.

    Parameters
    ----------
    metadata
        ``output``: the folder (or the root of a virtual store); ``well``; and any of ``site``, ``channel``,
        ``z_index`` and ``timepoint``, or their other names, as far as they are known.
    name
        ``'labeled'`` or ``'results.json'``. Without a suffix a store gives an image its own.

    Raises
    ------
    KeyError
        There is no ``output``.
    """
    from polystore.components import Component, ImageKey, component

    places = {name: value for name, value in metadata.items() if _is_component(name)}
    key = ImageKey.from_mapping(places)
    well = str(key.well or "plate")
    parts = [well]
    for which, prefix in (
        (Component.FIELD, "s"),
        (Component.Z, "z"),
        (Component.CHANNEL, "c"),
        (Component.T, "t"),
    ):
        value = key.get(component(which))
        if value is not None:
            parts.append(f"{prefix}{value:03d}" if isinstance(value, int) else f"{prefix}{_plain(value)}")
    return f"{str(metadata['output']).rstrip('/')}/{well}/{'_'.join([*parts, name])}"


def cell_counting_cpu(
    image: NDArray[Any],
    filemanager: FileManager,
    metadata: Mapping[str, Any],
    backend: str = "disk",
    **params: Any,
) -> tuple[NDArray[np.uint16], dict[str, Any]]:
    """Count the cells of one image and save the labels and the results through `filemanager`.

    Parameters
    ----------
    image
        One plane, (y, x), background subtracted.
    filemanager
        Saves both results.
    metadata
        Where the image belongs; see `construct_path`.
    backend
        Name of the store that takes the labels (an image) and ``results.json`` (a text).
    **params
        Handed to `label_cells`.

    Returns
    -------
    labels, results
        See `label_cells` and `count_cells`.

    Raises
    ------
    polystore.StorageError
        The store refused.
    """
    labels = label_cells(image, **params)
    filemanager.save(labels, construct_path(metadata, "labeled"), backend=backend)
    results = count_cells(labels)
    filemanager.save(results, construct_path(metadata, "results.json"), backend=backend)
    return labels, results


def _is_component(name: str) -> bool:
    from polystore.components import component
    from polystore.errors import ComponentError

    try:
        component(name)
    except ComponentError:
        return False
    return True


def _plain(value: str) -> str:
    """The value as part of a file name: letters, digits and dashes."""
    return "".join(letter if letter.isalnum() else "-" for letter in value)


def _block_means(image: NDArray[Any], block: int) -> NDArray[np.float32]:
    """Means of blocks of `block` x `block` pixels; the last ones may be smaller."""
    starts = [np.arange(0, side, block) for side in image.shape]
    sums = np.add.reduceat(np.add.reduceat(image, starts[0], axis=0, dtype=np.float64), starts[1], axis=1)
    counts = [np.diff(np.append(start, side)) for start, side in zip(starts, image.shape, strict=True)]
    means: NDArray[np.float32] = (sums / np.outer(counts[0], counts[1])).astype(np.float32)
    return means


def _bilinear(grid: NDArray[np.float32], rows: NDArray[Any], columns: NDArray[Any]) -> NDArray[np.float32]:
    """The grid read between its points: at every row with every column, one axis after the other."""
    at = np.arange(grid.shape[0])
    tall = np.stack([np.interp(rows, at, grid[:, column]) for column in range(grid.shape[1])], axis=1)
    low = np.clip(np.floor(columns).astype(int), 0, max(grid.shape[1] - 2, 0))
    high = np.minimum(low + 1, grid.shape[1] - 1)
    part = np.clip(columns - low, 0.0, 1.0).astype(np.float32)
    tall = tall.astype(np.float32)
    wide: NDArray[np.float32] = tall[:, low] * (1 - part) + tall[:, high] * part
    return wide
