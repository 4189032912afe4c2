"""Which configuration a visualizer shows images with, and where; a recording viewer stands for napari."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from openhcs_viewers import _stream_visualizer
from openhcs_viewers.config import LazyNapariStreamingConfig, NapariDisplayConfig, NapariStreamingConfig
from openhcs_viewers.handle import ViewerHandle
from openhcs_viewers.napari_stream_visualizer import NapariStreamVisualizer
from polystore import FileManager
from polystore.config import LazyVFSConfig
from polystore.errors import SettingsError
from polystore.projection.spec import DisplaySpec

Launched = dict[str, Any]


@pytest.fixture
def launched(start: Callable[..., ViewerHandle], monkeypatch: pytest.MonkeyPatch) -> Launched:
    """What `launch` was asked for; a recording viewer is what it gives."""
    asked: Launched = {}

    def launch(kind: str, **options: Any) -> ViewerHandle:
        asked.update(options, kind=kind)
        return start()

    monkeypatch.setattr(_stream_visualizer, "launch", launch)
    return asked


def layers_of(visualizer: NapariStreamVisualizer, **options: Any) -> list[dict[str, Any]]:
    image = np.zeros((8, 8), np.uint8)
    paths = ["A01_s1_w1.tif", "A02_s1_w1.tif"]
    visualizer.filemanager.save_batch([image, image], paths, "napari_stream", step_name="s", **options)
    assert visualizer.handle is not None
    visualizer.handle.sender().flush(10)
    visualizer.handle.settle()
    layers: list[dict[str, Any]] = visualizer.handle.state()["layers"]
    return layers


@pytest.mark.parametrize(
    ("config", "port", "host", "wells_are_layers"),
    [
        (None, None, "localhost", False),
        (NapariStreamingConfig(napari_port=5601, well_mode="slice"), 5601, "localhost", True),  # type: ignore[arg-type]
        (LazyNapariStreamingConfig(napari_port=5601), 5601, "localhost", False),
        (LazyNapariStreamingConfig(well_mode="slice"), None, "localhost", True),  # type: ignore[arg-type]
        (NapariDisplayConfig(well_mode="slice"), None, "localhost", True),  # type: ignore[arg-type]
        (DisplaySpec(modes={"well": "layer"}), None, "localhost", True),  # type: ignore[dict-item]
    ],
)
def test_every_sort_of_configuration(
    config: Any, port: int | None, host: str, wells_are_layers: bool, launched: Launched
) -> None:
    visualizer = NapariStreamVisualizer(FileManager(), config, persistent=False)
    visualizer.start_viewer()
    assert (launched["kind"], launched["port"], launched["host"]) == ("napari", port, host)
    assert len(layers_of(visualizer)) == (2 if wells_are_layers else 1)


def test_the_environment_outranks_the_configuration_and_the_argument_outranks_both(
    launched: Launched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENHCS_NAPARI_PORT", "5700")
    monkeypatch.setenv("OPENHCS_NAPARI_WELL_MODE", "slice")
    visualizer = NapariStreamVisualizer(FileManager(), NapariStreamingConfig(napari_port=5601))
    visualizer.start_viewer()
    assert launched["port"] is None  # 5700, now the default port of this user
    assert len(layers_of(visualizer)) == 2
    NapariStreamVisualizer(FileManager(), NapariStreamingConfig(), napari_port=5800).start_viewer()
    assert launched["port"] == 5800


def test_a_batch_changes_what_it_says_and_keeps_the_rest(launched: Launched) -> None:
    visualizer = NapariStreamVisualizer(
        FileManager(), NapariStreamingConfig(colormap="fire", well_mode="slice")
    )  # type: ignore[arg-type]
    visualizer.start_viewer()
    layers = layers_of(visualizer, config=LazyNapariStreamingConfig(well_mode="stack"))  # type: ignore[arg-type]
    assert [layer["colormap"] for layer in layers] == ["fire"]


@pytest.mark.parametrize("replaces", [False, True])
def test_a_later_run_takes_over_the_layers_when_it_should(replaces: bool, launched: Launched) -> None:
    visualizer = NapariStreamVisualizer(FileManager(), replace_layers=replaces)
    visualizer.start_viewer()
    layers_of(visualizer, run="first")
    assert len(layers_of(visualizer, run="second")) == (1 if replaces else 2)


def test_a_configuration_of_something_else_is_refused(launched: Launched) -> None:
    with pytest.raises(SettingsError, match="LazyVFSConfig"):
        NapariStreamVisualizer(FileManager(), LazyVFSConfig()).start_viewer()
    assert launched == {}
