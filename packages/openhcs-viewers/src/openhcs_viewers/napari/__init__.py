"""napari as a live viewer. Only the modules of this package import napari or Qt, and only when they are used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openhcs_viewers.napari.viewer import NapariViewer

__all__ = ["NapariViewer"]


def __getattr__(name: str) -> Any:
    if name == "NapariViewer":
        from openhcs_viewers.napari.viewer import NapariViewer

        return NapariViewer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
