"""What the projection says of one hyperstack: plain frozen values, and where each plane is in it."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field, replace
from typing import Self, TypeAlias

from polystore.components import Component, Value
from polystore.errors import ProjectionError
from polystore.projection._entries import Entry, EntryIndex, values_at
from polystore.projection.plan import LayerPlan, Limits, Position
from polystore.projection.spec import ChannelDisplay

__all__ = ["HyperstackPlan", "part_of"]

Along: TypeAlias = tuple[tuple[Component, ...], tuple[Component, ...], tuple[Component, ...]]

_LABEL_ORDER = (
    Component.PLATE,
    Component.ACQUISITION,
    Component.WELL,
    Component.FIELD,
    Component.CHANNEL,
    Component.Z,
    Component.T,
)
"""As one says it, the place on the plate first: a narrow window shows the beginning."""


def part_of(entry: Entry) -> Value | None:
    """A channel's entry as one value: itself, the texts joined where several components share the channels, or
    None without any.
    """
    values = [value for value in entry if value is not None]
    return values[0] if len(values) == 1 else " ".join(map(str, values)) or None


@dataclass(frozen=True, slots=True)
class HyperstackPlan(LayerPlan):
    """All a viewer needs to know to make a hyperstack.

    Any thread may ask it. What `LayerPlan` says holds here too; `components` are those of the positions of its
    planes, `axes` those of them that have values.

    Parameters
    ----------
    along
        The components of the entries along C, Z and T, outermost first; those without any value are left out.
    channels, slices, frames
        The entries along C, Z and T, sorted: a value for each component of `along`. Always at least one, ``((),)``
        for a dimension without components.
    window
        The values that have a window of their own.
    colormaps, contrasts
        Of each channel; a contrast is None while unknown.
    channel_display
        How channels are shown. Grayscale for colour pictures and labels, which are never added up.
    z_step, frame_interval
        Distance of z planes in micrometres, and of frames in seconds, or None.
    """

    along: Along = ((), (), ())
    channels: tuple[Entry, ...] = ((),)
    slices: tuple[Entry, ...] = ((),)
    frames: tuple[Entry, ...] = ((),)
    window: Mapping[Component, Value] = field(default_factory=dict, hash=False)
    colormaps: tuple[str, ...] = ("gray",)
    contrasts: tuple[Limits | None, ...] = (None,)
    channel_display: ChannelDisplay = ChannelDisplay.COMPOSITE
    z_step: float | None = None
    frame_interval: float | None = None
    index: tuple[EntryIndex, ...] = field(default=(), repr=False, compare=False)
    """Of C, Z and T; made from the entries, and handed on to copies with the same ones."""

    def __post_init__(self) -> None:
        pairs = tuple(zip(self.along, (self.channels, self.slices, self.frames), strict=True))
        if len(self.index) != len(pairs) or not all(
            index.is_of(*pair) for index, pair in zip(self.index, pairs, strict=True)
        ):
            object.__setattr__(self, "index", tuple(EntryIndex(*pair) for pair in pairs))

    @property
    def size(self) -> tuple[int, int, int]:
        """How many channels, slices and frames."""
        return len(self.channels), len(self.slices), len(self.frames)

    @property
    def composite(self) -> bool:
        """Whether several channels are shown at once."""
        return self.channel_display is ChannelDisplay.COMPOSITE and len(self.channels) > 1

    def slots(self, position: Position) -> tuple[int, ...]:
        """Where a plane is: ImageJ's plane numbers from 1, rising, ``(t - 1) * C * Z + (z - 1) * C + c``.

        Several where it has no value and others have: a plane without z is shown at all of them. None at all for
        a position this plan does not know (yet).
        """
        values = values_at(self.components, position)
        c_at, z_at, t_at = self._at(values)
        channels, slices, _ = self.size
        return tuple([(t * slices + z) * channels + c + 1 for t in t_at for z in z_at for c in c_at])

    def position(self, c: int, z: int, t: int) -> Mapping[Component, Value]:
        """The values at a channel, slice and frame, counted from 1: what is looked at there.

        Raises
        ------
        ProjectionError
            Beyond the hyperstack.
        """
        values: dict[Component, Value] = {}
        every = (self.channels, self.slices, self.frames)
        for name, at, components, entries in zip("czt", (c, z, t), self.along, every, strict=True):
            if not 1 <= at <= len(entries):
                raise ProjectionError(
                    f"{name}={at} is not in {self.name!r}, which has {len(entries)}: count from 1"
                )
            values |= values_at(components, entries[at - 1])
        return values

    def nearest(self, values: Mapping[Component, Value]) -> tuple[int, int, int]:
        """The channel, slice and frame, counted from 1, that show those values, or are next to them.

        The inverse of `position`; with the values a user looked at it finds their place in a hyperstack that grew.
        """
        c, z, t = (
            index.nearest([values.get(which) for which in components]) + 1
            for index, components in zip(self.index, self.along, strict=True)
        )
        return c, z, t

    def label(self, index: int, *, without: Container[Component] = ()) -> str:
        """What to write over a plane: ``B10; site 2; DAPI; z 3; t 1``. The channel always, other components where they
        have more than one value.

        Parameters
        ----------
        index
            ImageJ's number of the plane.
        without
            Components to leave out.

        Raises
        ------
        ProjectionError
            No such plane; they count from 1.
        """
        channels, slices, frames = self.size
        if not 1 <= index <= channels * slices * frames:
            raise ProjectionError(
                f"plane {index} is not in {self.name!r}, which has {channels * slices * frames}: count from 1"
            )
        rest, c = divmod(index - 1, channels)
        t, z = divmod(rest, slices)
        values = self.position(c + 1, z + 1, t + 1)
        several = {which for which, known in self.axes if len(known) > 1}
        return "; ".join(
            _word(which, values[which])
            for which in _LABEL_ORDER
            if which in values and which not in without and (which in several or which is Component.CHANNEL)
        )

    def with_contrast(self, limits: Mapping[Value | None, Limits]) -> Self:
        """Return the plan with the display range of each channel (`Placement.part`) that has one."""
        contrasts = tuple(
            limits.get(part_of(channel), known)
            for channel, known in zip(self.channels, self.contrasts, strict=True)
        )
        first = next((known for known in contrasts if known is not None), None)
        return replace(self, contrast=first, contrasts=contrasts)

    def _at(self, values: Mapping[Component, Value]) -> tuple[tuple[int, ...], ...]:
        return tuple(
            index.at([values.get(which) for which in components])
            for index, components in zip(self.index, self.along, strict=True)
        )


def _word(which: Component, value: Value) -> str:
    if which in (Component.CHANNEL, Component.WELL) and isinstance(value, str):
        return value
    return f"{'site' if which is Component.FIELD else which.value} {value}"
