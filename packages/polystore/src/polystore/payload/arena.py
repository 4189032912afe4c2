"""One shared-memory file per attachment, its slots used again and again.

Fresh shared pages cost 5 to 15 times a copy into warm ones (measured), so a segment per image is the
fallback, not the way. The sender creates the file and names it; the receiver maps it and unlinks it at
once; the sender closes its descriptor. From then on no name exists, and the kernel frees the memory
however either side dies.

Layout of the file: pages of 4096 bytes. The first 16 bytes of the file hold a random number that both
sides compare. A slot is a run of whole pages; 64 bytes before its pixels stand, little-endian,
``uint32 magic, uint32 generation, uint64 bytes``.
"""

from __future__ import annotations

import mmap
import os
import secrets
import struct
import threading
from collections import deque
from typing import Any

import numpy as np

from polystore.errors import NoSharedMemoryError, TornPayloadError
from polystore.payload import shm

DEFAULT_ARENA_BYTES = 64 * 1024 * 1024
"""Default size: seven images of 2048x2048 uint16, two of which stay in the processor's cache."""

SMALLEST_ARENA_BYTES = 1024 * 1024
"""Below this message frames serve better."""

FREE_SHARE = 4
"""An arena takes at most one fourth of the free shared memory: containers have 64 MB in all."""

PAGE = 4096
SLOT_OFFSET = 2048
"""Pixels start half a page in: numpy's own large arrays start 16 bytes into a page, and a copy between
addresses that agree in their low 12 bits runs 2 to 2.6 times slower (measured, 4K aliasing)."""

MAGIC = 0x706F6C79
_HEADER = struct.Struct("<IIQ")
_HEADER_AT = SLOT_OFFSET - 64
NONCE_BYTES = 16


def arena_size(wanted: int) -> int:
    """Return how large an arena may be now: `wanted`, or a fourth of what is free; 0 when that is too small."""
    wanted = wanted // PAGE * PAGE
    size = min(wanted, shm.free_bytes() // FREE_SHARE // PAGE * PAGE) if shm.available() else 0
    return size if size >= min(wanted, SMALLEST_ARENA_BYTES) and size >= 2 * PAGE else 0


def _map(fd: int, size: int, prot: int) -> mmap.mmap:
    # Populate now: a page fault per 4 KiB on the hot path costs more than the copy itself.
    return mmap.mmap(fd, size, flags=mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0), prot=prot)


class Arena:
    """The sender's side: hands out slots, writes into them. Safe to use from several threads.

    Parameters
    ----------
    size : int
        Bytes of the file, a multiple of the page size (see `arena_size`).

    Raises
    ------
    NoSharedMemoryError
        There is not that much shared memory; nothing is left behind.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.name = shm.new_name()
        self.nonce = secrets.token_bytes(NONCE_BYTES)
        fd = shm.create(self.name, size)
        try:
            self._map = _map(fd, size, mmap.PROT_READ | mmap.PROT_WRITE)
        except OSError as error:
            shm.unlink(self.name)
            raise NoSharedMemoryError(f"cannot map {size} bytes of shared memory: {error}") from error
        finally:
            os.close(fd)
        self._map[:NONCE_BYTES] = self.nonce
        self._lock = threading.Lock()
        self._free: dict[int, list[int]] = {}
        self._top = 0
        self._used: dict[int, int] = {}
        self._generation: dict[int, int] = {}
        self._views: dict[int, np.ndarray[Any, Any]] = {}
        self._hopeless = size + 1
        """There is no room for this many bytes before a slot comes back."""
        self._orphans: deque[int] = deque()

    @property
    def used(self) -> int:
        """How many slots are out."""
        return len(self._used)

    def offered(self) -> None:
        """Remove the name: the receiver has mapped it, or never will. Idempotent."""
        shm.unlink(self.name)

    def fits(self, nbytes: int) -> bool:
        """Return whether the arena is large enough for `nbytes` when empty."""
        return nbytes + SLOT_OFFSET <= self.size

    def allocate(self, nbytes: int) -> int | None:
        """Return a slot for `nbytes` as the offset of its first page, None when none is free.

        The slot given back last comes first: its pages are still in the processor's cache.
        """
        capacity = (nbytes + SLOT_OFFSET + PAGE - 1) & -PAGE
        with self._lock:
            while self._orphans:
                self._give_back(self._orphans.popleft())
            same = self._free.get(capacity)
            if same:
                base = same.pop()
            elif self._top + capacity <= self.size:
                base = self._top
                self._top += capacity
            else:
                found = self._reclaim(capacity) if capacity < self._hopeless else None
                if found is None:
                    return None
                base = found
            self._used[base] = capacity
            return base

    def free(self, base: int) -> None:
        """Take a slot back. Its memory may be written again from now on."""
        with self._lock:
            self._give_back(base)

    def abandon(self, base: int) -> None:
        """Take a slot back at the next `allocate`; takes no lock, for finalizers."""
        self._orphans.append(base)

    def _give_back(self, base: int) -> None:
        capacity = self._used.pop(base)
        self._free.setdefault(capacity, []).append(base)
        self._hopeless = self.size + 1

    def _reclaim(self, capacity: int) -> int | None:
        """Join neighbouring free slots until one is large enough; rare: only after a change of image size."""
        if not self._used:
            self._free.clear()
            self._views.clear()
            self._top = 0
            if capacity > self.size:
                return None
            self._top = capacity
            return 0
        runs: list[list[int]] = []
        for base, size in sorted((base, size) for size, bases in self._free.items() for base in bases):
            if runs and runs[-1][0] + runs[-1][1] == base:
                runs[-1][1] += size
            else:
                runs.append([base, size])
        if runs and runs[-1][0] + runs[-1][1] == self._top:
            self._top = runs.pop()[0]
        self._free.clear()
        # A copy of the list: `view` takes no lock.
        self._views = {base: view for base, view in list(self._views.items()) if base in self._used}
        best = min((run for run in runs if run[1] >= capacity), key=lambda run: run[1], default=None)
        for base, size in runs:
            if best is None or base != best[0]:
                self._free.setdefault(size, []).append(base)
        if best is not None:
            # Cut all of it into such slots: the next images are of this size too.
            base, end = best[0], best[0] + best[1]
            count = best[1] // capacity
            self._free.setdefault(capacity, []).extend(base + i * capacity for i in range(count - 1, 0, -1))
            if base + count * capacity < end:
                self._free.setdefault(best[1] - count * capacity, []).append(base + count * capacity)
            return base
        if self._top + capacity <= self.size:
            base = self._top
            self._top += capacity
            return base
        self._hopeless = capacity
        return None

    def view(self, base: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
        """Return the slot's memory as a writable array."""
        view = self._views.get(base)
        if view is None or view.shape != shape or view.dtype != dtype:
            view = np.ndarray(shape, dtype, buffer=self._map, offset=base + SLOT_OFFSET)
            self._views[base] = view
        return view

    def born(self, base: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
        """Return a new array in the slot's memory, for somebody to compute into.

        Its base is the mapping itself and no other array: NumPy makes the views of an array refer to the last
        array below it, and only so they keep this one alive, and with it the slot.
        """
        return np.ndarray(shape, dtype, buffer=self._map, offset=base + SLOT_OFFSET)

    def stamp(self, base: int, nbytes: int) -> int:
        """Give the slot its next generation and return it; before its pixels are written."""
        generation = (self._generation.get(base, 0) + 1) & 0xFFFFFFFF
        self._generation[base] = generation
        _HEADER.pack_into(self._map, base + _HEADER_AT, MAGIC, generation, nbytes)
        return generation


class MappedArena:
    """The receiver's side: a read-only mapping of a sender's arena, its name removed at once.

    Arrays taken from it keep the mapping alive; it goes when the last of them does.

    Raises
    ------
    NoSharedMemoryError
        See `polystore.payload.shm.open_existing`; also when the random number differs, as on another
        machine that happens to have the same name.
    """

    def __init__(self, name: str, size: int, nonce: bytes) -> None:
        if size < PAGE or len(nonce) != NONCE_BYTES:
            raise NoSharedMemoryError(f"an arena of {size} bytes is none")
        fd = shm.open_existing(name, size)
        try:
            self._map = _map(fd, size, mmap.PROT_READ)
        except OSError as error:
            raise NoSharedMemoryError(f"cannot map {name}: {error}") from error
        finally:
            os.close(fd)
        if self._map[:NONCE_BYTES] != nonce:
            raise NoSharedMemoryError(f"{name} is another arena than the one offered")
        shm.unlink(name)
        self.size = size

    def view(
        self, base: int, generation: int, shape: tuple[int, ...], dtype: np.dtype[Any], nbytes: int
    ) -> np.ndarray[Any, Any]:
        """Return a slot's image, read-only; valid until its credit is returned.

        Raises
        ------
        TornPayloadError
            The slot lies outside, or holds another image than the message says.
        """
        if base < 0 or base % PAGE or base + SLOT_OFFSET + nbytes > self.size:
            raise TornPayloadError(f"slot at {base} with {nbytes} bytes lies outside an arena of {self.size}")
        if _HEADER.unpack_from(self._map, base + _HEADER_AT) != (MAGIC, generation, nbytes):
            raise TornPayloadError(f"slot at {base} no longer holds generation {generation}")
        return np.ndarray(shape, dtype, buffer=self._map, offset=base + SLOT_OFFSET)

    def intact(self, base: int, generation: int) -> bool:
        """Return whether the slot still holds `generation`: what was copied before this call is whole."""
        return bool(_HEADER.unpack_from(self._map, base + _HEADER_AT)[1] == generation)
