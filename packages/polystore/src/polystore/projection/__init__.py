"""From arriving images to layers and sliders, or to hyperstacks: pure decisions, no pixels, no viewer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polystore.projection._planes import check_plane, split_planes
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

if TYPE_CHECKING:
    from polystore.projection.hyperstack import (
        HyperstackPlan,
        HyperstackProjection,
        host_of,
        place_roi,
        project_hyperstacks,
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

_HYPERSTACKS = frozenset(
    {"HyperstackPlan", "HyperstackProjection", "host_of", "place_roi", "project_hyperstacks"}
)
"""Imported when asked for: a pipeline that streams needs display specs only, and these take 6 ms."""


def __getattr__(name: str) -> Any:
    if name in _HYPERSTACKS:
        from polystore.projection import hyperstack

        return getattr(hyperstack, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
