"""Which layer and which slider position every arriving image belongs to.

`LayerProjection` is told of one plane at a time and answers at once, in O(log n) of the planes seen so far:
the thousandth costs what the tenth did. It holds no pixels and knows no viewer, so it is tested with tables.

The rules, each of them a test:

* **One layer** per run, step, kind of data and combination of the values of components whose mode is
  ``LAYER``. The other components are sliders. What a layer's planes have no value for (a projection has no z)
  is no axis of it: it is shown at every position of that slider. Images with and without such a component
  never share a layer.
* **Sliders are the viewer's**, common to all its layers: the components with more than one value anywhere. A
  single image is a plain picture; its first sibling makes a slider. Values are kept sorted, planes are found
  by values and never by index, so nothing moves when a value is inserted.
* **Sizes.** ``SEPARATE_LAYERS``: the first size keeps the layer, a well with planes of another size gets one
  of its own. ``PAD_TO_MAX``: the layer grows to the largest. Another dtype always gets a layer of its own:
  pixels are never converted.
* **Names** never change once given. A second run gets ``..._run_2`` beside the first, or with
  ``replace_layers`` takes over the layer of that name.
* **One producer per coordinate.** The same image again replaces its older self; another one for the same
  place (a different path, or no path and a different producer) is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from polystore.components import Component, ImageKey, Value, canonical, component
from polystore.projection._base import Batch, GroupedProjection, place_all
from polystore.projection._grouping import (
    AXIS_ORDER,
    NAME_ORDER,
    OrderedValues,
    channel_colormap,
    difference,
    values_of,
)
from polystore.projection._state import Group, Layer, Step
from polystore.projection.plan import KINDS, Axis, Context, LayerPlan, Placement, Position
from polystore.projection.spec import DimensionMode, DisplaySpec

__all__ = [
    "KINDS",
    "Axis",
    "Context",
    "LayerPlan",
    "LayerProjection",
    "Placement",
    "Position",
    "project_layers",
]


class LayerProjection(GroupedProjection):
    """The layers and sliders of one viewer, growing with every plane. Not thread-safe: guard it with a
    lock.
    """

    grown: ClassVar[frozenset[str]] = frozenset({"axis"})

    def __init__(self) -> None:
        super().__init__()
        self._groups: dict[Any, Group] = {}
        self._siblings: dict[Any, list[Group]] = {}
        self._lit: set[int] = set()
        self._axes = {which: OrderedValues(which) for which in AXIS_ORDER}
        self._axes_frozen: tuple[Axis, ...] | None = ()
        self.axes_version = 0
        """Grows with every change of `axes`."""

    # -- questions

    def axes(self) -> tuple[Axis, ...]:
        """The viewer's sliders, outermost first: the components with more than one value. The same object
        until one changes.
        """
        if self._axes_frozen is None:
            self._axes_frozen = tuple(
                (which, values.as_tuple()) for which, values in self._axes.items() if len(values) > 1
            )
        return self._axes_frozen

    # -- growth

    def declare(self, extents: Mapping[Component | str, Iterable[Value]]) -> bool:
        """Announce values before their planes: sliders are there from the start. Returns whether they
        changed.

        Raises
        ------
        ComponentError
            A component or value nobody understands.
        """
        before = self.axes_version
        for name, values in extents.items():
            which = component(name)
            for value in values:
                self._add_value(which, canonical(which, value))
        return self.axes_version != before

    # -- inside

    def _split(self, spec: DisplaySpec) -> tuple[tuple[Component, ...], tuple[Component, ...]]:
        modes = spec.modes
        return (
            tuple(which for which in NAME_ORDER if modes[which] is DimensionMode.LAYER),
            tuple(which for which in AXIS_ORDER if modes[which] is not DimensionMode.LAYER),
        )

    def _group_key(self, step: Step, key: ImageKey, kind: str, part: str) -> tuple[Any, Any, Any]:
        layered, values = values_of(key, step.layered), values_of(key, step.stacked)
        components = tuple([w for w, v in zip(step.stacked, values, strict=True) if v is not None])
        family = (step.run, step.index, step.name, kind, part, step.layered, layered)
        return (family, components), layered, tuple([v for v in values if v is not None])

    def _group(self, step: Step, key: ImageKey, kind: str, part: str) -> tuple[Group, Position]:
        group_key, layered, position = self._group_key(step, key, kind, part)
        group = self._groups.get(group_key)
        if group is None:
            family, components = group_key
            siblings = self._siblings.setdefault(family, [])
            mixed = tuple(v for w, v in zip(step.layered, layered, strict=True) if w is not Component.CHANNEL)
            composite = (step.run, step.index, step.name, part, step.layered, mixed)
            group = self._groups[group_key] = Group(
                step=step,
                kind=kind,
                part=part,
                layered=layered,
                components=components,
                order=self._order(step, kind, composite),
                note=difference(siblings[0].components, components) if siblings else "",
                siblings=siblings,
            )
            siblings.append(group)
        else:
            group.step = step  # the newest display spec of the step holds for layers made from now on
        return group, position

    def _found(self, step: Step, key: ImageKey, kind: str, part: str) -> tuple[Group, Position] | None:
        group_key, _, position = self._group_key(step, key, kind, part)
        group = self._groups.get(group_key)
        return (group, position) if group else None

    def _new_layer(self, group: Group, key: ImageKey, plan: LayerPlan, old: Layer | None) -> Layer:
        composite, hides = group.order[2], self._hidden_by(group)
        plan = replace(
            plan,
            colormap=channel_colormap(group.step.spec.colormap, key.channel),
            base=old.plan.base if old else self._is_base(composite, hides),
            visible=not any(group.is_part_of(other) for other in group.siblings),
            hides=hides,
        )
        if group.kind == "image":
            self._lit.add(composite)
        return Layer(group, plan)

    def _is_base(self, composite: int, hides: tuple[str, ...]) -> bool:
        # A stack that hides the projection everything else of the step lies on takes its part.
        return composite not in self._lit or any(self._layers[one].plan.base for one in hides)

    def _hidden_by(self, group: Group) -> tuple[str, ...]:
        """The layers of a group's siblings that have less sliders than it: projections of the same channel."""
        fewer = [other for other in group.siblings if other.is_part_of(group)]
        return tuple(layer.layer_id for other in fewer for layer in other.layers.values() if not layer.gone)

    def _add_position(self, layer: Layer, position: Position) -> bool:
        before = self.axes_version
        for values, which, value in zip(layer.axes, layer.plan.components, position, strict=True):
            if value is None:
                continue
            if values.add(value):
                layer.frozen = None
            self._add_value(which, value)
        return self.axes_version != before

    def _add_value(self, which: Component, value: Value) -> None:
        values = self._axes[which]
        if values.add(value) and len(values) > 1:
            self.axes_version += 1
            self._axes_frozen = None


def project_layers(
    items: Iterable[tuple[ImageKey, Sequence[int], np.dtype[np.generic] | str]],
    spec: DisplaySpec = DisplaySpec(),  # noqa: B008 - immutable
    *,
    run: str = "",
    step_index: int | None = None,
    step_name: str = "",
    kind: str = "image",
) -> tuple[LayerPlan, ...]:
    """The layers that the planes of one step make: key, shape and dtype of each.

    Raises
    ------
    ProjectionError
        The first plane that cannot be placed.
    """
    projection = LayerProjection()
    place_all(projection, items, Batch(run, step_index, step_name, "", spec), kind)
    return projection.layers()
