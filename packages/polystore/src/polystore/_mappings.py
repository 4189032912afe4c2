"""Registries as mappings: `LazyDiscoveryDict`, and `SecondaryRegistryDict` for what plugins carry."""

from __future__ import annotations

from _collections_abc import MutableMapping  # behind collections.abc; see `polystore.registry` for why

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Any, NoReturn

    from polystore.registry import Registry

__all__ = ["LazyDiscoveryDict", "SecondaryRegistryDict"]


class LazyDiscoveryDict(MutableMapping):  # type: ignore[type-arg]  # see `polystore.registry`: no typing here
    """A registry as a mapping of names to plugins. Listing imports none; a plugin is imported when asked for.

    Assignment registers (and replaces), deletion takes that back.

    Parameters
    ----------
    registry
        What to show; without one, that of the microscopes.
    enable_cache, check_mtimes
        How entry points are found, see `Registry.refresh`. False also makes this mapping look anew, once.
    hidden
        Names to leave out, asked at each use.
    """

    def __init__(
        self,
        registry: Registry[Any] | None = None,
        *,
        enable_cache: bool = True,
        check_mtimes: bool = True,
        hidden: Callable[[], frozenset[str]] = frozenset,
    ) -> None:
        self._registry = registry
        self._options = (enable_cache, check_mtimes)
        self._hidden = hidden

    @property
    def registry(self) -> Registry[Any]:
        """What this shows."""
        registry = self._registry
        if registry is None:
            from importlib import import_module  # late: that module makes such mappings itself

            handlers: LazyDiscoveryDict = import_module("polystore.microscopes").MICROSCOPE_HANDLERS
            registry = handlers.registry
        if self._options != (True, True):
            options, self._options = self._options, (True, True)
            registry.refresh(enable_cache=options[0], check_mtimes=options[1])
        self._registry = registry
        return registry

    @property
    def cache_path(self) -> Path | None:
        """The file its entry points are kept in, None when no cache is used."""
        from pathlib import Path

        from polystore._discovery import cache_disabled, cache_file

        path = "" if cache_disabled() or not self.registry._enable_cache else cache_file()
        return Path(path) if path else None

    def __getitem__(self, name: str) -> Any:
        if name not in self:
            raise self.registry._unknown(name)
        return self.registry.get(name)

    def __setitem__(self, name: str, plugin: Any) -> None:
        self.registry.register(name, plugin, replace=True)

    def __delitem__(self, name: str) -> None:
        self.registry.unregister(name)

    def __contains__(self, name: object) -> bool:
        return name in self.registry and name not in self._hidden()

    def get(self, name: str, default: Any = None) -> Any:
        """The plugin, or ``default`` when the name is unknown; one that is known and broken raises."""
        if name not in self:
            return default
        return self[name]

    def __iter__(self) -> Iterator[str]:
        names, hidden = self.registry.names(), self._hidden()
        return iter([name for name in names if name not in hidden] if hidden else names)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"<{self.registry.kind}s: {', '.join(self)}>"


class SecondaryRegistryDict(MutableMapping):  # type: ignore[type-arg]  # as above
    """What the plugins of another registry carry under one attribute, by the plugin's name.

    Any look at it lets the primary registry find its plugins first, so it is complete in a fresh process. A
    plugin that cannot be imported, or carries nothing (or None), is not in it. Assignment adds an entry
    that goes before the plugin's.

    Parameters
    ----------
    primary
        The registry (or a mapping of it).
    attribute
        Name of the attribute of its plugins: ``"metadata_handler_class"``.
    """

    def __init__(self, primary: Registry[Any] | LazyDiscoveryDict, attribute: str) -> None:
        self._primary = primary
        self._attribute = attribute
        self._own: dict[str, Any] = {}

    @property
    def registry(self) -> Registry[Any]:
        """The primary registry."""
        return self._primary.registry if isinstance(self._primary, LazyDiscoveryDict) else self._primary

    def _value(self, name: str) -> Any:
        if name in self._own:
            return self._own[name]
        return getattr(self.registry.get(name), self._attribute, None)

    def __getitem__(self, name: str) -> Any:
        value = self._value(name)
        if value is None:
            self._lacks(name)
        return value

    def _lacks(self, name: str) -> NoReturn:
        from polystore.errors import BackendNotFoundError

        raise BackendNotFoundError(f"{self.registry.kind} {name!r} has no {self._attribute}")

    def __setitem__(self, name: str, value: Any) -> None:
        self._own[name] = value

    def __delitem__(self, name: str) -> None:
        if name not in self._own:
            self._lacks(name)
        del self._own[name]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (
            name in self._own or (name in self.registry and self._known(name) is not None)
        )

    def get(self, name: str, default: Any = None) -> Any:
        """The value, or ``default`` where there is none; a plugin that is known and broken raises."""
        if name not in self._own and name not in self.registry:
            return default
        value = self._value(name)
        return default if value is None else value

    def _known(self, name: str) -> Any:
        """The value of a plugin, None also when it cannot be imported: that is logged."""
        from polystore.errors import PolystoreError

        try:
            return self._value(name)
        except PolystoreError:
            import logging

            logging.getLogger(__name__).exception("%s %r is left out", self.registry.kind, name)
            return None

    def __iter__(self) -> Iterator[str]:
        names = sorted({*self.registry.names(), *self._own})
        return iter([name for name in names if self._known(name) is not None])

    def __len__(self) -> int:
        return sum(1 for _ in self)
