from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import textwrap
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polystore.abc import StorageBackend
from polystore.backends.disk import DiskBackend
from polystore.errors import (
    CorruptFileError,
    NotFoundError,
    StorageError,
    UnsafePathError,
    UnsupportedFormatError,
)
from polystore.testing import BackendTests, example_image


def listed(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class TestDisk(BackendTests):
    def make_backend(self) -> DiskBackend:
        return DiskBackend()

    def path(self, name: str) -> str:
        return str(self.folder / "contract") + "/" + name


class TestRootedDisk(BackendTests):
    suffix = ".npy"

    def make_backend(self) -> DiskBackend:
        return DiskBackend(root=self.folder)


class TestDiskWithoutSuffixes(BackendTests):
    """Images saved under names without a suffix, as pipelines do."""

    suffix = ""

    def make_backend(self) -> DiskBackend:
        return DiskBackend(durable=True)

    def path(self, name: str) -> str:
        return str(self.folder / "contract") + "/" + name

    test_unusual_names = None  # type: ignore[assignment]  # a dot in a name would begin a suffix

    # What a listing shows is the file that is really there, so the tests that compare names do not apply as they are.
    def test_a_refused_value_leaves_the_old_one(self, store: StorageBackend) -> None:
        store.save(example_image(), self.image("a"))
        assert store.list_files(self.path("")) == [self.path("a.tif")]
        np.testing.assert_array_equal(store.load(self.path("a")), store.load(self.path("a.tif")))

    def test_natural_order(self, store: StorageBackend) -> None:
        store.save(example_image(), self.path("s10"))
        store.save(example_image(), self.path("s9"))
        assert store.list_files(self.path("")) == [self.path("s9.tif"), self.path("s10.tif")]

    def test_files_and_folders_do_not_mix(self, store: StorageBackend) -> None:
        store.mkdir(self.path("d"))
        store.save(example_image(), self.path("d"))
        assert store.list_files(self.path("")) == [self.path("d.tif")]
        assert store.is_dir(self.path("d"))

    def test_recursive(self, store: StorageBackend) -> None:
        store.save(example_image(), self.path("t2/a"))
        assert store.find(self.path(""), "a*") == [self.path("t2/a.tif")]

    def test_walk(self, store: StorageBackend) -> None:
        store.save(example_image(), self.path("t2/a"))
        assert [files for _, _, files in store.walk(self.path(""))] == [[], ["a.tif"]]

    def test_patterns_and_extensions(self, store: StorageBackend) -> None:
        store.save(example_image(), self.path("a"))
        assert store.list_files(self.path(""), extensions=["tif"]) == [self.path("a.tif")]

    def test_copy_and_move_a_folder(self, store: StorageBackend) -> None:
        store.save(example_image(), self.path("d/a"))
        store.copy(self.path("d"), self.path("e"))
        store.move(self.path("d"), self.path("f"))
        assert store.exists(self.path("e/a"))
        assert store.exists(self.path("f/a"))


def test_a_loaded_array_is_the_callers(tmp_path: Path) -> None:
    store = DiskBackend(tmp_path)
    for suffix in (".tif", ".npy", ".png"):
        store.save(example_image(), "a" + suffix)
        loaded = store.load("a" + suffix)
        loaded[0, 0] += 1
        assert loaded[0, 0] == example_image()[0, 0] + 1
        np.testing.assert_array_equal(store.load("a" + suffix), example_image())


def test_relative_paths_begin_where_the_process_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = DiskBackend()
    store.save(example_image(), "a.tif")
    assert (tmp_path / "a.tif").is_file()
    assert store.list_files(".") == ["a.tif"]
    store.delete("a.tif")


# -- roots

OUTSIDE = [
    "/etc/passwd",
    "../x.npy",
    "a/../../x.npy",
    "..",
    "C:\\x.npy",
    "\\\\host\\x.npy",
    "a\\..\\..\\x.npy",
]


@pytest.mark.parametrize("path", OUTSIDE)
def test_a_root_is_not_left(tmp_path: Path, path: str) -> None:
    root = tmp_path / "root"
    store = DiskBackend(root)
    (tmp_path / "x.npy").write_bytes(b"untouched")
    for call in (store.load, store.kind, store.mkdir, store.delete, store.scan, store.list_files):
        with pytest.raises(UnsafePathError):
            call(path)
    with pytest.raises(UnsafePathError):
        store.save(example_image(), path)
    for verb in (store.copy, store.move):
        with pytest.raises(UnsafePathError):
            verb(path, "a.npy")
    assert (tmp_path / "x.npy").read_bytes() == b"untouched"
    assert listed(tmp_path) == ["x.npy"]


def test_links_do_not_lead_out_of_a_root(tmp_path: Path) -> None:
    root = tmp_path / "root"
    outside = tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    np.save(outside / "secret.npy", example_image())
    (root / "folder").symlink_to(outside)
    (root / "file.npy").symlink_to(outside / "secret.npy")
    store = DiskBackend(root)
    for path in ("folder/secret.npy", "file.npy"):
        with pytest.raises(UnsafePathError, match="link"):
            store.load(path)
        with pytest.raises(UnsafePathError, match="link"):
            store.save(example_image(1), path)
    with pytest.raises(UnsafePathError):
        store.save(example_image(1), "folder/new.npy")
    assert listed(outside) == ["secret.npy"]
    # A listing shows the links and does not look behind them.
    assert store.list_files(".", recursive=True) == ["file.npy"]


def test_links_within_a_root_are_ordinary(tmp_path: Path) -> None:
    store = DiskBackend(tmp_path)
    store.save(example_image(), "a.npy")
    (tmp_path / "b.npy").symlink_to("a.npy")
    store.save(example_image(1), "b.npy")  # follows the link
    np.testing.assert_array_equal(store.load("a.npy"), example_image(1))
    assert (tmp_path / "b.npy").is_symlink()
    store.delete("b.npy")
    assert store.exists("a.npy")


PARTS = st.sampled_from(["..", ".", "a", "b.npy", "", "/", "\\", "\0", "C:", "~", "..\\", "a/..", "con"])


@given(st.lists(PARTS, min_size=1, max_size=6))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_path_at_all_touches_anything_outside(tmp_path: Path, parts: list[str]) -> None:
    root = tmp_path / "root"
    root.mkdir(exist_ok=True)
    store = DiskBackend(root)
    path = "/".join(parts)
    for call in (
        lambda: store.save(example_image(), path),
        lambda: store.mkdir(path),
        lambda: store.load(path),
    ):
        with suppress(StorageError):
            call()
    assert listed(tmp_path) == ["root"]


def test_the_top_folder_is_not_deleted(tmp_path: Path) -> None:
    store = DiskBackend(tmp_path)
    store.save(example_image(), "a.npy")
    with pytest.raises(UnsafePathError, match="top folder"):
        store.delete(".", recursive=True)
    with pytest.raises(UnsafePathError, match="top folder"):
        DiskBackend().delete("/", recursive=True)
    assert store.exists("a.npy")


# -- all or nothing


def test_an_error_while_writing_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    store = DiskBackend(tmp_path)
    store.save({"n": 1}, "a.json")
    with pytest.raises(UnsupportedFormatError):
        store.save({"n": object()}, "a.json")
    with pytest.raises(UnsupportedFormatError):
        store.save([{"n": 1}, {"n": object()}], "a.csv")
    assert store.load("a.json") == {"n": 1}
    assert listed(tmp_path) == ["a.json"]


def test_a_full_disk_is_told_and_the_old_file_stays(tmp_path: Path) -> None:
    """A file-size limit refuses bytes as a full disk does, and needs no rights to set up."""
    store = DiskBackend()
    for suffix in (".tif", ".npy", ".npz", ".json"):
        small = (
            {"a": example_image()} if suffix == ".npz" else [1, 2] if suffix == ".json" else example_image()
        )
        store.save(small, tmp_path / f"a{suffix}")
    code = textwrap.dedent(
        f"""
        import resource, numpy as np
        from polystore.backends.disk import DiskBackend
        from polystore.errors import StorageError
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        big = np.zeros((1000, 1000), "uint16")
        for suffix, value in {{".tif": big, ".npy": big, ".npz": {{"a": big}}, ".json": list(range(100_000))}}.items():
            try:
                DiskBackend().save(value, {str(tmp_path)!r} + "/a" + suffix)
            except StorageError as exc:
                assert "a" + suffix in str(exc), exc
                print(suffix, exc.errno)
        """
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = dict(line.split() for line in done.stdout.splitlines())
    assert set(lines) == {".tif", ".npy", ".npz", ".json"}, done
    assert set(lines.values()) == {str(errno.EFBIG)}
    assert listed(tmp_path) == ["a.json", "a.npy", "a.npz", "a.tif"]
    np.testing.assert_array_equal(store.load(tmp_path / "a.tif"), example_image())


def test_files_are_as_readable_as_any_or_as_before(tmp_path: Path) -> None:
    store = DiskBackend(tmp_path)
    mask = os.umask(0o027)
    try:
        store.save("x", "a.txt")
        (tmp_path / "b.txt").write_text("x")
        (tmp_path / "b.txt").chmod(0o600)
        store.save("y", "b.txt")
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "b.txt").stat().st_mode) == 0o600


def test_unfinished_files_are_not_listed(tmp_path: Path) -> None:
    store = DiskBackend(tmp_path)
    (tmp_path / ".polystore-1-0-00000000.tmp").write_bytes(b"half")
    assert store.list_files(".") == []
    assert [files for _, _, files in store.walk(".")] == [[]]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/omero/plate_123/A01_s001.tif", "omero_local"),
        ("/omero/plate_123", "omero_local"),
        ("s3://bucket/a.tif", "cloud"),
        ("gs://bucket/p.zarr/A01_s001.tif", "zarr"),
        ("file:///tmp/a.tif", "file://"),
    ],
)
def test_what_lies_elsewhere_is_refused_by_the_name_of_its_backend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, name: str
) -> None:
    """It would become a folder called "s3:" in the working directory."""
    monkeypatch.chdir(tmp_path)
    store = DiskBackend()
    for call in (
        store.load,
        store.list_files,
        store.mkdir,
        store.delete,
        lambda p: store.save(example_image(), p),
    ):
        with pytest.raises(UnsafePathError, match=name):
            call(path)
    assert not store.exists(path)
    assert listed(tmp_path) == []


# -- names and formats


def test_an_image_without_a_suffix_is_found_again(tmp_path: Path) -> None:
    store = DiskBackend(tmp_path)
    store.save(example_image(), "out/labeled")
    np.testing.assert_array_equal(store.load("out/labeled"), example_image())
    assert store.is_file("out/labeled")
    store.copy("out/labeled", "out/again")
    assert store.list_files("out") == ["out/again.tif", "out/labeled.tif"]
    store.delete("out/labeled")
    assert not store.exists("out/labeled")
    with pytest.raises(UnsupportedFormatError, match="suffix"):
        store.save({"n": 1}, "results")


def test_damaged_files_are_told_from_missing_ones(tmp_path: Path) -> None:
    store = DiskBackend(tmp_path)
    store.save(example_image(), "a.npy")
    for suffix in (".tif", ".npy", ".npz", ".png", ".json"):
        (tmp_path / f"bad{suffix}").write_bytes(b"no such thing")
        with pytest.raises(CorruptFileError, match="bad"):
            store.load(f"bad{suffix}")
        (tmp_path / f"empty{suffix}").write_bytes(b"")
        with pytest.raises(CorruptFileError, match="empty"):
            store.load(f"empty{suffix}")
    with pytest.raises(NotFoundError):
        store.load("missing.npy")


@pytest.mark.parametrize("suffix", [".tif", ".npy", ".png"])
def test_a_truncated_file_is_an_error_at_every_length(tmp_path: Path, suffix: str) -> None:
    store = DiskBackend(tmp_path)
    store.save(example_image(shape=(9, 9)), f"whole{suffix}")
    content = (tmp_path / f"whole{suffix}").read_bytes()
    for length in range(0, len(content) - 1, max(1, len(content) // 40)):
        (tmp_path / f"part{suffix}").write_bytes(content[:length])
        try:
            loaded = store.load(f"part{suffix}")
        except CorruptFileError:
            continue
        # A trailer nobody needs may be missing; pixels may not.
        np.testing.assert_array_equal(loaded, example_image(shape=(9, 9)))


def test_a_name_too_long_for_the_file_system(tmp_path: Path) -> None:
    store = DiskBackend(tmp_path)
    with pytest.raises(StorageError, match="shorten"):
        store.save("x", "n" * 300 + ".txt")
    store.save("x", "n" * 250 + ".txt")  # the temporary file beside it must not be what is too long
    assert store.load("n" * 250 + ".txt") == "x"


def test_links_in_a_loop_do_not_catch_a_walk(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "up").symlink_to(tmp_path)
    store = DiskBackend(tmp_path)
    store.save("x", "d/a.txt")
    assert store.list_files(".", recursive=True) == ["d/a.txt"]
    assert store.list_dirs("d") == ["d/up"]


def test_moving_over_file_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = DiskBackend(tmp_path)
    store.save(example_image(), "d/a.npy")
    replace = os.replace

    def other_device(source: str, target: str) -> None:
        if ".polystore-" not in source:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        replace(source, target)

    monkeypatch.setattr(os, "replace", other_device)
    store.move("d", "e")
    np.testing.assert_array_equal(store.load("e/a.npy"), example_image())
    assert not store.exists("d")
