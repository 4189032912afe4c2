"""Files that are either the old or the new, never half."""

from __future__ import annotations

import itertools
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

__all__ = ["atomic_write", "is_temporary"]

_PREFIX, _SUFFIX = ".polystore-", ".tmp"
_numbers = itertools.count()
_NO_HARD_LINKS = (PermissionError, NotImplementedError)


def is_temporary(name: str) -> bool:
    """Whether a file name is that of a file being written; listings leave it out."""
    return name.startswith(_PREFIX) and name.endswith(_SUFFIX)


@contextmanager
def atomic_write(path: str, *, overwrite: bool = True, durable: bool = False) -> Iterator[BinaryIO]:
    """A file to write to that takes its place at ``path`` when the block ends without an error.

    The bytes go to a new file in the same folder, which replaces the old one in one step: a reader sees all
    of the old or all of the new, also when the writer is killed. On an error nothing is left and the old
    file stays. The new file is as readable as any new file, or as the one it replaces. A link is followed:
    what it points to is replaced.

    Parameters
    ----------
    path
        Where the file shall stand; its folder exists.
    overwrite
        False: if something stands there when the block ends, it stays.
    durable
        Wait until file and name are on the medium.

    Raises
    ------
    FileExistsError
        Something stands there and ``overwrite`` is false.
    OSError
        Whatever the file system says.
    """
    path = os.path.realpath(path)
    folder = os.path.dirname(path)
    # Pid and counter keep writers of one machine apart, the random part those of different machines on one
    # share.
    name = f"{_PREFIX}{os.getpid()}-{next(_numbers)}-{secrets.token_hex(4)}{_SUFFIX}"
    temporary = os.path.join(folder, name)
    try:
        with open(temporary, "xb") as stream:
            with suppress(OSError):  # nothing stands there yet, or its mode is not ours to give
                os.chmod(temporary, stat.S_IMODE(os.stat(path).st_mode))
            try:
                yield stream
                stream.flush()
            except OSError as exc:
                if exc.errno is None:
                    _ask_again(stream, exc)
                raise
            if durable:
                os.fsync(stream.fileno())
        if overwrite:
            os.replace(temporary, path)
        else:
            _place_new(temporary, path)
        if durable and os.name == "posix":
            _sync_folder(folder)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def _ask_again(stream: BinaryIO, exc: OSError) -> None:
    """Find out why bytes could not be written: ``ndarray.tofile`` only says how many could."""
    try:
        os.write(stream.fileno(), bytes(4096))
    except OSError as reason:
        raise reason from exc


def _place_new(temporary: str, path: str) -> None:
    try:
        os.link(temporary, path)  # fails when something is there, in one step
    except _NO_HARD_LINKS:
        if os.path.lexists(path):
            raise FileExistsError(path) from None
        os.replace(temporary, path)
    else:
        os.unlink(temporary)


def _sync_folder(folder: str) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
