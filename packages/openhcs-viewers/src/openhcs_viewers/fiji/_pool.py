"""Java arrays made ahead of their planes: touching fresh memory costs six times the copy into it."""

from __future__ import annotations

import logging
import threading
import time
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

TICK_SECONDS = 0.005
"""How often the thread looks what is missing. It is not woken by each plane: it would compete with the copy."""

IDLE_SECONDS = 2.0
"""After that long without a plane the thread ends. Half of what is ready stays for the next batch."""

REST_SECONDS = 10.0
"""How long none are made after Java had no memory: each attempt has it collect all its garbage first."""

KINDS = 8
"""Kinds kept ready at most; what was met longest ago is let go."""


class ArrayPool:
    """Arrays of the kinds that have been arriving, zeroed by a thread of its own. Any thread may call.

    How many of a kind are ready follows the rate: each time a plane has to wait for its array the number doubles,
    up to the bytes allowed, and it halves when nothing came for a while.

    Parameters
    ----------
    room
        Returns how many bytes the pool may hold now; called with the pool's lock, so it must take no other.
    """

    def __init__(self, room: Callable[[], int]) -> None:
        self._room = room
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._ready: dict[Kind, list[Any]] = {}  # the kind met longest ago first
        self._wanted: dict[Kind, int] = {}
        self._thread: threading.Thread | None = None
        self._takes = 0
        self._rest_until = 0.0
        self.nbytes = 0
        """Bytes of what is ready or being made."""

    @property
    def working(self) -> bool:
        """Whether the thread is there: planes have been arriving."""
        return self._thread is not None

    def take(self, to: PixelType, pixels: int) -> Any:
        """Return an array nobody else has: one that is ready, else a new one.

        Raises
        ------
        java.lang.OutOfMemoryError
            Java's heap is full.
        """
        kind = (to, pixels)
        found = None
        with self._lock:
            self._takes += 1
            ready = self._ready.pop(kind, None)
            if ready is None:
                ready = []
                self._wanted[kind] = FIRST
            elif ready:
                found = ready.pop()
                self.nbytes -= _nbytes(kind)
            elif self._thread is not None and _nbytes(kind) * self._wanted[kind] * 2 <= self._room():
                self._wanted[kind] *= 2
            self._ready[kind] = ready  # now the one met last
            if len(self._ready) > KINDS:
                self._let_go(next(iter(self._ready)))
            if self._thread is None and len(ready) < self._wanted[kind] and self._may_start():
                self._thread = threading.Thread(target=self._run, name="java-arrays", daemon=True)
                self._thread.start()
        return new_array(to, pixels) if found is None else found

    def clear(self) -> None:
        """Let go of what is ready, and make no more of it until the next plane: its memory is wanted."""
        with self._lock:
            for kind in list(self._ready):
                self._let_go(kind)

    def close(self) -> None:
        """Let go of everything and end the thread. Idempotent."""
        self._end.set()
        thread = self._thread
        if thread is not None:
            thread.join()
        self.clear()

    # -- inside

    def _may_start(self) -> bool:
        return not self._end.is_set() and time.monotonic() >= self._rest_until

    def _let_go(self, kind: Kind) -> None:
        self.nbytes -= _nbytes(kind) * len(self._ready.pop(kind))
        del self._wanted[kind]

    def _run(self) -> None:
        thread = java("java.lang.Thread")
        thread.attachAsDaemon()
        try:
            self._fill_up()
        except java("java.lang.OutOfMemoryError"):
            self._rest_until = time.monotonic() + REST_SECONDS
            self.clear()
            logger.warning("Java's heap is full: no arrays are made ahead of their planes")
        finally:
            with self._lock:
                if self._thread is threading.current_thread():
                    self._thread = None  # the next plane starts another
            thread.detach()

    def _fill_up(self) -> None:
        """Make what is missing, tick by tick, until nothing comes any more."""
        takes, since = -1, 0.0
        while not self._end.is_set():
            if takes != self._takes:
                takes, since = self._takes, time.monotonic()
                while (kind := self._next()) is not None:
                    self._make(kind)
            self._end.wait(TICK_SECONDS)
            if time.monotonic() - since > IDLE_SECONDS:
                with self._lock:
                    if takes == self._takes:
                        self._shrink()
                        self._thread = None  # under the lock: a plane from now on starts another
                        return

    def _shrink(self) -> None:
        """Halve what is kept ready. Called with the lock."""
        for kind, ready in self._ready.items():
            self._wanted[kind] = max(FIRST, self._wanted[kind] // 2)
            extra = ready[self._wanted[kind] :]
            del ready[self._wanted[kind] :]
            self.nbytes -= _nbytes(kind) * len(extra)

    def _next(self) -> Kind | None:
        """The kind of which there are too few, the one met last first; its bytes are counted."""
        with self._lock:
            room = self._room() - self.nbytes
            for kind, ready in reversed(self._ready.items()):
                if len(ready) < self._wanted[kind] and _nbytes(kind) <= room and not self._end.is_set():
                    self.nbytes += _nbytes(kind)
                    return kind
        return None

    def _make(self, kind: Kind) -> None:
        """Make one whose bytes are counted already."""
        made = None
        try:
            made = new_array(*kind)
        finally:
            with self._lock:
                ready = self._ready.get(kind)
                if made is None or ready is None:
                    self.nbytes -= _nbytes(kind)
                else:
                    ready.append(made)


def _nbytes(kind: Kind) -> int:
    return kind[0].sample.itemsize * kind[1]
