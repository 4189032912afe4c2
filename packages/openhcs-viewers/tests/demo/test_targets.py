"""How the demo sends to each of its viewers, and how each shows what it is sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from openhcs_viewers.demo._calibration import calibration
from openhcs_viewers.demo._targets import read_policies, target_of
from openhcs_viewers.demo.pipeline import BLOCK_DEADLINE, Calibration
from openhcs_viewers.demo.plate import read_plate
from openhcs_viewers.handle import ViewerHandle
from polystore.components import Component
from polystore.projection.spec import ChannelDisplay, Dimension
from zmqruntime.config import Endpoint
from zmqruntime.errors import PolicyError


def test_napari_is_waited_for_and_fiji_is_not_unless_somebody_says_otherwise() -> None:
    assert read_policies([], ["napari", "fiji", "mine"]) == {
        "napari": "block",
        "fiji": "drop",
        "mine": "block",
    }
    said = read_policies(["fiji=latest", "napari=drop", "fiji=block"], ["napari", "fiji"])
    assert said == {"napari": "drop", "fiji": "block"}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("fiji=drop", r"there is no viewer 'fiji' here \(napari\)"),
        ("drop", "there is no viewer 'drop' here"),
        ("napari=wait", "give napari=POLICY, one of block, drop, latest"),
        ("napari", "give napari=POLICY"),
    ],
)
def test_what_cannot_be_understood_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(PolicyError, match=complaint):
        read_policies([text], ["napari"])


def test_fiji_gets_a_hyperstack_per_step_and_napari_its_layers() -> None:
    fiji = target_of("fiji", ViewerHandle("fiji", Endpoint(data_port=5556)), "drop")
    assert (fiji.policy, fiji.deadline, fiji.display.colormap) == ("drop", 1.0, "auto")
    assert fiji.display.dimensions[Component.CHANNEL] is Dimension.CHANNEL
    assert fiji.display.dimensions[Component.Z] is Dimension.Z
    along = {which for which, one in fiji.display.dimensions.items() if one is Dimension.FRAME}
    assert along == set(Component) - {Component.CHANNEL, Component.Z}  # no windows but one per step
    assert fiji.display.channel_display is ChannelDisplay.COMPOSITE
    napari = target_of("napari", ViewerHandle("napari", Endpoint(data_port=5555)), "block")
    assert (napari.policy, napari.deadline) == ("block", BLOCK_DEADLINE)
    assert napari.display.colormap == "auto"


def test_sizes_and_distances_come_from_the_plates_own_files(plate: Path, tmp_path: Path) -> None:
    assert calibration(read_plate(plate)) == Calibration((0.65, 0.65), 1.5, None)


def test_a_folder_of_no_known_microscope_has_no_distances(tmp_path: Path) -> None:
    import numpy as np
    import tifffile

    tifffile.imwrite(tmp_path / "A01_s001_z001_c001.tif", np.zeros((4, 4), np.uint8))
    assert calibration(read_plate(tmp_path)) == Calibration()
