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
from dataclasses import dataclass
from typing import Any

import numpy as np

from polystore.components import Component, ImageKey, Value, canonical, component
from polystore.errors import ProjectionError
from polystore.projection._grouping import (
    AXIS_ORDER,
    NAME_ORDER,
    OrderedValues,
    channel_colormap,
    difference,
    layer_name,
    printable,
    title,
    token,
    values_of,
)
from polystore.projection._planes import check_plane, is_rgb
from polystore.projection._state import Group, Layer, Step
from polystore.projection.plan import KINDS, Axis, Context, LayerPlan, Placement, Position
from polystore.projection.spec import DimensionMode, DisplaySpec, VariableSize

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

_NOTHING: frozenset[str] = frozenset()
_NEW_LAYER = frozenset({"new_layer"})
_AXIS = frozenset({"axis"})
_SHAPE = frozenset({"shape"})
_VECTORS = frozenset({"shapes", "points"})


class LayerProjection:
    """The layers and sliders of one viewer, growing with every plane. Not thread-safe: guard it with a
    lock.
    """

    def __init__(self) -> None:
        self._steps: dict[Context, Step] = {}
        self._runs: dict[str, int] = {}
        self._groups: dict[Any, Group] = {}
        self._siblings: dict[Any, list[Group]] = {}
        self._composites: dict[Any, int] = {}
        self._lit: set[int] = set()
        self._layers: dict[str, Layer] = {}
        self._names: dict[str, Layer] = {}
        self._count = 0
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

    def layers(self) -> tuple[LayerPlan, ...]:
        """The plans of all layers, in the order in which they came."""
        return tuple(layer.view() for layer in self._layers.values())

    def layer(self, layer_id: str) -> LayerPlan | None:
        """The plan of one layer, or None when it is gone."""
        found = self._layers.get(layer_id)
        return found.view() if found else None

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

    def place(
        self,
        context: Context,
        key: ImageKey,
        shape: Sequence[int],
        dtype: np.dtype[np.generic] | str,
        kind: str = "image",
        *,
        name: str = "",
        path: str = "",
    ) -> Placement:
        """Say where a plane belongs, making its layer when it is the first there.

        Parameters
        ----------
        context
            Run, step, producer and display spec of its batch.
        key
            Its components.
        shape, dtype
            Of the plane: (y, x), or (y, x, 3|4) of bytes. Not looked at for shapes and points.
        kind
            One of `KINDS`.
        name
            Stands in the layer's name for what the key cannot say (a file name no parser understands).
        path
            Where it comes from; tells a re-sent image from another one for the same place.

        Raises
        ------
        ProjectionError
            It cannot be a plane of a layer, or its place is another producer's. Nothing is changed then.
        """
        step = self._step(context)
        if kind in _VECTORS:
            shape, dtype = (), ""
        elif kind in KINDS:
            kept = np.dtype(dtype)
            check_plane(kind, shape, kept)
            shape, dtype = tuple(shape), kept.name
        else:
            raise ProjectionError(f"kind={kind!r} is not known (known: {', '.join(KINDS)})")
        group, position = self._group(step, key, kind, name)
        held = group.held.get(position)
        if held is not None:
            _check_producer(context, key, path, held)
        layer, changed = self._layer_for(group, key, shape, dtype)
        if layer.gone:
            return Placement(layer.layer_id, position, refused=layer.gone)
        if layer.shape != shape and (largest := tuple(map(max, layer.shape, shape))) != layer.shape:
            layer.shape = largest
            changed |= _SHAPE
        replaces = None
        if held is None:
            if self._add_position(layer, position):
                changed |= _AXIS
        elif held[0] is not layer and not held[0].gone:
            self._add_position(layer, position)
            replaces = (held[0].layer_id, position)
        if held is None or held[0] is not layer or (context.producer, path) != held[1:]:
            group.held[position] = (layer, context.producer, path)
        if changed:
            layer.frozen = None
        return Placement(layer.layer_id, position, changed, replaces)

    def find(
        self, context: Context, key: ImageKey, kind: str, *, name: str = "", path: str = ""
    ) -> Placement | None:
        """Where the plane of that kind stands that came from `path`, or None; makes nothing."""
        step = self._step(context)
        group = self._groups.get(self._group_key(step, key, kind, name)[0])
        if group is None:
            return None
        position = tuple([value for value in values_of(key, group.components) if value is not None])
        held = group.held.get(position)
        if held is None or held[0].gone or held[2] != path:
            return None
        return Placement(held[0].layer_id, position)

    def remove(self, layer_id: str, reason: str) -> None:
        """Forget a layer: further planes for it are refused for that reason, until another run makes it
        anew.
        """
        layer = self._layers.pop(layer_id, None)
        if layer is not None:
            layer.gone = reason
            if self._names.get(layer.plan.name) is layer:
                del self._names[layer.plan.name]

    # -- inside

    def _step(self, context: Context) -> Step:
        step = self._steps.get(context)
        if step is None:
            modes = context.display.modes
            step = self._steps[context] = Step(
                run=context.run,
                run_number=self._runs.setdefault(context.run, len(self._runs) + 1),
                index=context.step_index,
                name=printable(context.step_name),
                spec=context.display,
                layered=tuple(which for which in NAME_ORDER if modes[which] is DimensionMode.LAYER),
                stacked=tuple(which for which in AXIS_ORDER if modes[which] is not DimensionMode.LAYER),
            )
        return step

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
            number = self._composites.setdefault(composite, len(self._composites))
            depth = 1_000_000 if step.index is None else step.index
            group = self._groups[group_key] = Group(
                step=step,
                kind=kind,
                part=part,
                layered=layered,
                components=components,
                order=(step.run_number, depth, number, KINDS.index(kind)),
                note=difference(siblings[0].components, components) if siblings else "",
                siblings=siblings,
            )
            siblings.append(group)
        else:
            group.step = step  # the newest display spec of the step holds for layers made from now on
        return group, position

    def _layer_for(
        self, group: Group, key: ImageKey, shape: tuple[int, ...], dtype: str
    ) -> tuple[Layer, frozenset[str]]:
        first = group.layers.get(None)
        if first is None:
            return self._make(group, key, None, shape, dtype)
        padded = group.step.spec.variable_size is VariableSize.PAD_TO_MAX and shape[2:] == first.shape[2:]
        if dtype == first.dtype and (shape == first.shape or padded):
            return first, _NOTHING
        variant = (
            "" if dtype == first.dtype else dtype,
            () if padded or shape == first.shape else (shape, key.well),
        )
        layer = group.layers.get(variant)
        return (layer, _NOTHING) if layer else self._make(group, key, variant, shape, dtype)

    def _make(
        self, group: Group, key: ImageKey, variant: Any, shape: tuple[int, ...], dtype: str
    ) -> tuple[Layer, frozenset[str]]:
        step = group.step
        name, old = self._new_name(group, key, variant, shape)
        composite, hides = group.order[2], self._hidden_by(group)
        self._count += 0 if old else 1
        plan = LayerPlan(
            layer_id=old.layer_id if old else f"layer-{self._count}",
            name=name,
            kind=group.kind,
            components=group.components,
            plane_shape=shape,
            dtype=dtype,
            rgb=bool(dtype) and is_rgb(shape, np.dtype(dtype)),
            colormap=channel_colormap(step.spec.colormap, key.channel),
            base=old.plan.base if old else self._is_base(composite, hides),
            visible=not any(group.is_part_of(other) for other in group.siblings),
            hides=hides,
            order=old.plan.order if old else group.order,
            scale=step.spec.scale,
            run=step.run,
            step_index=step.index,
            step_name=step.name,
        )
        if group.kind == "image":
            self._lit.add(composite)
        if old:
            old.gone = f"a later run took over its layer {name!r}"
        layer = group.layers[variant] = Layer(group, plan)
        self._layers[plan.layer_id] = self._names[name] = layer
        return layer, frozenset({"replaced"}) if old else _NEW_LAYER

    def _is_base(self, composite: int, hides: tuple[str, ...]) -> bool:
        # A stack that hides the projection everything else of the step lies on takes its part.
        return composite not in self._lit or any(self._layers[one].plan.base for one in hides)

    def _hidden_by(self, group: Group) -> tuple[str, ...]:
        """The layers of a group's siblings that have less sliders than it: projections of the same channel."""
        fewer = [other for other in group.siblings if other.is_part_of(group)]
        return tuple(layer.layer_id for other in fewer for layer in other.layers.values() if not layer.gone)

    def _new_name(
        self, group: Group, key: ImageKey, variant: Any, shape: tuple[int, ...]
    ) -> tuple[str, Layer | None]:
        """A name nobody has, or that of a layer to take over, and that layer."""
        step = group.step
        layered = dict(zip(step.layered, group.layered, strict=True))
        other_dtype, other_size = variant or ("", ())
        own_well = bool(other_size) and Component.WELL not in layered and key.well is not None
        parts = [
            token(which, value)
            for which in NAME_ORDER
            if (value := key.well if own_well and which is Component.WELL else layered.get(which)) is not None
        ]
        size = "x".join(map(str, shape[:2]))
        if other_size and not own_well:
            parts.append(size)
        parts += [extra for extra in (other_dtype, group.note) if extra]
        head = title(step.index, step.name, printable(group.part), group.kind)
        name = layer_name(head, parts, group.kind)
        holder = self._names.get(name)
        if holder is not None and holder.group.step.run != step.run:
            if step.spec.replace_layers and holder.plan.kind == group.kind:
                return name, holder
            name = f"{name}_run_{step.run_number}"
        if name in self._names and own_well:
            name = layer_name(head, [*parts, size], group.kind)
        plain, count = name, 2
        while name in self._names:
            name, count = f"{plain}_{count}", count + 1
        return name, None

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


@dataclass(frozen=True, slots=True)
class _Batch:
    run: str
    step_index: int | None
    step_name: str
    producer: str
    display: DisplaySpec


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
    context = _Batch(run, step_index, step_name, "", spec)
    for key, shape, dtype in items:
        projection.place(context, key, shape, dtype, kind)
    return projection.layers()


def _check_producer(context: Context, key: ImageKey, path: str, held: tuple[Layer, str, str]) -> None:
    _, producer, source = held
    if path and source:
        if path == source:
            return
        raise ProjectionError(
            f"two images for {key} of {_whose(context)}: {source!r} holds the place, {path!r} is refused; "
            "give each plate a plate component or each pipeline a run of its own"
        )
    if context.producer and producer and context.producer != producer:
        raise ProjectionError(
            f"two producers for {key} of {_whose(context)}: {producer!r} holds the place, "
            f"{context.producer!r} is refused; give each a run of its own"
        )


def _whose(context: Context) -> str:
    step = title(context.step_index, context.step_name, "", "no step")
    return f"{step}, run {context.run!r}" if context.run else step
