"""Saving hyperstacks as TIFF files, as ImageJ does: whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from openhcs_viewers.errors import ViewerError
from openhcs_viewers.fiji._java import java
from openhcs_viewers.fiji._window import HyperstackWindow

__all__ = ["save"]

SUFFIXES = (".tif", ".tiff")

OTHER_FILES = (
    ".png",
    ".jpg",
    ".jpeg",
    ".gif",
    ".bmp",
    ".avi",
    ".mp4",
    ".zip",
    ".npy",
    ".csv",
    ".txt",
    ".pdf",
    ".h5",
)
"""Endings that no folder has: somebody means a file, of a kind that is not written."""


def save(windows: Sequence[HyperstackWindow], params: Mapping[str, Any]) -> list[str]:
    """Write hyperstacks to a folder, one file each, or one of them to a file; returns the paths.

    Parameters
    ----------
    windows
        All there are.
    params
        ``path``: a folder, or a file that ends in ``.tif``; absolute. ``layer``: the name of one, needed for a file
        when there are several.

    Raises
    ------
    ViewerError
        There is none of that name, or it cannot be written.
    """
    path, layer = params.get("path"), params.get("layer")
    if (
        not isinstance(path, str)
        or not Path(path).is_absolute()
        or not (layer is None or isinstance(layer, str))
    ):
        raise ViewerError(f"save takes path (absolute) and layer (a name or null), not {dict(params)!r}")
    chosen = [one for one in windows if layer is None or one.plan.name == layer]
    names = ", ".join(one.plan.name for one in windows) or "none"
    if not chosen:
        raise ViewerError(f"there is no hyperstack {layer!r} to save (there are: {names})")
    target = Path(path)
    if target.suffix.lower() in OTHER_FILES:
        raise ViewerError(f"{target.name} is no TIFF file: give one that ends in .tif, or a folder")
    if target.suffix.lower() in SUFFIXES:
        if len(chosen) > 1:
            raise ViewerError(
                f"{target.name} is one file: name the layer to save, or give a folder ({names})"
            )
        files = [target]
    else:
        files = [target / f"{one.plan.name.replace('/', '_')}.tif" for one in chosen]
    for one, file in zip(chosen, files, strict=True):
        _write(one, file)
    return [str(file) for file in files]


def _write(window: HyperstackWindow, file: Path) -> None:
    image = window.image
    part = file.with_name(f".{file.name}.{os.getpid()}.tif")  # ImageJ adds the ending to any other name
    title, changes = image.getTitle(), image.changes
    saver = java("ij.io.FileSaver")(image)
    # Into ImageJ's log: a dialog would hold this thread until somebody closes it.
    java("ij.IJ").redirectErrorMessages(True)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part.touch()  # ImageJ does not say why it cannot write
        several = int(image.getStackSize()) > 1
        done = saver.saveAsTiffStack(str(part)) if several else saver.saveAsTiff(str(part))
        if not done:
            raise ViewerError(f"ImageJ did not write {window.plan.name!r} to {file}: see the viewer's log")
        part.replace(file)
    except OSError as error:
        raise ViewerError(
            f"{window.plan.name!r} cannot be saved as {file}: {error.strerror or error}"
        ) from error
    finally:
        java("ij.IJ").redirectErrorMessages(False)
        with contextlib.suppress(OSError):  # not there: there is no such folder, or it has its name
            part.unlink()
        image.setTitle(title)
        image.changes = changes
