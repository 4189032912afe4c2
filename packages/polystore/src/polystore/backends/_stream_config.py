"""What a streaming backend takes from a configuration: how images are shown, and where."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import is_dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard, runtime_checkable

from polystore.inheritance import Lazy
from polystore.projection.spec import DisplaySpec

if TYPE_CHECKING:
    from zmqruntime.config import Endpoint

__all__ = ["DEFAULT_SPEC", "SaysHow", "SaysWhere", "complete", "display_spec"]

DEFAULT_SPEC = DisplaySpec()


@runtime_checkable
class SaysHow(Protocol):
    """A configuration that says how images want to be shown."""

    def display_spec(self) -> DisplaySpec:
        """Return the same in the words of the projection."""


@runtime_checkable
class SaysWhere(Protocol):
    """A configuration that says where its viewer listens."""

    def endpoint(self) -> Endpoint:
        """Return the viewer's endpoint."""


def display_spec(config: Any) -> DisplaySpec:
    """Return how `config` wants images shown; the defaults for None.

    Raises
    ------
    TypeError
        It is no configuration of a display.
    """
    if config is None:
        return DEFAULT_SPEC
    if isinstance(config, DisplaySpec):
        return config
    if isinstance(config, SaysHow):
        return _spec_of(config) if _can_be_hashed(config) else config.display_spec()
    raise TypeError(
        f"config={config!r} says nothing about a display: give a DisplaySpec, or a NapariStreamingConfig or "
        "FijiStreamingConfig"
    )


def _can_be_hashed(value: object) -> TypeGuard[Hashable]:
    try:
        hash(value)
    except TypeError:
        return False
    return True


@lru_cache(maxsize=256)
def _spec_of(config: Hashable) -> DisplaySpec:
    assert isinstance(config, SaysHow)
    return config.display_spec()


def complete(config: Any, above: Any = None) -> Any:
    """Return the configuration of a batch: `above` when it has none; a lazy variant is filled in from `above`.

    Raises
    ------
    polystore.errors.SettingsError
        The two are of classes that have nothing to do with each other.
    """
    if not isinstance(config, Lazy) and not (config is None and isinstance(above, Lazy)):
        return above if config is None else config
    from polystore.config_sources import effective

    if isinstance(above, DisplaySpec) or not is_dataclass(above):
        above = None  # it has no fields of these names to inherit
    given = [each for each in (config, above) if each is not None]
    kinds = [each.__concrete__ if isinstance(each, Lazy) else type(each) for each in given]
    kind = max(kinds, key=lambda each: len(each.__mro__))  # the one that also says where, not only how
    return effective(kind, pipeline=above, call=config).value
