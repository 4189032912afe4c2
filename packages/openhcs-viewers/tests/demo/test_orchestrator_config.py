"""Global, pipeline and step configurations of a run; a recording viewer stands for napari."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from openhcs_viewers import launcher
from openhcs_viewers.config import (
    FijiLUT,
    FijiStreamingConfig,
    GlobalPipelineConfig,
    LazyFijiStreamingConfig,
    LazyNapariStreamingConfig,
    NapariDimensionMode,
    NapariStreamingConfig,
    PipelineConfig,
)
from openhcs_viewers.demo.analysis import cell_counting_cpu
from openhcs_viewers.demo.orchestrator import PipelineOrchestrator
from openhcs_viewers.demo.pipeline import Step, StepKind
from openhcs_viewers.handle import ViewerHandle
from polystore.config import LazyVFSConfig, VFSConfig
from polystore.constants import Backend
from polystore.errors import SettingsError
from polystore.inheritance import NONE, Origin

SLICE = NapariDimensionMode.SLICE
LOAD = Step("load")
IMAGES = 36  # of the small plate, in one step


@pytest.fixture
def asked(start: Callable[..., ViewerHandle], monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What `launch` was asked for; a recording viewer per port is what it gives."""
    found: list[dict[str, Any]] = []

    def launch(kind: str, **options: Any) -> ViewerHandle:
        found.append({"kind": kind, **options})
        return start(reuse=False)

    monkeypatch.setattr(launcher, "launch", launch)
    return found


def layers(handle: ViewerHandle | None) -> list[str]:
    assert handle is not None
    handle.settle()
    return [layer["name"] for layer in handle.state()["layers"]]


def test_a_step_says_what_is_its_own_and_inherits_the_rest(
    plate: Path, tmp_path: Path, asked: list[dict[str, Any]]
) -> None:
    steps = [
        LOAD,
        Step("second", napari_streaming=LazyNapariStreamingConfig(channel_mode=NapariDimensionMode.STACK)),
        Step("unseen", napari_streaming=NONE),
        Step("off", napari_streaming=LazyNapariStreamingConfig(enabled=False)),
    ]
    orchestrator = PipelineOrchestrator(
        [plate],
        steps,
        GlobalPipelineConfig(napari_streaming=NapariStreamingConfig(napari_port=5600, persistent=False)),
        pipeline_config=PipelineConfig(napari_streaming=LazyNapariStreamingConfig(well_mode=SLICE)),
        output=tmp_path,
        workers=1,
    )
    result = orchestrator.run()
    assert result.ok, result.failures
    assert [(one["kind"], one["port"], one["detached"]) for one in asked] == [("napari", 5600, False)]
    assert result.viewers["napari"].displayed == 2 * IMAGES
    wells, channels = ("B02", "B10"), ("DAPI", "GFP", "Cy5")
    assert sorted(layers(orchestrator.handle)) == sorted(
        [f"Step_00_load_Well_{well}_Channel_{channel}" for well in wells for channel in channels]
        + [f"Step_01_second_Well_{well}" for well in wells]
    )
    found = orchestrator.config_of(steps[1])
    assert found.origin("napari_streaming.channel_mode") == Origin("step")
    assert found.origin("napari_streaming.well_mode") == Origin("pipeline")
    assert found.origin("napari_streaming.napari_port") == Origin("global")


def test_steps_on_two_ports_have_two_viewers(
    plate: Path, tmp_path: Path, asked: list[dict[str, Any]]
) -> None:
    steps = [
        LOAD,
        Step("other", napari_streaming=LazyNapariStreamingConfig(napari_port=5601)),
        Step("again", napari_streaming=LazyNapariStreamingConfig(napari_host="127.0.0.1")),
    ]
    config = PipelineConfig(napari_streaming=NapariStreamingConfig(napari_port=5600))
    orchestrator = PipelineOrchestrator([plate], steps, config, output=tmp_path, workers=1)
    result = orchestrator.run()
    assert result.ok, result.failures
    assert [one["port"] for one in asked] == [5600, 5601]
    assert [counts.displayed for counts in result.viewers.values()] == [2 * IMAGES, IMAGES]
    names = [{name.split("_Channel")[0] for name in layers(handle)} for handle in orchestrator.handles]
    assert names == [{"Step_00_load", "Step_02_again"}, {"Step_01_other"}]


def test_every_viewer_that_is_configured_gets_its_steps(
    plate: Path, tmp_path: Path, asked: list[dict[str, Any]]
) -> None:
    steps = [
        LOAD,
        Step("fiji only", napari_streaming=NONE),
        Step("napari only", fiji_streaming=LazyFijiStreamingConfig(enabled=False)),
        Step("other", fiji_streaming=LazyFijiStreamingConfig(fiji_port=5701, lut=FijiLUT.FIRE)),
    ]
    config = PipelineConfig(
        napari_streaming=NapariStreamingConfig(napari_port=5600),
        fiji_streaming=FijiStreamingConfig(fiji_port=5700, persistent=False),
    )
    orchestrator = PipelineOrchestrator([plate], steps, config, output=tmp_path, workers=1)
    result = orchestrator.run()
    assert result.ok, result.failures
    places = [(one["kind"], one["port"], one["detached"]) for one in asked]
    assert places == [("napari", 5600, True), ("fiji", 5700, False), ("fiji", 5701, False)]
    kinds = ["napari", "fiji", f"fiji localhost:{orchestrator.handles[2].port}"]
    assert list(result.viewers) == kinds
    assert [result.viewers[kind].displayed for kind in kinds] == [3 * IMAGES, 2 * IMAGES, IMAGES]
    assert {counts.policy for counts in result.viewers.values()} == {"drop"}
    names = [{name.split("_Channel")[0] for name in layers(handle)} for handle in orchestrator.handles]
    assert names == [
        {"Step_00_load", "Step_02_napari only", "Step_03_other"},
        {"Step_00_load", "Step_01_fiji only"},
        {"Step_03_other"},
    ]


def test_one_step_can_be_shown_alone(plate: Path, tmp_path: Path, asked: list[dict[str, Any]]) -> None:
    steps = [LOAD, Step("seen", napari_streaming=LazyNapariStreamingConfig())]
    orchestrator = PipelineOrchestrator([plate], steps, output=tmp_path, workers=1)
    assert orchestrator.run().viewers["napari"].sent == IMAGES
    assert {name.split("_Channel")[0] for name in layers(orchestrator.handle)} == {"Step_01_seen"}


def test_the_environment_moves_the_viewer_of_an_unchanged_pipeline(
    plate: Path, tmp_path: Path, asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENHCS_NAPARI_PERSISTENT", "0")
    monkeypatch.setenv("OPENHCS_NAPARI_HOST", "127.0.0.1")
    config = PipelineConfig(napari_streaming=NapariStreamingConfig(napari_port=5600))
    orchestrator = PipelineOrchestrator([plate], [LOAD], config, output=tmp_path, workers=1)
    found = orchestrator.config_of(LOAD)
    assert found.origin("napari_streaming.persistent") == Origin("environment", "OPENHCS_NAPARI_PERSISTENT")
    assert orchestrator.run().ok
    assert [(one["port"], one["detached"]) for one in asked] == [(5600, False)]


def test_a_variable_alone_opens_no_viewer(
    plate: Path, tmp_path: Path, asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENHCS_NAPARI_ENABLED", "1")
    assert PipelineOrchestrator([plate], [LOAD], output=tmp_path, workers=1).run().viewers == {}
    monkeypatch.setenv("OPENHCS_NAPARI_ENABLED", "0")
    config = PipelineConfig(napari_streaming=NapariStreamingConfig())
    assert PipelineOrchestrator([plate], [LOAD], config, output=tmp_path, workers=1).run().viewers == {}
    assert asked == []


@pytest.mark.parametrize(
    ("global_config", "pipeline_config", "expected"),
    [
        (None, None, "disk"),
        (GlobalPipelineConfig(vfs=VFSConfig(Backend.MEMORY)), None, "memory"),
        (GlobalPipelineConfig(), PipelineConfig(vfs=LazyVFSConfig(Backend.MEMORY)), "memory"),
        (GlobalPipelineConfig(vfs=VFSConfig(Backend.MEMORY)), PipelineConfig(), "memory"),
    ],
)
def test_results_of_counting_steps_go_where_the_configuration_says(
    plate: Path, global_config: Any, pipeline_config: Any, expected: str
) -> None:
    steps = [
        LOAD,
        Step("cells", cell_counting_cpu, StepKind.COUNT),
        Step("own", cell_counting_cpu, StepKind.COUNT, backend="disk"),
    ]
    orchestrator = PipelineOrchestrator([plate], steps, global_config, pipeline_config=pipeline_config)
    assert [step.backend for step in orchestrator.steps] == [None, expected, "disk"]


def test_something_else_than_a_configuration_is_refused() -> None:
    with pytest.raises(SettingsError, match="napari_streaming=3: give a NapariStreamingConfig"):
        Step("load", napari_streaming=3)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="global: 'fast' is no GlobalPipelineConfig"):
        PipelineOrchestrator(
            ["x"],
            [LOAD],
            "fast",  # type: ignore[arg-type]
        ).config_of(LOAD)
