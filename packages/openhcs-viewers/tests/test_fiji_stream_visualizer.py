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
from polystore.errors import SettingsError
from polystore.projection.spec import DisplaySpec
from zmqruntime import ZMQServer

Launched = list[dict[str, Any]]


@pytest.fixture
def launched(start: Callable[..., ViewerHandle], monkeypatch: pytest.MonkeyPatch) -> Launched:
    """What `launch` was asked for; a recording viewer for each is what it gives."""
    asked: Launched = []

    def launch(kind: str, **options: Any) -> ViewerHandle:
        asked.append({**options, "kind": kind})
        return start(reuse=False)

    monkeypatch.setattr(_stream_visualizer, "launch", launch)
    return asked


def layers_of(visualizer: FijiStreamVisualizer, **options: Any) -> list[dict[str, Any]]:
    image = np.zeros((8, 8), np.uint8)
    visualizer.filemanager.save_batch([image], ["A01_s1_w1.tif"], "fiji_stream", step_name="s", **options)
    assert visualizer.handle is not None
    assert visualizer.handle.sender().flush(10)
    visualizer.handle.settle()
    layers: list[dict[str, Any]] = visualizer.handle.state()["layers"]
    return layers


@pytest.mark.parametrize(
    ("config", "port", "colormap"),
    [
        (None, None, "Grays"),
        (FijiStreamingConfig(fiji_port=5601, lut=FijiLUT.FIRE), 5601, "Fire"),
        (LazyFijiStreamingConfig(fiji_port=5601), 5601, "Grays"),
        (FijiDisplayConfig(lut=FijiLUT.ICE), None, "Ice"),
        (DisplaySpec(colormap="Red"), None, "Red"),
    ],
)
def test_every_sort_of_configuration(
    config: Any, port: int | None, colormap: str, launched: Launched
) -> None:
    visualizer = FijiStreamVisualizer(FileManager(), config, viewer_title="mine", persistent=False)
    assert not visualizer.is_running
    visualizer.start_viewer()
    (asked,) = launched
    assert (asked["kind"], asked["port"], asked["host"]) == ("fiji", port, "localhost")
    assert (asked["title"], asked["detached"], asked["wait"]) == ("mine", False, True)
    assert isinstance(visualizer.filemanager.backend("fiji_stream"), FijiStreamingBackend)
    assert [layer["colormap"] for layer in layers_of(visualizer)] == [colormap]
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
    assert len(layers_of(visualizer)) == 1
    other = FijiStreamVisualizer(FileManager())
    other.wait_for_ready()  # starts it
    assert other.is_running


def test_both_kinds_of_one_file_manager_go_to_their_own_viewer(launched: Launched) -> None:
    filemanager = FileManager()
    fiji, napari = FijiStreamVisualizer(filemanager), NapariStreamVisualizer(filemanager)
    for visualizer in (fiji, napari):
        visualizer.start_viewer()
    image = np.zeros((8, 8), np.uint8)
    reports = filemanager.save_batch([image], ["A01_s1_w1.tif"], ["fiji_stream", "napari_stream"])
    assert [report.accepted for report in reports.values()] == [1, 1]
    for visualizer in (fiji, napari):
        assert visualizer.handle is not None
        visualizer.handle.settle()
        assert visualizer.handle.status()["images"]["displayed"] == 1


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
