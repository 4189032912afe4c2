"""Whether every file of a plate is whole: `check_plate` opens each once and reads its header, no pixel."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO

from polystore.abc import SupportsOpen
from polystore.backends import _dib
from polystore.errors import UnsupportedFormatError
from polystore.filemanager import FileManager
from polystore.microscopes._files import PlateFiles
from polystore.microscopes._tiff_header import read_header
from polystore.plate import PlateIndex, PlateNote

__all__ = ["check_plate"]

WORKERS = 8
"""Files looked at at once: on a network drive nearly all of the time is waiting."""

_READERS: dict[str, Callable[[BinaryIO, str], object]] = {
    ".tif": read_header,
    ".tiff": read_header,
    ".c01": _dib.read_header,
    ".dib": _dib.read_header,
}


def check_plate(
    index: PlateIndex,
    filemanager: FileManager | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[PlateNote, ...]:
    """A note for each file of a plate that is empty, cut off or no image; nothing when all are whole.

    Parameters
    ----------
    index
        The plate, from `open_plate`.
    filemanager
        As it was opened with.
    progress
        Called with the number of files looked at and of all.

    Raises
    ------
    UnsupportedFormatError
        The plate lies in a store that keeps no files, such as OME-Zarr.
    """
    filemanager = filemanager or FileManager()
    if not isinstance(filemanager.backend(index.backend), SupportsOpen):
        raise UnsupportedFormatError(
            f"{index.root} cannot be checked file by file: backend {index.backend!r} keeps images in another way"
        )
    files = PlateFiles(index.root, filemanager, index.backend)
    paths = list(dict.fromkeys(plane.path for plane in index))

    def look(path: str) -> None:
        reader = next((known for suffix, known in _READERS.items() if path.lower().endswith(suffix)), None)
        if reader is not None:
            files.read(path, reader)

    with ThreadPoolExecutor(WORKERS) as pool:
        for done, _ in enumerate(pool.map(look, paths), start=1):
            if progress is not None:
                progress(done, len(paths))
    return tuple(sorted(files.notes, key=lambda note: note.paths))
