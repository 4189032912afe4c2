"""Regions as GeoJSON (RFC 7946), with the members QuPath reads and writes.

Coordinates are x, y in pixels from the corner of the first one, as in QuPath. What GeoJSON and QuPath have no
place for stands in the member ``polystore`` of the properties, which other programs leave alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import msgspec
import numpy as np

from polystore.backends._regions import checked_regions, json_value, mask_frame, masked, property_value
from polystore.components import ImageKey
from polystore.errors import ComponentError, CorruptFileError, RoiError, UnsupportedFormatError
from polystore.rois import MAX_COORDINATE, ROI, Property, RoiKind
from polystore.rois._checks import Points
from polystore.rois._geometry import signed_area
from polystore.rois._nesting import nested

__all__ = ["read", "write"]

_OURS = "polystore"
_COLOUR = re.compile(r"#[0-9a-f]{6}", re.ASCII)
_AREAS = (RoiKind.POLYGON, RoiKind.RECTANGLE, RoiKind.ELLIPSE, RoiKind.MASK)
_GEOMETRIES = ("Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon")


def write(stream: BinaryIO, suffix: str, value: Any, *, object_type: str = "annotation") -> None:
    """Write a region or a list of regions as a FeatureCollection.

    ``object_type`` is what QuPath makes of those without a property of that name: ``"annotation"``,
    ``"detection"`` or ``"cell"``.
    """
    features = [msgspec.json.encode(_feature(roi, object_type)) for roi in checked_regions(value, suffix)]
    stream.write(b'{"type":"FeatureCollection","features":[\n' + b",\n".join(features) + b"\n]}\n")


def read(stream: BinaryIO, suffix: str) -> list[ROI]:
    """The regions of a FeatureCollection, a Feature, a geometry, or a list of features."""
    content = msgspec.json.decode(stream.read())
    rois: list[ROI] = []
    for index, feature in enumerate(_features(content)):
        try:
            rois += _regions(feature)
        except UnsupportedFormatError as exc:
            raise UnsupportedFormatError(f"feature {index}: {exc}") from exc
        except (RoiError, ComponentError, CorruptFileError) as exc:
            raise CorruptFileError(f"feature {index}: {exc}") from exc
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as exc:
            raise CorruptFileError(f"feature {index} is no GeoJSON ({type(exc).__name__}: {exc})") from exc
    return rois


# -- writing


def _feature(roi: ROI, object_type: str) -> dict[str, Any]:
    geometry, ours = _geometry(roi)
    plane = _plane(roi.place)
    if plane:
        geometry["plane"] = plane
    place = roi.place.as_dict()
    if place:
        ours["place"] = place
    properties = _put_properties(roi.properties, object_type)
    if left := {
        name: json_value(value)
        for name, value in roi.properties.items()
        if not _same(_properties({"objectType": object_type, **properties}).get(name, _same), value)
    }:
        ours["properties"] = left
    if object_type != "annotation" and "object_type" not in roi.properties:
        ours["object_type"] = None  # it was the writer's choice, not the region's
    return {
        "type": "Feature",
        "geometry": geometry,
        "properties": {**properties, **({_OURS: ours} if ours else {})},
    }


def _geometry(roi: ROI) -> tuple[dict[str, Any], dict[str, Any]]:
    """The geometry, and what of the region it does not say."""
    if max(map(abs, roi.bounds)) > MAX_COORDINATE - 1:
        # Its outline, half a pixel farther out, would be no region's when it is read again.
        raise UnsupportedFormatError(
            f"a region that goes to {max(roi.bounds, key=abs):g}: at most {MAX_COORDINATE - 1:.0f}; use .rois.json"
        )
    if roi.kind in (RoiKind.POINT, RoiKind.POLYLINE):
        positions = _positions(roi.points)
        if roi.kind is RoiKind.POLYLINE:
            return {"type": "LineString", "coordinates": positions}, {}
        if len(positions) == 1:
            return {"type": "Point", "coordinates": positions[0]}, {}
        return {"type": "MultiPoint", "coordinates": positions}, {}
    ours: dict[str, Any] = {}
    if roi.kind is not RoiKind.POLYGON:
        ours["kind"] = roi.kind.value
    if roi.kind is RoiKind.MASK:
        ours["frame"] = list(mask_frame(roi))
    elif roi.kind in (RoiKind.RECTANGLE, RoiKind.ELLIPSE):
        ours["points"] = roi.points.tolist()
    parts = [
        [_ring(ring, hole=index > 0) for index, ring in enumerate(part)] for part in nested(roi.outlines())
    ]
    geometry: dict[str, Any] = {"type": "Polygon", "coordinates": parts[0]}
    if len(parts) > 1:
        geometry = {"type": "MultiPolygon", "coordinates": parts}
    if roi.kind is RoiKind.ELLIPSE and len(roi.points) == 2:
        geometry["isEllipse"] = True  # QuPath then takes the ellipse in the box, which is upright
    return geometry, ours


def _positions(points: Points) -> list[list[float]]:
    positions: list[list[float]] = (points[:, ::-1] + 0.5).tolist()
    return positions


def _ring(ring: Points, *, hole: bool) -> list[list[float]]:
    """Closed, and with its area on the left, as the RFC wants outer rings counted with y upwards."""
    if (signed_area(ring) < 0) != hole:
        ring = np.concatenate([ring[:1], ring[:0:-1]])
    positions = _positions(ring)
    return [*positions, positions[0]]


def _plane(place: ImageKey) -> dict[str, int]:
    """QuPath's plane, which counts from 0; channel -1 is all."""
    numbers = {
        name: value - 1 if isinstance(value, int) and value > 0 else nothing
        for name, value, nothing in (("c", place.channel, -1), ("z", place.z, 0), ("t", place.t, 0))
    }
    return {} if numbers == {"c": -1, "z": 0, "t": 0} else numbers


def _put_properties(properties: Mapping[str, Property], object_type: str) -> dict[str, Any]:
    """The properties in QuPath's members; what none of them holds is left out."""
    found: dict[str, Any] = {"objectType": object_type}
    measurements: dict[str, float] = {}
    metadata: dict[str, str] = {}
    for name, value in properties.items():
        if isinstance(value, str):
            if name == "name":
                found["name"] = value
            elif name == "classification" and value:
                found["classification"] = {"name": value}
            elif name == "object_type" and value:
                found["objectType"] = value
            elif name == "color" and _COLOUR.fullmatch(value):
                found["color"] = [int(value[at : at + 2], 16) for at in (1, 3, 5)]
            else:
                metadata[name] = value
        elif isinstance(value, bool) or value is None:
            continue
        elif json_value(value) is value:
            measurements[name] = value
    if measurements:
        found["measurements"] = measurements
    if metadata:
        found["metadata"] = metadata
    return found


def _same(first: Any, second: Any) -> bool:
    return type(first) is type(second) and (first == second or (first != first and second != second))


# -- reading


def _features(content: Any) -> Iterator[Any]:
    if isinstance(content, list):
        yield from content
        return
    kind = content.get("type") if isinstance(content, dict) else None
    if kind == "FeatureCollection":
        features = content.get("features")
        if not isinstance(features, list):
            raise CorruptFileError("a FeatureCollection without a list of features")
        yield from features
    elif kind == "Feature":
        yield content
    elif kind in _GEOMETRIES or kind == "GeometryCollection":
        yield {"geometry": content}
    else:
        raise CorruptFileError(f"GeoJSON begins with a FeatureCollection or a Feature, not with {kind!r}")


def _regions(feature: Mapping[str, Any]) -> Iterator[ROI]:
    geometry = feature.get("geometry")
    if geometry is None:
        raise UnsupportedFormatError("it has no geometry, so it marks nothing; take it out")
    given = feature.get("properties") or {}
    ours = given.get(_OURS)
    ours = ours if isinstance(ours, dict) else {}
    properties = _properties(given)
    if "object_type" in ours:
        properties.pop("object_type", None)
    for name, value in (ours.get("properties") or {}).items():
        properties[name] = property_value(value)
    for shape, plane in _shapes(geometry, geometry.get("plane")):
        yield _restored(shape, ours).replace(properties=properties, place=_place(plane, ours.get("place")))


def _shapes(geometry: Mapping[str, Any], plane: Any) -> Iterator[tuple[ROI, Any]]:
    kind = geometry["type"]
    if kind == "GeometryCollection":
        for part in geometry["geometries"]:
            yield from _shapes(part, part.get("plane", plane))
        return
    coordinates = geometry.get("coordinates")
    if kind not in _GEOMETRIES or not isinstance(coordinates, list):
        raise CorruptFileError(f"a geometry of type {kind!r} without coordinates")
    if kind in ("Point", "MultiPoint"):
        yield ROI(RoiKind.POINT, _points([coordinates] if kind == "Point" else coordinates)), plane
    elif kind in ("LineString", "MultiLineString"):
        for line in [coordinates] if kind == "LineString" else coordinates:
            yield ROI(RoiKind.POLYLINE, _points(line)), plane
    else:
        parts = [coordinates] if kind == "Polygon" else coordinates
        rings = [_open(_points(ring)) for part in parts for ring in part]
        roi = ROI(RoiKind.POLYGON, rings[0], rings=tuple(rings[1:]))
        if geometry.get("isEllipse") is True:
            top, left, bottom, right = roi.bounds
            roi = ROI(RoiKind.ELLIPSE, np.array([[top, left], [bottom, right]]))
        yield roi, plane


def _points(positions: Sequence[Any]) -> Points:
    """Rows of y, x. A third number, a height in the RFC, says nothing about an image and is left out."""
    return np.array([[position[1], position[0]] for position in positions], dtype=np.float64) - 0.5


def _open(ring: Points) -> Points:
    return ring[:-1] if len(ring) > 1 and (ring[0] == ring[-1]).all() else ring


def _restored(shape: ROI, ours: Mapping[str, Any]) -> ROI:
    """The region as it was written, if its geometry is still that of then."""
    kind, points, frame = ours.get("kind"), ours.get("points"), ours.get("frame")
    if kind == RoiKind.MASK and shape.kind is RoiKind.POLYGON and isinstance(frame, list):
        return masked(shape, frame)
    if kind in (RoiKind.RECTANGLE, RoiKind.ELLIPSE) and points is not None and shape.kind in _AREAS:
        written = ROI(kind, points)
        drawn = written if shape.kind is RoiKind.ELLIPSE else written.as_polygon()
        there = shape.corners() if shape.kind is RoiKind.ELLIPSE else _forward(shape.points)
        then = drawn.corners() if shape.kind is RoiKind.ELLIPSE else _forward(drawn.points)
        if then.shape == there.shape and np.allclose(then, there, rtol=1e-12, atol=1e-6):
            return written
    return shape


def _forward(ring: Points) -> Points:
    return ring if signed_area(ring) >= 0 else np.concatenate([ring[:1], ring[:0:-1]])


def _place(plane: Any, place: Any) -> ImageKey:
    """Where it lies: our own note while it fits QuPath's plane, which may have been changed since."""
    noted = ImageKey.from_mapping(place) if isinstance(place, dict) else ImageKey()
    if not isinstance(plane, dict):
        return noted if not _plane(noted) else noted.replace(channel=None, z=None, t=None)
    if plane == _plane(noted):
        return noted
    channel = plane.get("c", -1)
    return noted.replace(
        channel=channel + 1 if channel >= 0 else None, z=plane.get("z", 0) + 1, t=plane.get("t", 0) + 1
    )


def _properties(given: Mapping[str, Any]) -> dict[str, Property]:
    """QuPath's members as properties; further members of others by their own names."""
    found: dict[str, Property] = {}
    for name, value in given.items():
        if name == "objectType":
            if value != "annotation":
                found["object_type"] = value
        elif name == "measurements":
            found |= _measurements(value)
        elif name == "metadata" and isinstance(value, dict):
            found |= {key: item for key, item in value.items() if isinstance(item, str)}
        elif name == "color":
            found["color"] = _colour(value)
        elif name == "classification" and isinstance(value, dict):
            names = value.get("names")
            joined = ": ".join(map(str, names)) if isinstance(names, list) else None
            found["classification"] = value.get("name", joined)
        elif name != _OURS:
            scalar = value is None or isinstance(value, str | int | float | bool)
            found[name] = value if scalar else msgspec.json.encode(value).decode()
    return found


def _measurements(value: Any) -> dict[str, Property]:
    """A map, or the list of name and value of QuPath before 0.4; NaN is a text in both."""
    if isinstance(value, list):
        value = {entry["name"]: entry["value"] for entry in value}
    return {
        name: float(number) if isinstance(number, str) else number
        for name, number in value.items()
        if number is not None
    }


def _colour(value: Any) -> Property:
    """``#rrggbb`` of three numbers, or of QuPath's older packed one."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"#{value & 0xFFFFFF:06x}"
    if (
        isinstance(value, list)
        and len(value) == 3
        and all(type(part) is int and 0 <= part < 256 for part in value)
    ):
        return "#{:02x}{:02x}{:02x}".format(*value)
    return value if isinstance(value, str) else None
