"""One-shot shared memory for an image larger than the arena.

The publisher fills it with ``write(2)`` (no zeroing, no page fault per page: 1.8 times faster than copying into
a fresh mapping, measured) and closes it; the receiver maps it, unlinks it at once and may keep the mapping
as the image itself.
"""

from __future__ import annotations

import mmap
import os
from typing import Any

import numpy as np

from polystore.errors import NoSharedMemoryError
from polystore.payload import shm


def publish(array: np.ndarray[Any, Any]) -> str:
    """Write `array` (C order) into a new segment; return its name, which the receiver removes.

    Raises
    ------
    NoSharedMemoryError
        There is not enough shared memory; nothing is left behind.
    """
    if array.nbytes > shm.free_bytes() // 2:
        raise NoSharedMemoryError(
            f"{array.nbytes} bytes are more than half of the free shared memory ({shm.free_bytes()})"
        )
    # Through uint8: a memoryview cannot cast big-endian or complex samples to bytes.
    data = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
    name = shm.new_name()
    fd = shm.create(name, array.nbytes)
    try:
        done = 0
        while done < len(data):
            done += os.write(fd, data[done : done + (1 << 30)])
    except OSError as error:
        shm.unlink(name)
        raise NoSharedMemoryError(f"cannot fill {array.nbytes} bytes of shared memory: {error}") from error
    finally:
        os.close(fd)
    return name


def receive(name: str, nbytes: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Map the segment `name`, remove the name, return its image (read-only, keeps the memory alive).

    Raises
    ------
    NoSharedMemoryError
        It is gone, or not what was offered.
    """
    fd = shm.open_existing(name, nbytes)
    try:
        mapped = mmap.mmap(fd, nbytes, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)
    except (OSError, ValueError) as error:
        raise NoSharedMemoryError(f"cannot map {name}: {error}") from error
    finally:
        os.close(fd)
        shm.unlink(name)
    return np.ndarray(shape, dtype, buffer=mapped)
