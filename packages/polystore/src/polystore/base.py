"""The seeds' door: the contracts and the registered backends in one place."""

from __future__ import annotations

from polystore.abc import DataSink, DataSource, StorageBackend, StreamingBackend, VirtualBackend
from polystore.backends import STORAGE_BACKENDS, storage_registry

__all__ = [
    "STORAGE_BACKENDS", "DataSink", "DataSource", "StorageBackend", "StreamingBackend", "VirtualBackend",
    "storage_registry",
]  # fmt: skip
