"""Stand-in for what `polystore.registry` gets: a registry as a mapping, and subclasses that register themselves.

To be replaced by `polystore.registry.LazyDiscoveryDict`, `SecondaryRegistryDict` and `register_subclass`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from polystore.registry import Registry

__all__ = ["LazyDiscoveryDict", "SecondaryRegistryDict", "register_subclass"]

T = TypeVar("T")


class LazyDiscoveryDict(Mapping[str, T]):
    """A registry as a mapping: its keys import nothing, an item imports one plugin."""

    def __init__(
        self, registry: Registry[T], *, enable_cache: bool = True, check_mtimes: bool = False
    ) -> None:
        self.registry = registry

    def __getitem__(self, name: str) -> T:
        return self.registry.get(name)

    def __contains__(self, name: object) -> bool:
        return name in self.registry

    def __iter__(self) -> Iterator[str]:
        return iter(self.registry.names())

    def __len__(self) -> int:
        return len(self.registry.names())


class SecondaryRegistryDict(Mapping[str, Any]):
    """One attribute of every plugin of another registry; the keys are that registry's."""

    def __init__(self, primary: Mapping[str, Any], attribute: str) -> None:
        self.primary = primary
        self.attribute = attribute

    def __getitem__(self, name: str) -> Any:
        return getattr(self.primary[name], self.attribute)

    def __contains__(self, name: object) -> bool:
        return name in self.primary

    def __iter__(self) -> Iterator[str]:
        return iter(self.primary)

    def __len__(self) -> int:
        return len(self.primary)


def register_subclass(cls: type[Any], registry: Registry[Any], key: str = "_microscope_type") -> None:
    """Register a class that was just defined, under the name it states itself.

    Nothing happens for a class that states none of its own, that is abstract, or that the registry knows by its
    path already (a built-in being imported).
    """
    name = cls.__dict__.get(key)
    if not isinstance(name, str) or not name or _is_abstract(cls):
        return
    if name in registry and registry.plugin(name).target in (f"{cls.__module__}:{cls.__qualname__}", cls):
        return
    registry.register(name, cls)


def _is_abstract(cls: type[Any]) -> bool:
    # __abstractmethods__ of the class itself is set only after __init_subclass__ ran.
    inherited = {name for base in cls.__mro__[1:] for name in getattr(base, "__abstractmethods__", ())}
    own = {name for name, value in vars(cls).items() if getattr(value, "__isabstractmethod__", False)}
    return bool(own) or any(
        getattr(getattr(cls, name, None), "__isabstractmethod__", False) for name in inherited
    )
