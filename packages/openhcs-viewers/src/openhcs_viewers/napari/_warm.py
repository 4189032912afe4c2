"""Paying at start-up what the first image would have to pay."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["warm_up"]


def warm_up(model: Any) -> None:
    """Show and remove a picture with a slider: modules are imported, shaders compiled, widgets made once.

    The first image of a fresh napari takes 0.6 s longer than the second.
    """
    from napari.layers import Image
    from qtpy.QtWidgets import QApplication

    camera, overlay = model.scene.camera, model.canvas.overlays.text
    model.layers.append(Image(np.zeros((2, 8, 8), np.uint16), contrast_limits=(0, 1), projection_mode="none"))
    overlay.text = "well A01"
    overlay.visible = True
    QApplication.processEvents()
    overlay.visible = False
    overlay.text = ""
    model.layers.clear()
    camera.zoom, camera.center = 1.0, (0.0, 0.0, 0.0)
    QApplication.processEvents()
