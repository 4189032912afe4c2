"""The GUI process of the ``napari`` group: our viewer, or napari alone for the same work.

``python -m benchmarks.napari_worker PART REPEATS COUNT`` prints what it measured as one line of JSON. CPU time is that of
the GUI thread alone (``time.thread_time``), over a window of the event loop long enough for everything an image
causes (the frame, and the thumbnail a quarter of a second later), less that of an idle window just before.
"""

from __future__ import annotations

import json
import select
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.rows import BenchmarkError, percentile

PORT = 5655
"""Names socket files in a folder of this run's own."""

WINDOW = 0.35
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

    def cpu(self, action: Callable[[], object]) -> float:
        """Return the milliseconds of GUI-thread CPU that `action` and all that follows from it cost."""
        begin = time.thread_time_ns()
        self.spin(WINDOW)
        middle = time.thread_time_ns()
        action()
        self.spin(WINDOW)
        return (time.thread_time_ns() - middle - (middle - begin)) / 1e6

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


def ours(part: str, repeats: int, count: int) -> dict[str, Any]:
    """Measure our viewer, served as `openhcs_viewers` serves it; only the event loop's script is ours."""
    from qtpy.QtCore import QTimer

    from openhcs_viewers.napari.viewer import NapariViewer
    from openhcs_viewers.server import ViewerServer
    from zmqruntime.config import Endpoint

    found: dict[str, Any] = {}
    pumps = [0]
    failed: list[BaseException] = []

    class Measured(NapariViewer):
        """Runs the measurements inside its event loop, then closes."""

        def run(self, pump: Callable[[], None], heartbeat: Callable[[], None] | None = None) -> None:
            def counted() -> None:
                pumps[0] += 1
                pump()

            def script() -> None:
                try:
                    probe = Probe(self._model)
                    found.update(PARTS[part](probe, Sender(probe), pumps, repeats, count))
                except BaseException as error:
                    failed.append(error)  # Qt would only print it
                self.close()

            QTimer.singleShot(0, script)
            super().run(counted, heartbeat)

    with ViewerServer(Endpoint(data_port=PORT), Measured, title="bench") as server:
        server.serve()
        found["server"] = server.status()
    if failed:
        raise failed[0]
    return found


def _attached(probe: Probe, sender: Sender) -> None:
    if sender.answer() != "ready":
        raise BenchmarkError("the sending process is not ready")
    probe.spin(1.0)


def first(probe: Probe, sender: Sender, _pumps: list[int], repeats: int, _count: int) -> dict[str, Any]:
    """The very first image a viewer gets, from the call of `send` in the pipeline to its frame.

    Then, in turn, first images of a napari window of its own (`add_image`) and of ours again, both warm by then.
    """
    _attached(probe, sender)

    def send(number: int) -> float:
        painted = probe.first_frame(lambda: sender.ask("send", z=1, run=f"run {number}", follow=False))
        begin = int(sender.answer())
        probe.window.layers.clear()
        return (painted - begin) / 1e6

    found = send(0)
    plain = Plain()
    plain.add(plain.images[0])  # the first ever is that of a cold window
    native, later = [], []
    for number in range(repeats):
        native.append(plain.add(plain.images[number % len(plain.images)]))
        later.append(send(1 + number))
    plain.close()
    sender.close()
    return {"first_ms": found, "later_ms": later, "native_ms": native}


def planes(probe: Probe, sender: Sender, pumps: list[int], repeats: int, count: int) -> dict[str, Any]:
    """What planes cost the GUI thread: shown again, not shown, and growing the slider at 10 and at 1,000."""
    _attached(probe, sender)

    def costs(places: Sequence[int]) -> list[float]:
        values = []
        for z in places:
            values.append(probe.cpu(lambda z=z: sender.ask("send", z=z, run="planes", follow=False)))  # type: ignore[misc]
            sender.answer()
        return values

    def fill(begin: int, end: int) -> None:
        sender.do("fill", first=begin, last=end, run="planes")
        probe.spin(1.0)

    fill(1, 10)
    costs([1])
    plain = Plain()
    plain.cost_of_data()
    again, native = [], []
    for _ in range(repeats):
        again += costs([1])
        native.append(plain.cost_of_data())
    plain.close()
    before = pumps[0]
    unseen = costs([5] * repeats)
    unseen_pumps = pumps[0] - before
    at_10 = costs(range(10, 10 + repeats))
    fill(10 + repeats, count)
    at_many = costs(range(count, count + repeats))
    shape = list(probe.window.layers[0].data.shape)
    sender.close()
    return {
        "again_ms": again,
        "native_ms": native,
        "unseen_ms": unseen,
        "unseen_pumps": unseen_pumps,
        "grow_10_ms": at_10,
        "grow_many_ms": at_many,
        "shape": shape,
    }


def stream(probe: Probe, sender: Sender, _pumps: list[int], _repeats: int, seconds: int) -> dict[str, Any]:
    """Half a minute of 200 images a second, the newest followed, with the heartbeat of the GUI thread."""
    _attached(probe, sender)
    sender.do("stream", seconds=2.0, rate=200.0, coordinates=100, run="stream")  # the store's memory becomes warm
    probe.beat()
    cpu, begin, frames = time.thread_time(), time.perf_counter(), len(probe.frames)
    sender.ask("stream", seconds=float(seconds), rate=200.0, coordinates=100, run="stream")
    probe.spin(seconds)
    elapsed = time.perf_counter() - begin
    cpu, frames = time.thread_time() - cpu, len(probe.frames) - frames
    beats = probe.beats[:]
    counts = sender.answer()
    sender.close()
    gaps = [(b - a) / 1e6 for a, b in zip(beats, beats[1:], strict=False)]
    return {
        "gap_p50_ms": statistics.median(gaps),
        "gap_p99_ms": percentile(gaps, 0.99),
        "gap_max_ms": max(gaps),
        "gui_cpu_share": cpu / elapsed,
        "frames_per_s": frames / elapsed,
        "counts": counts,
    }


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

    def cost_of_data(self) -> float:
        """Return the milliseconds of GUI-thread CPU of ``layer.data = image`` and what follows."""
        if self._layer is None:
            self._layer = self.window.add_image(self.images[0], contrast_limits=CONTRAST)
            self.probe.spin(1.0)
        self._at += 1
        return self.probe.cpu(lambda: setattr(self._layer, "data", self.images[self._at % len(self.images)]))

    def close(self) -> None:
        """Close the window."""
        self.window.close()


PARTS = {"first": first, "planes": planes, "stream": stream}


def restack(repeats: int, count: int) -> dict[str, Any]:
    """What a plane costs when the stack of `count` is made anew for it, as the original viewer did."""
    plain = Plain()
    planes = [plain.images[i % len(plain.images)] for i in range(count)]
    layer = plain.window.add_image(np.stack(planes), contrast_limits=CONTRAST)
    plain.probe.spin(2.0)

    def more() -> None:
        planes.append(plain.images[len(planes) % len(plain.images)])
        layer.data = np.stack(planes)

    values = [plain.probe.cpu(more) for _ in range(repeats)]
    plain.close()
    return {"restack_ms": values}


def main() -> None:
    """Measure one part and print it."""
    part, repeats, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    found = restack(repeats, count) if part == "restack" else ours(part, repeats, count)
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
