"""Bytes by key in a folder: what `polystore.objects` will do, until it does."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from polystore._atomic import atomic_write, is_temporary
from polystore.abc import Entry
from polystore.errors import AlreadyExistsError, NotFoundError, PolystoreError, StorageError
from polystore.objects.abc import ObjectStore, Stamped

__all__ = ["LocalFolder"]


class LocalFolder(ObjectStore):
    """A stand-in for ``polystore.objects.LocalObjects``."""

    def __init__(self, root: str, *, durable: bool = False) -> None:
        self.root = root
        self.durable = durable

    def _path(self, key: str) -> str:
        return os.path.join(self.root, key) if key else self.root

    def get(self, key: str) -> Stamped:
        """The bytes under a key."""
        try:
            with open(self._path(key), "rb") as stream:
                data = stream.read()
                return Stamped(data, str(os.fstat(stream.fileno()).st_mtime_ns))
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as exc:
            raise NotFoundError(f"nothing at {self._path(key)}") from exc

    def put(self, key: str, data: bytes, *, overwrite: bool = True) -> None:
        """Store bytes."""
        path = self._path(key)
        with _errors(path):
            try:
                self._write(path, data, overwrite)
            except FileNotFoundError:
                os.makedirs(os.path.dirname(path), exist_ok=True)
                self._write(path, data, overwrite)

    def _write(self, path: str, data: bytes, overwrite: bool) -> None:
        with atomic_write(path, overwrite=overwrite, durable=self.durable) as stream:
            stream.write(data)

    def swap(self, key: str, data: bytes, stamp: str | None) -> bool:
        """Not needed here."""
        raise StorageError("no swap")

    def delete(self, key: str) -> None:
        """Remove a key."""
        with _errors(self._path(key)):
            os.unlink(self._path(key))

    def scan(self, prefix: str = "") -> Iterable[Entry]:
        """What stands directly below a prefix."""
        with _errors(self._path(prefix)), os.scandir(self._path(prefix)) as entries:
            return [
                Entry(entry.name, entry.is_dir(), entry.is_symlink())
                for entry in entries
                if not is_temporary(entry.name)
            ]

    def keys(self, prefix: str = "") -> Iterator[str]:
        """All keys below a prefix."""
        for folder, _, files in os.walk(self._path(prefix)):
            for name in files:
                if not is_temporary(name):
                    yield os.path.relpath(os.path.join(folder, name), self.root).replace(os.sep, "/")

    def update(self, key: str, change: Callable[[bytes | None], bytes | None]) -> bytes | None:
        """Read, change and write in one step."""
        import fcntl

        path = self._path(key)
        with _errors(path):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            fd = os.open(os.path.dirname(path), os.O_RDONLY)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            try:
                data: bytes | None = self.get(key).data
            except NotFoundError:
                data = None
            new = change(data)
            if new is not None:
                self.put(key, new)
            return data if new is None else new
        finally:
            os.close(fd)


@contextmanager
def _errors(path: str) -> Iterator[None]:
    try:
        yield
    except PolystoreError:
        raise
    except FileNotFoundError as exc:
        raise NotFoundError(f"nothing at {path}") from exc
    except FileExistsError as exc:
        raise AlreadyExistsError(f"{path} exists already") from exc
    except OSError as exc:
        raise StorageError(f"cannot write {path}: {exc.strerror}", errno=exc.errno) from exc
