"""Which configuration a visualizer shows images with, and where; a recording viewer stands for ImageJ."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from openhcs_viewers import _stream_visualizer
from openhcs_viewers.config import (
    FijiDisplayConfig,
    FijiLUT,
    FijiStreamingConfig,
    LazyFijiStreamingConfig,
    NapariDisplayConfig,
)
from openhcs_viewers.fiji_stream_visualizer import FijiStreamVisualizer
from openhcs_viewers.fiji_viewer_server import FijiViewerServer
from openhcs_viewers.handle import ViewerHandle
from openhcs_viewers.napari_stream_visualizer import NapariStreamVisualizer
from openhcs_viewers.server import ViewerServer
from polystore import FileManager
from polystore.backends.fiji_stream import FijiStreamingBackend
from polystore.backends.napari_stream import NapariStreamingBackend
from polystore.errors import SettingsError
from polystore.projection.spec import DisplaySpec
from zmqruntime import ZMQServer

Launched = list[dict[str, Any]]


@pytest.fixture
def launched(start: Callable[..., ViewerHandle], monkeypatch: pytest.MonkeyPatch) -> Launched:
    """What `launch` was asked for; one recording viewer is what it always gives."""
    asked: Launched = []

    def launch(kind: str, **options: Any) -> ViewerHandle:
        asked.append({**options, "kind": kind})
        return start()

    monkeypatch.setattr(_stream_visualizer, "launch", launch)
    return asked


def colormap_of(visualizer: FijiStreamVisualizer, step: str) -> str:
    """Of the image that its file manager sends, as the viewer was told."""
    image = np.zeros((8, 8), np.uint8)
    visualizer.filemanager.save_batch([image], ["A01_s1_w1.tif"], "fiji_stream", step_name=step)
    assert visualizer.handle is not None
    assert visualizer.handle.sender().flush(10)
    visualizer.handle.settle()
    (found,) = (each for each in visualizer.handle.state()["layers"] if each["step_name"] == step)
    colormap: str = found["colormap"]
    return colormap


def test_every_sort_of_configuration(launched: Launched) -> None:
    configs: list[tuple[Any, int | None, str]] = [
        (None, None, "Grays"),
        (FijiStreamingConfig(fiji_port=5601, lut=FijiLUT.FIRE), 5601, "Fire"),
        (LazyFijiStreamingConfig(fiji_port=5601), 5601, "Grays"),
        (FijiDisplayConfig(lut=FijiLUT.ICE), None, "Ice"),
        (DisplaySpec(colormap="Red"), None, "Red"),
    ]
    for number, (config, port, colormap) in enumerate(configs):
        visualizer = FijiStreamVisualizer(FileManager(), config, viewer_title="mine", persistent=False)
        assert not visualizer.is_running
        visualizer.start_viewer()
        asked = launched[-1]
        assert (asked["kind"], asked["port"], asked["host"]) == ("fiji", port, "localhost")
        assert (asked["title"], asked["detached"], asked["wait"]) == ("mine", False, True)
        assert isinstance(visualizer.filemanager.backend("fiji_stream"), FijiStreamingBackend)
        assert colormap_of(visualizer, f"step {number}") == colormap
    visualizer.stop_viewer()
    assert not visualizer.is_running


def test_the_documented_port_counts_as_not_given_and_any_other_is_meant(launched: Launched) -> None:
    for port in (5556, 5700):
        FijiStreamVisualizer(FileManager(), FijiStreamingConfig(), fiji_port=port).start_viewer()
    assert [asked["port"] for asked in launched] == [None, 5700]


def test_async_mode_does_not_wait_and_wait_for_ready_does(launched: Launched) -> None:
    visualizer = FijiStreamVisualizer(FileManager())
    visualizer.start_viewer(async_mode=True)
    assert [asked["wait"] for asked in launched] == [False]
    visualizer.wait_for_ready()
    assert colormap_of(visualizer, "s") == "Grays"
    other = FijiStreamVisualizer(FileManager())
    other.wait_for_ready()  # starts it
    assert other.is_running


def test_a_file_manager_takes_a_visualizer_of_each_kind(launched: Launched) -> None:
    filemanager = FileManager()
    fiji, napari = FijiStreamVisualizer(filemanager), NapariStreamVisualizer(filemanager)
    for visualizer in (fiji, napari):
        visualizer.start_viewer()
    image = np.zeros((8, 8), np.uint8)
    reports = filemanager.save_batch([image], ["A01_s1_w1.tif"], ["fiji_stream", "napari_stream"])
    assert [report.accepted for report in reports.values()] == [1, 1]
    assert [asked["kind"] for asked in launched] == ["fiji", "napari"]
    assert type(filemanager.backend("fiji_stream")) is FijiStreamingBackend
    assert type(filemanager.backend("napari_stream")) is NapariStreamingBackend


def test_a_napari_configuration_is_refused(launched: Launched) -> None:
    with pytest.raises(SettingsError, match="NapariDisplayConfig"):
        FijiStreamVisualizer(FileManager(), LazyNapariDisplay()).start_viewer()
    assert launched == []


def LazyNapariDisplay() -> Any:
    from polystore.inheritance import lazy

    return lazy(NapariDisplayConfig)()


def test_the_server_has_its_documented_name_port_and_base() -> None:
    assert issubclass(FijiViewerServer, ViewerServer)
    assert issubclass(FijiViewerServer, ZMQServer)
    assert inspect.signature(FijiViewerServer).parameters["port"].default == 5556
