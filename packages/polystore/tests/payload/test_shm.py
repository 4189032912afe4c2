"""Names in shared memory: whose they are, and that none is left of the dead or taken from the living."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from polystore.errors import NoSharedMemoryError
from polystore.payload import shm


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of this test's own in place of /dev/shm."""
    monkeypatch.setattr(shm, "SHM_DIR", str(tmp_path))
    return tmp_path


def dead_process() -> tuple[int, int]:
    """Pid and start time of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        start = shm.start_time(child.pid)
        child.communicate(b"\n")
    assert start is not None
    return child.pid, start


def test_names_are_this_processs_and_never_the_same() -> None:
    names = {shm.new_name() for _ in range(1000)}
    assert len(names) == 1000
    start = shm.start_time(os.getpid())
    assert all(name.startswith(f"polystore-{os.getpid()}-{start}-") for name in names)


def test_the_janitor_removes_what_the_dead_left_and_nothing_else(folder: Path) -> None:
    pid, start = dead_process()
    own = shm.start_time(os.getpid())
    assert own is not None
    dead = [f"polystore-{pid}-{start}-1", f"polystore-{os.getpid()}-{own - 1}-7", "polystore-1-1-1"]
    kept = [
        f"polystore-{os.getpid()}-{own}-1",
        "polystore-notes.txt",
        f"polystore-{pid}-{start}",
        f"polystore-{pid}-{start}-1.bak",
        "psm_of_somebody",
    ]
    for name in dead + kept:
        (folder / name).write_bytes(b"x" * 10)
    assert {name: (size, alive) for name, size, alive in shm.names()} == {
        **dict.fromkeys(dead, (10, False)),
        kept[0]: (10, True),
    }
    assert sorted(shm.janitor()) == sorted(dead)
    assert sorted(path.name for path in folder.iterdir()) == sorted(kept)
    assert shm.janitor() == []


def test_a_zombie_holds_its_pid_but_no_memory() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    try:
        assert Path(f"/proc/{child.pid}").exists()
        assert shm.start_time(child.pid) is None
    finally:
        child.wait()


def test_two_janitors_at_once_do_not_stumble(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "polystore-1-1-1").touch()
    found = shm.names()
    assert shm.unlink("polystore-1-1-1")
    monkeypatch.setattr(shm, "names", lambda: found)
    assert shm.janitor() == []


def test_a_name_is_created_once_with_all_its_pages(folder: Path) -> None:
    name = shm.new_name()
    os.close(shm.create(name, 100_000))
    info = (folder / name).stat()
    assert info.st_size == 100_000
    assert info.st_blocks * 512 >= 100_000
    assert info.st_mode & 0o777 == 0o600
    with pytest.raises(NoSharedMemoryError, match="cannot create"):
        shm.create(name, 10)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "passwd",
        "../polystore-1-1-1",
        "polystore-1-1-1/..",
        "polystore-1-1-1\0",
        "/etc/passwd",
        "polystore--1-1",
    ],
)
def test_only_names_of_our_form_are_opened(name: str) -> None:
    with pytest.raises(NoSharedMemoryError, match="not a shared-memory name"):
        shm.open_existing(name, 1)


def test_what_is_no_plain_file_of_ours_is_not_opened(folder: Path) -> None:
    (folder / "secret").write_bytes(b"12345678")
    (folder / "polystore-1-1-1").symlink_to(folder / "secret")
    with pytest.raises(NoSharedMemoryError, match="cannot open"):
        shm.open_existing("polystore-1-1-1", 8)
    (folder / "polystore-1-1-2").mkdir()
    with pytest.raises(NoSharedMemoryError):
        shm.open_existing("polystore-1-1-2", 4096)
    (folder / "polystore-1-1-3").write_bytes(b"1234")
    with pytest.raises(NoSharedMemoryError, match="4 bytes of user"):
        shm.open_existing("polystore-1-1-3", 8)


def test_without_the_folder_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shm, "SHM_DIR", "/nowhere")
    assert not shm.available()
    assert shm.free_bytes() == 0
    assert shm.names() == []
    assert shm.janitor() == []
