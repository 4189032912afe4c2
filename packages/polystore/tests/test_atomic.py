from __future__ import annotations

import os
import random
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from polystore._atomic import atomic_write, is_temporary
from polystore.backends.disk import DiskBackend

WRITER = """
import itertools, sys
import numpy as np
from polystore.backends.disk import DiskBackend
store = DiskBackend()
versions = [np.full((256, 256 + i), i, "uint16") for i in range(3)]
print("ready", flush=True)
for i in itertools.count():
    store.save(versions[i % 3], sys.argv[1])
"""


def listed(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("name", ["a.tif", "a.npy"])
def test_a_killed_writer_leaves_old_or_new(tmp_path: Path, repeats: int, name: str) -> None:
    target = tmp_path / name
    store = DiskBackend()
    store.save(np.zeros((256, 256), "uint16"), target)
    instants = random.Random(7)
    for _ in range(repeats):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(target)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        with pytest.raises(subprocess.TimeoutExpired):
            writer.wait(timeout=instants.uniform(0.0, 0.05))
        writer.kill()
        writer.wait()
        writer.stdout.close()
        loaded = store.load(target)
        version = int(loaded[0, 0])
        np.testing.assert_array_equal(loaded, np.full((256, 256 + version), version))
        assert [entry.name for entry in store.scan(tmp_path)] == [name]


def test_nothing_is_seen_before_the_end(tmp_path: Path) -> None:
    target = tmp_path / "a"
    target.write_bytes(b"old")
    with atomic_write(str(target), durable=True) as stream:
        stream.write(b"new")
        stream.flush()
        assert target.read_bytes() == b"old"
        (beside,) = [name for name in listed(tmp_path) if name != "a"]
        assert is_temporary(beside)
    assert target.read_bytes() == b"new"
    assert listed(tmp_path) == ["a"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_the_old(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "a"
    target.write_bytes(b"old")

    def write() -> None:
        with atomic_write(str(target)) as stream:
            stream.write(b"new")
            raise error

    with pytest.raises(error):
        write()
    assert target.read_bytes() == b"old"
    assert listed(tmp_path) == ["a"]


@pytest.mark.parametrize("links", [True, False])
def test_without_overwrite_the_first_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    if not links:

        def refuse(source: str, target: str) -> None:
            raise PermissionError(source)

        monkeypatch.setattr(os, "link", refuse)
    target = tmp_path / "a"
    with atomic_write(str(target), overwrite=False) as stream:
        stream.write(b"first")
    with pytest.raises(FileExistsError), atomic_write(str(target), overwrite=False) as stream:
        stream.write(b"second")
    assert target.read_bytes() == b"first"
    assert listed(tmp_path) == ["a"]


def test_writers_at_once_leave_one_whole_file(tmp_path: Path) -> None:
    code = textwrap.dedent(
        """
        import sys
        from polystore._atomic import atomic_write
        for _ in range(50):
            with atomic_write(sys.argv[1]) as stream:
                stream.write(sys.argv[2].encode() * 100_000)
        """
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "a"), letter]) for letter in "abcd"
    ]
    assert [writer.wait() for writer in writers] == [0] * 4
    content = (tmp_path / "a").read_bytes()
    assert len(content) == 100_000
    assert len(set(content)) == 1
    assert listed(tmp_path) == ["a"]
