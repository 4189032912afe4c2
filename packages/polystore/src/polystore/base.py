"""The seeds' door: the contracts and the registered backends in one place, each imported when it is used."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from polystore.abc import DataSink, DataSource, StorageBackend, StreamingBackend, VirtualBackend
    from polystore.backends import STORAGE_BACKENDS, storage_registry

__all__ = [
    "STORAGE_BACKENDS", "DataSink", "DataSource", "StorageBackend", "StreamingBackend", "VirtualBackend",
    "storage_registry",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'polystore.base' has no attribute {name!r}")
    if name in ("STORAGE_BACKENDS", "storage_registry"):
        import polystore.backends as home
    else:
        import polystore.abc as home  # type: ignore[no-redef]
    return getattr(home, name)
