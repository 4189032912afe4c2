"""What stands where something is saved: it goes when the new is there, and not before."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from polystore.backends.zarr import ZarrBackend
from polystore.errors import (
    AlreadyExistsError,
    NotAFolderError,
    StorageError,
    UnsafePathError,
    UnsupportedFormatError,
)
from polystore.omezarr import writer

ENGINE: Any = os.environ.get("POLYSTORE_TEST_ZARR_ENGINE", "zarr")


def ones(shape: tuple[int, ...] = (8, 8), dtype: str = "uint16", value: int = 1) -> NDArray[Any]:
    return np.full(shape, value, dtype)


@pytest.fixture(params=["0.5", "0.4"])
def store(request: pytest.FixtureRequest) -> ZarrBackend:
    return ZarrBackend(version=request.param, engine=ENGINE)


def fail(*arguments: object, **options: object) -> None:
    raise StorageError("no room", errno=28)


@pytest.mark.parametrize("other", [ones(dtype="float32"), ones((4, 4))])
def test_without_overwrite_a_plane_of_another_sort_stays(
    store: ZarrBackend, tmp_path: Path, other: NDArray[Any]
) -> None:
    path = tmp_path / "p.zarr/A01_s1_w1.tif"
    store.save(ones(), path)
    with pytest.raises(AlreadyExistsError):
        store.save(other, path, overwrite=False)
    with pytest.raises(AlreadyExistsError):
        store.save(other, tmp_path / "p.zarr/A01_s01_w1.tif")  # another spelling of the same plane
    np.testing.assert_array_equal(store.load(path), ones())
    assert store.list_files(tmp_path / "p.zarr") == [str(path)]


def test_a_plane_of_another_size_replaces_the_old_when_it_is_there(
    store: ZarrBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "p.zarr/A01_s001_w1.tif"
    store.save(ones(), path)
    with monkeypatch.context() as patch:
        patch.setattr(writer, "write_plane", fail)
        with pytest.raises(StorageError, match="no room"):
            store.save(ones((4, 4)), path)
    np.testing.assert_array_equal(store.load(path), ones())
    store.save(ones((4, 4), value=3), path)
    np.testing.assert_array_equal(store.load(path), ones((4, 4), value=3))
    store.save(ones((4, 4), value=5), tmp_path / "p.zarr/A01_s001_w2.tif")
    assert len(store.list_files(tmp_path / "p.zarr")) == 2
    field = tmp_path / "p.zarr/A/1/1"
    files = [file for file in field.rglob("*") if file.is_file()]
    arrays = [
        file for file in files if file.name == ".zarray" or '"array"' in file.read_bytes().decode("latin-1")
    ]
    assert len(arrays) == 1  # nothing of the old or of the failed one is left


def test_a_refused_plane_leaves_the_image_that_has_its_name(store: ZarrBackend, tmp_path: Path) -> None:
    plate = tmp_path / "p.zarr"
    store.save(ones((3, 8, 8)), plate / "A01_s001_w1.tif")  # not two-dimensional: an image of its own
    store.save(ones(), plate / "A01_s001_w2.tif")
    with pytest.raises(UnsupportedFormatError, match="one dtype"):
        store.save(ones(dtype="float32"), plate / "A01_s001_w1.tif")
    np.testing.assert_array_equal(store.load(plate / "A01_s001_w1.tif"), ones((3, 8, 8)))
    store.save(ones(), plate / "A01_s001_w1.tif")
    np.testing.assert_array_equal(store.load(plate / "A01_s001_w1.tif"), ones())


def test_a_refused_overwrite_leaves_the_smaller_copies(tmp_path: Path) -> None:
    store = ZarrBackend(engine=ENGINE, pyramid=True)
    path = tmp_path / "p.zarr/A01_s001_w1.tif"
    store.save(ones((2100, 64), value=7), path)
    with pytest.raises(AlreadyExistsError):
        store.save(ones((2100, 64), value=9), path, overwrite=False)
    assert store.load(path).max() == store.load(path, level=1).max() == 7


def test_labels_of_a_writer_that_died_are_listed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plate, store = tmp_path / "p.zarr", ZarrBackend(engine=ENGINE)
    store.save(ones(), plate / "A01_s001_w1.tif")
    with monkeypatch.context() as patch:
        patch.setattr(writer.labels, "register", fail)
        with pytest.raises(StorageError):
            store.save(ones(dtype="int32"), plate / "A01_s001_w1_labels.tif")
    store.save(ones(dtype="int32"), plate / "A01_s001_w1_labels.tif")
    group = json.loads((plate / "A/1/1/labels/zarr.json").read_text())
    assert group["attributes"]["ome"]["labels"] == ["labels"]
    assert f"{plate}/A01_s001_w1_labels.tif" in store.list_files(plate)


def test_nothing_is_saved_into_the_structure_of_a_plate_at_any_depth(
    store: ZarrBackend, tmp_path: Path
) -> None:
    plate = tmp_path / "p.zarr"
    store.save(ones(), plate / "A01_s001_w1.tif")
    for name in ("A/1/1/zarr.json", "A/1/x.npy", "A/1/1/A01_s001_w1.tif"):
        with pytest.raises(UnsafePathError):
            store.save(ones(), plate / name)
    np.testing.assert_array_equal(store.load(plate / "A01_s001_w1.tif"), ones())


def test_nothing_is_saved_below_an_image(store: ZarrBackend, tmp_path: Path) -> None:
    store.save(ones((3, 8, 8)), tmp_path / "mean.tif")
    with pytest.raises(NotAFolderError):
        store.save(ones(), tmp_path / "mean.tif/A01_s001_w1.tif")


def test_acquisitions_with_like_names_are_two(store: ZarrBackend, tmp_path: Path) -> None:
    plate = tmp_path / "p.zarr"
    assert writer.plates._acquisition_id("plate1_a") != writer.plates._acquisition_id("plate1_b")
    assert writer.plates._acquisition_id("²") != writer.plates._acquisition_id("2") == 2
    store.save(ones(), plate / "A01_s001_w1.tif")
    assert len(store.plate(plate)) == 1
