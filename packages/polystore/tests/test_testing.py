from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from polystore.payload import shm
from polystore.testing import assert_nothing_left, example_image


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(shm, "SHM_DIR", str(tmp_path))
    return tmp_path


def test_nothing_is_left(folder: Path) -> None:
    (folder / shm.new_name()).write_bytes(b"before")
    with assert_nothing_left(within=0):
        name = folder / shm.new_name()
        name.write_bytes(b"x")
        name.unlink()


def test_our_own_and_those_of_the_dead_are_counted(folder: Path) -> None:
    with pytest.raises(AssertionError, match="1 names left"), assert_nothing_left(within=0.05):
        (folder / shm.new_name()).write_bytes(b"x")
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    with pytest.raises(AssertionError, match=f"polystore-{dead.pid}-"), assert_nothing_left(within=0):
        (folder / f"polystore-{dead.pid}-1-1").write_bytes(b"x")


def test_other_programs_may_come_and_go(folder: Path) -> None:
    parent = os.getppid()
    with assert_nothing_left(within=0):
        (folder / f"polystore-{parent}-{shm.start_time(parent)}-1").write_bytes(b"x")


def test_a_living_child_is_ours(folder: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        with pytest.raises(AssertionError), assert_nothing_left(within=0):
            (folder / f"polystore-{child.pid}-{shm.start_time(child.pid)}-1").write_bytes(b"x")
    finally:
        child.communicate(b"\n")


def test_examples_are_the_same_every_time() -> None:
    assert (example_image(3) == example_image(3)).all()
    assert (example_image(3) != example_image(4)).any()
