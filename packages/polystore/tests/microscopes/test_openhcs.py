"""Plates of OpenHCS, made here after public descriptions of ``openhcs_metadata.json``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from polystore import FileManager
from polystore.errors import NotFoundError
from polystore.microscopes import open_plate
from polystore.microscopes.openhcs import OpenHCSHandler

PART: dict[str, Any] = {
    "microscope_handler_name": "imagexpress",
    "source_filename_parser_name": "ImageXpressFilenameParser",
    "grid_dimensions": [2, 2],
    "pixel_size": 0.65,
    "image_files": [],
    "channels": {"1": "DAPI", "2": None},
    "wells": {"A01": None},
    "sites": {"1": None},
    "available_backends": {"disk": True, "zarr": False},
}


def plate(folder: Path, parts: dict[str, Any]) -> Path:
    for name in ("images", "results"):
        (folder / name).mkdir(parents=True)
        for channel in (1, 2):
            (folder / name / f"A01_s001_w{channel}_z001_t001.tif").touch()
    (folder / "results" / "A01_s001_w1_labels.tif").touch()
    (folder / "openhcs_metadata.json").write_text(json.dumps({"subdirectories": parts}))
    return folder


def test_the_main_folder_is_the_plate(tmp_path: Path) -> None:
    found = open_plate(plate(tmp_path, {"results": PART, "images": {**PART, "main": True}}))
    assert (found.microscope, found.backend) == ("openhcs", "disk")
    assert [entry.path for entry in found] == [
        f"images/A01_s001_w{channel}_z001_t001.tif" for channel in (1, 2)
    ]
    assert all(Path(found.path_of(entry)).is_file() for entry in found)
    assert found.missing == ()
    info = found.info
    assert (info.pixel_size_um, info.instrument) == ((0.65, 0.65), "imagexpress")
    assert {number: channel.name for number, channel in info.channels.items()} == {1: "DAPI", 2: None}
    assert [note.text for note in found.notes] == ["images are those of images, not of results"]


def test_the_first_folder_when_none_is_marked_and_the_older_form(tmp_path: Path) -> None:
    found = open_plate(plate(tmp_path / "new", {"results": PART, "images": PART}))
    assert {entry.path.partition("/")[0] for entry in found} == {"results"}
    assert "1 files made from the images left out" in [note.text for note in found.notes]
    old = tmp_path / "old"
    old.mkdir()
    (old / "A01_s001_w1_z001_t001.tif").touch()
    (old / "openhcs_metadata.json").write_text(json.dumps(PART))
    assert (len(open_plate(old)), open_plate(old).info.pixel_size_um) == (1, (0.65, 0.65))


def test_names_alone(tmp_path: Path) -> None:
    (tmp_path / "A01_s001_z000_c000.tif").touch()
    (tmp_path / "A01_s001_z001_c000.tif").touch()
    found = open_plate(tmp_path)
    assert (found.microscope, found.z, found.channels) == ("openhcs", (0, 1), (0,))


@pytest.mark.parametrize(
    ("part", "backend"),
    [
        ({"available_backends": {"disk": True, "zarr": True}}, "disk"),
        ({"available_backends": {"disk": False, "zarr": True}}, "zarr"),
        ({"available_backends": {}}, "disk"),
        ({"workspace_mapping": {"A01_s001_w1.tif": "source.tif"}, "available_backends": {"disk": True}},
         "virtual_workspace"),
    ],
)  # fmt: skip
def test_the_backend_is_what_the_metadata_say(tmp_path: Path, part: dict[str, Any], backend: str) -> None:
    plate(tmp_path, {"images": {**PART, **part}})
    assert OpenHCSHandler().get_primary_backend(tmp_path, FileManager()) == backend
    assert OpenHCSHandler().get_primary_backend("/data/plate.zarr", FileManager()) == "zarr"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{\n\n  broken", "openhcs_metadata.json, line 3: no JSON"),
        ("[]", "an object is needed, not a list"),
        ('{"subdirectories": []}', "subdirectories has to hold an object"),
        ('{"subdirectories": {"../x": {}}}', "subdirectory '../x' leaves the plate"),
        (
            '{"subdirectories": {".": {"pixel_size": "big"}}}',
            "pixel_size of '.' is 'big', not a positive number",
        ),
        ('{"subdirectories": {".": {"channels": [1]}}}', "channels of '.' have to be objects"),
        ("[" * 100_000, "no JSON"),
    ],
    ids=lambda value: value[:20],
)
def test_broken_metadata_are_noted(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "A01_s001_w1.tif").touch()
    (tmp_path / "openhcs_metadata.json").write_text(text)
    found = open_plate(tmp_path)
    assert len(found) == 1
    assert [reason in note.text for note in found.notes] == [True]


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    (tmp_path / "openhcs_metadata.json").write_text(json.dumps({"subdirectories": {"gone": PART}}))
    with pytest.raises(NotFoundError, match="its metadata name a folder 'gone' that is not there"):
        open_plate(tmp_path)
