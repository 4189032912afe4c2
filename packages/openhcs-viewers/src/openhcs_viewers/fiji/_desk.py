"""All windows together: each at a place of its own, and one picture of them. On ImageJ's event thread."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from openhcs_viewers.fiji import _screen
from openhcs_viewers.fiji._java import java
from openhcs_viewers.fiji._screen import Rect
from openhcs_viewers.fiji._window import HyperstackWindow

__all__ = ["Desk", "picture"]

NEAR = 40
"""A window this close to where it was put was not moved: window managers shift it by its title bar."""

SETTLING = 1.0
"""Seconds after which a window of another size is the user's."""


class Desk:
    """Puts windows beside each other, as large as fits, until the user moves or zooms them: then they stay."""

    def __init__(self) -> None:
        self._windows: list[HyperstackWindow] = []
        self._put: dict[HyperstackWindow, tuple[int, int, float]] = {}
        self._fresh: dict[HyperstackWindow, float] = {}
        self._grid = (0, 0)

    def add(self, window: HyperstackWindow) -> None:
        """Place a window that has just been shown."""
        self._windows.append(window)
        self._put[window] = _now(window)
        before, self._grid = self._grid, self._best_grid(_screen.free_area())
        for at, one in enumerate(self._windows):
            if one is window or (self._grid != before and self._is_ours(one)):
                self._place(one, self._tile(at))

    def exchange(self, old: HyperstackWindow, new: HyperstackWindow) -> None:
        """Have a window stand for another: in its tile, or where the user put that."""
        if old not in self._put:
            return
        ours = self._is_ours(old)
        self._windows[self._windows.index(old)] = new
        del self._put[old]
        self._fresh.pop(old, None)
        self._put[new] = _now(new)
        if ours:
            self._place(new, self._tile(self._windows.index(new)))
        else:  # nowhere a window is put: it is not ours
            self._put[new] = (*self._put[new][:2], 0.0)

    def settle(self, window: HyperstackWindow) -> None:
        """Fit a window that has other sliders or planes into its place again."""
        if window in self._put and self._is_ours(window):
            self._place(window, self._tile(self._windows.index(window)))

    def straighten(self) -> None:
        """Give windows that were placed just now their size again.

        The display's answer to an older size may come later than the new one was set, and Java then takes that.
        """
        for window, since in list(self._fresh.items()):
            if window.is_gone() or time.monotonic() - since > SETTLING:
                del self._fresh[window]
                continue
            frame = window.window
            if frame.getSize() != frame.getPreferredSize() and self._is_ours(window):
                x, y, _ = self._put[window]
                frame.pack()
                frame.setLocation(x, y)

    def touched(self, window: HyperstackWindow) -> bool:
        """Whether the user has moved or zoomed a window."""
        return window in self._put and not self._is_ours(window)

    def remove(self, window: HyperstackWindow) -> None:
        """Forget a window; its place stays empty until the grid changes."""
        if window in self._windows:
            self._windows.remove(window)
            self._put.pop(window, None)
            self._fresh.pop(window, None)

    # -- inside

    def _tile(self, at: int) -> Rect:
        """The place of a window; when all are taken the next ones lie over them, so that the names can be read."""
        places = _screen.tiles(_screen.free_area(), *self._grid)
        turn, at = divmod(at, len(places))
        place, down = places[at], turn % _screen.LAYERS * _screen.CAPTION
        return place._replace(y=place.y + down, height=max(1, place.height - down))

    def _best_grid(self, area: Rect) -> tuple[int, int]:
        sizes = [(int(one.image.getWidth()), int(one.image.getHeight())) for one in self._windows]
        largest = max(width for width, _ in sizes), max(height for _, height in sizes)
        around = [_around(one) for one in self._windows if not one.is_gone()]
        beside = max(width for width, _ in around), max(height for _, height in around)
        return _screen.grid(min(len(self._windows), _screen.MAX_TILES), area, largest, beside)

    def _place(self, window: HyperstackWindow, place: Rect) -> None:
        frame, image = window.window, window.image
        beside = _around(window)
        width, height = int(image.getWidth()), int(image.getHeight())
        room = max(1, place.width - beside[0]), max(1, place.height - beside[1])
        fit = min(room[0] / width, room[1] / height)
        zoom, canvas = _screen.zoom_level(fit, min(width, height)), frame.getCanvas()
        seen = width, height
        if zoom > fit:  # too thin for a zoom at which all of it fits
            seen = min(width, max(1, int(room[0] / zoom))), min(height, max(1, int(room[1] / zoom)))
        canvas.setSize(max(1, int(seen[0] * zoom)), max(1, int(seen[1] * zoom)))
        canvas.setSourceRect(java("java.awt.Rectangle")(0, 0, *seen))
        canvas.setMagnification(zoom)  # the last one: the others change it
        frame.pack()
        frame.setLocation(place.x, place.y)
        self._put[window] = _now(window)
        self._fresh[window] = time.monotonic()

    def _is_ours(self, window: HyperstackWindow) -> bool:
        if window.is_gone():
            return False
        (x, y, zoom), now = self._put[window], _now(window)
        return abs(now[0] - x) <= NEAR and abs(now[1] - y) <= NEAR and now[2] == zoom


def _now(window: HyperstackWindow) -> tuple[int, int, float]:
    frame = window.window
    return int(frame.getX()), int(frame.getY()), float(frame.getCanvas().getMagnification())


def _around(window: HyperstackWindow) -> tuple[int, int]:
    # Of the sizes wanted: those there are may be the display's answer to an older wish.
    frame = window.window
    whole, canvas = frame.getPreferredSize(), frame.getCanvas().getPreferredSize()
    return int(whole.width - canvas.width), int(whole.height - canvas.height)


def picture(
    windows: Sequence[HyperstackWindow], *, canvas_only: bool, headless: bool
) -> np.ndarray[Any, Any]:
    """What is on the screen: ImageJ's windows, or the images alone. Without windows the images with their names."""
    if headless:
        return _screen.tile_sheet(
            [
                (_screen.flattened(one.image), "" if canvas_only else str(one.image.getTitle()), one.label())
                for one in windows
            ]
        )
    shown = [one for one in windows if not one.is_gone()]
    if canvas_only:
        return _screen.tile_sheet([(_screen.paint(one.window.getCanvas()), "", "") for one in shown])
    labels = {one.window: one.label() for one in shown}
    parts = []
    for frame in java("java.awt.Window").getWindows():
        if frame.isShowing() and frame.getWidth() > 1:
            where = frame.getLocationOnScreen()
            at = Rect(int(where.x), int(where.y), int(frame.getWidth()), int(frame.getHeight()))
            title = getattr(frame, "getTitle", None)
            name = "" if title is None else str(title() or "")
            parts.append((at, _screen.paint(frame), name, labels.get(frame, "")))
    return _screen.compose(parts) if parts else _screen.tile_sheet([])
