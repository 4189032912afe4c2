"""The stores and sinks by name.

* `STORAGE_BACKENDS`: name to class. Listing imports nothing.
* `storage_registry`: name to the one instance of this process, made when it is first asked for; a live
  object (one that holds a connection, say) is put in by assignment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any

from polystore._locks import ForkSafeLock
from polystore.errors import BackendLoadError, BackendNotFoundError, PolystoreError
from polystore.registry import Registry

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
        "napari_stream": "polystore.backends.napari_stream:NapariStreamingBackend",
        "virtual_workspace": "polystore.backends.virtual_workspace:VirtualWorkspaceBackend",
    },
    aliases={"workspace": "virtual_workspace", "omero": "omero_local"},
    extras={"napari_stream": "streaming"},
)
"""Classes of backends (or functions that make one) by name; others add theirs by entry point."""


class _Classes(Mapping[str, Callable[[], Any]]):
    """The registry as a read-only mapping."""

    def __getitem__(self, name: str) -> Callable[[], Any]:
        return BACKENDS.get(name)

    def __contains__(self, name: object) -> bool:
        return name in BACKENDS

    def __iter__(self) -> Iterator[str]:
        return iter(BACKENDS.names())

    def __len__(self) -> int:
        return len(BACKENDS.names())


STORAGE_BACKENDS: Mapping[str, Callable[[], Any]] = _Classes()
"""Backend classes by name; a class is imported when it is asked for."""


class BackendInstances(MutableMapping[str, Any]):
    """Backends ready to use, by name: one instance each, made from the registry on first use. Thread-safe.

    ``instances["omero_local"] = backend`` puts in a live object, which then goes before the registry;
    ``del instances[name]`` forgets an instance.
    """

    def __init__(self, classes: Registry[Callable[[], Any]]) -> None:
        self._classes = classes
        self._lock = ForkSafeLock()
        self._instances: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        name = self._classes.canonical(name)
        if name in self._instances:
            return self._instances[name]
        factory = self._classes.get(name)
        with self._lock:
            if name not in self._instances:
                self._instances[name] = _make(name, factory)
            return self._instances[name]

    def __setitem__(self, name: str, backend: Any) -> None:
        with self._lock:
            self._instances[self._classes.canonical(name)] = backend

    def __delitem__(self, name: str) -> None:
        with self._lock:
            if self._instances.pop(self._classes.canonical(name), None) is None:
                raise BackendNotFoundError(f"no backend {name!r} has been made or put in")

    def __contains__(self, name: object) -> bool:
        return (
            isinstance(name, str) and self._classes.canonical(name) in self._instances
        ) or name in self._classes

    def get(self, name: str, default: Any = None) -> Any:
        """The backend, or ``default`` when the name is unknown; one that is known and broken raises."""
        if name not in self:
            return default
        return self[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self._classes.names(), *self._instances}))

    def __len__(self) -> int:
        return len({*self._classes.names(), *self._instances})


def _make(name: str, factory: Callable[[], Any]) -> Any:
    try:
        return factory()
    except PolystoreError:
        raise
    except Exception as exc:  # the plugin boundary: a constructor may do anything
        raise BackendLoadError(
            f"backend {name!r} cannot be made ({type(exc).__name__}: {exc}); if it needs arguments, make it yourself "
            f"and put it in: storage_registry[{name!r}] = backend"
        ) from exc


storage_registry = BackendInstances(BACKENDS)
"""The backends of this process, shared by every `polystore.FileManager` that has none of its own."""


def available_backends() -> tuple[str, ...]:
    """The names of all backends that are installed or put in, sorted; none is imported."""
    return tuple(storage_registry)


def get_backend(name: str) -> Any:
    """The backend of that name, ready to use: this process's one instance.

    Raises
    ------
    BackendNotFoundError, BackendClashError, BackendLoadError, MissingExtraError
        There is none, or it cannot be used; the text says why and what to do.
    """
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
