"""What the projection says: plain frozen values, for any viewer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, Self, TypeAlias

import numpy as np

from polystore.components import Component, ImageKey, Value
from polystore.projection.spec import DisplaySpec

__all__ = ["KINDS", "Axis", "Context", "LayerPlan", "Limits", "Placement", "Position", "Projection"]

Position: TypeAlias = tuple[Value | None, ...]
"""Where in its layer a plane is: one value for each of the layer's components, in their order. Never an
index. None, in a hyperstack only: the plane has no value there and is shown at all of them.
"""

Limits: TypeAlias = tuple[float, float]
"""Lowest and highest value to show."""

Axis: TypeAlias = tuple[Component, tuple[Value, ...]]
"""A slider: its component and the values it passes through, sorted."""

KINDS = ("image", "labels", "shapes", "points")
"""Kinds of layer, from the bottom up within a step."""


class Context(Protocol):
    """What all images of a batch have in common (`polystore.streaming.messages.BatchContext`). Hashable."""

    @property
    def run(self) -> str: ...  # noqa: D102
    @property
    def step_index(self) -> int | None: ...  # noqa: D102
    @property
    def step_name(self) -> str: ...  # noqa: D102
    @property
    def producer(self) -> str: ...  # noqa: D102
    @property
    def display(self) -> DisplaySpec: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Placement:
    """Where one plane went.

    Parameters
    ----------
    layer_id
        The layer's identity; never used again, not even for a layer of the same name.
    position
        Where in the layer.
    changed
        What the plane changed besides itself: ``"new_layer"``, ``"replaced"`` (a run took the layer over),
        ``"axis"`` (the viewer's sliders), ``"shape"`` (the layer's plane size).
    replaces
        Layer and position of the plane's older self when that was elsewhere (it had another size).
    refused
        Empty, or why the plane is not to be shown although nothing is wrong with it.
    part
        Which part of its layer the plane belongs to where parts have display ranges of their own: the channel of a
        hyperstack. None where the layer has one range.
    """

    layer_id: str
    position: Position
    changed: frozenset[str] = frozenset()
    replaces: tuple[str, Position] | None = None
    refused: str = ""
    part: Value | None = None


@dataclass(frozen=True, slots=True)
class LayerPlan:
    """All a viewer needs to know to make a layer; its planes are found by layer id and position.

    Parameters
    ----------
    layer_id, name, kind
        Identity, the name shown, and one of `KINDS`.
    components
        The components positions are made of, outermost first.
    axes
        The same with the values this layer has planes for: ``project_layers`` in one look.
    plane_shape
        (y, x), or (y, x, 3|4) for colour; the largest of the layer. Empty for shapes and points.
    dtype
        Of its planes, in native byte order (``"uint16"``); empty for shapes and points.
    rgb
        Colour pictures.
    colormap
        A name the viewer has yet to check.
    contrast
        Lowest and highest value to show, or None while unknown.
    base
        True for the first image layer of its group: it covers what is below. The others (the other channels
        of the same step) add their light to it.
    visible
        False for a projection beside the stack of the same channel: both at once would add up.
    hides
        Layers to hide for the same reason, unless the user touched their visibility: the stack came after its
        projection.
    order
        Sorts layers from bottom to top: run, step, group, kind.
    scale
        Pixel size (y, x) in micrometres, or None.
    run, step_index, step_name
        Who made it.
    """

    layer_id: str
    name: str
    kind: str
    components: tuple[Component, ...] = ()
    axes: tuple[Axis, ...] = ()
    plane_shape: tuple[int, ...] = ()
    dtype: str = ""
    rgb: bool = False
    colormap: str = "gray"
    contrast: Limits | None = None
    base: bool = True
    visible: bool = True
    hides: tuple[str, ...] = ()
    order: tuple[int, ...] = ()
    scale: tuple[float, float] | None = None
    run: str = ""
    step_index: int | None = None
    step_name: str = ""

    def with_contrast(self, limits: Mapping[Value | None, Limits]) -> Self:
        """Return the plan with the display range of each part (`Placement.part`) that has one."""
        return replace(self, contrast=limits[None]) if None in limits else self


class Projection(Protocol):
    """Decides where planes belong: `polystore.projection.LayerProjection`, or another one of a viewer's own.

    Not thread-safe; see `LayerProjection` for what each does.
    """

    axes_version: int

    def axes(self) -> tuple[Axis, ...]: ...  # noqa: D102
    def layers(self) -> Sequence[LayerPlan]: ...  # noqa: D102
    def layer(self, layer_id: str) -> LayerPlan | None: ...  # noqa: D102
    def declare(self, extents: Mapping[Component | str, Iterable[Value]]) -> bool: ...  # noqa: D102
    def place(  # noqa: D102
        self,
        context: Context,
        key: ImageKey,
        shape: Sequence[int],
        dtype: np.dtype[np.generic] | str,
        kind: str = "image",
        *,
        name: str = "",
        path: str = "",
    ) -> Placement: ...
    def find(  # noqa: D102
        self, context: Context, key: ImageKey, kind: str, *, name: str = "", path: str = ""
    ) -> Placement | None: ...
    def remove(self, layer_id: str, reason: str) -> None: ...  # noqa: D102
