"""10,000 fuzzed messages on each channel: the server answers and does not grow, and a healthy sender loses nothing."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import zmq

from polystore.components import ImageKey
from polystore.payload import shm
from polystore.streaming.messages import StreamItem
from polystore.streaming.sender import ImageSender
from zmqruntime.client import ControlClient
from zmqruntime.config import Endpoint
from zmqruntime.errors import ProtocolError
from zmqruntime.link import MAX_LINK_BYTES, link_path
from zmqruntime.messages import Hello, Items, Shutdown, decode_request, encode_data
from zmqruntime.sockets import connect, make_socket

PROGRAMS = Path(__file__).parent / "programs"
PACKAGES = Path(__file__).parents[2] / "packages"
MESSAGES = 10_000
SEED = int(os.environ.get("POLYSTORE_FUZZ_SEED", "1"))
ALLOWED_GROWTH = 32 * 1024 * 1024
"""What the server's memory may grow by during 9,000 of the messages, in bytes: allocator noise, not one per message."""

CONTROL = tomllib.loads((PACKAGES / "zmqruntime/tests/golden.toml").read_text())
BODIES = tomllib.loads((PACKAGES / "polystore/tests/streaming/golden.toml").read_text())["bodies"]
TEXTS = [text.encode() for text in CONTROL["control"].values()]
BINARY = [bytes.fromhex(data) for data in CONTROL["data"].values()]
BATCHES = [bytes.fromhex(BODIES[name]) for name in BODIES if "_in_" in name]

NASTY: list[Any] = [
    None, True, -1, 0, 1, 255, 256, 2**16, 2**31, 2**32, 2**53, 2**63 - 1, 2**64 - 1, -(2**63),
    1.5, float("nan"), float("inf"), "", "x", "<u2", "|O8", "<U4", "|V8", "none", "lz4", "zip",
    "polystore-1-1-1", "../../etc/passwd", "\x00", "x" * 70_000,
    b"", bytes(100), [], [0], [-1], [1] * 33, [2**40, 2**40], [2**62, 4], [0, 2**63], [None], [[[[]]]], {}, {"a": 1},
]  # fmt: skip


class Fuzzer:
    """Makes fuzzed messages, the same ones in every run."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)

    def bytes(self, samples: list[bytes]) -> bytes:
        """Random bytes, or a golden message cut, lengthened, bit-flipped or spliced."""
        dice = self.dice
        way = dice.randrange(6)
        sample = bytearray(dice.choice(samples))
        if way == 0 or not sample:
            return dice.randbytes(dice.randrange(200))
        if way == 1:
            return bytes(sample[: dice.randrange(len(sample))])
        if way == 2:
            return bytes(sample) + dice.randbytes(dice.randrange(1, 40))
        if way == 3:
            other = dice.choice(samples)
            return bytes(sample[: dice.randrange(len(sample))]) + other[dice.randrange(len(other) + 1) :]
        for _ in range(1 if way == 4 else dice.randrange(1, 8)):
            sample[dice.randrange(len(sample))] ^= 1 << dice.randrange(8)
        return bytes(sample)

    def batch(self) -> bytes:
        """A golden batch with one to three values replaced by nasty ones, well formed all the same."""
        value = msgspec.msgpack.decode(self.dice.choice(BATCHES))
        for _ in range(self.dice.randrange(1, 4)):
            where: Any = value
            while True:
                keys = list(where) if isinstance(where, dict) else list(range(len(where)))
                if not keys:
                    break
                key = self.dice.choice(keys)
                if isinstance(where[key], (list, dict)) and where[key] and self.dice.random() < 0.8:
                    where = where[key]
                    continue
                where[key] = copy.deepcopy(self.dice.choice(NASTY))
                break
        return msgspec.msgpack.encode(value)

    def frames(self) -> list[bytes]:
        """None, one, a few, empty or many frames."""
        return [
            self.dice.randbytes(self.dice.choice([0, 1, 6, 6, 100]))
            for _ in range(self.dice.choice([0, 0, 1, 1, 2, 9]))
        ]


class Server:
    """The receiver program with an endpoint of its own, and a healthy sender that goes on all the time."""

    def __init__(self, folder: Path, memory: Path) -> None:
        self.endpoint = Endpoint(data_port=5555)
        self.torn_file = folder / "torn"
        env = {**os.environ, "POLYSTORE_SHM_DIR": str(memory)}
        self.log = open(folder / "receiver.log", "w")
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAMS / "receiver.py"), "5555", str(self.torn_file)],
            env=env,
            stderr=self.log,
        )
        self.client = ControlClient(self.endpoint, timeout=5)
        self.sender = ImageSender(self.endpoint, policy="block", deadline=20)
        self.ended = threading.Event()
        self.given = 0
        self.thread = threading.Thread(target=self.send)
        assert self.sender.wait_attached(20)
        self.thread.start()

    def send(self) -> None:
        image = np.full((64, 64), 7, "<u2")
        while not self.ended.is_set():
            self.sender.send([StreamItem(image, ImageKey(t=7))] * 3)
            self.given += 3
            self.ended.wait(0.005)

    def memory(self) -> int:
        """Bytes of real memory the server holds."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * 4096

    def check(self) -> dict[str, Any]:
        """It answers, and what the healthy sender sent was taken, all of it."""
        begin = time.monotonic()
        self.client.ping()
        assert time.monotonic() - begin < 2
        self.ended.set()
        self.thread.join(30)
        assert not self.thread.is_alive()
        assert self.sender.flush(20)
        stats = self.sender.stats
        assert stats.sent == stats.displayed == self.given > 0
        assert self.sender.stream.attachments == 1
        assert self.torn_file.read_text() == ""
        # Garbage is refused where it is read; none of it is a surprise further in.
        assert "Traceback" not in Path(self.log.name).read_text()
        return self.client.status()

    def close(self) -> None:
        self.ended.set()
        self.thread.join(30)
        self.sender.close()
        self.client.close()
        self.process.kill()
        self.process.wait()
        self.log.close()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """See `Server`."""
    memory = Path(tempfile.mkdtemp(prefix="fuzz-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None))
    monkeypatch.setenv("ZMQRUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setattr(shm, "SHM_DIR", str(memory))
    made = Server(tmp_path, memory)
    try:
        yield made
    except BaseException:
        print((tmp_path / "receiver.log").read_text()[-5000:])
        raise
    finally:
        made.close()
        shutil.rmtree(memory)


def fire(server: Server, shoot: Callable[[int], None], sock: zmq.Socket[bytes]) -> None:
    """Send the messages, read what comes back, and compare the memory after the first thousand and in the end."""
    before = 0
    for number in range(MESSAGES):
        shoot(number)
        if number % 50 == 0:
            # So that the server keeps pace, and nothing piles up on the way.
            server.client.ping()
            while sock.poll(0):
                sock.recv_multipart()
        if number == 1000:
            before = server.memory()
    server.client.ping()
    growth = server.memory() - before
    print(f"grew by {growth / 1e6:.1f} MB")
    assert growth < ALLOWED_GROWTH


def test_the_data_channel(server: Server) -> None:
    fuzz = Fuzzer(SEED)
    sock = make_socket(zmq.DEALER, sndhwm=0)
    connect(sock, server.endpoint.data_url)

    def greet(number: int) -> None:
        sock.send(encode_data(Hello(1, 1, f"{number}", 1, 1, "", "fuzz", msgspec.Raw(b"\xc0"))))

    def shoot(number: int) -> None:
        way = number % 4
        if way == 0:  # from a stranger, or in a session that just ended
            sock.send_multipart([fuzz.bytes(BINARY + BATCHES), *fuzz.frames()])
            return
        greet(number)
        if way == 1:
            sock.send_multipart([fuzz.bytes(BINARY), *fuzz.frames()])
        elif way == 2:
            count = fuzz.dice.choice([1, 1, 1, 1, 0, -1, 2, 256, 257, 2**40])
            body = fuzz.bytes(BATCHES)
            # Raw as it is: the message itself may then be no msgpack any more.
            sock.send_multipart([encode_data(Items(0, count, msgspec.Raw(body))), *fuzz.frames()])
        else:
            sock.send_multipart([encode_data(Items(0, 1, msgspec.Raw(fuzz.batch()))), *fuzz.frames()])

    try:
        fire(server, shoot, sock)
    finally:
        sock.close(0)
    status = server.check()
    assert status["rejected_messages"] > MESSAGES / 4
    assert status["refused"] > MESSAGES / 10
    assert status["wrong"] == 0


def test_the_control_channel(server: Server) -> None:
    fuzz = Fuzzer(SEED + 1)
    sock = make_socket(zmq.DEALER, sndhwm=0)
    connect(sock, server.endpoint.control_url)
    values = [json.dumps(value).encode() for value in NASTY if not isinstance(value, bytes)]

    def text() -> bytes:
        if fuzz.dice.random() < 0.3:  # well formed, with one value replaced
            sample = json.loads(fuzz.dice.choice(TEXTS))
            key = fuzz.dice.choice(list(sample))
            marker = json.dumps(sample | {key: "<>"}).encode()
            return marker.replace(b'"<>"', fuzz.dice.choice(values))
        return fuzz.bytes(TEXTS)

    def shoot(number: int) -> None:
        data = text()
        try:
            while isinstance(decode_request(data), Shutdown):
                data = text()  # that would be a request it obeys
        except ProtocolError:
            pass
        way = number % 8
        if way < 6:
            sock.send_multipart([b"", data])
        elif way == 6:
            sock.send_multipart([data])
        else:
            sock.send_multipart([*fuzz.frames(), b"", data, *fuzz.frames()])

    try:
        fire(server, shoot, sock)
    finally:
        sock.close(0)
    status = server.check()
    assert status["rejected_messages"] > MESSAGES / 4
    assert not server.process.poll()


def test_the_short_cut(server: Server) -> None:
    fuzz = Fuzzer(SEED + 2)
    sock = make_socket(zmq.DEALER, sndhwm=0)
    connect(sock, server.endpoint.data_url)
    path = link_path(server.endpoint)

    links: list[socket.socket] = []

    def shoot(number: int) -> None:
        session = f"s{number}"
        if number % 10 == 0:
            while links:
                links.pop().close()
            sock.send(encode_data(Hello(1, 1, session, 1, 1, "", "fuzz", msgspec.Raw(b"\xc0"))))
            assert sock.poll(5000)
            sock.recv_multipart()
            link = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            links.append(link)
            link.settimeout(5)
            link.connect(path)
            link.send(session.encode())
        large = fuzz.dice.randbytes(MAX_LINK_BYTES)
        # The server closes it when what came before was no message.
        with contextlib.suppress(OSError):
            links[0].send(large if number % 10 == 9 else fuzz.bytes(BINARY + BATCHES) or b"?")

    try:
        fire(server, shoot, sock)
    finally:
        sock.close(0)
        while links:
            links.pop().close()
    server.check()
