"""Which backend a path belongs to, when the caller does not say: `backend_for`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from polystore._paths import StrPath, check_path
from polystore._workspaces import find_workspace
from polystore.constants import Backend

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
    """The name of the backend a path belongs to. Looks at the path first and opens no image.

    The first of these that fits decides:

    1. a component that ends in ``.zarr``: ``zarr``, also in a bucket;
    2. a scheme: ``s3://``, ``gs://``, ``az://`` and the like: ``cloud``; ``memory://``: ``memory``;
       ``file://`` is none of ours;
    3. ``/omero/...``: ``omero_local``;
    4. a folder in or below a virtual workspace: ``virtual_workspace``;
    5. a folder that a microscope's handler recognises: what its ``get_primary_backend`` says;
    6. else ``disk``.
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
    return Backend.DISK.value
