"""A real ImageJ in a process of its own: filled, looked at, and ended however that happens."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from openhcs_viewers import launch, list_viewers, show
from openhcs_viewers.handle import ViewerHandle
from openhcs_viewers.registry import VIEWERS, viewer_plugin
from polystore.components import ImageKey
from polystore.payload import shm
from polystore.projection import DisplaySpec
from polystore.streaming.messages import BatchContext, StreamItem
from polystore.streaming.sender import close_senders
from zmqruntime.client import ControlClient
from zmqruntime.config import runtime_dir
from zmqruntime.testing import wait_until

STEP = BatchContext(run="run", step_index=1, step_name="blur", display=DisplaySpec(colormap="auto"))

PROGRAMS = Path(__file__).parent / "programs"

DRAG = "for (i = 0; i < 5000; i++) { Stack.setFrame(1 + i % 40); wait(2); }"
"""Somebody drags the slider for some ten seconds: longer than the test streams."""

END = 5.0
"""Seconds from the wish to end to the end of the process."""


def log_of(handle: ViewerHandle) -> str:
    assert handle.log is not None
    return handle.log.read_text()


def exit_code(handle: ViewerHandle) -> int | None:
    assert handle._process is not None
    return handle._process.returncode


def plane(value: int, **components: Any) -> StreamItem:
    return StreamItem(np.full((64, 64), value, np.uint16), ImageKey.of(**components), "image", (0.0, 100.0))


@pytest.fixture(autouse=True)
def _with_user(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """ImageJ under its own name, with somebody at its windows (``programs/fiji_user.py``); fetched once at most."""
    if "M2_REPO" not in os.environ:
        monkeypatch.setenv("M2_REPO", str(tmp_path_factory.getbasetemp() / "m2"))
    path = os.pathsep.join(filter(None, [str(PROGRAMS), os.environ.get("PYTHONPATH")]))
    monkeypatch.setenv("PYTHONPATH", path)
    target = viewer_plugin("fiji").target
    VIEWERS.register("fiji", "fiji_user:FijiWithUser", replace=True)
    yield
    VIEWERS.register("fiji", target, replace=True)


@contextmanager
def fiji(**options: Any) -> Iterator[ViewerHandle]:
    handle = launch("fiji", detached=False, **options)
    try:
        yield handle
    finally:
        handle.stop(force=True, timeout=2.0)


def user(handle: ViewerHandle, macro: str, *, wait: bool = False) -> None:
    """Do something at the windows."""
    with ControlClient(handle.endpoint, timeout=30.0) as client:
        client.command("user", 30.0, macro=macro, wait=wait)


def test_headless_shows_pictures_and_saves_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    before = shm.names()
    planes = np.random.default_rng(0).integers(0, 2**16, (3, 2, 40, 50), dtype=np.uint16)
    with fiji(display="headless") as handle:
        show(planes, viewer=handle, axes="zcyx", name="noise", contrast=(0, 65535))
        handle.settle()
        state = handle.state()
        assert [layer["name"] for layer in state["layers"]] == ["noise"]
        assert state["layers"][0]["size"] == {"channels": 2, "slices": 3, "frames": 1}
        assert not state["layers"][0]["visible"]
        assert state["engine"].startswith("ImageJ 1.5")
        assert handle.screenshot().startswith(b"\x89PNG")
        (written,) = handle.save(tmp_path / "out")
        with tifffile.TiffFile(written) as file:
            assert file.series[0].axes == "ZCYX"
            assert np.array_equal(file.asarray(), planes)
        assert handle.stop(timeout=END) == "asked"
    assert exit_code(handle) == 0
    assert "ended in good order" in log_of(handle)
    assert "Traceback" not in log_of(handle)
    assert list_viewers() == []
    assert shm.names() == before


@pytest.mark.usefixtures("on_display")
def test_a_thousand_planes_stream_while_the_user_drags_the_slider(tmp_path: Path) -> None:
    with fiji() as handle:
        sender = handle.sender()
        for t in (0, 1):
            sender.send([plane(1, channel=c, t=t) for c in (1, 2)], STEP, policy="block", deadline=20.0)
        handle.settle()
        before = handle.state()["layers"][0]["window"]
        user(handle, DRAG)
        for t in range(500):
            sender.send([plane(t + 1, channel=c, t=t) for c in (1, 2)], STEP, policy="block", deadline=20.0)
        handle.settle()
        (layer,) = handle.state()["layers"]
        counts = handle.status()["images"]
        assert counts["received"] == counts["displayed"] + counts["superseded"] == 1004
        assert layer["size"] == {"channels": 2, "slices": 1, "frames": 500}
        assert (layer["window"]["x"], layer["window"]["y"]) == (before["x"], before["y"])
        assert layer["window"]["zoom"] == before["zoom"]
        (written,) = handle.save(tmp_path / "all.tif")
        found = tifffile.imread(written)
        assert found.shape == (500, 2, 64, 64)
        assert np.array_equal(found[:, :, 0, 0], np.repeat(np.arange(1, 501)[:, None], 2, axis=1))
    assert "Traceback" not in log_of(handle)
    assert "Exception" not in log_of(handle)


@pytest.mark.usefixtures("on_display")
def test_a_killed_java_costs_the_sender_nothing_and_the_next_launch_starts_another() -> None:
    before = shm.names()
    first = launch("fiji", detached=False)
    sender = first.sender()
    for t in range(20):
        sender.send([plane(t, t=t)], STEP, policy="drop", deadline=0.1)
    os.kill(first.pid or 0, signal.SIGKILL)
    begin = time.monotonic()
    for t in range(20, 40):
        sender.send([plane(t, t=t)], STEP, policy="drop", deadline=0.1)
    assert time.monotonic() - begin < 5.0
    wait_until(lambda: not first.is_alive(), 5.0)
    with fiji() as second:
        assert second.pid != first.pid
        again = second.sender()
        again.send([plane(1, t=0)], STEP, policy="block", deadline=20.0)
        second.settle()
        assert second.status()["images"]["displayed"] >= 1
    close_senders(0.0)
    assert shm.names() == before


@pytest.mark.usefixtures("on_display")
@pytest.mark.parametrize(("how", "where"), [("SIGTERM", "virtual"), ("File > Quit", "auto")])
def test_it_ends_in_time_after_a_threaded_filter_has_run(how: str, where: str) -> None:
    before = set(runtime_dir().glob("display-*"))  # the test's own
    with fiji(display=where) as handle:
        handle.sender().send([plane(50, z=1), plane(60, z=2)], STEP, policy="block", deadline=20.0)
        handle.settle()
        user(handle, "run('Gaussian Blur...', 'sigma=3 stack');", wait=True)
        begin = time.monotonic()
        if how == "SIGTERM":
            os.kill(handle.pid or 0, signal.SIGTERM)
        else:
            user(handle, "run('Quit');")
        wait_until(lambda: not handle.is_alive(), END)
        assert time.monotonic() - begin < END
    assert exit_code(handle) == 0
    assert set(runtime_dir().glob("display-*")) == before
    assert "ended in good order" in log_of(handle)
    assert "Traceback" not in log_of(handle)


def shared_memory_of(handle: ViewerHandle) -> list[str]:
    """What of other processes' shared memory the viewer has mapped."""
    lines = Path(f"/proc/{handle.pid}/maps").read_text().splitlines()
    return [line for line in lines if "/dev/shm/" in line]


@pytest.mark.usefixtures("on_display")
def test_a_sender_that_is_gone_leaves_nothing_of_its_memory_mapped() -> None:
    """Java forgets what its event thread was given when it next collects, which may be never."""
    with fiji() as handle:
        for run in ("first", "second"):
            sender = handle.sender()
            for t in range(20):
                sender.send([plane(t, t=t)], BatchContext(run=run, step_index=1, step_name="blur"))
                handle.settle()
            assert shared_memory_of(handle)
            close_senders(2.0)
            wait_until(lambda: shared_memory_of(handle) == [], 2.0)


def test_a_held_event_thread_does_not_keep_it_from_ending_in_good_order() -> None:
    with fiji(display="virtual") as handle:
        handle.sender().send([plane(50, z=1)], STEP, policy="block", deadline=20.0)
        handle.settle()
        with ControlClient(handle.endpoint, timeout=5.0) as client:
            client.command("hold", 5.0, seconds=60)
        wait_until(lambda: handle.ping().app_idle_ms > 700, 5.0, "the heart is to stand still")
        begin = time.monotonic()
        os.kill(handle.pid or 0, signal.SIGTERM)
        wait_until(lambda: not handle.is_alive(), END)
        assert time.monotonic() - begin < END
    assert exit_code(handle) == 0
    assert "ended in good order" in log_of(handle)
    assert "event thread is busy" in log_of(handle)
    assert list(runtime_dir().glob("display-*")) == []
    assert list_viewers() == []
