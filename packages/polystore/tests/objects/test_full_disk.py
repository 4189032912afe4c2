"""A full disk: a small file system of its own where that can be mounted, else a limit on the size of files."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polystore._atomic import is_temporary
from polystore.backends.disk import DiskBackend
from polystore.errors import StorageError
from polystore.metadata import merge_json, read_json
from polystore.objects import LocalObjects

SIZE = 256 << 10


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path | None]:
    """A folder with 256 KiB of room; None where we may not mount one."""
    folder = tmp_path / "small"
    folder.mkdir()
    if sys.platform != "linux" or os.geteuid() != 0:
        yield None
        return
    options = f"size={SIZE},nr_inodes=40"
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True
    ).returncode:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if is_temporary(path.name)]


def fill(folder: Path) -> Path:
    with suppress(OSError), open(folder / "filler", "wb", buffering=0) as stream:
        while True:
            stream.write(bytes(4096))
    return folder / "filler"


class Disk:
    """The disk backend, by the same three verbs."""

    def __init__(self, folder: Path) -> None:
        self.store = DiskBackend(folder)

    def put(self, key: str, size: int) -> None:
        self.store.save(np.full(size, size % 251, "uint8"), f"{key}.npy")

    def check(self, key: str, size: int) -> None:
        np.testing.assert_array_equal(self.store.load(f"{key}.npy"), np.full(size, size % 251, "uint8"))


class Objects:
    def __init__(self, folder: Path) -> None:
        self.store = LocalObjects(folder)

    def put(self, key: str, size: int) -> None:
        self.store.update(key, lambda old: bytes([size % 251]) * size)

    def check(self, key: str, size: int) -> None:
        assert self.store.get(key).data == bytes([size % 251]) * size


@pytest.mark.parametrize("kind", [Disk, Objects])
def test_a_full_disk_is_told_and_the_old_stays(small: Path | None, kind: Any) -> None:
    if small is None:
        return  # the test with a limit says what can be said
    store = kind(small)
    store.put("d/a", 20_000)
    with pytest.raises(StorageError, match=r"d/a.*free some space") as caught:
        store.put("d/a", 2 * SIZE)
    assert caught.value.errno == errno.ENOSPC
    store.check("d/a", 20_000)
    assert leftovers(small) == []

    filler = fill(small)
    for key in ("d/a", "d/new", "e/new"):  # not a byte of room
        with pytest.raises(StorageError, match=key) as caught:
            store.put(key, 10_000)
        assert caught.value.errno == errno.ENOSPC
    store.check("d/a", 20_000)
    assert leftovers(small) == []
    filler.unlink()
    store.put("d/a", 30_000)
    store.check("d/a", 30_000)


@pytest.mark.parametrize("kind", [Disk, Objects])
def test_no_more_files(small: Path | None, kind: Any) -> None:
    if small is None:
        return
    store = kind(small)
    store.put("a", 100)
    made = []
    with suppress(OSError):
        for number in range(100):
            path = small / f"f{number}"
            path.touch()
            made.append(path)
    with pytest.raises(StorageError, match="a") as caught:
        store.put("a", 200)
    assert caught.value.errno == errno.ENOSPC
    store.check("a", 100)
    for path in made:
        path.unlink()
    assert leftovers(small) == []
    store.put("a", 200)


def test_a_full_disk_and_a_document(small: Path | None) -> None:
    if small is None:
        return
    path = small / "plate.json"
    merge_json(path, {"wells": {"A01": "x" * 1000}})
    filler = fill(small)
    with pytest.raises(StorageError, match=r"plate\.json"):
        merge_json(path, {"wells": {"A02": "x" * 20_000}})
    assert read_json(path) == {"wells": {"A01": "x" * 1000}}
    assert leftovers(small) == []
    filler.unlink()
    merge_json(path, {"wells": {"A02": "y"}})
    assert set(read_json(path)["wells"]) == {"A01", "A02"}


def test_a_limit_on_files(tmp_path: Path) -> None:
    """A file-size limit refuses bytes as a full disk does, and needs no rights to set up."""
    store = LocalObjects(tmp_path)
    store.put("d/a", b"old")
    code = f"""
    import resource, signal
    from polystore.errors import StorageError
    from polystore.objects import LocalObjects
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    store = LocalObjects({str(tmp_path)!r})
    for call in (
        lambda: store.put("d/a", bytes(200_000)),
        lambda: store.put("d/new", bytes(200_000), overwrite=False),
        lambda: store.swap("d/a", bytes(200_000), store.get("d/a").stamp),
        lambda: store.update("d/a", lambda old: bytes(200_000)),
    ):
        try:
            call()
        except StorageError as exc:
            assert "/d/" in str(exc), exc
            print(exc.errno)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [str(errno.EFBIG)] * 4
    assert store.get("d/a").data == b"old"
    assert list(store.keys()) == ["d/a"]
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("kind", ["disk", "objects"])
def test_a_writer_killed_on_a_full_disk_leaves_nothing_after_the_next_open(
    small: Path | None, tmp_path: Path, kind: str
) -> None:
    folder = tmp_path if small is None else small
    store = LocalObjects(folder)
    store.put("a", b"old")
    code = {
        "disk": """
            import numpy as np
            from polystore.backends.disk import DiskBackend
            save = lambda: DiskBackend(sys.argv[1]).save("x" * 100_000, "b.txt")
        """,
        "objects": """
            from polystore.objects import LocalObjects
            save = lambda: LocalObjects(sys.argv[1]).put("a", b"x" * 100_000)
        """,
    }[kind]
    # Killed by itself at the last moment: all bytes written, the name not changed. Caches are replaced, too.
    trap = """
    replace = os.replace
    def kill_or_replace(source, target):
        if os.path.realpath(target).startswith(os.path.realpath(sys.argv[1])):
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)
    os.replace = kill_or_replace
    save()
    """
    writer = "import os, signal, sys\n" + textwrap.dedent(code) + textwrap.dedent(trap)
    assert subprocess.run([sys.executable, "-c", writer, str(folder)], check=False).returncode == -9
    assert len([name for name in leftovers(folder) if name.endswith(".tmp")]) == 1
    reader = "import os, sys\n" + textwrap.dedent(code) + "save()\n"
    subprocess.run([sys.executable, "-c", reader, str(folder)], check=True)
    assert leftovers(folder) == []
    assert store.get("a").data in (b"old", b"x" * 100_000)
