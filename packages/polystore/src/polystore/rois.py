"""Regions of interest: one model for shapes, points and masks, and its plain form for messages and files.

Coordinates are in pixels, (y, x), with (0, 0) the centre of the first pixel, as napari counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from polystore.errors import RoiError

__all__ = ["ROI", "Property", "RoiKind", "rois_from_wire", "rois_to_wire"]

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


@dataclass(frozen=True, slots=True, eq=False)
class ROI:
    """One region of interest. Immutable; keeps copies of what it is given.

    Parameters
    ----------
    kind
        What the points mean; a `RoiKind` or its name.
    points
        Float array (N, 2) of y, x in pixels. Polygon: its corners (closed by itself); polyline: its
        corners; rectangle and ellipse: two opposite corners of the upright bounding box, or all four of a
        turned one; point: one or more places; mask: the place of the mask's first pixel.
    properties
        Measured values and labels by name.
    mask
        Only for masks: bool array (h, w).

    Raises
    ------
    RoiError
        Points or properties no region of that kind can have.
    """

    kind: RoiKind
    points: NDArray[np.float64]
    properties: Mapping[str, Property] = field(default_factory=dict)
    mask: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        try:
            kind = RoiKind(self.kind)
        except ValueError:
            raise RoiError(f"unknown kind of region {self.kind!r} (known: {', '.join(RoiKind)})") from None
        object.__setattr__(self, "kind", kind)
        object.__setattr__(self, "points", _checked_points(kind, self.points))
        object.__setattr__(self, "properties", _checked_properties(self.properties))
        object.__setattr__(self, "mask", _checked_mask(kind, self.mask))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ROI):
            return NotImplemented
        return (
            self.kind == other.kind
            and dict(self.properties) == dict(other.properties)
            and np.array_equal(self.points, other.points)
            and (self.mask is None) == (other.mask is None)
            and (self.mask is None or other.mask is None or np.array_equal(self.mask, other.mask))
        )

    __hash__ = None  # type: ignore[assignment]  # equal by the values of arrays: compare, do not look up

    def __reduce__(self) -> tuple[Any, ...]:
        return ROI, (self.kind, self.points, dict(self.properties), self.mask)

    @classmethod
    def from_mask(
        cls,
        mask: ArrayLike,
        origin: Sequence[float] = (0, 0),
        properties: Mapping[str, Property] | None = None,
    ) -> ROI:
        """The region of a mask's true pixels, cut to their bounding box.

        Raises
        ------
        RoiError
            No true pixel, or not two-dimensional.
        """
        array = np.asarray(mask, dtype=bool)
        if array.ndim != 2 or not array.any():
            raise RoiError(f"a mask of shape {array.shape} with {int(array.sum())} pixels marks no region")
        rows, columns = np.flatnonzero(array.any(axis=1)), np.flatnonzero(array.any(axis=0))
        top, left = int(rows[0]), int(columns[0])
        cut = array[top : int(rows[-1]) + 1, left : int(columns[-1]) + 1]
        return cls(RoiKind.MASK, np.array([[origin[0] + top, origin[1] + left]]), properties or {}, cut)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """The upright bounding box: top, left, bottom, right, in pixels."""
        if self.mask is not None:
            top, left = map(float, self.points[0])
            return top, left, top + self.mask.shape[0] - 1, left + self.mask.shape[1] - 1
        (top, left), (bottom, right) = self.points.min(axis=0), self.points.max(axis=0)
        return float(top), float(left), float(bottom), float(right)

    def corners(self) -> NDArray[np.float64]:
        """The four corners (4, 2) of a rectangle, or of the box around anything else, in drawing order."""
        if self.kind in (RoiKind.RECTANGLE, RoiKind.ELLIPSE) and len(self.points) == 4:
            return self.points
        top, left, bottom, right = self.bounds
        return np.array([[top, left], [top, right], [bottom, right], [bottom, left]])

    def to_wire(self) -> dict[str, Any]:
        """A dict of text, numbers and lists only, for msgpack and JSON.

        Masks travel as run lengths along the rows, first those of false pixels.
        """
        wire: dict[str, Any] = {"kind": self.kind.value, "points": self.points.tolist()}
        if self.properties:
            wire["properties"] = dict(self.properties)
        if self.mask is not None:
            wire["shape"] = list(self.mask.shape)
            wire["runs"] = _run_lengths(self.mask)
        return wire

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> ROI:
        """The region of such a dict; nothing is allocated before its sizes are checked.

        Raises
        ------
        RoiError
            It is not the plain form of a region.
        """
        if not isinstance(wire, Mapping):
            raise RoiError(f"a region is a map of kind and points, not a {type(wire).__name__}")
        unknown = wire.keys() - {"kind", "points", "properties", "shape", "runs"}
        if unknown or "kind" not in wire or "points" not in wire:
            raise RoiError(
                f"a region is a map of kind, points, properties, shape and runs, not of {list(wire)[:8]}"
            )
        mask = _from_runs(wire["shape"], wire.get("runs")) if "shape" in wire else None
        return cls(wire["kind"], wire["points"], wire.get("properties", {}), mask)


def rois_to_wire(rois: Iterable[ROI]) -> list[dict[str, Any]]:
    """The plain form of several regions."""
    return [roi.to_wire() for roi in rois]


def rois_from_wire(wire: Iterable[Mapping[str, Any]]) -> list[ROI]:
    """The regions of their plain form; raises `RoiError` as `ROI.from_wire`."""
    return [ROI.from_wire(item) for item in wire]


def _checked_points(kind: RoiKind, points: Any) -> NDArray[np.float64]:
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


def _checked_properties(properties: Any) -> Mapping[str, Property]:
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


def _checked_mask(kind: RoiKind, mask: Any) -> NDArray[np.bool_] | None:
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


def _run_lengths(mask: NDArray[np.bool_]) -> list[int]:
    flat = mask.ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    edges = np.concatenate(([0], changes, [flat.size]))
    runs: list[int] = np.diff(edges).tolist()
    return [0, *runs] if flat[0] else runs


def _from_runs(shape: Any, runs: Any) -> NDArray[np.bool_]:
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
