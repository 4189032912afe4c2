"""Plates that lie elsewhere than on disk: in a bucket, in OME-Zarr."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from polystore import FileManager
from polystore._cli import main
from polystore.microscopes import open_plate
from polystore.plate import PlateIndex
from polystore.plate_copy import copy_plate, plan_copy

NAMES = [f"TimePoint_{t}/P_{well}_s{s}_w1.tif" for t in (1, 2) for well in ("A01", "B02") for s in (1, 2)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = FileManager()
    for number, name in enumerate(NAMES):
        files.save(np.full((4, 4), number, "u2"), tmp_path / "P" / name, "disk")
    return tmp_path / "P"


def pixels(plate: PlateIndex) -> dict[str, int]:
    files = FileManager()
    return {str(plane.key): int(files.load(plate.path_of(plane), plate.backend)[0, 0]) for plane in plate}


def test_a_plate_in_a_bucket(bucket: str, folder: Path) -> None:
    files = FileManager()
    for name in NAMES:
        files.backend("cloud").write_bytes((folder / name).read_bytes(), f"{bucket}/screens/P/{name}")
    plate = open_plate(f"{bucket}/screens/P")
    assert (plate.backend, plate.microscope, plate.notes) == ("cloud", "imagexpress", ())
    on_disk = open_plate(folder)
    assert plate.planes == on_disk.planes
    assert pixels(plate) == pixels(on_disk)


def test_a_plate_in_zarr(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = open_plate(folder)
    copy_plate(plan_copy(source, str(tmp_path / "P.zarr")))
    plate = open_plate(tmp_path / "P.zarr")
    assert plate.backend == "zarr"
    assert plate.summary() == source.summary()
    assert pixels(plate) == pixels(source)
    assert main(["ls", str(tmp_path / "P.zarr")]) == 0
    assert "planes       8   none missing" in capsys.readouterr().out
    assert main(["ls", str(tmp_path / "P.zarr"), "--check"]) == 1
    assert "cannot be checked file by file: backend 'zarr'" in capsys.readouterr().err
