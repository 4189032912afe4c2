"""The planes of a viewer whose memory is Java's: copied there once on arrival, handed to ImageJ by reference.

As in `openhcs_viewers.store.PlaneStore` a plane is filled privately and committed whole. Unlike there, nothing is
moved to disk when memory runs short: ImageJ needs the planes of its stacks in memory, so what does not fit is refused.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from openhcs_viewers._buffers import BufferPool
from openhcs_viewers.errors import StoreFullError
from openhcs_viewers.fiji._java import java
from openhcs_viewers.fiji._pixels import (
    PixelType,
    copy_into,
    new_array,
    pixel_type,
    staging_shape,
    to_numpy,
    warm_up,
)
from openhcs_viewers.fiji._pool import ArrayPool
from openhcs_viewers.store import Filled, StoreStatus, default_budget
from polystore.projection import Position

__all__ = ["HeapPlane", "HeapStore", "Watcher"]

Array: TypeAlias = np.ndarray[Any, Any]

Watcher: TypeAlias = Callable[[Position], None]
"""Called with a position whose plane is another one, or gone; what is there now is `HeapStore.plane`."""

POOL_BYTES = 256 * 1024 * 1024
"""Most memory of Java arrays kept ready for planes to come. Part of the budget."""

STAGING_BYTES = 64 * 1024 * 1024
"""Most memory kept warm for converting pixels. Not part of the budget: it is not Java's."""

HEAP_SHARE = 0.8
"""The part of Java's heap that planes may have when nobody says how much: ImageJ needs some for itself."""


@dataclass(frozen=True, slots=True)
class HeapPlane:
    """One plane in Java's memory.

    Parameters
    ----------
    pixels
        A ``byte[]``, ``short[]``, ``float[]``, or ``int[]`` of 0xRRGGBB.
    type
        What ImageJ calls it.
    shape
        (y, x).
    """

    pixels: Any
    type: PixelType
    shape: tuple[int, int]

    @property
    def nbytes(self) -> int:
        """Bytes of the array, without Java's header."""
        return self.shape[0] * self.shape[1] * self.type.sample.itemsize


class HeapFilled(Filled):
    """A plane in Java's memory nobody else can see yet.

    Its ``plane`` is a view of what arrived, or of memory that is used again for another: it is not kept beyond the
    work on this plane.
    """

    __slots__ = ("held",)

    def __init__(self, plane: Array, buffer: Array | None, held: HeapPlane) -> None:
        super().__init__(plane, buffer)
        self.held = held


class HeapStore:
    """Planes by layer and position, in Java's heap. Every method may be called from any thread.

    Java must be running.

    Parameters
    ----------
    budget
        Bytes of Java arrays to keep. When not given, half of this machine's memory or 80 % of Java's heap, whichever is
        less.
    """

    def __init__(self, budget: int | None = None) -> None:
        if budget is None:
            heap = int(java("java.lang.Runtime").getRuntime().maxMemory())
            budget = min(default_budget(), int(heap * HEAP_SHARE))
        self.budget = budget
        self._lock = threading.Lock()
        self._layers: dict[str, dict[Position, HeapPlane]] = {}
        self._watchers: dict[str, Watcher] = {}
        self._bytes = 0
        self._staging = BufferPool(STAGING_BYTES)
        self._pool = ArrayPool(self._pool_room)
        warm_up()

    # -- writing: the I/O thread

    def fill(self, array: Array, *, owned: bool = False, kind: str = "image") -> HeapFilled:
        """Copy an array into a Java array, converted to a type ImageJ has; visible to nobody yet.

        Parameters
        ----------
        array
            (y, x), or (y, x, 3|4) of bytes; any strides and byte order, read-only or not; not kept.
        owned
            Makes no difference: numpy's memory cannot be Java's.
        kind
            ``"image"`` or ``"labels"``: truth is shown as 255, and as label 1.

        Raises
        ------
        StoreFullError
            The budget or Java's heap is used up.
        ProjectionError
            ImageJ has no such pixels.
        """
        to = pixel_type(array.dtype, array.shape, kind)
        height, width = array.shape[:2]
        nbytes = height * width * to.sample.itemsize
        self._reserve(nbytes)
        staging = None
        try:
            pixels = self._take(to, height * width)
            if self._bytes + self._pool.nbytes > self.budget:
                self._pool.clear()  # of other kinds: planes come before what may come
            if (shape := staging_shape(array, to)) is not None:
                needed = shape[0] * shape[1] * to.sample.itemsize
                with self._lock:
                    staging = self._staging.take(needed)
                prepared = staging.view(to.sample).reshape(shape)
                plane = copy_into(array, pixels, to, kind=kind, staging=prepared)
            else:
                plane = copy_into(array, pixels, to)
        except BaseException:
            with self._lock:
                self._bytes -= nbytes
                self._staging.retire(staging)
            raise
        return HeapFilled(plane, staging, HeapPlane(pixels, to, (height, width)))

    def commit(self, layer_id: str, position: Position, filled: Filled) -> None:
        """Make a filled plane the one at its place, and tell who watches the layer, on this thread.

        The older plane is forgotten; Java collects it once ImageJ has let go of it, too.
        """
        assert isinstance(filled, HeapFilled)
        held = filled.held
        with self._lock:
            planes = self._layers.setdefault(layer_id, {})
            older = planes.get(position)
            if older is not None:
                self._bytes -= older.nbytes
            planes[position] = held
            if filled.buffer is not None:
                self._staging.retire(filled.buffer)
            watcher = self._watchers.get(layer_id)
        if watcher is not None:
            watcher(position)

    def put(self, layer_id: str, position: Position, array: Array) -> None:
        """`fill` and `commit` in one."""
        self.commit(layer_id, position, self.fill(array))

    def discard(self, filled: Filled) -> None:
        """Take back a filled plane that will not be committed."""
        assert isinstance(filled, HeapFilled)
        with self._lock:
            self._bytes -= filled.held.nbytes
            self._staging.retire(filled.buffer)

    # -- arrays that are not planes

    def make(self, to: PixelType, pixels: int) -> Any:
        """Return a Java array of zeros that is counted as planes are, until `release`.

        Raises
        ------
        StoreFullError
            The budget or Java's heap is used up.
        """
        nbytes = pixels * to.sample.itemsize
        self._reserve(nbytes)
        try:
            return self._made(lambda: new_array(to, pixels), nbytes)
        except BaseException:
            self.release(nbytes)
            raise

    def borrow(self, nbytes: int) -> None:
        """Count bytes of planes that were dropped and are still shown, until `release`."""
        with self._lock:
            self._bytes += nbytes

    def release(self, nbytes: int) -> None:
        """Count bytes of `make` or `borrow` no more."""
        with self._lock:
            self._bytes -= nbytes

    # -- reading

    def watch(self, layer_id: str, callback: Watcher) -> None:
        """Have `callback` called for each plane committed to a layer, or dropped from it alone, from now on, by the
        thread that does so.

        One per layer, the last one. What is there already is not told: watch first and read then, and nothing is
        missed. It must be quick and must not raise; the sender waits for it. It may call this store.
        """
        with self._lock:
            self._watchers[layer_id] = callback

    def unwatch(self, layer_id: str) -> None:
        """Call nobody for a layer any more; a call that has begun goes on."""
        with self._lock:
            self._watchers.pop(layer_id, None)

    def array(self, layer_id: str, position: Position) -> Any:
        """The Java array at a place, by reference, or None."""
        held = self.plane(layer_id, position)
        return None if held is None else held.pixels

    def plane(self, layer_id: str, position: Position) -> HeapPlane | None:
        """The Java array at a place with its type and shape, by reference, or None."""
        with self._lock:
            return self._layers.get(layer_id, {}).get(position)

    def get(self, layer_id: str, position: Position) -> Array | None:
        """A copy of the plane at a place as ImageJ has it, or None; RGB as (y, x, 3) of uint8."""
        held = self.plane(layer_id, position)
        return None if held is None else to_numpy(held.pixels, held.shape, held.type)

    def touched(self, layer_id: str, position: Position) -> None:
        """Nothing: there is no second copy that would be out of date."""

    def positions(self, layer_id: str) -> list[Position]:
        """Where a layer has planes, in the order of their first arrival."""
        with self._lock:
            return list(self._layers.get(layer_id, ()))

    def nbytes(self, layer_id: str) -> int:
        """How many bytes the planes of a layer have."""
        with self._lock:
            return sum(plane.nbytes for plane in self._layers.get(layer_id, {}).values())

    def count(self, layer_id: str) -> int:
        """How many planes a layer has."""
        return len(self._layers.get(layer_id, ()))

    # -- forgetting

    def drop(self, layer_id: str, position: Position | None = None) -> None:
        """Forget a plane, or all of a layer. Who watches the layer goes on doing so, and is told of a single plane."""
        with self._lock:
            planes = self._layers.get(layer_id, {})
            watcher = None if position is None else self._watchers.get(layer_id)
            for gone in list(planes) if position is None else [position]:
                held = planes.pop(gone, None)
                if held is not None:
                    self._bytes -= held.nbytes
            if not planes:
                self._layers.pop(layer_id, None)
        if watcher is not None and position is not None:
            watcher(position)

    def status(self) -> StoreStatus:
        """Counts of now. Nothing is ever on disk."""
        with self._lock:
            return StoreStatus(
                planes=sum(map(len, self._layers.values())),
                bytes=self._bytes,
                spilled_planes=0,
                spilled_bytes=0,
                reads_from_disk=0,
                pool_bytes=self._pool.nbytes,
                budget=self.budget,
            )

    def close(self) -> None:
        """Forget everything, and end the thread that makes arrays. Idempotent."""
        self._pool.close()
        with self._lock:
            self._layers.clear()
            self._watchers.clear()
            self._staging.clear()
            self._bytes = 0

    # -- inside

    def _pool_room(self) -> int:
        """Bytes that may be ready for planes to come; without the lock, for it may be held by who waits for these."""
        return min(POOL_BYTES, self.budget // 4, self.budget - self._bytes)

    def _reserve(self, nbytes: int) -> None:
        """Count a plane in before it is there: two threads must not both take the last room."""
        with self._lock:
            full = self._bytes + nbytes > self.budget
            if not full:
                self._bytes += nbytes
        if full:
            self._pool.clear()
            raise StoreFullError(
                f"{nbytes} bytes do not fit: the viewer's budget of {self.budget} bytes is used up, and ImageJ "
                "needs its planes in memory; close windows that are not needed, or start the viewer with a larger "
                "--budget"
            )

    def _take(self, to: PixelType, pixels: int) -> Any:
        return self._made(lambda: self._pool.take(to, pixels), pixels * to.sample.itemsize)

    def _made(self, make: Callable[[], Any], nbytes: int) -> Any:
        """Return what `make` returns; when Java has no memory for it, after letting go of what is ready."""
        no_memory = java("java.lang.OutOfMemoryError")
        try:
            return make()
        except no_memory:
            self._pool.clear()  # and once more
        try:
            return make()
        except no_memory as error:
            self._pool.clear()
            heap = int(java("java.lang.Runtime").getRuntime().maxMemory())
            raise StoreFullError(
                f"Java has no memory for {nbytes} bytes more: its heap of {heap} bytes is full; "
                "close windows that are not needed, or start the viewer with a larger --budget"
            ) from error
