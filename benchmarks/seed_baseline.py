"""The scheme this project started from, kept as the baseline to compare with.

A shared-memory segment per image, named in a JSON message over PUB/SUB; the publisher closes its handle, the receiver
copies, closes and unlinks. Do not use it: a dropped message leaks its segments, and the resource tracker of
``multiprocessing`` destroys images that are on their way when the publisher exits.
"""

from __future__ import annotations

import time
import uuid
import warnings
from collections.abc import Sequence
from multiprocessing import shared_memory  # noqa: TID251 - the very thing that is measured against
from typing import Any

import numpy as np
import zmq

from benchmarks.schemes import Image, Publisher, Receiver

PREFIX = "bench-seed-"
HIGH_WATER_MARK = 10_000
"""As the original documents set it."""

warnings.filterwarnings("ignore", category=UserWarning, module="multiprocessing.resource_tracker")


def message_of(images: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the message for images described by `description_of`."""
    modes = dict.fromkeys(("well", "site", "channel", "z_index", "timepoint"), "stack")
    return {"images": list(images), "display_config": {"colormap": "gray", "component_modes": modes}}


def description_of(number: int, name: str, shape: tuple[int, ...], dtype: str) -> dict[str, Any]:
    """Return what the message says of one image."""
    return {
        "shm_name": name,
        "shape": shape,
        "dtype": dtype,
        "path": f"/plate/out/A01_s{number:03d}_w1_z003_t001.tif",
        "component_metadata": {
            "well": "A01",
            "site": f"s{number:03d}",
            "channel": "DAPI",
            "z_index": "z003",
            "timepoint": "t001",
        },
    }


class SeedPublisher(Publisher):
    """PUB, connected; it waits for the subscription here, which the original did not."""

    def open(self) -> None:
        """Connect to the receiver and wait for its subscription, else the first images would vanish."""
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = self.context.socket(zmq.XPUB)
        self.socket.setsockopt(zmq.SNDHWM, HIGH_WATER_MARK)
        self.socket.setsockopt(zmq.LINGER, 2000)
        self.socket.connect(f"ipc://{self.folder}/seed")
        self.socket.recv()

    def send(self, images: Sequence[Image]) -> None:
        """Copy each image into a segment of its own and name them."""
        live, described = [], []
        for number, image in enumerate(images):
            segment = shared_memory.SharedMemory(
                create=True, size=image.nbytes, name=PREFIX + uuid.uuid4().hex[:12]
            )
            np.ndarray(image.shape, image.dtype, buffer=segment.buf)[:] = image[:]
            live.append(segment)
            described.append(description_of(number, segment.name, image.shape, str(image.dtype)))
        self.socket.send_json(message_of(described), flags=zmq.NOBLOCK)
        for segment in live:
            segment.close()

    def close(self) -> None:
        """Close."""
        self.socket.close()
        self.context.term()


class SeedReceiver(Receiver):
    """SUB, bound."""

    def open(self) -> None:
        """Bind and subscribe."""
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = self.context.socket(zmq.SUB)
        self.socket.setsockopt(zmq.SUBSCRIBE, b"")
        self.socket.setsockopt(zmq.RCVHWM, HIGH_WATER_MARK)
        self.socket.bind(f"ipc://{self.folder}/seed")

    def serve(self) -> None:
        """Copy each image, close and unlink its segment."""
        while not self.arrivals.complete.is_set():
            message: Any = self.socket.recv_json()
            taken = []
            for described in message["images"]:
                segment = shared_memory.SharedMemory(name=described["shm_name"])
                taken.append(np.ndarray(described["shape"], described["dtype"], buffer=segment.buf).copy())
                segment.close()
                segment.unlink()
            when = time.perf_counter_ns()
            for image in taken:
                self.arrivals.mark(image)
            self.arrivals.done(when)

    def close(self) -> None:
        """Close."""
        self.socket.close(0)
        self.context.term()
