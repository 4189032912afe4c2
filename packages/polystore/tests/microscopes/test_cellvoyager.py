"""Plates of CellVoyager, made here after public descriptions of its measurement files."""

from __future__ import annotations

from pathlib import Path

import pytest

from polystore import ImageKey, parse_path
from polystore.microscopes import open_plate

BTS = 'xmlns:bts="http://www.yokogawa.co.jp/BTS/BTSSchema/1.0"'
HEAD = '<?xml version="1.0" encoding="utf-8"?>\n'


def name(field: int, z: int, channel: int, t: int = 1) -> str:
    return f"Assay_7_B03_T{t:04d}F{field:03d}L01A{channel:02d}Z{z:02d}C{channel:02d}.tif"


def record(field: int, z: int, channel: int, t: int = 1, kind: str = "IMG") -> str:
    return (
        f'<bts:MeasurementRecord bts:Type="{kind}" bts:Time="2020-08-12T17:{35 + t}:36.234+02:00" bts:Column="3" '
        f'bts:Row="2" bts:TimePoint="{t}" bts:FieldIndex="{field}" bts:ZIndex="{z}" bts:TimelineIndex="1" '
        f'bts:ActionIndex="{channel}" bts:Action="3D" bts:X="{-1448.3 + 416 * (field - 1):.1f}" bts:Y="1517.7" '
        f'bts:Z="{1.5 * z:.1f}" bts:Ch="{channel}">{name(field, z, channel, t)}</bts:MeasurementRecord>\n'
    )


PLANES = [(f, z, ch, t) for f in (1, 2) for z in (1, 2, 3) for ch in (1, 3) for t in (1, 2)]


@pytest.fixture
def plate_folder(tmp_path: Path) -> Path:
    for plane in PLANES:
        (tmp_path / name(*plane)).touch()
    (tmp_path / "DC_sCMOS #1_CAM1.tif").touch()
    (tmp_path / "SC_BP445-45_40x_M10_CH01.tif").touch()
    records = "".join(record(*plane) for plane in PLANES)
    (tmp_path / "MeasurementData.mlf").write_text(
        f'{HEAD}<bts:MeasurementData bts:Version="1.0" {BTS}>\n{records}</bts:MeasurementData>\n'
    )
    camera = (
        '<bts:MeasurementChannel bts:Ch="{}" bts:HorizontalPixelDimension="0.325" bts:VerticalPixelDimension="0.325" '
        'bts:CameraNumber="1" />'
    )
    (tmp_path / "MeasurementDetail.mrf").write_text(
        f'{HEAD}<bts:MeasurementDetail bts:Version="1.0" bts:Title="T" bts:BeginTime="2020-08-12T17:30:00+02:00" '
        f'bts:RowCount="16" bts:ColumnCount="24" bts:TargetSystem="CV8000" {BTS}>'
        f'<bts:MeasurementSamplePlate bts:Name="Assay 7" />{camera.format(1)}{camera.format(3)}</bts:MeasurementDetail>'
    )
    (tmp_path / "setting.mes").write_text(
        f"{HEAD}<bts:MeasurementSetting {BTS}><bts:LightSourceList>"
        '<bts:LightSource bts:Name="405nm" bts:WaveLength="405" /></bts:LightSourceList><bts:ChannelList>'
        '<bts:Channel bts:Ch="1" bts:Target="DNA" bts:Acquisition="BP445/45" bts:ExposureTime="250" '
        'bts:Color="#FF002FFF"><bts:LightSourceName>405nm</bts:LightSourceName></bts:Channel>'
        '<bts:Channel bts:Ch="2" bts:Target="not taken" />'
        '<bts:Channel bts:Ch="3" bts:Acquisition="BP600/37" bts:ExposureTime="50" /></bts:ChannelList>'
        "</bts:MeasurementSetting>"
    )
    (tmp_path / "plate.wpi").write_text(
        f'{HEAD}<bts:WellPlate bts:Name="x" bts:Rows="16" bts:Columns="24" {BTS} />'
    )
    return tmp_path


def test_all_its_files(plate_folder: Path) -> None:
    plate = open_plate(plate_folder)
    assert (plate.microscope, plate.missing) == ("cellvoyager", ())
    assert plate.summary() == {
        "wells": ["B03"], "fields": [1, 2], "channels": [1, 3], "z": [1, 2, 3], "t": [1, 2], "planes": 24
    }  # fmt: skip
    assert [(note.kind, note.text) for note in plate.notes] == [
        ("derived", "2 files made from the images left out")
    ]
    info = plate.info
    assert (info.name, info.rows, info.columns) == ("Assay 7", 16, 24)
    assert (info.instrument, info.acquired) == ("CellVoyager CV8000", "2020-08-12T17:30:00+02:00")
    assert (info.pixel_size_um, info.z_step_um, info.t_step_s) == ((0.325, 0.325), 1.5, 60.0)
    assert [(n, c.name, c.excitation_nm, c.emission_nm, c.exposure_ms, c.color) for n, c in info.channels.items()] == [
        (1, "DNA", 405, 445, 250, "002FFF"), (3, "BP600/37", None, 600, 50, None)
    ]  # fmt: skip
    # y grows downwards in an image and upwards in the file
    assert info.positions_um == {("B03", 1): (-1517.7, -1448.3), ("B03", 2): (-1517.7, -1032.3)}


def test_images_the_instrument_failed_to_take_are_missing(plate_folder: Path) -> None:
    path = plate_folder / "MeasurementData.mlf"
    lost = PLANES[-1]
    path.write_text(path.read_text().replace(record(*lost), record(*lost, kind="ERR")))
    (plate_folder / name(*lost)).unlink()
    (plate_folder / name(*PLANES[0])).unlink()
    plate = open_plate(plate_folder)
    assert plate.missing == (
        ImageKey(well="B03", field=1, channel=1, z=1, t=1), ImageKey(well="B03", field=2, channel=3, z=3, t=2)
    )  # fmt: skip
    assert "1 images the instrument could not take, by its own account" in [note.text for note in plate.notes]


def test_without_its_files_the_names_are_enough(plate_folder: Path) -> None:
    for path in plate_folder.iterdir():
        if path.suffix != ".tif":
            path.unlink()
    plate = open_plate(plate_folder)
    assert (plate.microscope, len(plate), plate.info.name, plate.info.pixel_size_um) == (
        "cellvoyager",
        24,
        "Assay_7",
        None,
    )


def test_a_broken_file_costs_only_what_it_says(plate_folder: Path) -> None:
    (plate_folder / "setting.mes").write_text("<bts:x>")
    (plate_folder / "MeasurementDetail.mrf").write_bytes(b"")
    plate = open_plate(plate_folder)
    assert len(plate) == 24
    assert {note.kind for note in plate.notes} == {"derived", "unreadable"}
    assert (plate.info.rows, plate.info.z_step_um) == (16, 1.5)


def test_names() -> None:
    key = ImageKey(plate="Assay_7", well="B03", field=2, channel=3, z=1, t=2)
    assert parse_path("folder/" + name(2, 1, 3, 2)) == key
    assert parse_path("DC_sCMOS #1_CAM1.tif") == ImageKey()
