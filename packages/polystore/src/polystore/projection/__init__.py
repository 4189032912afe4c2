"""From arriving images to layers and sliders: pure decisions, no pixels, no viewer."""

from polystore.projection._planes import split_planes
from polystore.projection.layers import Axis, LayerPlan, LayerProjection, Placement, Position, project_layers
from polystore.projection.spec import ComponentModes, DimensionMode, DisplaySpec, VariableSize

__all__ = [
    "Axis",
    "ComponentModes",
    "DimensionMode",
    "DisplaySpec",
    "LayerPlan",
    "LayerProjection",
    "Placement",
    "Position",
    "VariableSize",
    "project_layers",
    "split_planes",
]
