"""kill -9 and SIGSTOP at every step: no name left, no torn image, the survivor works on, all is counted.

Sender and receiver are programs of their own (``programs/``). Every image is filled with its own number and looked
at pixel by pixel by the receiver, which writes a line for each that is not what it says.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polystore.components import ImageKey
from polystore.payload import shm
from polystore.streaming.messages import StreamItem
from polystore.streaming.sender import ImageSender
from zmqruntime.client import ControlClient
from zmqruntime.config import Endpoint
from zmqruntime.errors import RequestTimeout, SendTimeout
from zmqruntime.testing import fault_env, wait_until

PROGRAMS = Path(__file__).parent / "programs"
SOURCES = Path(__file__).parents[2] / "packages"

SENDER_POINTS = {
    "arena.created": (1,),
    "sender.welcomed": (1,),
    "sender.attached": (1,),
    "slot.filled": (1, 2, 7, 40, 133),
    "segment.filled": (1, 2, 3),
    "sender.encoded": (1, 2, 9, 41, 77),
    "sender.sent": (1, 2, 9, 41, 77),
}
"""Where the sender may die, and at which passages."""

RECEIVER_POINTS = {
    "receiver.welcomed": (1,),
    "receiver.offered": (1,),
    "receiver.mapped": (1,),
    "receiver.items": (1, 2, 9, 41, 77),
    "receiver.decoded": (1, 2, 9, 41, 77),
    "receiver.returned": (1, 2, 5, 11, 23),
}


TOGETHER = 5
"""How many senders die at the same time: workers of one pool."""


class Stage:
    """Starts the two programs on one endpoint and in one folder of shared memory of its own."""

    def __init__(self, folder: Path, memory: Path) -> None:
        self.folder, self.memory = folder, memory
        self.torn_file = folder / "torn"
        self.torn_file.touch()
        self.env = {**os.environ, "ZMQRUNTIME_DIR": str(folder / "run"), "POLYSTORE_SHM_DIR": str(memory)}
        self.stack = ExitStack()
        self.number = 0

    def program(self, name: str, *arguments: str, fault: str = "", hit: int = 1) -> subprocess.Popen[str]:
        """Start a program; its log goes to a file of the test's folder."""
        self.number += 1
        log = self.stack.enter_context(open(self.folder / f"{self.number:03d}-{name}.log", "w"))
        process = subprocess.Popen(
            [sys.executable, str(PROGRAMS / f"{name}.py"), "5555", *arguments],
            env={**self.env, **(fault_env(fault, hit) if fault else {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        self.stack.callback(end, process)
        return process

    def receiver(self, *arguments: str, **fault: Any) -> subprocess.Popen[str]:
        """Start a receiver."""
        return self.program("receiver", str(self.torn_file), *arguments, **fault)

    def sender(self, policy: str = "block", *arguments: str, **fault: Any) -> subprocess.Popen[str]:
        """Start a sender."""
        return self.program("sender", policy, *arguments, **fault)

    def status(self) -> dict[str, Any]:
        """What the receiver counted; empty while nobody answers."""
        try:
            with ControlClient(Endpoint(data_port=5555), timeout=1) as client:
                return client.status()
        except RequestTimeout:
            return {}

    def all_taken(self) -> bool:
        """Whether every image that arrived has its outcome, also those of senders that died."""
        status = self.status()
        return bool(status) and status["received"] == status["displayed"] + status["refused"]

    def names(self) -> list[str]:
        """Names in shared memory."""
        return sorted(os.listdir(self.memory))

    def names_of_the_dead(self) -> list[str]:
        """Names whose owner does not live."""
        return [name for name, _, alive in shm.names() if not alive]

    def check_torn(self) -> None:
        """No image was another than it said."""
        assert self.torn_file.read_text() == ""

    def logs(self) -> str:
        """What the programs wrote, for a failure's report."""
        return "\n".join(
            f"--- {path.name}\n{path.read_text()[-3000:]}" for path in sorted(self.folder.glob("*.log"))
        )


def end(process: subprocess.Popen[str]) -> None:
    """End a program that still runs, stopped or not, and close its pipes."""
    if process.poll() is None:
        process.kill()
    process.wait(10)
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            try:
                pipe.close()
            except BrokenPipeError:
                pass


def killed(process: subprocess.Popen[str], timeout: float = 30) -> bool:
    """Whether the process ended by kill -9 within the time."""
    return process.wait(timeout) == -signal.SIGKILL


def finish(sender: subprocess.Popen[str]) -> dict[str, Any]:
    """End a sender in good order and return its account."""
    out, _ = sender.communicate(timeout=60)
    assert sender.returncode == 0
    account: dict[str, Any] = json.loads(out.splitlines()[-1])
    # Every image is counted, and always was whenever the program looked.
    assert account["balanced"]
    assert account["unbalanced"] == 0
    assert account["sent"] == account["given"]
    assert account["flushed"]
    assert account["in_flight"] == account["queued"] == 0
    return account


def stop(receiver: subprocess.Popen[str]) -> None:
    """End a receiver in good order."""
    with ControlClient(Endpoint(data_port=5555)) as client:
        client.shutdown()
    assert receiver.wait(20) == 0


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """See `Stage`; the folder of shared memory is in /dev/shm itself where there is one."""
    root = "/dev/shm" if os.path.isdir("/dev/shm") else None
    memory = Path(tempfile.mkdtemp(prefix="faults-", dir=root))
    made = Stage(tmp_path, memory)
    monkeypatch.setenv("ZMQRUNTIME_DIR", made.env["ZMQRUNTIME_DIR"])
    monkeypatch.setattr(shm, "SHM_DIR", str(memory))
    try:
        with made.stack:
            yield made
        made.check_torn()
    except BaseException:
        print(made.logs())
        raise
    finally:
        shutil.rmtree(memory)


def test_every_point_in_the_sources_is_tried() -> None:
    found = set()
    for source in SOURCES.glob("*/src/**/*.py"):
        found |= set(re.findall(r'fault_point\("([a-z.]+)"\)', source.read_text()))
    assert found == set(SENDER_POINTS) | set(RECEIVER_POINTS)
    assert len(found) >= 12


# --------------------------------------------------------------------------- the sender dies


@pytest.mark.parametrize("point", SENDER_POINTS)
def test_a_sender_killed_at(stage: Stage, point: str, repeats: int) -> None:
    receiver = stage.receiver()
    hits = SENDER_POINTS[point]
    for first in range(0, repeats, TOGETHER):
        senders = [
            stage.sender("block", fault=point, hit=hits[i % len(hits)])
            for i in range(first, min(first + TOGETHER, repeats))
        ]
        assert all(killed(sender) for sender in senders)
    # The next one: takes its place, removes what the dead left, and loses nothing.
    sender = stage.sender("block", "30")
    assert sender.stdout is not None
    assert sender.stdout.readline() == "sent\n"
    assert stage.names_of_the_dead() == []
    account = finish(sender)
    assert account["displayed"] == account["given"]
    assert account["attachments"] == 1
    wait_until(stage.all_taken, 10)
    assert stage.status()["wrong"] == 0
    stop(receiver)
    assert stage.names() == []


@pytest.mark.parametrize("point", ["slot.filled", "segment.filled"])
def test_a_receiver_that_ends_leaves_no_name_of_a_sender_that_died(stage: Stage, point: str) -> None:
    receiver = stage.receiver()
    assert killed(stage.sender("block", fault=point))
    assert (stage.names() != []) == (point == "segment.filled")
    stop(receiver)
    assert stage.names() == []


def test_names_of_a_dead_sender_go_while_the_receiver_works_on(stage: Stage) -> None:
    receiver = stage.receiver()
    steady = stage.sender("block")
    wait_until(lambda: stage.status().get("received", 0) > 0, 20)
    assert killed(stage.sender("block", fault="segment.filled"))
    assert len(stage.names_of_the_dead()) == 1
    wait_until(lambda: stage.names_of_the_dead() == [], 20)
    account = finish_after(stage, steady)
    assert account["displayed"] == account["given"]
    stop(receiver)
    assert stage.names() == []


def test_a_sender_killed_at_any_time(stage: Stage, repeats: int) -> None:
    receiver = stage.receiver()
    dice = random.Random(1)
    pause = threading.Event()
    for _ in range(repeats):
        sender = stage.sender("block")
        before = (stage.status() or {"received": 0})["received"]
        wait_until(lambda before=before: stage.status().get("received", 0) > before, 20)
        pause.wait(dice.uniform(0, 0.3))
        sender.kill()
        assert killed(sender)
    account = finish_after(stage, stage.sender("latest"))
    assert account["attachments"] == 1
    wait_until(lambda: stage.status()["senders"] == [], 10, "the dead are forgotten")
    stop(receiver)
    assert stage.names() == []


def finish_after(stage: Stage, sender: subprocess.Popen[str], images: int = 50) -> dict[str, Any]:
    """Let a sender go on until the receiver has that many more images, then end it in good order."""
    before = stage.status().get("received", 0)
    wait_until(lambda: stage.status().get("received", 0) >= before + images, 30)
    return finish(sender)


# --------------------------------------------------------------------------- the receiver dies


@pytest.mark.parametrize("point", RECEIVER_POINTS)
def test_a_receiver_killed_at(stage: Stage, point: str, repeats: int) -> None:
    policy = ("block", "drop", "latest")[list(RECEIVER_POINTS).index(point) % 3]
    sender = stage.sender(policy)
    hits = RECEIVER_POINTS[point]
    for i in range(repeats):
        assert killed(stage.receiver(fault=point, hit=hits[i % len(hits)]))
    receiver = stage.receiver()
    wait_until(lambda: stage.status().get("received", 0) >= 50, 30)
    assert stage.names_of_the_dead() == []
    account = finish(sender)
    early = point in ("receiver.welcomed", "receiver.offered", "receiver.mapped")
    assert account["attachments"] == (1 if early else repeats + 1)
    assert account["timeouts"] == 0
    assert account["displayed"] >= 50
    if policy == "block":
        assert account["dropped"] == 0
    status = stage.status()
    assert status["wrong"] == 0
    assert status["taken"] == status["displayed"] == status["received"]
    stop(receiver)
    assert stage.names() == []


def test_a_receiver_killed_at_any_time(stage: Stage, repeats: int) -> None:
    sender = stage.sender("block")
    dice = random.Random(2)
    pause = threading.Event()
    for _ in range(repeats):
        receiver = stage.receiver("1")
        wait_until(lambda: stage.status().get("received", 0) > 5, 20)
        pause.wait(dice.uniform(0, 0.3))
        receiver.kill()
        assert killed(receiver)
    receiver = stage.receiver()
    account = finish_after(stage, sender)
    assert account["attachments"] == repeats + 1
    assert account["dropped"] == account["timeouts"] == 0
    # At most the window was on its way each time.
    assert account["lost_in_flight"] <= repeats * 256
    stop(receiver)
    assert stage.names() == []


# --------------------------------------------------------------------------- both die


def test_both_killed_at_any_time(stage: Stage, repeats: int) -> None:
    dice = random.Random(3)
    pause = threading.Event()
    for _ in range(repeats):
        receiver, sender = stage.receiver(), stage.sender("block")
        wait_until(lambda: stage.status().get("received", 0) > 0, 20)
        pause.wait(dice.uniform(0, 0.2))
        for process in dice.sample([receiver, sender], 2):
            process.kill()
        assert killed(receiver)
        assert killed(sender)
    receiver = stage.receiver()
    account = finish_after(stage, stage.sender("block"))
    assert account["displayed"] == account["given"]
    assert stage.names_of_the_dead() == []
    stop(receiver)
    assert stage.names() == []


@pytest.mark.parametrize("point", ["arena.created", "segment.filled"])
def test_names_left_when_both_are_dead_go_at_the_next_start(stage: Stage, point: str) -> None:
    receiver = stage.receiver()
    assert killed(stage.sender("block", fault=point))
    receiver.kill()
    assert killed(receiver)
    assert len(stage.names()) >= (1 if point == "arena.created" else 0)
    receiver = stage.receiver()
    wait_until(stage.status, 20)
    assert stage.names() == []
    stop(receiver)


# --------------------------------------------------------------------------- a stopped or missing receiver


@pytest.fixture
def sender(stage: Stage) -> Iterator[ImageSender]:
    """A sender of this process to the stage's endpoint."""
    with ImageSender(Endpoint(data_port=5555), policy="drop", deadline=1.0) as made:
        yield made


IMAGE = np.full((512, 512), 7, "<u2")


def freeze(process: subprocess.Popen[str]) -> None:
    """SIGSTOP, and wait until every thread stands: on a busy machine they run on for a moment."""
    process.send_signal(signal.SIGSTOP)
    threads = Path(f"/proc/{process.pid}/task")
    wait_until(
        lambda: all(
            (one / "stat").read_text().rpartition(")")[2].split()[0] == "T" for one in threads.iterdir()
        ),
        10,
    )


def items(count: int, start: int = 0) -> list[StreamItem]:
    return [StreamItem(IMAGE, ImageKey(t=7, z=z)) for z in range(start, start + count)]


@pytest.mark.parametrize("policy", ["drop", "latest"])
def test_a_stopped_receiver_is_noticed_and_the_pipeline_keeps_its_pace(
    stage: Stage, sender: ImageSender, policy: str
) -> None:
    receiver = stage.receiver()
    assert sender.wait_attached(20)
    sender.send(items(20), policy="block", deadline=20)
    assert sender.flush(20)
    given = 20
    freeze(receiver)
    stopped = time.monotonic()
    noticed = 0.0
    sends = 0
    blocked = []
    pause = threading.Event()
    while not noticed or sends < 400:
        begin = time.monotonic()
        sender.send(items(4), policy=policy)
        blocked.append(time.monotonic() - begin)
        given += 4
        sends += 1
        if not noticed and sender.state == "silent":
            noticed = time.monotonic() - stopped
        assert time.monotonic() - stopped < 30, f"{sends} sends in 30 s"
        if not noticed:
            pause.wait(0.005)  # the rest of the pipeline's work
    assert noticed < 3
    # One wait per stall under drop (the window of 64 MB is full first), none under latest.
    assert sum(wait > 0.5 for wait in blocked) == (1 if policy == "drop" else 0)
    assert sorted(blocked)[len(blocked) // 2] < 0.05
    stats = sender.stats
    assert stats.balanced
    assert stats.sent == given
    assert stats.lost_in_flight == 0
    receiver.send_signal(signal.SIGCONT)
    wait_until(lambda: sender.state == "attached", 10)
    assert sender.flush(20)
    sender.send(items(10), policy="block", deadline=20)
    assert sender.flush(20)
    stats = sender.stats
    assert stats.balanced
    assert stats.sent == given + 10
    assert stats.lost_in_flight == 0
    assert sender.stream.attachments == 1
    status = stage.status()
    assert status["displayed"] == stats.displayed
    assert status["wrong"] == 0
    stop(receiver)


def test_a_stopped_receiver_that_is_killed_is_replaced(stage: Stage, sender: ImageSender) -> None:
    receiver = stage.receiver()
    assert sender.wait_attached(20)
    freeze(receiver)
    sender.send(items(3))
    wait_until(lambda: sender.state == "silent", 5)
    receiver.kill()
    assert killed(receiver)
    receiver = stage.receiver()
    wait_until(lambda: sender.stream.attachments == 2, 10)
    sender.send(items(3), policy="block", deadline=10)
    assert sender.flush(10)
    stats = sender.stats
    assert (stats.sent, stats.displayed, stats.lost_in_flight) == (6, 3, 3)
    stop(receiver)


def test_a_stopped_sender_is_waited_for(stage: Stage) -> None:
    receiver = stage.receiver()
    sender = stage.sender("block")
    wait_until(lambda: stage.status().get("received", 0) > 20, 20)
    freeze(sender)
    pause = threading.Event()
    pause.wait(4)  # longer than the silence after which the receiver looks closer
    assert len(stage.status()["senders"]) == 1
    sender.send_signal(signal.SIGCONT)
    account = finish_after(stage, sender)
    assert account["attachments"] == 1
    assert account["displayed"] == account["given"]
    stop(receiver)


def test_nobody_there(stage: Stage, sender: ImageSender) -> None:
    begin = time.monotonic()
    assert sender.send(items(5)) == (0, 5)
    first = time.monotonic() - begin
    assert 0.9 < first < 2
    begin = time.monotonic()
    for _ in range(50):
        assert sender.send(items(5)) == (0, 5)
    assert time.monotonic() - begin < 1
    with pytest.raises(SendTimeout, match="Is the receiver running"):
        sender.send(items(1), policy="block", deadline=0.2)
    assert sender.stats.sent == sender.stats.dropped == 256
    receiver = stage.receiver()
    assert sender.wait_attached(20)
    assert sender.send(items(5)) == (5, 0)
    assert sender.flush(10)
    stop(receiver)


def test_workers_killed_one_after_the_other_leave_the_others_alone(stage: Stage, repeats: int) -> None:
    receiver = stage.receiver()
    steady = stage.sender("block")
    wait_until(lambda: stage.status().get("received", 0) > 0, 20)
    for i in range(repeats):
        assert killed(stage.sender("block", fault="sender.sent", hit=5 + 3 * i))
    account = finish_after(stage, steady)
    assert account["displayed"] == account["given"]
    assert account["attachments"] == 1
    stop(receiver)
    assert stage.names() == []
