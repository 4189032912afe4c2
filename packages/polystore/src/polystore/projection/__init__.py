"""From arriving images to layers and sliders, or to hyperstacks: pure decisions, no pixels, no viewer."""

from polystore.projection._planes import check_plane, split_planes
from polystore.projection.hyperstack import (
    HyperstackPlan,
    HyperstackProjection,
    host_of,
    place_roi,
    project_hyperstacks,
)
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
    "HyperstackPlan",
    "HyperstackProjection",
    "LayerPlan",
    "LayerProjection",
    "Limits",
    "Placement",
    "Position",
    "Projection",
    "VariableSize",
    "check_plane",
    "host_of",
    "place_roi",
    "project_hyperstacks",
    "project_layers",
    "split_planes",
]
