"""How ImageJ shows a plate: the documented defaults, and what every mode of every component becomes."""

from __future__ import annotations

from dataclasses import fields, replace
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import pytest

from openhcs_viewers.config import (
    FijiDimensionMode,
    FijiDisplayConfig,
    FijiDisplayMode,
    FijiLUT,
    FijiStreamingConfig,
    FijiVariableSizeHandling,
    LazyFijiDisplayConfig,
    LazyFijiStreamingConfig,
    StreamingConfig,
)
from polystore.backends.fiji_stream import DEFAULT_DISPLAY
from polystore.components import Component
from polystore.config_sources import effective
from polystore.errors import ProjectionError, SettingsError
from polystore.projection.spec import ChannelDisplay, Dimension, DisplaySpec
from zmqruntime.config import Endpoint

CHANNEL, Z, FRAME, WINDOW = Dimension.CHANNEL, Dimension.Z, Dimension.FRAME, Dimension.WINDOW

COMPONENTS = ("channel", "z_index", "timepoint", "site", "well")

TABLE: dict[str, tuple[Dimension, ...]] = {
    "stack": (CHANNEL, Z, FRAME, FRAME, FRAME),
    "slice": (CHANNEL, Z, Z, Z, Z),
    "separate": (WINDOW,) * 5,
    "channel": (CHANNEL,) * 5,
    "z": (Z,) * 5,
    "frame": (FRAME,) * 5,
    "window": (WINDOW,) * 5,
}
"""What each of the components becomes by each mode."""


def test_defaults_are_the_documented_ones() -> None:
    config = FijiStreamingConfig()
    assert config == FijiStreamingConfig(
        enabled=True,
        persistent=True,
        fiji_port=5556,
        fiji_host="localhost",
        lut=FijiLUT.GRAYS,
        variable_size_handling=FijiVariableSizeHandling.SEPARATE_LAYERS,
        display_mode=FijiDisplayMode.COMPOSITE,
        channel_mode=FijiDimensionMode.SLICE,
        z_index_mode=FijiDimensionMode.STACK,
        timepoint_mode=FijiDimensionMode.STACK,
        site_mode=FijiDimensionMode.SEPARATE,
        well_mode=FijiDimensionMode.SEPARATE,
        pixel_size=None,
        z_step=None,
        frame_interval=None,
    )
    assert isinstance(config, StreamingConfig)
    assert isinstance(config, FijiDisplayConfig)
    assert FijiDisplayConfig().display_spec() == replace(DEFAULT_DISPLAY, colormap="Grays")


def test_every_mode_has_its_row_here_and_on_the_page() -> None:
    assert set(TABLE) == {mode.value for mode in FijiDimensionMode}
    words = {CHANNEL: "channel", Z: "slice", FRAME: "frame", WINDOW: "window"}
    page = (Path(__file__).parents[1] / "docs" / "fiji.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| `")]
    told = {name.strip("`").lower(): cells for first, *cells in rows for name in first.split(", ")}
    # Site and well, which are always the same, share a column.
    assert told == {mode: [words[one] for one in row[:4]] for mode, row in TABLE.items()}


@pytest.mark.parametrize(
    ("mode", "component", "expected"),
    [(mode, *each) for mode, row in TABLE.items() for each in zip(COMPONENTS, row, strict=True)],
)
def test_modes_resolve_per_component(mode: str, component: str, expected: Dimension) -> None:
    options: dict[str, Any] = {f"{component}_mode": mode}
    found = FijiDisplayConfig(**options).display_spec().dimensions
    others = DEFAULT_DISPLAY.dimensions
    assert found == {**others, _component(component): expected}
    options[f"{component}_mode"] = FijiDimensionMode(mode)
    assert FijiDisplayConfig(**options).display_spec().dimensions == found


def _component(name: str) -> Component:
    return {"site": Component.FIELD, "z_index": Component.Z, "timepoint": Component.T}.get(name) or Component(
        name
    )


def test_every_other_setting_reaches_the_display() -> None:
    config = FijiDisplayConfig(
        lut=FijiLUT.RED_GREEN,
        variable_size_handling=FijiVariableSizeHandling.PAD_TO_MAX,
        display_mode=FijiDisplayMode.GRAYSCALE,
        pixel_size=0.65,
        z_step=1.5,
        frame_interval=30.0,
    )
    assert config.display_spec(replace_layers=True) == DisplaySpec(
        colormap="Red/Green",
        dimensions=DEFAULT_DISPLAY.dimensions,
        variable_size=FijiVariableSizeHandling.PAD_TO_MAX,
        channel_display=ChannelDisplay.GRAYSCALE,
        scale=(0.65, 0.65),
        z_step=1.5,
        frame_interval=30.0,
        replace_layers=True,
    )
    assert type(config.display_spec().colormap) is str
    assert FijiDisplayConfig(lut="my own.lut").display_spec().colormap == "my own.lut"


@pytest.mark.parametrize(
    ("wrong", "error", "complaint"),
    [
        (
            {"site_mode": "layer"},
            ProjectionError,
            "site_mode='layer' is not known .known: stack, slice, separate",
        ),
        (
            {"display_mode": "rgb"},
            ProjectionError,
            "display_mode='rgb' is not known .known: composite, color",
        ),
        ({"lut": ""}, ProjectionError, "lut='': give the name of a lookup table"),
        ({"lut": 3}, ProjectionError, "lut=3: give"),
        ({"pixel_size": -1}, ProjectionError, "pixel_size=-1: it is finite and above 0"),
        ({"pixel_size": "wide"}, ProjectionError, "pixel_size='wide': give a number"),
        ({"z_step": -1.0}, ProjectionError, "z_step=-1.0"),
        ({"fiji_port": 0}, SettingsError, "fiji_port=0 is not a port: give 1 to 64535"),
        ({"fiji_host": ""}, SettingsError, "fiji_host='' is not a host"),
        ({"enabled": "no"}, SettingsError, "enabled='no': True or False"),
    ],
)
def test_impossible_values_are_refused_complete_and_lazy(
    wrong: dict[str, Any], error: type[Exception], complaint: str
) -> None:
    for cls in (FijiStreamingConfig, LazyFijiStreamingConfig):
        with pytest.raises(error, match=complaint):
            cls(**wrong)


def test_nothing_is_said_by_a_lazy_variant_until_it_is() -> None:
    assert LazyFijiStreamingConfig().said() == {}
    above = FijiStreamingConfig(fiji_port=5600, lut=FijiLUT.FIRE)
    said = LazyFijiStreamingConfig(site_mode="stack")  # type: ignore[arg-type]
    assert said.resolve(above) == FijiStreamingConfig(
        fiji_port=5600, lut=FijiLUT.FIRE, site_mode=FijiDimensionMode.STACK
    )
    assert isinstance(said, LazyFijiDisplayConfig)  # type: ignore[arg-type]


def test_it_is_a_value_that_travels() -> None:
    config = FijiStreamingConfig(fiji_port=5600, lut=FijiLUT.ICE)
    assert ForkingPickler.loads(bytes(ForkingPickler.dumps(config))) == config
    assert hash(config) == hash(FijiStreamingConfig(fiji_port=5600, lut="Ice"))
    assert config.endpoint() == Endpoint(data_port=5600)
    assert str(FijiStreamingConfig(fiji_host="elsewhere").endpoint()) == "tcp://elsewhere:5556"


def test_every_setting_can_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {
        "PORT": "5600", "LUT": "3-3-2 rgb", "Z_STEP": "2", "DISPLAY_MODE": "color", "WELL_MODE": "frame",
        "PIXEL_SIZE": "none",
    }  # fmt: skip
    for name, text in said.items():
        monkeypatch.setenv(f"OPENHCS_FIJI_{name}", text)
    found = effective(FijiStreamingConfig, step=FijiStreamingConfig(pixel_size=0.3)).value
    assert (found.fiji_port, found.lut, found.z_step) == (5600, FijiLUT.RGB_332, 2.0)
    assert (found.display_mode, found.well_mode) == (FijiDisplayMode.COLOR, FijiDimensionMode.FRAME)
    assert found.pixel_size is None
    assert {each.name for each in fields(FijiStreamingConfig)} >= {"fiji_port", "fiji_host", "persistent"}


def test_a_lookup_table_nobody_knows_is_told_once_with_those_known(caplog: pytest.LogCaptureFixture) -> None:
    for known in ("fire", "Grays", "auto", "gray", "mpl-viridis", FijiLUT.RED_GREEN, FijiLUT.GLASBEY_ON_DARK):
        FijiDisplayConfig(lut=known)
    assert caplog.text == ""
    for _ in range(2):
        FijiDisplayConfig(lut="Fyre")
    (record,) = caplog.records
    assert "lut='Fyre' is none of ImageJ's own" in record.getMessage()
    assert "known: Fire, Grays" in record.getMessage()
