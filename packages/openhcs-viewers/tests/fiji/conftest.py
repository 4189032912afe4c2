"""A real ImageJ in this process, on a virtual display: one for all tests, a process cannot have a second."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openhcs_viewers.display import VirtualDisplay
from openhcs_viewers.fiji._maven import resolve
from openhcs_viewers.fiji.engine import Engine, EngineSettings, start_engine
from openhcs_viewers.fiji_engine_config import PINNED_IJ
from polystore.components import ImageKey
from polystore.streaming.messages import BatchContext

STEP = BatchContext(run="run", step_index=1, step_name="blur")

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
        patch.setenv("XDG_DATA_HOME", str(java_home_folder))
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
    monkeypatch.setenv("XDG_DATA_HOME", str(java_home_folder))

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


@dataclass
class Arriving:
    """An image as the receiver hands it over."""

    array: Any = None
    key: ImageKey = field(default_factory=ImageKey)
    context: Any = STEP
    kind: str = "image"
    contrast: tuple[float, float] | None = None
    path: str = ""
    name: str = ""
    rois: list[Any] | None = None
    owned: bool = False
    outcome: str = ""
    reason: str = ""

    def intact(self) -> bool:
        return True

    def credit(self) -> None:
        pass

    def resolve(self, outcome: str, reason: str = "") -> None:
        assert not self.outcome
        self.outcome, self.reason = outcome, reason

    finish = resolve


class Rig:
    """A scene in a real ImageJ, pumped by hand."""

    def __init__(self, engine: Engine) -> None:
        from openhcs_viewers.fiji.store import HeapStore
        from openhcs_viewers.fiji.viewer import FijiViewer
        from openhcs_viewers.scene import Scene
        from polystore.projection.hyperstack import HyperstackProjection

        self.store = HeapStore(2**28)
        self.scene = Scene(self.store, HyperstackProjection())
        self.viewer = FijiViewer(self.scene, engine)
        self.viewer.open("test window")

    def send(
        self, value: Any = 1, *, shape: tuple[int, ...] = (32, 32), dtype: Any = np.uint16, **options: Any
    ) -> Arriving:
        """Have an image arrive; not shown yet."""
        fields = {name: options.pop(name) for name in list(options) if name in Arriving.__dataclass_fields__}
        array = value if isinstance(value, np.ndarray) else np.full(shape, value, dtype)
        fields.setdefault("contrast", (0.0, 100.0) if fields.get("kind", "image") == "image" else None)
        image = Arriving(None if fields.get("kind") == "rois" else array, ImageKey.of(**options), **fields)
        self.scene.receive([image])
        return image

    def show(self) -> None:
        """Do what the scene asks for, until it asks for nothing; then what Java's event thread has to do."""
        from openhcs_viewers.fiji._java import on_edt

        for _ in range(100):
            self.viewer._wake.clear()
            self.viewer.pump()
            on_edt(lambda: None)
            if not self.viewer._wake.is_set() and not self.scene.status()["images"]["waiting"]:
                return
        raise AssertionError("never settles")

    def rest(self) -> None:
        """Wait until the display has told Java of every window's size and place, and Java believes it."""
        from openhcs_viewers.fiji._java import on_edt

        end = time.monotonic() + 10.0
        while not on_edt(self.viewer._desk.straighten):  # as the loop does between two frames
            assert time.monotonic() < end, "windows never arrive"
            time.sleep(0.03)

    @property
    def windows(self) -> list[Any]:
        """Our windows, in the order in which they came."""
        return list(self.viewer._windows.values())

    def window(self, at: int = 0) -> Any:
        return self.windows[at]

    def image(self, at: int = 0) -> Any:
        """ImageJ's image."""
        return self.windows[at].image

    def pixels(self, index: int, at: int = 0) -> np.ndarray[Any, Any]:
        """The pixels of one plane of a stack, from 1."""
        image = self.image(at)
        return np.array(image.getStack().getPixels(index)).reshape(image.getHeight(), image.getWidth())

    def values(self, at: int = 0) -> list[int]:
        """The first pixel of every plane."""
        return [int(self.pixels(index + 1, at)[0, 0]) for index in range(self.image(at).getStackSize())]

    def move(self, *place: int, at: int = 0) -> None:
        """Move the sliders as the user does: ImageJ's thread for that reads the plane."""
        from openhcs_viewers.fiji._java import on_edt

        on_edt(lambda: self.image(at).setPosition(*place))
        self.show()

    def colour(self, at: int = 0) -> tuple[int, ...]:
        """The colour in the middle of the picture on the screen."""
        from openhcs_viewers.fiji import _screen
        from openhcs_viewers.fiji._java import on_edt

        picture = on_edt(lambda: _screen.paint(self.window(at).window.getCanvas()))
        return tuple(int(one) for one in picture[picture.shape[0] // 2, picture.shape[1] // 2, :3])


@pytest.fixture
def rig(engine: Engine) -> Iterator[Rig]:
    """A scene in the common ImageJ, which has no images before and after."""
    rig = Rig(engine)
    yield rig
    rig.viewer.close()
    rig.store.close()
    from openhcs_viewers.fiji._java import java

    assert int(java("ij.WindowManager").getWindowCount()) == 0
