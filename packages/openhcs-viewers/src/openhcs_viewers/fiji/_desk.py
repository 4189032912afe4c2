"""All windows together: each at a place of its own, and one picture of them.

On ImageJ's event thread, but for `Desk.is_placing`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from openhcs_viewers.fiji import _screen
from openhcs_viewers.fiji._java import java
from openhcs_viewers.fiji._screen import Rect
from openhcs_viewers.fiji._window import HyperstackWindow

__all__ = ["Desk", "picture"]

NEAR = 40
"""A window this close to where it was put was not moved: window managers shift it by its title bar."""

CALM = 0.2
"""Seconds for which a window is where it was put before it counts as arrived there; see `Desk.straighten`."""

CALM_LOOKS = 3
"""How often it is looked at meanwhile."""

INSISTING, INSISTENCE = 2.0, 5
"""A window that is elsewhere for these seconds, though it was put back that often, is somebody else's now."""


class _Spot(NamedTuple):
    """Where a window belongs, and how large."""

    x: int
    y: int
    zoom: float
    seen: tuple[int, int]
    """Width and height of what is seen of the picture: all of it, unless it is too thin for that."""

    @property
    def canvas(self) -> tuple[int, int]:
        """Width and height of the picture on the screen."""
        width, height = self.seen
        return max(1, int(width * self.zoom)), max(1, int(height * self.zoom))


class _Arriving:
    """A window that was placed, and that the display may still tell of older places and sizes of."""

    def __init__(self) -> None:
        self.since = time.monotonic()
        self.right: float | None = None
        """When it was first seen where it belongs, if it has been there since."""
        self.looks = 0
        self.tries = 0

    def is_there(self) -> bool:
        """Whether it has arrived: asked whenever it is where it belongs."""
        now = time.monotonic()
        if self.right is None:
            self.right, self.looks = now, 0
        self.looks += 1
        return self.looks >= CALM_LOOKS and now - self.right >= CALM

    def is_lost(self) -> bool:
        """Whether somebody else has it: asked whenever it is elsewhere."""
        self.right = None
        self.tries += 1
        return self.tries > INSISTENCE and time.monotonic() - self.since > INSISTING


class Desk:
    """Puts windows beside each other, as large as fits, until the user moves or zooms them: then they stay.

    Pictures of one size are shown equally large, and columns and rows are no wider than their windows.
    """

    def __init__(self) -> None:
        self._slots: list[HyperstackWindow | None] = []
        self._spots: dict[HyperstackWindow, _Spot] = {}
        """Where we put windows; the others in the slots are the user's."""
        self._arriving: dict[HyperstackWindow, _Arriving] = {}

    def add(self, window: HyperstackWindow) -> None:
        """Place a window that has just been shown."""
        if None in self._slots:
            self._slots[self._slots.index(None)] = window
        else:
            self._slots.append(window)
        self._arrange(window)

    def exchange(self, old: HyperstackWindow, new: HyperstackWindow) -> None:
        """Have a window stand for another: in its place, or where the user put that."""
        if old not in self._slots:
            return
        ours = self.is_ours(old)
        self._slots[self._slots.index(old)] = new
        self._forget(old)
        if ours:
            self._arrange(new)

    def settle(self, window: HyperstackWindow, *, ours: bool) -> None:
        """Fit a window that has other sliders or planes into its place again.

        Parameters
        ----------
        ours
            What `is_ours` said before: ImageJ may have opened another window for the same image since.
        """
        if ours:
            self._arrange(window)

    @property
    def is_placing(self) -> bool:
        """Whether windows are on their way to their places. Any thread."""
        return bool(self._arriving)

    def is_ours(self, window: HyperstackWindow) -> bool:
        """Whether a window is where we put it, or on its way there, and as large as we made it."""
        spot = self._spots.get(window)
        if spot is None or window.is_gone():
            return False
        now = _now(window)
        return now[2] == spot.zoom and (window in self._arriving or _near(now, spot[:2]))

    def straighten(self) -> bool:
        """Put back the windows that were placed just now and are elsewhere; returns whether all have arrived.

        The display's answer to an older wish may come later than the new one was made, and Java then takes that: what
        looks as if the user had moved a window was nobody. Until a window has been where it belongs for a while it is
        ours wherever it is.
        """
        if self._arriving:
            java("java.awt.Toolkit").getDefaultToolkit().sync()  # the display has heard of all our wishes
        for window, arriving in list(self._arriving.items()):
            spot = self._spots[window]
            if not self.is_ours(window):  # closed, or the user zooms already
                del self._arriving[window]
            elif _is_at(window, spot):
                if arriving.is_there():
                    del self._arriving[window]
            elif arriving.is_lost():
                del self._arriving[window]
            else:
                _move(window, spot)
        return not self._arriving

    def remove(self, window: HyperstackWindow) -> None:
        """Forget a window; its place stays empty until another one comes."""
        if window in self._slots:
            self._slots[self._slots.index(window)] = None
            self._forget(window)
            while self._slots and self._slots[-1] is None:
                self._slots.pop()

    # -- inside

    def _forget(self, window: HyperstackWindow) -> None:
        self._spots.pop(window, None)
        self._arriving.pop(window, None)

    def _arrange(self, fresh: HyperstackWindow) -> None:
        """Place a window, wherever it is now, and move those others of ours that belong elsewhere then."""
        area, first = _screen.free_area(), self._slots[: _screen.MAX_TILES]
        ours = (one for one in first if one is not None and (one is fresh or self.is_ours(one)))
        around = {one: _around(one) for one in ours}
        if not around:  # the user has them all
            around = {one: _around(one) for one in first if one is not None and not one.is_gone()}
        if not around:
            return
        shapes = {_size(one): None for one in around}
        columns, rows = _screen.grid(len(first), area, _largest(shapes), _largest(around.values()))
        tile = _screen.tiles(area, columns, rows)[0]
        fits: dict[tuple[int, int], tuple[float, tuple[int, int]]] = {}
        for shape in shapes:
            beside = _largest(value for one, value in around.items() if _size(one) == shape)
            fits[shape] = _fit(tile, shape, beside)
        widths, heights = [0] * columns, [0] * rows
        for at, one in enumerate(first):
            if one in around:
                (zoom, seen), beside = fits[_size(one)], around[one]
                row, column = divmod(at, columns)
                widths[column] = max(widths[column], int(seen[0] * zoom) + beside[0])
                heights[row] = max(heights[row], int(seen[1] * zoom) + beside[1])
        places = _screen.packed(area, widths, heights)
        for at, one in enumerate(self._slots):
            if one is None or (_size(one) not in fits and one.is_gone()):
                continue
            turn, at = divmod(at, len(places))
            x, y = places[at]
            # When all places are taken the next ones lie over them, so that the names can be read.
            y += turn % _screen.LAYERS * _screen.CAPTION
            spot = _Spot(x, y, *(fits.get(_size(one)) or _fit(tile, _size(one), _around(one))))
            if one is fresh or (self._spots.get(one, spot) != spot and self.is_ours(one)):
                _move(one, spot)
                self._spots[one], self._arriving[one] = spot, _Arriving()


def _move(window: HyperstackWindow, spot: _Spot) -> None:
    frame, (width, height) = window.window, spot.seen
    canvas = frame.getCanvas()
    canvas.setSize(*spot.canvas)
    canvas.setSourceRect(java("java.awt.Rectangle")(0, 0, width, height))
    canvas.setMagnification(spot.zoom)  # the last one: the others change it
    frame.pack()
    frame.setLocation(spot.x, spot.y)


def _is_at(window: HyperstackWindow, spot: _Spot) -> bool:
    """Whether a window is where it belongs, and shows all it has room for: ImageJ crops one that gets smaller."""
    frame = window.window
    canvas, whole = frame.getCanvas(), frame.getSize() == frame.getPreferredSize()
    size, seen = canvas.getSize(), canvas.getSrcRect()
    return (
        bool(whole)
        and _near(_now(window), spot[:2])
        and (int(size.width), int(size.height)) == spot.canvas
        and (int(seen.width), int(seen.height)) == spot.seen
    )


def _now(window: HyperstackWindow) -> tuple[int, int, float]:
    frame = window.window
    return int(frame.getX()), int(frame.getY()), float(frame.getCanvas().getMagnification())


def _near(now: Sequence[float], place: Sequence[float]) -> bool:
    return abs(now[0] - place[0]) <= NEAR and abs(now[1] - place[1]) <= NEAR


def _size(window: HyperstackWindow) -> tuple[int, int]:
    """Width and height of the picture."""
    height, width = window.plan.plane_shape[:2]
    return width, height


def _largest(sizes: Iterable[tuple[int, int]]) -> tuple[int, int]:
    widths, heights = zip(*sizes, strict=True)
    return max(widths), max(heights)


def _fit(tile: Rect, size: tuple[int, int], around: tuple[int, int]) -> tuple[float, tuple[int, int]]:
    """The zoom at which a picture fits into a tile, and how much of it is seen there."""
    (width, height), room = size, (max(1, tile.width - around[0]), max(1, tile.height - around[1]))
    fit = min(room[0] / width, room[1] / height)
    zoom = _screen.zoom_level(fit, min(size))
    if zoom <= fit:
        return zoom, size
    # Too thin for a zoom at which all of it fits.
    return zoom, (min(width, max(1, int(room[0] / zoom))), min(height, max(1, int(room[1] / zoom))))


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
            title = getattr(frame, "getTitle", None)
            name = "" if title is None else str(title() or "")
            parts.append((*_screen.paint_inside(frame), name, labels.get(frame, "")))
    return _screen.compose(parts) if parts else _screen.tile_sheet([])
