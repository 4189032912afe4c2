"""The contract of a store of bytes by key."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from polystore.abc import Entry
from polystore.errors import NotFoundError

__all__ = ["ObjectStore", "Stamped"]


@dataclass(frozen=True, slots=True)
class Stamped:
    """Bytes as they were read, with the stamp that tells this version from any other.

    Parameters
    ----------
    data
        The bytes.
    stamp
        An ETag in a cloud; opaque, for `ObjectStore.swap`.
    """

    data: bytes
    stamp: str


class ObjectStore(ABC):
    """Bytes by key below one root. Picklable description; thread-safe; opened lazily in each process.

    Keys are relative, ``/`` separates. A key that is absolute, has ``..`` or NUL, or leads out through a
    link is an `UnsafePathError` before anything is touched. Every write is all or nothing: a reader, or
    whoever comes after a crash, sees the old bytes or the new.
    """

    @abstractmethod
    def get(self, key: str) -> Stamped:
        """The bytes under a key; `NotFoundError` when nothing is there."""

    def holds(self, key: str) -> bool:
        """Whether something is under a key; a store that need not read it for that says so faster."""
        try:
            self.get(key)
        except NotFoundError:
            return False
        return True

    @abstractmethod
    def put(self, key: str, data: bytes, *, overwrite: bool = True) -> None:
        """Store bytes; `AlreadyExistsError` when something is there and ``overwrite`` is false, decided in
        one step."""

    @abstractmethod
    def swap(self, key: str, data: bytes, stamp: str | None) -> bool:
        """Store bytes if what is there still has that stamp (None: nothing is there); whether it was stored."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove what is under a key; `NotFoundError` when nothing is."""

    @abstractmethod
    def scan(self, prefix: str = "") -> Iterable[Entry]:
        """What stands directly below a prefix (a folder), in any order; `NotFoundError` when there is none."""

    @abstractmethod
    def keys(self, prefix: str = "") -> Iterator[str]:
        """All keys below a prefix, in any order."""

    @abstractmethod
    def update(self, key: str, change: Callable[[bytes | None], bytes | None]) -> bytes | None:
        """Read, change and write in one step as seen by every other process; returns what stands there now.

        Parameters
        ----------
        key
            What to change.
        change
            Is given the bytes that are there (None: nothing) and returns those to store, or None to leave all
            as it is. It may be called more than once and must do nothing else.

        Raises
        ------
        StorageError
            It could not be stored in time; the text names the key and, where known, who holds it.
        """
