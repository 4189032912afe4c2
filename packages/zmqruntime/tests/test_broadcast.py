"""One-to-many messages: never dropped silently, and every loss counted by who misses something."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zmq

from zmqruntime import broadcast
from zmqruntime._numbering import MAX_TOPICS, Numbering, decode_numbered
from zmqruntime.broadcast import Broadcast, Publisher, Subscriber
from zmqruntime.client import ControlClient
from zmqruntime.config import Endpoint
from zmqruntime.discovery import free_endpoint
from zmqruntime.errors import (
    AddressInUseError,
    HandshakeTimeout,
    MessageTooLargeError,
    PeerBusyError,
    ProtocolError,
    StreamClosedError,
)
from zmqruntime.process import ServerProcess
from zmqruntime.security import KeyPair, ServerKeys
from zmqruntime.sockets import make_socket
from zmqruntime.testing import echo_process, start_port, wait_until

BIG = b"x" * 100_000
"""Fills the operating system's buffers after few messages, so that the queues fill soon."""


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZMQRUNTIME_DIR", str(tmp_path / "r"))


@pytest.fixture(params=["ipc", "tcp"])
def endpoint(request: pytest.FixtureRequest) -> Endpoint:
    return free_endpoint(start_port(), request.param)


@pytest.fixture
def publisher(endpoint: Endpoint) -> Iterator[Publisher]:
    with Publisher(endpoint) as made:
        yield made


@contextlib.contextmanager
def subscribed(publisher: Publisher, *topics: str, **options: Any) -> Iterator[Subscriber]:
    wanted = topics or ("",)
    before = {topic: publisher.subscribers(topic) for topic in wanted}
    with Subscriber(publisher.endpoint, wanted, **options) as subscriber:
        wait_until(lambda: all(publisher.subscribers(topic) > before[topic] for topic in wanted))
        yield subscriber


def fill(publisher: Publisher) -> int:
    """Publish until every queue on the way stays full; return how many messages were taken."""
    for count in range(100_000):
        try:
            publisher.publish("", BIG, timeout=0.3)
        except PeerBusyError:
            return count
    raise AssertionError("the queue never fills")


# --------------------------------------------------------------------------- delivery


def test_everything_after_the_subscription_arrives_in_order(publisher: Publisher) -> None:
    with subscribed(publisher) as subscriber:
        for i in range(1000):
            publisher.publish("progress", i, timeout=5)
        got = [subscriber.recv(5) for _ in range(1000)]
        assert got == [Broadcast("progress", i + 1, i) for i in range(1000)]
        assert (publisher.sent, publisher.refused) == (1000, 0)
        assert (subscriber.received, subscriber.missed, subscriber.restarts) == (1000, 0, 0)
        assert subscriber.recv(0) is None


def test_topics_are_numbered_apart_and_filtered_by_their_beginning(publisher: Publisher) -> None:
    with subscribed(publisher, "plate.", "log") as subscriber:
        for topic in ("plate.1", "other", "plate.2", "plate.1", "logs"):
            publisher.publish(topic, None)
        got = [subscriber.recv(5) for _ in range(4)]
        assert [(one.topic, one.seq) for one in got if one] == [
            ("plate.1", 1),
            ("plate.2", 1),
            ("plate.1", 2),
            ("logs", 1),
        ]
        assert subscriber.missed == 0


def test_iteration_ends_with_close(publisher: Publisher) -> None:
    with subscribed(publisher) as subscriber:
        for i in range(3):
            publisher.publish("t", i)
        got = []
        for topic, seq, payload in subscriber:
            got.append((topic, seq, payload))
            if payload == 2:
                subscriber.close()
        assert got == [("t", 1, 0), ("t", 2, 1), ("t", 3, 2)]
        with pytest.raises(StreamClosedError):
            subscriber.recv(0)


@dataclasses.dataclass
class Step:
    name: str
    done: float


@pytest.mark.parametrize(
    ("payload", "arrives"),
    [
        (None, None),
        ({"a": [1, 2.5, "ü"], "b": b"\x00"}, {"a": [1, 2.5, "ü"], "b": b"\x00"}),
        (Step("blur", 0.5), {"name": "blur", "done": 0.5}),
        (-(2**63), -(2**63)),
        (float("inf"), float("inf")),
    ],
)
def test_payloads(publisher: Publisher, payload: object, arrives: object) -> None:
    with subscribed(publisher) as subscriber:
        publisher.publish("t", payload)
        message = subscriber.recv(5)
        assert message is not None
        assert message.payload == arrives


def test_without_subscribers_it_goes_nowhere_and_a_late_one_misses_nothing(publisher: Publisher) -> None:
    for _ in range(5):
        publisher.publish("t", "early")
    with subscribed(publisher) as subscriber:
        publisher.publish("t", "now")
        assert subscriber.recv(5) == Broadcast("t", 6, "now")
        assert subscriber.missed == 0


def test_several_threads_publish(publisher: Publisher) -> None:
    with subscribed(publisher) as subscriber:

        def publish() -> None:
            for i in range(200):
                publisher.publish("t", i, timeout=5)

        threads = [threading.Thread(target=publish) for _ in range(4)]
        for thread in threads:
            thread.start()
        got = [subscriber.recv(5) for _ in range(800)]
        for thread in threads:
            thread.join()
        assert [one.seq for one in got if one] == list(range(1, 801))
        assert subscriber.missed == 0


# --------------------------------------------------------------------------- waiting


def test_waiting_for_nobody_fails_in_time(publisher: Publisher) -> None:
    with pytest.raises(HandshakeTimeout, match="nobody subscribed"):
        publisher.wait_for_subscriber(0.1)
    with subscribed(publisher, "a"), pytest.raises(HandshakeTimeout, match="'b'"):
        publisher.wait_for_subscriber(0.1, "b")


def test_subscribers_are_counted_as_they_come_and_go(publisher: Publisher) -> None:
    with subscribed(publisher, "a") as first, subscribed(publisher, "ab") as second:
        assert publisher.subscribers("abc") == 2
        assert publisher.subscribers("ax") == 1
        assert publisher.subscribers("x") == 0
        first.close()
        wait_until(lambda: publisher.subscribers("abc") == 1)
        second.close()
        wait_until(lambda: publisher.subscribers("abc") == 0)


def test_a_subscriber_may_be_there_first(endpoint: Endpoint) -> None:
    with Subscriber(endpoint) as subscriber, Publisher(endpoint) as publisher:
        publisher.wait_for_subscriber(5)
        publisher.publish("t", 1)
        assert subscriber.recv(5) == Broadcast("t", 1, 1)


# --------------------------------------------------------------------------- full queues


def test_a_full_queue_is_an_error_and_nothing_taken_is_lost(endpoint: Endpoint) -> None:
    with Publisher(endpoint, queue=10) as publisher, subscribed(publisher, queue=10) as subscriber:
        taken = fill(publisher)
        assert taken >= 10
        assert (publisher.sent, publisher.refused) == (taken, 1)
        with pytest.raises(PeerBusyError, match="too slow"):
            publisher.publish("", BIG, timeout=0.1)
        assert publisher.refused == 2
        for i in range(taken):
            message = subscriber.recv(5)
            assert message is not None
            assert message.seq == i + 1
        publisher.publish("", "again", timeout=5)
        assert subscriber.recv(5) == Broadcast("", taken + 1, "again")
        assert subscriber.missed == 0


def test_a_timeout_waits_for_room(endpoint: Endpoint) -> None:
    with Publisher(endpoint, queue=10) as publisher, subscribed(publisher, queue=10) as subscriber:
        taken = fill(publisher)
        waiting = threading.Thread(target=publisher.publish, args=("", "last"), kwargs={"timeout": 20})
        waiting.start()
        got = [subscriber.recv(10) for _ in range(taken + 1)]
        waiting.join()
        assert got[-1] == Broadcast("", taken + 1, "last")
        assert subscriber.missed == 0


def test_refused_is_refused_for_all(endpoint: Endpoint) -> None:
    """What one subscriber has no room for the others do not get either: they agree on what was published."""
    with (
        Publisher(endpoint, queue=10) as publisher,
        subscribed(publisher, queue=10) as slow,
        subscribed(publisher, queue=10) as quick,
    ):
        taken = fill(publisher)
        for subscriber in (quick, slow):
            assert [subscriber.recv(5).seq for _ in range(taken)] == list(range(1, taken + 1))  # type: ignore[union-attr]
            assert subscriber.recv(0.1) is None


def test_a_stopped_subscriber_is_cut_off_and_counts_what_it_missed(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    """SIGSTOP: it neither reads nor goes away. The others go on after the heartbeat's timeout."""
    log = tmp_path / "log"
    code = f"""
import sys
from zmqruntime.broadcast import Subscriber
from zmqruntime.config import Endpoint
with Subscriber(Endpoint("localhost", {endpoint.data_port}, transport={endpoint.transport!r}), queue=10) as subscriber:
    for topic, seq, payload in subscriber:
        if payload == "report":
            print(seq, subscriber.received, subscriber.missed, subscriber.restarts, flush=True)
"""
    import sys

    with Publisher(endpoint, queue=10) as publisher:
        other = ServerProcess.spawn([sys.executable, "-c", code], detached=False, log=log)
        try:
            publisher.wait_for_subscriber(20)
            publisher.publish("t", "report")
            wait_until(lambda: log.read_text() == "1 1 0 0\n", 20)
            os.kill(other.pid, signal.SIGSTOP)

            def cut_off() -> bool:
                with contextlib.suppress(PeerBusyError):
                    publisher.publish("t", BIG, timeout=0.2)
                return publisher.subscribers() == 0

            wait_until(cut_off, 3 * broadcast.HEARTBEAT_TIMEOUT_MS / 1000)
            assert publisher.refused > 0
            os.kill(other.pid, signal.SIGCONT)
            publisher.wait_for_subscriber(20)
            publisher.publish("t", "report")
            wait_until(lambda: log.read_text().count("\n") == 2, 20)
            seq, received, missed, restarts = map(int, log.read_text().splitlines()[1].split())
            assert seq == publisher.sent
            assert missed > 0
            assert received + missed == seq
            assert restarts == 0
        finally:
            os.kill(other.pid, signal.SIGCONT)
            other.stop()


# --------------------------------------------------------------------------- gaps


def test_gaps_repeats_and_restarts_are_counted(endpoint: Endpoint) -> None:
    """A publisher that skips numbers, by hand."""
    sock = make_socket(zmq.XPUB, linger_ms=1000)
    sock.bind(endpoint.data_url)

    def send(publisher: int, seq: int, topic: str = "t") -> None:
        sock.send_multipart([topic.encode(), msgspec.msgpack.encode([publisher, seq, None])])

    with Subscriber(endpoint) as subscriber:
        assert sock.recv() == b"\x01"

        def counters() -> tuple[int, int, int]:
            assert subscriber.recv(5) is not None
            return subscriber.received, subscriber.missed, subscriber.restarts

        send(7, 5)
        assert counters() == (1, 0, 0), "the first one seen may be any"
        send(7, 6)
        assert counters() == (2, 0, 0)
        send(7, 10)
        assert counters() == (3, 3, 0)
        send(7, 1, "other")
        assert counters() == (4, 3, 0)
        send(8, 3)
        assert counters() == (5, 5, 1), "a new publisher's first two"
        send(8, 1, "third")
        assert counters() == (6, 5, 1)
    sock.close()


def test_garbage_is_counted_and_skipped(endpoint: Endpoint, caplog: pytest.LogCaptureFixture) -> None:
    good = msgspec.msgpack.encode([1, 1, "good"])
    garbage = [
        [b"t"],
        [b"t", b""],
        [b"t", b"\xc1"],
        [b"t", good, b"more"],
        [b"\xff", good],
        [b"t", msgspec.msgpack.encode([1, 0, None])],
        [b"t", msgspec.msgpack.encode([1, -5, None])],
        [b"t", msgspec.msgpack.encode(["1", 1, None])],
        [b"t", b"\x91" * 5000],
        [b"t", os.urandom(100)],
    ]
    sock = make_socket(zmq.XPUB, linger_ms=1000)
    sock.bind(endpoint.data_url)
    with Subscriber(endpoint) as subscriber:
        assert sock.recv() == b"\x01"
        for frames in [*garbage, [b"t", good]]:
            sock.send_multipart(frames)
        assert subscriber.recv(5) == Broadcast("t", 1, "good")
        assert (subscriber.rejected, subscriber.received, subscriber.missed) == (len(garbage), 1, 0)
    assert caplog.text.count("no broadcast") == 1, "one line, not one per message"
    sock.close()


def test_a_subscriber_follows_a_restarted_publisher(endpoint: Endpoint) -> None:
    with Subscriber(endpoint) as subscriber:
        for i in range(3):
            with Publisher(endpoint) as publisher:
                # It subscribes anew when its thread next looks at the socket.
                assert wait_until(lambda: subscriber.recv(0) or publisher.subscribers(), 10) == 1
                publisher.publish("t", i)
                assert subscriber.recv(5) == Broadcast("t", 1, i)
        assert (subscriber.restarts, subscriber.missed) == (2, 0)


# --------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize("payload", [object(), {1: {2}, "x": object()}, 2**64, 1j])
def test_payloads_that_cannot_travel(publisher: Publisher, payload: object) -> None:
    with subscribed(publisher) as subscriber:
        with pytest.raises(ProtocolError, match="'t' cannot be broadcast"):
            publisher.publish("t", payload)
        publisher.publish("t", "fine")
        assert subscriber.recv(5) == Broadcast("t", 1, "fine"), "no number was used up"


def test_too_large(endpoint: Endpoint) -> None:
    with Publisher(endpoint, max_bytes=1000) as publisher:
        publisher.publish("t", b"x" * 900)
        with pytest.raises(MessageTooLargeError, match="limit of 1000"):
            publisher.publish("t", b"x" * 1000)
        assert publisher.sent == 1


def test_too_many_topics() -> None:
    numbering = Numbering()
    for i in range(MAX_TOPICS):
        numbering.sent(str(i))
    numbering.frames("0", None)
    with pytest.raises(ProtocolError, match="use fewer"):
        numbering.frames("one more", None)


def test_closed(endpoint: Endpoint) -> None:
    publisher = Publisher(endpoint)
    publisher.close()
    publisher.close()
    for use in (
        publisher.subscribers,
        lambda: publisher.publish("t", 1),
        lambda: publisher.wait_for_subscriber(1),
    ):
        with pytest.raises(StreamClosedError):
            use()


def test_a_second_publisher_is_refused(publisher: Publisher) -> None:
    with pytest.raises(AddressInUseError):
        Publisher(publisher.endpoint)


def test_a_fork_may_not_publish(publisher: Publisher) -> None:
    """Run in a process of its own: forking pytest, with its threads, is asking for trouble."""
    import subprocess
    import sys

    code = f"""
import os
from zmqruntime import Publisher, Endpoint
from zmqruntime.errors import StreamClosedError
publisher = Publisher(Endpoint("localhost", {publisher.endpoint.data_port + 1}))
if os.fork():
    raise SystemExit(os.waitstatus_to_exitcode(os.wait()[1]))
try:
    publisher.publish("t", 1)
except StreamClosedError as error:
    assert "fork" in str(error)
    publisher.close()
    os._exit(7)
os._exit(1)
"""
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], timeout=30).returncode == 7


# --------------------------------------------------------------------------- keys, servers


def test_keys(endpoint: Endpoint) -> None:
    server, client = KeyPair.generate(), KeyPair.generate()
    with Publisher(endpoint, keys=ServerKeys(server, [client.public])) as publisher:
        for options in ({}, {"server_key": client.public}, {"server_key": server.public}):
            with Subscriber(endpoint, **options) as subscriber:
                with pytest.raises(HandshakeTimeout):
                    publisher.wait_for_subscriber(0.3)
                publisher.publish("t", "secret")
                assert subscriber.recv(0) is None
        with Subscriber(endpoint, server_key=server.public, keys=client) as subscriber:
            publisher.wait_for_subscriber(5)
            publisher.publish("t", "for you")
            assert subscriber.recv(5) == Broadcast("t", 4, "for you")


def test_a_broadcast_server_speaks_the_same(endpoint: Endpoint) -> None:
    with (
        echo_process(endpoint, "--data", "broadcast"),
        ControlClient(endpoint, timeout=5) as client,
        Subscriber(endpoint, ["t"]) as subscriber,
    ):

        def published() -> Broadcast | None:
            client.command("publish", topic="t", payload={"a": 1})
            return subscriber.recv(0.05)

        first = wait_until(published)
        assert first.payload == {"a": 1}
        for _ in range(10):
            client.command("publish", topic="t", payload=None)
        while (last := subscriber.recv(1)) is not None:
            if last.seq == first.seq + 10:
                break
        assert subscriber.missed == 0


def test_the_bytes() -> None:
    """What a client in another language has to expect."""
    topic, body = Numbering().frames("a.b", {"x": 1})
    message = decode_numbered(body)
    assert topic == b"a.b"
    assert body == msgspec.msgpack.encode([message.publisher, 1, {"x": 1}])
