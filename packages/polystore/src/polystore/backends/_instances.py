"""Backends ready to use, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

from polystore._locks import ForkSafeLock
from polystore.errors import BackendLoadError, BackendNotFoundError, PolystoreError
from polystore.registry import Registry

__all__ = ["BackendInstances"]


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
