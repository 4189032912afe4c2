"""Bytes by key in a folder of the file system."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from hashlib import blake2b

from polystore._atomic import atomic_write, is_temporary, sweep_once
from polystore._filelock import file_lock
from polystore._oserrors import translated
from polystore._paths import StrPath, below, check_key, check_path, join
from polystore.abc import Entry
from polystore.config import Settings
from polystore.errors import NotAFolderError, NotFoundError, UnsafePathError
from polystore.objects.abc import ObjectStore, Stamped

__all__ = ["LocalObjects"]


class LocalObjects(ObjectStore):
    """Files below a folder, each changed in one step and by one process at a time.

    A writer holds the lock of its key (`polystore._filelock`) while it reads, changes and replaces the file,
    so changes of several processes follow each other and none is lost. The lock goes with its holder, also by
    ``kill -9``. Readers take no lock: they see the old file or the new. Whoever writes there by other means
    than an object store is not waited for.

    Parameters
    ----------
    root
        The folder; made with the first key.
    durable
        Whether a change is on the medium when the call returns; by default ``POLYSTORE_DURABLE``, else False.
    timeout
        Seconds a change waits for others who change the same key.
    """

    def __init__(self, root: StrPath, *, durable: bool | None = None, timeout: float = 30.0) -> None:
        self.root = os.path.abspath(check_path(root))
        self.durable = Settings.from_env().durable if durable is None else durable
        self.timeout = timeout

    def __repr__(self) -> str:
        return f"LocalObjects({self.root!r}, durable={self.durable!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LocalObjects) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash(self.root)

    def get(self, key: str) -> Stamped:
        """The bytes under a key, all of one version."""
        path = self._path(key)
        try:
            with translated("read", path), open(path, "rb") as stream:
                data = stream.read()
        except NotAFolderError as exc:
            raise NotFoundError(f"cannot read {path}: a file stands where its folder would be") from exc
        return Stamped(data, _stamp(data))

    def holds(self, key: str) -> bool:
        """Whether a file is under a key."""
        return os.path.isfile(self._path(key))

    def put(self, key: str, data: bytes, *, overwrite: bool = True) -> None:
        """Store bytes; the folders above are made."""
        path = self._path(key)
        with self._locked("write", path):
            self._write(path, data, overwrite=overwrite)

    def swap(self, key: str, data: bytes, stamp: str | None) -> bool:
        """Store bytes if what is there still has that stamp; whether it was stored."""
        path = self._path(key)
        if stamp is not None and not os.path.isdir(_folder_of(path)):
            return False
        with self._locked("write", path):
            there = _read(path)
            if (None if there is None else _stamp(there)) != stamp:
                return False
            self._write(path, data)
            return True

    def update(self, key: str, change: Callable[[bytes | None], bytes | None]) -> bytes | None:
        """Read, change and write while nobody else does."""
        path = self._path(key)
        if not os.path.isdir(_folder_of(path)) and change(None) is None:
            return None  # and no folder was made for nothing
        with self._locked("change", path):
            there = _read(path)
            new = change(there)
            if new is None:
                return there
            if new != there:
                self._write(path, new)
            return new

    def delete(self, key: str) -> None:
        """Remove a file, or a link and not what it points to; the folders above stay."""
        path = self._path(key)
        if not os.path.lexists(path):
            raise NotFoundError(f"cannot delete {path}: nothing is there")
        with self._locked("delete", path), translated("delete", path):
            if os.path.isdir(path) and not os.path.islink(path):
                raise IsADirectoryError
            os.unlink(path)

    def scan(self, prefix: str = "") -> Iterable[Entry]:
        """What stands directly in a folder; the root is one even before anything is in it."""
        path = self._folder(prefix)
        try:
            with translated("list", path), os.scandir(path) as entries:
                return [
                    Entry(entry.name, entry.is_dir(), entry.is_symlink())
                    for entry in entries
                    if not is_temporary(entry.name)
                ]
        except NotFoundError:
            if path == self.root:
                return []
            raise

    def keys(self, prefix: str = "") -> Iterator[str]:
        """All keys below a folder; none when it is not there. Links to folders are not followed."""
        folder = check_key(prefix) if prefix else ""
        try:
            entries = self.scan(folder)
        except (NotFoundError, NotAFolderError):
            return
        for entry in entries:
            key = join(folder, entry.name)
            if not entry.is_folder:
                yield key
            elif not entry.is_link:
                yield from self.keys(key)

    def _folder(self, prefix: str) -> str:
        sweep_once(self.root)
        return below(self.root, prefix) if prefix else self.root

    def _path(self, key: str) -> str:
        path = below(self.root, key)
        if path == self.root:
            raise UnsafePathError(f"{key!r} names {self.root} itself; give a key below it")
        if is_temporary(os.path.basename(path)):
            raise UnsafePathError(f"{key!r} is a name for files being written; choose another")
        sweep_once(self.root)
        return path

    @contextmanager
    def _locked(self, verb: str, path: str) -> Iterator[None]:
        with ExitStack() as stack:
            with translated(verb, path):
                _make_folders(_folder_of(path))
                stack.enter_context(file_lock(path, timeout=self.timeout))
            yield

    def _write(self, path: str, data: bytes, *, overwrite: bool = True) -> None:
        with (
            translated("write", path),
            atomic_write(path, overwrite=overwrite, durable=self.durable, folder=self.root) as stream,
        ):
            stream.write(data)


def _stamp(data: bytes) -> str:
    # Of the content: times of files are too coarse, and numbers of files are used again.
    return blake2b(data, digest_size=16).hexdigest()


def _read(path: str) -> bytes | None:
    with translated("read", path):
        try:
            with open(path, "rb") as stream:
                return stream.read()
        except FileNotFoundError:
            return None


def _folder_of(path: str) -> str:
    return os.path.dirname(os.path.realpath(path))


def _make_folders(folder: str) -> None:
    try:
        os.makedirs(folder, exist_ok=True)
    except FileExistsError as exc:  # makedirs says so when the last one is a file
        raise NotAFolderError(f"{folder} is a file; choose another folder") from exc
