"""One hyperstack: ImageJ's image and its stack, filled and grown by reference. No window is needed.

The store's thread only notes where something arrived or went (`Hyperstack.arrived`); it reaches the stack in the
window's next update, on ImageJ's event thread and under the image's own monitor. Not earlier: whenever the user moves
a slider ImageJ writes the array it has shown back into the stack, and a plane that was put there meanwhile would be
lost. What is put there is what the store has then, so that a plane which was dropped meanwhile never comes back.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import jpype
import numpy as np

from openhcs_viewers.errors import StoreFullError
from openhcs_viewers.fiji import _display
from openhcs_viewers.fiji._java import java
from openhcs_viewers.fiji._pixels import PixelType, new_array, pixel_type
from openhcs_viewers.fiji.store import HeapPlane, HeapStore
from polystore.projection import Position
from polystore.projection.hyperstack import HyperstackPlan

__all__ = ["Hyperstack"]

logger = logging.getLogger(__name__)

PROCESSORS = {
    PixelType.BYTE: "ij.process.ByteProcessor",
    PixelType.SHORT: "ij.process.ShortProcessor",
    PixelType.FLOAT: "ij.process.FloatProcessor",
    PixelType.RGB: "ij.process.ColorProcessor",
}


class Hyperstack:
    """One layer as an ImageJ image. Made and grown by the GUI thread, filled on the event thread.

    Parameters
    ----------
    plan
        What it holds.
    store
        Where its planes are.
    wake
        Called on the I/O thread when a plane has arrived or was dropped.

    Attributes
    ----------
    plan
        As last told.
    image
        ImageJ's: a ``CompositeImage``, or a plain ``ImagePlus`` for colour pictures.
    stack
        Its ``ImageStack``: one array per plane, empty places share a blank one.
    left_out
        Why planes are not in the stack, by position: they are smaller than others, and there is no memory to lay them
        out as large.
    """

    def __init__(self, plan: HyperstackPlan, store: HeapStore, wake: Callable[[], None]) -> None:
        self.plan = plan
        self.type = pixel_type(np.dtype(plan.dtype), plan.plane_shape, plan.kind)
        self._store = store
        self._wake = wake
        self._lock = threading.Lock()
        self._late: dict[Position, None] = {}
        self._early: dict[Position, None] = {}  # the plan that has a place for them is on its way
        self._padded: dict[Position, tuple[Any, Any, int]] = {}
        self.left_out: dict[Position, str] = {}
        self._spread: set[Position] = set()
        self._closed = False
        self._blank: Any = None
        store.watch(plan.layer_id, self.arrived)
        self.stack = self._new_stack()
        self.image = _display.new_image(plan, self.stack, self._first_index())

    # -- the I/O thread

    def arrived(self, position: Position) -> None:
        """Note that the store has another plane at a position, or none any more."""
        with self._lock:
            self._late[position] = None
        self._wake()

    # -- the GUI thread

    def grow(self, plan: HyperstackPlan) -> None:
        """Take on a larger plan: `stack` is another one then, with the same planes, not yet the image's.

        The one on show stays as it is: ImageJ forgets an image's dimensions as soon as anybody asks for them while
        they do not fit its stack. Costs references; pixels are touched when planes become larger only, for they have
        to be laid out anew.
        """
        old, self.plan = self.plan, plan
        early, self._early = self._early, {}
        with self._lock:
            self._late = {**early, **self._late}
        if plan.plane_shape != old.plane_shape:
            self._forget_padded()
            self._blank = None
        if (plan.plane_shape, plan.run) == (old.plane_shape, old.run) and _appends(old, plan):
            self.stack = self._appended(old)
        else:
            self.stack = self._new_stack()

    def fits(self, plan: HyperstackPlan) -> bool:
        """Whether ImageJ could show a plan in the same image: it has one type for good."""
        found = pixel_type(np.dtype(plan.dtype), plan.plane_shape, plan.kind)
        return (found, plan.kind) == (self.type, self.plan.kind)

    def close(self) -> None:
        """Want no more planes. Idempotent: another hyperstack may show the layer by then."""
        if self._closed:
            return
        self._closed = True
        self._store.unwatch(self.plan.layer_id)
        with self._lock:
            self._late.clear()
        self._early.clear()
        self._forget_padded()

    @property
    def nbytes(self) -> int:
        """Bytes of its planes, and of those laid out anew."""
        return self._store.nbytes(self.plan.layer_id) + sum(size for *_, size in self._padded.values())

    @property
    def has_news(self) -> bool:
        """Whether planes wait for `take_in`."""
        return bool(self._late)

    # -- the event thread

    def take_in(self) -> bool:
        """Put what arrived into the stack; returns whether any of it is on show and has to be drawn."""
        if not self._late:
            return False
        with jpype.synchronized(self.image):
            shown = _display.shown_indices(self.image, self.plan)
            changed = [(index, pixels) for index, pixels in self._put(self.stack) if index in shown]
            for index, pixels in changed:
                _display.replace_pixels(self.image, self.plan, index, pixels)
        return bool(changed)

    def trouble(self) -> str:
        """Why this image is no longer the hyperstack we made, or nothing: the user may do what he likes with it."""
        if self.image.getStack() != self.stack or self.stack.getSize() != _planes(self.plan):
            return "its stack was replaced in ImageJ (cropped, converted or cut)"
        if tuple(self.image.getDimensions(False))[2:] != self.plan.size:
            return "its dimensions were changed in ImageJ"
        return ""

    # -- inside

    def _put(self, stack: Any) -> list[tuple[int, Any]]:
        """Put what was noted where it belongs in a stack; returns what went where (from 1)."""
        with self._lock:
            late, self._late = self._late, {}
        images, put = stack.getImageArray(), []
        for position in late:
            slots, plane = self.plan.slots(position), self._store.plane(self.plan.layer_id, position)
            if plane is None:
                self._forget_padded(position)
                self.left_out.pop(position, None)
                pixels = self._blank_pixels()
            elif not slots or plane.type is not self.type or not self._has_room(plane):
                self._early[position] = None
                continue
            else:
                pixels = self._fitted(position, plane)
            if len(slots) > 1:
                self._spread.add(position)
            for index in slots:
                images[index - 1] = pixels
                put.append((index, pixels))
        return put

    def _first_index(self) -> int:
        positions = self._store.positions(self.plan.layer_id)
        slots = self.plan.slots(positions[0]) if positions else ()
        return slots[0] if slots else 1

    def _blank_pixels(self) -> Any:
        """What is shown where there is no plane, the same everywhere; made when it is first needed."""
        if self._blank is None:
            height, width = self.plan.plane_shape[:2]
            self._blank = new_array(self.type, height * width)
        return self._blank

    def _fill_gaps(self, stack: Any) -> None:
        places = java("java.util.Arrays").asList(stack.getImageArray())
        if places.contains(None):
            java("java.util.Collections").replaceAll(places, None, self._blank_pixels())

    def _new_stack(self) -> Any:
        stack = self._empty_stack(0)
        with self._lock:
            self._late.update(dict.fromkeys(self._store.positions(self.plan.layer_id)))
        self._put(stack)
        self._fill_gaps(stack)
        return stack

    def _appended(self, old: HyperstackPlan) -> Any:
        """A stack that begins as the one there is."""
        count = _planes(old)
        # The labels of the others change with the second frame, which is when there are frames to tell apart.
        stack = self._empty_stack(count if len(old.frames) > 1 else 0)
        copy = java("java.lang.System").arraycopy
        copy(self.stack.getImageArray(), 0, stack.getImageArray(), 0, count)
        if len(old.frames) > 1:
            copy(self.stack.getSliceLabels(), 0, stack.getSliceLabels(), 0, count)
        with self._lock:
            self._late.update(dict.fromkeys(self._spread))  # also shown at the new frames
        self._put(stack)
        self._fill_gaps(stack)
        return stack

    def _empty_stack(self, first: int) -> Any:
        """A stack without any plane yet, with labels from the plane `first` (from 0) on."""
        (height, width), count = self.plan.plane_shape[:2], _planes(self.plan)
        stack = java("ij.ImageStack")(width, height, count)
        labels = jpype.JArray(jpype.JString)([self.plan.label(at + 1) for at in range(first, count)])
        java("java.lang.System").arraycopy(labels, 0, stack.getSliceLabels(), first, count - first)
        return stack

    def _has_room(self, plane: HeapPlane) -> bool:
        height, width = self.plan.plane_shape[:2]
        return plane.shape[0] <= height and plane.shape[1] <= width

    def _fitted(self, position: Position, plane: HeapPlane) -> Any:
        """The array of a plane as large as all of the stack, smaller ones top left on blank."""
        wanted = self.plan.plane_shape[:2]
        if plane.shape == wanted:
            self._forget_padded(position)
            self.left_out.pop(position, None)
            return plane.pixels
        source, found, _ = self._padded.get(position, (None, None, 0))
        if source is plane.pixels:
            return found
        self._forget_padded(position)
        try:
            found = self._pad(plane, (wanted[0], wanted[1]))
        except StoreFullError as error:
            if not self.left_out:
                logger.warning("planes of %r are not shown: %s", self.plan.name, error)
            self.left_out[position] = str(error)
            return self._blank_pixels()
        self.left_out.pop(position, None)
        self._padded[position] = plane.pixels, found, wanted[0] * wanted[1] * self.type.sample.itemsize
        return found

    def _forget_padded(self, position: Position | None = None) -> None:
        for gone in list(self._padded) if position is None else [position]:
            *_, nbytes = self._padded.pop(gone, (None, None, 0))
            self._store.release(nbytes)

    def _pad(self, plane: HeapPlane, shape: tuple[int, int]) -> Any:
        found = self._store.make(self.type, shape[0] * shape[1])
        kind, last = java(PROCESSORS[self.type]), () if self.type is PixelType.RGB else (None,)
        whole = kind(shape[1], shape[0], found, *last)
        whole.insert(kind(plane.shape[1], plane.shape[0], plane.pixels, *last), 0, 0)
        return found


def _planes(plan: HyperstackPlan) -> int:
    channels, slices, frames = plan.size
    return channels * slices * frames


def _appends(old: HyperstackPlan, new: HyperstackPlan) -> bool:
    """Whether all that is new comes after all that was there: frames at the end."""
    same = (old.along, old.channels, old.slices) == (new.along, new.channels, new.slices)
    return same and new.frames[: len(old.frames)] == old.frames
