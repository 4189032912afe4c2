from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from polystore._cli import main
from polystore.backends import BACKENDS
from polystore.payload import shm


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in the place of /dev/shm, with one name of this process and one of a dead one."""
    monkeypatch.setattr(shm, "SHM_DIR", str(tmp_path))
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / f"polystore-{dead.pid}-1-1").write_bytes(bytes(1000))
    (tmp_path / shm.new_name()).write_bytes(bytes(2000))
    (tmp_path / "somebody-elses").write_bytes(b"")
    return tmp_path


def test_backends(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backends"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["name", "origin", "target"]
    assert any(line.startswith("disk ") and "built in" in line for line in lines)


def test_backends_explained(capsys: pytest.CaptureFixture[str]) -> None:
    BACKENDS.register("broken", "no_such_module:X")
    try:
        assert main(["backends", "--explain", "--json"]) == 0
        rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
        assert rows["disk"]["problem"] == ""
        assert "no_such_module" in rows["broken"]["problem"]
        assert main(["backends", "--explain"]) == 0
        assert "no_such_module" in capsys.readouterr().out
    finally:
        BACKENDS.unregister("broken")


def test_shared_memory_is_listed(memory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["shm", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1:] for line in lines[1:]] in (
        [["1,000", "dead"], ["2,000", "alive"]],
        [["2,000", "alive"], ["1,000", "dead"]],
    )
    assert main(["shm", "list", "--json"]) == 0
    assert sorted(row["bytes"] for row in json.loads(capsys.readouterr().out)) == [1000, 2000]


def test_only_what_the_dead_left_is_removed(memory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["shm", "gc"]) == 0
    assert "removed 1" in capsys.readouterr().out
    assert len(list(memory.iterdir())) == 2
    assert main(["shm", "gc"]) == 0
    assert "removed 0" in capsys.readouterr().out


def test_nothing_to_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shm, "SHM_DIR", str(tmp_path))
    assert main(["shm", "list"]) == 0
    assert capsys.readouterr().out == "no shared memory of ours\n"


@pytest.mark.parametrize("arguments", [[], ["frobnicate"], ["shm"]])
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: polystore" in capsys.readouterr().err


def test_the_command_itself() -> None:
    command = Path(sys.executable).with_name("polystore")
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"polystore {version('polystore')}"


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_an_output_that_is_full_is_told_in_a_line(unbuffered: str) -> None:
    if not Path("/dev/full").exists():
        return
    command = [Path(sys.executable).with_name("polystore"), "backends"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, check=False,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == "polystore: cannot write the output: No space left on device\n"


def test_a_reader_that_has_gone_is_not_mentioned() -> None:
    read, write = os.pipe()
    os.close(read)
    command = [Path(sys.executable).with_name("polystore"), "backends"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")


def test_other_errors_of_the_system_are_not_taken_for_the_outputs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(arguments: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("polystore._commands.backends._backends", fail)
    with pytest.raises(OSError, match="Input/output"):
        main(["backends"])
