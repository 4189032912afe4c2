"""Two real ImageXpress acquisitions of the Friedrich Miescher Institute, counted by hand."""

from __future__ import annotations

import json
import pickle  # noqa: TID251
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polystore import FileManager
from polystore._cli import main
from polystore.errors import UnsupportedFormatError
from polystore.microscopes import MICROSCOPE_HANDLERS, open_plate
from polystore.plate import PlateIndex
from polystore.plate_copy import copy_plate, plan_copy

UUID = "E94C24BD-45E4-450A-9919-257C714278F7"
OTHER = "0B37A44C-FC67-4B3A-A740-A9EACF8A8F5F"


def kinds(plate: PlateIndex) -> Counter[str]:
    return Counter(note.kind for note in plate.notes)


def test_projection_mix(real: Path, files: FileManager, disk: Any) -> None:
    """2 wells x 2 sites x (w1: 10 z + 1, w2: 10 z + 1, w3: 1 projection, w4: 1 z) = 96 planes, 96 thumbnails."""
    plate = open_plate(real / "Projection-Mix", files)
    assert (plate.microscope, plate.backend) == ("imagexpress", "disk")
    assert plate.summary() == {
        "wells": ["E07", "E08"],
        "fields": [1, 2],
        "channels": [1, 2, 3, 4],
        "z": list(range(1, 11)),
        "t": [],
        "planes": 96,
    }
    assert Counter((plane.key.channel, plane.key.z) for plane in plate) == Counter(
        {
            **{(channel, z): 4 for channel in (1, 2) for z in (None, *range(1, 11))},
            (3, None): 4,
            (4, 1): 4,
        }
    )
    assert {(plane.key.plate, plane.key.acquisition) for plane in plate} == {(None, None)}
    assert plate.missing == ()
    assert [note.text for note in plate.notes] == ["96 thumbnails left out"]
    assert all(Path(plate.path_of(plane)).is_file() for plane in plate)
    info = plate.info
    assert (info.name, info.instrument) == ("Projection-Mix", "MetaXpress 6.5.2.351")
    assert (info.pixel_size_um, info.z_step_um, info.t_step_s) == ((1.3668, 1.3668), 5.0, None)
    assert info.acquired == "2023-02-21T10:41:56.561000"
    assert [(c.name, c.emission_nm, c.exposure_ms) for c in info.channels.values()] == [
        ("FITC_05", 536, 15), ("FITC_05-2", 536, 15), ("FITC_05-3", 536, 15), ("FITC_05-4", 536, 15)
    ]  # fmt: skip
    assert set(disk.listed.values()) == {1}, "one walk"
    assert len(disk.listed) == 13, "the plate, its date, its number and ten ZSteps"
    assert sum(disk.opened.values()) == 4, "one header for each channel"
    assert dict(info.positions_um) == {
        ("E07", 1): (41385.4, 79813.4),
        ("E07", 2): (41385.4, 80513.3),
        ("E08", 1): (41385.4, 88813.4),
        ("E08", 2): (41385.4, 89513.2),
    }
    assert max(disk.opened.values()) == 1, "no file is opened twice"
    assert sum(disk.opened.values()) == 7, "and one more for each field not seen yet"


def test_time_points(real: Path, files: FileManager, disk: Any) -> None:
    """1 well x 2 sites x 3 channels x 2 time points, no z in any name."""
    plate = open_plate(real / "1well-3C-2S-Zmix-T", files)
    assert plate.summary() == {
        "wells": ["C07"], "fields": [1, 2], "channels": [1, 2, 3], "z": [], "t": [1, 2], "planes": 12
    }  # fmt: skip
    assert plate.missing == ()
    assert plate.notes == ()
    info = plate.info
    assert [(c.name, c.emission_nm, c.exposure_ms) for c in info.channels.values()] == [
        ("FITC", 536, 80), ("Cy3", 593, 100), ("Texas Red", 624, 5)
    ]  # fmt: skip
    # 09:57:37.294 to 09:57:42.796, and no stack whose step could be known
    assert (info.pixel_size_um, info.z_step_um, info.t_step_s) == ((13.5504, 13.5504), None, 5.502)
    assert dict(info.positions_um) == {("C07", 1): (27625.7, 68300.0), ("C07", 2): (31094.5, 68300.0)}
    assert max(disk.opened.values()) == 1


@pytest.mark.parametrize("inside", ["2023-02-21", "2023-02-21/1334"])
def test_any_folder_above_the_images_will_do(real: Path, inside: str) -> None:
    plate = open_plate(real / "Projection-Mix" / inside)
    assert len(plate) == 96
    assert plate.info.name == "Projection-Mix"


def test_two_plates_in_one_folder_are_refused(real: Path) -> None:
    with pytest.raises(UnsupportedFormatError, match="holds 2 plates: 1well-3C-2S-Zmix-T .*, Projection-Mix"):
        open_plate(real)


def test_an_index_crosses_processes(real: Path) -> None:
    plate = open_plate(real / "1well-3C-2S-Zmix-T")
    again = pickle.loads(pickle.dumps(plate))
    assert again.planes == plate.planes
    assert dict(again.info.positions_um) == dict(plate.info.positions_um)


def test_broken_images_are_noted_and_the_plate_is_read(real: Path, tmp_path: Path) -> None:
    """The first header of channel 1 is cut off, the next one is asked; a whole file of zeros is no TIFF."""
    shutil.copytree(real / "1well-3C-2S-Zmix-T" / "2024-04-22", tmp_path / "p")
    images = sorted((tmp_path / "p").rglob("*_s1_w*.tif"))
    images[0].write_bytes(images[0].read_bytes()[:5000])
    images[1].write_bytes(b"")
    plate = open_plate(tmp_path / "p")
    assert len(plate) == 12
    assert kinds(plate) == {"unreadable": 2}
    assert "is cut off: it has 5000 bytes and needs" in plate.notes[0].text
    assert images[0].name in plate.notes[0].text
    assert "is empty" in plate.notes[1].text
    assert [channel.name for channel in plate.info.channels.values()] == ["FITC", "Cy3", "Texas Red"]


def test_of_two_files_the_later_acquired_counts(real: Path, tmp_path: Path) -> None:
    """Both say when they were taken, 5.5 s apart; the names would choose the other one."""
    source = real / "1well-3C-2S-Zmix-T" / "2024-04-22" / "1697"
    (early,) = (source / "TimePoint_1").glob("*_s1_w1*.tif")
    (late,) = (source / "TimePoint_2").glob("*_s1_w1*.tif")
    shutil.copy(early, tmp_path / f"P_A01_s1_w1{OTHER}.tif")
    shutil.copy(late, tmp_path / f"P_A01_s1_w1{UUID}.tif")
    assert [plane.path for plane in open_plate(tmp_path)] == [f"P_A01_s1_w1{UUID}.tif"]


def test_ls(real: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ls", str(real / "Projection-Mix"), "--check"]) == 0
    out = capsys.readouterr().out
    for line in (
        "Projection-Mix   imagexpress, on disk",
        "MetaXpress 6.5.2.351, acquired 2023-02-21 10:41:56",
        "wells        2   E07 E08",
        "fields       2   1, 2; in each well",
        "z            10   1-10; 5 \u00b5m apart",
        "planes       96   none missing",
        "1        FITC_05    536 nm    15 ms     1-10 and one without  44",
        "4        FITC_05-4  536 nm    15 ms     1                     4",
        "note: 96 thumbnails left out",
        "all 96 files are whole",
    ):
        assert line in out.splitlines()


def test_json_begins_with_the_summary(real: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ls", str(real / "1well-3C-2S-Zmix-T"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found)[:6] == ["wells", "fields", "channels", "z", "t", "planes"]
    assert [found[name] for name in list(found)[:6]] == [["C07"], [1, 2], [1, 2, 3], [], [1, 2], 12]
    assert (found["missing"], found["pixel_size_um"]) == ([], [13.5504, 13.5504])
    assert [channel["name"] for channel in found["channel_info"]] == ["FITC", "Cy3", "Texas Red"]


def test_values_of_a_plate(real: Path) -> None:
    handler = MICROSCOPE_HANDLERS["imagexpress"]()
    plate = real / "1well-3C-2S-Zmix-T"
    assert handler.get_channel_values(plate) == {1: "FITC", 2: "Cy3", 3: "Texas Red"}
    assert handler.get_timepoint_values(str(plate)) == {1: None, 2: None}
    assert handler.get_site_values(open_plate(plate)) == {1: None, 2: None}
    assert handler.get_z_index_values(plate) == {}
    assert handler.get_well_values(plate) == {"C07": None}


def test_both_real_plates_come_back_from_zarr(real: Path, tmp_path: Path) -> None:
    for name in ("Projection-Mix", "1well-3C-2S-Zmix-T"):
        source = open_plate(real / name)
        copy_plate(plan_copy(source, str(tmp_path / f"{name}.zarr")))
        plate = open_plate(tmp_path / f"{name}.zarr")
        assert plate.summary() == source.summary()
        assert set(plate.by_key) == set(source.by_key)
        assert dict(plate.info.positions_um) == dict(source.info.positions_um)
        files = FileManager()
        for key, plane in source.by_key.items():
            np.testing.assert_array_equal(
                files.load(plate.path_of(plate.by_key[key]), "zarr"),
                files.load(source.path_of(plane), "disk"),
            )
        shutil.rmtree(tmp_path / f"{name}.zarr")
