"""All windows together: each at a place of its own, and one picture of them. On ImageJ's event thread."""

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

SETTLING = 1.0
"""Seconds after which a window of another size is the user's."""


class _Spot(NamedTuple):
    """Where a window belongs, and how large."""

    x: int
    y: int
    zoom: float
    seen: tuple[int, int]
    """Width and height of what is seen of the picture: all of it, unless it is too thin for that."""


class Desk:
    """Puts windows beside each other, as large as fits, until the user moves or zooms them: then they stay.

    Pictures of one size are shown equally large, and columns and rows are no wider than their windows.
    """

    def __init__(self) -> None:
        self._slots: list[HyperstackWindow | None] = []
        self._wanted: dict[HyperstackWindow, _Spot] = {}
        self._put: dict[HyperstackWindow, tuple[int, int, float]] = {}
        self._fresh: dict[HyperstackWindow, float] = {}
        self._older: dict[HyperstackWindow, list[tuple[int, int]]] = {}  # where fresh ones were before

    def add(self, window: HyperstackWindow) -> None:
        """Place a window that has just been shown."""
        if None in self._slots:
            self._slots[self._slots.index(None)] = window
        else:
            self._slots.append(window)
        self._put[window] = _now(window)
        self._arrange()

    def exchange(self, old: HyperstackWindow, new: HyperstackWindow) -> None:
        """Have a window stand for another: in its place, or where the user put that."""
        if old not in self._put:
            return
        ours = self._is_ours(old)
        self._slots[self._slots.index(old)] = new
        self._drop(old)
        # Where the user put it is nowhere that we would: zoom 0.
        self._put[new] = _now(new) if ours else (*_now(new)[:2], 0.0)
        self._arrange()

    def settle(self, window: HyperstackWindow) -> None:
        """Fit a window that has other sliders or planes into its place again."""
        self._wanted.pop(window, None)
        if window in self._put and self._is_ours(window):
            self._arrange()

    def straighten(self) -> None:
        """Give windows that were placed just now their size and place again.

        The display's answer to an older wish may come later than the new one was made, and Java then takes that.
        """
        for window, since in list(self._fresh.items()):
            if window.is_gone() or time.monotonic() - since > SETTLING:
                del self._fresh[window]
                self._older.pop(window, None)
                continue
            frame, (x, y, _) = window.window, self._put[window]
            right = frame.getSize() == frame.getPreferredSize() and _near(_now(window), (x, y))
            if not right and self._is_ours(window):
                frame.pack()
                frame.setLocation(x, y)
                self._fresh[window] = time.monotonic()  # and has to be heard of again

    def remove(self, window: HyperstackWindow) -> None:
        """Forget a window; its place stays empty until another one comes."""
        if window in self._put:
            self._slots[self._slots.index(window)] = None
            self._drop(window)
            while self._slots and self._slots[-1] is None:
                self._slots.pop()

    # -- inside

    def _drop(self, window: HyperstackWindow) -> None:
        for some in (self._put, self._wanted, self._fresh, self._older):
            some.pop(window, None)

    def _arrange(self) -> None:
        """Move those windows of ours that belong elsewhere now."""
        area, first = _screen.free_area(), self._slots[: _screen.MAX_TILES]
        around = {one: _around(one) for one in first if one is not None and self._is_ours(one)}
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
            if one is None:
                continue
            turn, at = divmod(at, len(places))
            x, y = places[at]
            # When all places are taken the next ones lie over them, so that the names can be read.
            y += turn % _screen.LAYERS * _screen.CAPTION
            spot = _Spot(x, y, *(fits.get(_size(one)) or _fit(tile, _size(one), _around(one))))
            if self._wanted.get(one) != spot and self._is_ours(one):
                self._place(one, spot)

    def _place(self, window: HyperstackWindow, spot: _Spot) -> None:
        frame = window.window
        canvas, (width, height) = frame.getCanvas(), spot.seen
        canvas.setSize(max(1, int(width * spot.zoom)), max(1, int(height * spot.zoom)))
        canvas.setSourceRect(java("java.awt.Rectangle")(0, 0, width, height))
        canvas.setMagnification(spot.zoom)  # the last one: the others change it
        self._older.setdefault(window, []).append(_now(window)[:2])
        frame.pack()
        frame.setLocation(spot.x, spot.y)
        self._wanted[window] = spot
        self._put[window] = _now(window)
        self._fresh[window] = time.monotonic()

    def _is_ours(self, window: HyperstackWindow) -> bool:
        if window.is_gone():
            return False
        (x, y, zoom), now = self._put[window], _now(window)
        if now[2] != zoom:
            return False
        return _near(now, (x, y)) or self._has_not_heard(window, now)

    def _has_not_heard(self, window: HyperstackWindow, now: tuple[int, int, float]) -> bool:
        """Whether a window is back where it was before we placed it: nobody moved it, see `straighten`."""
        return window in self._fresh and any(_near(now, older) for older in self._older.get(window, ()))


def _now(window: HyperstackWindow) -> tuple[int, int, float]:
    frame = window.window
    return int(frame.getX()), int(frame.getY()), float(frame.getCanvas().getMagnification())


def _near(now: tuple[int, int, float], place: tuple[int, int]) -> bool:
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
            where = frame.getLocationOnScreen()
            at = Rect(int(where.x), int(where.y), int(frame.getWidth()), int(frame.getHeight()))
            title = getattr(frame, "getTitle", None)
            name = "" if title is None else str(title() or "")
            parts.append((at, _screen.paint(frame), name, labels.get(frame, "")))
    return _screen.compose(parts) if parts else _screen.tile_sheet([])
