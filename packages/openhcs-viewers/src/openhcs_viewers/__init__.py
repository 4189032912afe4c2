"""Image viewers as processes: `launch` one, stream to it, or `show` an array in one line.

The names below are loaded on first use; ``import openhcs_viewers`` itself imports no Qt, no viewer and no NumPy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openhcs_viewers.abc import Viewer
    from openhcs_viewers.config import (
        FijiDimensionMode,
        FijiDisplayConfig,
        FijiLUT,
        FijiStreamingConfig,
        GlobalPipelineConfig,
        LazyFijiStreamingConfig,
        LazyNapariStreamingConfig,
        NapariColormap,
        NapariDimensionMode,
        NapariDisplayConfig,
        NapariStreamingConfig,
        NapariVariableSizeHandling,
        PipelineConfig,
        StreamingConfig,
    )
    from openhcs_viewers.errors import ViewerError
    from openhcs_viewers.fiji_stream_visualizer import FijiStreamVisualizer
    from openhcs_viewers.fiji_viewer_server import FijiViewerServer
    from openhcs_viewers.handle import ViewerHandle
    from openhcs_viewers.launcher import find_viewer, launch, list_viewers
    from openhcs_viewers.napari_stream_visualizer import NapariStreamVisualizer
    from openhcs_viewers.server import ViewerServer
    from openhcs_viewers.show import show

    __version__: str

_HOMES = {
    "FijiDimensionMode": "config",
    "FijiDisplayConfig": "config",
    "FijiLUT": "config",
    "FijiStreamVisualizer": "fiji_stream_visualizer",
    "FijiStreamingConfig": "config",
    "FijiViewerServer": "fiji_viewer_server",
    "GlobalPipelineConfig": "config",
    "LazyFijiStreamingConfig": "config",
    "LazyNapariStreamingConfig": "config",
    "NapariColormap": "config",
    "NapariDimensionMode": "config",
    "NapariDisplayConfig": "config",
    "NapariStreamVisualizer": "napari_stream_visualizer",
    "NapariStreamingConfig": "config",
    "NapariVariableSizeHandling": "config",
    "PipelineConfig": "config",
    "StreamingConfig": "config",
    "Viewer": "abc",
    "ViewerError": "errors",
    "ViewerHandle": "handle",
    "ViewerServer": "server",
    "find_viewer": "launcher",
    "launch": "launcher",
    "list_viewers": "launcher",
    "show": "show",
}

__all__ = [
    "FijiDimensionMode",
    "FijiDisplayConfig",
    "FijiLUT",
    "FijiStreamVisualizer",
    "FijiStreamingConfig",
    "FijiViewerServer",
    "GlobalPipelineConfig",
    "LazyFijiStreamingConfig",
    "LazyNapariStreamingConfig",
    "NapariColormap",
    "NapariDimensionMode",
    "NapariDisplayConfig",
    "NapariStreamVisualizer",
    "NapariStreamingConfig",
    "NapariVariableSizeHandling",
    "PipelineConfig",
    "StreamingConfig",
    "Viewer",
    "ViewerError",
    "ViewerHandle",
    "ViewerServer",
    "__version__",
    "find_viewer",
    "launch",
    "list_viewers",
    "show",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("openhcs-viewers")
    elif name in _HOMES:
        from importlib import import_module

        value = getattr(import_module(f"openhcs_viewers.{_HOMES[name]}"), name)
    else:
        raise AttributeError(f"module 'openhcs_viewers' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
