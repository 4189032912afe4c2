"""Names that stand for something in calls and configurations."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Backend"]


class Backend(StrEnum):
    """The backends of this package by name. A member is its name: ``Backend.DISK == "disk"``.

    Which of them can be used here depends on what is installed: see `polystore.available_backends`.
    """

    MEMORY = "memory"
    DISK = "disk"
    ZARR = "zarr"
    VIRTUAL_WORKSPACE = "virtual_workspace"
    OMERO_LOCAL = "omero_local"
    NAPARI_STREAM = "napari_stream"
    FIJI_STREAM = "fiji_stream"
