"""Lazy variants of configurations: the same fields, where None means "as above"."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, field, fields, is_dataclass, make_dataclass
from enum import Enum
from types import NoneType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, ParamSpec, TypeVar, get_args, get_type_hints

from polystore.errors import SettingsError

__all__ = ["NONE", "Lazy", "default_of", "hints_of", "is_optional", "lazy", "nested_fields"]

P = ParamSpec("P")
T = TypeVar("T")


class _Explicit(Enum):
    NONE = "none"

    def __repr__(self) -> str:
        return "NONE"


NONE: Any = _Explicit.NONE
"""Says None in a lazy variant or a mapping, where None itself says nothing. There is one; it can be pickled."""


_HINTS: dict[type, Mapping[str, Any]] = {}
_NESTED: dict[type, Mapping[str, type]] = {}


def hints_of(cls: type[Any]) -> Mapping[str, Any]:
    """The type of every field of a dataclass, with names turned into what they name."""
    if cls not in _HINTS:
        try:
            hints = get_type_hints(cls)
        except NameError as exc:
            raise TypeError(
                f"{cls.__qualname__}: {exc}; import the types of its fields at run time, where its module finds them"
            ) from exc
        _HINTS[cls] = {each.name: hints[each.name] for each in fields(cls)}
    return _HINTS[cls]


def nested_fields(cls: type[Any]) -> Mapping[str, type]:
    """The fields of a configuration that are configurations themselves, and of which class."""
    if cls not in _NESTED:
        found: dict[str, type] = {}
        for name, hint in hints_of(cls).items():
            inner = [one for one in (hint, *get_args(hint)) if isinstance(one, type) and is_dataclass(one)]
            if inner:
                found[name] = inner[0]
        _NESTED[cls] = found
    return _NESTED[cls]


def default_of(each: Field[Any]) -> Any:
    """The default of a field; `dataclasses.MISSING` without one."""
    return each.default_factory() if each.default_factory is not MISSING else each.default


class Lazy(Generic[T]):
    """What somebody says about a configuration of class `T`: fields that are None are not said.

    Base of everything `lazy` makes. It is no `T`: a function that needs a complete configuration cannot be
    handed this one by mistake; `resolve` makes it complete. Frozen, hashable, equal to one of the same class
    that says the same. Picklable wherever `T` is.

    Raises
    ------
    SettingsError, and whatever `T` raises
        A value that `T` refuses: checked when the lazy variant is made, one by one beside the defaults of `T`.
    """

    __concrete__: ClassVar[type[Any]]

    if TYPE_CHECKING:  # the fields are those of T, or None

        def __getattr__(self, name: str) -> Any: ...

    def resolve(self, *above: object) -> T:
        """The complete configuration: fields not said here come from `above`, nearest first, then from the
        defaults of the class.

        Files and the environment are not looked at; `polystore.config_sources.effective` does that.
        """
        from polystore.inheritance import Origin, resolve

        found: T = resolve(
            self.__concrete__, *((Origin("above"), each) for each in reversed(above)), (Origin("call"), self)
        ).value
        return found

    def said(self) -> dict[str, Any]:
        """The fields that are not None, by name; explicit ones are `NONE`."""
        everything = {each.name: getattr(self, each.name) for each in fields(self)}  # type: ignore[arg-type]
        return {name: value for name, value in everything.items() if value is not None}

    def __post_init__(self) -> None:
        cls = self.__concrete__
        nested, said = nested_fields(cls), self.said()
        for name in nested.keys() & said.keys():
            object.__setattr__(self, name, _nested(cls, name, nested[name], said[name]))
        for name in [name for name, value in said.items() if value is NONE]:
            if not is_optional(hints_of(cls)[name]):
                raise SettingsError(f"{cls.__name__}.{name} cannot be None; leave it out to inherit it")
        plain = {name: None if value is NONE else value for name, value in said.items() if name not in nested}
        if plain and all(default_of(each) is not MISSING for each in fields(cls)):
            checked = cls(**plain)
            for name, value in plain.items():
                if value is not None:  # 'zarr' has become Backend.ZARR
                    object.__setattr__(self, name, getattr(checked, name))

    def __repr__(self) -> str:
        said = ", ".join(f"{name}={value!r}" for name, value in self.said().items())
        return f"{type(self).__name__}({said})"

    def __reduce__(self) -> tuple[Any, ...]:
        made = _MADE.get(self.__concrete__) is type(self)
        return _rebuild, (self.__concrete__ if made else type(self), self.said())


def _nested(cls: type, name: str, wanted: type, value: Any) -> Any:
    if isinstance(value, Mapping):
        return lazy(wanted)(**value)
    said = value.__concrete__ if isinstance(value, Lazy) else type(value)
    if value is NONE or (is_dataclass(said) and (issubclass(said, wanted) or issubclass(wanted, said))):
        return value
    raise SettingsError(
        f"{cls.__name__}.{name}={value!r}: give a {wanted.__name__}, a Lazy{wanted.__name__} or NONE"
    )


_MADE: dict[type, type[Lazy[Any]]] = {}


def lazy(cls: Callable[P, T]) -> Callable[P, Lazy[T]]:
    """The lazy variant of a frozen dataclass: ``LazyX`` for ``X``, every field None unless given.

    Called again it returns the same class. Arguments are those of `cls`, in the same order; a lazy variant
    inherits from those of the dataclasses `cls` inherits from. Assign it to a name beside that of `cls`.

    Raises
    ------
    TypeError
        `cls` is no frozen dataclass.
    """
    if not isinstance(cls, type) or not is_dataclass(cls) or not cls.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise TypeError(f"{cls!r} is no frozen dataclass: only those have a lazy variant")
    return _lazy(cls)


def _lazy(cls: type[Any]) -> type[Lazy[Any]]:
    found = _MADE.get(cls)
    if found is not None:
        return found
    parents = [base for base in cls.__bases__ if is_dataclass(base)]
    made = make_dataclass(
        f"Lazy{cls.__name__}",
        [
            (each.name, Any, field(default=None, kw_only=each.kw_only))
            for each in fields(cls)
            if each.init  # what the class works out itself cannot be said
        ],
        bases=tuple(_lazy(base) for base in parents) or (Lazy,),
        namespace={
            "__concrete__": cls,
            "__doc__": f"`{cls.__name__}`, where None stands for: as above. See `polystore.inheritance`.",
            "__module__": cls.__module__,
        },
        frozen=True,
        repr=False,
    )
    made.__module__ = cls.__module__  # make_dataclass sets that of its own caller from Python 3.12 on
    # Two threads may both come here; the first to store its class wins, without a lock that a fork could hold.
    return _MADE.setdefault(cls, made)


def _rebuild(cls: type[Any], said: dict[str, Any]) -> Any:
    return cls(**said) if issubclass(cls, Lazy) else _lazy(cls)(**said)


def is_optional(hint: Any) -> bool:
    """Whether a type allows None."""
    return hint is None or hint is NoneType or NoneType in get_args(hint)
