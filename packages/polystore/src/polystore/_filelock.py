"""Locks between processes on one file system, by a file beside what they guard.

The kernel holds the lock for an open file and lets go when its process ends, however it ends; so nothing has
to be cleaned up after a crash and nobody waits for the dead.
"""

from __future__ import annotations

import os
import random
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from polystore.errors import BusyError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["file_lock", "host_name", "lock_path", "try_lock", "unlock"]

_LONGEST_PAUSE = 0.05
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)  # a link planted there must not make us write elsewhere
_LONG_NAME = 200
_TRIES = 10

_held: set[int] = set()
_guard = threading.Lock()

if sys.platform == "win32":
    _FAR = 1 << 30  # a locked byte cannot be read by others, and the name of the holder shall be

    def try_lock(fd: int) -> bool:
        """Whether the file behind a descriptor is locked for it now; `OSError` where there are no locks."""
        os.lseek(fd, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

    def unlock(fd: int) -> None:
        """Give back what `try_lock` took."""
        os.lseek(fd, _FAR, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)

else:

    def try_lock(fd: int) -> bool:
        """Whether the file behind a descriptor is locked for it now; `OSError` where there are no locks."""
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def unlock(fd: int) -> None:
        """Give back what `try_lock` took, for every process that inherited the descriptor."""
        fcntl.flock(fd, fcntl.LOCK_UN)


def host_name() -> str:
    """The name of this machine (of this container, where there is one)."""
    return os.uname().nodename if sys.platform != "win32" else os.environ.get("COMPUTERNAME", "windows")


def lock_path(path: str) -> str:
    """The lock file of a file: beside it, so that all who reach the file find the same, from whatever root."""
    folder, name = os.path.split(os.path.realpath(path) if os.path.islink(path) else path)
    if len(os.fsencode(name)) > _LONG_NAME:
        from hashlib import blake2b

        name = blake2b(os.fsencode(name), digest_size=16).hexdigest()
    return os.path.join(folder, f".polystore-{name}.lock")


@contextmanager
def file_lock(path: str, *, timeout: float) -> Iterator[None]:
    """Hold the lock of a file while the block runs: one thread of one process at a time.

    The folder exists. Not re-entrant. A forked child does not hold it, also when it is forked in the block.

    Parameters
    ----------
    path
        The file that is guarded; it need not exist.
    timeout
        Seconds to wait while somebody else holds it.

    Raises
    ------
    BusyError
        It was not free in time; the text names the process that holds it.
    OSError
        The lock file cannot be made there, or the file system has no locks.
    """
    name = lock_path(path)
    fd = _acquire(name, path, time.monotonic() + timeout, timeout)
    owner = os.getpid()
    try:
        yield
    finally:
        if os.getpid() == owner:
            _release(name, fd)


def _acquire(name: str, path: str, deadline: float, timeout: float) -> int:
    pause = 0.0005
    while True:
        fd = _open(name)
        try:
            # The one before us removes the file when it is done: what we have locked must still be the one
            # that stands there, or somebody else may hold its successor.
            if try_lock(fd) and _stands_at(fd, name):
                _sign(fd)
                return fd
        except BaseException:
            _close(fd)
            raise
        holder = _holder(fd)
        _close(fd)
        if time.monotonic() > deadline:
            raise BusyError(
                f"{path} is held by {holder} for more than {timeout:g} s; wait for it, or end it, and try again"
            )
        time.sleep(random.uniform(pause / 2, pause))  # noqa: S311  # the kernel tells nobody when a lock is free
        pause = min(2 * pause, _LONGEST_PAUSE)


def _release(name: str, fd: int) -> None:
    if sys.platform == "win32":  # an open file cannot be removed there: it stays, hidden from listings
        unlock(fd)
        _close(fd)
        return
    try:
        with suppress(OSError):  # a folder that is gone, or where only its owner may remove a file
            os.unlink(name)
        unlock(fd)
    finally:
        _close(fd)


def _open(name: str) -> int:
    tries = 0
    while True:
        with _guard:
            try:
                fd = os.open(name, os.O_RDWR | os.O_CREAT | _NO_FOLLOW, 0o666)
            except PermissionError as refused:
                try:
                    fd = os.open(name, os.O_RDONLY | _NO_FOLLOW)  # another user's: enough to wait for it
                except FileNotFoundError:
                    tries += 1
                    if tries < _TRIES:  # theirs may just have been removed
                        continue
                    raise refused from None  # there is none, and we may not make one
            _held.add(fd)
        return fd


def _close(fd: int) -> None:
    with _guard:
        _held.discard(fd)
        os.close(fd)


def _stands_at(fd: int, name: str) -> bool:
    try:
        there = os.stat(name, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(fd), there)


def _sign(fd: int) -> None:
    with suppress(OSError):  # it is there for the error message of others; a full disk must not matter
        os.ftruncate(fd, 0)
        os.lseek(fd, 0, os.SEEK_SET)
        os.write(fd, f"process {os.getpid()} on {host_name()}".encode())


def _holder(fd: int) -> str:
    os.lseek(fd, 0, os.SEEK_SET)
    return os.read(fd, 500).decode(errors="replace") or "another process"


def _after_fork_in_child() -> None:
    # A child shares the parent's open files, and with them the locks: it would keep them after the parent's
    # death. Closing gives nothing back as long as the parent has its own descriptor open.
    global _guard
    _guard = threading.Lock()
    for fd in _held:
        with suppress(OSError):
            os.close(fd)
    _held.clear()


def _before_fork() -> None:
    _guard.acquire()


def _after_fork_in_parent() -> None:
    _guard.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_child=_after_fork_in_child, after_in_parent=_after_fork_in_parent
    )
