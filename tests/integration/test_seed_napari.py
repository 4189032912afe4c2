"""Every usage example of the document on napari, with only the import path changed, against a real napari."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openhcs_viewers.launcher import find_viewer, list_viewers
from polystore import FileManager
from zmqruntime.testing import wait_until

pytestmark = pytest.mark.usefixtures("on_display")

Pipeline = Callable[[str], subprocess.CompletedProcess[str]]


def plate(value: int = 0) -> tuple[list[np.ndarray[Any, Any]], list[str]]:
    """Two wells, two sites, two channels, two z planes."""
    places = [(w, s, c, z) for w in ("A01", "B02") for s in (1, 2) for c in (1, 2) for z in (1, 2)]
    images = [np.full((32, 48), 100 * number + value, np.uint16) for number in range(len(places))]
    return images, [f"{well}_s{site}_w{channel}_z{z}.tif" for well, site, channel, z in places]


def layers(port: int | None = None) -> dict[str, dict[str, Any]]:
    handle = find_viewer(port)
    handle.wait_ready()
    handle.settle()
    return {layer["name"]: layer for layer in handle.state()["layers"]}


def test_streaming_backend_usage() -> None:
    from openhcs_viewers import launch

    images, paths = plate()
    filemanager = FileManager()
    launch("napari")

    # Streaming backend usage
    filemanager.save_batch(
        data=images,
        paths=paths,
        backend='napari_stream'
    )  # fmt: skip

    shown = layers()
    assert set(shown) == {"image_Channel_1", "image_Channel_2"}
    for layer in shown.values():
        assert layer["planes"] == 8
        assert layer["axes"] == {"well": ["A01", "B02"], "field": [1, 2], "z": [1, 2]}
        assert layer["colormap"] == "gray"


def test_start_persistent_viewer() -> None:
    from openhcs_viewers.config import NapariStreamingConfig
    from openhcs_viewers.napari_stream_visualizer import NapariStreamVisualizer

    filemanager, visualizer_config = FileManager(), NapariStreamingConfig()
    begin = time.monotonic()

    # Start persistent viewer
    visualizer = NapariStreamVisualizer(
        filemanager,
        visualizer_config, # Configuration for streaming behavior
        viewer_title="OpenHCS Pipeline Visualization",
        persistent=True,
        napari_port=5555,
        replace_layers=False
    )  # fmt: skip
    visualizer.start_viewer(async_mode=True)  # Non-blocking startup  # fmt: skip

    images, paths = plate()
    filemanager.save_batch(images, paths, "napari_stream", step_index=2, step_name="gaussian_blur")
    assert time.monotonic() - begin < 3.0  # the window takes longer; the images wait for it
    visualizer.wait_for_ready()
    assert visualizer.is_running
    assert visualizer.port == 5555
    assert visualizer.handle is not None
    assert visualizer.handle.title == "OpenHCS Pipeline Visualization"
    assert sum(layer["planes"] for layer in layers().values()) == len(images)
    visualizer.stop_viewer()
    assert not visualizer.is_running
    assert list_viewers() == []


def test_streaming_config_is_as_printed() -> None:
    from openhcs_viewers.config import (
        NapariColormap,
        NapariDimensionMode,
        NapariDisplayConfig,
        NapariStreamingConfig,
        NapariVariableSizeHandling,
        StreamingConfig,
    )

    config = NapariStreamingConfig()
    assert NapariStreamingConfig.__mro__[1:3] == (StreamingConfig, NapariDisplayConfig)
    assert (config.napari_port, config.napari_host) == (5555, 'localhost')  # fmt: skip
    assert config.colormap == NapariColormap.GRAY
    assert config.variable_size_handling == NapariVariableSizeHandling.SEPARATE_LAYERS
    assert config.site_mode == NapariDimensionMode.STACK
    assert config.channel_mode == NapariDimensionMode.SLICE
    assert config.z_index_mode == NapariDimensionMode.STACK
    assert config.well_mode == NapariDimensionMode.STACK
    assert {field.name for field in fields(config)} >= {"enabled", "persistent", "timepoint_mode"}


def test_colormaps_generated_from_what_napari_has() -> None:
    from openhcs_viewers.enum_factory import create_colormap_enum

    # First run
    NapariColormap = create_colormap_enum()
    # Subsequent runs
    NapariColormap = create_colormap_enum()
    # Disable caching (always discover fresh)
    NapariColormap = create_colormap_enum(enable_cache=False)
    # Lazy mode (no caching, deferred discovery)
    NapariColormap = create_colormap_enum(lazy=True)
    assert NapariColormap.GRAY.value == "gray"


def test_pipeline_execution(tmp_path: Path) -> None:
    from openhcs_viewers.config import NapariStreamingConfig, PipelineConfig
    from openhcs_viewers.napari_stream_visualizer import NapariStreamVisualizer

    # Pipeline configuration enables Napari streaming
    pipeline_config = PipelineConfig(
        napari_streaming=NapariStreamingConfig(
            enabled=True,
            persistent=True,
            napari_port=5555
        )
    )  # fmt: skip

    # During execution the streaming backend is activated alongside persistent backends.
    filemanager = FileManager()
    streaming = pipeline_config.napari_streaming
    assert streaming is not None
    visualizer = NapariStreamVisualizer(filemanager, streaming, persistent=streaming.persistent)
    visualizer.start_viewer(async_mode=True)
    images, names = plate()
    paths = [str(tmp_path / name) for name in names]
    done = filemanager.save_batch(
        images, paths, ["disk", "napari_stream"], step_index=0, step_name="load", config=streaming
    )
    assert done["napari_stream"].accepted == len(images)
    assert np.array_equal(filemanager.load(paths[3], "disk"), images[3])
    visualizer.wait_for_ready()
    assert set(layers()) == {"Step_00_load_Channel_1", "Step_00_load_Channel_2"}


def test_layer_naming_convention() -> None:
    from openhcs_viewers.config import NapariDimensionMode, NapariStreamingConfig
    from openhcs_viewers.napari_stream_visualizer import NapariStreamVisualizer

    filemanager = FileManager()
    config = NapariStreamingConfig(well_mode=NapariDimensionMode.SLICE, site_mode=NapariDimensionMode.SLICE)
    NapariStreamVisualizer(filemanager, config, persistent=False).start_viewer()
    image = np.zeros((32, 48), np.uint16)
    components = {"well": "A01", "channel": "DAPI", "site": "001"}
    filemanager.save_batch(
        [image], ["x.tif"], "napari_stream", step_index=2, step_name="gaussian_blur", components=components
    )
    assert set(layers()) == {"Step_02_gaussian_blur_Well_A01_Channel_DAPI_Site_001"}


def test_two_visualizers_with_two_configurations_work_side_by_side() -> None:
    from openhcs_viewers.config import NapariColormap, NapariDimensionMode, NapariStreamingConfig
    from openhcs_viewers.napari_stream_visualizer import NapariStreamVisualizer

    configs = (
        NapariStreamingConfig(colormap=NapariColormap.MAGMA, napari_port=5565),
        NapariStreamingConfig(z_index_mode=NapariDimensionMode.SLICE, napari_port=5575),
    )
    visualizers = [NapariStreamVisualizer(FileManager(), config, persistent=False) for config in configs]
    for visualizer in visualizers:
        visualizer.start_viewer(async_mode=True)
    for visualizer, config in zip(visualizers, configs, strict=True):
        visualizer.filemanager.save_batch(*plate(), "napari_stream", step_name="a", config=config)
    for visualizer in visualizers:
        visualizer.wait_for_ready()
    assert {layer["colormap"] for layer in layers(5565).values()} == {"magma"}
    assert set(layers(5565)) == {"a_Channel_1", "a_Channel_2"}
    assert set(layers(5575)) == {f"a_Channel_{c}_Z_00{z}" for c in (1, 2) for z in (1, 2)}


SECOND_PIPELINE = """
import numpy as np
from openhcs_viewers.config import NapariStreamingConfig
from openhcs_viewers.napari_stream_visualizer import NapariStreamVisualizer
from polystore import FileManager
fm = FileManager()
visualizer = NapariStreamVisualizer(fm, NapariStreamingConfig(), replace_layers={replace})
visualizer.start_viewer()
image = np.full((32, 48), {value}, np.uint16)
report = fm.save_batch([image], ["A01_s1_w1.tif"], "napari_stream", step_index=0, step_name="load")
assert report == (1, 0), report
visualizer.handle.settle()
"""


def test_two_pipelines_on_one_persistent_viewer(pipeline: Pipeline) -> None:
    pipeline(SECOND_PIPELINE.format(replace=False, value=1))
    (handle,) = list_viewers()  # it survived the pipeline that launched it
    pipeline(SECOND_PIPELINE.format(replace=False, value=2))
    assert list(layers()) == ["Step_00_load_Channel_1", "Step_00_load_Channel_1_run_2"]
    pipeline(SECOND_PIPELINE.format(replace=True, value=3))
    assert list(layers()) == ["Step_00_load_Channel_1", "Step_00_load_Channel_1_run_2"]
    assert [each.pid for each in list_viewers()] == [handle.pid]
    wait_until(lambda: handle.status()["senders"] == [])
    assert handle.status()["images"]["displayed"] == 3
