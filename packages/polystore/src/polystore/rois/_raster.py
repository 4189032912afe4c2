"""Which pixels a shape covers. A window is top, left, height and width of the part of the image to fill."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from polystore.errors import RoiError
from polystore.rois._checks import MAX_MASK_PIXELS, Points

__all__ = ["Window", "draw", "fill", "fill_ellipse", "mark", "paste", "pixel_box"]

Window: TypeAlias = tuple[int, int, int, int]
Mask: TypeAlias = "NDArray[np.bool_]"

BLOCK = 1 << 20
"""Crossings and pixels worked on at a time: what a shape of a million corners needs stays small."""


def pixel_box(bounds: tuple[float, float, float, float]) -> Window:
    """The window of all pixels a shape of these bounds can cover."""
    top, left = math.floor(bounds[0] + 0.5), math.floor(bounds[1] + 0.5)
    return top, left, math.floor(bounds[2] + 0.5) - top + 1, math.floor(bounds[3] + 0.5) - left + 1


def fill(rings: Sequence[Points], window: Window) -> Mask:
    """The pixels whose centre an odd number of outlines goes around; exact for outlines along pixel edges."""
    top, left, height, width = window
    starts = np.concatenate(rings) - (top, left)
    ends = np.concatenate([np.roll(ring, -1, axis=0) for ring in rings]) - (top, left)
    down = starts[:, 0] <= ends[:, 0]
    upper, lower = np.where(down[:, None], starts, ends), np.where(down[:, None], ends, starts)
    first = np.clip(np.ceil(upper[:, 0]), 0, height).astype(np.int64)
    counts = np.clip(np.ceil(lower[:, 0]), 0, height).astype(np.int64) - first
    crossed = np.flatnonzero(counts > 0)
    upper, lower, first, counts = upper[crossed], lower[crossed], first[crossed], counts[crossed]
    # One more column than pixels takes the crossings right of the window. uint8 wraps, its lowest bit is right.
    toggles = np.zeros((height, width + 1), np.uint8)
    blocks = np.cumsum(counts) // BLOCK
    for part in np.split(np.arange(len(counts)), np.flatnonzero(np.diff(blocks)) + 1):
        edges = np.repeat(part, counts[part])
        offsets = np.arange(len(edges)) - np.repeat(np.cumsum(counts[part]) - counts[part], counts[part])
        rows = first[edges] + offsets
        high, low = upper[edges], lower[edges]
        # Share first: the height of an edge may be so small that a slope overflows.
        at = high[:, 1] + (rows - high[:, 0]) / (low[:, 0] - high[:, 0]) * (low[:, 1] - high[:, 1])
        columns = np.clip(np.ceil(at), 0, width).astype(np.int64)
        np.add.at(toggles.reshape(-1), rows * (width + 1) + columns, 1)
    toggles &= 1
    inside: Mask = np.bitwise_xor.accumulate(toggles, axis=1)[:, :width].view(np.bool_)
    return inside


def fill_ellipse(corners: Points, window: Window) -> Mask:
    """The pixels whose centre is in or on the ellipse in a box of four corners; none when it is flat."""
    top, left, height, width = window
    mask = np.zeros((height, width), bool)
    sides = np.array([corners[1] - corners[0], corners[3] - corners[0]]) / 2
    if abs(np.linalg.det(sides)) == 0:
        return mask
    to_circle = np.linalg.inv(sides)
    centre = corners.mean(axis=0)
    columns = np.arange(width) + left - centre[1]
    step = max(1, BLOCK // max(width, 1))
    for row in range(0, height, step):
        rows = np.arange(row, min(row + step, height)) + top - centre[0]
        first = rows[:, None] * to_circle[0, 0] + columns * to_circle[1, 0]
        second = rows[:, None] * to_circle[0, 1] + columns * to_circle[1, 1]
        mask[row : row + step] = first * first + second * second <= 1
    return mask


def mark(points: Points, window: Window) -> Mask:
    """The pixels the points are in."""
    mask = np.zeros(window[2:], bool)
    _set(mask, points, window)
    return mask


def draw(points: Points, window: Window) -> Mask:
    """The pixels of a line one pixel wide.

    Raises
    ------
    RoiError
        It is longer than the largest mask has pixels.
    """
    lengths = np.abs(np.diff(points, axis=0)).max(axis=1)
    if lengths.sum() > MAX_MASK_PIXELS:
        raise RoiError(f"a line {lengths.sum():.0f} pixels long cannot be drawn: at most {MAX_MASK_PIXELS}")
    steps = np.ceil(lengths).astype(np.int64)
    mask = mark(points, window)
    ends = np.cumsum(steps)
    for low in range(0, int(ends[-1]), BLOCK):
        at = np.arange(low, min(low + BLOCK, int(ends[-1])))
        segment = np.searchsorted(ends, at, side="right")
        share = (at - (ends - steps)[segment]) / steps[segment]
        start, end = points[segment], points[segment + 1]
        _set(mask, start + share[:, None] * (end - start), window)
    return mask


def _set(mask: Mask, points: Points, window: Window) -> None:
    rows, columns = (np.floor(points + 0.5) - window[:2]).astype(np.int64).T
    inside = (rows >= 0) & (rows < window[2]) & (columns >= 0) & (columns < window[3])
    mask[rows[inside], columns[inside]] = True


def paste(mask: Mask, place: Points, window: Window) -> Mask:
    """The part of a mask at a place (its first pixel's) that lies in the window."""
    top, left, height, width = window
    y, x = math.floor(place[0] + 0.5) - top, math.floor(place[1] + 0.5) - left
    out = np.zeros((height, width), bool)
    part = mask[max(-y, 0) : max(height - y, 0), max(-x, 0) : max(width - x, 0)]
    out[max(y, 0) : max(y, 0) + part.shape[0], max(x, 0) : max(x, 0) + part.shape[1]] = part
    return out
