"""Whose camera it is: napari fits it to the canvas when sliders come, and must not once the user moved it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from qtpy.QtCore import QTimer

__all__ = ["CameraKeeper"]

SETTLE = 100
"""Milliseconds after which new sliders have taken their place from the canvas."""


class CameraKeeper:
    """Fits the view to the canvas until the user moves the camera, and never afterwards.

    Parameters
    ----------
    model
        napari's viewer.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._camera = model.scene.camera
        self._fitted: tuple[Any, ...] | None = None
        self._timer = QTimer()
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._fit)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Around what makes napari fit the view: undone where the camera is the user's, else finished."""
        before = self._view()
        users = self._fitted is not None and before != self._fitted
        yield
        if users:
            self._camera.center, self._camera.zoom, self._camera.angles = before
        elif self._model.layers:
            self._fitted = self._view()
            self._timer.start(SETTLE)

    def stop(self) -> None:
        """Leave the camera alone."""
        self._timer.stop()

    def _fit(self) -> None:
        if self._view() == self._fitted and self._model.layers:
            self._model.fit_to_view()
            self._fitted = self._view()

    def _view(self) -> tuple[Any, ...]:
        camera = self._camera
        return tuple(camera.center), float(camera.zoom), tuple(camera.angles)
