"""Configurations: the documented names and defaults, checked when made, picklable, no viewer imported."""

from __future__ import annotations

import multiprocessing.reduction
from dataclasses import FrozenInstanceError, fields, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from openhcs_viewers.config import (
    STREAMING_CONFIGS,
    GlobalPipelineConfig,
    LazyNapariDisplayConfig,
    LazyNapariStreamingConfig,
    LazyStreamingConfig,
    NapariColormap,
    NapariDimensionMode,
    NapariDisplayConfig,
    NapariStreamingConfig,
    NapariVariableSizeHandling,
    PipelineConfig,
    StreamingConfig,
    configured_port,
    viewer_configs,
)
from openhcs_viewers.enum_factory import create_colormap_enum
from openhcs_viewers.registry import asked_port, default_port
from polystore.components import Component
from polystore.config import LazyVFSConfig, VFSConfig
from polystore.config_sources import effective, variables
from polystore.constants import Backend
from polystore.errors import ProjectionError, SettingsError
from polystore.inheritance import NONE, Lazy, Origin
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


# -- inheritance


def test_nothing_is_said_by_a_lazy_variant_until_it_is() -> None:
    assert LazyNapariStreamingConfig().said() == {}
    assert LazyNapariStreamingConfig().napari_port is None
    assert LazyNapariStreamingConfig().resolve() == NapariStreamingConfig()
    said = LazyNapariStreamingConfig(napari_port=5600)
    assert said.resolve(NapariStreamingConfig(colormap="fire")) == NapariStreamingConfig(
        colormap="fire", napari_port=5600
    )
    lazies = [LazyStreamingConfig, LazyNapariDisplayConfig]
    assert all(isinstance(said, each) for each in lazies)  # type: ignore[arg-type]
    assert not isinstance(said, StreamingConfig)


def test_modes_are_one_value_however_they_are_written() -> None:
    assert NapariDisplayConfig(well_mode="slice") == NapariDisplayConfig(well_mode=NapariDimensionMode.LAYER)  # type: ignore[arg-type]
    assert LazyNapariDisplayConfig(well_mode="SLICE").well_mode is NapariDimensionMode.SLICE  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"napari_port": 0}, "napari_port=0 is not a port: give 1 to 64535"),
        ({"napari_port": 64536}, "give 1 to 64535"),
        ({"napari_port": True}, "napari_port=True"),
        ({"napari_port": "5555"}, "napari_port='5555'"),
        ({"napari_host": ""}, "napari_host=''"),
        ({"enabled": "no"}, "enabled='no': True or False"),
        ({"persistent": 1}, "persistent=1: True or False"),
    ],
)
def test_impossible_values_are_refused_complete_and_lazy(wrong: dict[str, Any], complaint: str) -> None:
    for cls in (NapariStreamingConfig, LazyNapariStreamingConfig):
        with pytest.raises(SettingsError, match=complaint):
            cls(**wrong)


def test_the_pipelines_configuration_is_the_lazy_variant_of_the_global_one() -> None:
    assert [each.name for each in fields(PipelineConfig)] == [
        each.name for each in fields(GlobalPipelineConfig)
    ]
    assert isinstance(PipelineConfig(), Lazy)
    assert PipelineConfig().resolve() == GlobalPipelineConfig()
    assert PipelineConfig().said() == {}
    assert repr(PipelineConfig(vfs=LazyVFSConfig(Backend.ZARR))) == (
        "PipelineConfig(vfs=LazyVFSConfig(materialization_backend=<Backend.ZARR: 'zarr'>))"
    )
    assert travelled(PipelineConfig(napari_streaming=NONE)) == PipelineConfig(napari_streaming=NONE)


def test_every_viewer_that_is_configured_and_enabled_is_streamed_to() -> None:
    assert list(viewer_configs(GlobalPipelineConfig())) == []
    for kind, cls in STREAMING_CONFIGS.items():
        off = GlobalPipelineConfig(**{f"{kind}_streaming": cls(enabled=False)})
        assert list(viewer_configs(off)) == []
    both = {kind: cls() for kind, cls in STREAMING_CONFIGS.items()}
    config = GlobalPipelineConfig(**{f"{kind}_streaming": each for kind, each in both.items()})  # type: ignore[arg-type]
    assert dict(viewer_configs(config)) == both


def test_a_pipeline_inherits_field_by_field() -> None:
    above = GlobalPipelineConfig(
        NapariStreamingConfig(napari_port=5600, colormap="fire"), VFSConfig(Backend.ZARR)
    )
    own = PipelineConfig(napari_streaming=LazyNapariStreamingConfig(colormap="magma"))
    assert own.resolve(above) == GlobalPipelineConfig(
        NapariStreamingConfig(napari_port=5600, colormap="magma"), VFSConfig(Backend.ZARR)
    )
    assert PipelineConfig(napari_streaming=NONE).resolve(above).napari_streaming is None


# -- files and variables


def test_every_setting_has_a_variable_of_one_form() -> None:
    found = variables(GlobalPipelineConfig)
    assert found["napari_streaming.napari_port"] == "OPENHCS_NAPARI_PORT"
    assert found["napari_streaming.napari_host"] == "OPENHCS_NAPARI_HOST"
    assert found["napari_streaming.well_mode"] == "OPENHCS_NAPARI_WELL_MODE"
    assert found["fiji_streaming.fiji_port"] == "OPENHCS_FIJI_PORT"
    assert found["fiji_streaming.lut"] == "OPENHCS_FIJI_LUT"
    assert found["vfs.materialization_backend"] == "POLYSTORE_VFS_MATERIALIZATION_BACKEND"
    assert len(found) == sum(len(fields(each)) for each in STREAMING_CONFIGS.values()) + 1


def test_a_wrong_variable_says_what_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENHCS_NAPARI_WELL_MODE", "window")
    with pytest.raises(
        SettingsError, match="OPENHCS_NAPARI_WELL_MODE: 'window' is not allowed; give one of layer"
    ):
        effective(NapariStreamingConfig)
    monkeypatch.setenv("OPENHCS_NAPARI_WELL_MODE", "slice")
    monkeypatch.setenv("OPENHCS_NAPARI_COLORMAP", "magma")
    found = effective(NapariStreamingConfig, step=NapariStreamingConfig(colormap="fire"))
    assert found.value.colormap is NapariColormap.MAGMA
    assert found.value.well_mode is NapariDimensionMode.SLICE
    assert found.origin("well_mode") == Origin("environment", "OPENHCS_NAPARI_WELL_MODE")


def test_the_configured_port_is_the_default_port(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ports = [configured_port(kind) for kind in ("napari", "fiji", "recording")]
    assert ports == [5555, 5556, None]
    monkeypatch.setenv("OPENHCS_NAPARI_PORT", "5600")
    assert default_port("napari") == 5600
    assert asked_port("napari", 5600) is None
    assert asked_port("napari", 5555) == 5555
    assert default_port("recording") == 5560
    monkeypatch.delenv("OPENHCS_NAPARI_PORT")
    file = tmp_path / "config.toml"
    file.write_text("[napari]\nport = 5700\n", encoding="utf-8")
    monkeypatch.setenv("OPENHCS_CONFIG", str(file))
    assert default_port("napari") == 5700
