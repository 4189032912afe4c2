"""A real napari on a virtual display, driven by hand or by its own event loop."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openhcs_viewers.display import VirtualDisplay
from openhcs_viewers.scene import Scene
from openhcs_viewers.store import PlaneStore
from polystore.components import ImageKey
from polystore.streaming.messages import BatchContext

STEP = BatchContext(run="run", step_index=1, step_name="blur")


@pytest.fixture(scope="session")
def display(tmp_path_factory: pytest.TempPathFactory) -> VirtualDisplay:
    """One display for the session. It is not closed: Qt ends the process when its display goes away, and
    the display ends with the process anyway.
    """
    found = VirtualDisplay()
    with pytest.MonkeyPatch.context() as patch:
        # napari reads its settings when it is imported, once per process.
        for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
            patch.setenv(name, str(tmp_path_factory.mktemp(name.lower())))
        for name, value in found.env.items():
            patch.setenv(name, value)
        patch.delenv("WAYLAND_DISPLAY", raising=False)
        patch.delenv("QT_QPA_PLATFORM", raising=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what napari's dependencies say while they are imported
            from napari import Viewer

            Viewer(show=True).close()
    return found


@pytest.fixture(autouse=True)
def _screen(display: VirtualDisplay, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in display.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))


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
    """A scene in a real napari."""

    def __init__(self, model: Any = None, budget: int | None = None) -> None:
        from openhcs_viewers.napari import NapariViewer

        self.scene = Scene(PlaneStore(2**28 if budget is None else budget))
        self.viewer = NapariViewer(self.scene, model)
        self.viewer.open("test window")
        self.model = self.viewer._model
        self.process()

    def process(self, times: int = 3) -> None:
        """Let Qt do what is due, deletions included, as its own loop would."""
        from qtpy.QtCore import QCoreApplication, QEvent

        for _ in range(times):
            QCoreApplication.processEvents()
            QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)

    def send(
        self, value: Any = 1, *, shape: tuple[int, ...] = (16, 16), dtype: Any = np.uint16, **options: Any
    ) -> Arriving:
        """Have an image arrive; not shown yet."""
        fields = {name: options.pop(name) for name in list(options) if name in Arriving.__dataclass_fields__}
        array = value if isinstance(value, np.ndarray) else np.full(shape, value, dtype)
        fields.setdefault("contrast", (0.0, 100.0) if fields.get("kind", "image") == "image" else None)
        image = Arriving(None if fields.get("kind") == "rois" else array, ImageKey.of(**options), **fields)
        self.scene.receive([image])
        return image

    def show(self) -> None:
        """Do what the scene asks for, until it asks for nothing."""
        for _ in range(100):
            changes = self.scene.take_changes()
            if not changes:
                break
            self.scene.applied(changes, self.viewer.apply(changes))
        self.process()

    def layer(self, at: int = 0) -> Any:
        return self.model.layers[at]

    @property
    def where(self) -> dict[str, Any]:
        return {which.value: value for which, value in self.viewer._sliders.position.items()}

    def move(self, **position: Any) -> None:
        """Move sliders as the user does, by their numbers."""
        axes = [which.value for which, _ in self.viewer._sliders.axes]
        for name, index in position.items():
            self.model.dims.set_current_step(axes.index(name), index)
        self.process()

    def canvas(self) -> np.ndarray[Any, Any]:
        """The canvas' pixels, (y, x, 3)."""
        self.process()
        return self.viewer.screenshot(canvas_only=True)[..., :3]

    def middle(self) -> tuple[int, ...]:
        """The colour in the middle of the canvas."""
        picture = self.canvas()
        return tuple(int(one) for one in picture[picture.shape[0] // 2, picture.shape[1] // 2])


@pytest.fixture
def open_rig() -> Iterator[Callable[..., Rig]]:
    """Open windows that are closed in the end."""
    with ExitStack() as stack:

        def begin(**options: Any) -> Rig:
            rig = Rig(**options)
            stack.callback(rig.scene.store.close)
            stack.callback(rig.process)
            stack.callback(rig.viewer.close)
            return rig

        yield begin


@pytest.fixture(scope="session")
def window(display: VirtualDisplay) -> Any:
    """One napari window for all tests that need none of their own: opening and closing one takes 1.5 s."""
    import napari

    patch = pytest.MonkeyPatch()
    for name, value in display.env.items():
        patch.setenv(name, value)
    yield napari.Viewer(show=True)
    patch.undo()


@pytest.fixture
def rig(window: Any) -> Iterator[Rig]:
    """A scene in the common window, which is empty before and after."""
    rig = Rig(window)
    yield rig
    rig.viewer.close()
    rig.scene.store.close()
    window.layers.clear()
    window.dims.ndisplay = 2
    rig.process()


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], None]:
    """Wait until something is so, or fail."""

    def wait(condition: Callable[[], bool], timeout: float = 20.0) -> None:
        from qtpy.QtTest import QTest

        end = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < end, "it never happened"
            QTest.qWait(5)

    return wait
