"""What the formats of regions share; and our own, ``.rois.json``, which keeps everything.

``.rois.json`` is ``{"format": "polystore.rois", "version": 1, "rois": [...]}`` with each region in its plain
form (`polystore.rois.ROI.to_wire`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import msgspec
import numpy as np

from polystore.errors import CorruptFileError, RoiError, UnsupportedFormatError
from polystore.rois import MAX_MASK_PIXELS, ROI, Property, RoiKind
from polystore.rois._raster import fill

__all__ = ["checked_regions", "json_value", "mask_frame", "masked", "property_value", "read", "write"]

_FORMAT, _VERSION = "polystore.rois", 1


def write(stream: BinaryIO, suffix: str, value: Any) -> None:
    """Write a region or a list of regions, exactly."""
    rois = []
    for roi in checked_regions(value, suffix):
        wire = roi.to_wire()
        if "properties" in wire:
            wire["properties"] = {name: json_value(item) for name, item in wire["properties"].items()}
        rois.append(msgspec.json.encode(wire))
    head = msgspec.json.encode({"format": _FORMAT, "version": _VERSION})[:-1]
    stream.write(head + b',"rois":[\n' + b",\n".join(rois) + b"\n]}\n")


def read(stream: BinaryIO, suffix: str) -> list[ROI]:
    """The regions, as they were."""
    content = msgspec.json.decode(stream.read())
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise CorruptFileError(f"it is JSON, but not of the format {_FORMAT!r}")
    if content.get("version") != _VERSION:
        raise UnsupportedFormatError(
            f"version {content.get('version')!r} of {_FORMAT}; this polystore reads {_VERSION}: update it"
        )
    rois = []
    for index, wire in enumerate(content.get("rois") or ()):
        try:
            properties = wire.get("properties", {})
            plain = {name: property_value(item) for name, item in properties.items()}
            rois.append(ROI.from_wire({**wire, "properties": plain}))
        except (RoiError, AttributeError, TypeError) as exc:
            raise CorruptFileError(f"region {index}: {exc}") from exc
    return rois


def checked_regions(value: Any, suffix: str) -> list[ROI]:
    """The regions of a list, or of one alone.

    Raises
    ------
    UnsupportedFormatError
        Anything else.
    """
    if isinstance(value, ROI):
        return [value]
    if isinstance(value, list | tuple):
        for index, roi in enumerate(value):
            if not isinstance(roi, ROI):
                raise UnsupportedFormatError(
                    f"item {index} is a {type(roi).__name__}; {suffix} holds regions (ROI)"
                )
        return list(value)
    raise UnsupportedFormatError(f"{type(value).__name__}: {suffix} holds a list of regions (ROI)")


def json_value(value: Property) -> Any:
    """A property as JSON has it; numbers it has not as ``{"float": "nan"}``, ``{"int": "..."}``."""
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return {"int": _digits(value)}
    return value


def property_value(value: Any) -> Any:
    """What `json_value` made of it, back; anything else as it is."""
    if isinstance(value, Mapping) and len(value) == 1:
        if isinstance(text := value.get("float"), str):
            return float(text)
        if isinstance(text := value.get("int"), str):
            return int(text)
    return value


def _digits(value: int) -> str:
    try:
        return str(value)
    except ValueError as exc:  # Python writes no more than 4300 digits
        raise UnsupportedFormatError(
            f"a property that is a number of {value.bit_length()} bits: {exc}"
        ) from exc


def mask_frame(roi: ROI) -> tuple[int, int, int, int]:
    """What the outline of a mask does not say: its height and width, and how far in its first pixels lie.

    Raises
    ------
    UnsupportedFormatError
        It has no pixel, so no outline.
    """
    assert roi.mask is not None
    rows, columns = np.flatnonzero(roi.mask.any(axis=1)), np.flatnonzero(roi.mask.any(axis=0))
    if not len(rows):
        raise UnsupportedFormatError(
            "a mask without a true pixel has no outline; leave it out or save as .rois.json"
        )
    height, width = roi.mask.shape
    return height, width, int(rows[0]), int(columns[0])


def masked(polygon: ROI, frame: Sequence[Any]) -> ROI:
    """The mask a polygon is the outline of, in its frame; cut to its pixels where the frame does not fit."""
    if len(frame) != 4 or not all(type(number) is int and number >= 0 for number in frame):
        return polygon.as_mask()
    height, width, row, column = frame
    top, left, bottom, right = polygon.bounds
    if not (
        0 < height * width <= MAX_MASK_PIXELS
        and row + round(bottom - top) <= height
        and column + round(right - left) <= width
    ):
        return polygon.as_mask()
    origin = np.array([top + 0.5 - row, left + 0.5 - column])
    mask = fill([ring - origin for ring in polygon.outlines()], (0, 0, height, width))
    return polygon.replace(kind=RoiKind.MASK, points=[origin], mask=mask, rings=())
