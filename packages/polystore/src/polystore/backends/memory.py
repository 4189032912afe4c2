"""A store in the memory of this process."""

from __future__ import annotations

import copy as copying
import errno
import os
import posixpath
from collections.abc import Iterable
from typing import Any

import numpy as np

from polystore._locks import ForkSafeLock
from polystore._paths import StrPath, virtual_path
from polystore.abc import Entry, Kind, StorageBackend
from polystore.errors import (
    AlreadyExistsError,
    NotAFileError,
    NotAFolderError,
    NotFoundError,
    StorageError,
    UnsupportedFormatError,
)
from polystore.payload.arrays import as_host_array, check_array, is_array

__all__ = ["MemoryBackend"]

_UNBOUNDED = 2**63 - 1
_IMMUTABLE = (str, bytes, int, float, complex, bool, type(None), np.generic)


class MemoryBackend(StorageBackend):
    """Values by path in a dict; nothing is encoded, so any suffix or none will do.

    Who owns what:

    * `save` keeps a copy of its own, an array in host memory whatever library it came from. The caller may
      go on changing the original.
    * `save(..., copy=False)` keeps the very object and saves the copy: from then on the caller must not
      change it.
    * `load` gives a read-only view of the array that is kept, without a copy; ``load(...).copy()`` may be
      changed. Other values come as copies.

    The store belongs to its process. A pickled one arrives empty (a description, like every backend); a
    forked child starts with what was in it and shares nothing afterwards.

    Paths are virtual: ``/`` separates, ``.`` and ``..`` are resolved, absolute and relative ones are
    different places. Thread-safe.
    """

    def __init__(self) -> None:
        self._lock = ForkSafeLock()
        self._files: dict[str, Any] = {}
        self._folders: dict[str, dict[str, None]] = {
            "/": {},
            ".": {},
        }  # folder to its names, in order of making

    def __reduce__(self) -> tuple[Any, ...]:
        return MemoryBackend, ()

    def __repr__(self) -> str:
        return f"<MemoryBackend with {len(self._files)} files in process {os.getpid()}>"

    def load(self, path: StrPath, **options: Any) -> Any:
        """The value at a path; see the class for who owns it. Options are those of other stores and do nothing."""
        key = virtual_path(path)
        try:
            value = self._files[key]
        except KeyError:
            raise self._missing(key) from None
        if isinstance(value, np.ndarray):
            view = value.view()
            view.flags.writeable = False
            return view
        return value if isinstance(value, _IMMUTABLE) else copying.deepcopy(value)

    def save(
        self, data: Any, path: StrPath, *, overwrite: bool = True, copy: bool = True, **options: Any
    ) -> None:
        """Keep a value; see the class for who owns it. Options of other stores' formats do nothing.

        Raises
        ------
        UnsupportedArrayError
            An array no store could keep (objects, text, fields).
        UnsupportedFormatError
            Something that cannot be copied; ``copy=False`` keeps the object itself.
        """
        key = virtual_path(path)
        kept = _own(data) if copy else data
        with self._lock:
            if key in self._folders:
                raise NotAFileError(f"a folder is at {key!r}; choose another name")
            if not overwrite and key in self._files:
                raise AlreadyExistsError(f"a file is already at {key!r}; pass overwrite=True to replace it")
            self._enter(key)
            self._files[key] = kept

    def scan(self, folder: StrPath) -> Iterable[Entry]:
        """What stands directly in a folder, as it was at the time of the call."""
        key = virtual_path(folder)
        with self._lock:
            if key not in self._folders:
                if key in self._files:
                    raise NotAFolderError(f"{key!r} is a file")
                raise self._missing(key)
            prefix = _prefix(key)
            return [Entry(name, is_folder=prefix + name in self._folders) for name in self._folders[key]]

    def kind(self, path: StrPath) -> Kind | None:
        """``"file"``, ``"folder"`` or None."""
        key = virtual_path(path)
        if key in self._files:
            return "file"
        return "folder" if key in self._folders else None

    def mkdir(self, path: StrPath) -> None:
        """Make a folder and those above it."""
        key = virtual_path(path)
        with self._lock:
            if key in self._files:
                raise NotAFolderError(f"a file is at {key!r}; choose another name")
            if key not in self._folders:
                self._enter(key)
                self._folders[key] = {}

    def delete(self, path: StrPath, *, recursive: bool = False) -> None:
        """Forget a file or a folder; arrays loaded from it stay valid."""
        key = virtual_path(path)
        with self._lock:
            if key in self._files:
                del self._files[key]
            elif key not in self._folders:
                raise self._missing(key)
            elif key in ("/", "."):
                raise StorageError(f"{key!r} is the top folder; delete what is in it")
            elif self._folders[key] and not recursive:
                held = len(self._folders[key])
                raise StorageError(
                    f"folder {key!r} holds {held} entries; pass recursive=True", errno=errno.ENOTEMPTY
                )
            else:
                prefix = _prefix(key)
                for name in list(self._folders[key]):
                    self.delete(prefix + name, recursive=True)
                del self._folders[key]
            self._folders[_parent(key)].pop(posixpath.basename(key), None)

    def copy(self, source: StrPath, target: StrPath, *, overwrite: bool = False) -> None:
        """Keep a file or folder under a second path; what is kept is never changed, so no pixel is copied."""
        with self._lock:
            self._transfer(source, target, self.check_transfer(source, target, overwrite=overwrite))

    def move(self, source: StrPath, target: StrPath, *, overwrite: bool = False) -> None:
        """Keep a file or folder under another path."""
        with self._lock:
            self.copy(source, target, overwrite=overwrite)
            self.delete(source, recursive=True)

    def _transfer(self, source: StrPath, target: StrPath, kind: Kind) -> None:
        first, second = virtual_path(source), virtual_path(target)
        if kind == "file":
            self.save(self._files[first], second, copy=not isinstance(self._files[first], np.ndarray))
            return
        self.mkdir(second)
        for entry in list(self.scan(first)):
            below: Kind = "folder" if entry.is_folder else "file"
            self._transfer(_prefix(first) + entry.name, _prefix(second) + entry.name, below)

    def _enter(self, key: str) -> None:
        """Note a new name in its folder, making the folders above. Checks first, so a refusal changes nothing."""
        missing: list[str] = []
        folder = _parent(key)
        while folder not in self._folders:
            if folder in self._files:
                raise NotAFolderError(f"{folder!r} is a file, so there can be no {key!r}")
            missing.append(folder)
            folder = _parent(folder)
        for folder in reversed(missing):
            self._folders[folder] = {}
            self._folders[_parent(folder)][posixpath.basename(folder)] = None
        self._folders[_parent(key)][posixpath.basename(key)] = None

    def _missing(self, key: str) -> StorageError:
        if key in self._folders:
            return NotAFileError(f"{key!r} is a folder; list_files shows what is in it")
        return NotFoundError(
            f"nothing at {key!r} in the memory of process {os.getpid()} ({len(self._files)} files); "
            "other processes' memory stores are their own"
        )


def _parent(key: str) -> str:
    return posixpath.dirname(key) or "."


def _prefix(folder: str) -> str:
    return "" if folder == "." else "/" if folder == "/" else folder + "/"


def _own(value: Any) -> Any:
    if is_array(value):
        array = as_host_array(value)
        check_array(array, max_bytes=_UNBOUNDED)
        kept = np.array(array, copy=True, order="K", subok=False)
        kept.flags.writeable = False
        return kept
    if isinstance(value, _IMMUTABLE):
        return value
    try:
        return copying.deepcopy(value)
    except (TypeError, AttributeError, RecursionError) as exc:
        raise UnsupportedFormatError(
            f"{type(value).__name__} cannot be copied ({exc}); pass copy=False to keep the object itself"
        ) from exc
