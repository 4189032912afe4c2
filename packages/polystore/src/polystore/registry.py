"""Names to plugins: listing imports nothing, `Registry.get` imports one.

Built-ins stand in a static table of ``"module:attribute"`` strings; other distributions add theirs by entry
point (`polystore._discovery` keeps those in a cache); a program adds its own with `Registry.register`, or by
defining a subclass that names itself (`register_subclass`). All are looked up the same way.

Nothing here takes a lock: every step leaves the tables usable, so threads need not wait for each other, a
plugin may use the registry it is loaded from, and a fork in the middle of a step leaves nothing locked.

This module is on the way of the first listing in a process, which shall cost a tenth of the start of Python.
It therefore imports nothing that Python has not imported at its own start; ``typing`` alone would cost ten
times the listing. What only an error needs is imported when there is one.
"""

from __future__ import annotations

from polystore._discovery import find

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Generic, TypeVar

    from polystore._mappings import LazyDiscoveryDict, SecondaryRegistryDict
    from polystore._subclasses import register_subclass
    from polystore.errors import BackendNotFoundError

    T = TypeVar("T")

    class _Of(Generic[T]): ...
else:
    T = None

    class _Of:
        """`typing.Generic` without `typing`: lets `Registry[T]` be written."""

        __slots__ = ()
        __class_getitem__ = classmethod(type(list[int]))


__all__ = ["LazyDiscoveryDict", "Plugin", "Registry", "SecondaryRegistryDict", "register_subclass"]

BUILT_IN = "built in"
REGISTERED = "registered by this program"


class Plugin:
    """One name of a registry: where it comes from and what it stands for, not imported yet. Never changed.

    Parameters
    ----------
    name
        The name it is asked for by.
    target
        ``"module:attribute"``, or the object itself when a program registered it.
    origin
        ``"built in"``, ``"registered by this program"``, the module that defines it, or the distribution
        that declares it.
    requires
        What to install when it lacks something: ``"polystore[zarr]"``. Empty when nobody said.
    """

    __slots__ = ("name", "origin", "requires", "target")

    def __init__(self, name: str, target: Any, origin: str, requires: str = "") -> None:
        self.name = name
        self.target = target
        self.origin = origin
        self.requires = requires

    def __repr__(self) -> str:
        return f"Plugin({self.name!r}, {self.target!r}, {self.origin!r})"


class Registry(_Of[T]):
    """Plugins of one kind, by name. Thread-safe; usable after fork.

    Parameters
    ----------
    kind
        What a plugin is, for messages: ``"backend"``.
    group
        Entry-point group other distributions declare theirs in: ``"polystore.backends"``.
    builtins
        Our own, name to ``"module:attribute"``. A third party cannot take one of these names over by
        accident: its entry point is ignored and reported by `clashes`.
    aliases
        Other names under which `get` finds them; not listed.
    extras
        For built-ins with optional dependencies, the extra that brings them.
    enable_cache, check_mtimes
        How entry points are found, see `refresh`.
    """

    def __init__(
        self,
        kind: str,
        *,
        group: str,
        builtins: Mapping[str, str] | None = None,
        aliases: Mapping[str, str] | None = None,
        extras: Mapping[str, str] | None = None,
        enable_cache: bool = True,
        check_mtimes: bool = True,
    ) -> None:
        self.kind = kind
        self.group = group
        self.version = 0
        """Counts changes: whoever caches something made of this registry compares it."""
        extras = extras or {}
        self._builtins = {
            name: Plugin(name, target, BUILT_IN, f"polystore[{extras[name]}]" if name in extras else "")
            for name, target in (builtins or {}).items()
        }
        self._aliases = dict(aliases or {})
        self._enable_cache = enable_cache
        self._check_mtimes = check_mtimes
        self._registered: dict[str, Plugin] = {}
        self._loaded: dict[Plugin, T] = {}
        self._loading: set[str] = set()
        self._installed: tuple[dict[str, Plugin], dict[str, str]] | None = None
        self._names: tuple[int, tuple[str, ...]] | None = None

    def __repr__(self) -> str:
        return f"<Registry of {self.kind}s, entry points {self.group!r}>"

    def names(self) -> tuple[str, ...]:
        """Every known name, sorted. Imports no plugin; the first call in a process looks for entry points."""
        kept = self._names
        if kept is None or kept[0] != self.version:
            version = self.version  # read first: a change from here on makes the answer stale
            found = sorted({*self._registered, *self._builtins, *self._discover()[0]})
            kept = self._names = (version, tuple(found))
        return kept[1]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._find(self.canonical(name)) is not None

    def get(self, name: str) -> T:
        """The plugin of that name (or alias), imported on first use.

        Raises
        ------
        BackendNotFoundError
            Unknown name; the text lists the known ones.
        BackendClashError
            Two distributions declare the name; the text names both.
        MissingExtraError
            It needs an optional dependency that is not installed; the text is the command.
        BackendLoadError
            It cannot be imported; the other plugins are not affected.
        """
        plugin = self.plugin(name)
        if plugin in self._loaded:
            return self._loaded[plugin]
        installed, clashes = self._discover()
        if plugin.name in clashes and installed.get(plugin.name) is plugin:
            from polystore.errors import BackendClashError

            raise BackendClashError(clashes[plugin.name])
        self._loading.add(plugin.name)
        try:
            value: T = _load(self.kind, plugin)
        finally:
            self._loading.discard(plugin.name)
        return self._loaded.setdefault(plugin, value)

    def canonical(self, name: str) -> str:
        """The name an alias stands for; any other name as plain text, also when it is given as an enum's member."""
        return self._aliases.get(name) or str(name)

    def plugin(self, name: str) -> Plugin:
        """What is known of a name without importing it; raises `BackendNotFoundError`."""
        plugin = self._find(self.canonical(name))
        if plugin is None:
            raise self._unknown(name)
        return plugin

    def clashes(self) -> dict[str, str]:
        """Names that more than one plugin claims, with a text that names both."""
        return dict(self._discover()[1])

    def register(self, name: str, target: T | str, *, replace: bool = False) -> None:
        """Add a plugin: the object itself, or ``"module:attribute"`` to import it when it is asked for.

        Raises
        ------
        BackendClashError
            The name stands for something else already and ``replace`` is not given.
        """
        self._put(Plugin(name, target, REGISTERED), replace=replace)

    def unregister(self, name: str) -> None:
        """Take back what `register` added; a built-in or installed plugin of that name is there again.

        Raises
        ------
        BackendNotFoundError
            Nothing was registered under that name by this program.
        """
        plugin = self._registered.pop(name, None)
        if plugin is None:
            from polystore.errors import BackendNotFoundError

            raise BackendNotFoundError(f"no {self.kind} {name!r} was registered by this program")
        self._changed(plugin)

    def refresh(self, *, enable_cache: bool | None = None, check_mtimes: bool | None = None) -> None:
        """Look for entry points, and for plugins in their modules, anew when they are next asked for: sees what
        was installed meanwhile.

        Parameters
        ----------
        enable_cache
            False: read every distribution's metadata instead of the cache.
        check_mtimes
            False: believe the cache when the folders on the import path are unchanged, without a look at
            the entry points of each distribution; an edit of one in place is then missed.
        """
        self._enable_cache = self._enable_cache if enable_cache is None else enable_cache
        self._check_mtimes = self._check_mtimes if check_mtimes is None else check_mtimes
        self._installed = None
        self._loaded.clear()
        self._changed(None)

    def _put(self, plugin: Plugin, *, replace: bool) -> None:
        taken = self._find(plugin.name)
        if not replace and taken is None:
            taken = self._registered.setdefault(plugin.name, plugin)  # or another thread was first
        if taken is not None and taken is not plugin:
            if not replace and taken.target != plugin.target:
                from polystore.errors import BackendClashError

                raise BackendClashError(
                    f"{self.kind} {plugin.name!r} is already {taken.target!r} ({taken.origin}); choose another "
                    f"name, or replace it by {plugin.target!r} with register(..., replace=True)"
                )
            self._registered[plugin.name] = plugin
        elif taken is None:
            self._registered[plugin.name] = plugin
        self._changed(taken)

    def _changed(self, old: Plugin | None) -> None:
        if old is not None:
            self._loaded.pop(old, None)
        self.version += 1  # of two threads here at once one may be lost: both have changed the tables before

    def _find(self, name: str) -> Plugin | None:
        # Entry points are looked for last and only when needed: the rest needs no look at the disk.
        return self._registered.get(name) or self._builtins.get(name) or self._discover()[0].get(name)

    def _discover(self) -> tuple[dict[str, Plugin], dict[str, str]]:
        installed = self._installed
        if installed is None:
            installed = self._installed = self._scan()
        return installed

    def _scan(self) -> tuple[dict[str, Plugin], dict[str, str]]:
        entries = find(self.group, enable_cache=self._enable_cache, check_mtimes=self._check_mtimes)
        found: dict[str, Plugin] = {}
        clashes: dict[str, str] = {}
        for name, target, origin, requires in entries:
            plugin = Plugin(name, target, origin, requires)
            first = self._builtins.get(plugin.name) or found.get(plugin.name)
            if first is None:
                found[plugin.name] = plugin
            elif first.target != plugin.target:
                clashes[plugin.name] = (
                    f"{self.kind} {plugin.name!r} is claimed by {first.target!r} ({first.origin}) and by "
                    f"{plugin.target!r} ({plugin.origin}); uninstall one, or choose with "
                    "register(..., replace=True)"
                )
        return found, clashes

    def _unknown(self, name: str) -> BackendNotFoundError:
        from difflib import get_close_matches

        from polystore.errors import BackendNotFoundError

        known = self.names()
        close = get_close_matches(str(name), [*known, *self._aliases], n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        return BackendNotFoundError(f"unknown {self.kind} {name!r} (known: {', '.join(known)}){hint}")


def _load(kind: str, plugin: Plugin) -> Any:
    """The object a plugin stands for."""
    if not isinstance(plugin.target, str):
        return plugin.target
    from importlib import import_module

    from polystore.errors import BackendLoadError, MissingExtraError

    where = f"{kind} {plugin.name!r} ({plugin.target}, {plugin.origin})"
    module, _, attribute = plugin.target.partition(":")
    try:
        found: Any = import_module(module)
        for part in filter(None, attribute.split(".")):
            found = getattr(found, part)
    except ModuleNotFoundError as exc:
        if plugin.requires and not (exc.name or "").startswith("polystore"):
            raise MissingExtraError(
                f"{kind} {plugin.name!r} needs {exc.name}: pip install '{plugin.requires}'"
            ) from exc
        raise BackendLoadError(f"{where} needs {exc.name}, which is not installed") from exc
    except (Exception, SystemExit) as exc:  # the plugin boundary: whatever its module does, the others go on
        raise BackendLoadError(f"{where} cannot be imported: {type(exc).__name__}: {exc}") from exc
    return found


_HOMES = {
    "LazyDiscoveryDict": "polystore._mappings",
    "SecondaryRegistryDict": "polystore._mappings",
    "register_subclass": "polystore._subclasses",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'polystore.registry' has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value
