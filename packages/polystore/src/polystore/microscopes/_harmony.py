"""Harmony's index file: all of it beside each image (``Index.idx.xml``), or channels in a map (``Index.xml``)."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from polystore.components import ImageKey, Value, well_name
from polystore.errors import ComponentError
from polystore.microscopes._files import PlateFiles
from polystore.microscopes._steps import Steps
from polystore.microscopes._xml import Record, read_records
from polystore.plate import ChannelInfo, PlateInfo

__all__ = ["expected_keys", "listed", "plates", "read_info"]

NAMES = ("index.idx.xml", "index.xml")
"""What the file is called, in lower case."""

_MICROMETRES = {"m": 1e6, "mm": 1e3, "um": 1.0, "µm": 1.0, "nm": 1e-3}
_MILLISECONDS = {"s": 1e3, "ms": 1.0, "us": 1e-3}
_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
_NANOMETRES = {"nm": 1.0, "um": 1e3, "µm": 1e3, "m": 1e9}


@dataclass(slots=True)
class Index:
    """What one index file says.

    Parameters
    ----------
    images
        Name of the file to its key.
    positions
        (well, field) to y, x from the middle of the well; y grows downwards.
    """

    images: dict[str, ImageKey] = field(default_factory=dict)
    positions: dict[tuple[Value, Value], tuple[float, float]] = field(default_factory=dict)
    channels: dict[Value, ChannelInfo] = field(default_factory=dict)
    pixel_um: tuple[float, float] | None = None
    plate: dict[str, str] = field(default_factory=dict)
    rows: int | None = None
    columns: int | None = None
    first_time: str | None = None
    instrument: str | None = None
    z: Steps = field(default_factory=Steps)
    t: Steps = field(default_factory=Steps)


def read_index(stream: BinaryIO, path: str) -> Index:
    """An index file of any version.

    Raises
    ------
    CorruptFileError
        It is none, or a value is no number; the text names file and line.
    """
    index = Index()

    def take(record: Record) -> None:
        if record.tag == "Image":
            if "URL" in record.values:  # those in a well only point to the others
                _take_image(index, record)
        elif record.tag == "Entry":
            channel = record.whole("ChannelID")
            if channel is not None and "ChannelName" in record.values:
                _take_channel(index, channel, record)
        elif record.tag == "Plate":
            index.plate = index.plate or record.values
            index.rows = index.rows or record.whole("PlateRows")
            index.columns = index.columns or record.whole("PlateColumns")
        elif record.text:
            index.instrument = record.text

    read_records(stream, path, ("Image", "Entry", "Plate", "InstrumentType"), take)
    return index


def plates(files: PlateFiles) -> dict[str, str]:
    """The plates the index files are of, each with the path of one of them."""
    found: dict[str, str] = {}
    for path, index in _indexes(files):
        name = index.plate.get("PlateID") or index.plate.get("Name")
        if name is not None:
            found.setdefault(name, path)
    return found


def listed(files: PlateFiles) -> dict[str, ImageKey]:
    """What the index file of each folder says of the files beside it, by path."""
    return {
        posixpath.join(posixpath.dirname(path), name): key
        for path, index in _indexes(files)
        for name, key in index.images.items()
    }


def expected_keys(files: PlateFiles) -> Sequence[ImageKey] | None:
    """Every key of every index file, None without one."""
    indexes = _indexes(files)
    keys: list[ImageKey] = []
    for path, index in indexes:
        name = files.acquisitions.get(posixpath.dirname(path))
        there = index.images.values()
        keys += there if name is None else (key.replace(acquisition=name) for key in there)
    return keys if indexes else None


def read_info(files: PlateFiles) -> PlateInfo:
    """What the index files say; of several acquisitions the first speaks for the plate."""
    indexes = [index for _, index in _indexes(files)]
    if not indexes:
        return PlateInfo()
    first = indexes[0]
    return PlateInfo(
        name=first.plate.get("Name") or first.plate.get("PlateID"),
        rows=first.rows,
        columns=first.columns,
        pixel_size_um=first.pixel_um,
        z_step_um=next((step for index in indexes if (step := index.z.step()) is not None), None),
        t_step_s=next((step for index in indexes if (step := index.t.step()) is not None), None),
        channels=first.channels,
        positions_um={
            place: point for index in reversed(indexes) for place, point in index.positions.items()
        },
        acquired=first.plate.get("MeasurementStartTime") or first.first_time,
        instrument=first.instrument or "Harmony",
    )


def _indexes(files: PlateFiles) -> list[tuple[str, Index]]:
    paths = [path for path in files.find(*NAMES) if posixpath.basename(path).lower() in NAMES]
    found: dict[str, tuple[str, Index]] = {}
    for path in paths:
        index = files.read(path, read_index)
        # Where a folder has both, the one read first has everything.
        if index is not None and index.images:
            found.setdefault(posixpath.dirname(path), (path, index))
    return list(found.values())


def _take_image(index: Index, record: Record) -> None:
    row, column, time = record.whole("Row"), record.whole("Col"), record.whole("TimepointID")
    channel = record.whole("ChannelID")
    if row is None or column is None:
        raise record.error("it has no Row or no Col")
    # Time points count from 0 here and from 1 in the names of the files (sk1).
    t = None if time is None else time + 1
    try:
        well = well_name(row, column)
        key = ImageKey(None, None, well, record.whole("FieldID"), channel, record.whole("PlaneID"), t)
    except ComponentError as exc:
        raise record.error(str(exc)) from exc
    # Of a path or an address the last part is the file.
    index.images[record.values["URL"].replace("\\", "/").rpartition("/")[2]] = key
    x, y = _scaled(record, "PositionX", _MICROMETRES), _scaled(record, "PositionY", _MICROMETRES)
    if x is not None and y is not None and key.field is not None:
        index.positions.setdefault((well, key.field), (-y, x))
    index.z.add((well, key.field, channel, t), key.z, _scaled(record, "PositionZ", _MICROMETRES))
    index.t.add((well, key.field, channel, key.z), t, _scaled(record, "MeasurementTimeOffset", _SECONDS))
    if channel is not None and channel not in index.channels and "ChannelName" in record.values:
        _take_channel(index, channel, record)
    if index.first_time is None:
        index.first_time = record.values.get("AbsTime")


def _take_channel(index: Index, channel: int, record: Record) -> None:
    index.channels[channel] = ChannelInfo(
        name=record.values.get("ChannelName"),
        excitation_nm=_scaled(record, "MainExcitationWavelength", _NANOMETRES, "nm") or None,
        emission_nm=_scaled(record, "MainEmissionWavelength", _NANOMETRES, "nm") or None,
        exposure_ms=_scaled(record, "ExposureTime", _MILLISECONDS, "s"),
        color=_color(record.values.get("ChannelColor")),
    )
    height, width = (_scaled(record, name, _MICROMETRES) for name in ("ImageResolutionY", "ImageResolutionX"))
    if index.pixel_um is None and height and width:
        index.pixel_um = (height, width)


def _scaled(record: Record, name: str, units: dict[str, float], usual: str = "") -> float | None:
    """A value in the unit its table is for; without a unit of its own it is in the first of the table."""
    value = record.number(name)
    if value is None:
        return None
    unit = record.units.get(name) or usual or next(iter(units))
    if unit not in units:
        raise record.error(f"{name} is in {unit!r}, none of {', '.join(units)}")
    return round(value * units[unit], 6)


def _color(number: str | None) -> str | None:
    """``RRGGBB`` of a colour given as a number of 32 bits, ARGB."""
    return f"{int(number) & 0xFFFFFF:06X}" if number and number.isascii() and number.isdigit() else None
