"""Arrays in, arrays out: one FileManager over many backends, and streaming to viewers.

Everything here is imported when it is first used; ``import polystore`` by itself imports next to nothing.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # importing it from typing would cost ten times as much as the rest of this module
if TYPE_CHECKING:
    from typing import Any

    from polystore.abc import DataSink, DataSource, StorageBackend, StreamingBackend, VirtualBackend
    from polystore.backends import available_backends, get_backend, register_backend
    from polystore.components import Component, ImageKey
    from polystore.config import VFSConfig
    from polystore.constants import Backend
    from polystore.errors import BackendNotFoundError, MissingExtraError, PolystoreError
    from polystore.filemanager import FileManager
    from polystore.microscopes import open_plate, parse_filename, parse_path
    from polystore.projection import DimensionMode, DisplaySpec, project_layers
    from polystore.rois import ROI
    from polystore.streaming import ImageReceiver, ImageSender

    __version__: str

_HOMES = {
    "Backend": "constants",
    "BackendNotFoundError": "errors",
    "Component": "components",
    "DataSink": "abc",
    "DataSource": "abc",
    "DimensionMode": "projection",
    "DisplaySpec": "projection",
    "FileManager": "filemanager",
    "ImageKey": "components",
    "ImageReceiver": "streaming",
    "ImageSender": "streaming",
    "MissingExtraError": "errors",
    "PolystoreError": "errors",
    "ROI": "rois",
    "StorageBackend": "abc",
    "StreamingBackend": "abc",
    "VFSConfig": "config",
    "VirtualBackend": "abc",
    "available_backends": "backends",
    "get_backend": "backends",
    "open_plate": "microscopes",
    "parse_filename": "microscopes",
    "parse_path": "microscopes",
    "project_layers": "projection",
    "register_backend": "backends",
}

__all__ = [
    "ROI",
    "Backend",
    "BackendNotFoundError",
    "Component",
    "DataSink",
    "DataSource",
    "DimensionMode",
    "DisplaySpec",
    "FileManager",
    "ImageKey",
    "ImageReceiver",
    "ImageSender",
    "MissingExtraError",
    "PolystoreError",
    "StorageBackend",
    "StreamingBackend",
    "VFSConfig",
    "VirtualBackend",
    "__version__",
    "available_backends",
    "get_backend",
    "open_plate",
    "parse_filename",
    "parse_path",
    "project_layers",
    "register_backend",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("polystore")
    elif name in _HOMES:
        home = f"polystore.{_HOMES[name]}"
        __import__(home)  # importlib would have to be imported itself
        value = getattr(sys.modules[home], name)
    else:
        raise AttributeError(f"module 'polystore' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
