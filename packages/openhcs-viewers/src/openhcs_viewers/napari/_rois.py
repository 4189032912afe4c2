"""Regions of interest in napari: the ones of the position shown, in a shapes or a points layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from openhcs_viewers.scene import Scene
from polystore.components import Component, Value

__all__ = ["fill_rois"]


def fill_rois(shown: Any, scene: Scene, position: Mapping[Component, Value], *, anew: bool = False) -> None:
    """Show the regions that belong to a position."""
    raise NotImplementedError
