"""The GUI process of the ``napari`` group: our viewer, or napari alone for the same work.

``python -m benchmarks.napari_worker PART REPEATS`` prints what it measured as one line of JSON. CPU time is that of
the GUI thread alone (``time.thread_time``), over a window of the event loop long enough for everything an image
causes (the frame, and the thumbnail a quarter of a second later), less that of an idle window just before.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.rows import percentile

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

    def first_frame(self, action: Callable[[], int]) -> float:
        """Return the milliseconds from the time that `action` returns to the first frame that shows a layer."""
        self.spin(0.5)
        self.frames.clear()
        begin = action()
        if not self.spin(20.0, lambda: bool(self.frames)):
            raise SystemExit("no frame was painted within 20 s")
        return (self.frames[0] - begin) / 1e6

    def beat(self) -> None:
        """Begin to record the heartbeat."""
        self.beats.clear()
        self._heart.start(HEARTBEAT_MS)


class Sender:
    """The pipeline's process."""

    def __init__(self) -> None:
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
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("the sending process ended")
        return json.loads(line)

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def ours(part: str, repeats: int) -> dict[str, Any]:
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
                    found.update(PARTS[part](Probe(self._model), Sender(), pumps, repeats))
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
    # Not while the window's thread waits for the pipe: the loop has to turn for the viewer to be a living one.
    probe.spin(0.2)
    assert sender.answer() == "ready"
    probe.spin(1.0)


def first(probe: Probe, sender: Sender, _pumps: list[int], repeats: int) -> dict[str, Any]:
    """The first image a viewer gets after its start, from the call of `send` in the pipeline to its frame; and later ones."""
    _attached(probe, sender)
    values = []
    for number in range(1 + repeats):

        def send(number: int = number) -> int:
            sender.ask("send", z=1, run=f"run {number}", follow=False)
            return int(sender.answer())

        values.append(probe.first_frame(send))
        shape = list(probe.window.layers[0].data.shape)
        probe.window.layers.clear()
    sender.close()
    return {"first_ms": values[0], "later_ms": values[1:], "shape": shape}


def planes(probe: Probe, sender: Sender, pumps: list[int], repeats: int) -> dict[str, Any]:
    """What planes cost the GUI thread: shown again, not shown, and growing the slider at 10 and at 1,000."""
    _attached(probe, sender)

    def do(what: str, **arguments: Any) -> None:
        sender.ask(what, **arguments)

    def settled() -> None:
        sender.answer()

    def send(z: int) -> Callable[[], None]:
        return lambda: do("send", z=z, run="planes", follow=False)

    def costs(places: list[int]) -> list[float]:
        values = []
        for z in places:
            values.append(probe.cpu(send(z)))
            settled()
        return values

    def fill(begin: int, end: int) -> None:
        do("fill", first=begin, last=end, run="planes")
        # Without blocking the window, and far longer than it takes.
        probe.spin(1.0)
        settled()
        probe.spin(1.0)

    fill(1, 10)
    probe.cpu(send(1))
    settled()
    again = costs([1] * repeats)
    before = pumps[0]
    unseen = costs([5] * repeats)
    unseen_pumps = pumps[0] - before
    at_10 = costs(list(range(10, 10 + repeats)))
    fill(10 + repeats, 1000)
    at_1000 = costs(list(range(1000, 1000 + repeats)))
    shape = list(probe.window.layers[0].data.shape)
    sender.close()
    return {
        "again_ms": again,
        "unseen_ms": unseen,
        "unseen_pumps": unseen_pumps,
        "grow_10_ms": at_10,
        "grow_1000_ms": at_1000,
        "shape": shape,
    }


def stream(probe: Probe, sender: Sender, _pumps: list[int], seconds: int) -> dict[str, Any]:
    """Half a minute of 200 images a second, the newest followed, with the heartbeat of the GUI thread."""
    _attached(probe, sender)
    sender.ask("stream", seconds=2.0, rate=200.0, coordinates=100, run="stream")  # the store's memory becomes warm
    probe.spin(3.0)
    sender.answer()
    probe.beat()
    cpu, begin, frames = time.thread_time(), time.perf_counter(), len(probe.frames)
    sender.ask("stream", seconds=float(seconds), rate=200.0, coordinates=100, run="stream")
    probe.spin(seconds)
    elapsed = time.perf_counter() - begin
    cpu, frames = time.thread_time() - cpu, len(probe.frames) - frames
    beats = probe.beats[:]
    probe.spin(1.0)
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


PARTS = {"first": first, "planes": planes, "stream": stream}


def native(repeats: int, *, quick: bool) -> dict[str, Any]:
    """Measure napari alone: add_image to its frame, ``layer.data =``, and a stack of 1,000 made anew per plane."""
    import napari

    window = napari.Viewer(show=True)
    probe = Probe(window)
    rng = np.random.default_rng(1)
    images = [rng.normal(600, 60 + 10 * i, (SIZE, SIZE)).clip(0).astype(np.uint16) for i in range(8)]
    shown: dict[str, list[float]] = {}

    def add(array: np.ndarray[Any, Any]) -> int:
        begin = time.perf_counter_ns()
        window.add_image(array, contrast_limits=CONTRAST)
        return begin

    for name in ("2d", "stack"):
        shown[name] = []
        for i in range(repeats + 1):
            array = images[i % 8] if name == "2d" else images[i % 8][None]
            value = probe.first_frame(lambda array=array: add(array))  # type: ignore[misc]
            window.layers.clear()
            if i:  # the first ever is that of a cold napari
                shown[name].append(value)
    layer = window.add_image(images[0], contrast_limits=CONTRAST)
    probe.spin(1.0)
    again = [probe.cpu(lambda i=i: setattr(layer, "data", images[(i + 1) % 8])) for i in range(repeats + 1)][1:]  # type: ignore[misc]
    window.layers.clear()
    planes = [images[i % 8] for i in range(100 if quick else 1000)]
    layer = window.add_image(np.stack(planes), contrast_limits=CONTRAST)
    probe.spin(2.0)

    def restack() -> None:
        planes.append(images[len(planes) % 8])
        layer.data = np.stack(planes)

    stacked = [probe.cpu(restack) for _ in range(repeats)]
    window.close()
    return {"first_2d_ms": shown["2d"], "first_stack_ms": shown["stack"], "again_ms": again, "restack_ms": stacked}


def main() -> None:
    """Measure one part and print it."""
    part, repeats, quick = sys.argv[1], int(sys.argv[2]), "quick" in sys.argv[3:]
    found = native(repeats, quick=quick) if part == "native" else ours(part, repeats)
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
