"""Where virtual workspaces are: found by the file that makes a folder one."""

from __future__ import annotations

import os

from polystore._oserrors import translated
from polystore._paths import StrPath, check_path
from polystore.errors import NotAFolderError, NotFoundError, StorageError

__all__ = ["FILE_NAME", "OPENHCS_NAME", "find_workspace", "stamp_of"]

FILE_NAME = "polystore_workspace.json"
"""Name of the mapping in the workspace's folder."""

OPENHCS_NAME = "openhcs_metadata.json"
"""Name of the file in which OpenHCS keeps a mapping of its own, among other things."""

_MARK = b'"workspace_mapping"'
_MOST_KNOWN = 1024

Stamp = tuple[int, int, int]

_known: dict[str, tuple[Stamp, bool]] = {}


def find_workspace(path: StrPath, *, stop: str | None = None) -> str | None:
    """The nearest folder, from the path itself upwards, that is a workspace; None when none is.

    Parameters
    ----------
    path
        A folder, or a path in one; it need not exist.
    stop
        The last folder to look at.

    Raises
    ------
    StorageError
        The path itself cannot be looked at. Folders above it that cannot are none.
    """
    first = folder = os.path.abspath(check_path(path))
    while True:
        try:
            if os.path.isfile(os.path.join(folder, FILE_NAME)) or _has_openhcs_mapping(folder):
                return folder
        except StorageError:
            if folder == first:
                raise
        above = os.path.dirname(folder)
        if folder in (stop, above):
            return None
        folder = above


def stamp_of(path: str) -> Stamp | None:
    """What tells this version of a file from any other; None when there is none, `StorageError` when nobody may
    say."""
    try:
        with translated("look at", path):
            status = os.stat(path)
    except (NotFoundError, NotAFolderError):
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _has_openhcs_mapping(folder: str) -> bool:
    path = os.path.join(folder, OPENHCS_NAME)
    stamp = stamp_of(path)
    if stamp is None:
        return False
    known = _known.get(path)
    if known is None or known[0] != stamp:
        with translated("read", path), open(path, "rb") as stream:
            known = (stamp, _MARK in stream.read())
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        _known[path] = known
    return known[1]
