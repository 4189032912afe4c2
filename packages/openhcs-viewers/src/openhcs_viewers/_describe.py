"""A layer in plain values, for the state a viewer tells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polystore.projection import LayerPlan, Position

__all__ = ["describe"]


def describe(
    plan: LayerPlan, planes: int, regions: Mapping[Position, tuple[Any, ...]] | None
) -> dict[str, Any]:
    """What JSON can hold of a layer.

    Parameters
    ----------
    planes
        How many it has.
    regions
        Regions of interest by position, for shapes and points; None for pictures.
    """
    return {
        "id": plan.layer_id,
        "name": plan.name,
        "kind": plan.kind,
        "plane_shape": list(plan.plane_shape),
        "dtype": plan.dtype,
        "axes": {which.value: list(values) for which, values in plan.axes},
        "planes": planes if regions is None else len(regions),
        "rois": 0 if regions is None else sum(map(len, regions.values())),
        "colormap": plan.colormap if plan.kind == "image" else "",
        "contrast": list(plan.contrast) if plan.contrast else None,
        "run": plan.run,
        "step_index": plan.step_index,
        "step_name": plan.step_name,
    }
