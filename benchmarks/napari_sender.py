"""The pipeline's side of the ``napari`` group: a process that sends images as it is told on its standard input."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from typing import Any

import numpy as np

from polystore.components import ImageKey
from polystore.projection import DisplaySpec
from polystore.streaming import BatchContext, ImageSender, StreamItem
from zmqruntime.config import Endpoint

SIZE = 1024
SOURCES = 8
"""Different images, sent in turn."""

CONTRAST = (0.0, 1200.0)


class Pipeline:
    """Sends to one viewer.

    Parameters
    ----------
    port : int
        Its data port.
    """

    def __init__(self, port: int) -> None:
        self.sender = ImageSender(Endpoint(data_port=port), policy="drop")
        if not self.sender.wait_attached(30.0):
            raise SystemExit(f"no viewer on port {port}: {self.sender.state}")
        rng = np.random.default_rng(1)
        self.images = [
            rng.normal(600, 60 + 10 * i, (SIZE, SIZE)).clip(0).astype(np.uint16) for i in range(SOURCES)
        ]
        self.sent = 0

    def send(self, z: int, run: str, *, follow: bool, policy: str = "drop") -> int:
        """Send one image to plane `z`; return when that began, in nanoseconds."""
        context = BatchContext(run=run, step_index=0, step_name="bench", display=DisplaySpec(follow=follow))
        image = self.images[self.sent % SOURCES]
        self.sent += 1
        key = ImageKey(well="A01", field=1, channel="DAPI", z=z, t=1)
        begin = time.perf_counter_ns()
        self.sender.send(
            [StreamItem(array=image, key=key, contrast=CONTRAST)],
            context,
            policy=policy,
            deadline=30.0 if policy == "block" else None,
        )
        return begin

    def fill(self, first: int, last: int, run: str) -> None:
        """Send a plane for each z from `first` up to, not including, `last`."""
        for z in range(first, last):
            self.send(z, run, follow=False, policy="block")
        self.sender.flush(60.0)

    def stream(self, seconds: float, rate: float, coordinates: int, run: str) -> dict[str, Any]:
        """Send `rate` images a second in turn to `coordinates` planes, the newest followed; return the counts."""
        count = round(seconds * rate)
        before = self.sender.stats
        start = time.perf_counter()
        late = 0.0
        for number in range(count):
            wait = start + number / rate - time.perf_counter()
            if wait > 0:
                time.sleep(wait)
            late = max(late, -wait)
            self.send(1 + number % coordinates, run, follow=True)
        sending = time.perf_counter() - start
        self.sender.flush(30.0)
        ended = time.perf_counter() - start
        after = self.sender.stats
        counts = {name: value - getattr(before, name) for name, value in asdict(after).items()}
        block = sorted(self.sender.block_ms)
        return {
            **counts,
            "sending_s": sending,
            "flushed_s": ended,
            "late_ms": late * 1e3,
            "block_ms_p50": block[len(block) // 2],
            "block_ms_p99": block[int(0.99 * len(block))],
        }


def main() -> None:
    """Answer each request, a line of JSON such as ``{"do": "fill", "first": 1, "last": 10}``, with a line of JSON."""
    pipeline = Pipeline(int(sys.argv[1]))
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        answer = getattr(pipeline, request.pop("do"))(**request)
        print(json.dumps(answer), flush=True)
    pipeline.sender.close(5.0)


if __name__ == "__main__":
    main()
