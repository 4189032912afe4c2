"""A small or full /dev/shm, as in a container: slower, never a crash, nothing lost, nothing left.

As root the folder is a real tmpfs of 8 MB, mounted for the test; otherwise the operating system's answers are
played: what `statvfs` says and `posix_fallocate` refuses.
"""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from polystore.payload import shm
from polystore.streaming.messages import StreamItem
from zmqruntime.stream import StreamStats

MIB = 1 << 20
SIZE = 8 * MIB
IMAGE = np.random.default_rng(3).integers(0, 60000, (512, 512), dtype="<u2")  # half a megabyte


def mounted(folder: Path) -> bool:
    """Whether a tmpfs of 8 MB is mounted at `folder` now."""
    if os.geteuid() != 0:
        return False
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "polystore-test", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def played(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the operating system say of `folder` what it would say of a tmpfs of 8 MB."""

    def free() -> int:
        # What has a name, and the arenas of this process that have none any more.
        taken = sum(path.stat().st_size for path in folder.iterdir())
        for line in Path("/proc/self/maps").read_text().splitlines():
            if " rw-s " in line and str(folder) in line and line.endswith("(deleted)"):
                start, _, end = line.split()[0].partition("-")
                taken += int(end, 16) - int(start, 16)
        return max(0, SIZE - taken)

    def fallocate(fd: int, start: int, length: int) -> None:
        if length > free():
            raise OSError(errno.ENOSPC, "No space left on device")
        os.truncate(fd, start + length)

    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=free() // 4096, f_frsize=4096))
    monkeypatch.setattr(os, "posix_fallocate", fallocate)


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder that stands for /dev/shm, 8 MB large."""
    folder = tmp_path / "shm"
    folder.mkdir()
    real = mounted(folder)
    print("shared memory of 8 MB:", "a tmpfs" if real else "played")
    if not real:
        played(folder, monkeypatch)
    monkeypatch.setattr(shm, "SHM_DIR", str(folder))
    try:
        yield folder
    finally:
        if real:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_the_arena_takes_a_fourth_and_everything_arrives(rig: Any, memory: Path) -> None:
    shelf = rig.shelf()
    sender = rig.sender()
    assert sender._encoder._arena.size <= SIZE // 4
    assert sender.send([StreamItem(IMAGE + np.uint16(i)) for i in range(30)]) == (30, 0)
    assert sender.flush(20)
    assert sender.stats == StreamStats(sent=30, displayed=30)
    assert shelf.places == ["arena"] * 30
    assert all(np.array_equal(copy, IMAGE + np.uint16(i)) for i, copy in enumerate(shelf.copies))
    assert list(memory.iterdir()) == []


def test_images_larger_than_all_of_it_travel_in_messages(rig: Any, memory: Path) -> None:
    shelf = rig.shelf()
    sender = rig.sender()
    large = np.tile(IMAGE, (5, 4))  # 10 MB
    for _ in range(3):
        sender.send([StreamItem(large), StreamItem(IMAGE)])
    assert sender.flush(20)
    assert sender.stats == StreamStats(sent=6, displayed=6)
    assert shelf.places == ["own", "arena"] * 3
    assert all(np.array_equal(copy, large) for copy in shelf.copies[::2])


def test_images_of_which_one_fits_and_the_next_does_not(rig: Any, memory: Path) -> None:
    shelf = rig.shelf(opened=False)
    sender = rig.sender(policy="drop", deadline=0.2)
    middle = np.tile(
        IMAGE, (2, 2)
    )  # 2 MB: just too large for the arena, and one segment fits half of what is free
    report = sender.send([StreamItem(middle) for _ in range(10)])
    shelf.open()
    assert sender.flush(20)
    assert report.accepted == len(shelf.got) > 1
    assert all(np.array_equal(copy, middle) for copy in shelf.copies)
    stats = sender.stats
    assert stats.balanced
    assert stats.displayed == report.accepted
    assert list(memory.iterdir()) == []


def test_somebody_else_fills_it(rig: Any, memory: Path, caplog: pytest.LogCaptureFixture) -> None:
    shelf = rig.shelf()
    sender = rig.sender()
    (memory / "of_somebody").write_bytes(bytes(5 * MIB + MIB // 2))
    large = np.tile(IMAGE, (4, 4))
    for _ in range(4):
        sender.send([StreamItem(large), StreamItem(IMAGE)])
    assert sender.flush(20)
    assert shelf.places == ["own", "arena"] * 4
    assert sum("such images travel in messages" in r.getMessage() for r in caplog.records) == 1


def test_it_is_full_from_the_start(rig: Any, memory: Path, caplog: pytest.LogCaptureFixture) -> None:
    (memory / "of_somebody").write_bytes(bytes(SIZE - 64 * 1024))
    shelf = rig.shelf()
    sender = rig.sender()
    assert sender._encoder._arena is None
    assert sender.send([StreamItem(IMAGE) for _ in range(30)]) == (30, 0)
    assert sender.flush(20)
    assert shelf.places == ["own"] * 30
    assert sender.stats == StreamStats(sent=30, displayed=30)
    said = [r.getMessage() for r in caplog.records if "images travel in messages" in r.getMessage()]
    assert 1 <= len(said) <= 2
    assert "docker run --shm-size" in said[0]
    assert sender.empty((512, 512)).base is None


def test_several_senders_share_what_there_is(rig: Any, memory: Path) -> None:
    shelf = rig.shelf()
    senders = [rig.sender() for _ in range(6)]
    sizes = [0 if sender._encoder._arena is None else sender._encoder._arena.size for sender in senders]
    assert sum(sizes) < SIZE
    assert sizes == sorted(sizes, reverse=True)
    for sender in senders:
        sender.send([StreamItem(IMAGE)] * 5)
    assert all(sender.flush(20) for sender in senders)
    assert len(shelf.got) == 30
    assert all(sender.stats == StreamStats(sent=5, displayed=5) for sender in senders)
