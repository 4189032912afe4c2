"""A mode for every component there is, also for those that were added."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields
from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np
import pytest

from openhcs_viewers._component_modes import modes_of, settle_modes, with_component_modes
from openhcs_viewers.config import NapariDimensionMode, NapariDisplayConfig
from openhcs_viewers.handle import ViewerHandle
from polystore.backends.napari_stream import NapariStreamingBackend
from polystore.components import Component
from polystore.config_sources import from_environment, section
from polystore.constants import component_names
from polystore.errors import ProjectionError
from polystore.inheritance import lazy

LAYER, STACK = NapariDimensionMode.LAYER, NapariDimensionMode.STACK


@section("showtest", "TEST_SHOW")
@dataclass(frozen=True)
@with_component_modes(STACK, ["site", "channel", "rotation", "plate"])
class Show:
    colormap: str = "gray"
    site_mode: NapariDimensionMode = LAYER

    def __post_init__(self) -> None:
        settle_modes(self, NapariDimensionMode)


def test_every_component_has_its_mode() -> None:
    assert [each.name for each in fields(Show)] == [
        "colormap", "site_mode", "channel_mode", "rotation_mode", "plate_mode"
    ]  # fmt: skip
    assert {f"{name}_mode" for name in component_names()} <= {
        each.name for each in fields(NapariDisplayConfig)
    }


def test_what_the_class_spells_out_stays_and_what_is_added_has_the_default_and_a_name() -> None:
    show: Any = Show()
    assert (show.site_mode, show.rotation_mode) == (LAYER, STACK)
    assert Show("fire", STACK) == Show(colormap="fire", site_mode=STACK)
    with pytest.raises(TypeError, match="positional"):
        Show("fire", STACK, STACK)  # type: ignore[call-arg]


def test_added_modes_are_checked_like_the_others() -> None:
    made: Any = Show
    assert made(rotation_mode="slice") == made(rotation_mode=LAYER)
    with pytest.raises(ProjectionError, match=r"rotation_mode='window' is not known \(known: layer, stack\)"):
        made(rotation_mode="window")


def test_they_inherit_and_come_from_the_environment_like_the_others() -> None:
    made: Any = lazy(Show)
    assert made(rotation_mode="layer").resolve(made(plate_mode="layer")) == Show(
        rotation_mode=LAYER,  # type: ignore[call-arg]
        plate_mode=LAYER,
    )
    ((setting,),) = from_environment(Show, {"TEST_SHOW_ROTATION_MODE": "slice"}).values()
    assert setting.value is LAYER


def test_the_projection_is_told_those_it_knows() -> None:
    made: Any = Show
    assert modes_of(made(plate_mode="layer", rotation_mode="layer")) == {
        Component.FIELD: LAYER,
        Component.CHANNEL: STACK,
        Component.PLATE: LAYER,
    }


def test_a_configuration_with_added_modes_travels() -> None:
    made: Any = Show
    config = made(rotation_mode="layer")
    assert ForkingPickler.loads(bytes(ForkingPickler.dumps(config))) == config


ADDED = """
from openhcs_viewers.config import LazyNapariStreamingConfig, NapariStreamingConfig, NapariDimensionMode
config = NapariStreamingConfig(rotation_mode="slice", plate_mode="slice")
assert config.rotation_mode is NapariDimensionMode.SLICE
assert config.display_spec().modes["plate"] is NapariDimensionMode.SLICE
assert LazyNapariStreamingConfig(rotation_mode="slice").resolve(config) == config.__class__(
    rotation_mode="slice", plate_mode="slice")
from openhcs_viewers.config import FijiStreamingConfig
fiji = FijiStreamingConfig(plate_mode="stack")
assert fiji.display_spec().dimensions["plate"] == "frame"
print(NapariStreamingConfig().rotation_mode, fiji.rotation_mode)
"""


def test_a_program_with_an_added_component_has_its_mode_in_every_display_configuration() -> None:
    environment = {**os.environ, "OPENHCS_COMPONENTS": "rotation,plate"}
    done = subprocess.run(
        [sys.executable, "-c", ADDED], capture_output=True, text=True, timeout=60, env=environment
    )
    assert (done.returncode, done.stdout.strip()) == (0, "stack separate"), done.stderr


def test_images_that_differ_in_an_added_component_have_layers_of_their_own(
    start: Callable[..., ViewerHandle], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polystore.constants.component_names", lambda: ("site", "channel", "rotation"))
    handle = start()
    backend = NapariStreamingBackend(handle.endpoint, policy="block", deadline=10.0)
    image = np.zeros((8, 8), np.uint8)
    backend.save_batch(
        [image] * 4,
        [f"A01_s{site}_w1.tif" for site in (1, 1, 2, 2)],
        components=[{"rotation": turn} for turn in (0, 90, 0, "odd")],
        step_name="turn",
    )
    assert handle.sender().flush(10)
    handle.settle()
    shown = {layer["name"]: layer["planes"] for layer in handle.state()["layers"]}
    assert shown == {
        "turn_Rotation_000_Channel_1": 2,
        "turn_Rotation_090_Channel_1": 1,
        "turn_Rotation_odd_Channel_1": 1,
    }
