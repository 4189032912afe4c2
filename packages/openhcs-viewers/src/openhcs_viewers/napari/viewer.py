"""A napari window that shows a scene. The GUI thread does here what changed, at most once per frame."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from openhcs_viewers._png import write_png
from openhcs_viewers.abc import Changes, Viewer
from openhcs_viewers.display import check_display
from openhcs_viewers.drawn import DrawnRoi
from openhcs_viewers.errors import ScreenshotError, ViewerClosedError
from openhcs_viewers.napari._warm import warm_up
from openhcs_viewers.scene import Scene
from polystore.components import ImageKey
from polystore.projection import LayerPlan, Position

__all__ = ["NapariViewer"]

logger = logging.getLogger(__name__)

HEARTBEAT = 0.25
"""Seconds between two signs of life."""

THUMBNAILS = 2
"""Pictures of the layer list brought up to date per heartbeat: about a millisecond each."""


class NapariViewer(Viewer):
    """Shows a scene in napari.

    Layers that the user deletes stay away until another run makes them anew. His camera, his display range,
    his visibility and his place on the sliders are his: they are set once, for the first image, and then
    left alone.

    Parameters
    ----------
    scene
        What to show.
    model
        A napari viewer to show it in; a window of its own when not given.
    """

    kind: ClassVar[str] = "napari"

    def __init__(self, scene: Scene, model: Any = None) -> None:
        super().__init__(scene)
        self._model = model
        self._own = model is None
        self._shown: dict[str, Any] = {}
        self._sliders: Any = None
        self._caption: Any = None
        self._camera: Any = None
        self._pump: Any = None
        self._timer: Any = None
        self._stale: dict[str, None] = {}
        self._closed = False

    # -- the window

    def open(self, title: str) -> None:
        """See `Viewer.open`. Takes one to four seconds the first time in a process."""
        from napari import Viewer as NapariWindow

        from openhcs_viewers.napari._camera import CameraKeeper
        from openhcs_viewers.napari._caption import Caption
        from openhcs_viewers.napari._qt import give_room
        from openhcs_viewers.napari._sliders import Sliders

        self.title = title
        if self._own:
            check_display()
            self._model = NapariWindow(title=title, show=True)
            give_room(self._model)
            warm_up(self._model)
        self._sliders = Sliders(self._model, self.scene, self._moved)
        self._caption = Caption(self._model)
        self._camera = CameraKeeper(self._model)
        self._model.layers.events.removed.connect(self._on_removed)

    def start(self, pump: Callable[[], None], heartbeat: Callable[[], None] | None = None) -> None:
        """Have the event loop, whoever runs it, call `pump` when the scene asks and `heartbeat` regularly."""
        from qtpy.QtCore import QTimer

        from openhcs_viewers.napari._qt import FramePump

        beat = heartbeat or _nothing

        def frame() -> None:
            pump()
            beat()

        self._pump = FramePump(frame)
        self._timer = QTimer()
        self._timer.timeout.connect(lambda: self._idle(beat))
        self._timer.start(round(HEARTBEAT * 1000))
        self.scene.on_wake(self._pump.request)

    def run(self, pump: Callable[[], None], heartbeat: Callable[[], None] | None = None) -> None:
        """See `Viewer.run`; SIGTERM and SIGINT close the window."""
        import napari
        from qtpy.QtWidgets import QApplication

        from openhcs_viewers.napari._qt import TerminationWatch

        watch = TerminationWatch(self.close)
        try:
            self.start(pump, heartbeat)
            # The user may close the window at any time; nothing must be drawn into what Qt is deleting.
            QApplication.instance().aboutToQuit.connect(self._pump.stop)
            if not self._closed:
                napari.run()
        finally:
            watch.close()
            self.close()
            QApplication.processEvents()

    def screenshot(self, path: Path | None = None, *, canvas_only: bool = False) -> np.ndarray[Any, Any]:
        """See `Viewer.screenshot`: the pixels OpenGL drew."""
        if self._closed or self._model is None:
            raise ViewerClosedError("the window is closed: no picture can be taken of it")
        try:
            self._caption.flush()
            picture = np.asarray(self._model.screenshot(canvas_only=canvas_only, flash=False))
        except (OSError, RuntimeError, ValueError) as error:
            raise ScreenshotError(f"no picture of the window {self.title!r} can be taken: {error}") from error
        if path is not None:
            write_png(path, picture)
        return picture

    def close(self) -> None:
        """Close the window if it is ours; the order keeps callbacks from reaching what Qt deleted. Idempotent."""
        if self._closed:
            return
        self._closed = True
        for part in (self._pump, self._timer, self._caption, self._camera, self._sliders):
            if part is not None:
                with contextlib.suppress(RuntimeError):  # the user closed the window: Qt's side is gone
                    part.stop()
        model = self._model
        if model is None or self._sliders is None:
            return
        model.layers.events.removed.disconnect(self._on_removed)
        if not self._own:
            self._caption.hide()
            return
        from qtpy.QtWidgets import QApplication

        with contextlib.suppress(RuntimeError):
            model.close()
        app = QApplication.instance()
        if app is not None:
            app.quit()

    # -- what changed

    def apply(self, changes: Changes) -> Mapping[str, str]:
        """See `Viewer.apply`."""
        failed: dict[str, str] = {}
        if changes.axes is not None:
            with self._camera.kept() if self._sliders.is_other(changes.axes) else contextlib.nullcontext():
                self._sliders.grow(changes.axes, list(self._shown.values()))
        for plan in changes.updated:
            self._guarded(self._update, plan, failed)
        for plan in changes.created:
            self._guarded(self._create, plan, failed)
        for layer_id, limits in changes.contrast.items():
            if layer_id in self._shown:
                self._shown[layer_id].set_contrast(limits[None])
        if changes.follow:
            *_, newest = changes.follow.values()
            self._sliders.go(newest)
        for layer_id in changes.planes:
            shown = self._shown.get(layer_id)
            # A hidden layer is not drawn and reads its plane when it is shown: nothing to do for it.
            if shown is not None and shown.layer.visible:
                shown.refresh()
                self._stale[layer_id] = None
        for layer_id in changes.rois:
            if layer_id in self._shown:
                self._shown[layer_id].rois.fill(self._sliders.position, anew=True)
        return failed

    def rois(self, include: str = "user") -> list[DrawnRoi]:
        """See `Viewer.rois`; with those in shapes and points layers the user made himself."""
        from napari.layers import Points, Shapes

        from openhcs_viewers.napari._rois import read_layer

        for shown in self._shown.values():
            if shown.rois is not None:
                shown.rois.keep()
        found = super().rois(include)
        ours = {id(shown.layer) for shown in self._shown.values()}
        for layer in self._model.layers if self._model is not None else ():
            if id(layer) not in ours and isinstance(layer, Points | Shapes):
                for roi, leading in read_layer(layer):
                    key = self._key(leading)
                    found.append(DrawnRoi(roi.replace(place=key), key, str(layer.name)))
        return found

    def _key(self, leading: Sequence[float]) -> ImageKey:
        """The sliders' values at a place in the dimensions before y and x; without these, where they stand."""
        axes = self._sliders.axes
        if not leading:
            return ImageKey(**{which.value: value for which, value in self._sliders.position.items()})
        if len(leading) != len(axes):
            return ImageKey()  # dimensions of his own
        places = zip(axes, leading, strict=True)
        return ImageKey(
            **{which.value: values[min(max(round(at), 0), len(values) - 1)] for (which, values), at in places}
        )

    def state(self) -> dict[str, Any]:
        """See `Viewer.state`; with what the user sees of each layer."""
        state = super().state()
        for described in state["layers"]:
            shown = self._shown.get(described["id"])
            if shown is None:
                continue
            layer = shown.layer
            described["name"] = layer.name
            described["visible"] = bool(layer.visible)
            if shown.plan.kind == "image":
                described["colormap"] = layer.colormap.name
                described["contrast"] = [float(limit) for limit in layer.contrast_limits]
        return {**state, "where": self._sliders.text() if self._sliders else ""}

    # -- inside

    def _guarded(self, change: Callable[[LayerPlan], None], plan: LayerPlan, failed: dict[str, str]) -> None:
        try:
            change(plan)
        except Exception as error:
            # The boundary to napari and its plugins: one layer they cannot show must not take the others
            # with it.
            logger.exception("layer %r cannot be shown", plan.name)
            failed[plan.layer_id] = f"{type(error).__name__}: {error}"

    def _create(self, plan: LayerPlan) -> None:
        from openhcs_viewers.napari._layers import ShownLayer, insertion_index, make_layer, selection_kept
        from openhcs_viewers.napari._planes import Planes

        vector = plan.kind in ("shapes", "points")
        planes = None if vector else Planes(self.scene.store, plan, self._sliders.axes)
        first = self._first_position(plan)
        self._sliders.remember(dict(zip(plan.components, first, strict=False)))
        layers = self._model.layers
        orders = {id(one.layer): one.plan.order for one in self._shown.values()}
        layer = make_layer(plan, planes)
        shown = ShownLayer(plan, layer, planes, self.scene)
        at = insertion_index(plan.order, [orders.get(id(one)) for one in layers])
        for hidden in plan.hides:  # it takes the place of what it hides
            if hidden in self._shown:
                at = layers.index(self._shown[hidden].layer) + 1
        if len(layers):
            with selection_kept(layers):
                layers.insert(at, layer)
        else:
            with self._camera.kept(), self._sliders.held():
                layers.insert(at, layer)
        self._shown[plan.layer_id] = shown
        for hidden in plan.hides:
            if hidden in self._shown:
                self._shown[hidden].hide()
        if shown.rois is not None:
            shown.rois.fill(self._sliders.position, anew=True)

    def _update(self, plan: LayerPlan) -> None:
        from openhcs_viewers.napari._layers import layer_scale

        shown = self._shown[plan.layer_id]
        shown.plan = plan
        if shown.rois is not None:
            shown.rois.change(plan)
            shown.rois.fill(self._sliders.position, anew=True)
            return
        shown.planes.change(plan, self._sliders.axes)
        shown.layer.data = shown.planes
        if plan.scale:
            shown.layer.scale = layer_scale(plan, shown.planes)
        if plan.contrast:
            shown.set_contrast(plan.contrast)

    def _first_position(self, plan: LayerPlan) -> Position:
        positions = self.scene.store.positions(plan.layer_id)
        return positions[0] if positions else tuple(values[0] for _, values in plan.axes if values)

    def _moved(self) -> None:
        """After the sliders moved: the words in the corner, and the regions of interest that belong there."""
        self._caption.show(self._sliders.text())
        for shown in self._shown.values():
            if shown.rois is not None:
                shown.rois.fill(self._sliders.position)

    def _on_removed(self, event: Any) -> None:
        gone = [layer_id for layer_id, shown in self._shown.items() if shown.layer is event.value]
        for layer_id in gone:
            del self._shown[layer_id]
            self._stale.pop(layer_id, None)
            self.scene.layer_deleted(layer_id)
        images = [shown for shown in self._shown.values() if shown.planes is not None]
        if images:
            self._sliders.stretch(images)

    def _idle(self, beat: Callable[[], None]) -> None:
        for layer_id in list(self._stale)[:THUMBNAILS]:
            del self._stale[layer_id]
            if layer_id in self._shown:
                self._shown[layer_id].refresh_thumbnail()
        beat()


def _nothing() -> None:
    """Stand in for a heartbeat nobody listens to."""
