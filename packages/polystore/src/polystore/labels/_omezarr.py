"""The block ``image-label`` of OME-Zarr: colours and properties by label. Pure: dicts in, dicts out."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from polystore.errors import RoiError
from polystore.rois import ROI, Property

__all__ = ["image_label", "label_colors", "label_properties", "read_image_label"]

Colour: TypeAlias = tuple[int, int, int, int]
"""Red, green, blue and opacity, 0 to 255."""

_VALUE = "label-value"
_GOLDEN = (math.sqrt(5) - 1) / 2


def label_colors(labels: Iterable[int]) -> dict[int, Colour]:
    """A colour for each label: the same on every machine, neighbouring numbers far apart."""
    colours = {}
    for label in labels:
        hue = int(label) * _GOLDEN % 1
        value = (1.0, 0.8, 0.9)[int(label) % 3]
        red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(hue, 0.75, value))
        colours[int(label)] = (red, green, blue, 255)
    return colours


def label_properties(rois: Iterable[ROI]) -> dict[int, dict[str, Property]]:
    """What regions say about each label: of an object in several planes, what all of them say alike.

    ``area`` is added up over the planes. Regions without the property ``label`` are refused.

    Raises
    ------
    RoiError
        A region without a label.
    """
    found: dict[int, dict[str, Property]] = {}
    differing: dict[int, set[str]] = {}
    for roi in rois:
        label = roi.properties.get("label")
        if isinstance(label, bool) or not isinstance(label, int):
            raise RoiError(f"a region with label = {label!r}: give each a whole number as property 'label'")
        own = {name: value for name, value in roi.properties.items() if name != "label"}
        if label not in found:
            found[label] = own
            continue
        known = found[label]
        for name in known.keys() | own.keys():
            mine, other = known.get(name), own.get(name)
            if name == "area" and _is_number(mine) and _is_number(other):
                known[name] = mine + other  # type: ignore[operator]
            elif name not in known or name not in own or (mine, type(mine)) != (other, type(other)):
                differing.setdefault(label, set()).add(name)
    for label, names in differing.items():
        for name in names:
            found[label].pop(name, None)
    return found


def image_label(
    *,
    colors: Mapping[int, Sequence[int]] | None = None,
    properties: Mapping[int, Mapping[str, Property]] | Iterable[ROI] | None = None,
    version: str = "0.5",
    source: str | None = "../../",
) -> dict[str, Any]:
    """The value of ``image-label`` in the metadata of a labels image.

    Parameters
    ----------
    colors
        Red, green, blue and opacity (0 to 255; opacity may be left out) by label; see `label_colors`.
    properties
        Of each label, or regions that have them (see `label_properties`).
    version
        Of OME-Zarr. 0.4 repeats it in the block.
    source
        Where the image the labels belong to is, seen from here.

    Raises
    ------
    RoiError
        A colour that is none, a label that is no whole number, a property JSON cannot hold.
    """
    block: dict[str, Any] = {}
    if version == "0.4":
        block["version"] = version
    if colors:
        block["colors"] = [
            {_VALUE: _label(label), "rgba": _rgba(label, colour)} for label, colour in sorted(colors.items())
        ]
    known = _by_label(properties)
    if known:
        block["properties"] = [
            {_VALUE: _label(label), **_plain(label, some)} for label, some in sorted(known.items())
        ]
    if source is not None:
        block["source"] = {"image": source}
    return block


def read_image_label(block: Mapping[str, Any]) -> tuple[dict[int, Colour], dict[int, dict[str, Any]]]:
    """Colours and properties by label of a block ``image-label``; entries that are none are left out.

    The specification asks only that there is a ``label-value``; other writers leave the rest out or open.
    """
    colours: dict[int, Colour] = {}
    properties: dict[int, dict[str, Any]] = {}
    for entry in block.get("colors") or ():
        rgba = entry.get("rgba") if isinstance(entry, Mapping) else None
        if isinstance(rgba, list | tuple) and len(rgba) == 4 and type(entry.get(_VALUE)) is int:
            red, green, blue, alpha = (int(part) for part in rgba)
            colours[entry[_VALUE]] = (red, green, blue, alpha)
    for entry in block.get("properties") or ():
        if isinstance(entry, Mapping) and type(entry.get(_VALUE)) is int:
            properties[entry[_VALUE]] = {name: value for name, value in entry.items() if name != _VALUE}
    return colours, properties


def _by_label(properties: Any) -> Mapping[int, Mapping[str, Property]]:
    if properties is None:
        return {}
    return properties if isinstance(properties, Mapping) else label_properties(properties)


def _label(label: Any) -> int:
    if isinstance(label, bool) or int(label) != label or label < 0:
        raise RoiError(f"label {label!r}: labels are whole numbers from 0")
    return int(label)


def _rgba(label: int, colour: Sequence[int]) -> list[int]:
    parts = [int(part) for part in colour]
    if len(parts) == 3:
        parts.append(255)
    if len(parts) != 4 or not all(0 <= part <= 255 for part in parts):
        raise RoiError(f"colour {tuple(colour)!r} of label {label}: red, green, blue and opacity, 0 to 255")
    return parts


def _plain(label: int, properties: Mapping[str, Property]) -> dict[str, Property]:
    for name, value in properties.items():
        if name == _VALUE:
            raise RoiError(
                f"label {label} has a property {_VALUE!r}: the format keeps the label there; rename it"
            )
        if isinstance(value, float) and not math.isfinite(value):
            raise RoiError(f"{name} of label {label} is {value}, which JSON cannot hold; use None")
    return {name: value for name, value in properties.items() if name != "label"}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
