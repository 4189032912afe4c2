"""The viewer's planes: copied once on arrival, handed out by reference, moved to disk when memory runs
short.

Written by the I/O thread, read by the GUI thread. Three things keep that cheap and safe:

* A plane is **filled** privately and **committed** whole, by swapping one reference under the lock. What
  the GUI reads is never written again, so nothing on screen is ever half old and half new.
* The memory of a replaced plane is **used again** as soon as nothing refers to it any more; see `_buffers`.
* Beyond its **budget** the store moves the planes nobody looked at for longest into an unnamed file, and
  brings them back when they are looked at. The file has no name, so nothing remains of it however the
  process ends.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np

from openhcs_viewers._buffers import BufferPool, is_unseen
from openhcs_viewers._spill import Region, SpillFile
from openhcs_viewers.errors import StoreFullError
from polystore.projection import Position

__all__ = ["Filled", "PlaneStore", "Store", "StoreStatus", "default_budget"]

logger = logging.getLogger(__name__)

Plane: TypeAlias = np.ndarray[Any, Any]
_Key: TypeAlias = tuple[str, Position]

POOL_BYTES = 256 * 1024 * 1024
"""Most memory kept for planes to come: a second of 1024x1024 uint16 at 128 a second. Part of the budget."""


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """What the store holds.

    Parameters
    ----------
    planes, bytes
        All planes, those on disk included, and what of them is in memory.
    spilled_planes, spilled_bytes
        Those on disk, and the bytes of all planes there.
    reads_from_disk
        How often one came back because it was looked at.
    pool_bytes
        Memory held ready for planes to come, or waiting for the GUI to let go of it.
    budget
        Bytes in memory from which on planes move to disk.
    """

    planes: int
    bytes: int
    spilled_planes: int
    spilled_bytes: int
    reads_from_disk: int
    pool_bytes: int
    budget: int


class Filled:
    """A copied plane nobody else can see yet: `PlaneStore.commit` it, or `PlaneStore.discard` it."""

    __slots__ = ("buffer", "plane")

    def __init__(self, plane: Plane, buffer: Plane | None) -> None:
        self.plane = plane
        self.buffer = buffer


class _Held:
    """One plane: in memory (`plane`), on disk (`region`), or in memory with a good copy on disk (both)."""

    __slots__ = ("buffer", "dtype", "nbytes", "plane", "region", "shape")

    def __init__(self, filled: Filled) -> None:
        self.plane: Plane | None = filled.plane
        self.buffer = filled.buffer
        self.shape = filled.plane.shape
        self.dtype = filled.plane.dtype
        self.nbytes = filled.plane.nbytes
        self.region: Region | None = None


class Store(Protocol):
    """Where a scene keeps planes: `PlaneStore`, or a viewer's own where its planes live in another memory.

    As there, `fill` copies what arrived into memory nobody sees yet, and `commit` makes that the plane of a place,
    at the cost of a reference. ``Filled.plane`` has the pixels until then.
    """

    def fill(self, array: Plane, *, owned: bool = False, kind: str = "image") -> Filled: ...  # noqa: D102
    def commit(self, layer_id: str, position: Position, filled: Filled) -> None: ...  # noqa: D102
    def put(self, layer_id: str, position: Position, array: Plane) -> None: ...  # noqa: D102
    def discard(self, filled: Filled) -> None: ...  # noqa: D102
    def get(self, layer_id: str, position: Position) -> Plane | None: ...  # noqa: D102
    def touched(self, layer_id: str, position: Position) -> None: ...  # noqa: D102
    def positions(self, layer_id: str) -> list[Position]: ...  # noqa: D102
    def count(self, layer_id: str) -> int: ...  # noqa: D102
    def drop(self, layer_id: str, position: Position | None = None) -> None: ...  # noqa: D102
    def status(self) -> StoreStatus: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102


class PlaneStore:
    """Planes by layer and position. Every method may be called from any thread.

    Parameters
    ----------
    budget
        Bytes of planes to keep in memory; half of this machine's memory when not given.
    directory
        Where the file for what does not fit is made; the system's folder for temporary files when not
        given.
    """

    def __init__(self, budget: int | None = None, *, directory: Path | None = None) -> None:
        self.budget = default_budget() if budget is None else budget
        self._lock = threading.Lock()
        self._held: OrderedDict[_Key, _Held] = OrderedDict()  # those in memory, the longest unseen first
        self._away: dict[_Key, _Held] = {}
        self._layers: dict[str, dict[Position, _Held]] = {}
        self._bytes = 0
        self._pool = BufferPool(min(POOL_BYTES, self.budget // 4))
        self._spill = SpillFile(directory)
        self._reads = 0

    # -- writing: the I/O thread

    def fill(self, array: Plane, *, owned: bool = False, kind: str = "image") -> Filled:
        """Copy an array into memory of the store, in native byte order and C order; visible to nobody yet.

        Moves other planes to disk first when the budget is used up.

        Parameters
        ----------
        array
            Any strides, read-only or not; not kept.
        owned
            Its memory is the caller's to give away: kept as it is when its layout allows, without a copy.
        kind
            Of the layer it goes to. Makes no difference here: pixels are kept as they are.

        Raises
        ------
        StoreFullError
            It does not fit into memory and the disk is full.
        MemoryError
            There is none, budget or not.
        """
        dtype = array.dtype.newbyteorder("=")
        self._make_room(array.nbytes)
        if owned and array.dtype == dtype and array.flags.c_contiguous:
            filled = Filled(array, None)
        else:
            with self._lock:
                buffer = self._pool.take(array.nbytes)
            plane: Plane = buffer[: array.nbytes].view(dtype).reshape(array.shape)
            np.copyto(plane, array)
            filled = Filled(plane, buffer)
        with self._lock:
            self._bytes += array.nbytes
        return filled

    def commit(self, layer_id: str, position: Position, filled: Filled) -> None:
        """Make a filled plane the one at its place; its older self is forgotten. Takes microseconds."""
        key = (layer_id, position)
        held = _Held(filled)
        with self._lock:
            planes = self._layers.setdefault(layer_id, {})
            older = planes.get(position)
            if older is not None:
                self._forget(key, older)
            planes[position] = held
            self._held[key] = held

    def put(self, layer_id: str, position: Position, array: Plane) -> None:
        """`fill` and `commit` in one."""
        self.commit(layer_id, position, self.fill(array))

    def discard(self, filled: Filled) -> None:
        """Take back a filled plane that will not be committed."""
        with self._lock:
            self._bytes -= filled.plane.nbytes
            self._pool.retire(filled.buffer)

    # -- reading: the GUI thread

    def get(self, layer_id: str, position: Position) -> Plane | None:
        """The plane at a place, by reference, or None; it counts as looked at.

        Must not be written to, except by the one who calls `touched` afterwards. A plane on disk is read
        back here: about a millisecond for 2 MiB the kernel still has in memory, more when it has to ask the
        disk.
        """
        key = (layer_id, position)
        with self._lock:
            held = self._held.get(key)
            if held is not None:
                self._held.move_to_end(key)
                return held.plane
            held = self._away.get(key)
            if held is None:
                return None
        self._make_room(held.nbytes, strict=False)
        return self._bring_back(key, held)

    def touched(self, layer_id: str, position: Position) -> None:
        """Say that a plane was written to in place (painted labels): its copy on disk is out of date."""
        with self._lock:
            held = self._held.get((layer_id, position))
            if held is not None:
                self._free_region(held)

    def positions(self, layer_id: str) -> list[Position]:
        """Where a layer has planes, in the order of their first arrival."""
        with self._lock:
            return list(self._layers.get(layer_id, ()))

    def count(self, layer_id: str) -> int:
        """How many planes a layer has."""
        return len(self._layers.get(layer_id, ()))

    # -- forgetting

    def drop(self, layer_id: str, position: Position | None = None) -> None:
        """Forget a plane, or all of a layer."""
        with self._lock:
            planes = self._layers.get(layer_id, {})
            for gone in list(planes) if position is None else [position]:
                held = planes.pop(gone, None)
                if held is not None:
                    self._forget((layer_id, gone), held)
            if not planes:
                self._layers.pop(layer_id, None)

    def status(self) -> StoreStatus:
        """Counts of now."""
        with self._lock:
            return StoreStatus(
                planes=len(self._held) + len(self._away),
                bytes=self._bytes,
                spilled_planes=len(self._away),
                spilled_bytes=sum(held.nbytes for held in self._away.values()),
                reads_from_disk=self._reads,
                pool_bytes=self._pool.free_bytes + self._pool.waiting_bytes,
                budget=self.budget,
            )

    def close(self) -> None:
        """Forget everything and give the disk its space back. Idempotent."""
        with self._lock:
            self._held.clear()
            self._away.clear()
            self._layers.clear()
            self._pool.clear()
            self._bytes = 0
        self._spill.close()

    # -- inside

    def _forget(self, key: _Key, held: _Held) -> None:
        """Let go of a plane's memory and disk space. Called with the lock."""
        if self._held.pop(key, None) is not None:
            self._bytes -= held.nbytes
        self._away.pop(key, None)
        self._free_region(held)
        held.plane = None
        self._pool.retire(held.buffer)
        held.buffer = None

    def _free_region(self, held: _Held) -> None:
        if held.region is not None:
            self._spill.free(held.region)
            held.region = None

    # -- inside: disk

    def _make_room(self, nbytes: int, *, strict: bool = True) -> None:
        """Move planes to disk until `nbytes` more fit into the budget. Called without the lock: writing
        takes time and the GUI must not wait for it.
        """
        while True:
            with self._lock:
                if self._bytes + self._pool.free_bytes + nbytes <= self.budget:
                    return
                if self._pool.free_bytes:
                    self._pool.clear()
                    continue
                key = self._victim()
                if key is None:
                    return  # all that is left is on screen: more than the budget, and needed
                held = self._held[key]
                plane = held.plane
                if held.region is not None or plane is None:
                    self._let_go(key, held)
                    continue
            try:
                region = self._spill.write(plane)
            except OSError as error:
                if not strict:
                    return
                raise StoreFullError(
                    f"{nbytes} bytes do not fit: the viewer's budget of {self.budget} bytes is used up and "
                    f"planes cannot be moved to {self._spill.directory} ({error.strerror or error}); free disk "
                    "space there, set TMPDIR to another folder or raise the budget"
                ) from error
            with self._lock:
                if self._held.get(key) is held and held.plane is plane and held.region is None:
                    held.region = region
                    self._let_go(key, held)
                else:
                    self._spill.free(region)

    def _victim(self) -> _Key | None:
        """The plane unseen for longest of those nobody holds. Called with the lock."""
        for key, held in self._held.items():
            # Moving a plane away that is shown would free nothing: the viewer keeps its memory.
            if is_unseen(held):
                return key
        return None

    def _let_go(self, key: _Key, held: _Held) -> None:
        """Keep a plane on disk only. Called with the lock."""
        del self._held[key]
        self._away[key] = held
        self._bytes -= held.nbytes
        held.plane = None
        self._pool.retire(held.buffer)
        held.buffer = None

    def _bring_back(self, key: _Key, held: _Held) -> Plane | None:
        with self._lock:
            if self._away.get(key) is not held or held.region is None:
                found = self._held.get(key)  # replaced or forgotten meanwhile
                return found.plane if found else None
            buffer = self._pool.take(held.nbytes)
            plane: Plane = buffer[: held.nbytes].view(held.dtype).reshape(held.shape)
            try:
                # Under the lock: the region must not be freed and rewritten while it is read.
                self._spill.read(held.region, plane)
            except (OSError, ValueError):
                logger.exception("the plane at %s cannot be read back from %s", key, self._spill.directory)
                return None
            del self._away[key]
            held.plane, held.buffer = plane, buffer
            self._held[key] = held
            self._bytes += held.nbytes
            self._reads += 1
            return plane


def default_budget() -> int:
    """Half of the memory this process may use: the machine's, or its control group's where that is less."""
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # Windows
        return 4 * 1024**3
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            total = min(total, int(Path(limit).read_text()))
        except (OSError, ValueError):  # another version of control groups, or "max"
            continue
    return total // 2
