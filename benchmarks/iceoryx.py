"""iceoryx2, the fastest peer found: lock-free publish-subscribe over shared memory, written in Rust.

Used as its own examples do: loan a sample, copy the image in, send it, notify; the receiver waits for the event,
takes the sample, uses it where it lies and gives it back. Each sample begins with the same description of the image
that our messages carry, in the same msgpack, so that both do the same work.
"""

from __future__ import annotations

import ctypes
import struct
import time
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from benchmarks.schemes import Image, Publisher, Receiver

PIXELS_AT = 2048
"""Bytes before the pixels: room for the description, and the offset in its page that is best for a copy."""

_LENGTH = struct.Struct("<I")
_Value = str | int | None


class Header(msgspec.Struct, array_like=True, gc=False):
    """What is said of one image."""

    message: int
    index: int
    count: int
    shape: tuple[int, ...]
    dtype: str
    key: tuple[_Value, _Value, _Value, _Value, _Value, _Value, _Value]
    context: tuple[str, int, str, str]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Header).decode


def _services(name: str, batch: int) -> tuple[Any, Any, Any]:
    import iceoryx2

    iceoryx2.set_log_level_from_env_or(iceoryx2.LogLevel.Error)
    node = iceoryx2.NodeBuilder.new().create(iceoryx2.ServiceType.Ipc)
    # Every image counts: a full queue holds the sender up, it does not overwrite.
    data = (
        node.service_builder(iceoryx2.ServiceName.new(f"bench/{name}"))
        .publish_subscribe(iceoryx2.Slice[ctypes.c_uint8])
        .enable_safe_overflow(False)
        .subscriber_max_buffer_size(2 * batch + 4)
        .subscriber_max_borrowed_samples(2 * batch + 4)
        .open_or_create()
    )
    events = node.service_builder(iceoryx2.ServiceName.new(f"bench-events/{name}")).event().open_or_create()
    return node, data, events


class IceoryxPublisher(Publisher):
    """Loan, copy, send, notify."""

    def open(self) -> None:
        """Open both services; the receiver made them."""
        self.node, data, events = _services(self.folder.name, self.case.batch)
        self.publisher = (
            data.publisher_builder()
            .initial_max_slice_len(PIXELS_AT + self.case.nbytes)
            .max_loaned_samples(4)
            .create()
        )
        self.notifier = events.notifier_builder().create()
        self.message = 0
        self.keys = [(None, None, "A01", i + 1, "DAPI", 3, 1) for i in range(self.case.batch)]
        self.context = ("bench", 1, "blur", "bench")

    def send(self, images: Sequence[Image]) -> None:
        """Send the images, then say so once."""
        count = len(images)
        for index, image in enumerate(images):
            head = _encode(
                Header(
                    self.message, index, count, image.shape, image.dtype.str, self.keys[index], self.context
                )
            )
            sample = self.publisher.loan_slice_uninit(PIXELS_AT + image.nbytes)
            address = sample.payload().as_ptr()
            ctypes.memmove(address, _LENGTH.pack(len(head)) + head, _LENGTH.size + len(head))
            ctypes.memmove(address + PIXELS_AT, image.ctypes.data, image.nbytes)
            sample.assume_init().send()
        self.message += 1
        self.notifier.notify()

    def close(self) -> None:
        """Let it remove what it keeps in /dev/shm and /tmp."""
        self.notifier.delete()
        self.publisher.delete()
        del self.node


class IceoryxReceiver(Receiver):
    """One thread waits for events and takes samples."""

    def open(self) -> None:
        """Make both services."""
        import iceoryx2

        self.node, data, events = _services(self.folder.name, self.case.batch)
        self.subscriber = data.subscriber_builder().create()
        self.listener = events.listener_builder().create()
        self.patience = iceoryx2.Duration.from_millis(50)

    def serve(self) -> None:
        """Use each image where it lies, then give it back."""
        held = []
        while not self.arrivals.complete.is_set():
            sample = self.subscriber.receive()
            if sample is None:
                self.listener.timed_wait(self.patience)
                continue
            address = sample.payload().as_ptr()
            (length,) = _LENGTH.unpack(ctypes.string_at(address, _LENGTH.size))
            head = _decode(ctypes.string_at(address + _LENGTH.size, length))
            pixels = (ctypes.c_uint8 * self.case.nbytes).from_address(address + PIXELS_AT)
            held.append((sample, np.ndarray(head.shape, head.dtype, buffer=memoryview(pixels))))
            if head.index < head.count - 1:
                continue
            when = time.perf_counter_ns()
            for taken, image in held:
                self.arrivals.mark(image)
                taken.delete()
            held.clear()
            self.arrivals.done(when)

    def close(self) -> None:
        """Let it remove what it keeps in /dev/shm and /tmp."""
        self.listener.delete()
        self.subscriber.delete()
        del self.node
