"""ImageXpress plates with an HTD file, exported plates, and large ones; made here."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from polystore import FileManager, ImageKey, parse_path
from polystore.errors import CorruptFileError
from polystore.microscopes import open_plate
from polystore.microscopes._htd import read_htd
from polystore.microscopes._metamorph import MetaMorphPlane, read_plane

UUID = "E94C24BD-45E4-450A-9919-257C714278F7"


def htd(*, sites: str = "TRUE", wells: tuple[str, ...] = ("TRUE, TRUE, FALSE", "FALSE, FALSE, FALSE")) -> str:
    rows = "".join(f'"WellsSelection{row}", {cells}\r\n' for row, cells in enumerate(wells, start=1))
    return (
        '"HTSInfoFile", Version 1.0\r\n"Description", "first ""try"", 10 \u00b5m"\r\n"TimePoints", 1\r\n'
        f'"XWells", 3\r\n"YWells", 2\r\n{rows}"Sites", {sites}\r\n"XSites", 2\r\n"YSites", 2\r\n'
        '"SiteSelection1", TRUE, FALSE\r\n"SiteSelection2", FALSE, TRUE\r\n"Waves", TRUE\r\n"NWavelengths", 2\r\n'
        '"WaveName1", "DAPI"\r\n"WaveName2", "Cy5, far red"\r\n"EndFile"\r\n'
    )


def test_an_exported_plate_with_htd(tmp_path: Path) -> None:
    """Without UUIDs, in TimePoint_1; the HTD says how large the plate is and that well A02 was to be taken."""
    (tmp_path / "P.HTD").write_text(htd(), encoding="utf-8")
    (tmp_path / "TimePoint_1").mkdir()
    for site in (1, 2):
        for wave in (1, 2):
            (tmp_path / "TimePoint_1" / f"P_A01_s{site}_w{wave}.TIF").touch()
    plate = open_plate(tmp_path)
    assert (plate.info.rows, plate.info.columns, plate.info.name) == (2, 3, "P")
    assert {number: channel.name for number, channel in plate.info.channels.items()} == {
        1: "DAPI",
        2: "Cy5, far red",
    }
    assert plate.summary()["planes"] == 4
    assert plate.missing == tuple(
        ImageKey(well="A02", field=site, channel=wave, t=1) for site in (1, 2) for wave in (1, 2)
    )


def test_a_plate_without_sites(tmp_path: Path) -> None:
    (tmp_path / "P.htd").write_text(htd(sites="FALSE"), encoding="utf-8")
    for well in ("A01", "A02"):
        (tmp_path / f"P_{well}_w1{UUID}.tif").touch()
    plate = open_plate(tmp_path)
    assert (plate.fields, plate.missing) == ((), ())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "P.HTD, line 1: not an HTD file"),
        (b'"HTSInfoFile", Version 1.0\n\n"XWells", many\n', "P.HTD, line 3: XWells is 'many', not a number"),
    ],
)
def test_a_broken_htd_names_its_line(content: bytes, reason: str) -> None:
    with pytest.raises(CorruptFileError, match=reason):
        read_htd(io.BytesIO(content), "P.HTD")


def test_an_htd_in_another_encoding_and_of_absurd_size() -> None:
    read = read_htd(io.BytesIO(htd().encode("cp1252")), "P.HTD")
    assert (read.wells, read.sites, read.time_points) == (("A01", "A02"), 2, 1)
    huge = b'"HTSInfoFile", Version 1.0\n"YSites", 4000000000\n"NWavelengths", 4000000000\n'
    assert read_htd(io.BytesIO(huge), "P.HTD").wells == ()
    with pytest.raises(CorruptFileError, match="P.HTD, line 3: a plate of 4000000000 x 3 wells"):
        read_htd(io.BytesIO(b'"HTSInfoFile", Version 1.0\n"XWells", 3\n"YWells", 4000000000\n'), "P.HTD")
    with pytest.raises(CorruptFileError, match="larger than"):
        read_htd(io.BytesIO(b"x" * (1 << 23)), "P.HTD")


def tiff(description: bytes, **options: Any) -> bytes:
    import numpy as np
    import tifffile

    stream = io.BytesIO()
    tifffile.imwrite(stream, np.zeros((4, 4), "u2"), description=description, metadata=None, **options)
    return stream.getvalue()


PROPS = {
    "spatial-calibration-state": "on", "spatial-calibration-x": "0.65", "spatial-calibration-y": "0.66",
    "spatial-calibration-units": "\u00b5m", "image-name": "DAPI", "_IllumSetting_": "DAPI", "wavelength": "447",
    "stage-position-x": "10.5", "stage-position-y": "-3", "z-position": "7", "Exposure Time": "0.5 s",
    "acquisition-time-local": "20240422 09:57:37", "ApplicationVersion": "6.7",
}  # fmt: skip


def metamorph(**changes: str) -> str:
    props = {**PROPS, **changes}
    return (
        "<MetaData><PlaneInfo>"
        + "".join(f'<prop id="{k}" value="{v}"/>' for k, v in props.items())
        + "</PlaneInfo></MetaData>"
    )


def plane(description: str | bytes) -> MetaMorphPlane:
    content = description.encode() if isinstance(description, str) else description
    return read_plane(io.BytesIO(tiff(content)), "a.tif")


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_metadata_in_either_encoding(encoding: str) -> None:
    read = plane(metamorph().encode(encoding))
    assert (read.pixel_um, read.position_um, read.exposure_ms) == ((0.66, 0.65), (-3, 10.5), 500)
    assert str(read.time) == "2024-04-22 09:57:37"


def test_an_uncalibrated_image_has_no_pixel_size() -> None:
    assert plane(metamorph(**{"spatial-calibration-state": "off"})).pixel_um is None
    assert plane(metamorph(**{"spatial-calibration-units": "furlong"})).pixel_um is None
    assert plane(metamorph(wavelength="0", **{"Exposure Time": "some"})).exposure_ms is None
    assert plane("ImageJ=1.53").name is None


def test_a_value_that_is_no_number_names_the_image() -> None:
    with pytest.raises(
        CorruptFileError, match=r"a.tif \(ImageDescription\), line 1: .* value is 'x', not a number"
    ):
        plane(metamorph(wavelength="x"))


def test_names_with_a_uuid_in_brackets() -> None:
    expected = ImageKey(plate="P", well="A01", field=1)
    assert parse_path(f"P_A01_s1_[{UUID}].tif") == expected
    assert parse_path(f"P_A01_s1_[{UUID}.tif") == ImageKey()


def large(folder: Path, rows: str, columns: int, fields: int, channels: int) -> int:
    for t in (1, 2):
        inside = folder / "2024-01-01" / "7" / f"TimePoint_{t}"
        inside.mkdir(parents=True)
        for row in rows:
            for column in range(1, columns + 1):
                for field in range(1, fields + 1):
                    for channel in range(1, channels + 1):
                        (inside / f"Big_{row}{column:02d}_s{field}_w{channel}{UUID}.tif").touch()
    return 2 * len(rows) * columns * fields * channels


def look(folder: Path, files: FileManager, disk: Any, count: int, channels: int) -> None:
    plate = open_plate(folder, files)
    assert (len(plate), plate.missing) == (count, ())
    assert set(disk.listed.values()) == {1}
    assert len(disk.listed) == 5
    assert sum(disk.opened.values()) <= 3 * channels + 2, (
        "headers tried for each channel, and two for the time"
    )
    assert {note.kind for note in plate.notes} == {"unreadable"}


def test_a_plate_of_empty_files_costs_a_walk_and_a_few_opens(
    tmp_path: Path, files: FileManager, disk: Any
) -> None:
    count = large(tmp_path, "ABCD", 6, 4, 3)
    look(tmp_path, files, disk, count, 3)


@pytest.mark.slow
def test_a_full_384_well_plate_of_empty_files(tmp_path: Path, files: FileManager, disk: Any) -> None:
    count = large(tmp_path, "ABCDEFGHIJKLMNOP", 24, 9, 8)
    assert count == 55_296
    look(tmp_path, files, disk, count, 8)
