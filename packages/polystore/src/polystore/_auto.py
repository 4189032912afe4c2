"""Which backend a path belongs to, when the caller does not say: `backend_for`."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from polystore._paths import StrPath, check_path
from polystore._workspaces import find_workspace
from polystore.constants import Backend
from polystore.errors import StorageError

if TYPE_CHECKING:
    from polystore.filemanager import FileManager

__all__ = ["AUTO", "backend_for"]

AUTO = "auto"
"""In the place of a backend's name: whichever the path belongs to."""

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+)://", re.ASCII | re.IGNORECASE)
_CLOUD = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "azure", "adl", "http", "https"})
_OMERO = re.compile(r"/omero(/|$)", re.ASCII)
_ZARR = re.compile(r"\.zarr(?=[/\\]|$)", re.IGNORECASE)


def backend_for(path: StrPath, filemanager: FileManager | None = None) -> str:
    """The name of the backend a path belongs to: what `FileManager.backend_for` says, which see.

    Parameters
    ----------
    path
        A file or folder; it need not exist.
    filemanager
        For the handlers of microscopes, which are asked about folders; None: they are not.
    """
    text = check_path(path)
    if _ZARR.search(text):
        return Backend.ZARR.value
    scheme = _SCHEME.match(text)
    if scheme is not None:
        name = scheme[1].lower()
        return "cloud" if name in _CLOUD else name
    if _OMERO.match(text):
        return Backend.OMERO_LOCAL.value
    if find_workspace(text) is not None:
        return Backend.VIRTUAL_WORKSPACE.value
    return _by_handler(text, filemanager) if filemanager is not None and os.path.isdir(text) else _DISK


_DISK = Backend.DISK.value


def _by_handler(folder: str, filemanager: FileManager) -> str:
    from polystore.microscopes._open import find_handler

    try:
        handler = find_handler(folder, filemanager, _DISK)
    except StorageError:  # a folder that cannot be listed: disk says why when it is used
        return _DISK
    return _DISK if handler is None else str(handler.get_primary_backend(folder, filemanager))
