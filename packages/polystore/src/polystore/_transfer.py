"""Copying from one store into another."""

from __future__ import annotations

import errno
import os

from polystore._paths import StrPath, join
from polystore.abc import DataSource, StorageBackend, SupportsBytes, check_target
from polystore.errors import NotFoundError, StorageError, UnsupportedFormatError

__all__ = ["carry"]

MAX_DEPTH = 64
"""Deepest tree that is copied: what lies deeper is a link that leads back up."""


def carry(
    source: DataSource, path: StrPath, sink: StorageBackend, target: StrPath, *, overwrite: bool
) -> None:
    """Copy a file, or a folder with all that is in it, from one store into another.

    Each file is whole at its target or not there. Between stores of bytes (disk, cloud) with the same suffix
    the bytes are copied; else the value is loaded from the one and saved in the other.

    Raises
    ------
    NotFoundError
        No source.
    AlreadyExistsError
        Something is at the target and ``overwrite`` is false, or it is a folder; nothing was copied.
    StorageError
        One file could not be copied; those before it are there.
    """
    kind = source.kind(path)
    if kind is None:
        raise NotFoundError(f"nothing to copy or move at {path!s}")
    check_target(sink, target, kind, overwrite=overwrite)
    if kind == "file":
        _file(source, path, sink, target, overwrite)
    else:
        _folder(source, path, sink, target, overwrite, MAX_DEPTH)


def _folder(
    source: DataSource, path: StrPath, sink: StorageBackend, target: StrPath, overwrite: bool, depth: int
) -> None:
    if depth == 0:
        raise StorageError(f"{path!s} is {MAX_DEPTH} folders deep: links that lead up?", errno=errno.ELOOP)
    entries = list(source.scan(path))
    sink.mkdir(target)
    for entry in entries:
        first, second = join(path, entry.name), join(target, entry.name)
        if entry.is_folder:
            _folder(source, first, sink, second, overwrite, depth - 1)
        else:
            _file(source, first, sink, second, overwrite)


def _file(source: DataSource, path: StrPath, sink: StorageBackend, target: StrPath, overwrite: bool) -> None:
    same_format = _suffix(path) == _suffix(target)
    if same_format and isinstance(source, SupportsBytes) and isinstance(sink, SupportsBytes):
        try:
            stream = source.open_binary(path)
        except UnsupportedFormatError:  # it is no file of its own, such as a page in a workspace
            pass
        else:
            with stream:
                sink.write_bytes(stream.read(), target, overwrite=overwrite)
            return
    sink.save(source.load(path), target, overwrite=overwrite)


def _suffix(path: StrPath) -> str:
    return os.path.splitext(os.fspath(path))[1].lower()
