"""The stores and sinks by name.

* `STORAGE_BACKENDS`: name to class. Listing imports nothing.
* `storage_registry`: name to the one instance of this process, made when it is first asked for; a live
  object (one that holds a connection, say) is put in by assignment.
"""

from __future__ import annotations

import os

from polystore.registry import Registry

TYPE_CHECKING = False  # see `polystore.registry`: this module is on the way of the first listing
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from polystore._mappings import LazyDiscoveryDict
    from polystore.backends._instances import BackendInstances

    STORAGE_BACKENDS: LazyDiscoveryDict
    """Backend classes by name; a class is imported when it is asked for. Where ``OPENHCS_SUBPROCESS_NO_GPU``
    is set, the backends that feed a viewer are left out."""

    storage_registry: BackendInstances
    """The backends of this process, shared by every `polystore.FileManager` that has none of its own."""

__all__ = [
    "BACKENDS",
    "STORAGE_BACKENDS",
    "BackendInstances",
    "available_backends",
    "get_backend",
    "register_backend",
    "storage_registry",
]

BACKENDS: Registry[Callable[[], Any]] = Registry(
    "backend",
    group="polystore.backends",
    builtins={
        "memory": "polystore.backends.memory:MemoryBackend",
        "disk": "polystore.backends.disk:DiskBackend",
        "zarr": "polystore.backends.zarr:ZarrBackend",
        "cloud": "polystore.backends.cloud:CloudBackend",
        "fiji_stream": "polystore.backends.fiji_stream:FijiStreamingBackend",
        "napari_stream": "polystore.backends.napari_stream:NapariStreamingBackend",
        "virtual_workspace": "polystore.backends.virtual_workspace:VirtualWorkspaceBackend",
    },
    aliases={"workspace": "virtual_workspace", "omero": "omero_local"},
    extras={"cloud": "cloud", "fiji_stream": "streaming", "napari_stream": "streaming", "zarr": "zarr"},
)
"""Classes of backends (or functions that make one) by name; others add theirs by entry point."""

_FEED_VIEWERS = frozenset({"fiji_stream", "napari_stream"})


def _hidden() -> frozenset[str]:
    quiet = os.environ.get("OPENHCS_SUBPROCESS_NO_GPU", "").lower()
    return frozenset() if quiet in ("", "0", "false", "no") else _FEED_VIEWERS


def __getattr__(name: str) -> Any:
    # Made when first used: what they are made of takes longer to import than all names take to list.
    value: Any
    if name == "STORAGE_BACKENDS":
        from polystore._mappings import LazyDiscoveryDict

        value = LazyDiscoveryDict(BACKENDS, hidden=_hidden)
    elif name in ("BackendInstances", "storage_registry"):
        from polystore.backends._instances import BackendInstances

        value = BackendInstances if name == "BackendInstances" else BackendInstances(BACKENDS)
    else:
        raise AttributeError(f"module 'polystore.backends' has no attribute {name!r}")
    return globals().setdefault(name, value)  # of two threads here at once both get the same


def available_backends() -> tuple[str, ...]:
    """The names of all backends that are installed or put in, sorted; none is imported."""
    instances = globals().get("storage_registry")
    return BACKENDS.names() if instances is None else tuple(instances)


def get_backend(name: str) -> Any:
    """The backend of that name, ready to use: this process's one instance.

    Raises
    ------
    BackendNotFoundError, BackendClashError, BackendLoadError, MissingExtraError
        There is none, or it cannot be used; the text says why and what to do.
    """
    from polystore.backends import storage_registry

    return storage_registry[name]


def register_backend(name: str, backend: Callable[[], Any] | str, *, replace: bool = False) -> None:
    """Add a backend class (or a function that makes one, or ``"module:Class"``) to this process.

    Other distributions do it by entry point ``polystore.backends``. For a live object assign to
    `storage_registry`, or mount it on one `polystore.FileManager`.

    Raises
    ------
    BackendClashError
        The name is taken and ``replace`` is not given.
    """
    BACKENDS.register(name, backend, replace=replace)
