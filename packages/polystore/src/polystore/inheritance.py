"""Configurations whose unset fields inherit, and the one resolver that fills them in.

A configuration is a frozen dataclass. At every level (a file, the global configuration, the pipeline, a step,
a call) somebody says something about it:

* an object of the class itself says *everything*: its defaults count as said;
* its lazy variant, `lazy(cls)`, says only the fields that are not None; `NONE` says None;
* a mapping says its entries, like the lazy variant.

`resolve` puts the levels on top of each other, field by field and into nested configurations, and knows of
every value where it comes from and what it hides. Nothing here reads a file, the environment or any state of
the process: the same levels give the same result in every thread and process. What the levels of a process
are is decided in `polystore.config_sources`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import reduce
from typing import Any, Generic, TypeAlias, TypeVar

from polystore._lazy import NONE, Lazy, default_of, lazy, nested_fields
from polystore.errors import SettingsError

__all__ = [
    "DEFAULT",
    "NONE",
    "Explanation",
    "Lazy",
    "Origin",
    "Partial",
    "Resolved",
    "Setting",
    "fill",
    "lazy",
    "overlay",
    "partial",
    "resolve",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value was said.

    Parameters
    ----------
    level
        ``default``, ``file``, ``global``, ``pipeline``, ``step``, ``environment``, ``call``, or what the caller
        of `resolve` names it.
    detail
        The path of the file, the name of the variable.
    """

    level: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.level} {self.detail}".rstrip()


DEFAULT = Origin("default")


@dataclass(frozen=True, slots=True)
class Setting:
    """A value, and where it was said."""

    value: Any
    origin: Origin


Partial: TypeAlias = Mapping[str, tuple[Setting, ...]]
"""What some levels say together: by dotted name of the field, all that was said, the strongest first.

The name of a nested configuration itself stands for whether there is one: its class, or None.
"""


def partial(cls: type[Any], given: object, origin: Origin) -> Partial:
    """What `given` says about a configuration of class `cls`.

    Parameters
    ----------
    cls
        A frozen dataclass.
    given
        An object of `cls`, of its lazy variant, of either for a class above or below it (the common fields
        count), a mapping, or None for nothing.
    origin
        Where it was said.

    Raises
    ------
    SettingsError
        It is something else, or a mapping has an unknown entry.
    """
    return {name: (Setting(value, origin),) for name, value in _said(cls, given, origin, "")}


def _said(cls: type[Any], given: object, origin: Origin, prefix: str) -> Iterator[tuple[str, Any]]:
    if given is None:
        return
    if isinstance(given, Mapping):
        unknown = given.keys() - {each.name for each in fields(cls)}
        if unknown:
            known = ", ".join(each.name for each in fields(cls))
            raise SettingsError(f"{origin}: {cls.__name__} has no {min(unknown)!r} (known: {known})")
        given = lazy(cls)(**given)
    about = given.__concrete__ if isinstance(given, Lazy) else type(given)
    if not is_dataclass(about) or not (issubclass(about, cls) or issubclass(cls, about)):
        raise SettingsError(
            f"{origin}: {given!r} is no {cls.__name__}: give one, its lazy variant or a mapping"
        )
    nested = nested_fields(cls)
    for each in fields(cls):
        value = getattr(given, each.name, None)
        if not each.init or not hasattr(given, each.name) or (value is None and isinstance(given, Lazy)):
            continue
        name = prefix + each.name
        if each.name in nested:
            yield from _said_nested(nested[each.name], value, origin, name)
        else:
            yield name, None if value is NONE else value


def _said_nested(declared: type[Any], value: Any, origin: Origin, name: str) -> Iterator[tuple[str, Any]]:
    if value is None or value is NONE:
        yield name, None
        return
    about = value.__concrete__ if isinstance(value, Lazy) else type(value)
    kind = about if issubclass(about, declared) else declared
    yield name, kind
    yield from _said(kind, value, origin, f"{name}.")


def overlay(weaker: Partial, stronger: Partial) -> Partial:
    """What both say together: what `stronger` says hides what `weaker` says of the same field.

    Associative, and idempotent: saying the same twice changes nothing. ``{}`` says nothing.
    """
    return {name: _stack(weaker, stronger, name) for name in {**weaker, **stronger}}


def _stack(weaker: Partial, stronger: Partial, name: str) -> tuple[Setting, ...]:
    above, below = stronger.get(name, ()), weaker.get(name, ())
    return above + tuple(each for each in below if each not in above)


@dataclass(frozen=True, slots=True)
class Explanation:
    """One line of `Resolved.explain`.

    Attributes
    ----------
    field
        Dotted name.
    value
        What holds.
    origin
        Where it was said.
    shadowed
        What else was said and does not hold, nearest first.
    """

    field: str
    value: Any
    origin: Origin
    shadowed: tuple[Setting, ...]


@dataclass(frozen=True, slots=True)
class Resolved(Generic[T]):
    """A complete configuration, and where every value of it comes from.

    Attributes
    ----------
    value
        The configuration, an object of the class that was asked for.
    settings
        All that was said, see `Partial`.
    """

    value: T
    settings: Partial

    def origin(self, field: str) -> Origin:
        """Where the value of a field was said, by its dotted name: ``napari_streaming.napari_port``.

        Raises
        ------
        SettingsError
            There is no such field.
        """
        found = self.settings.get(field)
        if not found:
            known = ", ".join(self.settings)
            raise SettingsError(f"{type(self.value).__name__} has no field {field!r} (known: {known})")
        return found[0].origin

    def explain(self) -> tuple[Explanation, ...]:
        """A line per field, in the order of the class; fields of nested configurations follow the line that
        says whether there is one.
        """
        return tuple(self._lines(self.value, ""))

    def _lines(self, value: Any, prefix: str) -> Iterator[Explanation]:
        nested = nested_fields(type(value))
        for each in fields(value):
            if not each.init:
                continue
            name, held = prefix + each.name, getattr(value, each.name)
            first, *others = self.settings[name]
            if each.name in nested:
                kind = None if held is None else type(held)
                yield Explanation(name, kind, first.origin, tuple(others))
                if held is not None:
                    yield from self._lines(held, f"{name}.")
            else:
                yield Explanation(name, held, first.origin, tuple(others))


def fill(cls: type[T], said: Partial) -> Resolved[T]:
    """The configuration of class `cls` in which all that was not said has its default.

    Raises
    ------
    SettingsError
        A field without a default was not said, or two levels want nested configurations of classes that have
        nothing to do with each other.
    """
    settings = dict(said)
    return Resolved(_build(cls, settings, ""), settings)


def _build(cls: type[T], settings: dict[str, tuple[Setting, ...]], prefix: str) -> T:
    nested = nested_fields(cls)
    values: dict[str, Any] = {}
    for each in fields(cls):  # type: ignore[arg-type]
        if not each.init:
            continue
        name, default = prefix + each.name, default_of(each)
        if default is not MISSING:
            below = {name: default}
            if each.name in nested:
                below = dict(_said_nested(nested[each.name], default, DEFAULT, name))
            for inner, value in below.items():
                settings[inner] = _stack({inner: (Setting(value, DEFAULT),)}, settings, inner)
        elif name not in settings:
            raise SettingsError(f"{cls.__name__}.{each.name} has no default: say it at one of the levels")
        if each.name in nested:
            kind = _kind(nested[each.name], name, settings[name])
            values[each.name] = kind and _build(kind, settings, f"{name}.")
        else:
            values[each.name] = settings[name][0].value
    return cls(**values)


def _kind(declared: type, name: str, stack: tuple[Setting, ...]) -> type | None:
    """The class of a nested configuration: the most special of all that levels want."""
    if stack[0].value is None:
        return None
    kind = declared
    for each in stack:
        wanted = each.value
        if wanted is None or issubclass(kind, wanted):
            continue
        if not issubclass(wanted, kind):
            raise SettingsError(f"{name}: {each.origin} wants a {wanted.__name__}, others a {kind.__name__}")
        kind = wanted
    return kind


def resolve(cls: type[T], *levels: tuple[Origin | str, object]) -> Resolved[T]:
    """The configuration that these levels give together; the defaults of `cls` are below all of them.

    Parameters
    ----------
    cls
        A frozen dataclass.
    levels
        Pairs of where it was said and what was said (see `partial`), the weakest first.
    """
    said = [
        partial(cls, given, origin if isinstance(origin, Origin) else Origin(origin))
        for origin, given in levels
    ]
    return fill(cls, reduce(overlay, said, {}))
