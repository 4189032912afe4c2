"""The GUI process of the ``napari`` group: our viewer beside napari alone, at the same work.

``python -m benchmarks.napari_worker PART REPEATS COUNT`` prints what it measured as one line of JSON.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks.napari_probe import CONTRAST, PORT, Plain, Probe, Sender
from benchmarks.rows import BenchmarkError, percentile


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

    server = ViewerServer(Endpoint(data_port=PORT), Measured, title="bench")
    with server:
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

    def cost(z: int, painting: bool) -> float:
        value = probe.cpu(lambda: sender.ask("send", z=z, run="planes", follow=False), painting=painting)
        sender.answer()
        return value

    def fill(begin: int, end: int) -> None:
        sender.do("fill", first=begin, last=end, run="planes")
        probe.spin(1.0)

    fill(1, 10)
    cost(1, True)
    plain = Plain()
    plain.cost_of_data(painting=True)
    found: dict[str, Any] = {name: [] for name in ("again", "native", "unseen", "grow_10", "grow_many")}
    found |= {f"{name}_painted": [] for name in found}
    for _ in range(repeats):
        for painting, suffix in ((False, ""), (True, "_painted")):
            found[f"again{suffix}"].append(cost(1, painting))
            found[f"native{suffix}"].append(plain.cost_of_data(painting=painting))
    plain.close()
    before = pumps[0]
    found["unseen"] = [cost(5, False) for _ in range(repeats)]
    found["unseen_pumps"] = pumps[0] - before
    planes_there = 10
    for name in ("grow_10", "grow_many"):
        if name == "grow_many":
            fill(planes_there, count)
            planes_there = count
        for _ in range(repeats):
            for painting, suffix in ((False, ""), (True, "_painted")):
                found[f"{name}{suffix}"].append(cost(planes_there, painting))
                planes_there += 1
    sender.close()
    return found


def stream(probe: Probe, sender: Sender, _pumps: list[int], _repeats: int, seconds: int) -> dict[str, Any]:
    """Half a minute of 200 images a second, the newest followed, with the heartbeat of the GUI thread."""
    _attached(probe, sender)
    # Until each coordinate was there once and the store's memory is warm.
    warm = sender.do("stream", seconds=2.0, rate=200.0, coordinates=100, run="stream")
    probe.beat()
    cpu, begin, frames = time.thread_time(), time.perf_counter(), len(probe.frames)
    sender.ask("stream", seconds=seconds, rate=200.0, coordinates=100, run="stream")
    probe.spin(seconds)
    elapsed = time.perf_counter() - begin
    cpu, frames = time.thread_time() - cpu, len(probe.frames) - frames
    beats = probe.beats[:]
    counts = sender.answer()
    sender.close()
    gaps = [(b - a) / 1e6 for a, b in pairwise(beats)]
    return {
        "gap_p50_ms": statistics.median(gaps),
        "gap_p99_ms": percentile(gaps, 0.99),
        "gap_max_ms": max(gaps),
        "gui_cpu_share": cpu / elapsed,
        "frames_per_s": frames / elapsed,
        "counts": counts,
        "warmup_images": warm["sent"] - warm["dropped"],
    }


PAINTED_RESTACKS = 3
"""These take seconds each, and painting makes no difference to them."""

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

    found: dict[str, list[float]] = {"restack": [], "restack_painted": []}
    for number in range(repeats):
        found["restack"].append(plain.probe.cpu(more, painting=False))
        if number < PAINTED_RESTACKS:
            found["restack_painted"].append(plain.probe.cpu(more, painting=True))
    plain.close()
    return found


def main() -> None:
    """Measure one part and print it."""
    part, repeats, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    found = restack(repeats, count) if part == "restack" else ours(part, repeats, count)
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
