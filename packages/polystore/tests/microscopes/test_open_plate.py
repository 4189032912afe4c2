"""Folders to plates, with small folders made here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from polystore import FileManager, ImageKey
from polystore.errors import BackendNotFoundError, NotFoundError, UnsupportedFormatError
from polystore.microscopes import open_plate
from polystore.microscopes.filename_parser import ParsedName
from polystore.microscopes.microscope_base import MicroscopeHandler
from polystore.plate import PlateIndex

UUID = "E94C24BD-45E4-450A-9919-257C714278F7"
OTHER = "0B37A44C-FC67-4B3A-A740-A9EACF8A8F5F"


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def kinds(plate: PlateIndex) -> Counter[str]:
    return Counter(note.kind for note in plate.notes)


def test_missing_planes_are_told(tmp_path: Path) -> None:
    touch(
        tmp_path,
        *(f"P_{well}_s{site}_w{w}.tif" for well in ("A01", "B02") for site in (1, 2) for w in (1, 2)),
    )
    (tmp_path / "P_B02_s2_w1.tif").unlink()
    plate = open_plate(tmp_path)
    assert len(plate) == 7
    assert plate.missing == (ImageKey(well="B02", field=2, channel=1),)


def test_two_files_for_one_plane_are_both_named(tmp_path: Path) -> None:
    touch(tmp_path, f"P_A01_s1_w1{UUID}.tif", f"P_A01_s1_w1{OTHER}.tif")
    plate = open_plate(tmp_path)
    assert len(plate) == 1
    (note,) = [note for note in plate.notes if note.kind == "duplicate"]
    assert note.text == (
        f"2 files for well=A01, field=1, channel=1: P_A01_s1_w1{OTHER}.tif is used, not P_A01_s1_w1{UUID}.tif"
    )
    assert note.paths == (f"P_A01_s1_w1{OTHER}.tif", f"P_A01_s1_w1{UUID}.tif")


def test_very_many_double_files_are_told_and_not_compared(
    tmp_path: Path, files: FileManager, disk: Any
) -> None:
    touch(tmp_path, *(f"P_A01_s{site}_w1{uuid}.tif" for site in range(1, 301) for uuid in (UUID, OTHER)))
    plate = open_plate(tmp_path, files)
    assert len(plate) == 300
    assert all(OTHER in plane.path for plane in plate)
    assert kinds(plate)["duplicate"] == 257
    assert "several files for 300 planes" in plate.notes[256].text
    assert sum(disk.opened.values()) <= 3


def test_a_folder_of_a_whole_screen_is_told_at_once(tmp_path: Path, files: FileManager, disk: Any) -> None:
    touch(tmp_path, *(f"P{number:02d}/P{number:02d}_A01_s1_w1.tif" for number in range(30)))
    with pytest.raises(
        UnsupportedFormatError, match=r"holds more than 5 plates: P00 \(P00/P00_A01_s1_w1.tif\), P01"
    ):
        open_plate(tmp_path, files)
    assert len(disk.listed) < 30


def test_a_plate_taken_twice_has_two_acquisitions(tmp_path: Path) -> None:
    touch(tmp_path, f"P/2024-01-01/11/P_A01_s1_w1{UUID}.tif", f"P/2024-01-02/12/P_A01_s1_w1{OTHER}.tif")
    plate = open_plate(tmp_path)
    assert [plane.key.acquisition for plane in plate] == ["11", "12"]
    assert plate.missing == ()
    assert kinds(plate)["folders"] == 1
    assert "duplicate" not in kinds(plate)


def test_other_files_do_no_harm(tmp_path: Path) -> None:
    touch(
        tmp_path, "P_A01_s1_w1.tif", "P_A01_s2_w1.tif", "P_A01_s1_w1_thumb.tif", "notes.txt", "overview.tif",
        ".hidden/P_A02_s1_w1.tif", "old.zarr/P_A03_s1_w1.tif", "._P_A01_s1_w1.tif",
    )  # fmt: skip
    (tmp_path / "loop").symlink_to(tmp_path)
    plate = open_plate(tmp_path)
    assert [plane.path for plane in plate] == ["P_A01_s1_w1.tif", "P_A01_s2_w1.tif"]
    found = {note.kind: note.paths for note in plate.notes}
    assert found["folders"] == ("loop",)
    assert found["thumbnail"] == ("P_A01_s1_w1_thumb.tif",)
    assert found["unknown"] == ("overview.tif",)


def test_nothing_fits(tmp_path: Path) -> None:
    touch(tmp_path, "holiday_1.tif", "holiday_2.tif")
    with pytest.raises(UnsupportedFormatError) as caught:
        open_plate(tmp_path)
    text = str(caught.value)
    assert "2 files such as holiday_1.tif, holiday_2.tif" in text
    for name in ("imagexpress", "opera_phenix", "openhcs"):
        assert f"\n  {name}: " in text


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no plate at .*nope: nothing is there on disk or in memory"):
        open_plate(tmp_path / "nope")
    with pytest.raises(UnsupportedFormatError, match="there are no file"):
        open_plate(tmp_path)
    with pytest.raises(BackendNotFoundError, match="did you mean 'imagexpress'"):
        open_plate(tmp_path, microscope="imagexpres")
    with pytest.raises(
        UnsupportedFormatError, match="no image of opera_phenix in .*looked for images such as r01c01"
    ):
        open_plate(touch(tmp_path, "P_A01_s1_w1.tif"), microscope="opera_phenix")


def test_a_file_in_the_plate_stands_for_it(tmp_path: Path) -> None:
    touch(tmp_path, "P_A01_s1_w1.tif")
    assert open_plate(tmp_path / "P_A01_s1_w1.tif").root == str(tmp_path)


def test_names_alone_in_a_store_without_bytes() -> None:
    """A plate in memory: planes by name, and what its files would say is noted as unknown."""
    manager = FileManager()
    import numpy as np

    manager.save(np.zeros((2, 2), "u2"), "/mem-plate/P_A01_s1_w1.tif", "memory")
    plate = open_plate("/mem-plate", manager)
    assert (plate.backend, len(plate)) == ("memory", 1)
    assert kinds(plate) == {"unreadable": 1}
    manager.delete("/mem-plate", "memory", recursive=True)


@pytest.fixture
def somebodys() -> Iterator[type[MicroscopeHandler]]:
    from polystore.microscopes import HANDLERS

    class Handler(MicroscopeHandler):
        _microscope_type = "somebodys"

        def parse_filename(self, filename: str) -> ParsedName | None:
            if not filename.startswith("img-"):
                return None
            return ParsedName(ImageKey(well=filename[4:7]), "somebodys")

    yield Handler
    HANDLERS.unregister("somebodys")


def test_a_handler_of_somebody_else(tmp_path: Path, somebodys: type[MicroscopeHandler]) -> None:
    touch(tmp_path, "img-C03.png", "img-C04.png")
    plate = open_plate(tmp_path)
    assert (plate.microscope, plate.wells) == ("somebodys", ("C03", "C04"))
    assert open_plate(tmp_path, microscope=somebodys).planes == plate.planes
    assert open_plate(tmp_path, microscope=somebodys()).planes == plate.planes
