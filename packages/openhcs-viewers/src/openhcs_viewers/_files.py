"""Image files to a viewer, as ``openhcs-viewers stream`` does it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openhcs_viewers.errors import ViewerFilesError
from openhcs_viewers.handle import START_TIMEOUT
from polystore import FileManager
from polystore.backends.napari_stream import NapariStreamingBackend
from polystore.errors import StorageError
from polystore.microscopes import identify
from polystore.microscopes.filename_parser import IMAGE_SUFFIXES
from polystore.projection import DisplaySpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from openhcs_viewers.handle import ViewerHandle

SEND_TIMEOUT = 60.0
"""Seconds the viewer gets to take an image; it takes them within milliseconds unless it hangs."""


def find_images(paths: Sequence[str | os.PathLike[str]], *, thumbnails: bool = False) -> list[str]:
    """Return the image files among `paths` and in the folders among them, in natural order.

    Parameters
    ----------
    thumbnails : bool
        Also the small previews an instrument wrote into a folder. A file named as such is always taken.

    Raises
    ------
    ViewerFilesError
        A path does not exist, or there is no image.
    """
    disk = FileManager()
    found: list[str] = []
    for path in [os.fspath(one) for one in paths]:
        if Path(path).is_dir():
            files = disk.list_files(path, "disk", extensions=IMAGE_SUFFIXES, recursive=True)
            found += [file for file in files if thumbnails or not _is_thumbnail(file)]
        elif Path(path).exists():
            found.append(path)
        else:
            raise ViewerFilesError(f"there is no file or folder {path!r}")
    if not found:
        raise ViewerFilesError(
            f"no image in {', '.join(map(str, paths))} (images end in {', '.join(IMAGE_SUFFIXES)})"
        )
    return found


def _is_thumbnail(path: str) -> bool:
    parsed = identify(path)
    return parsed is not None and parsed.thumbnail


def stream_files(
    files: Sequence[str],
    handle: ViewerHandle,
    *,
    step_name: str = "",
    kind: str = "image",
    colormap: str = "gray",
    progress: bool = True,
) -> dict[str, Any]:
    """Load each file and send it; return what became of them, as `zmqruntime.StreamStats` counts it.

    Files that cannot be read are reported and left out.

    Raises
    ------
    zmqruntime.errors.SendTimeout
        The viewer took none for a minute.
    """
    filemanager = FileManager()
    backend = NapariStreamingBackend(
        handle.endpoint,
        config=DisplaySpec(colormap=colormap),
        policy="block",
        deadline=SEND_TIMEOUT,
        server_key=handle.server_key,
    )
    filemanager.mount("napari_stream", backend)
    handle.wait_ready(START_TIMEOUT)
    unreadable = 0
    with _bar(len(files), progress) as advance:
        for file in files:
            try:
                image = filemanager.load(file, "disk")
            except StorageError as error:
                unreadable += 1
                advance(f"left out: {error}")
                continue
            filemanager.save_batch(
                [image],
                [file],
                "napari_stream",
                step_name=step_name,
                kind=kind,
                policy="block",
                deadline=SEND_TIMEOUT,
            )
            advance("")
    sender = handle.sender()
    sender.flush(SEND_TIMEOUT)
    return {**asdict(sender.stats), "unreadable": unreadable}


@contextmanager
def _bar(total: int, visible: bool) -> Iterator[Callable[[str], None]]:
    """Show a progress bar; yields what to call after each file, with a remark or an empty text."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("streaming"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not visible) as bar:
        task = bar.add_task("streaming", total=total)

        def advance(remark: str) -> None:
            if remark:
                console.print(remark, markup=False, highlight=False)
            bar.advance(task)

        yield advance
