"""A viewer without a window, for tests of everything in front of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from openhcs_viewers._png import write_png
from openhcs_viewers.abc import Changes, Viewer
from openhcs_viewers.scene import Scene
from polystore.components import Component, Value
from polystore.projection import Axis, LayerPlan

__all__ = ["RecordingViewer"]

HEARTBEAT = 0.25
"""Seconds between two signs of life of an idle loop."""


class RecordingViewer(Viewer):
    """Keeps what it is told, draws nothing. It can be made slow, deaf, or unable to show a layer.

    Attributes
    ----------
    recorded
        All changes applied, in order.
    plans
        The layers as last told, by id.
    axes
        The sliders as last told.
    refuse
        Layer name to a reason: such a layer cannot be made.
    """

    kind: ClassVar[str] = "recording"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self.recorded: list[Changes] = []
        self.plans: dict[str, LayerPlan] = {}
        self.axes: tuple[Axis, ...] = ()
        self.refuse: dict[str, str] = {}
        self._position: dict[Component, Value] = {}
        self._wanted: dict[Component, Value] = {}  # also of sliders that are not there yet
        self._pending = threading.Event()
        self._closed = threading.Event()

    def open(self, title: str) -> None:
        """See `Viewer.open`; never fails."""
        self.title = title
        self.scene.on_wake(self._pending.set)

    def apply(self, changes: Changes) -> Mapping[str, str]:
        """Write the changes down; sliders stay on their value, new ones start at their first."""
        self.recorded.append(changes)
        failed = {
            plan.layer_id: self.refuse[plan.name] for plan in changes.created if plan.name in self.refuse
        }
        if changes.axes is not None:
            self.axes = changes.axes
        for plan in (*changes.created, *changes.updated):
            if plan.layer_id not in failed:
                self.plans[plan.layer_id] = plan
        *_, newest = changes.follow.values() or ({},)
        self.move(newest)
        return failed

    def move(self, position: Mapping[Component, Value]) -> None:
        """Move sliders, as a user does."""
        wanted = self._wanted = {**self._wanted, **self._position, **position}
        self._position = {
            which: wanted[which] if wanted.get(which) in values else values[0] for which, values in self.axes
        }
        self.scene.look_at(self._position)

    def run(self, pump: Callable[[], None], heartbeat: Callable[[], None] | None = None) -> None:
        """See `Viewer.run`; any one thread will do."""
        while not self._closed.is_set():
            if self._pending.wait(HEARTBEAT):
                self._pending.clear()
                pump()
            if heartbeat is not None:
                heartbeat()

    def screenshot(self, path: Path | None = None, *, canvas_only: bool = False) -> np.ndarray[Any, Any]:
        """The planes at the sliders' position side by side, in gray; a black square when there are none."""
        tiles = [np.zeros((64, 64), np.uint8)]
        for plan in self.plans.values():
            position = tuple(self._position.get(which, values[0]) for which, values in self._axes_of(plan))
            plane = self.scene.store.get(plan.layer_id, position)
            if plane is not None:
                tiles.append(_gray(plane))
        height = max(tile.shape[0] for tile in tiles)
        tiles = [np.pad(tile, ((0, height - tile.shape[0]), (0, 0))) for tile in tiles[1:] or tiles]
        gray = np.concatenate(tiles, axis=1)
        picture = np.dstack([gray, gray, gray, np.full_like(gray, 255)])
        if path is not None:
            write_png(path, picture)
        return picture

    def close(self) -> None:
        """End `run`."""
        self._closed.set()
        self._pending.set()

    def _axes_of(self, plan: LayerPlan) -> tuple[Axis, ...]:
        positions = self.scene.store.positions(plan.layer_id)
        return tuple(
            (which, tuple(value for position in positions if (value := position[at]) is not None) or (0,))
            for at, which in enumerate(plan.components)
        )


def _gray(plane: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    values = np.abs(plane[..., 0] if plane.ndim == 3 else plane).astype(np.float64)
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    scaled = (values - low) / (high - low) if high > low else np.zeros_like(values)
    gray: np.ndarray[Any, Any] = np.nan_to_num(scaled * 255).astype(np.uint8)
    return gray
