"""An unnamed file for planes that do not fit into memory: one growing file, its free stretches used again."""

from __future__ import annotations

import os
import tempfile
import threading
from bisect import bisect_left
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

__all__ = ["Region", "SpillFile"]

_POSITIONED = hasattr(os, "pwritev") and hasattr(os, "preadv")


class Region(NamedTuple):
    """A stretch of the file."""

    offset: int
    nbytes: int


class SpillFile:
    """Raw bytes on disk, without a name. Thread-safe.

    Parameters
    ----------
    directory
        Where; the system's folder for temporary files when not given. Nothing is made before the first
        write.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._file: IO[bytes] | None = None
        self._end = 0
        self._free: list[Region] = []  # sorted by offset, never adjacent
        self._closed = False

    @property
    def directory(self) -> Path:
        """The folder the file is in."""
        return self._directory or Path(tempfile.gettempdir())

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._end

    def write(self, array: np.ndarray[Any, Any]) -> Region:
        """Store a C-ordered array's bytes.

        Raises
        ------
        OSError
            The disk is full or the folder cannot be written to. Nothing is kept then.
        """
        with self._lock:
            file = self._open()
            region = self._allocate(array.nbytes)
        data = array.reshape(-1).view(np.uint8).data
        try:
            self._transfer(file, data, region.offset, write=True)
        except OSError:
            self.free(region)
            raise
        return region

    def read(self, region: Region, into: np.ndarray[Any, Any]) -> None:
        """Fill a C-ordered array of the region's size."""
        file = self._file
        if file is None:
            raise ValueError("the file is closed")
        self._transfer(file, into.reshape(-1).view(np.uint8).data, region.offset, write=False)

    def free(self, region: Region) -> None:
        """Give a stretch back, to be written to again."""
        with self._lock:
            at = bisect_left(self._free, region)
            start, end = region.offset, region.offset + region.nbytes
            if at < len(self._free) and self._free[at].offset == end:
                end += self._free.pop(at).nbytes
            if at and self._free[at - 1].offset + self._free[at - 1].nbytes == start:
                start = self._free.pop(at - 1).offset
                at -= 1
            self._free.insert(at, Region(start, end - start))

    def close(self) -> None:
        """Give everything back to the disk. Idempotent."""
        with self._lock:
            self._closed = True
            if self._file is not None:
                self._file.close()
                self._file = None

    def _open(self) -> IO[bytes]:
        if self._closed:
            raise OSError("the store is closed")
        if self._file is None:
            # Has no name from the start where the system can do that (O_TMPFILE), and loses it at once
            # elsewhere: whatever ends this process, the disk gets its space back.
            self._file = tempfile.TemporaryFile(buffering=0, dir=self._directory)  # noqa: SIM115 - see close
        return self._file

    def _allocate(self, nbytes: int) -> Region:
        for at, region in enumerate(self._free):
            if region.nbytes >= nbytes:
                if region.nbytes == nbytes:
                    del self._free[at]
                else:
                    self._free[at] = Region(region.offset + nbytes, region.nbytes - nbytes)
                return Region(region.offset, nbytes)
        region = Region(self._end, nbytes)
        self._end += nbytes
        return region

    def _transfer(self, file: IO[bytes], data: memoryview, offset: int, *, write: bool) -> None:
        done = 0
        while done < len(data):
            part = data[done:]
            if _POSITIONED:  # no common file position: a read need not wait for a write
                move = os.pwritev if write else os.preadv
                moved = move(file.fileno(), [part], offset + done)
            else:
                with self._lock:
                    file.seek(offset + done)
                    moved = (file.write(part) if write else file.readinto(part)) or 0  # type: ignore[attr-defined]
            if moved == 0:
                raise OSError(f"only {done} of {len(data)} bytes could be {'written' if write else 'read'}")
            done += moved
