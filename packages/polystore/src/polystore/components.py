"""Where an image belongs: components (well, field, channel ...) and the key made of them.

Everything that names a place in an acquisition is turned into one canonical form here, once, at the edge:
``'s1'``, ``'001'``, ``'1'`` and ``1`` are the same field, ``'a1'`` and ``'A01'`` the same well. From then on
keys compare, hash and sort without parsing.

Two sorts of component:

* *names* (plate, acquisition, well): always ``str``;
* *indices* (field, channel, z, t): ``int`` where the value is a number, with or without its usual prefix,
  else ``str`` (a channel called ``'DAPI'``).
"""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType
from typing import Any, SupportsIndex, TypeAlias

from polystore.errors import ComponentError

__all__ = ["ALIASES", "Component", "ImageKey", "Value", "canonical", "component", "value_order", "well_name"]

Value: TypeAlias = str | int
"""A canonical component value: an index or a name."""

MAX_VALUE_LENGTH = 255
"""Longest name of a component: what a file name may hold on every common file system."""

MAX_INDEX = 2**63 - 1
"""Largest index: what the signed 64-bit integers of msgpack, zarr attributes and OMERO hold."""


class Component(StrEnum):
    """One coordinate of an image in an acquisition, in the order in which keys list them."""

    PLATE = "plate"
    ACQUISITION = "acquisition"
    WELL = "well"
    FIELD = "field"
    CHANNEL = "channel"
    Z = "z"
    T = "t"


ALIASES: Mapping[str, Component] = MappingProxyType(
    {
        **{member.value: member for member in Component},
        "plate_id": Component.PLATE,
        "acquisition_id": Component.ACQUISITION,
        "well_id": Component.WELL,
        "site": Component.FIELD,
        "fov": Component.FIELD,
        "field_of_view": Component.FIELD,
        "ch": Component.CHANNEL,
        "c": Component.CHANNEL,
        "wavelength": Component.CHANNEL,
        "z_index": Component.Z,
        "z_step": Component.Z,
        "zstep": Component.Z,
        "z_plane": Component.Z,
        "z_slice": Component.Z,
        "timepoint": Component.T,
        "time_point": Component.T,
        "time": Component.T,
        "t_index": Component.T,
    }
)
"""Every name a component goes by, in lower case with underscores, to the component."""

# The letters that may stand before the number of an index: s1, f01, w2, ch1, ZStep_3, TimePoint_2.
_PREFIXES = {
    Component.FIELD: "site|field|fov|s|f",
    Component.CHANNEL: "channel|ch|c|w",
    Component.Z: "z_?index|z_?step|z_?plane|z_?slice|z|p",
    Component.T: "time_?point|time|t|sk",
}
_NUMBER = {
    member: re.compile(rf"(?:(?:{prefixes})[ _-]?)?([0-9]+)", re.IGNORECASE | re.ASCII)
    for member, prefixes in _PREFIXES.items()
}
_WELL = re.compile(r"([A-Za-z]{1,2})([0-9]{1,3})", re.ASCII)


def component(name: str | Component) -> Component:
    """The component of that name or alias; case, hyphens and spaces do not matter.

    Raises
    ------
    ComponentError
        Unknown name; the text lists the known ones.
    """
    if type(name) is Component:
        return name
    if isinstance(name, str):
        found = ALIASES.get(name) or ALIASES.get(name.strip().lower().replace("-", "_").replace(" ", "_"))
        if found is not None:
            return found
    known = ", ".join(member.value for member in Component)
    raise ComponentError(
        f"unknown component {name!r} (known: {known}; also their other names, e.g. site, z_index, timepoint)"
    )


def well_name(row: int, column: int) -> str:
    """The name of a well by row and column, both counted from 1: ``A01`` for (1, 1), ``AA01`` for (27, 1).

    Raises
    ------
    ComponentError
        No such well.
    """
    if row < 1 or column < 1 or row > 26 * 27 or column > 999:
        raise ComponentError(f"no well at row {row}, column {column} (both count from 1)")
    high, low = divmod(row - 1, 26)
    letters = (chr(64 + high) if high else "") + chr(65 + low)
    return f"{letters}{column:02d}"


@lru_cache(maxsize=16384, typed=True)
def canonical(which: Component, value: Value | SupportsIndex) -> Value:
    """The one form in which a component's value is kept; cached, thread-safe.

    Parameters
    ----------
    which
        The component the value belongs to.
    value
        An index (any integer type) or a text such as ``'s1'``, ``'z003'``, ``'001'`` or ``'DAPI'``.

    Returns
    -------
    str or int
        ``int`` for a numeric index, ``str`` otherwise; wells as ``'A01'``.

    Raises
    ------
    ComponentError
        Negative or huge numbers, empty or overlong text, control characters, or another type.
    """
    if isinstance(value, str):
        return _canonical_text(which, str(value))
    if isinstance(value, bool):
        raise ComponentError(f"{which.value}={value!r}: True and False are no indices; give an int or a name")
    try:
        index = operator.index(value)
    except TypeError:
        raise ComponentError(
            f"{which.value}={value!r} is a {type(value).__name__}; give an int or a name such as 's1'"
        ) from None
    if not 0 <= index <= MAX_INDEX:
        raise ComponentError(f"{which.value}={index}: indices are from 0 to 2**63 - 1")
    return index if which in _NUMBER else str(index)


def _canonical_text(which: Component, text: str) -> Value:
    text = text.strip()
    if not text or len(text) > MAX_VALUE_LENGTH or not text.isprintable():
        shown = text if len(text) <= 40 else text[:40] + "..."
        raise ComponentError(
            f"{which.value}={shown!r} ({len(text)} characters): "
            f"a name has 1 to {MAX_VALUE_LENGTH} printable characters"
        )
    numbers = _NUMBER.get(which)
    if numbers is None:
        well = _WELL.fullmatch(text) if which is Component.WELL else None
        return f"{well[1].upper()}{int(well[2]):02d}" if well else text
    match = numbers.fullmatch(text)
    if match is None:
        return text
    if len(match[1]) > 18:  # more digits than MAX_INDEX surely holds: a serial number, so a name
        return text
    return int(match[1])


def value_order(value: Value | None) -> tuple[int, int, str]:
    """A sort key for values of one component: nothing first, then numbers, then names."""
    if value is None:
        return (-1, 0, "")
    return (0, value, "") if isinstance(value, int) else (1, 0, value)


@dataclass(frozen=True, slots=True)
class ImageKey:
    """Where one image belongs. Immutable, hashable, always canonical; equal keys are the same place.

    ``None`` means the component plays no part (an image without z). Use the constructor with our names and
    `ImageKey.of` with anybody's: both understand ``'s1'``, ``'z003'``, ``'001'``, ``1`` and ``'DAPI'``.

    Raises
    ------
    ComponentError
        A value no component can have.
    """

    plate: Value | None = None
    acquisition: Value | None = None
    well: Value | None = None
    field: Value | None = None
    channel: Value | None = None
    z: Value | None = None
    t: Value | None = None

    def __post_init__(self) -> None:
        # Unrolled and with a short cut for plain indices (1.6 us for a key, 2.2 as a loop): a key is built
        # per image, in the pipeline's own time. In return no key is ever half parsed, whoever made it.
        if self.plate is not None:
            _settle(self, Component.PLATE, self.plate)
        if self.acquisition is not None:
            _settle(self, Component.ACQUISITION, self.acquisition)
        if self.well is not None:
            _settle(self, Component.WELL, self.well)
        value = self.field
        if value is not None and (type(value) is not int or not 0 <= value <= MAX_INDEX):
            _settle(self, Component.FIELD, value)
        value = self.channel
        if value is not None and (type(value) is not int or not 0 <= value <= MAX_INDEX):
            _settle(self, Component.CHANNEL, value)
        value = self.z
        if value is not None and (type(value) is not int or not 0 <= value <= MAX_INDEX):
            _settle(self, Component.Z, value)
        value = self.t
        if value is not None and (type(value) is not int or not 0 <= value <= MAX_INDEX):
            _settle(self, Component.T, value)

    @classmethod
    def of(cls, **components: Value | SupportsIndex | None) -> ImageKey:
        """The key of components under any of their names: ``ImageKey.of(site='s1', z_index='z003')``.

        Raises
        ------
        ComponentError
            Unknown name, impossible value, or two names of one component with different values.
        """
        return cls.from_mapping(components)

    @classmethod
    def from_mapping(cls, components: Mapping[str, Value | SupportsIndex | None]) -> ImageKey:
        """As `of`, from a mapping; entries that are None are left out."""
        values: dict[str, Value] = {}
        for name, value in components.items():
            which = component(name)
            if value is None:
                continue
            wanted = _canonical(which, value)
            if values.setdefault(which.value, wanted) != wanted:
                raise ComponentError(
                    f"{which.value} given twice: {values[which.value]!r} and ({name}=) {wanted!r}; give one"
                )
        return cls(**values)

    def as_dict(self) -> dict[str, Value]:
        """The components that are set, by name, in the order of `Component`: ``{'well': 'A01', 'z': 3}``."""
        return {which.value: value for which in _MEMBERS if (value := getattr(self, which.value)) is not None}

    def get(self, which: Component | str) -> Value | None:
        """The value of one component (by any of its names), or None."""
        value: Value | None = getattr(self, component(which).value)
        return value

    def replace(self, **components: Value | SupportsIndex | None) -> ImageKey:
        """A copy with some components changed (by any of their names); None removes one."""
        values: dict[str, Value | SupportsIndex | None] = {**self.as_dict()}
        given: dict[str, Value | SupportsIndex | None] = {}
        for name, value in components.items():
            which = component(name).value
            if which in given:
                raise ComponentError(f"{which} is given twice; give one")
            given[which] = value
        return type(self).from_mapping({**values, **given})

    def sort_key(self) -> tuple[tuple[int, int, str], ...]:
        """A key that sorts image keys by plate, acquisition, well, field, channel, z, t, numbers by value."""
        return tuple(value_order(getattr(self, which.value)) for which in _MEMBERS)

    def __str__(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.as_dict().items()) or "(no components)"


def _canonical(which: Component, value: Any) -> Value:
    try:
        return canonical(which, value)
    except TypeError:  # unhashable, so the cache could not even look it up
        raise ComponentError(
            f"{which.value}={value!r} is a {type(value).__name__}; give an int or a name such as 's1'"
        ) from None


def _settle(key: ImageKey, which: Component, value: Value) -> None:
    wanted = _canonical(which, value)
    if wanted is not value:
        object.__setattr__(key, which._value_, wanted)


_MEMBERS = tuple(Component)
