"""How a batch of images wants to be shown, in words no particular viewer owns."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Any, TypeVar

from polystore.components import Component, component
from polystore.errors import ProjectionError

__all__ = ["DEFAULT_MODES", "ComponentModes", "DimensionMode", "DisplaySpec", "VariableSize"]

E = TypeVar("E", bound=Enum)


class DimensionMode(StrEnum):
    """What one component becomes in a viewer made of layers."""

    LAYER = "layer"
    """A layer for each of its values."""

    STACK = "stack"
    """A slider over its values within one layer."""

    SLICE = "layer"
    """Another name of `LAYER`: the one OpenHCS uses."""

    @classmethod
    def _missing_(cls, value: object) -> DimensionMode | None:
        return cls.LAYER if value == "slice" else None


class VariableSize(StrEnum):
    """What becomes of images of different sizes within one layer."""

    SEPARATE_LAYERS = "separate_layers"
    """The first size keeps the layer; wells of another size get a layer each. Every image exactly as it
    is.
    """

    PAD_TO_MAX = "pad_to_max"
    """One layer of the largest size; smaller images are filled up with zeros below and to the right when
    read.
    """


class ComponentModes(Mapping[Component, DimensionMode]):
    """The mode of every component: immutable, hashable, picklable; what is not given has its default.

    Parameters
    ----------
    modes
        Component, or any of its names, to mode.

    Raises
    ------
    ComponentError
        A component nobody knows.
    ProjectionError
        A mode nobody knows.
    """

    __slots__ = ("_hash", "_modes")

    def __init__(self, modes: Mapping[Component, DimensionMode] | Mapping[str, str] | None = None) -> None:
        resolved = dict(_DEFAULTS)
        for name, mode in (modes or {}).items():
            which = component(name)
            resolved[which] = member(DimensionMode, f"mode of {which.value}", mode)
        self._modes = resolved
        self._hash = hash(tuple(resolved.items()))

    def __getitem__(self, which: Component) -> DimensionMode:
        return self._modes[which]

    def __iter__(self) -> Iterator[Component]:
        return iter(self._modes)

    def __len__(self) -> int:
        return len(self._modes)

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        changed = {k.value: v.value for k, v in self._modes.items() if v is not _DEFAULTS[k]}
        return f"ComponentModes({changed or ''})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self._modes),)


_DEFAULTS: Mapping[Component, DimensionMode] = {
    which: DimensionMode.LAYER if which is Component.CHANNEL else DimensionMode.STACK for which in Component
}

DEFAULT_MODES = ComponentModes()
"""Channels are layers; everything else is a slider."""


@dataclass(frozen=True, slots=True)
class DisplaySpec:
    """How the images of a batch want to be shown. Immutable and hashable; the same for all of one batch.

    Parameters
    ----------
    colormap
        Name of a colour map for image layers. The viewer checks it and falls back to gray with a warning.
        ``"auto"`` gives every channel a colour of its own (see `channel_colormap`).
    variable_size
        What to do with images of different sizes.
    modes
        Layers or a slider, for each component; components left out have their default.
    replace_layers
        True: a later run of a step takes over the layer of the same name in place. False: it gets layers of
        its own.
    scale
        Size of a pixel (y, x) in micrometres, or None when unknown.
    follow
        True: the viewer's sliders move to each arriving image.

    Raises
    ------
    ProjectionError
        A value that means nothing, with what would.
    """

    colormap: str = "gray"
    variable_size: VariableSize = VariableSize.SEPARATE_LAYERS
    modes: Mapping[Component, DimensionMode] = field(default=DEFAULT_MODES)
    replace_layers: bool = False
    scale: tuple[float, float] | None = None
    follow: bool = False

    def __post_init__(self) -> None:
        if type(self.colormap) is not str or not 0 < len(self.colormap) <= 100:
            raise ProjectionError(f"colormap={self.colormap!r}: give the name of a colour map, e.g. 'gray'")
        object.__setattr__(self, "variable_size", member(VariableSize, "variable_size", self.variable_size))
        if not isinstance(self.modes, ComponentModes):
            if not isinstance(self.modes, Mapping):
                raise ProjectionError(f"modes={self.modes!r}: give a mapping such as {{'well': 'layer'}}")
            object.__setattr__(self, "modes", ComponentModes(self.modes))
        if self.scale is not None:
            object.__setattr__(self, "scale", _pixel_size(self.scale))

    def to_wire(self) -> dict[str, Any]:
        """The spec as plain str, bool, float and dict, for a message."""
        return {
            "colormap": self.colormap,
            "variable_size": self.variable_size.value,
            "modes": {which.value: mode.value for which, mode in self.modes.items()},
            "replace_layers": self.replace_layers,
            "scale": self.scale,
            "follow": self.follow,
        }

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> DisplaySpec:
        """The spec of a message; entries this version does not know are ignored, missing ones have their
        default.

        Raises
        ------
        ProjectionError, ComponentError
            A value that means nothing.
        """
        if not isinstance(wire, Mapping):
            raise ProjectionError(f"a display spec is a mapping, not {type(wire).__name__}")
        known = {name: wire[name] for name in cls.__dataclass_fields__ if name in wire}
        for name in ("replace_layers", "follow"):
            if not isinstance(known.get(name, False), bool):
                raise ProjectionError(f"{name}={known[name]!r}: True or False")
        return cls(**known)


def member(kind: type[E], what: str, value: object) -> E:
    """The member of `kind` that `value` is or names, in any case.

    Raises
    ------
    ProjectionError
        None is; the text lists those known.
    """
    try:
        return kind(value.lower() if isinstance(value, str) else value)
    except ValueError:
        known = ", ".join(one.value for one in kind)
        raise ProjectionError(f"{what}={value!r} is not known (known: {known})") from None


def _pixel_size(scale: object) -> tuple[float, float]:
    try:
        y, x = (float(size) for size in scale)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        raise ProjectionError(f"scale={scale!r}: give (y, x) in micrometres per pixel, or None") from None
    if not (0 < y < math.inf and 0 < x < math.inf):
        raise ProjectionError(f"scale={scale!r}: a pixel's size is finite and above 0")
    return y, x
