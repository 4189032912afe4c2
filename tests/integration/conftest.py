"""What the integration tests share: a virtual display, folders of their own, viewers that end."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from openhcs_viewers.display import VirtualDisplay
from openhcs_viewers.launcher import list_viewers
from polystore.streaming.sender import close_senders


@pytest.fixture(scope="session")
def display() -> Iterator[VirtualDisplay]:
    """One display in memory for all tests."""
    with VirtualDisplay() as virtual:
        yield virtual


@pytest.fixture
def on_display(display: VirtualDisplay, monkeypatch: pytest.MonkeyPatch) -> VirtualDisplay:
    """Make it the display of this test and of the processes it starts."""
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    for name, value in display.env.items():
        monkeypatch.setenv(name, value)
    return display


@pytest.fixture(autouse=True)
def own_folders(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Sockets, logs and napari's settings in a folder of this test; every viewer in it is ended."""
    folder = Path(tempfile.mkdtemp(prefix="ohi-"))  # short: socket paths have 107 bytes at most
    monkeypatch.setenv("ZMQRUNTIME_DIR", str(folder / "run"))
    for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(folder / name.lower()))
    monkeypatch.delenv("POLYSTORE_RUN", raising=False)
    yield folder
    close_senders(0.0)
    for handle in list_viewers():
        handle.stop(force=True, timeout=1.0)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def pipeline() -> Callable[[str], subprocess.CompletedProcess[str]]:
    """Run Python code as a pipeline process of its own; it must end well and silently."""

    def run(code: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return done

    return run
