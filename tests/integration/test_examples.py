"""Every file in ``examples/`` runs as it stands and shows what it says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from openhcs_viewers.demo.synth import PlateDesign, write_plate
from openhcs_viewers.launcher import list_viewers

EXAMPLES = Path(__file__).parents[2] / "examples"

LAYERS = {
    "show_an_array": ["rings"],
    "stream_from_a_pipeline": ["Step_00_simulate_Channel_1"],
    "visualizer": ["Step_02_gaussian_blur_Well_A01_Channel_1", "Step_02_gaussian_blur_Well_B01_Channel_1"],
    "plate_pipeline": [
        *(
            f"Step_0{step}_{name}_Channel_{channel}"
            for step, name in enumerate(["load", "subtract", "sharpen"])
            for channel in ("DAPI", "GFP", "Cy5")
        ),
        "Step_03_cells_labels",
    ],
}
"""The layers each example leaves in napari, from the bottom to the top."""


def test_every_example_is_tested() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(LAYERS)


@pytest.mark.usefixtures("on_display")
@pytest.mark.parametrize("name", LAYERS)
def test_example(name: str, tmp_path: Path) -> None:
    design = PlateDesign(name="Small", rows="B", columns=(2, 10), fields=1, planes=2, size=128, cells=300)
    arguments = [str(write_plate(tmp_path, design))] if name == "plate_pipeline" else []
    done = subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py", *arguments], capture_output=True, text=True, timeout=150
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    (viewer,) = list_viewers()  # it stays, and there is one
    viewer.settle()
    state = viewer.state()
    assert [layer["name"] for layer in state["layers"]] == LAYERS[name]
    images = state["images"]
    assert images["dropped"] == 0
    assert images["displayed"] == images["received"] > 0
