"""This project's transport: `polystore.streaming` over a `zmqruntime` server."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.schemes import ROTATION, Image, Publisher, Receiver
from polystore.components import ImageKey
from polystore.streaming import BatchContext, ImageReceiver, ImageSender, StreamItem
from zmqruntime.config import Endpoint
from zmqruntime.server import ZMQServer

PORT = 5655
"""Names the socket files in the run's own folder; no port of the machine is taken."""

CONTEXT = BatchContext(run="bench", step_index=1, step_name="blur", producer="bench")


class SendCopying(Publisher):
    """``send`` of ordinary arrays: one copy, into the arena."""

    def open(self) -> None:
        """Attach, so that the arena is there before the first image."""
        self.sender = ImageSender(Endpoint(data_port=PORT), policy="block", deadline=20.0)
        if not self.sender.wait_attached(10.0):
            raise RuntimeError(f"not attached: {self.sender.state}")
        self.keys = [
            ImageKey(well="A01", field=i + 1, channel="DAPI", z=3, t=1) for i in range(self.case.batch)
        ]

    def send(self, images: Sequence[Image]) -> None:
        """Send."""
        self.sender.send(
            [StreamItem(array=a, key=key) for a, key in zip(images, self.keys, strict=True)], CONTEXT
        )

    def close(self) -> None:
        """Check that the books balance, then end."""
        self.sender.flush(10.0)
        stats = self.sender.stats
        if stats.sent != stats.displayed:
            raise RuntimeError(f"not every image was displayed: {stats}")
        self.sender.close()


class SendBorn(SendCopying):
    """``send`` of arrays made by ``empty``: they are in the arena already."""

    def prepare(self, images: Sequence[Image]) -> Sequence[Image]:
        """Make them there; a pipeline would compute into them, here one pixel is all that is looked at."""
        born = [self.sender.empty(image.shape, image.dtype) for image in images]
        for array, image in zip(born, images, strict=True):
            array[-1, -1] = image[-1, -1]
        return born


class _Server(ZMQServer):
    def __init__(self, sink: Any) -> None:
        super().__init__(Endpoint(data_port=PORT))
        self._images = ImageReceiver(sink)
        self.attach, self.note, self.detach = self._images.attach, self._images.note, self._images.detach  # type: ignore[method-assign]

    def items(self, *arguments: Any) -> None:
        self._images.items(*arguments)


class ReceiveView(Receiver):
    """Uses each image where it lies and gives it back; everything happens on the server's I/O thread."""

    def open(self) -> None:
        """Start the server."""
        self.server = _Server(self.take)
        self.server.start()

    def take(self, images: list[Any]) -> None:
        """Take the images of one message."""
        when = time.perf_counter_ns()
        for image in images:
            self.arrivals.mark(image.array)
            image.finish("displayed")
        self.arrivals.done(when)

    def serve(self) -> None:
        """Wait for the I/O thread to be through."""
        self.arrivals.complete.wait()

    def close(self) -> None:
        """Stop the server."""
        self.server.stop()


class ReceiveCopy(ReceiveView):
    """Copies each image into memory of its own, as a viewer does, before it gives it back."""

    def open(self) -> None:
        """Start, with that memory ready."""
        shape = (self.case.size, self.case.size)
        self.store = [np.zeros(shape, np.uint16) for _ in range(max(ROTATION, 2 * self.case.batch))]
        self.at = 0
        super().open()

    def take(self, images: list[Any]) -> None:
        """Take the images of one message; they are usable once copied."""
        for image in images:
            target = self.store[self.at % len(self.store)]
            self.at += 1
            np.copyto(target, image.array)
            if not image.intact():
                raise RuntimeError("a slot was written again before its credit")
            image.finish("displayed")
            self.arrivals.mark(target)
        self.arrivals.done(time.perf_counter_ns())
