"""A ``<component>_mode`` for every component there is, in every display configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import field
from enum import Enum
from typing import Any, TypeVar

from polystore.components import ALIASES, Component
from polystore.constants import component_names
from polystore.projection.spec import member

T = TypeVar("T")


def with_component_modes(default: Enum, names: Iterable[str] | None = None) -> Callable[[type[T]], type[T]]:
    """Decorate a class, below ``@dataclass``: it gets the mode fields that it does not spell out itself.

    Parameters
    ----------
    default
        Mode of components that were added; its class is the type of the field.
    names
        Components; by default those of `polystore.constants.component_names`.
    """

    def add(cls: type[T]) -> type[T]:
        for name in component_names() if names is None else names:
            attribute = f"{name}_mode"
            if attribute not in cls.__annotations__:
                cls.__annotations__[attribute] = type(default)
                # By keyword only: the order of the others stays as documented, whatever is added.
                setattr(cls, attribute, field(default=default, kw_only=True))
        return cls

    return add


def settle_modes(config: Any, kind: type[Enum]) -> None:
    """Turn every mode field of a frozen configuration that is being made into a member of `kind`.

    Raises
    ------
    polystore.errors.ProjectionError
        A value is no mode; the text says of which field.
    """
    for attribute in _mode_fields(config):
        if not isinstance(config.__dataclass_fields__[attribute].default, kind):
            continue  # a mode of something else, such as the display's
        object.__setattr__(config, attribute, member(kind, attribute, getattr(config, attribute)))


def modes_of(config: Any) -> dict[Component, Any]:
    """The modes of the components a projection knows.

    An added component is among them when it is one of `polystore.components.Component` (a plate, an acquisition)
    under any of its names. Any other has a layer for each of its values, whatever its mode: a slider needs a place
    in the image's key, see `polystore.backends._added`.
    """
    modes = {name.removesuffix("_mode"): getattr(config, name) for name in _mode_fields(config)}
    return {ALIASES[name]: mode for name, mode in modes.items() if name in ALIASES}


def _mode_fields(config: Any) -> list[str]:
    return [name for name in config.__dataclass_fields__ if name.endswith("_mode")]
