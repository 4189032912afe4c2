from __future__ import annotations

import io
import os
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from polystore._paths import (
    below,
    check_key,
    check_windows_name,
    join,
    matches,
    natural_key,
    natural_path_key,
    places_of_members,
    virtual_path,
)
from polystore.abc import StorageBackend
from polystore.backends.cloud import CloudBackend
from polystore.backends.disk import DiskBackend
from polystore.errors import PolystoreError, StorageError, UnsafePathError
from polystore.objects import CloudObjects, LocalObjects


def test_numbers_count_as_numbers() -> None:
    names = ["s10", "s2", "s1", "S3", "A01_s2_w1", "A01_s10_w1", "10", "9", "a", "s02"]
    ordered = sorted(names, key=natural_key)
    assert ordered == ["9", "10", "a", "A01_s2_w1", "A01_s10_w1", "s1", "s02", "s2", "S3", "s10"]


def test_a_folders_files_stay_together() -> None:
    paths = ["d/a-1/x", "d/a/x", "d/a/y", "d/b"]
    backwards = paths[::-1]
    assert sorted(backwards, key=natural_path_key) == ["d/a/x", "d/a/y", "d/a-1/x", "d/b"]


@given(st.lists(st.text("aB01_. é²", max_size=6)))
def test_the_order_is_one_order(names: list[str]) -> None:
    backwards = names[::-1]
    assert sorted(names, key=natural_key) == sorted(backwards, key=natural_key)


@given(st.lists(st.sampled_from(["a", "b", "..", ".", ""]), min_size=1).map("/".join).filter(bool))
def test_virtual_paths_are_settled_once(path: str) -> None:
    settled = virtual_path(path)
    assert virtual_path(settled) == settled
    assert not settled.startswith("//")


def test_matching() -> None:
    assert matches("A01_w1.TIF", "A01*", [".tif"])
    assert matches("x.ome.tif", None, ["ome.tif"])
    assert not matches("xtif", None, ["tif"])
    assert not matches("a.tif", "A*", None)
    assert not matches("a.tif", None, [])


def test_joining() -> None:
    assert [join("a", "b"), join("a/", "b"), join("/", "b"), join(".", "b"), join("", "b")] == [
        "a/b", "a/b", "/b", "b", "b",
    ]  # fmt: skip


# -- what leaves a root

OUTSIDE = [
    "/etc/passwd", "//x", "..", "../x", "a/../../x", "a/..", "C:\\x", "C:x", "c:/x", "\\x", "\\\\host\\share\\x",
    "a\\..\\..\\x", "..\\x", "\\\\?\\C:\\x", "a\0b", "\0", "",
]  # fmt: skip


@pytest.mark.parametrize("path", OUTSIDE)
def test_paths_that_leave_a_root(path: str, tmp_path: Path) -> None:
    with pytest.raises(UnsafePathError):
        check_key(path)
    with pytest.raises(UnsafePathError):
        below(str(tmp_path), path)


def test_what_stays_below_has_one_spelling(tmp_path: Path) -> None:
    for path in ("a/b", "./a//b", "a/./b/", "a/b/."):
        assert check_key(path) == "a/b"
    assert check_key("./") == ""
    assert check_key("a/..b/...") == "a/..b/..."
    assert below(str(tmp_path), ".") == str(tmp_path)
    assert below("/", "etc") == "/etc"


@pytest.mark.parametrize(
    "name",
    [
        "con",
        "NUL",
        "nul.txt",
        "Com1.tif",
        "lpt9",
        "COM\u00b9",
        "aux .x",
        "conin$",
        "a:b",
        "a.",
        "a ",
        "prn.a.b",
    ],
)
def test_names_that_are_no_files_on_windows(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnsafePathError, match="Windows"):
        check_windows_name(name)
    check_key(f"d/{name}")  # ordinary elsewhere ...
    monkeypatch.setattr(os, "name", "nt")
    with pytest.raises(UnsafePathError):
        check_key(f"a/{name}/b")  # ... and refused there


@pytest.mark.parametrize(
    "name", ["console", "com", "com10", "nulls.txt", "a.b", ".hidden", "lpt", "auxin", "a b"]
)
def test_names_that_are_files_on_windows(name: str) -> None:
    check_windows_name(name)


PIECES = st.sampled_from(
    [
        "..",
        ".",
        "a",
        "b",
        "out",
        "loop",
        "file",
        "x.npy",
        "",
        "/",
        "\\",
        "\0",
        "C:",
        "~",
        "..\\",
        "a/..",
        "con",
        "\u2025",
        "%2e%2e",
    ]
)


def _everything(folder: Path) -> dict[str, bytes]:
    found = {}
    for place, folders, names in os.walk(folder):
        for name in [*folders, *names]:
            path = Path(place, name)
            found[str(path)] = (
                os.readlink(path).encode()
                if path.is_symlink()
                else path.read_bytes()
                if path.is_file()
                else b""
            )
    return found


@pytest.mark.parametrize("kind", ["LocalObjects", "DiskBackend", "CloudObjects", "CloudBackend"])
@given(pieces=st.lists(PIECES, min_size=1, max_size=5))
@example(pieces=["out", "x.npy"])
@example(pieces=["file"])
@example(pieces=["loop", "x.npy"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_nothing_outside_a_root_is_touched(tmp_path: Path, kind: str, pieces: list[str]) -> None:
    outside, root = tmp_path / "outside", tmp_path / "outside" / "root"
    if not root.exists():
        root.mkdir(parents=True)
        for name in ("a", "b", "x.npy", "con"):
            (outside / name).write_bytes(b"canary")
        (root / "out").symlink_to("..")
        (root / "file").symlink_to("../a")
        (root / "loop").symlink_to("loop")
    before = {path: data for path, data in _everything(tmp_path).items() if not path.startswith(str(root))}
    path = "/".join(pieces)
    if kind.endswith("Objects"):
        store = LocalObjects(root) if kind == "LocalObjects" else CloudObjects("memory://fuzz/root")
        calls = [
            lambda: store.put(path, b"changed"), lambda: store.update(path, lambda old: b"changed"),
            lambda: store.swap(path, b"changed", None), lambda: store.get(path), lambda: list(store.scan(path)),
            lambda: list(store.keys(path)), lambda: store.delete(path),
        ]  # fmt: skip
    else:
        backend: StorageBackend = (
            DiskBackend(root) if kind == "DiskBackend" else CloudBackend("memory://fuzz/root")
        )
        calls = [
            lambda: backend.save([1], path + ".json"), lambda: backend.mkdir(path), lambda: backend.load(path),
            lambda: backend.list_files(path, recursive=True), lambda: backend.copy("x.npy", path, overwrite=True),
            lambda: backend.move(path, "moved"), lambda: backend.delete(path, recursive=True),
        ]  # fmt: skip
    answers = []
    for call in calls:
        with suppress(PolystoreError):  # never an error of another kind
            answers.append(call())
    assert b"canary" not in str(answers).encode()
    after = {path: data for path, data in _everything(tmp_path).items() if not path.startswith(str(root))}
    assert after == before
    cloud = [*CloudObjects("memory://fuzz").keys()]
    assert [key for key in cloud if not key.startswith("root/")] == []


# -- archives


def _archive(*names: str, link: bool = False) -> zipfile.ZipFile:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as writer:
        for name in names:
            info = zipfile.ZipInfo(name)
            info.external_attr = (0o120777 if link else 0o100644) << 16
            writer.writestr(info, b"x")
    return zipfile.ZipFile(stream)


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../../x", "..\\x", "C:/x", "a/nul.txt", "a:b", "x."])
def test_an_archive_with_one_bad_name_is_refused(tmp_path: Path, name: str) -> None:
    with _archive("good", name) as archive, pytest.raises(UnsafePathError):
        places_of_members(archive, str(tmp_path))


def test_links_and_doubles_in_archives_are_refused(tmp_path: Path) -> None:
    with _archive("a", link=True) as archive, pytest.raises(UnsafePathError, match="link"):
        places_of_members(archive, str(tmp_path))
    with _archive("a/B", "A/b") as archive, pytest.raises(UnsafePathError, match="twice"):
        places_of_members(archive, str(tmp_path))
    (tmp_path / "out").symlink_to("/")
    with _archive("out/x") as archive, pytest.raises(UnsafePathError, match="through a link"):
        places_of_members(archive, str(tmp_path))


def test_a_good_archive_has_its_places(tmp_path: Path) -> None:
    with _archive("a/", "a/b", "c") as archive:
        places = [place for _, place in places_of_members(archive, str(tmp_path))]
    assert places == [str(tmp_path / "a/b"), str(tmp_path / "c")]


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_arrays_of_objects_run_no_code(tmp_path: Path, suffix: str) -> None:
    """A file that would run code when unpickled is refused by every store, and does not run it."""
    import numpy as np

    canary = tmp_path / "canary"

    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str, str]]:
            return open, (str(canary), "w")

    path = tmp_path / f"a{suffix}"
    if suffix == ".npy":
        np.save(path, np.array([Trap()]), allow_pickle=True)
    else:
        np.savez(path, a=np.array([Trap()]))
    CloudObjects("memory://trap").put(path.name, path.read_bytes())
    for store, place in (
        (DiskBackend(), str(path)),
        (DiskBackend(tmp_path), path.name),
        (CloudBackend("memory://trap"), path.name),
    ):
        with pytest.raises(StorageError):
            store.load(place)
    assert not canary.exists()
