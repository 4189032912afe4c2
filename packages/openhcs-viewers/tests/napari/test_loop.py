"""The event loop: woken by other threads, ended by signals, and nothing leaks in a long run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


SCRIPT = textwrap.dedent(
    """
    import sys, threading
    import numpy as np
    from openhcs_viewers.napari import NapariViewer
    from openhcs_viewers.scene import Scene
    from openhcs_viewers.store import PlaneStore
    from polystore.components import ImageKey
    from polystore.streaming.messages import BatchContext

    class Image:
        kind, contrast, path, name, rois, owned = "image", (0, 1), "", "", None, False
        context = BatchContext(run="run")

        def __init__(self, z):
            self.array, self.key = np.ones((64, 64), np.uint16), ImageKey(z=z)

        def intact(self):
            return True

        def credit(self):
            pass

        def resolve(self, outcome, reason=""):
            print(outcome, flush=True)

        finish = resolve

    scene = Scene(PlaneStore(2**24))
    viewer = NapariViewer(scene)
    viewer.open("loop")
    threading.Thread(target=lambda: scene.receive([Image(1), Image(2)]), daemon=True).start()
    beats = []
    if "close" in sys.argv:
        from qtpy.QtCore import QTimer

        QTimer.singleShot(1000, viewer._model.window._qt_window.close)
    viewer.run(viewer.pump, lambda: beats.append(1))
    print("ended", len(beats) > 0, flush=True)
    """
)


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT, "close"])
def test_an_idle_window_is_ended_by_a_signal_or_by_its_user(end: Any) -> None:
    child = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", SCRIPT, str(end)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    with child:
        try:
            assert [child.stdout.readline() for _ in range(2)] == ["displayed\n"] * 2
            if end != "close":
                os.kill(child.pid, end)
            out, errors = child.communicate(timeout=30)
        finally:
            child.kill()
    assert out == "ended True\n", errors
    assert child.returncode == 0, errors


def test_another_threads_images_wake_the_window_at_most_once_per_frame(
    rig: Any, until: Callable[..., None]
) -> None:
    beats: list[None] = []
    rig.viewer.start(rig.viewer.pump, lambda: beats.append(None))
    images: list[Any] = []

    def feed() -> None:
        images.extend(rig.send(turn, z=0) for turn in range(300))

    thread = threading.Thread(target=feed)
    thread.start()
    until(lambda: len(images) == 300 and all(image.outcome for image in images))
    thread.join()
    assert images[-1].outcome == "displayed"
    assert {image.outcome for image in images} == {"displayed", "superseded"}
    assert rig.viewer._pump.calls < 100
    assert beats


def test_an_idle_window_gives_signs_of_life_and_does_nothing_else(
    rig: Any, until: Callable[..., None]
) -> None:
    beats: list[None] = []
    pumps: list[None] = []
    rig.viewer.start(lambda: pumps.append(None), lambda: beats.append(None))
    until(lambda: len(beats) >= 4)
    assert len(pumps) == 1  # the one that looks whether anything came before


def test_a_failing_update_does_not_end_the_loop(
    rig: Any, until: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    turns: list[None] = []

    def pump() -> None:
        turns.append(None)
        raise RuntimeError("no such texture")

    rig.viewer.start(pump)
    until(lambda: len(turns) == 1)
    rig.scene.wake()
    until(lambda: len(turns) == 2)
    assert "an update of the window failed" in caplog.text
    assert "no such texture" in caplog.text


def test_qt_loses_no_reference_to_none(rig: Any, until: Callable[..., None]) -> None:
    """PySide6 6.12 on CPython 3.11 loses one with each call that returns nothing, and aborts in the end."""
    from qtpy.QtCore import QObject, QTimer, Signal

    class Sender(QObject):
        sent = Signal()

    sender, timer, count = Sender(), QTimer(), 0

    def receive() -> None:
        nonlocal count
        count += 1

    sender.sent.connect(receive)
    before = sys.getrefcount(None)
    for _ in range(5000):
        sender.sent.emit()
        timer.setInterval(7)
    after = sys.getrefcount(None)
    assert count == 5000
    assert abs(after - before) < 500


def test_ten_thousand_updates_leave_nothing_behind(rig: Any) -> None:
    for z in range(3):
        rig.send(z, z=z)
    rig.show()
    threads, files = threading.active_count(), open_files()
    for turn in range(10_000):
        rig.send(turn, z=turn % 3)
        if turn % 100 == 0:
            rig.show()
    rig.show()
    status = rig.scene.store.status()
    assert status.planes == 3
    assert status.pool_bytes <= 20 * 512
    assert (threading.active_count(), open_files()) == (threads, files)
    assert rig.scene.status()["images"]["waiting"] == 0
