"""Instruments for the ``napari`` group: the event loop and frames of a window, the sending process, a plain window.

CPU time is that of the GUI thread alone (``time.thread_time``), over a window of the event loop long enough for
everything an image causes (the frame, and the thumbnail a quarter of a second later), less that of an idle window just
before.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.rows import BenchmarkError

PORT = 5655
"""Names socket files in a folder of this run's own."""

WINDOW = 0.3
"""Seconds over which GUI work is counted: more than one heartbeat of the viewer."""

SIZE = 1024
CONTRAST = (0.0, 1200.0)
HEARTBEAT_MS = 5


class Probe:
    """Looks at the event loop and at the frames of a napari window. GUI thread only."""

    def __init__(self, window: Any) -> None:
        from qtpy.QtCore import QEventLoop, Qt, QTimer

        self.window = window
        self.frames: list[int] = []
        self.beats: list[int] = []
        canvas = window.window._qt_viewer.canvas
        self._drawn = False
        canvas._scene_canvas.events.draw.connect(self._on_draw, position="last")
        canvas.native.frameSwapped.connect(self._on_swap)
        self._loop, self._clock, self._heart = QEventLoop(), QTimer(), QTimer()
        self._clock.setSingleShot(True)
        self._clock.timeout.connect(self._loop.quit)
        for timer in (self._clock, self._heart):
            timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._heart.timeout.connect(lambda: self.beats.append(time.perf_counter_ns()))

    def _on_draw(self, _event: Any) -> None:
        self._drawn = len(self.window.layers) > 0

    def _on_swap(self) -> None:
        if self._drawn:
            self.frames.append(time.perf_counter_ns())

    def spin(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        """Run the event loop for so long, or until something is so; return whether it became so."""
        if until is None:
            self._clock.start(round(seconds * 1000))
            self._loop.exec()
            return True
        deadline = time.monotonic() + seconds
        while not until() and time.monotonic() < deadline:
            self.spin(0.02)
        return until()

    def cpu(self, action: Callable[[], object], *, painting: bool = True) -> float:
        """Return the milliseconds of GUI-thread CPU that `action` and all that follows from it cost.

        Without `painting` Qt asks no widget to paint itself meanwhile: what is left is the work itself.
        """
        main = self.window.window._qt_window
        main.setUpdatesEnabled(painting)
        self.spin(0.05)
        begin = time.thread_time_ns()
        self.spin(WINDOW)
        middle = time.thread_time_ns()
        action()
        self.spin(WINDOW)
        end = time.thread_time_ns()
        main.setUpdatesEnabled(True)
        return (end - middle - (middle - begin)) / 1e6

    def first_frame(self, action: Callable[[], object]) -> int:
        """Return when the first frame that shows a layer was painted after `action`, in nanoseconds."""
        self.spin(0.5)
        self.frames.clear()
        action()
        if not self.spin(20.0, lambda: bool(self.frames)):
            raise BenchmarkError("no frame was painted within 20 s")
        return self.frames[0]

    def beat(self) -> None:
        """Begin to record the heartbeat."""
        self.beats.clear()
        self._heart.start(HEARTBEAT_MS)


class Sender:
    """The pipeline's process. The window's event loop turns while it is waited for, as in a living viewer."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.napari_sender", str(PORT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, what: str, **arguments: Any) -> None:
        """Have something done, without waiting for it."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": what, **arguments}) + "\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        """Wait for what was asked for first."""
        pipe = self._process.stdout
        assert pipe is not None
        if not self._probe.spin(120.0, lambda: bool(select.select([pipe], [], [], 0)[0])):
            raise BenchmarkError("the sending process does not answer")
        line = pipe.readline()
        if not line:
            raise BenchmarkError("the sending process ended")
        return json.loads(line)

    def do(self, what: str, **arguments: Any) -> Any:
        """Have something done, and wait for it."""
        self.ask(what, **arguments)
        return self.answer()

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


class Plain:
    """A window of napari alone, to compare with."""

    def __init__(self) -> None:
        import napari

        self.window = napari.Viewer(show=True)
        self.probe = Probe(self.window)
        rng = np.random.default_rng(1)
        self.images = [rng.normal(600, 60 + 10 * i, (SIZE, SIZE)).clip(0).astype(np.uint16) for i in range(8)]
        self._layer: Any = None
        self._at = 0

    def add(self, image: np.ndarray[Any, Any]) -> float:
        """Return the milliseconds from the call of `add_image` to its first frame; the layer is gone then."""

        begun: list[int] = []

        def action() -> None:
            begun.append(time.perf_counter_ns())
            self.window.add_image(image, contrast_limits=CONTRAST)

        painted = self.probe.first_frame(action)
        self.window.layers.clear()
        return (painted - begun[0]) / 1e6

    def cost_of_data(self, *, painting: bool) -> float:
        """Return the milliseconds of GUI-thread CPU of ``layer.data = image`` and what follows; see `Probe.cpu`."""
        if self._layer is None:
            self._layer = self.window.add_image(self.images[0], contrast_limits=CONTRAST)
            self.probe.spin(1.0)
        self._at += 1
        return self.probe.cpu(
            lambda: setattr(self._layer, "data", self.images[self._at % len(self.images)]), painting=painting
        )

    def close(self) -> None:
        """Close the window."""
        self.window.close()
