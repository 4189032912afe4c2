"""The region itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from polystore.components import ImageKey
from polystore.errors import RoiError
from polystore.rois import _checks, _geometry, _raster
from polystore.rois._checks import Points, Property, RoiKind
from polystore.rois._trace import trace

__all__ = ["ROI", "rois_from_wire", "rois_to_wire"]

_WIRE = frozenset({"kind", "points", "properties", "shape", "runs", "rings", "place"})
_ANYWHERE = ImageKey()


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
    rings
        Only for polygons: further closed outlines. What an odd number of outlines goes around is in the
        region: an outline within another is a hole, one beside it a second part.
    place
        The plane (and well, field ...) it lies in, an `ImageKey` or a map such as ``{"z": 3}``. Planes
        count from 1, as in the names of files and in ImageJ. A component that is not set: all of them.

    Raises
    ------
    RoiError
        Points, properties or a place no region of that kind can have.
    """

    kind: RoiKind
    points: Points
    properties: Mapping[str, Property] = field(default_factory=dict)
    mask: NDArray[np.bool_] | None = None
    rings: tuple[Points, ...] = ()
    place: ImageKey = _ANYWHERE

    def __post_init__(self) -> None:
        try:
            kind = RoiKind(self.kind)
        except ValueError:
            raise RoiError(f"unknown kind of region {self.kind!r} (known: {', '.join(RoiKind)})") from None
        points = _checks.checked_points(kind, self.points)
        object.__setattr__(self, "kind", kind)
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "properties", _checks.checked_properties(self.properties))
        object.__setattr__(self, "mask", _checks.checked_mask(kind, self.mask))
        object.__setattr__(self, "rings", _checks.checked_rings(kind, points, self.rings))
        object.__setattr__(self, "place", _checks.checked_place(self.place))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ROI):
            return NotImplemented
        return (
            self.kind == other.kind
            and self.place == other.place
            and dict(self.properties) == dict(other.properties)
            and np.array_equal(self.points, other.points)
            and len(self.rings) == len(other.rings)
            and all(map(np.array_equal, self.rings, other.rings))
            and (self.mask is None) == (other.mask is None)
            and (self.mask is None or other.mask is None or np.array_equal(self.mask, other.mask))
        )

    __hash__ = None  # type: ignore[assignment]  # equal by the values of arrays: compare, do not look up

    def __reduce__(self) -> tuple[Any, ...]:
        return ROI, (self.kind, self.points, dict(self.properties), self.mask, self.rings, self.place)

    @classmethod
    def from_mask(
        cls,
        mask: ArrayLike,
        origin: Sequence[float] = (0, 0),
        properties: Mapping[str, Property] | None = None,
        place: ImageKey | Mapping[str, Any] | None = None,
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
        where = np.array([[origin[0] + top, origin[1] + left]])
        key = ImageKey() if place is None else _checks.checked_place(place)
        return cls(RoiKind.MASK, where, properties or {}, cut, (), key)

    def replace(self, **changes: Any) -> ROI:
        """A copy with some of its parameters changed: ``roi.replace(properties={})``."""
        values = {
            "kind": self.kind, "points": self.points, "properties": self.properties, "mask": self.mask,
            "rings": self.rings, "place": self.place,
        }  # fmt: skip
        unknown = changes.keys() - values.keys()
        if unknown:
            raise RoiError(f"a region has no {sorted(unknown)[0]!r} (it has {', '.join(values)})")
        return ROI(**{**values, **changes})

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """The upright bounding box: top, left, bottom, right, in pixels."""
        if self.mask is not None:
            top, left = map(float, self.points[0])
            return top, left, top + self.mask.shape[0] - 1, left + self.mask.shape[1] - 1
        every = np.concatenate([self.points, *self.rings]) if self.rings else self.points
        (top, left), (bottom, right) = every.min(axis=0), every.max(axis=0)
        return float(top), float(left), float(bottom), float(right)

    def corners(self) -> Points:
        """The four corners (4, 2) of a rectangle, or of the box around anything else, in drawing order."""
        if self.kind in (RoiKind.RECTANGLE, RoiKind.ELLIPSE) and len(self.points) == 4:
            return self.points
        top, left, bottom, right = self.bounds
        return np.array([[top, left], [top, right], [bottom, right], [bottom, left]])

    @property
    def area(self) -> float:
        """What it covers, in pixels; 0 for points and lines. Outlines of a polygon must not cross."""
        if self.mask is not None:
            return float(np.count_nonzero(self.mask))
        if self.kind is RoiKind.POLYGON:
            return _geometry.area_and_centroid((self.points, *self.rings))[0]
        if self.kind in (RoiKind.RECTANGLE, RoiKind.ELLIPSE):
            area = _geometry.area_and_centroid((self.corners(),))[0]
            return area if self.kind is RoiKind.RECTANGLE else area * np.pi / 4
        return 0.0

    @property
    def centroid(self) -> tuple[float, float]:
        """Its centre of mass: of the area, of a line's length, or of the points."""
        if self.mask is not None:
            rows, columns = np.nonzero(self.mask)
            if not len(rows):
                rows, columns = (np.array([(size - 1) / 2]) for size in self.mask.shape)
            return float(self.points[0, 0] + rows.mean()), float(self.points[0, 1] + columns.mean())
        if self.kind is RoiKind.POLYLINE:
            return _geometry.centre_of_line(self.points)
        if self.kind is RoiKind.POINT:
            y, x = self.points.mean(axis=0).tolist()
            return y, x
        outlines = (self.points, *self.rings) if self.kind is RoiKind.POLYGON else (self.corners(),)
        return _geometry.area_and_centroid(outlines)[1]

    def outlines(self) -> list[Points]:
        """The closed outlines of an area, which in all tell inside from outside (odd and even).

        A mask's go along the edges of its pixels, so filling them gives the same pixels back. An ellipse is
        a polygon of 72 corners.

        Raises
        ------
        RoiError
            Points and lines have none; nor has a mask without a pixel.
        """
        if self.kind is RoiKind.POLYGON:
            return [self.points, *self.rings]
        if self.kind is RoiKind.RECTANGLE:
            return [self.corners()]
        if self.kind is RoiKind.ELLIPSE:
            return [_geometry.ellipse_outline(self.corners())]
        if self.mask is None:
            raise RoiError(f"a {self.kind} encloses nothing; only areas have outlines")
        rings = trace(self.mask).split()
        if not rings:
            raise RoiError("a mask without a true pixel has no outline")
        return [ring + self.points[0] for ring in rings]

    def as_polygon(self) -> ROI:
        """The same area as a polygon; see `outlines`. Properties and place stay."""
        if self.kind is RoiKind.POLYGON:
            return self
        first, *more = self.outlines()
        return self.replace(kind=RoiKind.POLYGON, points=first, mask=None, rings=tuple(more))

    def as_mask(self) -> ROI:
        """The pixels it covers as a region of its own, cut to their box; properties and place stay.

        Raises
        ------
        RoiError
            It covers no pixel, or its box is larger than the largest mask.
        """
        if self.kind is RoiKind.MASK:
            return self
        top, left, height, width = _raster.pixel_box(self.bounds)
        if height * width > _checks.MAX_MASK_PIXELS:
            raise RoiError(
                f"a mask of {height} x {width} pixels for a {self.kind}: at most {_checks.MAX_MASK_PIXELS}"
            )
        return ROI.from_mask(
            self._rasterised(top, left, height, width), (top, left), self.properties, self.place
        )

    def to_mask(self, shape: Sequence[int], origin: Sequence[int] = (0, 0)) -> NDArray[np.bool_]:
        """The pixels it covers in an image of that height and width; what lies outside is cut off.

        Areas cover the pixels whose centre is inside; of a centre exactly on an outline, upper and left
        outlines cover it and lower and right ones do not, so that neighbours never share a pixel. Points and
        lines cover the pixels they pass through, one pixel wide. Masks at broken coordinates are rounded.

        Parameters
        ----------
        shape
            Height and width.
        origin
            The pixel (y, x) that comes first, for a part of an image.
        """
        height, width = (int(size) for size in shape)
        first_row, first_column = (int(at) for at in origin)
        mask = np.zeros((height, width), bool)
        top, left, box_height, box_width = _raster.pixel_box(self.bounds)
        bottom, right = min(top + box_height, first_row + height), min(left + box_width, first_column + width)
        top, left = max(top, first_row), max(left, first_column)
        if top < bottom and left < right:
            rows, columns = (
                slice(top - first_row, bottom - first_row),
                slice(left - first_column, right - first_column),
            )
            mask[rows, columns] = self._rasterised(top, left, bottom - top, right - left)
        return mask

    def _rasterised(self, top: int, left: int, height: int, width: int) -> NDArray[np.bool_]:
        window = (top, left, height, width)
        if self.mask is not None:
            return _raster.paste(self.mask, self.points[0], window)
        if self.kind is RoiKind.ELLIPSE:
            return _raster.fill_ellipse(self.corners(), window)
        if self.kind is RoiKind.POINT:
            return _raster.mark(self.points, window)
        if self.kind is RoiKind.POLYLINE:
            return _raster.draw(self.points, window)
        return _raster.fill(self.outlines(), window)

    def to_wire(self) -> dict[str, Any]:
        """A dict of text, numbers and lists only, for msgpack and JSON.

        Masks travel as run lengths along the rows, first those of false pixels.
        """
        wire: dict[str, Any] = {"kind": self.kind.value, "points": self.points.tolist()}
        if self.properties:
            wire["properties"] = dict(self.properties)
        if self.mask is not None:
            wire["shape"] = list(self.mask.shape)
            wire["runs"] = _checks.run_lengths(self.mask)
        if self.rings:
            wire["rings"] = [ring.tolist() for ring in self.rings]
        place = self.place.as_dict()
        if place:
            wire["place"] = place
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
        unknown = wire.keys() - _WIRE
        if unknown or "kind" not in wire or "points" not in wire:
            raise RoiError(
                "a region is a map of kind, points, properties, shape, runs, rings and place, "
                f"not of {list(wire)[:8]}"
            )
        mask = _checks.from_runs(wire["shape"], wire.get("runs")) if "shape" in wire else None
        return cls(
            wire["kind"], wire["points"], wire.get("properties", {}), mask, wire.get("rings", ()),
            _checks.checked_place(wire.get("place", {})),
        )  # fmt: skip


def rois_to_wire(rois: Iterable[ROI]) -> list[dict[str, Any]]:
    """The plain form of several regions."""
    return [roi.to_wire() for roi in rois]


def rois_from_wire(wire: Iterable[Mapping[str, Any]]) -> list[ROI]:
    """The regions of their plain form; raises `RoiError` as `ROI.from_wire`."""
    return [ROI.from_wire(item) for item in wire]
