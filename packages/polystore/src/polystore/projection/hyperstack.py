"""Which hyperstack, and which channel, slice and frame of it, every arriving image belongs to.

`HyperstackProjection` is to a viewer of hyperstacks (ImageJ, Fiji) what `LayerProjection` is to one of layers: pure,
told of one plane at a time, O(log n) in the planes seen so far.

The rules, each of them a test:

* **One window** per run, step, kind of data and combination of the values of components whose dimension is
  ``WINDOW``: by default per step, well and site. It is named as a layer is.
* **C, Z and T** take the other components. Several may share a dimension (sites on T): its entries are the
  combinations that were seen, the outermost component first (`AXIS_ORDER`). Entries are sorted like sliders,
  channels by their light (`entry_key`), whatever the order in which they come. Positions are values, so a window
  that grows moves nothing.
* **What a plane has no value for**: a channel that is a projection stands beside the z stacks of others and is shown
  at all z. A channel that has both gets a window for the one that came later: ``..._projection``, ``..._Z_stack``.
  All planes of a window have a channel, or none has.
* **Sizes, dtypes, colour pictures**: as with layers, so mostly windows of their own. Colour pictures and labels are
  not added up in a composite.
* **Colours.** Each channel has the colour map its first plane came with; ``"auto"`` gives each its own. Where several
  channels are shown in colour, at once or one at a time, and all are gray, gray is taken for ``"auto"``: their sum
  would be one gray picture.
* **Runs, producers, images sent again**: as with layers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, cast

import numpy as np

from polystore.components import Component, ImageKey, Value, canonical, component
from polystore.projection._base import Batch, GroupedProjection, place_all
from polystore.projection._entries import Entries, Entry, mask_of, picker, values_at
from polystore.projection._grouping import (
    AXIS_ORDER,
    NAME_ORDER,
    OrderedValues,
    channel_colormaps,
    difference,
    values_of,
)
from polystore.projection._hyperstack_plan import HyperstackPlan, part_of
from polystore.projection._roi_hosts import host_of, place_roi
from polystore.projection._state import Group, Layer, Step
from polystore.projection.plan import Axis, LayerPlan, Position
from polystore.projection.spec import ChannelDisplay, Dimension, DisplaySpec

__all__ = ["HyperstackPlan", "HyperstackProjection", "host_of", "place_roi", "project_hyperstacks"]

_Pick = Callable[[Sequence[Any]], tuple[Any, ...]]


class _Layout:
    """Which components of a position are along C, Z and T."""

    __slots__ = ("along", "channel", "components", "pickers", "shared")

    def __init__(self, spec: DisplaySpec, components: tuple[Component, ...]) -> None:
        self.components = components
        self.along = tuple(
            tuple(which for which in components if spec.dimensions[which] is dimension)
            for dimension in (Dimension.CHANNEL, Dimension.Z, Dimension.FRAME)
        )
        self.pickers: tuple[_Pick, ...] = tuple(
            picker([components.index(which) for which in some]) for some in self.along
        )
        self.channel = self.pickers[0]
        alone = (Component.CHANNEL,) if Component.CHANNEL in components else self.along[0]
        self.shared: _Pick = picker([components.index(which) for which in alone])
        """What tells planes apart that may lack different components in one window: their channels."""


class _Window(Group):
    """Planes that share a hyperstack unless their size or dtype keeps them apart."""

    __slots__ = ("family",)

    family: _Family

    def part_of(self, position: Position) -> Value | None:
        return part_of(self.family.layout.channel(position))


@dataclass(slots=True, eq=False)
class _Family:
    """A window, and the windows beside it for planes that cannot share it."""

    layout: _Layout
    values: Mapping[Component, Value]
    main: _Window | None = None
    first: tuple[int, ...] = ()  # where the positions of its first plane have values ...
    first_shared: tuple[int, ...] = ()  # ... and those of its channel
    channels: dict[tuple[Value | None, ...], tuple[int, ...]] = field(default_factory=dict)
    beside: dict[tuple[int, ...], _Window] = field(default_factory=dict)

    def owner(self, position: Position, has: tuple[int, ...]) -> tuple[int, ...] | None:
        """None: the plane is of the main window. Else what the planes have whose place it cannot share."""
        if self.main is None:
            return None
        shared = self.layout.shared(position)
        known = self.channels.get(shared)
        if known is not None:
            return None if known == has else known
        return None if mask_of(shared) == self.first_shared else self.first


class _Hyperstack(Layer):
    """One hyperstack as it grows."""

    __slots__ = ("along", "given", "layout", "started")

    def __init__(self, group: _Window, plan: HyperstackPlan) -> None:
        super().__init__(group, plan)
        self.axes = [OrderedValues(which, hyperstack=True) for which in plan.components]
        self.layout = group.family.layout
        self.along = tuple(Entries(components) for components in self.layout.along)
        self.given: dict[tuple[Value | None, ...], str] = {}  # by channel, the colour map it came with
        self.started = False

    def add(self, position: Position) -> bool:
        """Note the position of a plane; returns whether one that was there before grew by it."""
        for values, value in zip(self.axes, position, strict=True):
            if value is not None:
                values.add(value)
        grown = False
        self.given.setdefault(self.layout.channel(position), self.group.step.spec.colormap)
        for entries, pick in zip(self.along, self.layout.pickers, strict=True):
            grown |= entries.add(pick(position))
        if grown:
            self.frozen = None
        grown, self.started = grown and self.started, True
        return grown

    def view(self) -> HyperstackPlan:
        """The plan with the entries and the size of now; the same object until something changes."""
        if self.frozen is None:
            (c, channels), (z, slices), (t, frames) = (entries.view() for entries in self.along)
            plan = cast("HyperstackPlan", self.plan)
            colormaps = self._colormaps(plan, c, channels)
            self.frozen = replace(
                plan,
                axes=tuple(
                    (which, values.as_tuple())
                    for which, values in zip(plan.components, self.axes, strict=True)
                    if len(values)
                ),
                plane_shape=self.shape,
                along=(c, z, t),
                channels=channels,
                slices=slices,
                frames=frames,
                colormap=colormaps[0],
                colormaps=colormaps,
                contrasts=(None,) * len(channels),
            )
        return cast("HyperstackPlan", self.frozen)

    def _colormaps(
        self, plan: HyperstackPlan, components: tuple[Component, ...], channels: tuple[Entry, ...]
    ) -> tuple[str, ...]:
        if plan.channel_display is ChannelDisplay.GRAYSCALE:
            return ("gray",) * len(channels)
        named: Sequence[Value | None]
        if Component.CHANNEL in components:
            at = components.index(Component.CHANNEL)
            named = [entry[at] for entry in channels]
        elif components:  # sites, say, in colours: told apart by their number
            named = range(1, len(channels) + 1)
        else:
            named = [plan.window.get(Component.CHANNEL)]
        first = next(iter(self.given.values()))
        given = [self.given.get(entry, first) for entry in channels]
        return channel_colormaps(given, named)


class HyperstackProjection(GroupedProjection):
    """The hyperstacks of one viewer, growing with every plane. Not thread-safe: guard it with a lock.

    `Placement.changed` has ``"shape"`` when a hyperstack got new entries or larger planes; its plan
    (`HyperstackPlan`) is then another one. `Placement.part` is the channel's entry as one value.
    """

    grown: ClassVar[frozenset[str]] = frozenset({"shape"})

    label_kinds: ClassVar[str] = "buif"
    """ImageJ has whole numbers up to 16 bits: labels beyond have become floats when they are placed."""

    axes_version = 0
    """Never grows: each hyperstack has sliders of its own, so the viewer has none in common."""

    def __init__(self) -> None:
        super().__init__()
        self._layouts: dict[Any, _Layout] = {}
        self._families: dict[Any, _Family] = {}

    # -- questions

    def axes(self) -> tuple[Axis, ...]:
        """The sliders all hyperstacks have in common: none."""
        return ()

    def layers(self) -> tuple[HyperstackPlan, ...]:
        """The plans of all hyperstacks, in the order in which they came."""
        return cast("tuple[HyperstackPlan, ...]", super().layers())

    def layer(self, layer_id: str) -> HyperstackPlan | None:
        """The plan of one hyperstack, or None when it is gone."""
        return cast("HyperstackPlan | None", super().layer(layer_id))

    # -- growth

    def declare(self, extents: Mapping[Component | str, Iterable[Value]]) -> bool:
        """Check what a sender announces. Nothing comes of it, and False is returned: a hyperstack has a plane for
        each combination of its entries, and which combinations will come is not said.

        Raises
        ------
        ComponentError
            A component or value nobody understands.
        """
        for name, values in extents.items():
            which = component(name)
            for value in values:
                canonical(which, value)
        return False

    # -- inside

    def _split(self, spec: DisplaySpec) -> tuple[tuple[Component, ...], tuple[Component, ...]]:
        dimensions = spec.dimensions
        return (
            tuple(which for which in NAME_ORDER if dimensions[which] is Dimension.WINDOW),
            tuple(which for which in AXIS_ORDER if dimensions[which] is not Dimension.WINDOW),
        )

    def _locate(
        self, step: Step, key: ImageKey, kind: str, part: str
    ) -> tuple[Any, _Family | None, Position]:
        """What tells the family of a plane from others, that family, and the plane's position."""
        layered = values_of(key, step.layered)
        family_key = (step.run, step.index, step.name, kind, part, step.spec.dimensions, layered)
        return family_key, self._families.get(family_key), values_of(key, step.stacked)

    def _group(self, step: Step, key: ImageKey, kind: str, part: str) -> tuple[Group, Position]:
        family_key, family, position = self._locate(step, key, kind, part)
        if family is None:
            family = self._families[family_key] = self._new_family(step, family_key[-1])
        has = mask_of(position)
        owner = family.owner(position, has)
        if owner is None:
            if family.main is None:
                family.first, family.first_shared = has, mask_of(family.layout.shared(position))
                family.main = self._new_window(family, step, kind, part, family_key[-1], "")
            family.channels.setdefault(family.layout.shared(position), has)
            window = family.main
        else:
            found = family.beside.get(has)
            if found is None:
                components = family.layout.components
                note = difference(tuple(components[at] for at in owner), tuple(components[at] for at in has))
                found = self._new_window(family, step, kind, part, family_key[-1], note)
                family.beside[has] = found
            window = found
        window.step = step  # the newest display spec of the step holds for windows made from now on
        return window, position

    def _found(self, step: Step, key: ImageKey, kind: str, part: str) -> tuple[Group, Position] | None:
        _, family, position = self._locate(step, key, kind, part)
        if family is None:
            return None
        has = mask_of(position)
        window = family.main if family.owner(position, has) is None else family.beside.get(has)
        return (window, position) if window else None

    def _new_family(self, step: Step, layered: tuple[Value | None, ...]) -> _Family:
        layout = self._layouts.get(step.spec.dimensions)
        if layout is None:
            layout = self._layouts[step.spec.dimensions] = _Layout(step.spec, step.stacked)
        return _Family(layout, values_at(step.layered, layered))

    def _new_window(
        self,
        family: _Family,
        step: Step,
        kind: str,
        part: str,
        layered: tuple[Value | None, ...],
        note: str,
    ) -> _Window:
        composite = (step.run, step.index, step.name, part, step.layered, layered)
        window = _Window(
            step=step,
            kind=kind,
            part=part,
            layered=layered,
            components=step.stacked,
            order=self._order(step, kind, composite),
            note=note,
            siblings=[],
        )
        window.family = family
        return window

    def _new_layer(self, group: Group, key: ImageKey, plan: LayerPlan, old: Layer | None) -> Layer:
        window = cast("_Window", group)
        spec = group.step.spec
        one_by_one = plan.rgb or plan.kind != "image"
        whole = HyperstackPlan(
            **{name: getattr(plan, name) for name in LayerPlan.__dataclass_fields__},
            window=window.family.values,
            channel_display=ChannelDisplay.GRAYSCALE if one_by_one else spec.channel_display,
            z_step=spec.z_step,
            frame_interval=spec.frame_interval,
        )
        return _Hyperstack(window, whole)

    def _add_position(self, layer: Layer, position: Position) -> bool:
        return cast("_Hyperstack", layer).add(position)


def project_hyperstacks(
    items: Iterable[tuple[ImageKey, Sequence[int], np.dtype[np.generic] | str]],
    spec: DisplaySpec = DisplaySpec(),  # noqa: B008 - immutable
    *,
    run: str = "",
    step_index: int | None = None,
    step_name: str = "",
    kind: str = "image",
) -> tuple[HyperstackPlan, ...]:
    """The hyperstacks that the planes of one step make: key, shape and dtype of each.

    Raises
    ------
    ProjectionError
        The first plane that cannot be placed.
    """
    projection = HyperstackProjection()
    place_all(projection, items, Batch(run, step_index, step_name, "", spec), kind)
    return projection.layers()
