"""Where windows go on the screen, and pictures of them."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from openhcs_viewers.fiji._java import java

__all__ = [
    "Rect",
    "compose",
    "flattened",
    "free_area",
    "grid",
    "packed",
    "paint",
    "paint_inside",
    "tile_sheet",
    "zoom_level",
]

logger = logging.getLogger(__name__)

CAPTION = 20
"""Height of the line with a window's name, where no window manager draws one."""

MENUS = 25
"""Height of a menu bar in Java's own font: Java counts it to what a window has around it and does not tell it apart."""

GAP = 4
"""Pixels between windows."""

MOST_ZOOM = 4.0
"""Small pictures are enlarged up to this when there is room: pixels stay pixels."""

MAX_TILES = 12
"""Windows that get a place of their own; more of them lie over each other."""

LAYERS = 4
"""Windows that lie over each other with their names to be read."""

BACKGROUND = (58, 58, 64, 255)
"""Behind the windows of a picture: neither black as images nor gray as ImageJ."""


class Rect(NamedTuple):
    """A part of the screen, in pixels."""

    x: int
    y: int
    width: int
    height: int


def free_area() -> Rect:
    """The screen below ImageJ's own window, without the desktop's bars."""
    bounds = java("java.awt.GraphicsEnvironment").getLocalGraphicsEnvironment().getMaximumWindowBounds()
    x, y, width, height = int(bounds.x), int(bounds.y), int(bounds.width), int(bounds.height)
    main = java("ij.IJ").getInstance()
    if main is not None and main.isVisible():
        bottom = int(main.getY() + main.getHeight())
        if bottom - y < height // 3:
            height -= bottom - y
            y = bottom
    return Rect(x, y, width, height)


def grid(count: int, area: Rect, size: tuple[int, int], around: tuple[int, int]) -> tuple[int, int]:
    """Columns and rows in which that many windows show their pictures largest.

    Parameters
    ----------
    size
        Of the pictures: width and height.
    around
        What a window needs beside its picture.
    """
    best, found = 0.0, (1, 1)
    for columns in range(1, count + 1):
        rows = math.ceil(count / columns)
        tile = tiles(area, columns, rows)[0]
        zoom = min((tile.width - around[0]) / size[0], (tile.height - around[1]) / size[1])
        if zoom > best:
            best, found = zoom, (columns, rows)
    return found


def tiles(area: Rect, columns: int, rows: int) -> list[Rect]:
    """The places of a grid, row by row; each with room for a name above."""
    width, height = area.width // columns, area.height // rows
    return [
        Rect(
            area.x + column * width + GAP // 2,
            area.y + row * height + CAPTION + GAP // 2,
            width - GAP,
            height - CAPTION - GAP,
        )
        for row in range(rows)
        for column in range(columns)
    ]


def packed(area: Rect, widths: Sequence[int], heights: Sequence[int]) -> list[tuple[int, int]]:
    """The places (x, y) of a grid of windows, row by row, where its columns and rows are as wide and high as these.

    Each with room for a name above.
    """
    left = [area.x + GAP // 2 + sum(width + GAP for width in widths[:at]) for at in range(len(widths))]
    above = [area.y + GAP // 2 + sum(height + GAP for height in heights[:at]) for at in range(len(heights))]
    return [(x, y + CAPTION * (row + 1)) for row, y in enumerate(above) for x in left]


def zoom_level(fit: float, thin: int) -> float:
    """The largest of ImageJ's zoom levels at which a picture that fits at `fit` still does.

    Parameters
    ----------
    thin
        The shorter side of the picture. ImageJ fails to draw one of no pixels, so it keeps one on the screen: a line of
        5000 pixels is shown in part.
    """
    canvas = java("ij.gui.ImageCanvas")
    level = MOST_ZOOM
    while level > fit:
        lower = float(canvas.getLowerZoomLevel(level))
        if lower >= level or thin * lower < 1:
            break
        level = lower
    return level


# -- pictures


def paint(component: Any) -> np.ndarray[Any, Any]:
    """A component and all in it as it paints itself, whatever lies over it: (y, x, 4) uint8. On the event thread."""
    size = component.getSize()
    picture = java("java.awt.image.BufferedImage")(max(1, size.width), max(1, size.height), 1)
    graphics = picture.createGraphics()
    try:
        graphics.setColor(component.getBackground() or java("java.awt.Color").white)
        graphics.fillRect(0, 0, size.width, size.height)
        # As on the screen: ImageJ writes its line of text in the colour it finds.
        graphics.setColor(component.getForeground() or java("java.awt.Color").black)
        if isinstance(component, java("java.awt.Window")):
            # Not printAll, which adds a title bar that covers ImageJ's own line of text.
            component.paint(graphics)
            component.printComponents(graphics)
            _paint_menus(component, graphics)
        else:
            component.printAll(graphics)
    except java("java.lang.RuntimeException") as error:
        # A thin image zoomed out by the user, say: one window must not cost the picture of all others.
        logger.warning("%s cannot be painted: %s", component.getClass().getName(), error)
    finally:
        graphics.dispose()
    return to_rgba(picture)


def paint_inside(window: Any) -> tuple[Rect, np.ndarray[Any, Any]]:
    """A window without what the window manager draws around it, and where on the screen that is.

    Java cannot paint title bar and borders, and leaves them blank.
    """
    where, around, picture = window.getLocationOnScreen(), _decoration(window), paint(window)
    right, bottom = picture.shape[1] - around.right, picture.shape[0] - around.bottom
    inside = picture[around.top : bottom, around.left : right]
    at = Rect(int(where.x) + around.left, int(where.y) + around.top, inside.shape[1], inside.shape[0])
    return at, inside


def _menu_bar(window: Any) -> Any:
    return window.getMenuBar() if isinstance(window, java("java.awt.Frame")) else None


class _Decoration(NamedTuple):
    """What a window manager draws around a window, in pixels."""

    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0


def _decoration(window: Any) -> _Decoration:
    if isinstance(window, java("ij.gui.ImageWindow")):
        # These count their line of text and more to it; windows of one program are decorated alike.
        window = java("ij.IJ").getInstance()
    if window is None:
        return _Decoration()
    insets, menus = window.getInsets(), MENUS if _menu_bar(window) is not None else 0
    return _Decoration(
        int(insets.left), max(0, int(insets.top) - menus), int(insets.right), int(insets.bottom)
    )


def _paint_menus(window: Any, graphics: Any) -> None:
    """Write the names of a window's menus where they are: Java leaves that line blank."""
    bar = _menu_bar(window)
    if bar is None:
        return
    graphics.setColor(java("java.awt.Color").black)
    graphics.setFont(java("java.awt.Font")("SansSerif", 0, 12))
    x, metrics, top = 8, graphics.getFontMetrics(), _decoration(window).top
    for at in range(bar.getMenuCount()):
        label = bar.getMenu(at).getLabel()
        graphics.drawString(label, x, top + metrics.getAscent() + 4)
        x += metrics.stringWidth(label) + 16


def flattened(image: Any) -> np.ndarray[Any, Any]:
    """What an image shows now, with its overlay, one pixel for one."""
    return to_rgba(image.flatten().getBufferedImage())


def to_rgba(picture: Any) -> np.ndarray[Any, Any]:
    """A ``BufferedImage`` as (y, x, 4) uint8; nothing is transparent."""
    width, height = picture.getWidth(), picture.getHeight()
    packed = np.array(picture.getRGB(0, 0, width, height, None, 0, width), np.int32)
    shades = packed.view(np.uint32).reshape(height, width)
    found = np.empty((height, width, 4), np.uint8)
    for at, shift in enumerate((16, 8, 0)):
        found[..., at] = (shades >> shift) & 0xFF
    found[..., 3] = 255
    return found


def caption(name: str, label: str, width: int) -> np.ndarray[Any, Any]:
    """A title bar, as a window manager would draw it: a name and, where there is room, what is seen."""
    picture = java("java.awt.image.BufferedImage")(max(1, width), CAPTION, 1)
    graphics = picture.createGraphics()
    try:
        color, font = java("java.awt.Color"), java("java.awt.Font")
        hints = java("java.awt.RenderingHints")
        graphics.setRenderingHint(hints.KEY_TEXT_ANTIALIASING, hints.VALUE_TEXT_ANTIALIAS_ON)
        graphics.setColor(color(38, 52, 74))
        graphics.fillRect(0, 0, width, CAPTION)
        graphics.setColor(color.white)
        graphics.setFont(font("SansSerif", font.BOLD, 12))
        for text in (f"{name}   {label}" if label else name, name):
            if graphics.getFontMetrics().stringWidth(text) <= width - 12:
                break
        else:
            graphics.setFont(font("SansSerif", font.PLAIN, 10))
            # The end of a name tells windows apart: the well, the site.
            while len(text) > 2 and graphics.getFontMetrics().stringWidth(text) > width - 12:
                text = "\u2026" + text.lstrip("\u2026")[1:]
        graphics.drawString(text, 6, CAPTION - 6)
    finally:
        graphics.dispose()
    return to_rgba(picture)


def compose(parts: Iterable[tuple[Rect, np.ndarray[Any, Any], str, str]]) -> np.ndarray[Any, Any]:
    """One picture of the part of the screen that some windows cover.

    Parameters
    ----------
    parts
        Place, picture, name and label of each, from the bottom up; a name is written above where there is one.
    """
    placed = list(parts)
    left = min(where.x for where, *_ in placed)
    top = min(where.y - (CAPTION if name else 0) for where, _, name, _ in placed)
    right = max(where.x + picture.shape[1] for where, picture, *_ in placed)
    bottom = max(where.y + picture.shape[0] for where, picture, *_ in placed)
    whole = np.empty((bottom - top + 2 * GAP, right - left + 2 * GAP, 4), np.uint8)
    whole[:] = BACKGROUND
    for where, picture, name, label in placed:
        y, x = where.y - top + GAP, where.x - left + GAP
        height, width = picture.shape[:2]
        whole[y : y + height, x : x + width] = picture
        if name:
            whole[y - CAPTION : y, x : x + width] = caption(name, label, width)
    return whole


def tile_sheet(pictures: Sequence[tuple[np.ndarray[Any, Any], str, str]]) -> np.ndarray[Any, Any]:
    """Pictures beside each other in a grid that is about as wide as high; names above where there are any."""
    if not pictures:
        empty = np.empty((64, 64, 4), np.uint8)
        empty[:] = BACKGROUND
        return empty
    columns = math.ceil(math.sqrt(len(pictures)))
    width = max(picture.shape[1] for picture, *_ in pictures)
    height = max(picture.shape[0] for picture, *_ in pictures)
    above = CAPTION if any(name for _, name, _ in pictures) else 0
    return compose(
        (
            Rect(at % columns * (width + GAP), at // columns * (height + GAP + above), width, height),
            picture,
            name,
            label,
        )
        for at, (picture, name, label) in enumerate(pictures)
    )
