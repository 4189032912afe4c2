"""A bucket in the memory of this process, for tests: what `memory://` names."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from polystore._locks import ForkSafeLock
from polystore.errors import NotFoundError, StorageError
from polystore.objects._place import Place

__all__ = ["MemoryBucket"]

_buckets: dict[str, dict[str, tuple[bytes, str]]] = {}
_versions = itertools.count()
_lock = ForkSafeLock()


class MemoryBucket:
    """The calls of `polystore.objects._obstore.Bucket` on a dict. The same url is the same bucket, for as long
    as the process lives; a forked child starts with a copy."""

    def __init__(self, place: Place) -> None:
        self._url = place.bucket_url
        self._objects = _buckets.setdefault(place.bucket_url, {})

    def open(self, prefix: str) -> Any:
        """Refuse: nobody else can use this one."""
        raise StorageError(
            f"{self._url}/{prefix} is no place for a zarr store; use a folder or a real bucket"
        )

    def get(self, key: str) -> tuple[bytes, str]:
        """The bytes under a key and the stamp of this version."""
        try:
            return self._objects[key]
        except KeyError:
            raise NotFoundError(f"cannot read {self._url}/{key}: nothing is there") from None

    def size(self, key: str) -> int | None:
        """How many bytes are under a key; None when nothing is."""
        found = self._objects.get(key)
        return None if found is None else len(found[0])

    def put(self, key: str, data: bytes) -> None:
        """Store bytes."""
        with _lock:
            self._objects[key] = bytes(data), str(next(_versions))

    def create(self, key: str, data: bytes) -> bool:
        """Store bytes if nothing is there; whether they were stored."""
        with _lock:
            if key in self._objects:
                return False
            self.put(key, data)
            return True

    def swap(self, key: str, data: bytes, stamp: str) -> bool:
        """Store bytes if what is there has that stamp; whether they were stored."""
        with _lock:
            same = self._objects.get(key, (b"", None))[1] == stamp
            if same:
                self.put(key, data)
            return same

    def delete(self, keys: list[str]) -> None:
        """Remove what is under each key, if anything is."""
        for key in keys:
            self._objects.pop(key, None)

    def copy(self, source: str, target: str) -> None:
        """Copy, replacing what is there."""
        self.put(target, self.get(source)[0])

    def scan(self, prefix: str) -> tuple[list[str], list[str]]:
        """Names of folders and of objects directly below a prefix."""
        cut = len(prefix) + 1 if prefix else 0
        parts = [key[cut:].partition("/") for key in self.keys(prefix)]
        return sorted({name for name, slash, _ in parts if slash}), [
            name for name, slash, _ in parts if not slash
        ]

    def keys(self, prefix: str) -> Iterator[str]:
        """All keys below a prefix."""
        return (key for key in list(self._objects) if not prefix or key.startswith(f"{prefix}/"))

    def any_below(self, prefix: str) -> bool:
        """Whether there is a key below a prefix."""
        return next(self.keys(prefix), None) is not None
