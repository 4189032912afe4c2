"""The steps inside `openhcs_viewers.demo.analysis.label_cells`: where is a cell, and where does it end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def threshold(smooth: NDArray[np.float32]) -> float:
    """Otsu's threshold on the square root of the counts, but above the noise of what it calls background.

    The square root makes shot noise the same everywhere, so that dim cells count as much as bright ones. An image
    without cells is all noise: there Otsu alone would cut the noise in two.
    """
    root = np.sqrt(np.clip(smooth, 0.0, None))
    counts, edges = np.histogram(root, bins=256)
    middles = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    mass = np.cumsum(counts * middles)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (mass / below - (mass[-1] - mass) / above) ** 2
    otsu = (
        float(edges[int(np.nanargmax(between)) + 1]) ** 2
        if np.isfinite(between).any()
        else float(smooth.max())
    )
    dark = smooth[smooth <= otsu]
    if dark.size == 0:
        return otsu
    middle = float(np.median(dark))
    noise = 1.4826 * float(np.median(np.abs(dark - middle)))
    return max(otsu, middle + 8.0 * noise)


def typical_radius(mask: NDArray[np.bool_]) -> float:
    """The radius of a typical blob in pixels, 0 without any.

    The median over blobs weighted by their size: neither specks of noise nor one large clump have much of a say.
    """
    from scipy import ndimage

    blobs, count = ndimage.label(mask)
    if count == 0:
        return 0.0
    radii = np.sort(ndimage.maximum(ndimage.distance_transform_edt(mask), blobs, np.arange(1, count + 1)))
    rank = np.cumsum(radii)
    return float(radii[np.searchsorted(rank, rank[-1] / 2)])


def split(smooth: NDArray[np.float32], mask: NDArray[np.bool_], radius: float) -> NDArray[np.int64]:
    """Label the mask, one label per hill of the typical size, cut along the valleys between them.

    The hills are those of a blob detector (a Laplacian of a Gaussian) on the square root of the counts: it sees both
    a waist in the outline of two touching nuclei and a dark line between two beads in a clump, and falls to 0 at the
    edge of either.
    """
    from scipy import ndimage

    hills = -ndimage.gaussian_laplace(np.sqrt(np.clip(smooth, 0.0, None)), 0.72 * radius)
    mask = ndimage.binary_fill_holes(mask & (hills > 0))
    near = 2 * max(1, round(0.7 * radius)) + 1
    peaks = np.flatnonzero((mask & (hills == ndimage.maximum_filter(hills, size=near))).ravel())
    if len(peaks) == 0:
        return np.zeros(mask.shape, np.int64)
    heights = hills.ravel()[peaks]
    peaks = peaks[heights > 0.18 * np.median(heights)]
    owner = np.zeros(mask.size, np.int64)
    owner[peaks] = np.arange(1, len(peaks) + 1)
    tops = _climb(np.where(mask, hills, -np.inf))
    labels = owner[tops]
    # What climbs to a lesser top belongs to the peak nearest to that top, if there is one a cell away.
    stray = mask & (labels == 0)
    if stray.any():
        distance, (rows, columns) = ndimage.distance_transform_edt(
            owner.reshape(mask.shape) == 0, return_indices=True
        )
        nearest = owner.reshape(mask.shape)[rows, columns].ravel()
        close = distance.ravel() <= 1.2 * radius
        labels = np.where(stray, np.where(close[tops], nearest[tops], 0), labels)
    return np.where(mask, labels, 0)


def _climb(surface: NDArray[Any]) -> NDArray[np.int64]:
    """For each pixel the flat index of the top that is reached by always going to the highest of the 8 neighbours."""
    height, width = surface.shape
    padded = np.pad(surface, 1, constant_values=-np.inf)
    best = surface.copy()
    at = np.arange(surface.size, dtype=np.int64).reshape(surface.shape)
    goal = at.copy()
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            beside = padded[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]
            higher = beside > best
            best[higher] = beside[higher]
            goal[higher] = at[higher] + dy * width + dx
    flat = goal.ravel()
    while True:  # each round doubles the length of the paths followed
        further = flat[flat]
        if np.array_equal(further, flat):
            return flat.reshape(surface.shape)
        flat = further


def stands_out(
    smooth: NDArray[np.float32], labels: NDArray[np.int64], count: int, radius: float
) -> NDArray[np.bool_]:
    """Which labels are clearly brighter than their surroundings, as a cell is and a bright patch of haze is not."""
    from scipy import ndimage

    flat = labels.ravel()
    inside = np.bincount(flat, smooth.ravel(), count) / np.maximum(np.bincount(flat, minlength=count), 1)
    distance, (rows, columns) = ndimage.distance_transform_edt(labels == 0, return_indices=True)
    ring = (distance > 2) & (distance <= 3 + 0.5 * radius)
    owner = labels[rows, columns][ring]
    pixels = np.bincount(owner, minlength=count)
    around = np.bincount(owner, smooth[ring], count) / np.maximum(pixels, 1)
    squares = np.bincount(owner, smooth[ring] ** 2, count) / np.maximum(pixels, 1)
    spread = np.sqrt(np.clip(squares - around**2, 0.0, None))
    # In a crowd the surroundings are uneven, but then a cell is far brighter than they are.
    clear = (inside > 2.5 * around) | ((inside > 1.5 * around) & (inside > around + 3.0 * spread))
    return (pixels < radius) | clear
