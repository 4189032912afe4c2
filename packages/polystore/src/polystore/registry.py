"""Names to plugins: listing imports nothing, `Registry.get` imports one.

Built-ins stand in a static table of ``"module:attribute"`` strings; other distributions add theirs by entry
point; a program adds its own with `Registry.register`. All three are looked up the same way.

Nothing here holds a lock while it imports, so a plugin may use the registry it is loaded from, and a fork
in the middle of an import leaves no lock behind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from polystore._locks import ForkSafeLock
from polystore.errors import BackendClashError, BackendLoadError, BackendNotFoundError, MissingExtraError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["Plugin", "Registry"]

T = TypeVar("T")

BUILT_IN = "built in"
REGISTERED = "registered by this program"


@dataclass(frozen=True, slots=True)
class Plugin:
    """One name of a registry: where it comes from and what it stands for, not imported yet.

    Parameters
    ----------
    name
        The name it is asked for by.
    target
        ``"module:attribute"``, or the object itself when a program registered it.
    origin
        ``"built in"``, ``"registered by this program"`` or the distribution that declares it.
    """

    name: str
    target: Any
    origin: str


class Registry(Generic[T]):
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
    """

    def __init__(
        self,
        kind: str,
        *,
        group: str,
        builtins: Mapping[str, str] | None = None,
        aliases: Mapping[str, str] | None = None,
        extras: Mapping[str, str] | None = None,
    ) -> None:
        self.kind = kind
        self.group = group
        self.version = 0
        """Counts changes: whoever caches something made of this registry compares it."""
        self._builtins = {name: Plugin(name, target, BUILT_IN) for name, target in (builtins or {}).items()}
        self._aliases = dict(aliases or {})
        self._extras = dict(extras or {})
        self._registered: dict[str, Plugin] = {}
        self._loaded: dict[str, T] = {}
        self._installed: tuple[dict[str, Plugin], dict[str, str]] | None = None
        self._names: tuple[str, ...] | None = None
        self._lock = ForkSafeLock()

    def names(self) -> tuple[str, ...]:
        """Every known name, sorted. Imports no plugin; the first call in a process looks for entry points."""
        names = self._names
        if names is None:
            names = tuple(sorted({*self._registered, *self._builtins, *self._discover()[0]}))
            self._names = names
        return names

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
        name = self.canonical(name)
        if name in self._loaded:
            return self._loaded[name]
        plugin = self._find(name)
        if plugin is None:
            raise self._unknown(name)
        if plugin.origin not in (BUILT_IN, REGISTERED) and (clash := self._discover()[1].get(name)):
            raise BackendClashError(clash)
        return self._loaded.setdefault(name, self._load(plugin))

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
        with self._lock:
            taken = self._find(name)
            if taken is not None and taken.target != target and not replace:
                raise BackendClashError(
                    f"{self.kind} {name!r} is already {taken.target!r} ({taken.origin}); choose another "
                    f"name, or replace it by {target!r} with replace=True"
                )
            self._registered[name] = Plugin(name, target, REGISTERED)
            self._changed(name)

    def unregister(self, name: str) -> None:
        """Take back what `register` added; a built-in or installed plugin of that name is there again.

        Raises
        ------
        BackendNotFoundError
            Nothing was registered under that name by this program.
        """
        with self._lock:
            if self._registered.pop(name, None) is None:
                raise BackendNotFoundError(f"no {self.kind} {name!r} was registered by this program")
            self._changed(name)

    def _changed(self, name: str) -> None:
        self._loaded.pop(name, None)
        self._names = None
        self.version += 1

    def _find(self, name: str) -> Plugin | None:
        # Entry points are looked for last and only when needed: it costs tens of milliseconds once.
        return self._registered.get(name) or self._builtins.get(name) or self._discover()[0].get(name)

    def _discover(self) -> tuple[dict[str, Plugin], dict[str, str]]:
        if self._installed is None:
            self._installed = self._scan()
        return self._installed

    def _scan(self) -> tuple[dict[str, Plugin], dict[str, str]]:
        from importlib.metadata import entry_points

        found: dict[str, Plugin] = {}
        clashes: dict[str, str] = {}
        for entry in entry_points(group=self.group):
            plugin = Plugin(entry.name, entry.value, _origin(entry))
            first = self._builtins.get(entry.name) or found.get(entry.name)
            if first is None:
                found[entry.name] = plugin
            elif first.target != plugin.target:
                clashes[entry.name] = (
                    f"{self.kind} {entry.name!r} is claimed by {first.target!r} ({first.origin}) and by "
                    f"{plugin.target!r} ({plugin.origin}); uninstall one, or choose with "
                    "register(..., replace=True)"
                )
        return found, clashes

    def _load(self, plugin: Plugin) -> T:
        if not isinstance(plugin.target, str):
            return cast(T, plugin.target)
        where = f"{self.kind} {plugin.name!r} ({plugin.target}, {plugin.origin})"
        module, _, attribute = plugin.target.partition(":")
        try:
            found: Any = import_module(module)
            for part in attribute.split("."):
                found = getattr(found, part)
        except ModuleNotFoundError as exc:
            extra = self._extras.get(plugin.name)
            if extra is not None and not (exc.name or "").startswith("polystore"):
                raise MissingExtraError(
                    f"{self.kind} {plugin.name!r} needs {exc.name}: pip install 'polystore[{extra}]'"
                ) from exc
            raise BackendLoadError(f"{where} needs {exc.name}, which is not installed") from exc
        except Exception as exc:  # the plugin boundary: whatever its module does, the others go on
            raise BackendLoadError(f"{where} cannot be imported: {type(exc).__name__}: {exc}") from exc
        return cast(T, found)

    def _unknown(self, name: str) -> BackendNotFoundError:
        from difflib import get_close_matches

        known = self.names()
        close = get_close_matches(str(name), [*known, *self._aliases], n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        return BackendNotFoundError(f"unknown {self.kind} {name!r} (known: {', '.join(known)}){hint}")


def _origin(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else "an unnamed distribution"
