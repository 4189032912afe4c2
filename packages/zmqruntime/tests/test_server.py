"""The server: both channels, answers whatever the application does, and an end in good order."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import Future
from typing import Any

import msgspec
import pytest
import zmq

from zmqruntime.client import ControlClient
from zmqruntime.config import Endpoint
from zmqruntime.errors import (
    AddressInUseError,
    InsecureBindError,
    PeerBusyError,
    RemoteError,
    RequestTimeout,
    ZMQRuntimeError,
)
from zmqruntime.messages import Error, Pong, decode_reply
from zmqruntime.server import ZMQServer
from zmqruntime.sockets import connect, make_socket
from zmqruntime.stream_receiver import Peer
from zmqruntime.testing import ServerTests


class Plain(ZMQServer):
    """A server that takes nothing."""

    def items(self, peer: Peer, seq: int, count: int, body: bytes, frames: list[Any]) -> None:
        raise AssertionError("nobody sends here")


class TestPlain(ServerTests):
    """The contract every server keeps."""

    def make_server(self, endpoint: Endpoint) -> ZMQServer:
        return Plain(endpoint, kind="plain", title="a test")


@pytest.fixture
def client(rig: Any) -> Any:
    with ControlClient(rig.endpoint, timeout=5) as made:
        yield made


def test_it_answers_while_the_application_is_blocked(rig: Any, client: ControlClient) -> None:
    server = rig.server()
    server.touch()
    blocked = threading.Event()
    application = threading.Thread(target=blocked.wait, args=(10,))
    application.start()
    first = client.ping().app_idle_ms
    threading.Event().wait(0.2)
    second = client.ping().app_idle_ms
    assert second >= first + 150
    server.touch()
    assert client.ping().app_idle_ms < second
    blocked.set()
    application.join()


def test_before_the_application_runs_its_idle_time_is_negative(rig: Any, client: ControlClient) -> None:
    rig.server()
    assert client.ping().app_idle_ms == -1.0


def test_it_answers_while_items_pour_in(rig: Any, client: ControlClient) -> None:
    rig.server()
    sender = rig.sender(policy="block", deadline=20)
    done = threading.Event()

    def pour() -> None:
        while not done.is_set():
            sender.send([b"x"] * 64)

    thread = threading.Thread(target=pour)
    thread.start()
    slowest = 0.0
    for _ in range(50):
        begin = time.monotonic()
        client.ping()
        slowest = max(slowest, time.monotonic() - begin)
    done.set()
    thread.join()
    assert slowest < 1
    assert sender.flush(10)


def test_commands_may_take_their_time_elsewhere(rig: Any, client: ControlClient) -> None:
    server = rig.server()
    futures: dict[str, Future[Any]] = {}
    server.command = lambda name, params: futures.setdefault(name, Future())
    results: list[Any] = []

    def ask(name: str) -> None:
        with ControlClient(rig.endpoint, timeout=10) as mine:
            try:
                results.append(mine.command(name))
            except RemoteError as error:
                results.append((error.code, str(error)))

    threads = [threading.Thread(target=ask, args=(name,)) for name in ("good", "bad", "cancelled", "odd")]
    for thread in threads:
        thread.start()
    while len(futures) < 4:
        client.ping()  # answered meanwhile
    futures["good"].set_result({"a": 1})
    futures["bad"].set_exception(ValueError("no such thing"))
    futures["cancelled"].cancel()
    futures["odd"].set_result(object())
    for thread in threads:
        thread.join(10)
    assert {"a": 1} in results
    assert ("ValueError", "no such thing") in results
    assert any(isinstance(result, tuple) and result[0] == "cancelled" for result in results)
    assert any(
        isinstance(result, tuple) and result[0] == "reply" and "cannot be written as JSON" in result[1]
        for result in results
    )


def test_results_that_are_no_json_are_told_so_and_the_thread_lives(rig: Any, client: ControlClient) -> None:
    server = rig.server()
    endless: list[Any] = []
    endless.append(endless)
    for value in (object(), {1: object()}, endless, "\udcff"):
        server.command = lambda name, params, value=value: value
        with pytest.raises(RemoteError, match="cannot be written as JSON") as caught:
            client.command("x")
        assert caught.value.code == "reply"
    server.status = lambda: {"odd": object()}
    with pytest.raises(RemoteError, match="cannot be written as JSON"):
        client.status()
    client.ping()


def test_a_hook_that_raises_is_an_answer(rig: Any, client: ControlClient) -> None:
    server = rig.server()

    def fail(*_: Any) -> Any:
        raise ZeroDivisionError("a bug")

    server.command = server.status = server.capabilities = server.versions = fail
    for ask in (client.ping, client.status, lambda: client.command("x")):
        with pytest.raises(RemoteError, match="a bug"):
            ask()
    del server.command, server.status, server.capabilities, server.versions
    client.ping()


def test_one_client_that_does_not_read_holds_up_nobody(rig: Any, client: ControlClient) -> None:
    rig.server()
    with make_socket(zmq.DEALER, rcvhwm=1) as deaf:
        connect(deaf, rig.endpoint.control_url)
        for _ in range(2000):
            deaf.send_multipart([b"", b'{"type":"ping"}'])
        begin = time.monotonic()
        for _ in range(20):
            client.ping()
        assert time.monotonic() - begin < 5


def test_a_dealer_may_put_an_envelope_of_its_own_before_the_request(rig: Any) -> None:
    rig.server()
    with make_socket(zmq.DEALER) as dealer:
        connect(dealer, rig.endpoint.control_url)
        dealer.send_multipart([b"my", b"envelope", b"", b'{"type":"ping"}'])
        assert dealer.poll(5000)
        *envelope, text = dealer.recv_multipart()
        assert envelope == [b"my", b"envelope", b""]
        assert isinstance(decode_reply(text), Pong)
        dealer.send_multipart([b"", b"one", b"two"])
        assert dealer.poll(5000)
        reply = decode_reply(dealer.recv_multipart()[-1])
        assert isinstance(reply, Error)
        assert reply.code == "protocol"


def test_the_status_counts_garbage_of_both_channels(rig: Any, client: ControlClient, until: Any) -> None:
    rig.server()
    for url in (rig.endpoint.control_url, rig.endpoint.data_url):
        with make_socket(zmq.DEALER, linger_ms=1000) as sock:
            connect(sock, url)
            sock.send_multipart([b"", b"garbage"])
    until(lambda: client.status()["rejected_messages"] == 2)


def test_the_status_tells_of_each_sender(rig: Any, client: ControlClient) -> None:
    rig.server()
    sender = rig.sender(name="worker 3")
    sender.send([b"a", b"b"])
    assert sender.flush(5)
    status = client.status()
    assert status["pid"] == os.getpid()
    assert (status["received"], status["displayed"]) == (2, 2)
    (told,) = status["senders"]
    assert (told["name"], told["pid"], told["received"], told["displayed"]) == ("worker 3", os.getpid(), 2, 2)


# --------------------------------------------------------------------------- beginning and end


def test_a_start_that_fails_leaves_nothing_bound(rig: Any, endpoint: Endpoint) -> None:
    rig.server()
    half = Plain(Endpoint(data_port=5555, control_port=7555))
    with pytest.raises(AddressInUseError, match="5555.sock"):
        half.start()
    half.stop()
    other = Plain(Endpoint(data_port=6000, control_port=7555))
    other.start()  # the control address of the failed one is free
    other.stop()


def test_beyond_this_machine_it_needs_a_key(endpoint: Endpoint) -> None:
    with pytest.raises(InsecureBindError):
        Plain(Endpoint("*", 5999, transport="tcp")).start()


def test_stopping_twice_or_before_the_start_is_fine(endpoint: Endpoint) -> None:
    server = Plain(endpoint)
    server.stop()
    server = Plain(endpoint)
    server.start()
    server.stop()
    server.stop()
    server.wake()
    assert server.wait(0)


def test_a_restart_on_the_same_endpoint_works_at_once(endpoint: Endpoint) -> None:
    for _ in range(10):
        with Plain(endpoint), ControlClient(endpoint, timeout=5) as client:
            client.ping()


def test_a_shutdown_from_within_a_hook_is_answered(rig: Any, client: ControlClient, until: Any) -> None:
    server = rig.server()

    def command(name: str, params: dict[str, Any]) -> str:
        server.stop()  # from the I/O thread itself: must not wait for itself
        return "going"

    server.command = command
    assert client.command("end") == "going"
    until(lambda: not server._thread.is_alive())


def test_after_the_end_requests_time_out(rig: Any) -> None:
    server = rig.server()
    server.stop()
    with ControlClient(rig.endpoint, timeout=0.2) as client, pytest.raises(RequestTimeout):
        client.ping()


def test_the_server_holds_no_descriptor_after_its_end(endpoint: Endpoint, until: Any) -> None:
    def once() -> None:
        with Plain(endpoint), ControlClient(endpoint, timeout=5) as client:
            client.ping()

    once()
    threading.Event().wait(0.1)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        once()
    until(lambda: len(os.listdir("/proc/self/fd")) <= before)


# --------------------------------------------------------------------------- broadcast servers


def test_an_unknown_data_channel_is_a_typed_error(endpoint: Endpoint) -> None:
    with pytest.raises(ZMQRuntimeError, match=r"'radio' is not known \(known: ingest, broadcast\)"):
        Plain(endpoint, data="radio")


def test_a_broadcast_server_publishes_and_answers(endpoint: Endpoint, until: Any) -> None:
    joined = threading.Event()

    class Radio(Plain):
        def subscribed(self, frame: bytes) -> None:
            if frame == b"\x01news":
                joined.set()

    with (
        Radio(endpoint, data="broadcast") as server,
        ControlClient(endpoint) as client,
        make_socket(zmq.SUB) as ear,
    ):
        assert client.ping().capabilities["data"] == "broadcast"
        connect(ear, endpoint.data_url)
        ear.subscribe(b"news")
        assert joined.wait(5)
        for i in range(5):
            server.publish("news", {"i": i})
            server.publish("weather", i)
        for i in range(5):
            assert ear.poll(5000)
            topic, body = ear.recv_multipart()
            _, seq, payload = msgspec.msgpack.decode(body)
            assert (topic, seq, payload) == (b"news", i + 1, {"i": i})
        client.ping()


def test_too_many_broadcasts_that_wait_are_a_typed_error(endpoint: Endpoint) -> None:
    server = Plain(endpoint, data="broadcast")  # not started: nothing leaves
    for i in range(10_000):
        server.publish("x", i)
    with pytest.raises(PeerBusyError, match="10,000 broadcasts wait"):
        server.publish("x", 10_000)
