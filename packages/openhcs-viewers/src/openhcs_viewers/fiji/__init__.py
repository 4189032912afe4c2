"""ImageJ and Fiji as a live viewer. Only the modules of this package touch Java, and only when they are used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openhcs_viewers.fiji.viewer import FijiViewer

__all__ = ["FijiViewer"]


def __getattr__(name: str) -> Any:
    if name == "FijiViewer":
        from openhcs_viewers.fiji.viewer import FijiViewer

        return FijiViewer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
