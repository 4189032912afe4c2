"""Sends 10,000 images every way there is and says what it holds after 10 of them and in the end.

``steady.py PORT``. The keys are the same ten over and over, so that only what the transport itself keeps can grow.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import threading

import numpy as np

from polystore.components import ImageKey
from polystore.streaming.messages import BatchContext, StreamItem
from polystore.streaming.sender import ImageSender
from zmqruntime.client import ControlClient
from zmqruntime.config import Endpoint

KEYS = [ImageKey(t=7, z=z) for z in range(10)]
SMALL, MIDDLE, LARGE = (np.full(shape, 7, "<u2") for shape in ((10, 10), (120, 130), (1100, 1000)))
CONTEXT = BatchContext("run", 1, "step")


def held() -> dict[str, int]:
    """Descriptors, mappings, blocks of Python's allocator and threads of this process."""
    for _ in range(3):
        gc.collect()
    with open("/proc/self/maps") as maps:
        mappings = sum(1 for _ in maps)
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "mappings": mappings,
        "blocks": sys.getallocatedblocks(),
        "threads": threading.active_count(),
    }


def ten(sender: ImageSender, number: int) -> None:
    """Send ten images: slots, born in a slot, frames, a list of regions, deferred, latest, now and then a segment."""
    born = sender.empty((100, 100), "<u2")
    born[:] = 7
    sender.send([StreamItem(MIDDLE, KEYS[i]) for i in range(3)], CONTEXT)
    sender.send([StreamItem(born, KEYS[3]), StreamItem(SMALL, KEYS[4])], CONTEXT)
    del born
    sender.send([StreamItem(None, KEYS[5], "rois", rois=[7])], CONTEXT)
    sender.send([StreamItem(MIDDLE, KEYS[6])], CONTEXT, deferred=True)
    sender.send([StreamItem(LARGE if number % 500 == 0 else MIDDLE, KEYS[7])], CONTEXT)
    sender.send([StreamItem(MIDDLE, KEYS[8]), StreamItem(SMALL, KEYS[9])], CONTEXT, policy="latest")


def main() -> None:
    endpoint = Endpoint(data_port=int(sys.argv[1]))
    with (
        ImageSender(endpoint, policy="block", deadline=20, arena_bytes=2 << 20) as sender,
        ControlClient(endpoint) as client,
    ):
        sender.wait_attached(20)
        client.command("held")
        found = {}
        for number in range(1000):
            ten(sender, number)
            if number in (0, 99, 999):
                assert sender.flush(20)
                found[10 * (number + 1)] = {"sender": held(), "receiver": client.command("held")}
        stats = sender.stats
        assert stats.balanced
        assert stats.sent == 10_000
        print(json.dumps({"found": found, "displayed": stats.displayed, "superseded": stats.superseded}))


if __name__ == "__main__":
    main()
