"""A hyperstack's window: shown, brought up to date and grown without taking anything of the user's away.

Everything here is called on ImageJ's event thread, or anywhere in a Java without windows; `HyperstackWindow.is_gone`
and what is known without ImageJ (`HyperstackWindow.plan`) any thread may ask.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import jpype

from openhcs_viewers.fiji._display import Looks, calibrate, is_composite
from openhcs_viewers.fiji._java import java
from openhcs_viewers.fiji._stack import Hyperstack
from polystore.components import Component, Value
from polystore.projection import Limits
from polystore.projection.hyperstack import HyperstackPlan

__all__ = ["HyperstackWindow"]

logger = logging.getLogger(__name__)


class HyperstackWindow:
    """One hyperstack and what is seen of it.

    Parameters
    ----------
    hyperstack
        The stack and its image.
    headless
        There are no windows in this Java: everything else is the same.

    Attributes
    ----------
    looks
        Its lookup tables and display ranges.
    looking
        The position last told to the scene, with what it depended on.
    """

    def __init__(self, hyperstack: Hyperstack, *, headless: bool) -> None:
        self.hyperstack = hyperstack
        self.headless = headless
        self.looks = Looks(hyperstack.image)
        self.looking: tuple[int, bool] | None = None
        self._widened = 0
        self.looks.dress(hyperstack.plan)
        self._stood: tuple[int, int, int] | None = _opening(hyperstack.plan, self.place())
        """Where the window was put, until the user goes elsewhere for the first time."""
        if self._stood != self.place():
            self.image.setPosition(*self._stood)

    @property
    def plan(self) -> HyperstackPlan:
        """What it shows."""
        return self.hyperstack.plan

    @property
    def image(self) -> Any:
        """ImageJ's."""
        return self.hyperstack.image

    @property
    def window(self) -> Any:
        """ImageJ's window, or None."""
        return self.image.getWindow()

    def show(self) -> None:
        """Open the window."""
        if not self.headless:
            self.image.show()

    def stand_for(self, other: HyperstackWindow) -> None:
        """Take the place of another window, and go where the user was in it."""
        if self.window is not None and other.window is not None:
            same = self.plan.plane_shape[:2] == other.plan.plane_shape[:2]
            if same:
                _Frame(other.window).give(self.window)
            else:
                self.window.setLocation(other.window.getLocation())
        untouched = self._stood is not None and other._is_untouched(other.place())
        self.go(other.plan.position(*other.place()))
        if untouched:
            self._stood = _opening(self.plan, self.place())
            self.image.setPosition(*self._stood)

    def is_gone(self) -> bool:
        """Whether the user closed the window."""
        return not self.headless and self.window is None

    def close(self) -> None:
        """Close the window without any question."""
        self.hyperstack.close()
        window = self.window
        if window is not None:
            self.image.changes = False
            roi = self.image.getRoi()
            if roi is not None:
                self.image.deleteRoi()  # ImageJ asks before it lets go of many points
            window.close()

    # -- bringing up to date

    def refresh(self) -> None:
        """Take in what arrived, and draw if any of it is on show."""
        drawn = self.hyperstack.take_in()
        if drawn or int(self.image.getCurrentSlice()) != self._widened:
            self._widened = int(self.image.getCurrentSlice())
            drawn |= self.looks.widen(self.plan)
        if drawn:
            self.image.updateAndDraw()

    def set_ranges(self, ranges: Mapping[Value | None, Limits]) -> None:
        """Show other display ranges of channels, unless the user chose them."""
        plan = self.hyperstack.plan = self.plan.with_contrast(ranges)
        known = [(at, limits) for at, limits in enumerate(plan.contrasts) if limits is not None]
        if not plan.rgb and self._set_all(known):
            self.image.updateAndDraw()

    def _set_all(self, ranges: list[tuple[int, Limits]]) -> bool:
        changed = [self.looks.set_range(self.plan, at, limits) for at, limits in ranges]
        return any(changed)

    def place(self) -> tuple[int, int, int]:
        """The channel, slice and frame it stands at, from 1; inside the plan, whatever the user made of the image."""
        found = self.image.convertIndexToPosition(max(1, self.image.getCurrentSlice()))
        c, z, t = (min(int(at), count) for at, count in zip(found, self.plan.size, strict=True))
        return c, z, t

    def values(self) -> dict[Component, Value]:
        """Where the user looks: without the channels where all are shown."""
        plan = self.plan
        found = dict(plan.position(*self.place()))
        if is_composite(self.image):
            for which in plan.along[0]:
                found.pop(which, None)
        return found

    def has_moved(self) -> bool:
        """Whether the user looks elsewhere than when this was asked last."""
        self._is_untouched(self.place())
        now = (int(self.image.getCurrentSlice()), bool(is_composite(self.image)))
        moved, self.looking = now != self.looking, now
        return moved

    def go(self, values: Mapping[Component, Value]) -> None:
        """Move the sliders to values; what is not named stays, from now on."""
        self._stood = None
        place = self.plan.nearest({**self.plan.position(*self.place()), **values})
        if place != self.place():
            self.image.setPosition(*place)

    def _is_untouched(self, place: tuple[int, int, int]) -> bool:
        """Whether nobody but us has moved the sliders yet; once somebody has, they are his."""
        if place != self._stood:
            self._stood = None
        return self._stood is not None

    def label(self) -> str:
        """What the plane on show is: its label, without the channel where all are shown."""
        plan, (c, z, t) = self.plan, self.place()
        channels, slices, _ = plan.size
        index = ((t - 1) * slices + z - 1) * channels + c
        return plan.label(index, without=plan.along[0] if is_composite(self.image) else ())

    def describe(self) -> dict[str, Any]:
        """What is seen of it, as plain values."""
        image, frame, plan = self.image, self.window, self.plan
        calibration = image.getCalibration()
        place = self.place()
        found: dict[str, Any] = {
            "title": str(image.getTitle()),
            "size": dict(zip(("channels", "slices", "frames"), plan.size, strict=True)),
            "place": dict(zip(("channel", "slice", "frame"), place, strict=True)),
            "position": {which.value: value for which, value in plan.position(*place).items()},
            "visible": frame is not None and bool(frame.isVisible()),
            "luts": self.looks.tables(plan),
            "ranges": self.looks.ranges(plan),
            "mode": self.looks.mode(),
            "calibration": {
                "pixel_width": float(calibration.pixelWidth),
                "pixel_height": float(calibration.pixelHeight),
                "pixel_depth": float(calibration.pixelDepth),
                "unit": str(calibration.getUnit()),
                "frame_interval": float(calibration.frameInterval),
                "time_unit": str(calibration.getTimeUnit()),
            },
            "window": None,
        }
        if frame is not None:
            canvas = frame.getCanvas()
            found["window"] = {
                "x": int(frame.getX()),
                "y": int(frame.getY()),
                "width": int(frame.getWidth()),
                "height": int(frame.getHeight()),
                "zoom": float(canvas.getMagnification()),
            }
        return found

    # -- growing

    def grow(self, plan: HyperstackPlan) -> bool:
        """Take on a larger plan; the user keeps his place, which is a value, and everything else that is his.

        Returns whether the window is another one, or has other sliders or planes.
        """
        image, old, access = self.image, self.plan, _access()
        asked = access and self.window is not None and access.asked(self.window, old.size)
        untouched = self._is_untouched(asked or self.place())
        where = old.position(*(asked or self.place()))
        larger, kept = plan.plane_shape != old.plane_shape, self.looks.kept(old)
        self.hyperstack.grow(plan)
        place = plan.nearest(where)
        if untouched:
            self._stood = place = _opening(plan, place)
        # So that ImageJ draws what it gets as it drew what it had.
        self.hyperstack.stack.update(image.getProcessor())
        with self._kept(larger):
            stretched = not larger and self._stretch(old, place)
            if not stretched:
                image.setStack(self.hyperstack.stack, *plan.size)
                if access is not None:
                    access.insist(image, plan.size)
                image.setOpenAsHyperStack(True)
            if stretched and self.looks.suit(plan, old):
                self.looking = None
                return False  # drawn already: twice takes a large composite image twice as long
            self.looks.dress(plan, kept)
            calibrate(image, plan, old)
            if place != self.place():
                image.setPosition(*place)
        self.looking = None
        image.updateAndDraw()
        return not stretched

    def _stretch(self, old: HyperstackPlan, place: tuple[int, int, int]) -> bool:
        """Have ImageJ's own window take on the new dimensions in place; False where it cannot.

        ImageJ would replace the window whenever a slider gets longer: it jumps, blinks and loses the mouse that drags
        its slider. All it needs is to know the new numbers already when the stack comes.
        """
        window, access, size = self.window, _access(), self.plan.size
        if access is None or not isinstance(window, java("ij.gui.StackWindow")):
            return False
        if [one > 1 for one in old.size] != [one > 1 for one in size]:
            return False
        image = self.image
        index = ((place[2] - 1) * size[1] + place[1] - 1) * size[0] + place[0]
        # The image alone: ImageJ's filters hold it and then ask for the window, never the other way round.
        with jpype.synchronized(image):
            access.tell(window, size, place)
            access.go(image, index, place)
            image.setStack(self.hyperstack.stack, *size)
            access.insist(image, size)
            if not window.isHyperStack():  # with one slider, which counts all planes
                access.tell(window, (1, image.getStackSize(), 1), (1, index, 1))
        access.lengthen(window)
        return bool(window == self.window)

    @contextmanager
    def _kept(self, larger: bool) -> Iterator[None]:
        """Keep what the user made of the window, which ImageJ may replace meanwhile."""
        image, before = self.image, self.window
        if before is None:
            yield
            return
        frame, roi, overlay = _Frame(before), image.getRoi(), image.getOverlay()
        changes = image.changes
        yield
        image.changes = changes
        window = image.getWindow()
        if overlay is not None and image.getOverlay() is None:
            image.setOverlay(overlay)
        if roi is not None and image.getRoi() is None:
            image.setRoi(roi)
        if window is not None and window != before and not larger:
            frame.give(window)


def _opening(plan: HyperstackPlan, place: tuple[int, int, int]) -> tuple[int, int, int]:
    """That place in the middle of a z stack: its first plane is out of focus, and dark."""
    c, z, t = place
    return (c, (len(plan.slices) + 1) // 2, t) if plan.along[1] == (Component.Z,) else (c, z, t)


class _Frame:
    """The place of a window, and what is seen of its image how large."""

    def __init__(self, window: Any) -> None:
        canvas = window.getCanvas()
        self._where = window.getLocation()
        self._zoom, self._seen, self._size = canvas.getMagnification(), canvas.getSrcRect(), canvas.getSize()

    def give(self, window: Any) -> None:
        """Have another window, of an image as large, look the same."""
        canvas = window.getCanvas()
        canvas.setSize(self._size.width, self._size.height)
        canvas.setSourceRect(self._seen)
        canvas.setMagnification(self._zoom)  # the last one: the others change it
        window.pack()
        window.setLocation(self._where)


class _Access:
    """The numbers a `StackWindow` and its image keep for themselves."""

    def __init__(self) -> None:
        window, image = java("ij.gui.StackWindow"), java("ij.ImagePlus")
        names = ("nChannels", "nSlices", "nFrames", "c", "z", "t", "slice")
        self._numbers = {name: _field(window, name) for name in names}
        self._sliders = tuple(_field(window, name) for name in ("cSelector", "zSelector", "tSelector"))
        self._current = _field(image, "currentSlice")
        self._size = tuple(_field(image, name) for name in names[:3])

    def asked(self, window: Any, size: tuple[int, int, int]) -> tuple[int, int, int] | None:
        """The place a slider was moved to just now, while ImageJ's own thread for that has not gone there yet."""
        if not isinstance(window, java("ij.gui.StackWindow")) or self._numbers["slice"].getInt(window) < 1:
            return None
        c, z, t = (int(self._numbers[name].getInt(window)) for name in "czt")
        if window.isHyperStack():
            return c, z, t
        rest, c = divmod(z - 1, size[0])
        t, z = divmod(rest, size[1])
        return c + 1, z + 1, t + 1

    def tell(self, window: Any, size: tuple[int, int, int], place: tuple[int, int, int]) -> None:
        """Tell a window its dimensions and its place."""
        names = ("nChannels", "nSlices", "nFrames", "c", "z", "t", "slice")
        for name, value in zip(names, (*size, *place, 0), strict=True):
            self._numbers[name].setInt(window, value)

    def go(self, image: Any, index: int, place: tuple[int, int, int]) -> None:
        """Tell an image its place."""
        self._current.setInt(image, index)
        image.updatePosition(*place)

    def insist(self, image: Any, size: tuple[int, int, int]) -> None:
        """Tell an image its dimensions again: whoever asked for them in the wrong moment made it forget them."""
        for field, count in zip(self._size, size, strict=True):
            field.setInt(image, count)

    def lengthen(self, window: Any) -> None:
        """Make a window's sliders as long as its dimensions, standing at its place."""
        for slider, count, at in zip(self._sliders, ("nChannels", "nSlices", "nFrames"), "czt", strict=True):
            found = slider.get(window)
            if found is None:
                continue
            longest, value = self._numbers[count].getInt(window), self._numbers[at].getInt(window)
            if found.getMaximum() != longest + 1:
                found.setMaximum(longest + 1)
                found.setBlockIncrement(max(1, longest // 10))
            if found.getValue() != value:
                found.setValue(value)


@lru_cache(maxsize=1)
def _access() -> _Access | None:
    try:
        return _Access()
    except (java("java.lang.NoSuchFieldException"), java("java.lang.RuntimeException")) as error:
        logger.warning(
            "this ImageJ keeps its numbers elsewhere: windows are replaced when they grow (%s)", error
        )
        return None


def _field(owner: Any, name: str) -> Any:
    field = owner.class_.getDeclaredField(name)
    field.setAccessible(True)
    return field
