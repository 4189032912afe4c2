"""Making a virtual workspace: `create_workspace`."""

from __future__ import annotations

import os
from collections.abc import Callable

from polystore._paths import StrPath, check_path
from polystore._workspaces import FILE_NAME
from polystore.backends._workspace_file import FileRef, Mapped, Source, check_relative, decode, encode
from polystore.backends.disk import DiskBackend
from polystore.components import ImageKey
from polystore.errors import StorageError
from polystore.plate import PlateIndex
from polystore.virtual_names import numbered, virtual_name

__all__ = ["create_workspace"]


def create_workspace(
    plate: PlateIndex,
    target: StrPath,
    *,
    overwrite: bool = False,
    names: Callable[[ImageKey], str] = virtual_name,
) -> str:
    """Make a folder a workspace that shows a plate's images under tidy names, and return its path.

    No image is opened or copied. The plate's folder is noted relative to the workspace when one holds the other
    or both stand in one folder, so that they can be moved together; else by its full path.

    Parameters
    ----------
    plate
        As `polystore.microscopes.open_plate` finds it.
    target
        The workspace's folder; it is made, and what else is in it stays.
    overwrite
        Whether a mapping that is there already is replaced.
    names
        The name of an image, perhaps with folders, by its key with numbers only.

    Raises
    ------
    AlreadyExistsError
        It is a workspace already and ``overwrite`` is false.
    ComponentError
        A plane that cannot be named, or two with one name.
    """
    workspace = os.path.abspath(check_path(target))
    keys, info = numbered(plate)
    source = Source(_source_path(plate, workspace), plate.backend)
    files: dict[str, FileRef] = {}
    for plane in plate.planes:
        name = check_relative(names(keys[plane.key]))
        if name in files:
            raise StorageError(
                f"{files[name].path} and {plane.path} would both be {name}: choose other names"
            )
        files[name] = FileRef("plate", check_relative(plane.path), plane.page)
    mapped = Mapped({"plate": source}, files, plate.microscope, info)
    data = encode(mapped)
    decode(data, target if isinstance(target, str) else os.fspath(target))
    DiskBackend(workspace).write_bytes(data, FILE_NAME, overwrite=overwrite)
    return workspace


def _source_path(plate: PlateIndex, workspace: str) -> str:
    if plate.backend != "disk":
        return plate.root
    root = os.path.abspath(plate.root)
    beside = os.path.dirname(workspace)
    together = any(
        inner == outer or inner.startswith(outer.rstrip(os.sep) + os.sep)
        for inner, outer in ((root, beside), (workspace, root))
    )
    if together and beside != os.path.dirname(beside):
        return os.path.relpath(root, workspace).replace(os.sep, "/")
    return root
