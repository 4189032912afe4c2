"""Two fresh processes, one sending images and one receiving them, measured from the outside of each scheme.

Every scheme does the same work under the same pacing:

* *lock-step*: one message, then the publisher waits until the receiver has it. No sleeps, nothing queued. Gives
  the time inside the send call (*block*) and from entering it until the pixels can be used (*latency*).
* *saturated*: bursts of messages as fast as the scheme takes them. Gives the *sustained* rate: from the first send to
  the last arrival of a burst, the median of five, so that a neighbour on the machine does not spoil a run.

The receiver reports an arrival on a socketpair, from the very thread that took the image in, so that no second
thread competes with it. Clocks agree: ``perf_counter`` counts from the machine's start on Linux. The publisher
times warm copies of the same size before, between and after: every ratio is to the memcpy of its own run.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from benchmarks.rows import BenchmarkError, percentile

ROOT = Path(__file__).resolve().parents[1]

RUN_SECONDS = 90.0
"""Longest one pair of processes may take; a run takes two to four seconds."""

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


@dataclass(frozen=True, slots=True)
class Result:
    """One run. Times in microseconds, per image where a message has several, but latency per message."""

    memcpy: float
    block: float
    block_p99: float
    latency: float
    latency_p99: float
    sustained: float
    publisher_cpu: float
    receiver_cpu: float = 0.0
    wrong: int = 0

    @property
    def sustained_ratio(self) -> float:
        """Sustained rate over that of memcpy: larger is better."""
        return self.memcpy / self.sustained

    @property
    def block_ratio(self) -> float:
        """Time in the send call over that of a memcpy."""
        return self.block / self.memcpy

    @property
    def latency_ratio(self) -> float:
        """Median latency over the time of a memcpy."""
        return self.latency / self.memcpy


def make_sources(case: Case) -> list[Image]:
    """Return images such as a camera makes, each known by its last pixel: 1, 2, 3 ..."""
    rng = np.random.default_rng(1)
    noisy = rng.normal(600, 25, (case.size, case.size)).clip(0, 65535).astype(np.uint16)
    sources = [noisy.copy() for _ in range(case.sources)]
    for number, source in enumerate(sources):
        source[-1, -1] = number + 1
    return sources


def publish(publisher: Publisher) -> Result:
    """Measure `publisher` against the receiver that is at the other end of its channel."""
    case, now = publisher.case, time.perf_counter_ns
    sources = make_sources(case)
    targets = [np.zeros_like(source) for source in sources[:ROTATION]]

    def copies() -> list[int]:
        times = []
        for i in range(48):
            begin = now()
            np.copyto(targets[i % ROTATION], sources[i % ROTATION])
            times.append(now() - begin)
        return times

    copies()
    memcpy = copies()
    publisher.open()
    at = 0

    def following() -> Sequence[Image]:
        nonlocal at
        batch = [sources[(at + i) % case.sources] for i in range(case.batch)]
        at += case.batch
        return publisher.prepare(batch)

    block, latency = [], []
    for i in range(case.warmup + case.lockstep):
        images = following()
        begin = now()
        publisher.send(images)
        end = now()
        arrived = publisher.arrival()
        if i >= case.warmup:
            block.append(end - begin)
            latency.append(arrived - begin)
    memcpy += copies()
    bursts, cpu = [], 0
    for _ in range(BURSTS):
        before, start = time.process_time_ns(), now()
        for _ in range(case.burst):
            publisher.send(following())
        cpu += time.process_time_ns() - before
        bursts.append(publisher.arrival() - start)
    memcpy += copies()
    per_image = 1e3 * case.batch
    return Result(
        memcpy=statistics.median(memcpy) / 1e3,
        block=statistics.median(block) / per_image,
        block_p99=percentile(block, 0.99) / per_image,
        latency=statistics.median(latency) / 1e3,
        latency_p99=percentile(latency, 0.99) / 1e3,
        sustained=statistics.median(bursts) / per_image / case.burst,
        publisher_cpu=cpu / per_image / case.burst / BURSTS,
    )


def run_pair(publisher: str, receiver: str, case: Case, *, python: str = sys.executable) -> Result:
    """Return the measurements of one run in two fresh processes.

    Parameters
    ----------
    publisher, receiver : str
        Classes as ``"module:Class"``. An empty `receiver` means that the scheme brings its own.
    python : str
        Interpreter of the environment that the scheme is installed in.

    Raises
    ------
    BenchmarkError
        A process failed or took too long, or images arrived wrong; with what it said.
    """
    folder = tempfile.mkdtemp(prefix="bench-")
    ours, theirs = socket.socketpair()
    running: list[subprocess.Popen[str]] = []
    try:
        for target, end in ((receiver, theirs), (publisher, ours)):
            if target:
                plan = json.dumps({"target": target, "case": asdict(case), "folder": folder, "fd": end.fileno()})
                running.append(
                    subprocess.Popen(
                        [python, "-m", "benchmarks.worker", plan],
                        cwd=ROOT,
                        env={**os.environ, "ZMQRUNTIME_DIR": folder, "PYTHONDONTWRITEBYTECODE": "1"},
                        pass_fds=[end.fileno()],
                        stdout=subprocess.PIPE,
                        stderr=subprocess.PIPE,
                        text=True,
                    )
                )
        ours.close()
        theirs.close()
        values: dict[str, Any] = {}
        deadline = time.monotonic() + RUN_SECONDS
        for process in reversed(running):
            values.update(_outcome(process, deadline))
    finally:
        for process in running:
            process.kill()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)
    result = Result(**values)
    if result.wrong:
        raise BenchmarkError(f"{publisher}: {result.wrong} images arrived that are not what was sent")
    return result


def _outcome(process: subprocess.Popen[str], deadline: float) -> dict[str, Any]:
    try:
        out, errors = process.communicate(timeout=max(1.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired as error:
        raise BenchmarkError(f"{process.args!r} took longer than {RUN_SECONDS:g} s") from error
    if process.returncode:
        raise BenchmarkError(f"{process.args!r} failed:\n{errors[-2000:]}")
    return dict(json.loads(out.splitlines()[-1]))
