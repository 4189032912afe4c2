"""What the streaming tests share: a viewer's end that keeps what arrives, and senders to it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polystore.payload import shm
from polystore.streaming.receiver import ImageReceiver, ReceivedImage
from polystore.streaming.sender import ImageSender
from zmqruntime.config import Endpoint
from zmqruntime.server import ZMQServer
from zmqruntime.stream_receiver import Peer
from zmqruntime.testing import wait_until


class Shelf(ZMQServer):
    """Copies each image and says displayed; while not `opened` it keeps them in the sender's memory."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        opened: bool = True,
        max_bytes: int = 1 << 30,
        shared_memory: bool = True,
        **options: Any,
    ):
        super().__init__(endpoint, **options)
        self.receiver = ImageReceiver(self.sink, max_bytes=max_bytes, shared_memory=shared_memory)
        self.opened = opened
        self.got: list[ReceivedImage] = []
        self.copies: list[np.ndarray[Any, Any] | None] = []
        self.places: list[str] = []
        self.held: list[ReceivedImage] = []
        self.torn = 0
        self.guard = threading.Lock()

    def attach(self, peer: Peer, body: bytes) -> bytes:
        return self.receiver.attach(peer, body)

    def note(self, peer: Peer, body: bytes) -> bytes:
        return self.receiver.note(peer, body)

    def items(self, peer: Peer, seq: int, count: int, body: bytes, frames: list[Any]) -> None:
        self.receiver.items(peer, seq, count, body, frames)

    def detach(self, peer: Peer) -> None:
        self.receiver.detach(peer)

    def sink(self, images: list[ReceivedImage]) -> None:
        with self.guard:
            for image in images:
                self.got.append(image)
                self.places.append("none" if image.array is None else "arena" if not image.owned else "own")
                if self.opened:
                    self.take(image)
                else:
                    self.held.append(image)

    def take(self, image: ReceivedImage) -> None:
        self.copies.append(None if image.array is None else image.array.copy())
        if image.intact():
            image.finish("displayed")
        else:
            self.torn += 1
            image.finish("dropped", "torn")

    def open(self) -> None:
        """Take what is held, and what comes from now on."""
        with self.guard:
            self.opened = True
            now, self.held = self.held, []
            for image in now:
                self.take(image)

    def take_one(self) -> None:
        """Take the oldest that is held."""
        with self.guard:
            self.take(self.held.pop(0))


class Rig:
    """Makes shelves and senders on one endpoint and ends them all."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.stack = ExitStack()

    def shelf(self, **options: Any) -> Shelf:
        """A started shelf."""
        shelf = Shelf(self.endpoint, **options)
        shelf.start()
        self.stack.callback(shelf.stop)
        return shelf

    def sender(self, *, attach: bool = True, **options: Any) -> ImageSender:
        """A sender, attached unless told otherwise."""
        sender = ImageSender(self.endpoint, **{"policy": "block", "deadline": 20.0, **options})
        self.stack.callback(sender.close)
        if attach:
            assert sender.wait_attached(10)
        return sender


@pytest.fixture
def endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Endpoint:
    """An ipc endpoint in a folder of this test's own."""
    monkeypatch.setenv("ZMQRUNTIME_DIR", str(tmp_path / "run"))
    return Endpoint(data_port=5555)


@pytest.fixture
def rig(endpoint: Endpoint) -> Iterator[Rig]:
    """See `Rig`. In the end no name of this process is left in shared memory."""
    made = Rig(endpoint)
    with made.stack:
        yield made
    mine = shm.new_name().rpartition("-")[0]
    assert [name for name, _, _ in shm.names() if name.startswith(mine)] == []


@pytest.fixture
def until() -> Callable[..., None]:
    """See `zmqruntime.testing.wait_until`."""

    def wait(condition: Callable[[], Any], timeout: float = 10.0, what: str = "") -> None:
        wait_until(condition, timeout, what)

    return wait
