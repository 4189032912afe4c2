"""What every projection does: planes into groups, groups into layers, and no two producers on one place."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from polystore.components import Component, ImageKey
from polystore.errors import ProjectionError
from polystore.projection._grouping import NAME_ORDER, layer_name, printable, title, token
from polystore.projection._planes import check_plane, is_rgb
from polystore.projection._state import Group, Layer, Step
from polystore.projection.plan import KINDS, Context, LayerPlan, Placement, Position, Projection
from polystore.projection.spec import DisplaySpec, VariableSize

__all__ = ["Batch", "GroupedProjection"]

_NOTHING: frozenset[str] = frozenset()
_NEW_LAYER = frozenset({"new_layer"})
_SHAPE = frozenset({"shape"})
_VECTORS = frozenset({"shapes", "points"})


@dataclass(frozen=True, slots=True)
class Batch:
    """What the planes of one step have in common, for the functions that look at them once."""

    run: str
    step_index: int | None
    step_name: str
    producer: str
    display: DisplaySpec


def place_all(
    projection: Projection,
    items: Iterable[tuple[ImageKey, Sequence[int], np.dtype[np.generic] | str]],
    batch: Batch,
    kind: str,
) -> None:
    """Place the planes of one step: key, shape and dtype of each.

    Raises
    ------
    ProjectionError
        The first plane that cannot be placed.
    """
    for key, shape, dtype in items:
        projection.place(batch, key, shape, dtype, kind)


class GroupedProjection(ABC):
    """The part of a projection that does not depend on what the viewer makes of components."""

    grown: ClassVar[frozenset[str]]
    """What a plane at a new position may change (`Placement.changed`)."""

    label_kinds: ClassVar[str] = "bui"
    """The kinds of dtype labels may have when they are placed, which is after the viewer has converted them."""

    def __init__(self) -> None:
        self._steps: dict[Context, Step] = {}
        self._runs: dict[str, int] = {}
        self._composites: dict[Any, int] = {}
        self._layers: dict[str, Layer] = {}
        self._names: dict[str, Layer] = {}
        self._count = 0

    # -- questions

    def layers(self) -> tuple[LayerPlan, ...]:
        """The plans of all layers, in the order in which they came."""
        return tuple(layer.view() for layer in self._layers.values())

    def layer(self, layer_id: str) -> LayerPlan | None:
        """The plan of one layer, or None when it is gone."""
        found = self._layers.get(layer_id)
        return found.view() if found else None

    # -- growth

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
            check_plane(kind, shape, kept, self.label_kinds)
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
        if held is None or held[0] is not layer:
            if self._add_position(layer, position):
                changed |= self.grown
            if held is not None and not held[0].gone:
                replaces = (held[0].layer_id, position)
            group.held[position] = (layer, context.producer, path)
        elif (context.producer, path) != held[1:]:
            group.held[position] = (layer, context.producer, path)
        if changed:
            layer.frozen = None
        return Placement(layer.layer_id, position, changed, replaces, "", group.part_of(position))

    def find(
        self, context: Context, key: ImageKey, kind: str, *, name: str = "", path: str = ""
    ) -> Placement | None:
        """Where the plane of that kind stands that came from `path`, or None; makes nothing."""
        step = self._step(context)
        found = self._found(step, key, kind, name)
        if found is None:
            return None
        group, position = found
        held = group.held.get(position)
        if held is None or held[0].gone or held[2] != path:
            return None
        return Placement(held[0].layer_id, position, part=group.part_of(position))

    def remove(self, layer_id: str, reason: str) -> None:
        """Forget a layer: further planes for it are refused for that reason, until another run makes it
        anew.
        """
        layer = self._layers.pop(layer_id, None)
        if layer is not None:
            layer.gone = reason
            if self._names.get(layer.plan.name) is layer:
                del self._names[layer.plan.name]

    # -- what a projection decides by itself

    @abstractmethod
    def _split(self, spec: DisplaySpec) -> tuple[tuple[Component, ...], tuple[Component, ...]]:
        """The components with a layer for each value (in `NAME_ORDER`), and the others (in `AXIS_ORDER`)."""

    @abstractmethod
    def _group(self, step: Step, key: ImageKey, kind: str, part: str) -> tuple[Group, Position]:
        """The group of a plane, made when it is the first, and its position there."""

    @abstractmethod
    def _found(self, step: Step, key: ImageKey, kind: str, part: str) -> tuple[Group, Position] | None:
        """The same, or None where nothing is; makes nothing."""

    @abstractmethod
    def _new_layer(self, group: Group, key: ImageKey, plan: LayerPlan, old: Layer | None) -> Layer:
        """Complete the plan of a new layer; `old` is the one it takes over."""

    @abstractmethod
    def _add_position(self, layer: Layer, position: Position) -> bool:
        """Note a position of a layer; returns whether the viewer has to know (`grown`)."""

    # -- inside

    def _step(self, context: Context) -> Step:
        step = self._steps.get(context)
        if step is None:
            layered, stacked = self._split(context.display)
            step = self._steps[context] = Step(
                run=context.run,
                run_number=self._runs.setdefault(context.run, len(self._runs) + 1),
                index=context.step_index,
                name=printable(context.step_name),
                spec=context.display,
                layered=layered,
                stacked=stacked,
            )
        return step

    def _order(self, step: Step, kind: str, composite: Any) -> tuple[int, ...]:
        """Where a group stands from bottom to top, by what it is drawn together with."""
        number = self._composites.setdefault(composite, len(self._composites))
        depth = 1_000_000 if step.index is None else step.index
        return (step.run_number, depth, number, KINDS.index(kind))

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
        self._count += 0 if old else 1
        plan = LayerPlan(
            layer_id=old.layer_id if old else f"layer-{self._count}",
            name=name,
            kind=group.kind,
            components=group.components,
            plane_shape=shape,
            dtype=dtype,
            rgb=bool(dtype) and is_rgb(shape, np.dtype(dtype)),
            order=old.plan.order if old else group.order,
            scale=step.spec.scale,
            run=step.run,
            step_index=step.index,
            step_name=step.name,
        )
        layer = self._new_layer(group, key, plan, old)
        if old:
            old.gone = f"a later run took over its layer {name!r}"
        group.layers[variant] = self._layers[plan.layer_id] = self._names[name] = layer
        return layer, frozenset({"replaced"}) if old else _NEW_LAYER

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
