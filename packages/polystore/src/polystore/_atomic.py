"""Files that are either the old or the new, never half."""

from __future__ import annotations

import errno
import itertools
import os
import secrets
import shutil
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO
from zlib import crc32

from polystore._filelock import file_lock, host_name, try_lock

__all__ = ["atomic_write", "is_temporary", "sweep", "sweep_once"]

_PREFIX, _SUFFIX, _LOCK_SUFFIX = ".polystore-", ".tmp", ".lock"
_numbers = itertools.count()
_NO_HARD_LINKS = frozenset({errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK})
_CREATING = 30.0

_FOREIGN_AGE = 86_400.0
"""Seconds after which an unfinished file of another machine is taken for one of a dead writer: file systems
that are mounted with locks of this machine only cannot tell."""

_MOST_SWEPT = 10_000
_swept: set[str] = set()


def is_temporary(name: str) -> bool:
    """Whether a file name is that of a file being written, or of a lock; listings leave it out."""
    return name.startswith(_PREFIX) and name.endswith((_SUFFIX, _LOCK_SUFFIX))


@contextmanager
def atomic_write(
    path: str, *, overwrite: bool = True, durable: bool = False, folder: str | None = None
) -> Iterator[BinaryIO]:
    """A file to write to that takes its place at ``path`` when the block ends without an error.

    The bytes go to a new file, which replaces the old one in one step: a reader sees all of the old or all of
    the new, also when the writer is killed. On an error nothing is left and the old file stays; what a killed
    writer leaves is removed when a process first writes to that folder. The new file is as readable as any
    new file, or as the one it replaces. A link is followed: what it points to is replaced.

    Parameters
    ----------
    path
        Where the file shall stand; its folder exists.
    overwrite
        False: if something stands there when the block ends, it stays.
    durable
        Wait until file and name are on the medium.
    folder
        Where the unfinished file stands, by default beside its place. A store with a root names that: one
        look there then finds what all its dead writers left.

    Raises
    ------
    FileExistsError
        Something stands there and ``overwrite`` is false.
    OSError
        Whatever the file system says.
    """
    if os.path.islink(path):
        path = os.path.realpath(path)
    folder = os.path.dirname(path) if folder is None else folder
    sweep_once(folder)
    stream, temporary, keeper = _begin(folder)
    try:
        with stream:
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
        # Closed before it gets its name: a network file system may say only then that there was no room.
        _place(temporary, path, overwrite, durable)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    finally:
        if keeper is not None:
            os.close(keeper)


def _begin(folder: str) -> tuple[BinaryIO, str, int | None]:
    """A new file, its name, and a second descriptor that keeps it locked until it has its place.

    The lock tells it from one whose writer has died, on every machine and in every container.
    """
    while True:
        # Pid and counter keep writers of one machine apart, the random part those of different machines on
        # one share.
        tag = f"{_this_host()}-{os.getpid()}-{next(_numbers)}-{secrets.token_hex(4)}"
        temporary = os.path.join(folder, f"{_PREFIX}{tag}{_SUFFIX}")
        stream = open(temporary, "xb")  # noqa: SIM115  # the caller closes it
        if sys.platform == "win32":
            return stream, temporary, None
        keeper = os.dup(stream.fileno())
        try:
            locked = try_lock(keeper)
        except OSError:
            return stream, temporary, keeper  # no locks there: then nobody can take it for dead either
        if locked and os.fstat(keeper).st_nlink:
            return stream, temporary, keeper
        stream.close()  # somebody who cleans up came between the two calls
        os.close(keeper)
        with suppress(FileNotFoundError):
            os.unlink(temporary)


def sweep_once(folder: str) -> None:
    """`sweep` a folder if this process has not done so yet."""
    if folder in _swept:
        return
    if len(_swept) >= _MOST_SWEPT:
        _swept.clear()
    _swept.add(folder)
    sweep(folder)


def sweep(folder: str) -> None:
    """Remove what dead writers left directly in a folder; what living ones have there stays."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if is_temporary(entry.name)]
    except OSError:
        return  # no such folder, or not ours to list: whoever uses it is told by that
    for name in names:
        with suppress(OSError):  # just finished, or another user's
            _remove_if_dead(os.path.join(folder, name))


def _remove_if_dead(path: str) -> None:
    if os.path.islink(path):
        if _is_old(path):
            os.unlink(path)
        return
    fd = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
    try:
        ours = sys.platform != "win32" and _is_of_this_host(path, fd)
        dead = (ours or _is_old(path)) and try_lock(fd)
        if dead and sys.platform != "win32":
            os.unlink(path)  # with the lock in hand: a writer who waits for it sees that the name is gone
    finally:
        os.close(fd)
    if dead and sys.platform == "win32":
        os.unlink(path)  # not while it is open


def _is_of_this_host(path: str, fd: int) -> bool:
    name = os.path.basename(path)
    if name.endswith(_LOCK_SUFFIX):
        return os.read(fd, 500).endswith(f" on {host_name()}".encode())
    return name.startswith(f"{_PREFIX}{_this_host()}-")


def _is_old(path: str) -> bool:
    return time.time() - os.lstat(path).st_mtime > _FOREIGN_AGE


def _this_host() -> str:
    return f"{crc32(host_name().encode()):08x}"


def _ask_again(stream: BinaryIO, exc: OSError) -> None:
    """Find out why bytes could not be written: ``ndarray.tofile`` only says how many could."""
    try:
        os.write(stream.fileno(), bytes(4096))
    except OSError as reason:
        raise reason from exc


def _place(temporary: str, path: str, overwrite: bool, durable: bool) -> None:
    try:
        if overwrite:
            os.replace(temporary, path)
        else:
            _place_new(temporary, path)
    except OSError as exc:
        if exc.errno != errno.EXDEV:
            raise
        # Something is mounted between the unfinished file and its place.
        with (
            open(temporary, "rb") as source,
            atomic_write(path, overwrite=overwrite, durable=durable) as target,
        ):
            shutil.copyfileobj(source, target, 1 << 20)
        os.unlink(temporary)
        return
    if durable and os.name == "posix":
        _sync_folder(os.path.dirname(path))


def _place_new(temporary: str, path: str) -> None:
    try:
        os.link(temporary, path)  # fails when something is there, in one step
    except (OSError, NotImplementedError) as exc:
        if not isinstance(exc, (PermissionError, NotImplementedError)) and exc.errno not in _NO_HARD_LINKS:
            raise
        with file_lock(f"{path}.new", timeout=_CREATING):  # of two that make it one comes first
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
