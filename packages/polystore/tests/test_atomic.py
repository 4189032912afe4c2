from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from polystore._atomic import atomic_write, is_temporary, sweep
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


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ["a.tif", "a.npy"])
def test_a_killed_writer_leaves_old_or_new(tmp_path: Path, repeats: int, name: str) -> None:
    target = tmp_path / name
    store = DiskBackend()
    store.save(np.zeros((256, 256), "uint16"), target)
    instants = random.Random(7)
    for _ in range(200 if repeats == 50 else repeats):
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
        sweep(str(tmp_path))  # as the next process does that writes there
        assert listed(tmp_path) == [name]


@pytest.mark.timeout(900)
def test_a_reader_sees_old_or_new(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    target = tmp_path / "a.npy"
    store = DiskBackend()
    store.save(np.zeros((256, 256), "uint16"), target)
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(target)], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    assert writer.stdout.readline() == b"ready\n"
    try:
        versions = set()
        for _ in range(100_000 if request.config.getoption("--slow") else 2_000):
            loaded = store.load(target)
            version = int(loaded[0, 0])
            assert loaded.shape == (256, 256 + version)
            assert (loaded == version).all()
            versions.add(version)
    finally:
        writer.kill()
        writer.communicate()
    assert len(versions) > 1


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


# -- what dead writers leave

HALF = """
import sys
from polystore._atomic import atomic_write
with atomic_write(sys.argv[1]) as stream:
    stream.write(b"half")
    stream.flush()
    print("half", flush=True)
    sys.stdin.readline()
    stream.write(b", whole")
"""


def half(path: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", HALF, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"half\n"
    return process


def test_what_a_dead_writer_left_goes_and_what_a_living_one_has_stays(tmp_path: Path) -> None:
    dead, alive = half(tmp_path / "a"), half(tmp_path / "b")
    dead.kill()
    dead.communicate()
    assert len(listed(tmp_path)) == 2
    sweep(str(tmp_path))
    assert len(listed(tmp_path)) == 1
    sweep(str(tmp_path))
    alive.communicate(b"\n")
    assert alive.returncode == 0
    assert (tmp_path / "b").read_bytes() == b"half, whole"
    assert listed(tmp_path) == ["b"]


def test_the_next_process_that_writes_there_cleans_up(tmp_path: Path) -> None:
    dead = half(tmp_path / "a.txt")
    dead.kill()
    dead.communicate()
    code = "import sys; from polystore.backends.disk import DiskBackend; DiskBackend().save('x', sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "b.txt")], check=True)
    assert listed(tmp_path) == ["b.txt"]


def test_an_unfinished_file_of_another_machine_stays_for_a_day(tmp_path: Path) -> None:
    """Locks may be those of one machine only, so nobody there may be taken for dead."""
    names = [".polystore-00000000-1-0-aa.tmp", ".polystore-plate.json.lock", ".polystore-1-2-bb.tmp"]
    for name in names:
        (tmp_path / name).write_bytes(b"process 1 on elsewhere")
    (tmp_path / ".polystore-link.tmp").symlink_to("nowhere")
    sweep(str(tmp_path))
    assert listed(tmp_path) == sorted([*names, ".polystore-link.tmp"])
    for name in [*names, ".polystore-link.tmp"]:
        os.utime(tmp_path / name, (0, 0), follow_symlinks=False)
    sweep(str(tmp_path))
    assert listed(tmp_path) == []


def test_sweepers_and_writers_at_once(tmp_path: Path) -> None:
    """A writer never loses its file to somebody who cleans up, whenever that one comes."""
    code = """
import sys
from polystore._atomic import sweep
while not sys.stdin.closed and True:
    for _ in range(50):
        sweep(sys.argv[1])
    print("swept", flush=True)
"""
    sweepers = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    try:
        for sweeper in sweepers:
            assert sweeper.stdout is not None
            assert sweeper.stdout.readline() == b"swept\n"
        for number in range(500):
            with atomic_write(str(tmp_path / "a"), overwrite=number % 2 == 0 or number == 0) as stream:
                stream.write(str(number).encode())
            assert (tmp_path / "a").read_bytes() == str(number).encode()
            if number % 2 == 0:
                (tmp_path / "a").unlink()
    finally:
        for sweeper in sweepers:
            sweeper.kill()
            sweeper.communicate()


def test_a_file_system_without_locks_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(fd: int) -> bool:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr("polystore._atomic.try_lock", refuse)
    with atomic_write(str(tmp_path / "a")) as stream:
        stream.write(b"x")
        sweep(str(tmp_path))
    assert listed(tmp_path) == ["a"]


def test_an_unfinished_file_may_stand_on_another_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.replace
    folders = set()

    def replace(source: str, target: str) -> None:
        folders.add(os.path.dirname(source))
        if os.path.dirname(source) != os.path.dirname(target):
            raise OSError(errno.EXDEV, "other device")
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    (tmp_path / "d").mkdir()
    with atomic_write(str(tmp_path / "d/a"), folder=str(tmp_path)) as stream:
        stream.write(b"x")
    assert (tmp_path / "d/a").read_bytes() == b"x"
    assert folders == {str(tmp_path), str(tmp_path / "d")}
    assert listed(tmp_path) == ["d"]
    assert listed(tmp_path / "d") == ["a"]
