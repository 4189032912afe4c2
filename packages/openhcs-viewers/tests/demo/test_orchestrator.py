"""Steps over plates in worker processes, streamed to a viewer without a window: every image counted, whoever dies."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from openhcs_viewers.config import NapariStreamingConfig, PipelineConfig
from openhcs_viewers.demo._errors import PlateError, StepError
from openhcs_viewers.demo.analysis import cell_counting_cpu, subtract_background
from openhcs_viewers.demo.orchestrator import PipelineOrchestrator, RunResult
from openhcs_viewers.demo.pipeline import FieldResult, Step, StepKind, ViewerTarget
from openhcs_viewers.demo.plate import FieldImages, read_plate
from openhcs_viewers.demo.synth import PlateDesign, write_plate
from openhcs_viewers.handle import ViewerHandle
from polystore import FileManager

Start = Callable[..., ViewerHandle]

LOAD, FLATTEN = Step("load"), Step("flatten", subtract_background)
COUNT = Step("cells", cell_counting_cpu, StepKind.COUNT, backend="disk")
IMAGES = 4 * (9 + 9 + 1)  # four fields; every image twice, and labels


def balanced(result: RunResult, kind: str) -> bool:
    counts = result.viewers[kind]
    parts = counts.displayed + counts.superseded + counts.dropped + counts.lost_in_flight
    return counts.sent == parts


def layers(handle: ViewerHandle) -> dict[str, dict[str, object]]:
    return {layer["name"]: layer for layer in handle.state()["layers"]}


class TestWithoutViewer:
    def test_results_are_kept_for_every_well(self, plate: Path, tmp_path: Path) -> None:
        told: list[tuple[str, bool]] = []

        def progress(field: FieldImages, result: FieldResult | None) -> None:
            told.append((field.title, result is not None))

        orchestrator = PipelineOrchestrator([plate], [LOAD, FLATTEN, COUNT], output=tmp_path, workers=2)
        result = orchestrator.run(progress)
        assert result.ok
        titles = ["B02, field 1", "B02, field 2", "B10, field 1", "B10, field 2"]
        assert sorted(told) == [(title, True) for title in titles]
        assert [field.images.title for field in result.fields] == titles
        assert len(result.workers) == 2
        filemanager = FileManager()
        for well in ("B02", "B10"):
            kept = json.loads((tmp_path / "Small" / well / "results.json").read_text())
            counts = []
            for number in (1, 2):
                labels = filemanager.load(
                    tmp_path / "Small" / well / f"{well}_s00{number}_labeled.tif", "disk"
                )
                assert labels.shape == (128, 128)
                counts.append(int(labels.max()))
            assert kept["counts"] == {"cells": sum(counts)}
            assert [entry["steps"]["cells"]["count"] for entry in kept["fields"]] == counts
        with (tmp_path / "counts.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert [(row["plate"], row["well"], row["field"]) for row in rows] == [
            ("Small", well, number) for well in ("B02", "B10") for number in ("1", "2")
        ]
        assert all(float(row["mean_DAPI"]) > 0 for row in rows if int(row["count"]))
        # The dose along the columns: fewer cells, and a reporter that is on.
        low, high = (sum(int(row["count"]) for row in rows if row["well"] == well) for well in ("B02", "B10"))
        assert low > high

    def test_a_second_run_overwrites_the_first(self, plate: Path, tmp_path: Path) -> None:
        for _ in range(2):
            assert PipelineOrchestrator([plate], [COUNT], output=tmp_path, workers=1).run().ok

    def test_an_image_step_can_be_kept_and_is_a_plate_again(self, plate: Path, tmp_path: Path) -> None:
        step = Step("flatten", subtract_background, backend="disk")
        assert PipelineOrchestrator([plate], [step], output=tmp_path, workers=2).run().ok
        kept = read_plate(tmp_path / "Small" / "flatten")
        assert len(kept.images) == 36
        image = FileManager().load(kept.images[0].path, "disk")
        original = FileManager().load(read_plate(plate).images[0].path, "disk")
        assert np.array_equal(image, subtract_background(original))

    def test_two_plates(self, plate: Path, tmp_path: Path) -> None:
        other = write_plate(
            tmp_path, PlateDesign(name="Other", rows="C", columns=(3,), fields=1, planes=1, size=64)
        )
        result = PipelineOrchestrator([plate, other], [LOAD, COUNT], output=tmp_path / "out", workers=2).run()
        assert [field.images.plate for field in result.fields] == ["Small"] * 4 + ["Other"]
        assert (tmp_path / "out" / "Other" / "C03" / "results.json").exists()

    def test_a_step_that_raises_costs_one_field(
        self,
        marked_plate: Callable[..., Path],
        tmp_path: Path,
        plugins: Path,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        from odd_steps import fail_on_mark

        steps = [LOAD, Step("odd", fail_on_mark), COUNT]
        result = PipelineOrchestrator([marked_plate()], steps, output=tmp_path, workers=2).run()
        assert not result.ok
        assert result.failures == ("B10, field 1: ValueError: this image is marked",)
        assert len(result.fields) == 3
        assert "this image is marked" in caplog.text

    def test_a_worker_that_is_killed_costs_one_field(
        self, marked_plate: Callable[..., Path], tmp_path: Path, plugins: Path
    ) -> None:
        from odd_steps import die_on_mark

        steps = [Step("odd", die_on_mark), COUNT]
        result = PipelineOrchestrator([marked_plate()], steps, output=tmp_path, workers=1).run()
        assert not result.ok
        assert len(result.failures) == 1
        assert result.failures[0].startswith("B10, field 1: worker ")
        assert result.failures[0].endswith(" was killed by SIGKILL")
        assert [field.images.title for field in result.fields] == [
            "B02, field 1",
            "B02, field 2",
            "B10, field 2",
        ]


class TestWithViewer:
    def run(self, handle: ViewerHandle, plate: Path, out: Path, **options: object) -> RunResult:
        target = ViewerTarget("recording", handle.endpoint, deadline=2.0)
        steps = options.pop("steps", [LOAD, FLATTEN, COUNT])
        progress = options.pop("progress", None)
        orchestrator = PipelineOrchestrator([plate], steps, viewers=[target], output=out, **options)  # type: ignore[arg-type]
        return orchestrator.run(progress)  # type: ignore[arg-type]

    def test_every_image_is_displayed(self, plate: Path, tmp_path: Path, start: Start) -> None:
        handle = start()
        result = self.run(handle, plate, tmp_path, workers=2)
        assert result.ok, result.failures
        counts = result.viewers["recording"].as_dict()
        assert counts.pop("publish_block_ms_p50") > 0
        assert counts.pop("publish_block_seconds") > 0
        assert counts.pop("policy") == "block"
        assert counts == {
            "sent": IMAGES,
            "displayed": IMAGES,
            "superseded": 0,
            "dropped": 0,
            "lost_in_flight": 0,
        }
        handle.settle()
        assert handle.status()["images"]["displayed"] == IMAGES
        shown = layers(handle)
        assert list(shown) == [
            *(f"Step_00_load_Channel_{name}" for name in ("DAPI", "GFP", "Cy5")),
            *(f"Step_01_flatten_Channel_{name}" for name in ("DAPI", "GFP", "Cy5")),
            "Step_02_cells_labels",
        ]
        assert [layer["colormap"] for layer in shown.values()] == ["blue", "green", "magenta"] * 2 + [""]
        assert [layer["planes"] for layer in shown.values()] == [12] * 6 + [4]
        # One range per channel for the whole plate, above the camera's offset.
        assert all(layer["contrast"] for layer in shown.values() if layer["kind"] == "image")

    def test_sliders_go_to_the_middle_of_the_spotlight(
        self, plate: Path, tmp_path: Path, start: Start
    ) -> None:
        handle = start()
        self.run(handle, plate, tmp_path, workers=2)
        handle.settle()
        assert handle.state()["position"] == {"well": "B10", "field": 2, "z": 2}

    def test_two_viewers_get_the_same(self, plate: Path, tmp_path: Path, start: Start) -> None:
        handles = [start(reuse=False), start(reuse=False)]
        targets = [ViewerTarget(kind, one.endpoint) for kind, one in zip("ab", handles, strict=True)]
        result = PipelineOrchestrator([plate], [LOAD], viewers=targets, output=tmp_path, workers=2).run()
        assert result.ok
        assert [counts.displayed for counts in result.viewers.values()] == [36, 36]

    def test_two_plates_do_not_mix(self, plate: Path, tmp_path: Path, start: Start) -> None:
        handle = start()
        twin = tmp_path / "Twin"
        subprocess.run(["cp", "-r", plate, twin], check=True)
        target = ViewerTarget("recording", handle.endpoint)
        result = PipelineOrchestrator(
            [plate, twin], [LOAD], viewers=[target], output=tmp_path, workers=2
        ).run()
        assert result.ok
        assert result.viewers["recording"].displayed == 72
        assert {axis["component"]: axis["values"] for axis in handle.state()["axes"]}["plate"] == [
            "Small",
            "Twin",
        ]

    def test_a_step_can_be_hidden(self, plate: Path, tmp_path: Path, start: Start) -> None:
        handle = start()
        result = self.run(handle, plate, tmp_path, steps=[Step("load", streaming=False), COUNT], workers=1)
        assert result.viewers["recording"].sent == 4
        assert list(layers(handle)) == ["Step_01_cells_labels"]

    def test_projections_have_layers_of_their_own(self, tmp_path: Path, start: Start) -> None:
        import tifffile

        for folder, w in [(".", 1), (".", 2), ("ZStep_1", 1), ("ZStep_2", 1)]:
            (tmp_path / "P" / folder).mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(
                tmp_path / "P" / folder / f"P_A01_s1_w{w}.tif", np.full((16, 16), w * 9, np.uint16)
            )
        handle = start()
        result = self.run(handle, tmp_path / "P", tmp_path / "out", steps=[LOAD], workers=1)
        assert result.ok
        shown = layers(handle)
        assert {name: layer["planes"] for name, layer in shown.items()} == {
            "Step_00_load_projection_Channel_1": 1,
            "Step_00_load_projection_Channel_2": 1,
            "Step_00_load_Channel_1": 2,
        }

    def test_a_killed_worker_leaves_every_image_counted(
        self, marked_plate: Callable[..., Path], tmp_path: Path, start: Start, plugins: Path
    ) -> None:
        from odd_steps import die_on_mark

        handle = start()
        steps = [LOAD, Step("odd", die_on_mark), COUNT]
        result = self.run(handle, marked_plate(), tmp_path, steps=steps, workers=2)
        assert not result.ok
        assert len(result.fields) == 3
        counts = result.viewers["recording"]
        assert counts.sent == IMAGES
        assert counts.lost_in_flight > 0
        assert balanced(result, "recording")
        assert handle.status()["images"]["displayed"] >= counts.displayed

    def test_a_killed_viewer_leaves_every_image_counted(
        self, plate: Path, tmp_path: Path, start: Start
    ) -> None:
        handle = start()
        assert handle.pid is not None

        def kill(field: FieldImages, result: FieldResult | None) -> None:
            if handle.is_alive():
                os.kill(handle.pid or 0, signal.SIGKILL)

        result = self.run(handle, plate, tmp_path, workers=1, progress=kill)
        assert not result.ok
        assert len(result.fields) == 4  # the pipeline itself is not hurt
        assert (tmp_path / "counts.csv").exists()
        assert any(failure.startswith("recording: ") for failure in result.failures)
        assert result.viewers["recording"].sent == IMAGES
        assert 0 < result.viewers["recording"].displayed < IMAGES
        assert balanced(result, "recording")

    def test_a_stopped_viewer_costs_its_own_images_and_one_deadline(
        self, plate: Path, tmp_path: Path, start: Start
    ) -> None:
        """As a viewer in the middle of a long garbage collection: it takes nothing, and then goes on."""
        handles = {kind: start(reuse=False) for kind in ("quick", "slow")}
        deadline = 1.0
        targets = [
            ViewerTarget("quick", handles["quick"].endpoint),
            ViewerTarget("slow", handles["slow"].endpoint, policy="drop", deadline=deadline),
        ]
        pid = handles["slow"].pid
        assert pid is not None

        told = []

        def stop_and_go_on(field: FieldImages, result: FieldResult | None) -> None:
            told.append(field)
            os.kill(pid, {1: signal.SIGSTOP, 3: signal.SIGCONT}.get(len(told), 0))

        # Many steps: two fields send more images than a viewer may have on their way (256).
        steps = [Step(f"load {number}") for number in range(24)]
        orchestrator = PipelineOrchestrator([plate], steps, viewers=targets, output=tmp_path, workers=1)
        try:
            result = orchestrator.run(stop_and_go_on)
        finally:
            os.kill(pid, signal.SIGCONT)
        assert result.ok, result.failures
        quick, slow = result.viewers["quick"], result.viewers["slow"]
        images = 4 * 9 * len(steps)
        assert (quick.sent, quick.displayed) == (images, images)
        assert slow.sent == images
        assert slow.dropped > 10 * 9  # many batches, and a wait for one of them only
        assert deadline / 2 < slow.publish_block_seconds < 5 * deadline
        assert balanced(result, "slow")
        assert slow.remark.startswith(f"{slow.dropped} dropped")
        handles["slow"].settle()  # it goes on where it stopped
        shown = handles["slow"].status()["images"]["displayed"]
        assert slow.displayed <= shown <= slow.displayed + slow.lost_in_flight
        assert shown > images // 2

    def test_a_disabled_configuration_launches_nothing(self, plate: Path, tmp_path: Path) -> None:
        config = PipelineConfig(napari_streaming=NapariStreamingConfig(enabled=False))
        orchestrator = PipelineOrchestrator([plate], [COUNT], config, output=tmp_path, workers=1)
        assert orchestrator.run().viewers == {}
        assert orchestrator.handle is None


class TestWrongUse:
    @pytest.mark.parametrize("steps", [[], [LOAD, LOAD]])
    def test_steps_need_names_of_their_own(self, plate: Path, steps: list[Step]) -> None:
        with pytest.raises(StepError, match="each with a name of its own"):
            PipelineOrchestrator([plate], steps)

    def test_a_counting_step_needs_a_function(self) -> None:
        with pytest.raises(StepError, match="counts without a function"):
            Step("cells", kind=StepKind.COUNT)

    def test_a_lambda_cannot_be_imported_by_workers(self) -> None:
        with pytest.raises(StepError, match="which a worker process cannot import"):
            Step("odd", lambda image: image)

    @pytest.mark.parametrize("name", ["", "two\nlines"])
    def test_a_step_needs_a_printable_name(self, name: str) -> None:
        with pytest.raises(StepError, match="give it a short name"):
            Step(name)

    def test_something_else_than_a_function(self) -> None:
        with pytest.raises(StepError, match="give a function"):
            Step("odd", 3)  # type: ignore[arg-type]

    def test_no_plate(self, tmp_path: Path) -> None:
        with pytest.raises(PlateError, match="no plate"):
            PipelineOrchestrator([], [LOAD], output=tmp_path).run()

    def test_two_plates_of_one_name(self, plate: Path, tmp_path: Path) -> None:
        with pytest.raises(PlateError, match="two plates are named 'Small'"):
            PipelineOrchestrator([plate, plate], [LOAD], output=tmp_path).run()

    def test_an_unguarded_script(
        self, plate: Path, tmp_path: Path, python: Callable[..., subprocess.CompletedProcess[str]]
    ) -> None:
        script = tmp_path / "script.py"
        script.write_text(
            "from openhcs_viewers.orchestrator import PipelineOrchestrator, Step\n"
            f"PipelineOrchestrator([{str(plate)!r}], [Step('load')], output={str(tmp_path)!r}).run()\n"
        )
        done = python(str(script))
        assert done.returncode == 1
        assert "UnguardedScriptError" in done.stderr
        assert 'if __name__ == "__main__":' in done.stderr
