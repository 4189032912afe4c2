"""The demo's command, in a process of its own, with a viewer without a window."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from openhcs_viewers.launcher import list_viewers
from zmqruntime.testing import wait_until

COMMAND = (sys.executable, "-c", "import sys; from openhcs_viewers.demo.run import main; sys.exit(main())")


def demo(
    *arguments: str | Path, timeout: float = 90.0, **environment: str
) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "COLUMNS": "160", **environment}
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=timeout, env=env)


def test_a_plate_streams_and_every_image_is_counted(plate: Path, tmp_path: Path) -> None:
    options = ("--viewer", "recording", "--headless", "--policy", "recording=drop", "--workers", "2")
    done = demo("--plate", plate, *options, "--out", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    summary: dict[str, Any] = json.loads((tmp_path / "summary.json").read_text())
    assert list(summary) == ["viewers", "leaked_segments", "seconds", "versions"]
    assert list(summary["viewers"]) == ["recording"]
    counts = summary["viewers"]["recording"]
    assert counts.pop("publish_block_ms_p50") > 0
    assert counts.pop("publish_block_seconds") > 0
    assert counts.pop("policy") == "drop"
    assert counts == {"sent": 76, "displayed": 76, "superseded": 0, "dropped": 0, "lost_in_flight": 0}
    assert summary["leaked_segments"] == 0
    assert summary["seconds"] > 0
    assert {"python", "openhcs-viewers", "polystore", "zmqruntime", "numpy"} <= set(summary["versions"])
    for name in ("recording.png", "recording-canvas.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "counts.csv").exists()
    assert "Small: 2 wells (B02 B10), 2 fields each" in done.stdout
    assert str(tmp_path) in done.stdout
    assert done.stderr == ""
    assert list_viewers() == []


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("--plate", "/nowhere"), "plate folder '/nowhere' does not exist; give the folder"),
        (("--viewer", "nosuch"), "nosuch"),
    ],
)
def test_a_wrong_argument_is_said_and_starts_nothing(
    arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    done = demo("--headless", "--out", tmp_path, "--viewer", "recording", *arguments)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert list_viewers() == []


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("--workers", "0"), "--workers 0: give 1 or more"),
        (("--policy", "napari=wait"), "--policy napari=wait: give napari=POLICY, one of block"),
        (("--policy", "fiji=drop"), "there is no viewer 'fiji' here (napari)"),
    ],
)
def test_what_no_demo_can_do_is_a_wrong_argument(
    arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    done = demo(*arguments, "--out", tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_without_a_display_it_says_so_and_goes_on(plate: Path, tmp_path: Path) -> None:
    options = ("--plate", plate, "--viewer", "recording", "--workers", "1", "--out", tmp_path)
    done = demo(*options, DISPLAY="", WAYLAND_DISPLAY="", QT_QPA_PLATFORM="")
    assert done.returncode == 0, done.stderr
    assert "there is no display" in done.stdout
    assert "a virtual one" in done.stdout


class Running:
    """The demo while it runs, with everything it started."""

    def __init__(self, plate: Path, out: Path) -> None:
        options = [
            "--plate",
            str(plate),
            "--viewer",
            "recording",
            "--headless",
            "--workers",
            "2",
            "--out",
            str(out),
        ]
        # A step that never ends keeps it in the middle of its work.
        code = (
            "import sys, odd_steps\n"
            "from openhcs_viewers.demo import run\n"
            "from openhcs_viewers.demo.pipeline import Step\n"
            "run.STEPS = (run.STEPS[0], Step('wait', odd_steps.never_end))\n"
            "sys.exit(run.main())\n"
        )
        self.folder = out / "workers"
        self.folder.mkdir()
        env = {**os.environ, "ODD_STEPS": str(self.folder)}
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=env,
        )

    def children(self) -> set[int]:
        """Everything that has the demo among its parents."""
        parents: dict[int, int] = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(stat.parent.name)] = int(fields[1])
        found: set[int] = set()
        grown = {self.process.pid}
        while grown:
            grown = {pid for pid, parent in parents.items() if parent in grown}
            found |= grown
        return found

    def busy(self) -> bool:
        """Whether both workers are in the step that never ends."""
        assert self.process.poll() is None, self.process.communicate()
        return len(list(self.folder.iterdir())) == 2


def alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -9)])
def test_whatever_ends_it_nothing_is_left(
    number: signal.Signals, code: int, plate: Path, tmp_path: Path, plugins: Path
) -> None:
    running = Running(plate, tmp_path)
    try:
        wait_until(running.busy, 60.0)
        children = running.children()
        assert len(children) >= 3  # two workers and a viewer
        running.process.send_signal(number)
        out, err = running.process.communicate(timeout=20.0)
        assert running.process.returncode == code, out + err
        wait_until(lambda: not any(map(alive, children)), 5.0)
        if code == 130:
            assert "interrupted" in err
            assert "Traceback" not in err
    finally:
        running.process.kill()
        running.process.communicate()
