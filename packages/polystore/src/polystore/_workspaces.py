"""Where virtual workspaces are: found by the file that makes a folder one."""

from __future__ import annotations

import os

from polystore._paths import StrPath, check_path

__all__ = ["FILE_NAME", "find_workspace"]

FILE_NAME = "polystore_workspace.json"
"""Name of the mapping in the workspace's folder."""


def find_workspace(path: StrPath, *, stop: str | None = None) -> str | None:
    """The nearest folder, from the path itself upwards, that is a workspace; None when none is.

    Parameters
    ----------
    path
        A folder, or a path in one; it need not exist.
    stop
        The last folder to look at.
    """
    folder = os.path.abspath(check_path(path))
    while True:
        if os.path.isfile(os.path.join(folder, FILE_NAME)):
            return folder
        above = os.path.dirname(folder)
        if folder in (stop, above):
            return None
        folder = above
