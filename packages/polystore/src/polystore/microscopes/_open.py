"""A plate's folder to its index: which microscope wrote it, where its planes lie, what is missing."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Sequence
from dataclasses import replace

from polystore._paths import StrPath, check_path
from polystore._workspaces import find_workspace
from polystore.abc import DataSource, SupportsPlate
from polystore.constants import Backend
from polystore.errors import (
    BackendClashError,
    BackendLoadError,
    BackendNotFoundError,
    NotAFolderError,
    NotFoundError,
    StorageError,
    UnsupportedFormatError,
)
from polystore.filemanager import FileManager
from polystore.microscopes import HANDLERS, logger
from polystore.microscopes._files import Folder, PlateFiles
from polystore.microscopes._listing import complete_grid
from polystore.microscopes.microscope_base import MicroscopeHandler, plate_path
from polystore.plate import PlateIndex

__all__ = ["detect", "find_handler", "handlers", "open_plate", "where"]


def open_plate(
    path: StrPath | int,
    filemanager: FileManager | None = None,
    backend: str | None = None,
    microscope: str | MicroscopeHandler | type[MicroscopeHandler] | None = None,
) -> PlateIndex:
    """The index of a plate: its planes, what its files say, and what is missing. No pixel is read.

    Every folder is listed once. Files are opened only for what they say about the plate: its index files, or the
    headers of a few images.

    Parameters
    ----------
    path
        The plate's folder (or a file in it, such as its ``.HTD``); a number is a plate in OMERO.
    filemanager
        Finds the backend; by default a new one.
    backend
        Where the plate lies; by default what its handler says, else where that path is found.
    microscope
        Which handler reads it, by name or itself; by default the one that recognises the folder.

    Raises
    ------
    NotFoundError
        Nothing is there.
    UnsupportedFormatError
        No handler recognises the folder (the text lists what was looked for), or it holds several plates.
    BackendNotFoundError, BackendLoadError
        No such handler or backend.
    """
    filemanager = filemanager or FileManager()
    root = check_path(plate_path(path))
    handler = _handler(microscope) if microscope is not None else None
    chosen = backend or _backend(root, filemanager, handler)
    store = filemanager.backend(chosen)
    if handler is None and chosen == Backend.OMERO_LOCAL:
        handler = _handler("omero")  # its names alone would be those of OpenHCS
    by_itself = handler is None or chosen == Backend.OMERO_LOCAL
    if by_itself and chosen in _KEEP_PLATES and isinstance(store, SupportsPlate):
        return _with_missing(store.plate(root))
    if isinstance(store, DataSource) and store.is_file(root):
        root = posixpath.dirname(root.replace(os.sep, "/")) or "."
    files = PlateFiles(root, filemanager, chosen)
    if handler is None:
        handler = detect(root, files.glance())
        own = handler.get_primary_backend(root, filemanager)
        if backend is None and own != chosen and _is_there(root, own, filemanager):
            files = PlateFiles(root, filemanager, own)
    planes = sorted(handler.find_planes(files), key=lambda plane: plane.key.sort_key())
    if not planes:
        raise UnsupportedFormatError(
            f"no image of {handler.microscope_type} in {root}: looked for {handler.looks_for}"
        )
    info = handler.read_info(files, planes)
    there = {plane.key for plane in planes}
    expected = handler.expected_keys(files, planes)
    if expected is None:
        expected = complete_grid(there)
    missing = sorted(set(expected) - there, key=lambda key: key.sort_key())
    return PlateIndex(
        root, files.backend, handler.microscope_type, tuple(planes), info, tuple(missing), tuple(files.notes)
    )


def _with_missing(index: PlateIndex) -> PlateIndex:
    """What a store of plates does not say: which planes would be there if each field had what any field has."""
    keys = (plane.key for plane in index.planes)
    there = {key if key.plate is None else key.replace(plate=None) for key in keys}
    missing = sorted(set(complete_grid(there)) - there, key=lambda key: key.sort_key())
    return replace(index, missing=tuple(missing)) if missing and not index.missing else index


def find_handler(
    path: StrPath, filemanager: FileManager | None = None, backend: str | None = None
) -> MicroscopeHandler | None:
    """The handler that recognises a folder, from a glance at its first names; None when none does.

    Raises
    ------
    NotFoundError
        Nothing is there.
    """
    filemanager = filemanager or FileManager()
    root = check_path(path)
    if root.startswith(_OMERO):
        return _handler("omero")
    try:
        return detect(root, PlateFiles(root, filemanager, backend or where(root, filemanager)).glance())
    except (NotAFolderError, UnsupportedFormatError):
        return None


def where(path: str, filemanager: FileManager) -> str:
    """The backend a path is found in.

    Raises
    ------
    NotFoundError
        It is nowhere; the text says where it was looked for.
    """
    if path.startswith(_OMERO):
        return Backend.OMERO_LOCAL.value
    if any(part.lower().endswith(".zarr") for part in path.replace("\\", "/").split("/")):
        return Backend.ZARR.value
    if "://" in path:
        return "cloud"
    if find_workspace(path) is not None:
        return Backend.VIRTUAL_WORKSPACE.value
    for name in _LOOKED_IN:
        if filemanager.exists(path, name):
            return name
    raise NotFoundError(
        f"no plate at {path}: nothing is there on {' or in '.join(_LOOKED_IN)}; "
        "give the plate's folder, or its backend if it lies elsewhere"
    )


_OMERO = "/omero/"
_KEEP_PLATES = (Backend.ZARR.value, Backend.VIRTUAL_WORKSPACE.value, Backend.OMERO_LOCAL.value)
_LOOKED_IN = (Backend.DISK.value, Backend.MEMORY.value)


def _backend(root: str, filemanager: FileManager, handler: MicroscopeHandler | None) -> str:
    """Where its handler says the plate is, if it is there; else where it is found."""
    if handler is not None:
        own = handler.get_primary_backend(root, filemanager)
        if own == Backend.OMERO_LOCAL or _is_there(root, own, filemanager):
            return own
    return where(root, filemanager)


def _is_there(root: str, backend: str, filemanager: FileManager) -> bool:
    try:
        return filemanager.exists(root, backend)
    except (BackendLoadError, BackendNotFoundError, StorageError):
        return False  # not installed, or it has no such paths: then the plate is not read from there


def detect(root: str, folders: Sequence[Folder]) -> MicroscopeHandler:
    """The handler that recognises these folders: by a file only it writes, else by its names.

    Raises
    ------
    UnsupportedFormatError
        None does; the text lists what was looked for.
    """
    known = handlers()
    best: MicroscopeHandler | None = None
    sure = 0
    for handler in known:
        found = handler.recognise(folders)
        if found > sure:
            best, sure = handler, found
    if best is None:
        names = [name for folder in folders for name in folder.files]
        seen = f"{len(names)} files such as {', '.join(names[:3])}" if names else "no file"
        wanted = "".join(f"\n  {handler.microscope_type}: {handler.looks_for}" for handler in known)
        raise UnsupportedFormatError(
            f"{root} is no plate of a known microscope: in its first {len(folders)} folders there are {seen}. "
            f"Looked for{wanted}\nName the microscope if it is one of these."
        )
    return best


def handlers() -> tuple[MicroscopeHandler, ...]:
    """One of every handler that can be had, built-in ones first; a broken one is logged and left out."""
    names = sorted(HANDLERS.names(), key=lambda name: (HANDLERS.plugin(name).origin != "built in", name))
    made = []
    for name in names:
        try:
            made.append(HANDLERS.get(name)())
        except (BackendLoadError, BackendClashError, TypeError, StorageError):
            logger.exception("microscope %r is left out", name)
    return tuple(made)


def _handler(microscope: str | MicroscopeHandler | type[MicroscopeHandler]) -> MicroscopeHandler:
    if isinstance(microscope, MicroscopeHandler):
        return microscope
    return (HANDLERS.get(microscope) if isinstance(microscope, str) else microscope)()
