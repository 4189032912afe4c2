"""Two lines in a pipeline of your own: open napari, and save each batch to it.

Well, field, channel and z are read from the names; the step's name becomes the layer's.
"""

from __future__ import annotations

import numpy as np

from openhcs_viewers import launch
from polystore import FileManager

rng = np.random.default_rng(0)
y, x = np.mgrid[:512, :512]

launch("napari")
filemanager = FileManager()

for well in ("A01", "A02", "B01", "B02"):
    images, paths = [], []
    for z in range(1, 6):
        image = rng.poisson(30.0, (512, 512)).astype(np.float64)
        for cy, cx in rng.uniform(20, 492, (30, 2)):
            blur = 6.0 + 2.0 * abs(z - 3)
            image += 4000.0 / blur * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * blur**2))
        images.append(image.astype(np.uint16))
        paths.append(f"{well}_s1_w1_z{z:03d}.tif")
    report = filemanager.save_batch(
        images, paths, backend="napari_stream", step_index=0, step_name="simulate"
    )
    print(well, report)
