"""The words in the corner of the canvas that say where the user is; napari's sliders only show numbers from 0."""

from __future__ import annotations

import time
from typing import Any

from qtpy.QtCore import QTimer

__all__ = ["Caption"]

INTERVAL = 0.15
"""Least seconds between two texts while the sliders run: a changed text adds 9 ms to its frame (napari 0.9.2)."""

FONT_SIZE = 12
"""In points: readable from a step back, and in a picture pasted into a slide."""


class Caption:
    """A line of text on the canvas, top left, that follows the sliders without slowing them down.

    Parameters
    ----------
    model
        napari's viewer.
    """

    def __init__(self, model: Any) -> None:
        self._overlay = model.canvas.overlays.text
        self._overlay.position = "top_left"
        self._overlay.font_size = FONT_SIZE
        self._text = ""
        self._last = 0.0
        self._timer = QTimer()
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._put)

    def show(self, text: str) -> None:
        """Show a text, now or as soon as the last one stood long enough; the newest wins."""
        if text == self._text:
            return
        self._text = text
        wait = self._last + INTERVAL - time.monotonic()
        if wait <= 0:
            self._put()
        elif not self._timer.isActive():
            self._timer.start(max(1, round(wait * 1000)))

    def flush(self) -> None:
        """Show what is due, before a picture is taken."""
        if self._timer.isActive():
            self._timer.stop()
            self._put()

    def stop(self) -> None:
        """Change nothing any more."""
        self._timer.stop()

    def hide(self) -> None:
        """Take the text away."""
        self._overlay.visible = False

    def _put(self) -> None:
        if self._overlay.text != self._text:
            self._overlay.text = self._text
            self._overlay.visible = bool(self._text)
        self._last = time.monotonic()
