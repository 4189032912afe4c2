"""Names in ``/dev/shm``: who owns one, and the janitor that removes those whose owner died.

A name is ``polystore-<pid>-<start time>-<number>``: the pid alone could belong to a new process.
"""

from __future__ import annotations

import itertools
import logging
import os
import re
import stat
from functools import lru_cache

from polystore.errors import NoSharedMemoryError

logger = logging.getLogger(__name__)

PREFIX = "polystore-"
"""Every name of ours begins with this."""

SHM_DIR = os.environ.get("POLYSTORE_SHM_DIR", "/dev/shm")
"""Where shared memory has names. Another folder only for tests, which need a small one."""

_NAME = re.compile(r"polystore-(\d{1,10})-(\d{1,20})-(\d{1,10})")
_numbers = itertools.count(1)


def available() -> bool:
    """Return whether this system has a folder of shared memory we can use (Linux)."""
    return os.path.isdir(SHM_DIR) and hasattr(os, "posix_fallocate") and os.path.exists("/proc/self/stat")


def free_bytes() -> int:
    """Return how much shared memory is free; 0 where there is none."""
    try:
        info = os.statvfs(SHM_DIR)
    except (OSError, AttributeError):
        return 0
    return info.f_bavail * info.f_frsize


def start_time(pid: int) -> int | None:
    """Return when process `pid` started, in clock ticks since boot; None when it does not live.

    Field 22 of ``/proc/<pid>/stat`` (proc(5)). A zombie still holds its pid but none of its memory.
    """
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


@lru_cache(maxsize=1)
def _own_start(pid: int) -> int:
    return start_time(pid) or 0


def new_name() -> str:
    """Return a name nobody has, owned by this process."""
    pid = os.getpid()
    return f"{PREFIX}{pid}-{_own_start(pid)}-{next(_numbers)}"


def create(name: str, size: int) -> int:
    """Create the file `name` of `size` bytes, every page reserved; return its descriptor.

    ``posix_fallocate``, never ``ftruncate``: on a full file system that would end in SIGBUS at the first
    write instead of an error here.

    Raises
    ------
    NoSharedMemoryError
        There is not that much; nothing is left behind.
    """
    path = os.path.join(SHM_DIR, name)
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise NoSharedMemoryError(f"cannot create {path}: {error}") from error
    try:
        if size:
            os.posix_fallocate(fd, 0, size)
    except OSError as error:
        os.close(fd)
        unlink(name)
        raise NoSharedMemoryError(
            f"cannot reserve {size} bytes in {SHM_DIR} ({free_bytes()} free): {error}; free some ('polystore shm gc'), "
            "or give the container more (docker run --shm-size=1g)"
        ) from error
    return fd


def open_existing(name: str, size: int, *, writable: bool = False) -> int:
    """Open a name another process of this user offers; return its descriptor.

    Raises
    ------
    NoSharedMemoryError
        The name is not of our form, is gone, is no plain file of ours, or has another size.
    """
    if not _NAME.fullmatch(name):
        raise NoSharedMemoryError(f"{name[:80]!r} is not a shared-memory name of this package")
    path = os.path.join(SHM_DIR, name)
    try:
        fd = os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        raise NoSharedMemoryError(f"cannot open {path}: {error}") from error
    info = os.fstat(fd)
    if not stat.S_ISREG(info.st_mode) or info.st_uid != os.geteuid() or info.st_size != size:
        os.close(fd)
        raise NoSharedMemoryError(
            f"{path} is not what was offered: {info.st_size} bytes of user {info.st_uid}, not {size} of yours"
        )
    return fd


def unlink(name: str) -> bool:
    """Remove `name`; return whether it was there."""
    try:
        os.unlink(os.path.join(SHM_DIR, name))
    except FileNotFoundError:
        return False
    return True


def names() -> list[tuple[str, int, bool]]:
    """Return every name of ours with its size in bytes and whether its owner lives."""
    found = []
    try:
        entries = sorted(os.listdir(SHM_DIR))
    except OSError:
        return []
    for name in entries:
        match = _NAME.fullmatch(name)
        if not match:
            continue
        try:
            size = os.stat(os.path.join(SHM_DIR, name)).st_size
        except OSError:
            continue  # removed meanwhile
        found.append((name, size, start_time(int(match[1])) == int(match[2])))
    return found


def janitor() -> list[str]:
    """Remove the names whose owner no longer lives; return them. Living owners' are left alone.

    Owners in another pid namespace (a container that shares ``/dev/shm``) look dead from here; such
    containers share nothing by default.
    """
    removed = []
    for name, _, alive in names():
        if not alive:
            try:
                if unlink(name):
                    removed.append(name)
            except PermissionError:
                continue  # another user's
    if removed:
        logger.info("removed %d shared-memory names of dead processes", len(removed))
    return removed
