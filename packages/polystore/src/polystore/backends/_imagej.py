"""One region to the bytes of an ImageJ ``.roi`` and back, through roifile. The only file that imports it.

ImageJ counts areas from the corner of the first pixel and points and lines from its centre; planes count from
1, and 0 is none. What it has no place for goes into its properties, under names that begin with ``polystore.``.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from roifile import ROI_OPTIONS, ROI_SUBTYPE, ROI_TYPE, ImagejRoi

from polystore.backends._imagej_props import properties_of, text_of
from polystore.backends._regions import mask_frame, masked
from polystore.components import Component, ImageKey
from polystore.errors import CorruptFileError, UnsupportedFormatError
from polystore.rois import ROI, Property, RoiKind
from polystore.rois._geometry import ellipse_axes, ellipse_outline

__all__ = ["from_bytes", "to_bytes"]

Array = NDArray[Any]

PREFIX = "polystore."
LOWEST, HIGHEST = -5000, 60535
"""Whole coordinates that 16 bits hold; ImageJ takes what is below for what is beyond 32767."""

SECOND_HEADER = 52
"""Bytes of the part of a file that says where name and properties are."""

FARTHEST = 2**23
"""Where 32-bit floats, as which ImageJ keeps coordinates, are a whole pixel apart."""

_POSITIONS = {Component.CHANNEL: "c_position", Component.Z: "z_position", Component.T: "t_position"}
_AUTOMATIC = re.compile(r"[0-9]{4,}-[0-9]{4,}(-[0-9]{4,})?", re.ASCII)
"""The label ImageJ makes of number and place for a region without a name; read as no name."""
_COLOUR = re.compile(r"#([0-9a-f]{6})([0-9a-f]{2})?", re.ASCII)
_AREAS = (ROI_TYPE.POLYGON, ROI_TYPE.FREEHAND, ROI_TYPE.TRACED)
_LINES = (ROI_TYPE.POLYLINE, ROI_TYPE.FREELINE, ROI_TYPE.ANGLE)
_SUBTYPES = {ROI_SUBTYPE.TEXT: "text", ROI_SUBTYPE.ARROW: "arrow", ROI_SUBTYPE.IMAGE: "image"}


def to_bytes(roi: ROI) -> bytes:
    """The region as the content of a ``.roi``.

    Raises
    ------
    UnsupportedFormatError
        Too far out; a mask without a pixel; a property with a name that is ours, or a number without end.
    """
    if max(map(abs, roi.bounds)) >= FARTHEST:
        raise UnsupportedFormatError(
            f"a region that goes to {max(roi.bounds, key=abs):g}: ImageJ cannot tell pixels apart beyond {FARTHEST}; "
            "use .geojson or .rois.json"
        )
    there = ImagejRoi()
    notes: dict[str, Property] = {}
    _put_shape(there, roi, notes)
    _put_place(there, roi.place, notes)
    _put_properties(there, roi.properties, notes)
    return bytes(there.tobytes())


def from_bytes(content: bytes, name: str = "") -> ROI:
    """The region in the content of a ``.roi``; ``name`` is for one that has none of its own.

    Raises
    ------
    CorruptFileError
        No ``.roi``, or none that is a region.
    """
    if len(content) < 64 or content[:4] != b"Iout" or content[6] > ROI_TYPE.POINT:
        raise CorruptFileError("not an ImageJ region: it has another beginning, or is cut short")
    _check_whole(content)
    there = ImagejRoi.frombytes(content)
    properties = _properties(there, name)
    place = _place(there, properties.pop(PREFIX + "place", None))
    kind, frame = properties.pop(PREFIX + "kind", None), properties.pop(PREFIX + "mask", None)
    roi = _shape(there, properties).replace(place=place)
    roi = roi.replace(properties=properties)
    if kind == RoiKind.RECTANGLE and roi.kind is RoiKind.POLYGON and len(roi.points) == 4 and not roi.rings:
        return roi.replace(kind=RoiKind.RECTANGLE)
    if isinstance(frame, str) and roi.kind is RoiKind.POLYGON:
        numbers = frame.split()
        return masked(roi, [int(number) for number in numbers if number.isascii() and number.isdigit()])
    return roi


def _check_whole(content: bytes) -> None:
    """Refuse a file that lacks its ending: roifile would read it without the names and properties there."""
    (second,) = struct.unpack_from(">i", content, 60)
    if second == 0:
        return  # as ImageJ wrote them before it had names, planes and properties
    whole = 64 <= second <= len(content) - SECOND_HEADER
    if whole:
        name, letters = struct.unpack_from(">ii", content, second + 16)
        text, signs, counters = struct.unpack_from(">iii", content, second + 40)
        ends = (name + 2 * letters, text + 2 * signs, counters)
        whole = all(0 <= part <= len(content) for part in (name, letters, text, signs, *ends))
    if not whole:
        raise CorruptFileError("a region that is cut short: its name or properties are missing")


# -- shapes


def _put_shape(there: ImagejRoi, roi: ROI, notes: dict[str, Property]) -> None:
    if roi.kind in (RoiKind.POINT, RoiKind.POLYLINE):
        xy = roi.points[:, ::-1]
        if roi.kind is RoiKind.POLYLINE and len(xy) == 2:
            there.roitype = ROI_TYPE.LINE
            (there.x1, there.y1), (there.x2, there.y2) = xy.tolist()
            _put_box(there, xy)
            return
        there.roitype = ROI_TYPE.POINT if roi.kind is RoiKind.POINT else ROI_TYPE.POLYLINE
        _put_coordinates(there, xy)
    elif roi.kind in (RoiKind.RECTANGLE, RoiKind.ELLIPSE) and len(roi.points) == 2:
        there.roitype = ROI_TYPE.RECT if roi.kind is RoiKind.RECTANGLE else ROI_TYPE.OVAL
        low, high = roi.points.min(axis=0)[::-1] + 0.5, roi.points.max(axis=0)[::-1] + 0.5
        _put_box(there, np.array([low, high]))
        if not (_whole(np.array([low, high])) and (low < high).all()):
            there.options |= ROI_OPTIONS.SUB_PIXEL_RESOLUTION
            there.xd, there.yd = low.tolist()
            there.widthd, there.heightd = (high - low).tolist()
    elif roi.kind is RoiKind.ELLIPSE:
        _put_turned_ellipse(there, roi)
    else:
        if roi.kind is RoiKind.MASK:
            notes[PREFIX + "mask"] = " ".join(map(str, mask_frame(roi)))
        elif roi.kind is RoiKind.RECTANGLE:
            notes[PREFIX + "kind"] = roi.kind.value
        _put_outlines(there, [ring[:, ::-1] + 0.5 for ring in roi.outlines()])


def _put_outlines(there: ImagejRoi, outlines: Sequence[Array]) -> None:
    if len(outlines) == 1:
        xy = outlines[0]
        sides = np.abs(xy - np.roll(xy, 1, axis=0)) > 0
        # Along pixel edges: ImageJ then measures its length as that of what it traced itself.
        traced = _whole(xy) and (sides.sum(axis=1) == 1).all()
        there.roitype = ROI_TYPE.TRACED if traced else ROI_TYPE.POLYGON
        _put_coordinates(there, xy)
        return
    there.roitype = ROI_TYPE.RECT  # of which a list of outlines makes a composite
    parts = []
    for xy in outlines:
        steps = np.ones((len(xy), 3), np.float32)
        steps[0, 0], steps[:, 1:] = 0, xy
        parts += [steps.reshape(-1), np.array([4], np.float32)]
    there.multi_coordinates = np.concatenate(parts)
    there.shape_roi_size = len(there.multi_coordinates)
    _put_box(there, np.concatenate(outlines))


def _put_turned_ellipse(there: ImagejRoi, roi: ROI) -> None:
    corners = roi.corners() + 0.5
    centre, (longer, shorter) = ellipse_axes(corners)
    length = float(np.hypot(*longer))
    ratio = float(np.hypot(*shorter)) / length if length else 0.0
    there.roitype, there.subtype = ROI_TYPE.FREEHAND, ROI_SUBTYPE.ELLIPSE
    there.y1, there.x1 = (centre - longer).tolist()
    there.y2, there.x2 = (centre + longer).tolist()
    # The ratio of the axes takes the place of three fields that ellipses do not have.
    style, head, arc = struct.unpack(">BBh", struct.pack(">f", ratio))
    there.arrow_style_or_aspect_ratio, there.arrow_head_size, there.rounded_rect_arc_size = style, head, arc
    _put_coordinates(there, ellipse_outline(corners)[:, ::-1])


def _put_coordinates(there: ImagejRoi, xy: Array) -> None:
    _put_box(there, xy)
    if not _whole(xy):
        there.options |= ROI_OPTIONS.SUB_PIXEL_RESOLUTION
        there.subpixel_coordinates = xy.astype(np.float32)
    whole = np.clip(np.floor(xy), LOWEST, HIGHEST).astype(np.int32)
    there.integer_coordinates = whole - (there.left, there.top)
    there.n_coordinates = len(xy)


def _put_box(there: ImagejRoi, xy: Array) -> None:
    low = np.clip(np.floor(xy.min(axis=0)), LOWEST, HIGHEST).astype(int).tolist()
    high = np.clip(np.ceil(xy.max(axis=0)), LOWEST, HIGHEST).astype(int).tolist()
    (there.left, there.top), (there.right, there.bottom) = low, high


def _whole(xy: Array) -> bool:
    return bool((xy == np.floor(xy)).all() and (xy >= LOWEST).all() and (xy <= HIGHEST).all())


def _shape(there: ImagejRoi, properties: dict[str, Any]) -> ROI:
    """The shape alone; what is special about it is added to the properties."""
    kind = there.roitype
    special = _SUBTYPES.get(there.subtype)
    if special is not None:
        properties.setdefault("imagej_type", special)
        if special == "text":
            properties.setdefault("text", there.text)
    if there.options & ROI_OPTIONS.SPLINE_FIT:
        properties.setdefault("imagej_type", "spline")
    if kind == ROI_TYPE.RECT and there.composite:
        outlines = _outlines_of(there.multi_coordinates)
        return ROI(RoiKind.POLYGON, outlines[0], rings=tuple(outlines[1:]))
    if kind in (ROI_TYPE.RECT, ROI_TYPE.OVAL):
        box = np.array([[there.top, there.left], [there.bottom, there.right]], float)
        if there.subpixelrect:
            box = np.array([[there.yd, there.xd], [there.yd + there.heightd, there.xd + there.widthd]])
        return ROI(RoiKind.RECTANGLE if kind == ROI_TYPE.RECT else RoiKind.ELLIPSE, box - 0.5)
    if kind == ROI_TYPE.LINE:
        return ROI(RoiKind.POLYLINE, np.array([[there.y1, there.x1], [there.y2, there.x2]]))
    if kind == ROI_TYPE.FREEHAND and there.subtype in (ROI_SUBTYPE.ELLIPSE, ROI_SUBTYPE.ROTATED_RECT):
        return _turned(there)
    if there.integer_coordinates is None:
        raise CorruptFileError(f"an ImageJ region of type {kind} marks nothing")
    yx = np.asarray(there.coordinates(), float)[:, ::-1]
    if kind in _AREAS:
        return ROI(RoiKind.POLYGON, yx - 0.5)
    if kind in _LINES:
        return ROI(RoiKind.POLYLINE, yx)
    for name, numbers in (("counters", there.counters), ("positions", there.counter_positions)):
        if numbers is not None and numbers.any():
            properties.setdefault(name, ",".join(map(str, numbers.tolist())))
    return ROI(RoiKind.POINT, yx)


def _turned(there: ImagejRoi) -> ROI:
    start, end = np.array([there.y1, there.x1]) - 0.5, np.array([there.y2, there.x2]) - 0.5
    style, head = there.arrow_style_or_aspect_ratio, there.arrow_head_size
    (number,) = struct.unpack(">f", struct.pack(">BBh", style, head, there.rounded_rect_arc_size))
    along = end - start
    length = float(np.hypot(*along))
    across = np.array([along[1], -along[0]]) / (length or 1) / 2
    # Of an ellipse the number is the ratio of its axes, of a rectangle the width across the line.
    ellipse = there.subtype == ROI_SUBTYPE.ELLIPSE
    across *= number * length if ellipse else number
    corners = np.array([start - across, end - across, end + across, start + across])
    return ROI(RoiKind.ELLIPSE if ellipse else RoiKind.RECTANGLE, corners)


def _outlines_of(steps: Any) -> list[Array]:
    """The closed outlines (y, x) of a composite, curves as 16 straight pieces."""
    numbers: list[float] = np.asarray(steps, float).tolist()
    outlines: list[list[tuple[float, float]]] = []
    at = 0
    while at < len(numbers):
        step = int(numbers[at])
        if step == 4:
            at += 1
            continue
        if step not in (0, 1, 2, 3) or (step and not outlines):
            raise CorruptFileError(f"a composite region with a step {numbers[at]:g}")
        count = max(step, 1)
        values = numbers[at + 1 : at + 1 + 2 * count]
        if len(values) < 2 * count:
            raise CorruptFileError("a composite region that is cut short")
        points = list(zip(values[1::2], values[::2], strict=True))
        if step == 0:
            outlines.append(points)
        else:
            outlines[-1] += points if step == 1 else _curve([outlines[-1][-1], *points])
        at += 1 + 2 * count
    closed = [outline[:-1] if outline[0] == outline[-1] else outline for outline in outlines]
    found = [np.array(outline) - 0.5 for outline in closed if len(outline) > 2]
    if not found:
        raise CorruptFileError("a composite region without an outline")
    return found


def _curve(controls: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points on a Bézier curve, its start left out."""
    level = np.repeat(np.array(controls)[:, None, :], 16, axis=1)
    share = np.arange(1, 17)[:, None] / 16
    while len(level) > 1:
        level = level[:-1] + share * (level[1:] - level[:-1])
    return [(y, x) for y, x in level[0].tolist()]


# -- place and properties


def _put_place(there: ImagejRoi, place: ImageKey, notes: dict[str, Property]) -> None:
    left: dict[str, Any] = {}
    for name, value in place.as_dict().items():
        field = _POSITIONS.get(Component(name))
        if field is not None and isinstance(value, int) and 1 <= value < 2**31:
            setattr(there, field, value)
        else:
            left[name] = value
    if left:
        notes[PREFIX + "place"] = json.dumps(left)


def _place(there: ImagejRoi, note: Any) -> ImageKey:
    known: dict[str, Any] = {}
    if isinstance(note, str):
        found = json.loads(note)
        known = found if isinstance(found, dict) else {}
    for which, field in _POSITIONS.items():
        if (position := getattr(there, field)) > 0:
            known[which.value] = position
    # A position without channel, slice and frame is one in a plain stack, whose planes are slices in ImageJ.
    if there.position > 0 and not known.keys() & {which.value for which in _POSITIONS}:
        known[Component.Z.value] = there.position
    return ImageKey.from_mapping(known)


def _put_properties(
    there: ImagejRoi, properties: Mapping[str, Property], notes: Mapping[str, Property]
) -> None:
    reserved = [name for name in properties if name.startswith(PREFIX)]
    if reserved:
        raise UnsupportedFormatError(
            f"property {reserved[0]!r}: names that begin with {PREFIX!r} are taken; rename it"
        )
    texts = {**properties, **notes}
    name, colour, group = (properties.get(key) for key in ("name", "color", "group"))
    if (
        isinstance(name, str)
        and name
        and not _AUTOMATIC.fullmatch(name)
        and all(" " <= sign < "\ud800" or "\ue000" <= sign <= "\uffff" for sign in name)
    ):
        there.name = name
        del texts["name"]
    if isinstance(colour, str) and (match := _COLOUR.fullmatch(colour)) and match[2] not in ("00", "ff"):
        there.stroke_color = bytes.fromhex((match[2] or "ff") + match[1])
        del texts["color"]
    if isinstance(group, int) and not isinstance(group, bool) and 1 <= group <= 255:
        there.group = group
        del texts["group"]
    there.props = text_of(texts)


def _properties(there: ImagejRoi, name: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    label = there.name or name
    if label and not _AUTOMATIC.fullmatch(label):
        found["name"] = label
    if there.stroke_color[0]:
        alpha, colour = there.stroke_color[:1].hex(), there.stroke_color[1:].hex()
        found["color"] = f"#{colour}" if alpha == "ff" else f"#{colour}{alpha}"
    if there.group > 0:
        found["group"] = there.group
    return {**found, **properties_of(there.props)}
