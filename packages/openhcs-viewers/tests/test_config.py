"""Configurations: the documented names and defaults, checked when made, picklable, no viewer imported."""

from __future__ import annotations

import multiprocessing.reduction
from dataclasses import FrozenInstanceError, replace
from io import BytesIO
from typing import Any

import pytest

from openhcs_viewers.config import (
    NapariColormap,
    NapariDimensionMode,
    NapariDisplayConfig,
    NapariStreamingConfig,
    NapariVariableSizeHandling,
    PipelineConfig,
    StreamingConfig,
)
from openhcs_viewers.enum_factory import create_colormap_enum
from polystore.components import Component
from polystore.errors import ProjectionError
from polystore.projection import DimensionMode, VariableSize
from polystore.projection.spec import DisplaySpec
from zmqruntime.config import Endpoint


def test_defaults_are_the_documented_ones() -> None:
    config = NapariStreamingConfig()
    assert config == NapariStreamingConfig(
        enabled=True,
        persistent=True,
        napari_port=5555,
        napari_host="localhost",
        colormap=NapariColormap.GRAY,
        variable_size_handling=NapariVariableSizeHandling.SEPARATE_LAYERS,
        site_mode=NapariDimensionMode.STACK,
        channel_mode=NapariDimensionMode.SLICE,
        z_index_mode=NapariDimensionMode.STACK,
        timepoint_mode=NapariDimensionMode.STACK,
        well_mode=NapariDimensionMode.STACK,
    )
    assert isinstance(config, StreamingConfig)
    assert isinstance(config, NapariDisplayConfig)
    assert PipelineConfig().napari_streaming is None
    assert PipelineConfig(napari_streaming=config).napari_streaming == config


def test_the_default_display_is_the_projections_own_default() -> None:
    assert NapariDisplayConfig().display_spec() == DisplaySpec()


def test_every_setting_reaches_the_display() -> None:
    config = NapariDisplayConfig(
        colormap=NapariColormap.BOP_BLUE,
        variable_size_handling=NapariVariableSizeHandling.PAD_TO_MAX,
        site_mode=NapariDimensionMode.SLICE,
        channel_mode=NapariDimensionMode.STACK,
        z_index_mode=NapariDimensionMode.SLICE,
        timepoint_mode=NapariDimensionMode.SLICE,
        well_mode=NapariDimensionMode.LAYER,
    )
    spec = config.display_spec(replace_layers=True)
    assert spec.colormap == "bop blue"
    assert type(spec.colormap) is str
    assert spec.variable_size is VariableSize.PAD_TO_MAX
    assert spec.replace_layers
    layered = {part for part, mode in spec.modes.items() if mode is DimensionMode.LAYER}
    assert layered == {Component.FIELD, Component.Z, Component.T, Component.WELL}


def test_slice_and_layer_are_one_mode() -> None:
    assert NapariDimensionMode.SLICE is NapariDimensionMode.LAYER


def test_plain_words_are_understood_and_others_refused_when_the_configuration_is_made() -> None:
    config = NapariDisplayConfig(well_mode="slice", colormap="any name")  # type: ignore[arg-type]
    assert config.display_spec().modes[Component.WELL] is DimensionMode.LAYER
    with pytest.raises(ProjectionError, match=r"'window' is not known \(known: layer, stack\)"):
        NapariDisplayConfig(site_mode="window")  # type: ignore[arg-type]
    with pytest.raises(ProjectionError, match="colormap"):
        NapariDisplayConfig(colormap="")


def test_configurations_are_values() -> None:
    config = NapariStreamingConfig(napari_port=5600)
    assert hash(config) == hash(replace(config))
    with pytest.raises(FrozenInstanceError):
        config.napari_port = 1  # type: ignore[misc]


def test_configurations_travel_to_worker_processes() -> None:
    config = PipelineConfig(NapariStreamingConfig(colormap=NapariColormap.MAGMA))
    assert travelled(config) == config


def travelled(value: Any) -> Any:
    """What arrives in a worker when `value` is sent to it."""
    buffer = BytesIO()
    multiprocessing.reduction.ForkingPickler(buffer).dump(value)
    return multiprocessing.reduction.ForkingPickler.loads(buffer.getvalue())


def test_where_it_listens() -> None:
    assert NapariStreamingConfig(napari_port=5600).endpoint() == Endpoint(data_port=5600)
    assert str(NapariStreamingConfig(napari_host="elsewhere").endpoint()) == "tcp://elsewhere:5555"


def test_the_colormap_enum_is_one_and_has_gray() -> None:
    assert create_colormap_enum() is NapariColormap
    assert create_colormap_enum(enable_cache=False) is NapariColormap
    assert create_colormap_enum(lazy=True) is NapariColormap
    assert NapariColormap.GRAY.value == "gray"
    assert NapariColormap("viridis") is NapariColormap.VIRIDIS


def test_the_colormap_table_is_that_of_the_installed_napari() -> None:
    from napari.utils.colormaps import AVAILABLE_COLORMAPS

    assert sorted(member.value for member in NapariColormap) == sorted(AVAILABLE_COLORMAPS)
