"""ImageJ windows that show a scene. The main thread does here what changed, at most 20 times a second."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

import jpype
import numpy as np

from openhcs_viewers._png import write_png
from openhcs_viewers.abc import Changes, Command, Viewer, ViewerSettings
from openhcs_viewers.display import check_display
from openhcs_viewers.drawn import DrawnRoi
from openhcs_viewers.errors import ViewerClosedError
from openhcs_viewers.fiji import _desk
from openhcs_viewers.fiji._java import PATIENCE, java, later, let_go, on_edt
from openhcs_viewers.fiji._luts import lut
from openhcs_viewers.fiji._macros import Macros
from openhcs_viewers.fiji._pixels import PixelType, new_array
from openhcs_viewers.fiji._regions import Regions
from openhcs_viewers.fiji._save import save
from openhcs_viewers.fiji._stack import Hyperstack
from openhcs_viewers.fiji._window import HyperstackWindow
from openhcs_viewers.fiji.engine import Engine, EngineSettings, start_engine
from openhcs_viewers.fiji.store import HeapStore
from openhcs_viewers.scene import Scene
from polystore.components import Component, Value
from polystore.projection import LayerPlan, Position
from polystore.projection.hyperstack import HyperstackPlan, HyperstackProjection

__all__ = ["FijiViewer"]

logger = logging.getLogger(__name__)

FRAME = 1 / 20
"""Seconds between two updates: what arrives meanwhile is shown together."""

ARRIVAL = 1.0
"""Seconds a picture or a macro waits for windows that are on their way to their places."""

HEARTBEAT = 0.25
"""Seconds between two signs of life."""

NEW_WINDOWS = 4
"""Windows made per update at most: 20 to 30 ms each, and what arrives has to be shown meanwhile."""

NO_CHANGES = Changes()

HELD_TIMEOUT = 0.5
"""Seconds ImageJ gets to keep preferences at the end when its event thread is held: no window will close."""


class FijiViewer(Viewer):
    """Shows a scene in ImageJ: a window for each hyperstack.

    Windows the user closes stay away until another run makes them anew. The places of windows, the zoom, the display
    ranges, the tables and the sliders are his from the moment he touches them.

    Parameters
    ----------
    scene
        What to show. Its store is a `HeapStore`, its projection a `HyperstackProjection`.
    engine
        The running ImageJ.
    own
        It ends with this viewer.
    """

    kind: ClassVar[str] = "fiji"
    end_grace: ClassVar[float] = 4.0

    def __init__(self, scene: Scene, engine: Engine, *, own: bool = False) -> None:
        super().__init__(scene)
        self._engine = engine
        self._own = own
        self._on_a_screen = True
        self._windows: dict[str, HyperstackWindow] = {}
        self._regions = Regions(scene, headless=engine.headless)
        self._macros = Macros(
            headless=engine.headless, images=lambda: [one.image for one in list(self._windows.values())]
        )
        self._desk = _desk.Desk()
        self._given_up: list[tuple[HyperstackWindow, int]] = []
        self._wake = threading.Event()
        self._closed = False
        self._ending = False
        self._listener: Any = None
        self._probe: threading.Event | None = None

    @classmethod
    def create(cls, settings: ViewerSettings) -> Self:
        """See `Viewer.create`. Starts Java, which is there once per process."""
        headless = settings.display == "headless"
        engine = start_engine(EngineSettings.of(settings.options, headless=headless, heap=settings.budget))
        scene = Scene(HeapStore(settings.budget), HyperstackProjection(), every_roi=True)
        viewer = cls(scene, engine, own=True)
        viewer._on_a_screen = settings.display not in ("virtual", "headless")
        return viewer

    # -- the window

    def open(self, title: str) -> None:
        """See `Viewer.open`. Takes about a second the first time in a process."""
        self.title = title
        if self._own and not self._engine.headless:
            check_display()
            self._engine.show_window(title)
        if not self._on_a_screen:
            self._engine.keep_preferences_apart()
        on_edt(lambda: _warm_up(self._engine.headless))
        self._listener = jpype.JProxy(
            "ij.ImageListener",
            dict={
                "imageOpened": self._on_image,
                "imageClosed": self._on_image,
                "imageUpdated": self._on_image,
            },
        )
        java("ij.ImagePlus").addImageListener(self._listener)
        self.scene.on_wake(self._wake.set)

    def run(self, pump: Callable[[], None], heartbeat: Callable[[], None] | None = None) -> None:
        """See `Viewer.run`. While ImageJ's event thread does not answer, nothing is pumped and no heart beats."""
        beat = heartbeat or _nothing
        pumped = beaten = 0.0
        try:
            while not self._closed:
                woken = self._wake.wait(FRAME if self._desk.is_placing else HEARTBEAT)
                if woken:
                    time.sleep(max(0.0, pumped + FRAME - time.monotonic()))
                if self._closed or self._engine.has_quit():
                    break
                if not self._answers():
                    if self._ending:
                        break
                    continue
                if woken:
                    self._wake.clear()  # before: what arrives from now on needs another
                    pump()
                    pumped = time.monotonic()
                elif self._desk.is_placing:
                    on_edt(self._desk.straighten)
                if time.monotonic() - beaten >= HEARTBEAT:
                    beat()
                    beaten = time.monotonic()
        except ViewerClosedError as error:  # of the event thread, held while something was to be done there
            logger.warning("%s", error)
        finally:
            self.close()

    def end_soon(self) -> None:
        """See `Viewer.end_soon`: a plugin may hold ImageJ's event thread for ever, and nobody waits for it any more."""
        self._ending = True
        if self._own:
            let_go()
        self._wake.set()

    def close(self) -> None:
        """See `Viewer.close`; in bounded time, whatever holds ImageJ's event thread."""
        if self._closed:
            return
        self._closed = True
        self._wake.set()
        if self._listener is not None:
            java("ij.ImagePlus").removeImageListener(self._listener)
        windows, self._windows = self._windows, {}
        done = threading.Event()

        def close_all() -> None:
            try:
                for window in windows.values():
                    window.close()
            finally:
                done.set()

        later(close_all)
        held = not done.wait(PATIENCE if self._probe is None else HEARTBEAT)
        if held:
            logger.warning("ImageJ's event thread is busy: its windows end with the process")
        if self._own:
            self._engine.close(*([HELD_TIMEOUT] if held else []))

    # -- what changed

    def pump(self) -> None:
        """See `Viewer.pump`: first what the user did and what lies in the stacks, then what changed."""
        self._refresh()
        changes = self.scene.take_changes(new_layers=NEW_WINDOWS)
        if changes:
            failed = self.apply(changes)
            self.scene.applied(changes, failed, self._left_out())

    def apply(self, changes: Changes) -> Mapping[str, str]:
        """See `Viewer.apply`. Windows that fail when they are drawn are told to the scene at once."""
        failed: dict[str, str] = {}
        for plan in changes.updated:
            self._guarded(self._update, plan, failed)
        for plan in changes.created:
            self._guarded(self._create, plan, failed)
        for layer_id in failed:
            self._give_up(layer_id)
        self._refresh(changes)
        shown = {layer_id: one for layer_id, one in self._windows.items() if not one.is_gone()}
        regions = self._regions.apply(changes, shown)
        for layer_id in regions:
            self._regions.forget(layer_id)
        return {**regions, **failed}

    def _refresh(self, changes: Changes = NO_CHANGES) -> None:
        """Bring all windows up to date in one task of the event thread; tells the scene what the user did to them."""
        failed: dict[str, str] = {}
        gone: list[str] = []
        moved: dict[str, Mapping[Component, Value]] = {}

        def task() -> None:
            for layer_id, window in list(self._windows.items()):
                try:
                    if window.is_gone():
                        gone.append(layer_id)
                    elif trouble := window.hyperstack.trouble():
                        failed[layer_id] = trouble
                    else:
                        self._bring_up_to_date(layer_id, window, changes)
                        if window.has_moved():
                            moved[layer_id] = window.values()
                except Exception as error:
                    # The boundary to ImageJ and its plugins: one window must not take the others with it.
                    if window.is_gone():  # closed meanwhile, by a macro on a thread of its own
                        gone.append(layer_id)
                        continue
                    logger.exception("the window of %r cannot be brought up to date", window.plan.name)
                    failed[layer_id] = f"{type(error).__name__}: {error}"
            self._desk.straighten()

        on_edt(task)
        for layer_id in gone:
            self._forget(layer_id)
            self.scene.layer_deleted(layer_id)
        for layer_id, reason in failed.items():
            self._give_up(layer_id)
            self.scene.layer_deleted(layer_id, f"its layer could not be shown: {reason}")
        for layer_id, values in moved.items():
            self.scene.look_at(values, layer_id)
        self._settle_accounts()

    def _left_out(self) -> dict[tuple[str, Position], str]:
        """The planes there is no memory for, and why."""
        return {
            (layer_id, position): reason
            for layer_id, window in self._windows.items()
            for position, reason in window.hyperstack.left_out.items()
        }

    def _bring_up_to_date(self, layer_id: str, window: HyperstackWindow, changes: Changes) -> None:
        window.refresh()
        if layer_id in changes.contrast:
            window.set_ranges(changes.contrast[layer_id])
        if layer_id in changes.follow:
            window.go(changes.follow[layer_id])

    def _guarded(self, change: Callable[[Any], None], plan: LayerPlan, failed: dict[str, str]) -> None:
        try:
            change(plan)
        except Exception as error:
            # The boundary to ImageJ and its plugins: one layer they cannot show must not take the others with it.
            logger.exception("layer %r cannot be shown", plan.name)
            failed[plan.layer_id] = f"{type(error).__name__}: {error}"

    def _create(self, plan: LayerPlan, instead: HyperstackWindow | None = None) -> None:
        if not isinstance(plan, HyperstackPlan) or not plan.plane_shape:
            return  # regions of interest
        store = self._store
        try:
            window = HyperstackWindow(Hyperstack(plan, store, self._wake.set), headless=self._engine.headless)
        except Exception:
            store.unwatch(plan.layer_id)
            raise
        self._windows[plan.layer_id] = window

        def show() -> None:
            window.show()
            if instead is not None:
                window.stand_for(instead)
                self._desk.exchange(instead, window)
                instead.close()
            elif not self._engine.headless:
                self._desk.add(window)

        try:
            on_edt(show)
        except Exception:
            later(window.close)
            raise

    def _update(self, plan: LayerPlan) -> None:
        window = self._windows.get(plan.layer_id)
        if window is None or not isinstance(plan, HyperstackPlan):
            return
        if not window.hyperstack.fits(plan):  # a later run, with pixels of another kind
            if not window.is_gone():
                self._exchange(window, plan)
            return

        def grow() -> None:
            # Or the user closed it right now.
            if not window.is_gone():
                ours = self._desk.is_ours(window)
                if window.grow(plan):
                    self._desk.settle(window, ours=ours)

        on_edt(grow)

    def _exchange(self, window: HyperstackWindow, plan: HyperstackPlan) -> None:
        """Have another window stand for one: ImageJ's images have one type of pixels for good."""
        self._windows.pop(plan.layer_id)
        self._regions.window_closed(plan.layer_id)
        window.hyperstack.close()
        try:
            self._create(plan, window)
        finally:
            later(partial(self._desk.remove, window))
            on_edt(window.close)

    def _forget(self, layer_id: str) -> HyperstackWindow | None:
        """Know a window no more, and want none of its planes."""
        window = self._windows.pop(layer_id, None)
        if window is not None:
            self._regions.window_closed(layer_id)
            window.hyperstack.close()
            later(partial(self._desk.remove, window))
        return window

    def _give_up(self, layer_id: str) -> None:
        """Leave a window to the user: nothing arrives there any more. Its memory is counted until he closes it."""
        window = self._windows.get(layer_id)
        nbytes = 0 if window is None else window.hyperstack.nbytes
        self._forget(layer_id)
        if window is None:
            return
        logger.warning("%r is given up, its window stays as it is", window.plan.name)
        if window.window is not None:
            nbytes = min(nbytes, int(window.image.getSizeInBytes()))
            self._store.borrow(nbytes)
            self._given_up.append((window, nbytes))

    def _settle_accounts(self) -> None:
        """Count the memory of windows that were given up no more when they are closed."""
        for one in [one for one in self._given_up if one[0].is_gone()]:
            self._given_up.remove(one)
            self._store.release(one[1])

    @property
    def _store(self) -> HeapStore:
        assert isinstance(self.scene.store, HeapStore)
        return self.scene.store

    # -- what the user did

    def _on_image(self, _image: Any) -> None:
        self._wake.set()

    def _answers(self) -> bool:
        """Whether ImageJ's event thread does what it is asked."""
        if self._engine.headless:
            return True
        if self._probe is None:
            self._probe = threading.Event()
            later(self._probe.set)
        if not self._probe.wait(HEARTBEAT):
            return False
        self._probe = None
        return True

    # -- what is seen

    def screenshot(self, path: Path | None = None, *, canvas_only: bool = False) -> np.ndarray[Any, Any]:
        """See `Viewer.screenshot`: every window as it paints itself, at its place."""
        if self._closed:
            raise ViewerClosedError("the window is closed: no picture can be taken of it")
        self._refresh()
        self._let_windows_arrive()
        windows = list(self._windows.values())
        picture = on_edt(
            lambda: _desk.picture(windows, canvas_only=canvas_only, headless=self._engine.headless)
        )
        if path is not None:
            write_png(path, picture)
        return picture

    def state(self) -> dict[str, Any]:
        """See `Viewer.state`; with what the user sees of each hyperstack."""
        self._refresh()
        state, windows = super().state(), dict(self._windows)
        seen = on_edt(
            lambda: {one: window.describe() for one, window in windows.items() if not window.is_gone()}
        )
        for described in state["layers"]:
            described.update(seen.get(described["id"], {}))
        return {**state, "engine": self._engine.description}

    def commands(self) -> Mapping[str, Command]:
        """See `Viewer.commands`: ``save`` (path, layer) and ``run_macro`` (macro, argument, seconds)."""
        return {
            "save": Command(self._save, trusted=True, gui=False),
            "run_macro": Command(self._run_macro, trusted=True, gui=False),
        }

    def rois(self, include: str = "user") -> list[DrawnRoi]:
        """See `Viewer.rois`: from the ROI Manager, the selections and the overlays."""
        return self._regions.drawn([one for one in self._windows.values() if not one.is_gone()], include)

    def _run_macro(self, params: Mapping[str, Any]) -> str:
        """Answer ``run_macro``: where a macro puts a window it stays, so none is on its way when it begins."""
        self._let_windows_arrive()
        return self._macros.command(params)

    def _let_windows_arrive(self) -> None:
        """Wait until all windows are at the places we gave them; not for long, whatever holds ImageJ's event thread."""
        there, end = threading.Event(), time.monotonic() + ARRIVAL

        def look() -> None:
            if self._desk.straighten():
                there.set()

        while time.monotonic() < end:
            later(look)
            if there.wait(ARRIVAL / 40):
                return

    def _save(self, params: Mapping[str, Any]) -> list[str]:
        """Answer ``save``; on a thread of its own, for it takes as long as the disk does."""
        windows = [one for one in list(self._windows.values()) if not one.is_gone()]
        on_edt(lambda: _take_in(windows))
        return save([one for one in windows if not one.is_gone()], params)


def _take_in(windows: Sequence[HyperstackWindow]) -> None:
    """Have what has arrived in the stacks, but for those the user made something else of."""
    for window in windows:
        if not window.is_gone() and not window.hyperstack.trouble():
            window.refresh()


def _warm_up(headless: bool) -> None:
    """Show and close a small hyperstack: the first window takes Java three times as long as the second.

    Beyond the edge of the screen; a window manager may put it on the screen for a moment.
    """
    stack = java("ij.ImageStack")(8, 8, 4)
    java("java.util.Arrays").fill(stack.getImageArray(), new_array(PixelType.SHORT, 64))
    plain = java("ij.ImagePlus")("", stack)
    plain.setDimensions(2, 2, 1)
    image = java("ij.CompositeImage")(plain, 1)
    image.setChannelLut(lut("blue", (0.0, 1.0)), 1)
    if headless:
        image.flatten()
        return
    window = java("ij.gui.ImageWindow")
    window.setNextLocation(-4000, -4000)
    image.show()
    image.updateAndDraw()
    image.changes = False
    image.close()


def _nothing() -> None:
    """Stand in for a heartbeat nobody listens to."""
