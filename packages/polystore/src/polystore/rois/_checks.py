"""What a region may be made of, checked before anything of its size is allocated."""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from polystore.components import ImageKey
from polystore.errors import ComponentError, RoiError

__all__ = [
    "MAX_COORDINATE",
    "MAX_MASK_PIXELS",
    "MAX_POINTS",
    "Points",
    "Property",
    "RoiKind",
    "checked_mask",
    "checked_place",
    "checked_points",
    "checked_properties",
    "checked_rings",
    "from_runs",
    "run_lengths",
]

Points: TypeAlias = "NDArray[np.float64]"
"""Rows of y, x."""

Property: TypeAlias = str | int | float | bool | None
"""What a region can be labelled with: what JSON, msgpack and a table all hold."""

MAX_POINTS = 1_000_000
"""Most points of one region: an outline traced around every pixel of a 4096 x 4096 image has fewer."""

MAX_MASK_PIXELS = 1 << 26
"""Largest mask, 8192 x 8192: run lengths are small, what they unpack to is not, so it is checked first."""

MAX_COORDINATE = 1e9
"""Farthest coordinate: beyond it a float32, which viewers draw with, cannot tell neighbouring pixels apart."""


class RoiKind(StrEnum):
    """What the points of a region mean."""

    POLYGON = "polygon"
    POLYLINE = "polyline"
    RECTANGLE = "rectangle"
    ELLIPSE = "ellipse"
    POINT = "point"
    MASK = "mask"


# Fewest and most points; rectangle and ellipse: two opposite corners, or all four when turned.
_COUNTS: Mapping[RoiKind, tuple[int, int]] = {
    RoiKind.POLYGON: (3, MAX_POINTS),
    RoiKind.POLYLINE: (2, MAX_POINTS),
    RoiKind.RECTANGLE: (2, 4),
    RoiKind.ELLIPSE: (2, 4),
    RoiKind.POINT: (1, MAX_POINTS),
    RoiKind.MASK: (1, 1),
}


def checked_points(kind: RoiKind, points: Any) -> Points:
    """A copy of the points, if a region of that kind can have them."""
    fewest, most = _COUNTS[kind]
    if isinstance(points, list | tuple) and len(points) > most:
        raise RoiError(f"{len(points)} points for a {kind}: it has {fewest} to {most}")
    try:
        array = np.array(points, dtype=np.float64)
    except (TypeError, ValueError) as exc:
        raise RoiError(f"the points of a {kind} must be numbers in rows of y, x: {exc}") from exc
    if array.ndim != 2 or array.shape[1] != 2 or not fewest <= len(array) <= most:
        raise RoiError(f"points of shape {array.shape} for a {kind}: it has {fewest} to {most} rows of y, x")
    if kind in (RoiKind.RECTANGLE, RoiKind.ELLIPSE) and len(array) == 3:
        raise RoiError(f"3 points for a {kind}: give two opposite corners or all four")
    if not np.all(np.abs(array) <= MAX_COORDINATE):  # also false for NaN
        raise RoiError(f"points of a {kind} must be finite and within {MAX_COORDINATE:g} pixels")
    array.flags.writeable = False
    return array


def checked_rings(kind: RoiKind, points: Points, rings: Any) -> tuple[Points, ...]:
    """Copies of the further outlines, if there may be any."""
    if isinstance(rings, str | bytes | Mapping) or not hasattr(rings, "__iter__"):
        raise RoiError(f"rings of a region must be a list of outlines, not a {type(rings).__name__}")
    given = list(rings)
    if not given:
        return ()
    if kind is not RoiKind.POLYGON:
        raise RoiError(f"a region of kind {kind} has no rings; only a polygon has")
    if len(given) > MAX_POINTS // 3:
        raise RoiError(f"{len(given)} rings: a polygon has at most {MAX_POINTS} points in all")
    checked = tuple(checked_points(kind, ring) for ring in given)
    total = len(points) + sum(map(len, checked))
    if total > MAX_POINTS:
        raise RoiError(
            f"{total} points in {len(checked) + 1} outlines: a polygon has at most {MAX_POINTS} in all"
        )
    return checked


def checked_properties(properties: Any) -> Mapping[str, Property]:
    """A copy of the properties with NumPy's scalars as Python's."""
    if not isinstance(properties, Mapping):
        raise RoiError(f"properties of a region must be a map, not a {type(properties).__name__}")
    checked: dict[str, Property] = {}
    for name, value in properties.items():
        if isinstance(value, np.generic):
            value = value.item()
        if not isinstance(name, str) or not isinstance(value, str | int | float | bool | None):
            raise RoiError(
                f"property {name!r} = {value!r}: names are text; values text, numbers, bool or None"
            )
        checked[name] = value
    return MappingProxyType(checked)


def checked_place(place: Any) -> ImageKey:
    """The key of a place given as one, or as a map of components."""
    if isinstance(place, ImageKey):
        return place
    if not isinstance(place, Mapping) or not all(isinstance(name, str) for name in place):
        raise RoiError(
            f"the place of a region is an ImageKey or a map such as {{'z': 3}}, not {type(place).__name__}"
        )
    try:
        return ImageKey.from_mapping(place)
    except ComponentError as exc:
        raise RoiError(f"the place of a region cannot be {dict(place)!r}: {exc}") from exc


def checked_mask(kind: RoiKind, mask: Any) -> NDArray[np.bool_] | None:
    """A copy of the mask, if there is and may be one."""
    if (mask is not None) != (kind is RoiKind.MASK):
        raise RoiError(f"a region of kind {kind} {'needs a' if mask is None else 'has no'} mask")
    if mask is None:
        return None
    array = np.array(mask, dtype=bool)
    if array.ndim != 2 or not 0 < array.size <= MAX_MASK_PIXELS:
        raise RoiError(
            f"a mask of shape {array.shape}: it has two dimensions and 1 to {MAX_MASK_PIXELS} pixels"
        )
    array.flags.writeable = False
    return array


def run_lengths(mask: NDArray[np.bool_]) -> list[int]:
    """Lengths of the runs along the rows, first those of false pixels."""
    flat = mask.ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    edges = np.concatenate(([0], changes, [flat.size]))
    runs: list[int] = np.diff(edges).tolist()
    return [0, *runs] if flat[0] else runs


def from_runs(shape: Any, runs: Any) -> NDArray[np.bool_]:
    """The mask of run lengths; sizes are checked first."""
    plain = isinstance(shape, list | tuple) and isinstance(runs, list | tuple) and len(shape) == 2
    if not plain or not all(type(size) is int and size > 0 for size in shape):
        raise RoiError("a mask needs its shape (two sizes) and its run lengths")
    pixels = math.prod(shape)
    if pixels > MAX_MASK_PIXELS:
        raise RoiError(
            f"a mask of shape {tuple(shape)} has {pixels} pixels, at most {MAX_MASK_PIXELS} are supported"
        )
    if len(runs) > pixels + 1 or not all(type(run) is int and 0 <= run <= pixels for run in runs):
        raise RoiError("run lengths of a mask must be counts of pixels")
    if sum(runs) != pixels:
        raise RoiError(f"run lengths of a mask add up to {sum(runs)} pixels, its shape has {pixels}")
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(shape)
