"""Areas and centres of outlines; ellipses as polygons and axes. Pure functions of points (y, x)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polystore.rois._checks import Points
from polystore.rois._nesting import depths

__all__ = [
    "area_and_centroid",
    "centre_of_line",
    "ellipse_axes",
    "ellipse_outline",
    "signed_area",
]

ELLIPSE_CORNERS = 72
"""Corners of an ellipse drawn as a polygon: off by at most 0.1 % of its radius."""


def signed_area(ring: Points) -> float:
    """Area within an outline; positive when it goes clockwise on the screen, where y points down."""
    y, x = (ring - ring[0]).T  # near zero, so that far from the origin no digits are lost
    return float(np.dot(x, np.roll(y, -1)) - np.dot(np.roll(x, -1), y)) / 2


def area_and_centroid(rings: Sequence[Points]) -> tuple[float, tuple[float, float]]:
    """What an odd number of outlines goes around: its area and its centre of mass.

    Without any area the centre is that of the corners.
    """
    signs = [1] if len(rings) == 1 else (1 - 2 * (depths(rings)[0] % 2)).tolist()
    total, moment = 0.0, np.zeros(2)
    for ring, sign in zip(rings, signs, strict=True):
        shifted = ring - ring[0]
        following = np.roll(shifted, -1, axis=0)
        cross = shifted[:, 1] * following[:, 0] - following[:, 1] * shifted[:, 0]
        signed = float(cross.sum()) / 2
        if signed:
            centre = ((shifted + following) * cross[:, None]).sum(axis=0) / (6 * signed) + ring[0]
            total += sign * abs(signed)
            moment += sign * abs(signed) * centre
    if total <= 0:
        y, x = np.concatenate(rings).mean(axis=0).tolist()
    else:
        y, x = (moment / total).tolist()
    return max(total, 0.0), (y, x)


def centre_of_line(points: Points) -> tuple[float, float]:
    """The middle of a line's length, weighted; of its corners when it has no length."""
    lengths = np.hypot(*np.diff(points, axis=0).T)
    if not lengths.sum():
        y, x = points.mean(axis=0).tolist()
    else:
        middles = (points[1:] + points[:-1]) / 2
        y, x = (middles * lengths[:, None]).sum(axis=0) / lengths.sum()
    return float(y), float(x)


def ellipse_axes(corners: Points) -> tuple[Points, Points]:
    """The centre (2,) and the two half axes (2, 2), longer first, of the ellipse in a box of four corners.

    The box may be a parallelogram; the half axes are at right angles all the same.
    """
    centre = corners.mean(axis=0)
    sides = np.array([corners[1] - corners[0], corners[3] - corners[0]]) / 2
    # The ellipse is the unit circle under `sides`; its axes are what the circle's become where that is orthogonal.
    _, lengths, directions = np.linalg.svd(sides)
    return centre, directions * lengths[:, None]


def ellipse_outline(corners: Points) -> Points:
    """A polygon on the ellipse in a box of four corners, which it touches in the middle of each side."""
    centre = corners.mean(axis=0)
    across, down = (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
    angles = np.arange(ELLIPSE_CORNERS)[:, None] * (2 * np.pi / ELLIPSE_CORNERS)
    cosines, sines = np.cos(angles), np.sin(angles)
    quarter = ELLIPSE_CORNERS // 4
    cosines[quarter], cosines[3 * quarter], sines[2 * quarter] = 0, 0, 0  # pi is not exact; the box shall be
    outline: Points = centre + cosines * across + sines * down
    return outline
