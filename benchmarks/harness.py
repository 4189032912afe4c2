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
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rows import BenchmarkError, percentile
from benchmarks.schemes import BURSTS, ROTATION, Case, Image, Publisher

ROOT = Path(__file__).resolve().parents[1]

RUN_SECONDS = 90.0
"""Longest one pair of processes may take; a run takes two to four seconds."""


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
                plan = json.dumps(
                    {"target": target, "case": asdict(case), "folder": folder, "fd": end.fileno()}
                )
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
