"""Regions of interest: one model for shapes, points and masks, and its plain form for messages and files.

Coordinates are in pixels, (y, x), with (0, 0) the centre of the first pixel, as napari counts.
"""

from __future__ import annotations

from polystore.rois._checks import MAX_COORDINATE, MAX_MASK_PIXELS, MAX_POINTS, Property, RoiKind
from polystore.rois._model import ROI, rois_from_wire, rois_to_wire

__all__ = [
    "MAX_COORDINATE",
    "MAX_MASK_PIXELS",
    "MAX_POINTS",
    "ROI",
    "Property",
    "RoiKind",
    "rois_from_wire",
    "rois_to_wire",
]
