"""One napari layer: making it, and the cheap ways to tell napari that its data changed.

What napari keeps private and we need is touched here only.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from napari import layers
from napari.utils.colormaps import AVAILABLE_COLORMAPS

from openhcs_viewers.napari._planes import Planes
from openhcs_viewers.napari._rois import RoiFiller
from openhcs_viewers.scene import Scene
from polystore.projection import LayerPlan

__all__ = ["ShownLayer", "checked_colormap", "insertion_index", "make_layer", "selection_kept"]

logger = logging.getLogger(__name__)

POINT_SIZE = 6
"""Diameter of a point in pixels: half a nucleus at 10x, so that what it marks stays visible."""

EDGE_WIDTH = 2
"""Width of an outline in pixels."""

LABEL_OPACITY = 0.45
"""Lets the cell show through its label: napari's own 0.7 hides nuclei. Outlines would hide still less, but
finding them takes 5 ms for a plane of 512 x 512 and 100 ms for one of 2048 x 2048."""

_warned: set[str] = set()


def checked_colormap(name: str) -> str:
    """The colour map of that name if napari has it, else gray, with one warning per name."""
    if name in AVAILABLE_COLORMAPS:
        return name
    for known in AVAILABLE_COLORMAPS:
        if known.lower() == name.lower():
            return str(known)
    if name not in _warned:
        _warned.add(name)
        logger.warning(
            "unknown colour map %r, gray is used (known: %s)", name, ", ".join(sorted(AVAILABLE_COLORMAPS))
        )
    return "gray"


class ShownLayer:
    """One of our layers in napari, and what we know of it.

    Attributes
    ----------
    layer
        napari's.
    planes
        Its data; None for shapes and points.
    rois
        What fills it; None for pictures.
    plan
        As last told.
    contrast_is_users, visible_is_users
        The user chose the display range, or showed or hid the layer; it is his from then on.
    """

    def __init__(self, plan: LayerPlan, layer: Any, planes: Planes | None, scene: Scene) -> None:
        self.plan = plan
        self.layer = layer
        self.planes = planes
        self.contrast_is_users = self.visible_is_users = False
        self._hiding = False
        layer.events.visible.connect(self._on_visible)
        self.rois = RoiFiller(layer, plan, scene, EDGE_WIDTH) if planes is None else None
        if plan.kind == "image":
            self._contrast = tuple(layer.contrast_limits)
            layer.events.contrast_limits.connect(self._on_contrast)

    def refresh(self) -> None:
        """Show the displayed plane anew: the slice and its texture, nothing else (a third of a full refresh)."""
        self.layer.refresh(thumbnail=False, highlight=False, extent=False)

    def refresh_thumbnail(self) -> None:
        """Bring the picture in the layer list up to date, from the slice there is (0.6 ms; a refresh reads it anew)."""
        self.layer._update_thumbnail()

    def stretch(self) -> None:
        """Have napari look at the array's size again, shown or hidden, without reading anything."""
        self.layer._clear_extent()

    def hide(self) -> None:
        """Show the layer no longer, unless the user wanted to see it or hid it himself."""
        if self.layer.visible and not self.visible_is_users:
            self._hiding = True
            self.layer.visible = False
            self._hiding = False

    def set_contrast(self, limits: tuple[float, float]) -> None:
        """Show another range, unless the user chose one."""
        if not self.contrast_is_users and tuple(self.layer.contrast_limits) != limits:
            self._contrast = limits
            self.layer.contrast_limits = limits

    def _on_visible(self, _event: Any = None) -> None:
        self.visible_is_users |= not self._hiding

    def _on_contrast(self, _event: Any = None) -> None:
        if tuple(self.layer.contrast_limits) != tuple(self._contrast):
            self.contrast_is_users = True


def make_layer(plan: LayerPlan, planes: Planes | None) -> Any:
    """A napari layer for a plan, not yet in any viewer."""
    common: dict[str, Any] = {"name": plan.name, "metadata": _metadata(plan), "visible": plan.visible}
    if planes is None:
        scale = plan.scale or (1.0, 1.0)
        if plan.kind == "points":
            return layers.Points(
                None,
                ndim=2,
                scale=scale,
                size=POINT_SIZE,
                face_color="white",
                border_color="black",
                **common,
            )
        return layers.Shapes(
            None,
            ndim=2,
            scale=scale,
            edge_width=EDGE_WIDTH,
            edge_color="yellow",
            face_color="transparent",
            **common,
        )
    common["scale"] = layer_scale(plan, planes)
    common["multiscale"] = False
    if plan.kind == "labels":
        return layers.Labels(planes, projection_mode="none", opacity=LABEL_OPACITY, **common)
    return layers.Image(
        planes,
        rgb=plan.rgb,
        projection_mode="none",
        colormap=checked_colormap(plan.colormap),
        # napari would read planes to guess a range, and an empty first one would give a useless one.
        contrast_limits=None if plan.rgb else plan.contrast or first_contrast(planes.dtype),
        blending="translucent_no_depth" if plan.base or plan.rgb else "additive",
        **common,
    )


def layer_scale(plan: LayerPlan, planes: Planes) -> tuple[float, ...]:
    """One step per slider position, micrometres (or pixels) in y and x."""
    return (*(1.0,) * len(planes.axes), *(plan.scale or (1.0, 1.0)))


def first_contrast(dtype: np.dtype[Any]) -> tuple[float, float]:
    """A range for a layer whose planes are all of one value so far."""
    return (0.0, 255.0) if dtype == np.uint8 else (0.0, 1.0)


def insertion_index(order: tuple[int, ...], above: Sequence[tuple[int, ...] | None]) -> int:
    """Where a layer goes in a list from bottom to top: above the last one whose order is not higher.

    Parameters
    ----------
    above
        The order of each layer in the list; None for those that are the user's own, which stay where they
        are.
    """
    for at in range(len(above) - 1, -1, -1):
        other = above[at]
        if other is not None and other <= order:
            return at + 1
    for at, other in enumerate(above):
        if other is not None:
            return at
    return len(above)


@contextmanager
def selection_kept(layers: Any) -> Iterator[None]:
    """Around an insertion: the selected layer stays selected, the user may be painting there.

    Not selecting the new one also saves a fifth of what a layer costs: its controls need not be shown.
    """
    selected = layers.selection.active
    before = layers._activate_on_insert
    layers._activate_on_insert = selected is None
    try:
        yield
    finally:
        layers._activate_on_insert = before


def _metadata(plan: LayerPlan) -> dict[str, Any]:
    return {
        "openhcs": {
            "layer_id": plan.layer_id,
            "run": plan.run,
            "step_index": plan.step_index,
            "step_name": plan.step_name,
            "kind": plan.kind,
        }
    }
