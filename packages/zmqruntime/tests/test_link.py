"""The short cut on one machine: same messages, same order, and nothing lost when it cannot be taken."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from zmqruntime.config import Endpoint
from zmqruntime.link import MAX_LINK_BYTES, Link, LinkListener, link_path
from zmqruntime.messages import CREDIT, DISPLAYED
from zmqruntime.server import ZMQServer
from zmqruntime.stream import Encoded, Encoder
from zmqruntime.stream_receiver import Peer
from zmqruntime.stream_sender import StreamSender

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the short cut exists on Linux only")


class Texts(Encoder[bytes]):
    """Items are bytes; those that begin with ``F`` travel as a frame, the others in the header."""

    def encode(self, items: Any) -> Encoded:
        item = items[0]
        if item.startswith(b"F"):
            return Encoded(1, b"\xc0", [item], [None], len(item))
        return Encoded(1, msgspec.msgpack.encode(item), [], [None])

    def release(self, token: Any) -> None:
        assert token is None


class Collector(ZMQServer):
    """Keeps what arrives, in order of arrival."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint)
        self.got: list[bytes] = []
        self.linked: list[bool] = []

    def items(self, peer: Peer, seq: int, count: int, body: bytes, frames: list[Any]) -> None:
        self.got.append(frames[0].bytes if frames else msgspec.msgpack.decode(body, type=bytes))
        self.linked.append(peer.link is not None)
        peer.give(seq, DISPLAYED | CREDIT)


@pytest.fixture
def endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Endpoint:
    monkeypatch.setenv("ZMQRUNTIME_DIR", str(tmp_path))
    return Endpoint(data_port=5555)


def test_small_large_and_framed_items_arrive_in_the_order_they_were_sent(endpoint: Endpoint) -> None:
    # Three ways through: the link, the ZeroMQ socket because of the size, the ZeroMQ socket because of a frame.
    items = []
    for i in range(200):
        items += [b"small %d" % i, b"large %d " % i + bytes(MAX_LINK_BYTES), b"Frame %d" % i]
    with (
        Collector(endpoint) as server,
        StreamSender(endpoint, Texts(), policy="block", deadline=10) as sender,
    ):
        sender.send(items)
        assert sender.flush(10)
        assert server.got == items
        assert all(server.linked)
        assert sender.stats.displayed == sender.stats.sent == len(items)


def test_items_sent_just_before_closing_are_all_taken(endpoint: Endpoint) -> None:
    items = [b"item %d" % i if i % 3 else b"Frame %d" % i for i in range(100)]
    with Collector(endpoint) as server:
        with StreamSender(endpoint, Texts(), policy="block", deadline=10) as sender:
            sender.send(items)
        with StreamSender(endpoint, Texts(), policy="block", deadline=10) as last:
            last.send([b"the end"])
            assert last.flush(10)
        assert [item for item in server.got if item != b"the end"] == items


def test_a_receiver_that_closes_is_noticed_at_once_and_its_successor_found(
    endpoint: Endpoint, until: Callable[..., None]
) -> None:
    sender = StreamSender(endpoint, Texts(), policy="block", deadline=10)
    with sender:
        for attachment in (1, 2, 3):
            with Collector(endpoint) as server:
                assert sender.send([b"hello %d" % attachment]).accepted == 1
                assert sender.flush(10)
                assert server.got == [b"hello %d" % attachment]
                assert sender.attachments == attachment
            # By the connection itself: a silence would make it "silent" first. What is sent before it is noticed
            # counts as lost in flight, and rightly so.
            until(lambda: sender.state == "connecting")
        stats = sender.stats
        assert (stats.sent, stats.displayed) == (3, 3)


def test_a_stranger_without_a_session_is_shown_the_door(endpoint: Endpoint) -> None:
    with (
        Collector(endpoint) as server,
        StreamSender(endpoint, Texts(), policy="block", deadline=10) as sender,
    ):
        stranger = Link.connect(link_path(endpoint), "no session of this server")
        assert stranger is not None
        sender.send([b"after the stranger"])
        assert sender.flush(10)
        assert stranger.receive() == b""
        stranger.close()
        assert server.got == [b"after the stranger"]


def test_a_message_that_does_not_fit_or_has_no_taker_is_given_back(tmp_path: Path) -> None:
    path = str(tmp_path / "x.link")
    assert Link.connect(path, "s") is None
    listener = LinkListener(path)
    link = Link.connect(path, "s")
    assert link is not None
    assert not link.send(bytes(MAX_LINK_BYTES + 1))
    sent = 0
    while link.send(bytes(1024)):
        sent += 1
    assert sent > 16  # then the socket buffer is full
    other = listener.accept()
    assert other is not None
    assert other.same_user()
    assert other.receive() == b"s"
    other.close()
    listener.close()
    assert not link.send(b"x")
    assert not Path(path).exists()
    link.close()


def test_no_short_cut_under_tcp() -> None:
    assert link_path(Endpoint(transport="tcp")) == ""
