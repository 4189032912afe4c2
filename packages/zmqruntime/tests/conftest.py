"""What the tests of this package share: a runtime folder per test, a waiting helper, and a small stream."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest

from zmqruntime.config import Endpoint
from zmqruntime.messages import CREDIT, DISPLAYED
from zmqruntime.server import ZMQServer
from zmqruntime.stream import Encoded, Encoder
from zmqruntime.stream_receiver import Peer
from zmqruntime.stream_sender import StreamSender
from zmqruntime.testing import wait_until

Until = Callable[..., None]


def waits(condition: Callable[[], Any], timeout: float = 10.0, what: str = "") -> None:
    """Return when `condition` holds; fail after `timeout` seconds."""
    wait_until(condition, timeout, what)


class Texts(Encoder[bytes]):
    """Items are bytes, several to a message; what begins with ``F`` travels as a frame, ``K:`` names a key.

    `room` is how many items may be out at once: what an arena is to images.
    """

    def __init__(self, batch: int = 64, room: int = 1_000_000) -> None:
        self.batch = batch
        self.room = room
        self.released: list[Any] = []
        self.out = 0
        self.retained = 0

    def encode(self, items: Sequence[bytes]) -> Encoded | None:
        texts, frames, tokens = [], [], []
        for item in items[: self.batch]:
            if self.out >= self.room:
                break
            if item == b"bad":
                raise ValueError("bad cannot be encoded")
            self.out += 1
            tokens.append(item)
            if item.startswith(b"F"):
                frames.append(item)
                texts.append(None)
            else:
                texts.append(item)
        if not tokens:
            return None
        return Encoded(len(tokens), msgspec.msgpack.encode(texts), frames, tokens, sum(map(len, frames)))

    def release(self, token: Any) -> None:
        self.out -= 1
        self.released.append(token)

    def detached(self) -> None:
        self.out = 0

    def retain(self, item: bytes) -> bytes:
        self.retained += 1
        return bytes(item)

    def key(self, item: bytes) -> bytes:
        return item.partition(b":")[0]

    def size(self, item: bytes) -> int:
        return len(item)


class Holder(ZMQServer):
    """Takes items and gives each its outcome and credit when told to; at once while `open`."""

    def __init__(self, endpoint: Endpoint, *, opened: bool = True, **options: Any) -> None:
        super().__init__(endpoint, **options)
        self.opened = opened
        self.got: list[bytes] = []
        self.messages: list[int] = []
        self.held: list[tuple[Peer, int]] = []
        self.gone: list[Peer] = []
        self.guard = threading.Lock()

    def items(self, peer: Peer, seq: int, count: int, body: bytes, frames: list[Any]) -> None:
        texts = msgspec.msgpack.decode(body, type=list[bytes | None])
        assert len(texts) == count
        given = iter(frames)
        with self.guard:
            self.messages.append(count)
            for i, text in enumerate(texts):
                self.got.append(next(given).bytes if text is None else text)
                if self.opened:
                    peer.give(seq + i, DISPLAYED | CREDIT)
                else:
                    self.held.append((peer, seq + i))

    def detach(self, peer: Peer) -> None:
        self.gone.append(peer)

    def give(self, count: int | None = None, code: int = DISPLAYED | CREDIT, reason: str = "") -> None:
        """Give the first `count` (default all) of what is held its outcome."""
        with self.guard:
            now, self.held = (self.held, []) if count is None else (self.held[:count], self.held[count:])
        for peer, seq in now:
            peer.give(seq, code, reason)

    def open(self) -> None:
        """Give all that is held, and what comes from now on, its outcome."""
        self.opened = True
        self.give()

    def command(self, name: str, params: dict[str, Any]) -> Any:
        if name == "echo":
            return params
        return super().command(name, params)


@pytest.fixture
def endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Endpoint:
    """An ipc endpoint in a folder of this test's own."""
    monkeypatch.setenv("ZMQRUNTIME_DIR", str(tmp_path / "run"))
    return Endpoint(data_port=5555)


class Rig:
    """Makes servers and senders on one endpoint and ends them all."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.texts = Texts
        self.stack = ExitStack()

    def server(self, **options: Any) -> Holder:
        """A started server."""
        server = Holder(self.endpoint, **options)
        server.start()
        self.stack.callback(server.stop)
        return server

    def sender(
        self, encoder: Encoder[bytes] | None = None, *, attach: bool = True, **options: Any
    ) -> StreamSender[bytes]:
        """A sender, attached unless told otherwise."""
        sender = StreamSender(self.endpoint, encoder or Texts(), **options)
        self.stack.callback(sender.close)
        if attach:
            assert sender.wait_attached(10)
        return sender


@pytest.fixture
def rig(endpoint: Endpoint) -> Iterator[Rig]:
    """See `Rig`; every sender must be balanced in the end."""
    made = Rig(endpoint)
    with made.stack:
        yield made


@pytest.fixture
def until() -> Until:
    """See `waits`."""
    return waits
