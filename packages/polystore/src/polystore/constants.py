"""Names that stand for something in calls and configurations.

`AllComponents`, `VariableComponents` and `GroupBy` are made from the configuration when they are first used.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from enum import Enum

    from polystore._component_enums import component_names

    class AllComponents(Enum):
        """Every component there is; the configuration may add others to these."""

        SITE = "site"
        CHANNEL = "channel"
        Z_INDEX = "z_index"
        TIMEPOINT = "timepoint"
        WELL = "well"

    class VariableComponents(Enum):
        """Components an experiment varies: all but the well, which a run is distributed over."""

        SITE = "site"
        CHANNEL = "channel"
        Z_INDEX = "z_index"
        TIMEPOINT = "timepoint"

    class GroupBy(Enum):
        """Components images can be grouped by, and NONE, whose value is None."""

        NONE = None
        SITE = "site"
        CHANNEL = "channel"
        Z_INDEX = "z_index"
        TIMEPOINT = "timepoint"

        @property
        def component(self) -> str | None:
            """The name of the component, None for NONE."""


__all__ = ["AllComponents", "Backend", "GroupBy", "VariableComponents", "component_names"]


class Backend(StrEnum):
    """The backends of this package by name. A member is its name: ``Backend.DISK == "disk"``.

    Which of them can be used here depends on what is installed: see `polystore.available_backends`.
    """

    MEMORY = "memory"
    DISK = "disk"
    ZARR = "zarr"
    CLOUD = "cloud"
    VIRTUAL_WORKSPACE = "virtual_workspace"
    OMERO_LOCAL = "omero_local"
    NAPARI_STREAM = "napari_stream"
    FIJI_STREAM = "fiji_stream"


def __getattr__(name: str) -> Any:
    value: Any
    if name in ("AllComponents", "GroupBy", "VariableComponents"):
        from polystore._component_enums import make

        value = make(name)
    elif name == "component_names":
        from polystore._component_enums import component_names as value
    else:
        raise AttributeError(f"module 'polystore.constants' has no attribute {name!r}")
    return globals().setdefault(name, value)  # of two threads here at once both get the same
