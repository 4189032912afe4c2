"""Items a sender has to hold back, within a stated amount of memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class WaitingItems(Generic[T]):
    """A queue in order, and beside it the newest item of each key. Guarded by its sender's lock.

    Parameters
    ----------
    limit : int
        Bytes all of them may hold together.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._queue: deque[tuple[T, int]] = deque()
        self._latest: dict[Hashable, tuple[T, int]] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._queue) + len(self._latest)

    @property
    def in_order(self) -> bool:
        """Whether items wait that later ones must not overtake."""
        return bool(self._queue)

    @property
    def keyed(self) -> bool:
        """Whether items wait of which a newer one of the same key takes the place."""
        return bool(self._latest)

    def append(self, item: T, size: int) -> bool:
        """Let `item` wait its turn; False when there is no memory for it."""
        if self._bytes + size > self._limit:
            return False
        self._queue.append((item, size))
        self._bytes += size
        return True

    def fits(self, size: int) -> bool:
        """Return whether `size` more bytes may wait."""
        return self._bytes + size <= self._limit

    def keep_newest(self, key: Hashable, item: T, size: int) -> int:
        """Let `item` wait as the newest of `key`; return how many older keys had to go, -1 when it is too large."""
        if size > self._limit:
            return -1
        gone = 0
        while self._latest and not self.fits(size):
            self.forget(next(iter(self._latest)))
            gone += 1
        if not self.fits(size):
            return -1
        self._latest[key] = (item, size)
        self._bytes += size
        return gone

    def forget(self, key: Hashable) -> bool:
        """Drop the waiting item of `key`; return whether there was one."""
        found = self._latest.pop(key, None)
        if found is None:
            return False
        self._bytes -= found[1]
        return True

    def clear(self) -> int:
        """Drop everything; return how many items that were."""
        count = len(self)
        self._queue.clear()
        self._latest.clear()
        self._bytes = 0
        return count

    def release(self, send: Callable[[T], bool]) -> None:
        """Give items to `send`, oldest first, until it says no."""
        while self._queue:
            item, size = self._queue[0]
            if not send(item):
                return
            self._queue.popleft()
            self._bytes -= size
        while self._latest:
            key, (item, size) = next(iter(self._latest.items()))
            if not send(item):
                return
            del self._latest[key]
            self._bytes -= size
