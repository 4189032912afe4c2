"""What the projection remembers: steps, groups of planes that belong together, and layers as they grow."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from polystore.components import Component, Value
from polystore.projection._grouping import OrderedValues
from polystore.projection.plan import LayerPlan, Position
from polystore.projection.spec import DisplaySpec

__all__ = ["Group", "Layer", "Step"]


class Layer:
    """One layer as it grows."""

    __slots__ = ("axes", "dtype", "frozen", "gone", "group", "layer_id", "plan", "shape")

    def __init__(self, group: Group, plan: LayerPlan) -> None:
        self.group = group
        self.layer_id = plan.layer_id
        self.plan = plan
        self.shape = plan.plane_shape
        self.dtype = plan.dtype
        self.axes = [OrderedValues(which) for which in plan.components]
        self.frozen: LayerPlan | None = None
        self.gone = ""  # why planes for it are refused from now on

    def view(self) -> LayerPlan:
        """The plan with the values and the size of now; the same object until something changes."""
        if self.frozen is None:
            axes = tuple(
                (which, values.as_tuple())
                for which, values in zip(self.plan.components, self.axes, strict=True)
            )
            self.frozen = replace(self.plan, axes=axes, plane_shape=self.shape)
        return self.frozen


@dataclass(slots=True, eq=False)
class Step:
    """What is worked out once per batch context."""

    run: str
    run_number: int
    index: int | None
    name: str
    spec: DisplaySpec
    layered: tuple[Component, ...]
    stacked: tuple[Component, ...]


@dataclass(slots=True, eq=False)
class Group:
    """Planes that share a layer unless their size or dtype keeps them apart."""

    step: Step
    kind: str
    part: str
    layered: tuple[Value | None, ...]
    components: tuple[Component, ...]
    order: tuple[int, ...]
    note: str  # told apart from a sibling with other sliders
    siblings: list[Group]  # those with the same name but for that, this one included
    layers: dict[Any, Layer] = field(default_factory=dict)
    held: dict[Position, tuple[Layer, str, str]] = field(default_factory=dict)  # layer, producer, path

    def part_of(self, position: Position) -> Value | None:
        """The part of its layer a position belongs to (`Placement.part`)."""
        return None

    def is_part_of(self, other: Group) -> bool:
        """Whether the other one has the same sliders and more."""
        return set(self.components) < set(other.components)
