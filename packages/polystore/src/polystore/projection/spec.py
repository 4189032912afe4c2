"""How a batch of images wants to be shown, in words no particular viewer owns."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Any, ClassVar, Generic, TypeVar

from polystore.components import Component, component
from polystore.errors import ProjectionError

__all__ = [
    "DEFAULT_DIMENSIONS",
    "DEFAULT_MODES",
    "ChannelDisplay",
    "ComponentDimensions",
    "ComponentModes",
    "Dimension",
    "DimensionMode",
    "DisplaySpec",
    "VariableSize",
]

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


class Dimension(StrEnum):
    """What one component becomes in a viewer of hyperstacks, whose images have three dimensions beside y and x."""

    CHANNEL = "channel"
    """Channels of a hyperstack: with several, a composite in colours."""

    Z = "z"
    """Slices of a hyperstack."""

    FRAME = "frame"
    """Frames of a hyperstack. Components that share a dimension stand one after the other in it."""

    WINDOW = "window"
    """A hyperstack for each of its values."""


class ChannelDisplay(StrEnum):
    """How the channels of a hyperstack are shown."""

    COMPOSITE = "composite"
    """All at once, each in its colour."""

    COLOR = "color"
    """One at a time, in its colour."""

    GRAYSCALE = "grayscale"
    """One at a time, in gray."""


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


class _PerComponent(Mapping[Component, E], Generic[E]):
    """One member of an enum for every component: immutable, hashable, picklable; what is not given has its default."""

    __slots__ = ("_hash", "_values")

    kind: ClassVar[type[Any]]
    what: ClassVar[str]
    defaults: ClassVar[Mapping[Component, Any]]

    def __init__(self, values: Mapping[Component, E] | Mapping[str, str] | None = None) -> None:
        resolved = dict(self.defaults)
        for name, value in (values or {}).items():
            which = component(name)
            resolved[which] = member(self.kind, f"{self.what} of {which.value}", value)
        self._values = resolved
        self._hash = hash(tuple(resolved.items()))

    def __getitem__(self, which: Component) -> E:
        return self._values[which]  # type: ignore[no-any-return]

    def __iter__(self) -> Iterator[Component]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        changed = {k.value: v.value for k, v in self._values.items() if v is not self.defaults[k]}
        return f"{type(self).__name__}({changed or ''})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self._values),)


class ComponentModes(_PerComponent[DimensionMode]):
    """The mode of every component: immutable, hashable, picklable; what is not given has its default.

    Parameters
    ----------
    values
        Component, or any of its names, to mode.

    Raises
    ------
    ComponentError
        A component nobody knows.
    ProjectionError
        A mode nobody knows.
    """

    __slots__ = ()

    kind = DimensionMode
    what = "mode"
    defaults: ClassVar[Mapping[Component, DimensionMode]] = {
        which: DimensionMode.LAYER if which is Component.CHANNEL else DimensionMode.STACK
        for which in Component
    }


class ComponentDimensions(_PerComponent[Dimension]):
    """The dimension of every component in a viewer of hyperstacks; as `ComponentModes` otherwise."""

    __slots__ = ()

    kind = Dimension
    what = "dimension"
    defaults: ClassVar[Mapping[Component, Dimension]] = {
        which: {
            Component.CHANNEL: Dimension.CHANNEL,
            Component.Z: Dimension.Z,
            Component.T: Dimension.FRAME,
        }.get(which, Dimension.WINDOW)
        for which in Component
    }


DEFAULT_MODES = ComponentModes()
"""Channels are layers; everything else is a slider."""

DEFAULT_DIMENSIONS = ComponentDimensions()
"""Channels, z and t are the dimensions of those names; everything else has windows of its own."""


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
        Of a viewer of layers: layers or a slider, for each component; components left out have their default.
    dimensions
        Of a viewer of hyperstacks: which dimension each component is, or a window for each of its values.
    channel_display
        Of a viewer of hyperstacks: the channels at once, or one at a time.
    replace_layers
        True: a later run of a step takes over the layer of the same name in place. False: it gets layers of
        its own.
    scale
        Size of a pixel (y, x) in micrometres, or None when unknown.
    z_step
        Distance of two z planes in micrometres, or None when unknown.
    frame_interval
        Time between two time points in seconds, or None when unknown.
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
    dimensions: Mapping[Component, Dimension] = field(default=DEFAULT_DIMENSIONS)
    channel_display: ChannelDisplay = ChannelDisplay.COMPOSITE
    replace_layers: bool = False
    scale: tuple[float, float] | None = None
    z_step: float | None = None
    frame_interval: float | None = None
    follow: bool = False

    def __post_init__(self) -> None:
        if type(self.colormap) is not str or not 0 < len(self.colormap) <= 100:
            raise ProjectionError(f"colormap={self.colormap!r}: give the name of a colour map, e.g. 'gray'")
        object.__setattr__(self, "variable_size", member(VariableSize, "variable_size", self.variable_size))
        shown = member(ChannelDisplay, "channel_display", self.channel_display)
        object.__setattr__(self, "channel_display", shown)
        for name, kind in (("modes", ComponentModes), ("dimensions", ComponentDimensions)):
            given = getattr(self, name)
            if not isinstance(given, kind):
                if not isinstance(given, Mapping):
                    raise ProjectionError(f"{name}={given!r}: give a mapping such as {_EXAMPLES[name]}")
                object.__setattr__(self, name, kind(given))
        for name in ("z_step", "frame_interval"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, positive(name, getattr(self, name)))
        if self.scale is not None:
            object.__setattr__(self, "scale", _pixel_size(self.scale))

    def to_wire(self) -> dict[str, Any]:
        """The spec as plain str, bool, float and dict, for a message."""
        wire: dict[str, Any] = {
            "colormap": self.colormap,
            "variable_size": self.variable_size.value,
            "modes": {which.value: mode.value for which, mode in self.modes.items()},
            "replace_layers": self.replace_layers,
            "scale": self.scale,
            "follow": self.follow,
        }
        # These only when they say something: most batches leave them alone, and each carries its spec.
        if self.dimensions != DEFAULT_DIMENSIONS:
            wire["dimensions"] = {which.value: one.value for which, one in self.dimensions.items()}
        if self.channel_display is not ChannelDisplay.COMPOSITE:
            wire["channel_display"] = self.channel_display.value
        for name in ("z_step", "frame_interval"):
            if getattr(self, name) is not None:
                wire[name] = getattr(self, name)
        return wire

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


_EXAMPLES = {"modes": {"well": "layer"}, "dimensions": {"well": "frame"}}


def positive(name: str, value: Any) -> float:
    """A finite number above 0.

    Raises
    ------
    ProjectionError
        It is none; the text says which setting that was.
    """
    try:
        found = float(value)
    except (TypeError, ValueError):
        raise ProjectionError(f"{name}={value!r}: give a number, or None") from None
    if not 0 < found < math.inf:
        raise ProjectionError(f"{name}={value!r}: it is finite and above 0")
    return found


def _pixel_size(scale: object) -> tuple[float, float]:
    try:
        y, x = (float(size) for size in scale)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        raise ProjectionError(f"scale={scale!r}: give (y, x) in micrometres per pixel, or None") from None
    if not (0 < y < math.inf and 0 < x < math.inf):
        raise ProjectionError(f"scale={scale!r}: a pixel's size is finite and above 0")
    return y, x
