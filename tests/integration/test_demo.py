"""The demo as a newcomer runs it: a real napari on a virtual display, and pictures that show what was computed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openhcs_viewers.config import NapariStreamingConfig, PipelineConfig
from openhcs_viewers.demo._targets import DEFAULT_POLICIES, target_of
from openhcs_viewers.demo.analysis import cell_counting_cpu, subtract_background
from openhcs_viewers.demo.pipeline import FieldResult
from openhcs_viewers.demo.plate import FieldImages
from openhcs_viewers.demo.synth import PlateDesign, write_plate
from openhcs_viewers.launcher import launch, list_viewers
from openhcs_viewers.orchestrator import PipelineOrchestrator, Step
from polystore import FileManager
from zmqruntime.process import process_start_time, same_process
from zmqruntime.testing import wait_until

DEMO = (
    sys.executable,
    "-c",
    "import sys; from openhcs_viewers._cli import main; sys.exit(main(['demo', *sys.argv[1:]]))",
)

SMALL = PlateDesign(name="Small", rows="B", columns=(2, 10), fields=2, planes=3, size=128, cells=300)
SMALL_IMAGES = 4 * (9 + 9 + 1)


def demo(
    *arguments: str | Path, timeout: float = 150.0, **environment: str
) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "COLUMNS": "160", **environment}
    return subprocess.run([*DEMO, *arguments], capture_output=True, text=True, timeout=timeout, env=env)


def counts(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "summary.json").read_text())["viewers"]["napari"]
    return found


def picture(path: Path) -> np.ndarray[Any, Any]:
    found: np.ndarray[Any, Any] = FileManager().load(path, "disk")[..., :3].astype(int)
    return found


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_plate(tmp_path_factory.mktemp("plates"), SMALL)


def test_the_demo_shows_a_plate_and_counts_every_image(tmp_path: Path) -> None:
    """``openhcs-viewers demo --headless`` without any plate, viewer or display."""
    done = demo("--headless", "--workers", "2", "--out", tmp_path, DISPLAY="", WAYLAND_DISPLAY="")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Synthetic-Dose: 6 wells (B02 B06 B10 C02 C06 C10), 2 fields each, 3 channels" in done.stdout
    assert done.stderr == ""
    summary = json.loads((tmp_path / "summary.json").read_text())
    held = summary["viewers"]["napari"].pop("publish_block_ms_p50")
    assert 0 < held < 1000 * summary["viewers"]["napari"].pop("publish_block_seconds")
    assert summary["viewers"]["napari"].pop("policy") == "block"
    images = 2 * 180 + 12
    assert summary["viewers"] == {
        "napari": {"sent": images, "displayed": images, "superseded": 0, "dropped": 0, "lost_in_flight": 0}
    }
    assert summary["leaked_segments"] == 0

    store = tmp_path / "Synthetic-Dose" / "clean.zarr"
    assert f"kept as an OME-Zarr plate: {store}" in done.stdout
    plate = FileManager().backend("zarr").plate(store)
    assert (len(plate), len(plate.wells), plate.channels, plate.z) == (180, 6, (1, 2, 3), (1, 2, 3, 4, 5))
    assert {number: channel.name for number, channel in plate.info.channels.items()} == {
        1: "DAPI",
        2: "GFP",
        3: "Cy5",
    }
    assert plate.info.pixel_size_um == (0.65, 0.65)
    labels = FileManager().load(store / "B02_s001_cells_labels.tif", "zarr")
    assert labels.max() > 50

    assert {"napari", "PySide6-Essentials"} <= set(summary["versions"])
    assert list_viewers() == []

    window, canvas = picture(tmp_path / "napari.png"), picture(tmp_path / "napari-canvas.png")
    assert window.shape[0] > canvas.shape[0]
    assert window.shape[1] > canvas.shape[1]
    assert min(canvas.shape[:2]) >= 300
    # Nuclei, reporter and mitochondria, each in the light of its channel, on a dark background.
    bright = canvas.max(axis=2) > 90
    assert 0.05 < bright.mean() < 0.9
    red, green, blue = canvas[..., 0], canvas[..., 1], canvas[..., 2]
    for seen in (
        bright & (blue > 2 * green) & (blue > 2 * red),
        bright & (green > 1.5 * blue) & (green > 1.5 * red),
        bright & (red > 1.5 * green) & (blue > 1.2 * green),
    ):
        assert seen.sum() > 200


def test_napari_and_fiji_show_one_pipeline_at_once(small: Path, tmp_path: Path) -> None:
    options = ("--viewer", "napari", "--viewer", "fiji", "--workers", "2", "--out", tmp_path)
    done = demo("--headless", "--plate", small, *options, DISPLAY="", WAYLAND_DISPLAY="")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    summary = json.loads((tmp_path / "summary.json").read_text())
    policies = {"napari": "block", "fiji": "drop"}
    for kind, policy in policies.items():
        counted = summary["viewers"].pop(kind)
        assert (counted["sent"], counted["displayed"], counted["policy"]) == (
            SMALL_IMAGES,
            SMALL_IMAGES,
            policy,
        )
    assert summary["viewers"] == {}
    assert summary["leaked_segments"] == 0
    assert {"pyimagej", "scyjava", "jpype1", "napari"} <= set(summary["versions"])
    assert summary["versions"]["fiji"].startswith("ImageJ 1.54p")
    assert list_viewers() == []

    # A composite: nuclei in blue, the reporter in green; all that is red is of mitochondria in magenta.
    canvas = picture(tmp_path / "fiji-canvas.png")
    composite = canvas[: canvas.shape[0] // 2, : canvas.shape[1] // 2]
    red, green, blue = (composite[..., at] for at in range(3))
    assert 0.05 < (composite.max(axis=2) > 90).mean() < 0.9
    for seen in (
        (blue > 120) & (blue > 1.3 * red),
        (green > 120) & (green > 1.5 * blue) & (green > 1.5 * red),
        (red > 90) & (blue > 90),
    ):
        assert seen.sum() > 100
    # Labels below: black, and as many colours as there are cells.
    labels = canvas[canvas.shape[0] // 2 :, : canvas.shape[1] // 2].reshape(-1, 3)
    assert len(np.unique(labels, axis=0)) > 3
    assert (labels.max(axis=1) == 0).mean() > 0.5


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_viewer_and_display_end_with_the_demo(number: signal.Signals, small: Path, tmp_path: Path) -> None:
    options = ("--headless", "--plate", str(small), "--workers", "1", "--out", str(tmp_path))
    process = subprocess.Popen([*DEMO, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: list_viewers() and list_viewers()[0].log and "display" in log_of(), 60.0)
        family = {pid: process_start_time(pid) for pid in descendants(process.pid)}
        names = {pid: Path(f"/proc/{pid}/comm").read_text().strip() for pid in family}
        assert "Xvfb" in names.values()
        process.send_signal(number)
        process.communicate(timeout=20.0)
        wait_until(
            lambda: not any(same_process(pid, start) for pid, start in family.items() if start),
            5.0,
            str(names),
        )
        assert process.returncode == (-9 if number == signal.SIGKILL else 130)
    finally:
        process.kill()
        process.communicate()
    assert list(Path("/dev/shm").glob(f"polystore-{process.pid}-*")) == []


def log_of() -> str:
    log = list_viewers()[0].log
    return log.read_text() if log is not None and log.exists() else ""


def descendants(pid: int) -> set[int]:
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found: set[int] = set()
    grown = {pid}
    while grown:
        grown = {child for child, parent in parents.items() if parent in grown}
        found |= grown
    return found


@pytest.mark.usefixtures("on_display")
class TestOnADisplay:
    def test_the_window_stays_and_is_used_again(self, small: Path, tmp_path: Path) -> None:
        options = ("--plate", small, "--workers", "1", "--out", tmp_path)
        first = demo(*options)
        assert first.returncode == 0, first.stdout + first.stderr
        assert "napari stays open on port 5555" in first.stdout
        (viewer,) = list_viewers()
        pid = viewer.pid
        second = demo(*options)
        assert second.returncode == 0, second.stdout + second.stderr
        (viewer,) = list_viewers()
        assert viewer.pid == pid
        names = [layer["name"] for layer in viewer.state()["layers"]]
        assert "Step_02_cells_labels" in names
        assert "Step_02_cells_labels_run_2" in names
        assert len(names) == 14
        assert counts(tmp_path)["displayed"] == SMALL_IMAGES
        assert viewer.status()["images"]["displayed"] == 2 * SMALL_IMAGES

    def test_a_pipeline_configuration_starts_napari_meanwhile(self, small: Path, tmp_path: Path) -> None:
        config = NapariStreamingConfig(enabled=True, persistent=False, napari_port=5555, well_mode="slice")
        orchestrator = PipelineOrchestrator(
            plate_paths=[small],
            steps=[
                Step("load"),
                Step("subtract", subtract_background),
                Step("cells", cell_counting_cpu, "count"),
            ],
            global_config=PipelineConfig(napari_streaming=config),
            output=tmp_path,
            workers=2,
        )
        result = orchestrator.run()
        assert orchestrator.handle is not None
        assert result.ok, result
        assert result.viewers["napari"].displayed == SMALL_IMAGES
        names = [layer["name"] for layer in orchestrator.handle.state()["layers"]]
        assert "Step_01_subtract_Well_B10_Channel_GFP" in names
        assert "Step_02_cells_Well_B02_labels" in names
        assert all(layer["colormap"] in ("gray", "") for layer in orchestrator.handle.state()["layers"])

    def test_a_fiji_that_stands_still_slows_nobody(self, tmp_path: Path) -> None:
        """Stopped in the middle of the run, as by a long garbage collection, and let go on before its end."""
        design = PlateDesign(name="Many", rows="B", columns=(2, 10), fields=2, planes=16, size=64)
        steps = [Step(name) for name in ("load", "again", "and again", "and once more")]
        handles = {kind: launch(kind, detached=False, wait=False) for kind in ("napari", "fiji")}
        for handle in handles.values():
            handle.wait_ready()
        targets = [
            target_of(kind, handle, DEFAULT_POLICIES.get(kind, "block")) for kind, handle in handles.items()
        ]
        told: list[FieldImages] = []
        pid = handles["fiji"].pid
        assert pid is not None

        def stop_and_go_on(field: FieldImages, result: FieldResult | None) -> None:
            told.append(field)
            os.kill(pid, {1: signal.SIGSTOP, 3: signal.SIGCONT}.get(len(told), 0))

        orchestrator = PipelineOrchestrator(
            [write_plate(tmp_path, design)], steps, viewers=targets, output=tmp_path / "out", workers=1
        )
        try:
            result = orchestrator.run(stop_and_go_on)
        finally:
            os.kill(pid, signal.SIGCONT)
        assert result.ok, result.failures
        images = len(steps) * design.images
        napari, fiji = result.viewers["napari"], result.viewers["fiji"]
        assert (napari.sent, napari.displayed, napari.policy) == (images, images, "block")
        assert fiji.sent == fiji.displayed + fiji.superseded + fiji.dropped + fiji.lost_in_flight == images
        # Two of four fields came meanwhile, and 256 images may be on their way.
        assert fiji.dropped >= images // 2 - 256 > 100
        assert fiji.publish_block_seconds < 5.0  # one deadline of a second, not one per batch
        assert fiji.remark.startswith(f"{fiji.dropped} dropped")
        handles["fiji"].settle()
        shown = handles["fiji"].status()["images"]["displayed"]
        assert fiji.displayed <= shown <= fiji.displayed + fiji.lost_in_flight
        assert len(handles["fiji"].state()["layers"]) == len(steps)
