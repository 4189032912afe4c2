"""ImageJ windows that show a scene."""

from __future__ import annotations

from typing import ClassVar

from openhcs_viewers.abc import Viewer

__all__ = ["FijiViewer"]


class FijiViewer(Viewer):
    """Shows a scene in ImageJ."""

    kind: ClassVar[str] = "fiji"
