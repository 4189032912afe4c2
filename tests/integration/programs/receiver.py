"""A viewer's end without a viewer: checks the pattern in every image, counts, and ends when asked.

``receiver.py ENDPOINT TORN_FILE [DELAY_MS]``; a line is written to TORN_FILE for every image that is not what it says.
"""

from __future__ import annotations

import gc
import logging
import os
import queue
import sys
import threading
from typing import Any

import numpy as np

from polystore.streaming.receiver import ImageReceiver, ReceivedImage
from zmqruntime.config import Endpoint
from zmqruntime.server import ZMQServer
from zmqruntime.stream_receiver import Peer


class Checker(ZMQServer):
    """Copies on a thread of its own, as a viewer's store would, and looks at every pixel."""

    def __init__(self, endpoint: Endpoint, torn_file: str, delay: float) -> None:
        super().__init__(endpoint, kind="checker")
        self.receiver = ImageReceiver(self.sink)
        self.waiting: queue.SimpleQueue[ReceivedImage] = queue.SimpleQueue()
        self.torn_file = os.open(torn_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.delay = delay
        self.taken = self.wrong = 0
        self.attach = self.receiver.attach  # type: ignore[method-assign]
        self.note = self.receiver.note  # type: ignore[method-assign]
        self.detach = self.receiver.detach  # type: ignore[method-assign]

    def items(self, peer: Peer, seq: int, count: int, body: bytes, frames: list[Any]) -> None:
        self.receiver.items(peer, seq, count, body, frames)

    def sink(self, images: list[ReceivedImage]) -> None:
        for image in images:
            self.waiting.put(image)

    def status(self) -> dict[str, Any]:
        return {"taken": self.taken, "wrong": self.wrong, "waiting": self.waiting.qsize()}

    def command(self, name: str, params: dict[str, Any]) -> Any:
        if name != "held":
            return super().command(name, params)
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

    def work(self) -> None:
        pause = threading.Event()
        while True:
            image = self.waiting.get()
            if self.delay:
                pause.wait(self.delay)
            if image.peer.name == "fuzz":  # well formed by chance, with nothing to compare
                image.finish("superseded")
                continue
            expected = int(image.key.t) % 60000
            if image.array is not None:
                copy = image.array.copy()
                if not image.intact() or (copy.size and (copy.min() != expected or copy.max() != expected)):
                    self.wrong += 1
                    os.write(self.torn_file, f"{expected} {np.unique(copy)[:5]} {image.intact()}\n".encode())
            elif image.rois != [expected]:
                self.wrong += 1
                os.write(self.torn_file, f"{expected} {image.rois}\n".encode())
            self.taken += 1
            image.finish("displayed")


def main() -> None:
    logging.basicConfig(level=logging.INFO)
    delay = float(sys.argv[3]) / 1000 if len(sys.argv) > 3 else 0.0
    server = Checker(Endpoint.parse(sys.argv[1]), sys.argv[2], delay)
    threading.Thread(target=server.work, daemon=True).start()
    server.start()
    server.set_ready()
    server.wait()
    server.stop()


if __name__ == "__main__":
    main()
