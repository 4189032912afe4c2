"""What a scheme is: a class that sends, a class that receives, and the book of what arrived."""

from __future__ import annotations

import socket
import struct
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from benchmarks.rows import BenchmarkError

ROTATION = 8
"""Sources and destinations in turn: with fewer, a copy stays in the processor's first caches and proves nothing."""

BURSTS = 5
"""Saturated bursts in a run."""

_STAMP = struct.Struct("<q")

Image = np.ndarray[Any, np.dtype[np.uint16]]


@dataclass(frozen=True, slots=True)
class Case:
    """What is sent: `batch` images of `size` x `size` uint16 in a message, and how many messages.

    Attributes
    ----------
    lockstep, warmup : int
        Messages one by one; those to warm up are not measured.
    burst : int
        Messages of a burst, of which there are `BURSTS`.
    """

    name: str
    size: int
    batch: int
    lockstep: int
    burst: int
    warmup: int = 10

    @property
    def nbytes(self) -> int:
        """Bytes of one image."""
        return 2 * self.size * self.size

    @property
    def sources(self) -> int:
        """How many different images are sent in turn."""
        return max(ROTATION, self.batch)

    @property
    def images(self) -> int:
        """How many images a run sends."""
        return (self.warmup + self.lockstep + BURSTS * self.burst) * self.batch


class Arrivals:
    """The receiver's book: what came, and whether it is what was sent.

    Parameters
    ----------
    case : Case
        What is expected.
    channel : socket.socket
        The publisher's other end.
    """

    def __init__(self, case: Case, channel: socket.socket) -> None:
        self.case = case
        self.channel = channel
        self.wrong = 0
        self.complete = threading.Event()
        self._images = 0
        self._messages = 0
        self._paced = case.warmup + case.lockstep

    def mark(self, image: Image) -> None:
        """Look at one pixel of an image that just arrived, before its memory is given back."""
        expected = 1 + self._images % self.case.sources
        self.wrong += int(image[-1, -1]) != expected or image.shape != (self.case.size, self.case.size)
        self._images += 1

    def done(self, when: int) -> None:
        """Report, once its images are marked and released, that a message was usable at `when` (ns)."""
        if self._images < (self._messages + 1) * self.case.batch:
            return  # a part of a batch
        self._messages += 1
        beyond = self._messages - self._paced
        if beyond <= 0 or beyond % self.case.burst == 0:
            self.channel.sendall(_STAMP.pack(when))
        if self._images == self.case.images:
            self.complete.set()


class Publisher(ABC):
    """The sending half of a scheme, in its own process.

    Parameters
    ----------
    case : Case
        What is sent.
    folder : pathlib.Path
        For socket files; the receiver has the same one. Its name is unique.
    channel : socket.socket
        Where arrivals are reported.
    """

    has_receiver: ClassVar[bool] = True
    """False: the scheme brings its own receiving process, and `arrival` says when something arrived there."""

    def __init__(self, case: Case, folder: Path, channel: socket.socket) -> None:
        self.case, self.folder, self.channel = case, folder, channel

    @abstractmethod
    def open(self) -> None:
        """Connect; return when an image that is sent now will arrive."""

    @abstractmethod
    def send(self, images: Sequence[Image]) -> None:
        """Send one message. This call is what is timed."""

    @abstractmethod
    def close(self) -> None:
        """Let go of everything."""

    def prepare(self, images: Sequence[Image]) -> Sequence[Image]:
        """Return what `send` gets for these images; not timed."""
        return images

    def arrival(self) -> int:
        """Wait until the last message sent is there and return when that was, in nanoseconds."""
        data = b""
        while len(data) < _STAMP.size:
            more = self.channel.recv(_STAMP.size - len(data))
            if not more:
                raise BenchmarkError("the receiver ended early")
            data += more
        return int(_STAMP.unpack(data)[0])


class Receiver(ABC):
    """The receiving half of a scheme. Parameters as `Publisher`."""

    def __init__(self, case: Case, folder: Path, channel: socket.socket) -> None:
        self.case, self.folder = case, folder
        self.arrivals = Arrivals(case, channel)

    @abstractmethod
    def open(self) -> None:
        """Listen; return when a publisher may connect."""

    @abstractmethod
    def serve(self) -> None:
        """Take images until `arrivals` is complete: mark each, release it, report the message."""

    @abstractmethod
    def close(self) -> None:
        """Let go of everything."""
