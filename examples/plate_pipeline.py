"""A small pipeline over a plate: a step of your own, worker processes, results on disk, every step in napari.

``python examples/plate_pipeline.py [PLATE]``; without a plate it draws one. What a script does stands under the guard:
each worker imports the script once more.
"""

from __future__ import annotations

import sys
import tempfile

import numpy as np
from scipy import ndimage

from openhcs_viewers import NapariStreamingConfig, PipelineConfig
from openhcs_viewers.demo.analysis import cell_counting_cpu, subtract_background
from openhcs_viewers.demo.synth import PlateDesign, write_plate
from openhcs_viewers.orchestrator import PipelineOrchestrator, Step


def sharpen(image: np.ndarray, sigma: float = 2.0) -> np.ndarray:
    """Take away what is smooth; a function of a module, so that workers can import it."""
    detail = image - 0.6 * ndimage.gaussian_filter(image.astype(np.float32), sigma)
    return np.clip(detail, 0, 65535).astype(np.uint16)


def main() -> None:
    """Run the pipeline and say what it counted."""
    out = tempfile.mkdtemp(prefix="plate-pipeline-")
    plate = sys.argv[1] if len(sys.argv) > 1 else write_plate(out, PlateDesign(fields=1, planes=3))
    orchestrator = PipelineOrchestrator(
        plate_paths=[plate],
        steps=[
            Step("load"),
            Step("subtract", subtract_background),
            Step("sharpen", sharpen, params={"sigma": 3.0}, backend="disk"),
            Step("cells", cell_counting_cpu, kind="count"),
        ],
        global_config=PipelineConfig(
            napari_streaming=NapariStreamingConfig(
                enabled=True, persistent=True, napari_port=5555, colormap="auto"
            )
        ),
        output=out,
    )
    result = orchestrator.run()
    for field in result.fields:
        print(field.images.title, field.results["cells"]["count"], "cells")
    print(result.viewers["napari"])
    print(f"results are in {result.output}")


if __name__ == "__main__":
    main()
