"""One line: an array on screen. Run it twice, the second time napari is already open."""

from __future__ import annotations

import numpy as np

from openhcs_viewers import show

z, y, x = np.mgrid[-1:1:15j, -1:1:512j, -1:1:512j]
rings = (1 + np.cos(40 * np.sqrt(x**2 + y**2 + z**2))) * np.exp(-2 * (x**2 + y**2))

show(rings.astype(np.float32), name="rings", colormap="viridis")
