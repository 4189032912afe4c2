"""A viewer configured: wells and channels are layers, z is a slider. Images sent while it starts are kept and shown."""

from __future__ import annotations

import numpy as np

from openhcs_viewers import NapariColormap, NapariDimensionMode, NapariStreamingConfig, NapariStreamVisualizer
from polystore import FileManager

filemanager = FileManager()
config = NapariStreamingConfig(colormap=NapariColormap.MAGMA, well_mode=NapariDimensionMode.SLICE)

visualizer = NapariStreamVisualizer(
    filemanager,
    config,
    viewer_title="OpenHCS Pipeline Visualization",
    persistent=True,
    napari_port=5555,
    replace_layers=False,
)
visualizer.start_viewer(async_mode=True)

y, x = np.mgrid[-1:1:256j, -1:1:256j]
keys = [(well, z) for well in ("A01", "B01") for z in range(1, 8)]
images = [
    (1000 * np.exp(-(x**2 + y**2) * z * (2 if well == "A01" else 4))).astype(np.uint16) for well, z in keys
]
paths = [f"{well}_s1_w1_z{z:03d}.tif" for well, z in keys]
filemanager.save_batch(images, paths, backend="napari_stream", step_index=2, step_name="gaussian_blur")

visualizer.wait_for_ready()
