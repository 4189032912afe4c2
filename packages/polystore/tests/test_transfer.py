"""Copying, moving and linking by a FileManager, within a backend and between two."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polystore import FileManager
from polystore.backends.disk import DiskBackend
from polystore.backends.memory import MemoryBackend
from polystore.errors import AlreadyExistsError, BackendLoadError, NotFoundError, StorageError
from polystore.testing import example_image


@pytest.fixture
def fm(tmp_path: Path) -> FileManager:
    manager = FileManager()
    manager.mount("memory", MemoryBackend())
    manager.mount("disk", DiskBackend(tmp_path / "disk"))
    manager.mount("other", DiskBackend(tmp_path / "other"))
    return manager


def tree(fm: FileManager, backend: str) -> None:
    fm.save(example_image(1), "d/a.tif", backend)
    fm.save(example_image(2), "d/e/b.npy", backend)
    fm.save({"n": 1}, "d/e/c.json", backend)
    fm.mkdir("d/empty", backend)


@pytest.mark.parametrize("pair", [("memory", "disk"), ("disk", "memory"), ("disk", "other")])
@pytest.mark.parametrize("verb", ["copy", "move"])
def test_a_folder_goes_from_one_backend_to_another(fm: FileManager, pair: tuple[str, str], verb: str) -> None:
    first, second = pair
    tree(fm, first)
    getattr(fm, verb)("d", "new/d", first, to_backend=second)
    np.testing.assert_array_equal(fm.load("new/d/a.tif", second), example_image(1))
    np.testing.assert_array_equal(fm.load("new/d/e/b.npy", second), example_image(2))
    assert fm.load("new/d/e/c.json", second) == {"n": 1}
    assert fm.is_dir("new/d/empty", second)
    assert fm.exists("d/e/c.json", first) == (verb == "copy")
    assert fm.exists("d", first) == (verb == "copy")


def test_between_stores_of_bytes_a_file_stays_the_same_file(fm: FileManager, tmp_path: Path) -> None:
    fm.save(example_image(), "a.tif", "disk", compression="zlib", pixel_size=(0.5, 0.5))
    (tmp_path / "disk" / "notes.unknown").write_bytes(b"\0\1")
    fm.copy("a.tif", "a.tif", "disk", to_backend="other")
    fm.copy("notes.unknown", "notes.unknown", "disk", to_backend="other")
    for name in ("a.tif", "notes.unknown"):
        assert (tmp_path / "other" / name).read_bytes() == (tmp_path / "disk" / name).read_bytes()


def test_to_a_bucket_and_back_a_file_stays_the_same_file(
    fm: FileManager, bucket: str, tmp_path: Path
) -> None:
    tree(fm, "disk")
    fm.save(example_image(), "d/z.tif", "disk", compression="zlib", pixel_size=(0.5, 0.5))
    fm.copy("d", f"{bucket}/d", "disk", to_backend="auto")
    fm.move(f"{bucket}/d", "back", "cloud", to_backend="other")
    assert not fm.exists(f"{bucket}/d", "cloud")
    assert fm.load("back/e/c.json", "other") == {"n": 1}
    for name in ("a.tif", "z.tif", "e/b.npy"):
        before, after = tmp_path / "disk" / "d" / name, tmp_path / "other" / "back" / name
        assert before.read_bytes() == after.read_bytes()


def test_to_a_plate_of_ome_zarr_and_back(fm: FileManager, tmp_path: Path) -> None:
    names = ["A01_s001_w1.tif", "A01_s001_w2.tif", "B02_s001_w1.tif"]
    for seed, name in enumerate(names):
        fm.save(example_image(seed), f"plate/{name}", "disk")
    fm.save({"n": 1}, "plate/results.json", "disk")
    fm.copy("plate", tmp_path / "p.zarr", "disk", to_backend="zarr")
    fm.move(tmp_path / "p.zarr", "back", "zarr", to_backend="other")
    for seed, name in enumerate(names):
        np.testing.assert_array_equal(fm.load(f"back/{name}", "other"), example_image(seed))
    assert fm.load("back/results.json", "other") == {"n": 1}
    assert not (tmp_path / "p.zarr").exists()


def test_another_suffix_is_another_format(fm: FileManager) -> None:
    fm.save(example_image(), "a.tif", "disk")
    fm.copy("a.tif", "a.npy", "disk", to_backend="other")
    np.testing.assert_array_equal(fm.load("a.npy", "other"), example_image())


@pytest.mark.parametrize("verb", ["copy", "move"])
def test_what_is_at_the_target_stays_unless_told(fm: FileManager, verb: str) -> None:
    fm.save(example_image(1), "a.tif", "memory")
    fm.save(example_image(2), "a.tif", "disk")
    with pytest.raises(AlreadyExistsError, match="overwrite=True"):
        getattr(fm, verb)("a.tif", "a.tif", "memory", to_backend="disk")
    np.testing.assert_array_equal(fm.load("a.tif", "disk"), example_image(2))
    getattr(fm, verb)("a.tif", "a.tif", "memory", to_backend="disk", overwrite=True)
    np.testing.assert_array_equal(fm.load("a.tif", "disk"), example_image(1))
    fm.save(example_image(1), "b.tif", "memory")
    fm.mkdir("folder", "disk")
    with pytest.raises(AlreadyExistsError, match="folder"):
        getattr(fm, verb)("b.tif", "folder", "memory", to_backend="disk", overwrite=True)
    assert fm.exists("b.tif", "memory")
    with pytest.raises(NotFoundError):
        getattr(fm, verb)("nowhere.tif", "b.tif", "memory", to_backend="disk")


def test_a_move_that_fails_loses_nothing(fm: FileManager) -> None:
    tree(fm, "memory")
    fm.save("kept in memory only", "d/z.unknown", "memory")
    with pytest.raises(StorageError, match="unknown"):
        fm.move("d", "d", "memory", to_backend="disk")
    np.testing.assert_array_equal(fm.load("d/a.tif", "memory"), example_image(1))
    np.testing.assert_array_equal(fm.load("d/a.tif", "disk"), example_image(1))
    assert not fm.exists("d/z.unknown", "disk")
    assert fm.exists("d/z.unknown", "memory")


def test_the_same_backend_under_two_names_is_one(fm: FileManager) -> None:
    fm.mount("again", fm.backend("disk"))
    fm.save(example_image(), "d/a.tif", "disk")
    with pytest.raises(StorageError, match="in it"):
        fm.copy("d", "d/e", "disk", to_backend="again")


def test_a_tree_that_never_ends_is_refused(fm: FileManager, tmp_path: Path) -> None:
    fm.save("x", "d/a.txt", "disk")
    (tmp_path / "disk" / "d" / "up").symlink_to(tmp_path / "disk")
    with pytest.raises(StorageError, match="links"):
        fm.copy("d", "d", "disk", to_backend="memory")


def test_links_where_the_backend_has_them(fm: FileManager) -> None:
    fm.save(example_image(1), "d/a.tif", "disk")
    fm.symlink("d/a.tif", "l/a.tif", "disk")
    assert fm.is_link("l/a.tif", "disk")
    assert not fm.is_link("d/a.tif", "disk")
    assert fm.mirror("d", "m", "disk") == 1
    np.testing.assert_array_equal(fm.load("m/a.tif", "disk"), example_image(1))
    assert not fm.is_link("d/a.tif", "memory")
    calls: tuple[Any, ...] = (fm.symlink, fm.mirror)
    for call in calls:
        with pytest.raises(BackendLoadError, match="no links"):
            call("d", "e", "memory")


def test_a_rooted_store_with_links_can_be_moved(fm: FileManager, tmp_path: Path) -> None:
    fm.save(example_image(1), "d/a.tif", "disk")
    fm.mirror("d", "deep/m", "disk")
    assert os.readlink(tmp_path / "disk" / "deep" / "m" / "a.tif") == "../../d/a.tif"
    (tmp_path / "disk").rename(tmp_path / "elsewhere")
    store = DiskBackend(tmp_path / "elsewhere")
    np.testing.assert_array_equal(store.load("deep/m/a.tif"), example_image(1))


def test_links_without_a_root_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = DiskBackend()
    store.save(example_image(1), "a.tif")
    store.symlink("a.tif", "links/b")
    assert os.readlink("links/b.tif") == str(tmp_path / "a.tif")
    np.testing.assert_array_equal(store.load("links/b"), example_image(1))
    store.save(example_image(2), "links/b.tif")
    np.testing.assert_array_equal(store.load("a.tif"), example_image(2))


def test_links_do_not_reach_out_of_a_root(fm: FileManager, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("x")
    for source, target in (("../secret.txt", "a.txt"), (str(tmp_path / "secret.txt"), "a.txt")):
        with pytest.raises(StorageError, match="leaves"):
            fm.symlink(source, target, "disk")
    fm.save("x", "a.txt", "disk")
    with pytest.raises(StorageError, match="leaves"):
        fm.symlink("a.txt", "../b.txt", "disk")
    assert not (tmp_path / "b.txt").exists()


# -- the backend a path belongs to


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/data/plate/A01_s1_w1.tif", "disk"),
        ("relative/a.tif", "disk"),
        ("C:\\plates\\a.tif", "disk"),
        ("/data/p.zarr", "zarr"),
        ("/data/p.zarr/A01_s001_w1_z001_t001.tif", "zarr"),
        ("/data/p.ome.zarr/A01_s001_w1.tif", "zarr"),
        ("C:\\plates\\p.ZARR\\a.tif", "zarr"),
        ("s3://bucket/p.zarr/A01_s001_w1.tif", "zarr"),
        ("/data/p.zarr.txt", "disk"),
        ("/data/zarr/a.tif", "disk"),
        ("s3://bucket/a.tif", "cloud"),
        ("gs://bucket/a.tif", "cloud"),
        ("memory://a.tif", "memory"),
        ("/omero/plate_123/A01_s001.tif", "omero_local"),
        ("/omero", "omero_local"),
        ("/omeros/plate", "disk"),
    ],
)
def test_the_backend_of_a_path(path: str, name: str) -> None:
    assert FileManager().backend_for(path) == name


def test_auto_takes_it(fm: FileManager, tmp_path: Path) -> None:
    fm.mount("zarr", MemoryBackend())
    fm.mount("disk", DiskBackend())
    base = str(tmp_path)
    fm.save_batch([example_image(1)], [f"{base}/a.tif"], "auto")
    fm.save(example_image(2), f"{base}/p.zarr/A01.tif", "auto")
    np.testing.assert_array_equal(fm.load(f"{base}/a.tif", "disk"), example_image(1))
    np.testing.assert_array_equal(fm.load(f"{base}/p.zarr/A01.tif", "zarr"), example_image(2))
    assert fm.list_files(base, "auto") == [f"{base}/a.tif"]
    assert fm.load_batch([], "auto") == []
    fm.copy(f"{base}/a.tif", f"{base}/p.zarr/B02.tif", "auto")
    fm.move(f"{base}/p.zarr/A01.tif", f"{base}/b.tif", "auto")
    assert fm.list_files(f"{base}/p.zarr", "auto") == [f"{base}/p.zarr/B02.tif"]
    assert fm.exists(f"{base}/b.tif", "disk")
    fm.delete(f"{base}/b.tif", "auto")
    with pytest.raises(StorageError, match="disk, zarr"):
        fm.load_batch([f"{base}/a.tif", f"{base}/p.zarr/B02.tif"], "auto")
