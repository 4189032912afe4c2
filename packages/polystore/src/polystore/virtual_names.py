"""The tidy names of images: ``A01_s001_w1_z001_t001.tif``, as OpenHCS writes them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from polystore.components import Component, ImageKey, Value
from polystore.errors import ComponentError
from polystore.plate import ChannelInfo, PlateIndex, PlateInfo

__all__ = ["numbered", "virtual_name", "virtual_names"]

_WELL = re.compile(r"[A-Z]{1,2}[0-9]{1,3}", re.ASCII)
_FORMATS = (("field", "_s{:03d}"), ("channel", "_w{}"), ("z", "_z{:03d}"), ("t", "_t{:03d}"))
_MAX_DIGITS = 9


def virtual_name(key: ImageKey, suffix: str = ".tif") -> str:
    """The name of the image with that key. A component that plays no part is left out: a projection has no ``_z``.

    `polystore.parse_path` gives well, field, channel, z and t back. Plate and acquisition are not in the name.

    Raises
    ------
    ComponentError
        No well, a well that is not a letter and a number, or a component that is no number (`numbered` gives
        named channels numbers).
    """
    if not isinstance(key.well, str) or not _WELL.fullmatch(key.well):
        raise ComponentError(f"well={key.well!r} cannot stand in a file name: give one such as 'A01'")
    parts = [key.well]
    for name, form in _FORMATS:
        value = getattr(key, name)
        if value is None:
            continue
        if not isinstance(value, int) or len(str(value)) > _MAX_DIGITS:
            raise ComponentError(f"{name}={value!r} cannot stand in a file name: give a number")
        parts.append(form.format(value))
    if len(parts) == 1:
        raise ComponentError(
            f"an image of well {key.well} with no field, channel, z or t has no name of its own"
        )
    return "".join(parts) + suffix


def numbered(index: PlateIndex) -> tuple[dict[ImageKey, ImageKey], PlateInfo]:
    """Each key of a plate as one that has a virtual name, and the plate's information for these keys.

    Named values (channel ``'DAPI'``) get numbers beside those in use, from 1 in the order of
    `PlateIndex.values`; the name of a channel is kept in the information. Plate and acquisition are dropped. A plane
    that has nothing but its well becomes field 1.

    Raises
    ------
    ComponentError
        Two planes would get one name: those of several plates or acquisitions.
    """
    numbers = {which: _numbers(index.values(which)) for which in _INDEXED}
    keys: dict[ImageKey, ImageKey] = {}
    seen: dict[ImageKey, ImageKey] = {}
    for plane in index.planes:
        values: dict[str, Value] = {"well": plane.key.well} if plane.key.well is not None else {}
        for which in _INDEXED:
            value = plane.key.get(which)
            if value is not None:
                values[which.value] = numbers[which].get(value, value)
        if not values.keys() - {"well"}:
            values["field"] = 1
        key = ImageKey(**values)
        if key in seen:
            raise ComponentError(
                f"{plane.key} and {seen[key]} would get one name; open one plate and acquisition at a time"
            )
        seen[key] = plane.key
        keys[plane.key] = key
    return keys, _renumbered(index.info, numbers)


def virtual_names(index: PlateIndex, suffix: str = ".tif") -> dict[ImageKey, str]:
    """The virtual name of each plane of a plate, by the plane's own key; raises as `numbered` and `virtual_name`."""
    return {key: virtual_name(tidy, suffix) for key, tidy in numbered(index)[0].items()}


_INDEXED = (Component.FIELD, Component.CHANNEL, Component.Z, Component.T)


def _numbers(values: Iterable[Value]) -> Mapping[Value, int]:
    values = tuple(values)
    taken = {value for value in values if isinstance(value, int)}
    free = (number for number in range(1, len(values) + len(taken) + 1) if number not in taken)
    return {value: next(free) for value in values if not isinstance(value, int)}


def _renumbered(info: PlateInfo, numbers: Mapping[Component, Mapping[Value, int]]) -> PlateInfo:
    channels = {}
    for value, channel in info.channels.items():
        channels[numbers[Component.CHANNEL].get(value, value)] = channel
    for value, number in numbers[Component.CHANNEL].items():
        known = channels.get(number)
        if known is None or known.name is None:
            channels[number] = replace(known or ChannelInfo(), name=str(value))
    fields = numbers[Component.FIELD]
    positions = {
        (well, fields.get(field, field)): place for (well, field), place in info.positions_um.items()
    }
    return replace(info, channels=channels, positions_um=positions)
