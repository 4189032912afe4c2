"""A real ImageJ in this process, on a virtual display: one for all tests, a process cannot have a second."""

from __future__ import annotations

from pathlib import Path

import pytest

from openhcs_viewers.display import VirtualDisplay
from openhcs_viewers.fiji.engine import Engine, EngineSettings, start_engine

HEAP = 512 * 1024 * 1024
"""Bytes: enough for the planes of all tests, little enough for the machine they run on."""


@pytest.fixture(scope="session")
def java_home_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What Java takes for the user's folder: ImageJ's preferences go there."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def engine(java_home_folder: Path) -> Engine:
    """ImageJ with its main window. It is not closed: Java cannot be started twice, and ends with the process."""
    display = VirtualDisplay()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in display.env.items():
            patch.setenv(name, value)
        patch.delenv("WAYLAND_DISPLAY", raising=False)
        patch.setenv("JAVA_TOOL_OPTIONS", f"-Duser.home={java_home_folder}")
        found = start_engine(EngineSettings(heap=HEAP))
        found.show_window("test window")
    # Kept as long as the engine: windows of a display that is closed take Java with them.
    found.display = display  # type: ignore[attr-defined]
    return found
