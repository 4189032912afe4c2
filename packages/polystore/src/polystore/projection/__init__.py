"""From arriving images to layers and sliders: pure decisions, no pixels, no viewer."""

from polystore.projection._planes import split_planes
from polystore.projection.layers import LayerProjection, project_layers
from polystore.projection.plan import Axis, LayerPlan, Limits, Placement, Position, Projection
from polystore.projection.spec import (
    ChannelDisplay,
    ComponentDimensions,
    ComponentModes,
    Dimension,
    DimensionMode,
    DisplaySpec,
    VariableSize,
)

__all__ = [
    "Axis",
    "ChannelDisplay",
    "ComponentDimensions",
    "ComponentModes",
    "Dimension",
    "DimensionMode",
    "DisplaySpec",
    "LayerPlan",
    "LayerProjection",
    "Limits",
    "Placement",
    "Position",
    "Projection",
    "VariableSize",
    "project_layers",
    "split_planes",
]
