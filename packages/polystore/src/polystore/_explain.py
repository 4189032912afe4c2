"""Every plugin that was tried: where it comes from, and why it cannot be used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from polystore._subclasses import is_abstract
from polystore.errors import BackendClashError, BackendLoadError, MissingExtraError
from polystore.registry import Plugin, Registry

__all__ = ["Explanation", "explain"]

OURS = ("polystore", "zmqruntime", "openhcs_viewers")


@dataclass(frozen=True, slots=True)
class Explanation:
    """What became of one plugin.

    Parameters
    ----------
    name
        Its name; empty for a class that has none.
    state
        ``usable``, ``missing extra``, ``import error``, ``abstract``, ``no key``, ``clash`` or ``no class``.
    origin, target
        Where it comes from, and what it stands for.
    problem
        What is wrong and what to do about it; empty when it is usable.
    """

    name: str
    state: str
    origin: str
    target: str
    problem: str = ""


def explain(registry: Registry[Any], bases: tuple[type[Any], ...], key: str) -> list[Explanation]:
    """Import every plugin of a registry and say of each what became of it.

    Parameters
    ----------
    registry
        The registry.
    bases
        Classes whose subclasses might have been plugins: those that were imported by now and are not
        registered are explained, too.
    key
        The attribute by which such a class names itself.
    """
    found: list[Explanation] = []
    tried: dict[str, Any] = {}
    while names := [name for name in registry.names() if name not in tried]:  # an import may register others
        for name in names:
            plugin = registry.plugin(name)
            state, problem, tried[name] = _tried(registry, plugin)
            found.append(Explanation(name, state, plugin.origin, _text(plugin.target), problem))
    for name, text in registry.clashes().items():
        if registry.plugin(name).origin == "built in":  # usable, and yet somebody wanted its name
            found.append(Explanation(name, "clash", "", "", text))
    classes = list(tried.values())
    found += [_left_out(cls, key) for cls in _subclasses(bases) if cls not in classes]
    return found


def _tried(registry: Registry[Any], plugin: Plugin) -> tuple[str, str, Any]:
    """The state of a plugin, what is wrong with it, and the object it stands for."""
    try:
        value = registry.get(plugin.name)
    except MissingExtraError as exc:
        return "missing extra", str(exc), None
    except BackendClashError as exc:
        return "clash", str(exc), None
    except BackendLoadError as exc:
        return "import error", str(exc), None
    if isinstance(value, type) and is_abstract(value):
        return "abstract", f"implement {_missing(value)}", value
    if not callable(value):
        return "no class", f"{plugin.target!r} is a {type(value).__name__}: name a class or a function", value
    for library in getattr(value, "_libraries", ()):
        if find_spec(library) is None:
            remedy = f": pip install '{plugin.requires}'" if plugin.requires else ", which is not installed"
            return "missing extra", f"{registry.kind} {plugin.name!r} needs {library}{remedy}", value
    return "usable", "", value


def _left_out(cls: type[Any], key: str) -> Explanation:
    name = str(vars(cls).get(key) or "")
    target, origin = f"{cls.__module__}:{cls.__qualname__}", f"defined in {cls.__module__}"
    if is_abstract(cls):
        return Explanation(name, "abstract", origin, target, f"implement {_missing(cls)}")
    if not name:
        return Explanation("", "no key", origin, target, f"set {key}, or declare an entry point")
    return Explanation(name, "clash", origin, target, f"another plugin is registered as {name!r}")


def _subclasses(bases: tuple[type[Any], ...]) -> Iterator[type[Any]]:
    """Subclasses that are not ours, each once, those of a class after it."""
    waiting, seen = list(bases), set(bases)
    while waiting:
        for cls in waiting.pop(0).__subclasses__():
            if cls not in seen:
                seen.add(cls)
                waiting.append(cls)
                if cls.__module__.partition(".")[0] not in OURS:
                    yield cls


def _missing(cls: type[Any]) -> str:
    return ", ".join(sorted(getattr(cls, "__abstractmethods__", ())))


def _text(target: Any) -> str:
    if isinstance(target, str):
        return target
    return f"{getattr(target, '__module__', '')}:{getattr(target, '__qualname__', target)}"
