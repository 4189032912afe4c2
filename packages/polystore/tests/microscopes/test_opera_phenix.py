"""Plates of Harmony, made here after public descriptions of both forms of its index file."""

from __future__ import annotations

from pathlib import Path

import pytest

from polystore import ImageKey
from polystore.errors import CorruptFileError, UnsupportedFormatError
from polystore.microscopes import open_plate
from polystore.microscopes._harmony import read_index

CHANNELS = {1: ("HOECHST 33342", 375, 456, 0.1), 2: ("Alexa 488", 488, 522, 0.2)}


def name(row: int, col: int, field: int, plane: int, channel: int, t: int = 1) -> str:
    return f"r{row:02d}c{col:02d}f{field:02d}p{plane:02d}-ch{channel}sk{t}fk1fl1.tiff"


def of_channel(channel: int) -> str:
    label, excitation, emission, exposure = CHANNELS[channel]
    return (
        f"<ChannelName>{label}</ChannelName><ImageResolutionX Unit='m'>2.9688132474701E-07</ImageResolutionX>"
        "<ImageResolutionY Unit='m'>2.9688132474701E-07</ImageResolutionY>"
        f"<MainExcitationWavelength Unit='nm'>{excitation}</MainExcitationWavelength>"
        f"<MainEmissionWavelength Unit='nm'>{emission}</MainEmissionWavelength>"
        f"<ExposureTime Unit='s'>{exposure}</ExposureTime>"
    )


def image(
    row: int, col: int, field: int, plane: int, channel: int, t: int = 1, *, extra: str = "", url: str = ""
) -> str:
    return (
        f"<Image Version='1'><id>{row:02d}{col:02d}K{t}F{field}P{plane}R{channel}</id><State>Ok</State>"
        f"<URL>{url or name(row, col, field, plane, channel, t)}</URL><Row>{row}</Row><Col>{col}</Col>"
        f"<FieldID>{field}</FieldID><PlaneID>{plane}</PlaneID><TimepointID>{t - 1}</TimepointID>"
        f"<ChannelID>{channel}</ChannelID><FlimID>1</FlimID>{extra}"
        f"<PositionX Unit='m'>{(field - 1) * 0.0006:.10f}</PositionX><PositionY Unit='m'>0.0003</PositionY>"
        f"<PositionZ Unit='m'>{plane * 2e-06:.3E}</PositionZ>"
        f"<MeasurementTimeOffset Unit='s'>{(t - 1) * 90.5}</MeasurementTimeOffset>"
        "<AbsTime>2021-03-04T11:12:13.5+01:00</AbsTime></Image>\n"
    )


PLATE = (
    "<Plates><Plate><PlateID>P0815</PlateID><MeasurementStartTime>2021-03-04T11:10:00+01:00</MeasurementStartTime>"
    "<Name>Screen 7</Name><PlateTypeName>384 CellCarrier</PlateTypeName><PlateRows>16</PlateRows>"
    "<PlateColumns>24</PlateColumns><Well id='0203' /></Plate></Plates>"
    "<Wells><Well><id>0203</id><Row>2</Row><Col>3</Col><Image id='0203K1F1P1R1' /></Well></Wells>"
)


def index(images: list[str], maps: str = "") -> str:
    return (
        '\ufeff<?xml version="1.0" encoding="utf-8"?>\n'
        "<EvaluationInputData xmlns='http://www.perkinelmer.com/PEHH/HarmonyV5' Version='1'>"
        f"<InstrumentType>Phenix</InstrumentType>{PLATE}{maps}\n<Images>\n{''.join(images)}</Images></EvaluationInputData>"
    )


PLANES = [(2, 3, f, p, ch, t) for f in (1, 2) for p in (1, 2, 3) for ch in (1, 2) for t in (1, 2)]


def with_images(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for plane in PLANES:
        (folder / name(*plane)).touch()
    return folder


def version_5(folder: Path) -> None:
    (folder / "Index.idx.xml").write_text(
        index([image(*plane, extra=of_channel(plane[4])) for plane in PLANES]), encoding="utf-8"
    )


def version_7(folder: Path) -> None:
    entries = "".join(f"<Entry ChannelID='{channel}'>{of_channel(channel)}</Entry>" for channel in CHANNELS)
    flat = "<Map><Entry ChannelID='1'><FlatfieldProfile>{Background: {}}</FlatfieldProfile></Entry></Map>"
    maps = f"<Maps>{flat}<Map>{entries}</Map></Maps>"
    (folder / "Index.xml").write_text(index([image(*plane) for plane in PLANES], maps), encoding="utf-8")


@pytest.mark.parametrize("write", [version_5, version_7])
def test_an_index_of_either_form(tmp_path: Path, write: object) -> None:
    write(with_images(tmp_path / "Measurement 1" / "Images"))  # type: ignore[operator]
    plate = open_plate(tmp_path)
    assert (plate.microscope, plate.missing, plate.notes) == ("opera_phenix", (), ())
    assert plate.summary() == {
        "wells": ["B03"], "fields": [1, 2], "channels": [1, 2], "z": [1, 2, 3], "t": [1, 2], "planes": 24
    }  # fmt: skip
    info = plate.info
    assert (info.name, info.rows, info.columns, info.instrument) == ("Screen 7", 16, 24, "Phenix")
    assert info.acquired == "2021-03-04T11:10:00+01:00"
    assert info.pixel_size_um == (0.296881, 0.296881)
    assert (info.z_step_um, info.t_step_s) == (2.0, 90.5)
    assert [(c.name, c.excitation_nm, c.emission_nm, c.exposure_ms) for c in info.channels.values()] == [
        ("HOECHST 33342", 375, 456, 100), ("Alexa 488", 488, 522, 200)
    ]  # fmt: skip
    # y grows downwards in an image and upwards in the file
    assert info.positions_um == {("B03", 1): (-300.0, 0.0), ("B03", 2): (-300.0, 600.0)}


def test_names_alone_are_enough(tmp_path: Path) -> None:
    with_images(tmp_path / "Images")
    plate = open_plate(tmp_path)
    assert (len(plate), plate.missing, dict(plate.info.channels)) == (24, (), {})


def test_what_the_index_lists_and_is_not_there_is_missing(tmp_path: Path) -> None:
    folder = with_images(tmp_path / "Images")
    version_5(folder)
    (folder / name(2, 3, 2, 3, 2, 2)).unlink()
    for plane in PLANES:
        if plane[2] == 1:
            (folder / name(*plane)).unlink()
    plate = open_plate(tmp_path)
    assert len(plate.missing) == 13
    assert plate.missing[-1] == ImageKey(well="B03", field=2, channel=2, z=3, t=2)


def test_names_the_parser_does_not_know_are_those_of_the_index(tmp_path: Path) -> None:
    (tmp_path / "0001.tiff").touch()
    (tmp_path / "Index.idx.xml").write_text(
        index([image(16, 24, 9, 1, 1, url="http://server/images/0001.tiff", extra=of_channel(1))]),
        encoding="utf-8",
    )
    plate = open_plate(tmp_path)
    assert [(plane.key, plane.path) for plane in plate] == [
        (ImageKey(well="P24", field=9, channel=1, z=1, t=1), "0001.tiff")
    ]


def test_a_broken_index_is_noted_with_its_line_and_names_are_used(tmp_path: Path) -> None:
    folder = with_images(tmp_path / "Images")
    version_5(folder)
    path = folder / "Index.idx.xml"
    path.write_text(
        path.read_text(encoding="utf-8").replace(
            "<Row>2</Row><Col>3</Col><FieldID>2", "<Row>two</Row><Col>3</Col><FieldID>2"
        ),
        encoding="utf-8",
    )
    plate = open_plate(tmp_path)
    assert len(plate) == 24
    (note,) = plate.notes
    assert "Index.idx.xml, line 16: <Image> cannot be used: Row is 'two', not a number" in note.text


@pytest.mark.parametrize("row", ["0", "-1", "99999"])
def test_impossible_wells(row: str) -> None:
    import io

    text = index([image(2, 3, 1, 1, 1).replace("<Row>2", f"<Row>{row}")])
    with pytest.raises(CorruptFileError, match="line 4"):
        read_index(io.BytesIO(text.encode()), "Index.xml")


def test_two_plates_are_refused(tmp_path: Path) -> None:
    for number in (1, 2):
        folder = with_images(tmp_path / f"P{number}" / "Images")
        version_7(folder)
        path = folder / "Index.xml"
        path.write_text(path.read_text(encoding="utf-8").replace("P0815", f"P{number}"), encoding="utf-8")
    with pytest.raises(UnsupportedFormatError, match=r"holds 2 plates: P1 \(P1/Images/Index.xml\), P2 "):
        open_plate(tmp_path)


def test_two_measurements_of_one_plate(tmp_path: Path) -> None:
    for number in (1, 2):
        version_7(with_images(tmp_path / f"P0815__2021-Measurement {number}" / "Images"))
    (tmp_path / "P0815__2021-Measurement 2" / "Images" / name(2, 3, 1, 1, 1)).unlink()
    plate = open_plate(tmp_path)
    assert len(plate) == 47
    assert plate.values("acquisition") == (
        "P0815__2021-Measurement 1_Images", "P0815__2021-Measurement 2_Images"
    )  # fmt: skip
    assert [str(key.acquisition) for key in plate.missing] == ["P0815__2021-Measurement 2_Images"]
