"""A real ImageJ in this process, on a virtual display: one for all tests, a process cannot have a second."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from openhcs_viewers.display import VirtualDisplay
from openhcs_viewers.fiji._maven import resolve
from openhcs_viewers.fiji.engine import Engine, EngineSettings, start_engine
from openhcs_viewers.fiji_engine_config import PINNED_IJ

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


@dataclass(frozen=True)
class StandIn:
    """What stands in for ImageJ2: see ``gateway.py``."""

    fiji: Path
    repository: Path


@pytest.fixture(scope="session")
def ij_jar() -> Path:
    """The real ImageJ 1 that all tests use."""
    return resolve(PINNED_IJ)[0]


@pytest.fixture(scope="session")
def stand_in(ij_jar: Path, tmp_path_factory: pytest.TempPathFactory) -> StandIn:
    """A Fiji folder and a local Maven repository with a gateway that insists on what the real one needs."""
    build = runpy.run_path(str(Path(__file__).parent / "gateway.py"))
    folder = tmp_path_factory.mktemp("stand-in")
    jar = build["compile_gateway"](ij_jar, folder)
    return StandIn(
        build["fiji_folder"](ij_jar, jar, folder / "Fiji.app"),
        build["maven_repository"](ij_jar, jar, folder / "m2"),
    )


@pytest.fixture
def process(
    java_home_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a program with an ImageJ of its own. No network: whatever wants some fails."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", f"-Duser.home={java_home_folder}")

    def run(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", PROLOGUE + textwrap.dedent(program)],
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, **environment},
        )

    return run


PROLOGUE = """
import logging, sys, time
logging.basicConfig(level=logging.INFO)
from openhcs_viewers.display import VirtualDisplay
from openhcs_viewers.fiji._java import java
from openhcs_viewers.fiji._maven import resolve
from openhcs_viewers.fiji.engine import EngineSettings, start_engine

def start(**options):
    headless = options.pop("headless", False)
    if not headless:
        globals()["display"] = VirtualDisplay()
        display.use()
    return start_engine(EngineSettings.of(options, headless=headless, heap=2**27))
"""
