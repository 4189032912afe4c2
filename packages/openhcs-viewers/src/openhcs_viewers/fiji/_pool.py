"""Java arrays made ahead of their planes: touching fresh memory costs six times the copy into it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, TypeAlias

from openhcs_viewers.fiji._convert import PixelType
from openhcs_viewers.fiji._java import java
from openhcs_viewers.fiji._pixels import new_array

__all__ = ["ArrayPool"]

logger = logging.getLogger(__name__)

Kind: TypeAlias = tuple[PixelType, int]

FIRST = 4
"""Arrays kept ready of a kind that was met for the first time: a batch has a few channels."""

IDLE_SECONDS = 2.0
"""After that long without a plane the thread ends; what is ready stays for the next batch."""

KINDS = 8
"""Kinds kept ready at most; what was met longest ago is let go."""


class ArrayPool:
    """Arrays of the kinds that have been arriving, zeroed by a thread of its own. Any thread may call.

    How many of a kind are ready follows the rate: each time a plane has to wait for its array the number doubles,
    up to the bytes allowed.

    Parameters
    ----------
    room
        Returns how many bytes the pool may hold now; called with the pool's lock, so it must take no other.
    """

    def __init__(self, room: Callable[[], int]) -> None:
        self._room = room
        self._condition = threading.Condition()
        self._ready: dict[Kind, list[Any]] = {}  # the kind met longest ago first
        self._wanted: dict[Kind, int] = {}
        self._thread: threading.Thread | None = None
        self._takes = 0
        self._closed = False
        self.nbytes = 0
        """Bytes of what is ready or being made."""

    def take(self, to: PixelType, pixels: int) -> Any:
        """Return an array nobody else has: one that is ready, else a new one.

        Raises
        ------
        java.lang.OutOfMemoryError
            Java's heap is full.
        """
        kind = (to, pixels)
        with self._condition:
            found = None
            self._takes += 1
            ready = self._ready.pop(kind, None)
            if ready is None:
                ready = []
                self._wanted[kind] = FIRST
            elif ready:
                found = ready.pop()
                self.nbytes -= _nbytes(kind)
            elif _nbytes(kind) * self._wanted[kind] * 2 <= self._room():
                self._wanted[kind] *= 2
            self._ready[kind] = ready  # now the one met last
            if len(self._ready) > KINDS:
                self._let_go(next(iter(self._ready)))
            if len(ready) < self._wanted[kind]:
                self._start()
        return new_array(to, pixels) if found is None else found

    def clear(self) -> None:
        """Let go of what is ready, and make no more until the next plane: its memory is wanted."""
        with self._condition:
            for kind in list(self._ready):
                self._let_go(kind)

    def close(self) -> None:
        """Let go of everything and end the thread. Idempotent."""
        with self._condition:
            self._closed = True
            thread = self._thread
            self._condition.notify_all()
        self.clear()
        if thread is not None:
            thread.join()

    # -- inside

    def _let_go(self, kind: Kind) -> None:
        self.nbytes -= _nbytes(kind) * len(self._ready.pop(kind))
        del self._wanted[kind]

    def _start(self) -> None:
        """Have somebody fill up. Called with the lock."""
        if self._thread is None and not self._closed:
            self._thread = threading.Thread(target=self._run, name="java-arrays", daemon=True)
            self._thread.start()
        else:
            self._condition.notify()

    def _run(self) -> None:
        thread = java("java.lang.Thread")
        thread.attachAsDaemon()
        try:
            while (kind := self._next()) is not None:
                self._make(kind)
        except java("java.lang.OutOfMemoryError"):
            # Planes will say so, or have the memory; the next one starts the thread again.
            self.clear()
            logger.warning("Java's heap is full: no arrays are made ahead of their planes")
            with self._condition:
                self._thread = None
        finally:
            thread.detach()

    def _next(self) -> Kind | None:
        """Wait for a kind of which there are too few; None when the thread has to end, which is noted."""
        with self._condition:
            while not self._closed:
                room = self._room() - self.nbytes
                for kind in reversed(self._ready):
                    if len(self._ready[kind]) < self._wanted[kind] and _nbytes(kind) <= room:
                        self.nbytes += _nbytes(kind)
                        return kind
                before = self._takes
                if not self._condition.wait(IDLE_SECONDS) and self._takes == before:
                    break
            self._thread = None
            return None

    def _make(self, kind: Kind) -> None:
        """Make one whose bytes are counted already."""
        made = None
        try:
            made = new_array(*kind)
        finally:
            with self._condition:
                ready = self._ready.get(kind)
                if made is None or ready is None or self._closed:
                    self.nbytes -= _nbytes(kind)
                else:
                    ready.append(made)


def _nbytes(kind: Kind) -> int:
    return kind[0].sample.itemsize * kind[1]
