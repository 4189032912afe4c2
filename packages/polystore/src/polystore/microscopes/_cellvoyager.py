"""What the files beside a CellVoyager's images say."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import BinaryIO

from polystore.components import ImageKey, Value, well_name
from polystore.errors import ComponentError
from polystore.microscopes._files import PlateFiles
from polystore.microscopes._steps import Steps
from polystore.microscopes._xml import Record, read_records
from polystore.plate import ChannelInfo, PlateInfo, PlateNote

__all__ = ["expected_keys", "listed", "read_info"]

_BAND = re.compile(r"[A-Z]{0,3}\s*([0-9]{3,4})(?:/[0-9]+)?")
"""A filter: ``BP445/45`` passes 445 nm in a band of 45."""


@dataclass(slots=True)
class Mlf:
    """What ``MeasurementData.mlf`` says: a record for each image.

    Parameters
    ----------
    images
        Name of the file to its key, as the instrument wrote it.
    failed
        Keys of images the instrument could not take.
    positions
        (well, field) to y, x; y grows downwards.
    """

    images: dict[str, ImageKey] = field(default_factory=dict)
    failed: list[ImageKey] = field(default_factory=list)
    positions: dict[tuple[Value, Value], tuple[float, float]] = field(default_factory=dict)
    z: Steps = field(default_factory=Steps)
    t: Steps = field(default_factory=Steps)


def read_mlf(stream: BinaryIO, path: str) -> Mlf:
    """A measurement's list of images."""
    mlf = Mlf()

    def take(record: Record) -> None:
        key = _key(record)
        if key is None:
            return
        if record.attributes.get("Type") != "IMG":
            mlf.failed.append(key)
            return
        # The records name files with the separators of Windows where they name folders.
        mlf.images[posixpath.basename(record.text.replace("\\", "/"))] = key
        x, y = record.number("X"), record.number("Y")
        if x is not None and y is not None and key.well is not None and key.field is not None:
            # From the middle of the well, and y upwards.
            mlf.positions.setdefault((key.well, key.field), (-y, x))
        mlf.z.add((key.well, key.field, key.channel, key.t), key.z, record.number("Z"))
        mlf.t.add((key.well, key.field, key.channel, key.z), key.t, _seconds(record.attributes.get("Time")))

    read_records(stream, path, ("MeasurementRecord",), take)
    return mlf


def read_attributes(stream: BinaryIO, path: str) -> list[Record]:
    """The elements of ``.mrf``, ``.mes`` and ``.wpi`` that matter, with their attributes."""
    found: list[Record] = []
    read_records(
        stream,
        path,
        ("Channel",),
        found.append,
        opened=(
            "MeasurementDetail",
            "MeasurementSamplePlate",
            "MeasurementChannel",
            "LightSource",
            "WellPlate",
        ),
    )
    return found


def listed(files: PlateFiles) -> dict[str, ImageKey]:
    """What the ``.mlf`` of each folder says of the files beside it, by path."""
    return {
        posixpath.join(posixpath.dirname(path), name): key
        for path, mlf in _mlfs(files)
        for name, key in mlf.images.items()
    }


def expected_keys(files: PlateFiles) -> Sequence[ImageKey] | None:
    """Every key of every ``.mlf``, None without one."""
    keys: list[ImageKey] = []
    failed = 0
    mlfs = _mlfs(files)
    for path, mlf in mlfs:
        name = files.acquisitions.get(posixpath.dirname(path))
        failed += len(mlf.failed)
        there = [*mlf.images.values(), *mlf.failed]
        keys += there if name is None else [key.replace(acquisition=name) for key in there]
    if failed:
        files.notes.append(
            PlateNote("failed", f"{failed} images the instrument could not take, by its own account")
        )
    return keys if mlfs else None


def read_info(files: PlateFiles) -> PlateInfo:
    """What ``.mlf``, ``.mrf``, ``.mes`` and ``.wpi`` say together."""
    mlfs = [mlf for _, mlf in _mlfs(files)]
    records = [
        record
        for path in files.find(".mrf", ".wpi", ".mes")
        for record in files.read(path, read_attributes) or ()
    ]
    detail = _first(records, "MeasurementDetail")
    plate = _first(records, "WellPlate")
    cameras = {record.whole("Ch"): record for record in records if record.tag == "MeasurementChannel"}
    sizes = [_pixel(record) for record in cameras.values()]
    sample = _first(records, "MeasurementSamplePlate")
    return PlateInfo(
        name=_word(sample, "Name") or _word(plate, "Name") or files.plate_name or _word(detail, "Title"),
        rows=_whole(plate, "Rows") or _whole(detail, "RowCount"),
        columns=_whole(plate, "Columns") or _whole(detail, "ColumnCount"),
        pixel_size_um=next((size for size in sizes if size), None),
        z_step_um=next((step for mlf in mlfs if (step := mlf.z.step()) is not None), None),
        t_step_s=next((step for mlf in mlfs if (step := mlf.t.step()) is not None), None),
        channels=_channels(records, cameras),
        positions_um={place: point for mlf in reversed(mlfs) for place, point in mlf.positions.items()},
        acquired=_word(detail, "BeginTime"),
        instrument=f"CellVoyager {_word(detail, 'TargetSystem') or ''}".strip(),
    )


def _mlfs(files: PlateFiles) -> list[tuple[str, Mlf]]:
    found = ((path, files.read(path, read_mlf)) for path in files.find(".mlf"))
    return [(path, mlf) for path, mlf in found if mlf is not None]


def _key(record: Record) -> ImageKey | None:
    row, column = record.whole("Row"), record.whole("Column")
    if row is None or column is None:
        return None
    try:
        return ImageKey(
            well=well_name(row, column),
            field=record.whole("FieldIndex"),
            channel=record.whole("Ch"),
            z=record.whole("ZIndex"),
            t=record.whole("TimePoint"),
        )
    except ComponentError as exc:
        raise record.error(str(exc)) from exc


def _channels(records: Sequence[Record], cameras: dict[int | None, Record]) -> dict[Value, ChannelInfo]:
    lamps = {
        record.attributes.get("Name"): record.number("WaveLength")
        for record in records
        if record.tag == "LightSource"
    }
    channels: dict[Value, ChannelInfo] = {number: ChannelInfo() for number in cameras if number is not None}
    for record in records:
        number = record.whole("Ch") if record.tag == "Channel" else None
        if number is None or (cameras and number not in cameras):
            continue  # a setting may define channels that were not taken
        band = _BAND.match(record.attributes.get("Acquisition", ""))
        color = record.attributes.get("Color", "").lstrip("#")
        channels[number] = ChannelInfo(
            name=_word(record, "Target") or _word(record, "Fluorophore") or _word(record, "Acquisition"),
            excitation_nm=lamps.get(record.values.get("LightSourceName")),
            emission_nm=float(band[1]) if band else None,
            exposure_ms=record.number("ExposureTime"),
            color=color[-6:].upper() if re.fullmatch(r"[0-9A-Fa-f]{6}|[0-9A-Fa-f]{8}", color) else None,
        )
    return channels


def _pixel(record: Record) -> tuple[float, float] | None:
    width = record.number("HorizontalPixelDimension")
    height = record.number("VerticalPixelDimension") or width
    return (height, width) if height and width else None


def _seconds(text: str | None) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp() if text else None
    except ValueError:
        return None  # a clock nobody can read is no reason to refuse the plate


def _first(records: Sequence[Record], tag: str) -> Record | None:
    return next((record for record in records if record.tag == tag), None)


def _word(record: Record | None, name: str) -> str | None:
    return (record.attributes.get(name) or None) if record is not None else None


def _whole(record: Record | None, name: str) -> int | None:
    return (record.whole(name) or None) if record is not None else None
