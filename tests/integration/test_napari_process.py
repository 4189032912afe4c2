"""A real napari in a process of its own: opened, filled, looked at, ended however its launcher ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest

from openhcs_viewers import launch, list_viewers, show
from openhcs_viewers.errors import DisplayError
from openhcs_viewers.handle import ViewerHandle
from polystore.payload import shm
from zmqruntime.config import runtime_dir
from zmqruntime.testing import wait_until


def pixels(png: bytes) -> bytes:
    """The pixels of one of our pictures, rows with their filter bytes."""
    at, found = 8, b""
    while at < len(png):
        size, name = int.from_bytes(png[at : at + 4], "big"), png[at + 4 : at + 8]
        if name == b"IDAT":
            found += png[at + 8 : at + 8 + size]
        at += 12 + size
    return zlib.decompress(found)


def log_of(handle: ViewerHandle) -> str:
    assert handle.log is not None
    return handle.log.read_text()


def exit_code(handle: ViewerHandle) -> int | None:
    assert handle._process is not None
    return handle._process.returncode


@pytest.mark.usefixtures("on_display")
def test_open_show_look_close() -> None:
    before = shm.names()
    with launch("napari", detached=False, title="a test") as handle:
        array = np.zeros((64, 64), np.uint16)
        array[:32] = 1000
        assert show(array, viewer=handle, contrast=(0, 1000), name="half").port == handle.port
        handle.settle()
        assert handle.status()["images"]["displayed"] == 1
        canvas = pixels(handle.screenshot(canvas_only=True))
        assert max(canvas) == 255
        assert canvas.count(255) > len(canvas) // 4
        window = handle.screenshot()
        assert len(pixels(window)) > len(canvas)
        state = handle.state()
        assert state["title"] == "a test"
        assert [layer["name"] for layer in state["layers"]] == ["half"]
        assert handle.stop(timeout=20.0) == "asked"
    assert exit_code(handle) == 0
    assert "ended in good order" in log_of(handle)
    assert "Traceback" not in log_of(handle)
    assert list_viewers() == []
    assert shm.names() == before


def test_sigterm_closes_the_window_and_its_virtual_display_in_good_order() -> None:
    handle = launch("napari", detached=False, display="virtual")
    assert list(runtime_dir().glob("display-*"))
    os.kill(handle.pid or 0, signal.SIGTERM)
    wait_until(lambda: not handle.is_alive(), 10.0)
    assert exit_code(handle) == 0
    assert list(runtime_dir().glob("display-*")) == []
    assert "ended in good order" in log_of(handle)


def test_without_a_display_nothing_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(DisplayError, match="neither DISPLAY nor WAYLAND_DISPLAY is set"):
        launch("napari")
    assert list_viewers() == []


@pytest.mark.parametrize("moment", ["starting", "open"])
def test_viewer_and_virtual_display_end_with_a_killed_parent(moment: str) -> None:
    wait = moment == "open"
    code = (
        "import signal; from openhcs_viewers import launch\n"
        f"launch('napari', detached=False, display='virtual', wait={wait}); print(1, flush=True); signal.pause()"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout:
        assert parent.stdout.readline()
    (handle,) = list_viewers()
    wait_until(lambda: "X11 :" in log_of(handle), 20.0)
    number = log_of(handle).partition("X11 :")[2].split()[0]
    parent.kill()
    parent.wait()
    killed = time.monotonic()
    wait_until(lambda: not handle.is_alive(), 5.0, "the viewer is to end")
    wait_until(lambda: not Path(f"/tmp/.X11-unix/X{number}").exists(), 5.0, "Xvfb is to end")
    assert time.monotonic() - killed < 5.0


@pytest.mark.usefixtures("on_display")
def test_a_stopped_napari_is_ended_by_force() -> None:
    handle = launch("napari", detached=False)
    os.kill(handle.pid or 0, signal.SIGSTOP)
    assert handle.stop(force=True, timeout=1.0) == "killed"
    assert not handle.is_alive()


@pytest.mark.usefixtures("on_display")
def test_a_script_without_a_guard_opens_one_window(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import numpy\nfrom openhcs_viewers import show\nprint('started')\nshow(numpy.ones((8, 8)))\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr, done.returncode) == ("started\n", "", 0)
    (handle,) = list_viewers()
    wait_until(lambda: handle.status()["images"]["displayed"] == 1, 10.0)
