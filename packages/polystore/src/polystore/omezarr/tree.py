"""Part of a store of bytes: the keys below one prefix."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from polystore.abc import Entry
from polystore.errors import AlreadyExistsError, NotFoundError
from polystore.objects import ObjectStore
from polystore.omezarr.folder import PlateFolder

__all__ = ["Tree"]


@dataclass(frozen=True, slots=True)
class Tree:
    """The keys of a store below a prefix.

    Parameters
    ----------
    store
        Where the bytes are.
    prefix
        What every key begins with, without a ``/`` at its end; empty for all.
    place
        How messages name this part: a path or an address.
    """

    store: ObjectStore
    prefix: str
    place: str

    def key(self, name: str) -> str:
        """The store's key of a name in this part."""
        return f"{self.prefix}/{name}" if self.prefix else name

    def at(self, name: str) -> Tree:
        """The part below a name."""
        return Tree(self.store, self.key(name), f"{self.place.rstrip('/')}/{name}")

    def get(self, name: str) -> bytes | None:
        """The bytes under a name, or None."""
        try:
            if isinstance(self.store, PlateFolder):
                return self.store.read(self.key(name))
            return self.store.get(self.key(name)).data
        except NotFoundError:
            return None

    def put(self, name: str, data: bytes, *, overwrite: bool = True) -> None:
        """Store bytes in one step, without any lock; `AlreadyExistsError` when they must not replace what is
        there."""
        if isinstance(self.store, PlateFolder):
            self.store.write(self.key(name), data, overwrite=overwrite)
            return
        self.store.put(self.key(name), data, overwrite=overwrite)

    def update(self, name: str, change: Callable[[bytes | None], bytes | None]) -> bytes | None:
        """As `ObjectStore.update`, but what is not there yet is made without a lock.

        A plate is mostly files that are written once. The first writer makes one in a single step that fails
        for all others, and these change it under the lock: nobody changes what is not there.
        """
        key = self.key(name)
        if self.holds(name):
            return self.store.update(key, change)
        new = change(None)
        if new is None:
            return None
        try:
            self.put(name, new, overwrite=False)
        except AlreadyExistsError:
            return self.store.update(key, change)
        return new

    def delete(self, name: str) -> bool:
        """Remove what is under a name; whether something was."""
        try:
            self.store.delete(self.key(name))
        except NotFoundError:
            return False
        return True

    def delete_all(self) -> None:
        """Remove every key of this part. Its empty folders stay: somebody may be about to write in one."""
        for key in list(self.store.keys(self.prefix)):
            try:
                self.store.delete(key)
            except NotFoundError:
                continue  # somebody else was faster

    def holds(self, name: str) -> bool:
        """Whether there are bytes under a name."""
        return self.store.holds(self.key(name))

    def entries(self) -> list[Entry]:
        """What stands directly in this part; nothing when there is no such part."""
        try:
            return list(self.store.scan(self.prefix))
        except NotFoundError:
            return []

    def keys(self) -> Iterator[str]:
        """All names below this part."""
        skip = len(self.prefix) + 1 if self.prefix else 0
        return (key[skip:] for key in self.store.keys(self.prefix))
