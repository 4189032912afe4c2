"""Our own attributes, for what OME-NGFF has no place for: names as saved, values as acquired, what the plate's
files say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import msgspec

from polystore.components import Value
from polystore.errors import CorruptFileError
from polystore.plate import ChannelInfo, PlateInfo

__all__ = ["ImageBlock", "Series", "info_from_plain", "info_to_plain", "read_block"]


class Series(msgspec.Struct):
    """The planes of a field that are indexed by the same components, in one array.

    A field has more than one when planes of a z stack stand beside planes without z.

    Attributes
    ----------
    path
        Of the array, in the field's group; with smaller copies, of the largest.
    dtype
        NumPy's name of it.
    plane
        Height and width.
    t, c, z
        What the indices along the axis mean, in order; None when the component plays no part (size 1).
    names
        Pattern of the planes' names, see `polystore.omezarr.names`.
    own
        Names that do not fit the pattern, by index: ``"0.2.0"``.
    levels
        Number of resolutions.
    """

    path: str
    dtype: str
    plane: list[int]
    t: list[Value] | None = None
    c: list[Value] | None = None
    z: list[Value] | None = None
    names: str = ""
    own: dict[str, str] = {}
    levels: int = 1

    def shape(self) -> tuple[int, ...]:
        """Shape of the largest array."""
        sizes = [1 if values is None else len(values) for values in (self.t, self.c, self.z)]
        return (*sizes, *self.plane)

    def paths(self) -> list[str]:
        """Paths of all resolutions, largest first."""
        return level_paths(self.path, self.levels)


class ImageBlock(msgspec.Struct):
    """Of a field, or of labels of a field."""

    well: str
    field: Value | None = None
    acquisition: Value | None = None
    series: list[Series] = []


_LEVEL = re.compile(r"(?:(?P<folder>.+)/)?0")


def level_paths(path: str, levels: int) -> list[str]:
    """``0, 1, 2`` or ``more/0, more/1``: the resolutions that go with the largest one's path."""
    match = _LEVEL.fullmatch(path)
    if match is None or levels <= 1:
        return [path]
    lead = f"{match['folder']}/" if match["folder"] else ""
    return [f"{lead}{level}" for level in range(levels)]


def read_block(block: Mapping[str, Any] | None, place: str) -> ImageBlock | None:
    """Our attributes of a field, or None where somebody else wrote it.

    Raises
    ------
    CorruptFileError
        They are damaged.
    """
    if block is None or "series" not in block:
        return None
    try:
        return msgspec.convert(block, ImageBlock)
    except msgspec.ValidationError as exc:
        raise CorruptFileError(f"the metadata of {place} is damaged: {exc}") from exc


def info_to_plain(info: PlateInfo) -> dict[str, Any]:
    """What is known of a plate as JSON takes it; what is not known is left out."""
    plain = {
        name: value
        for name, value in asdict(info).items()
        if value is not None and name not in ("channels", "positions_um")
    }
    if info.channels:
        plain["channels"] = [
            [value, {name: known for name, known in asdict(channel).items() if known is not None}]
            for value, channel in info.channels.items()
        ]
    if info.positions_um:
        plain["positions_um"] = [[*key, *place] for key, place in info.positions_um.items()]
    return plain


def info_from_plain(plain: Any, place: str) -> PlateInfo:
    """The reverse of `info_to_plain`.

    Raises
    ------
    CorruptFileError
        It is damaged.
    """
    if not plain:
        return PlateInfo()
    try:
        given = msgspec.convert(plain, _Info)
    except msgspec.ValidationError as exc:
        raise CorruptFileError(f"what is known of {place} is damaged: {exc}") from exc
    values = {name: getattr(given, name) for name in _SIMPLE}
    return PlateInfo(
        **values,
        channels={value: _channel(known) for value, known in given.channels},
        positions_um={(well, field): (y, x) for well, field, y, x in given.positions_um},
    )


def _channel(known: Mapping[str, Any]) -> ChannelInfo:
    fields = ChannelInfo.__dataclass_fields__
    return ChannelInfo(**{name: value for name, value in known.items() if name in fields})


_SIMPLE = ("name", "rows", "columns", "pixel_size_um", "z_step_um", "t_step_s", "acquired", "instrument")


class _Info(msgspec.Struct):
    name: str | None = None
    rows: int | None = None
    columns: int | None = None
    pixel_size_um: tuple[float, float] | None = None
    z_step_um: float | None = None
    t_step_s: float | None = None
    channels: list[tuple[Value, dict[str, Any]]] = []
    positions_um: list[tuple[Value, Value, float, float]] = []
    acquired: str | None = None
    instrument: str | None = None


_TABLES = msgspec.json.Decoder(tuple[ImageBlock, _Info])
"""msgspec makes its tables of a class when they are first used, and two threads at once crash it: here, once."""
