"""Memory of planes, used again: fresh pages cost six times the copy into warm ones."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

__all__ = ["BufferPool", "is_unseen"]

Buffer: TypeAlias = np.ndarray[Any, Any]


class BufferPool:
    """Buffers that wait for their next plane. Not thread-safe: its owner has a lock.

    A buffer is used again once nothing refers to it any more, and the count of references decides that:
    napari shows planes by reference and keeps the array until its next draw, and every view numpy makes of
    a plane, however it is sliced, keeps a reference to the buffer below. Nobody has to say that he is done.

    Parameters
    ----------
    limit
        Most bytes to keep ready; what is more is given back to the system.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._free: dict[int, list[Buffer]] = {}
        self._retired: list[Buffer] = []
        self.free_bytes = 0
        """Bytes kept ready."""

    @property
    def waiting_bytes(self) -> int:
        """Bytes of buffers somebody may still look at."""
        return sum(buffer.nbytes for buffer in self._retired)

    def take(self, nbytes: int) -> Buffer:
        """A buffer of exactly that size: the last one that came back, which is the warmest, or a new one."""
        self._sweep()
        free = self._free.get(nbytes)
        if free:
            self.free_bytes -= nbytes
            return free.pop()
        return np.empty(nbytes, np.uint8)

    def retire(self, buffer: Buffer | None) -> None:
        """Take a buffer back whose plane the store forgot; somebody may still look at it. None is ignored."""
        if buffer is not None:
            self._retired.append(buffer)

    def clear(self) -> None:
        """Give what is ready back to the system."""
        self._free.clear()
        self.free_bytes = 0

    def _sweep(self) -> None:
        if not self._retired:
            return
        waiting = []
        for buffer, count in zip(self._retired, _references(self._retired), strict=True):
            if count > _UNUSED:
                waiting.append(buffer)
            elif self.free_bytes + buffer.nbytes <= self._limit:
                self._free.setdefault(buffer.nbytes, []).append(buffer)
                self.free_bytes += buffer.nbytes
        self._retired = waiting


def is_unseen(holder: Any) -> bool:
    """Whether nobody but `holder`, an object with a ``plane`` in its ``buffer`` (or None), refers to either."""
    plane, buffer = _references([holder.plane, holder.buffer])
    return plane <= _UNSEEN[0] and (holder.buffer is None or buffer <= _UNSEEN[1])


def _references(objects: Sequence[Any]) -> list[int]:
    return [sys.getrefcount(one) for one in objects]


class _Holder:
    def __init__(self) -> None:
        self.buffer = np.empty(16, np.uint8)
        self.plane = self.buffer[:16].view(np.uint16).reshape(2, 4)


# Measured and not written down: how many references a call itself makes differs between versions of Python.
_UNUSED = _references([np.empty(1)])[0]
_holder = _Holder()
_UNSEEN = _references([_holder.plane, _holder.buffer])
del _holder
