"""Every usage example of the document on Fiji, with only the import path changed, against a real ImageJ."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openhcs_viewers.handle import ViewerHandle
from openhcs_viewers.launcher import list_viewers
from polystore import FileManager
from polystore.payload import shm

pytestmark = pytest.mark.usefixtures("on_display")


def plate(value: int = 0) -> tuple[list[np.ndarray[Any, Any]], list[str]]:
    """Two wells, two sites, two channels, two z planes."""
    places = [(w, s, c, z) for w in ("A01", "B02") for s in (1, 2) for c in (1, 2) for z in (1, 2)]
    images = [np.full((32, 48), 100 * number + value, np.uint16) for number in range(len(places))]
    return images, [f"{well}_s{site}_w{channel}_z{z}.tif" for well, site, channel, z in places]


def windows(handle: ViewerHandle) -> dict[str, dict[str, Any]]:
    handle.wait_ready()
    handle.settle()
    return {window["name"]: window for window in handle.state()["layers"]}


def sizes(handle: ViewerHandle) -> dict[str, list[int]]:
    """Channels, slices and frames of every hyperstack."""
    return {name: list(window["size"].values()) for name, window in windows(handle).items()}


def test_fiji_streaming_backend() -> None:
    from openhcs_viewers import launch
    from polystore.base import StreamingBackend
    from polystore.fiji_stream import FijiStreamingBackend

    handle = launch("fiji", detached=False)
    data_list, file_paths = plate()

    assert issubclass(FijiStreamingBackend, StreamingBackend)
    backend = FijiStreamingBackend()
    assert backend.save_batch(data_list, file_paths) == (16, 0)
    assert FileManager().save_batch(data_list, file_paths, backend="fiji_stream") == (16, 0)

    # A window per (step, well), and per site, as the configuration printed in the document says. The second batch
    # replaced the planes of the first.
    assert sizes(handle) == {
        f"image_Well_{well}_Site_00{site}": [2, 2, 1] for well in ("A01", "B02") for site in (1, 2)
    }
    stats = handle.sender().stats
    assert (stats.sent, stats.displayed + stats.superseded) == (32, 32)
    # The publisher closed its handles, and no name stays for anybody to unlink.
    assert not [name for name, _, _ in shm.names() if name.split("-")[1] == str(os.getpid())]


SERVER = """
from openhcs_viewers.abc import ViewerSettings
from openhcs_viewers.fiji_viewer_server import FijiViewerServer
from zmqruntime import ZMQServer

server = FijiViewerServer(settings=ViewerSettings(display="headless"))
assert isinstance(server, ZMQServer)
server.start()
try:
    server.serve()
finally:
    server.stop()
print("stopped")
"""


def test_fiji_viewer_server_in_a_process_of_ones_own() -> None:
    from polystore.fiji_stream import FijiStreamingBackend
    from polystore.streaming.sender import sender_for
    from zmqruntime.config import Endpoint

    process = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        handle = ViewerHandle("fiji", Endpoint(data_port=5556))
        pong = handle.wait_ready()
        assert (pong.kind, pong.title, pong.ready) == ("fiji", "OpenHCS Fiji Viewer", True)
        assert FijiStreamingBackend().save_batch(*plate(), policy="block") == (16, 0)
        assert sender_for(handle.endpoint).flush(20.0)
        assert handle.status()["images"]["displayed"] == 16
        handle.stop()
        out, err = process.communicate(timeout=20.0)
        assert (process.returncode, out.strip()) == (0, "stopped"), err
    finally:
        process.kill()
        process.communicate()


def test_start_viewer_asynchronously_reuse_it_and_stop_it() -> None:
    from openhcs_viewers.config import FijiStreamingConfig
    from openhcs_viewers.fiji_stream_visualizer import FijiStreamVisualizer

    filemanager, visualizer_config = FileManager(), FijiStreamingConfig()
    begin = time.monotonic()
    visualizer = FijiStreamVisualizer(
        filemanager,
        visualizer_config,
        viewer_title="OpenHCS Pipeline Visualization",
        persistent=True,
        fiji_port=5556,
    )
    visualizer.start_viewer(async_mode=True)
    filemanager.save_batch(*plate(), "fiji_stream", step_index=2, step_name="gaussian_blur")
    assert time.monotonic() - begin < 3.0  # Java and its window take longer; the images wait for it
    visualizer.wait_for_ready()
    assert visualizer.is_running
    handle = visualizer.handle
    assert handle is not None
    assert (handle.port, handle.endpoint.control_port) == (5556, 6556)
    assert handle.title == "OpenHCS Pipeline Visualization"
    assert set(windows(handle)) == {
        f"Step_02_gaussian_blur_Well_{well}_Site_00{site}" for well in ("A01", "B02") for site in (1, 2)
    }

    again = FijiStreamVisualizer(FileManager(), persistent=False)
    again.start_viewer()  # connects to the existing viewer
    assert again.handle is not None
    assert again.handle.pid == handle.pid
    assert len(list_viewers()) == 1

    visualizer.stop_viewer()
    assert not visualizer.is_running
    assert list_viewers() == []


def test_component_to_czt_mapping() -> None:
    from openhcs_viewers.config import FijiDimensionMode, FijiDisplayConfig
    from openhcs_viewers.fiji_stream_visualizer import FijiStreamVisualizer

    # Component metadata from OpenHCS
    metadata = {
        'well': 'A01',
        'site': 's1',
        'channel': 'DAPI',
        'z_index': 'z003',
        'timepoint': 't001'
    }  # fmt: skip

    # Automatic CZT mapping based on FijiDisplayConfig
    config = FijiDisplayConfig(
        channel_mode=FijiDimensionMode.SLICE,  # C dimension
        z_index_mode=FijiDimensionMode.STACK,  # Z dimension
        timepoint_mode=FijiDimensionMode.STACK # T dimension
    )  # fmt: skip

    visualizer = FijiStreamVisualizer(FileManager(), config, persistent=False)
    visualizer.start_viewer()
    n, m = 3, 2
    places = [
        {**metadata, "z_index": f"z{z:03}", "timepoint": f"t{t:03}"}
        for t in range(1, m + 1)
        for z in range(1, n + 1)
    ]
    images = [np.full((32, 48), number, np.uint16) for number in range(len(places))]
    paths = [f"{number}.tif" for number in range(len(places))]
    visualizer.filemanager.save_batch(images, paths, "fiji_stream", step_name="map", components=places)

    # Result: Hyperstack with nChannels=1, nSlices=N, nFrames=M
    assert visualizer.handle is not None
    assert sizes(visualizer.handle) == {"map_Well_A01_Site_001": [1, n, m]}


def test_hyperstacks_are_grouped_by_step_and_well_and_channels_are_a_composite() -> None:
    from openhcs_viewers.config import FijiDimensionMode, FijiLUT, FijiStreamingConfig
    from openhcs_viewers.fiji_stream_visualizer import FijiStreamVisualizer

    config = FijiStreamingConfig(lut=FijiLUT.FIRE, site_mode=FijiDimensionMode.STACK)
    visualizer = FijiStreamVisualizer(FileManager(), config, persistent=False)
    visualizer.start_viewer()
    for index, name in enumerate(("load", "blur")):
        visualizer.filemanager.save_batch(*plate(), "fiji_stream", step_index=index, step_name=name)
    assert visualizer.handle is not None
    shown = windows(visualizer.handle)
    assert {name: list(window["size"].values()) for name, window in shown.items()} == {
        f"Step_0{index}_{name}_Well_{well}": [2, 2, 2]  # sites are frames
        for index, name in enumerate(("load", "blur"))
        for well in ("A01", "B02")
    }
    assert {window["mode"] for window in shown.values()} == {"composite"}


def test_a_viewer_that_takes_nothing_costs_a_second_and_its_own_images() -> None:
    from openhcs_viewers.fiji_stream_visualizer import FijiStreamVisualizer

    visualizer = FijiStreamVisualizer(FileManager(), persistent=False)
    visualizer.start_viewer()
    handle = visualizer.handle
    assert handle is not None
    assert handle.pid is not None
    sender = handle.sender()
    assert sender.wait_attached(10.0)
    image = np.zeros((16, 16), np.uint8)
    os.kill(handle.pid, signal.SIGSTOP)
    try:
        reports = [
            visualizer.filemanager.save_batch(
                [image] * 16, [f"A01_s1_w1_z{z}.tif" for z in range(1, 17)], "fiji_stream"
            )
            for _ in range(40)
        ]
    finally:
        os.kill(handle.pid, signal.SIGCONT)
    assert sum(sum(report) for report in reports) == 40 * 16
    assert sum(report.dropped for report in reports) > 16
    assert sum(held > 100 for held in sender.block_ms) == 1  # waited once, not once per batch
    assert sender.flush(20.0)
    stats = sender.stats
    assert stats.sent == stats.displayed + stats.superseded + stats.dropped + stats.lost_in_flight


def test_streaming_config_is_as_printed() -> None:
    from openhcs_viewers.config import (
        FijiDimensionMode,
        FijiDisplayConfig,
        FijiLUT,
        FijiStreamingConfig,
        StreamingConfig,
    )

    config = FijiStreamingConfig()
    assert FijiStreamingConfig.__mro__[1:3] == (StreamingConfig, FijiDisplayConfig)
    assert (config.fiji_port, config.fiji_host) == (5556, 'localhost')  # fmt: skip
    assert config.lut == FijiLUT.GRAYS
    assert config.channel_mode == FijiDimensionMode.SLICE
    assert config.z_index_mode == FijiDimensionMode.STACK
    assert config.timepoint_mode == FijiDimensionMode.STACK
    assert config.site_mode == FijiDimensionMode.SEPARATE
    assert {field.name for field in fields(config)} >= {"enabled", "persistent", "well_mode"}


def test_steps_inherit_from_the_pipeline_with_a_lazy_configuration(tmp_path: Path) -> None:
    from openhcs_viewers.config import FijiStreamingConfig, LazyFijiStreamingConfig, PipelineConfig
    from openhcs_viewers.demo.synth import PlateDesign, write_plate
    from openhcs_viewers.orchestrator import PipelineOrchestrator, Step

    design = PlateDesign(name="Seed", rows="B", columns=(2,), fields=2, planes=2, size=64)
    steps = [
        Step("load"),
        Step("again", fiji_streaming=LazyFijiStreamingConfig()),
        Step("sites", fiji_streaming=LazyFijiStreamingConfig(site_mode="stack")),  # type: ignore[arg-type]
    ]
    orchestrator = PipelineOrchestrator(
        plate_paths=[write_plate(tmp_path, design)],
        steps=steps,
        global_config=PipelineConfig(fiji_streaming=FijiStreamingConfig(persistent=False, fiji_port=5566)),
        output=tmp_path / "out",
        workers=1,
    )
    result = orchestrator.run()
    assert result.ok, result.failures
    assert result.viewers["fiji"].displayed == 3 * design.images
    assert orchestrator.handle is not None
    assert orchestrator.handle.port == 5566
    assert sizes(orchestrator.handle) == {
        **{
            f"Step_0{at}_{name}_Well_B02_Site_00{site}": [3, 2, 1]
            for at, name in enumerate(("load", "again"))
            for site in (1, 2)
        },
        "Step_02_sites_Well_B02": [3, 2, 2],
    }


LUTS = """
from openhcs_viewers.fiji.engine import EngineSettings, start_engine
start_engine(EngineSettings.of({}, headless=True))
from openhcs_viewers.fiji._java import java
stream = java("ij.IJ").class_.getResourceAsStream("/IJ_Props.txt")
for line in str(java("java.lang.String")(stream.readAllBytes())).splitlines():
    if line.startswith("lookup") and "LutLoader(" in line:
        name = line.split('"')[1]
        print(name, java("ij.plugin.LutLoader").getLut(name) is not None, sep=chr(9))
"""


def test_the_lookup_tables_are_those_of_the_real_imagej() -> None:
    from openhcs_viewers.config import FijiLUT

    done = subprocess.run([sys.executable, "-c", LUTS], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    known = dict(line.split("\t") for line in done.stdout.splitlines())
    del known["Invert LUT"]  # it changes the table there is
    assert set(known.values()) == {"True"}
    assert set(known) == {lut.value for lut in FijiLUT if not lut.name.startswith("GLASBEY")}
