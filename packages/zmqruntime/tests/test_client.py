"""The control client: deadlines, typed errors, and going on after each of them."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import zmq

from zmqruntime.client import ControlClient
from zmqruntime.config import Endpoint
from zmqruntime.errors import (
    HandshakeTimeout,
    PeerError,
    ProtocolError,
    RemoteError,
    RequestTimeout,
    VersionMismatchError,
)
from zmqruntime.handshake import check_protocol, ping, self_identity, wait_until_ready
from zmqruntime.messages import PROTOCOL_VERSION, Ok, Pong, Status, encode_control
from zmqruntime.sockets import make_socket


class Answering(threading.Thread):
    """A control socket that answers each request with the next of these bytes, or not at all for None."""

    def __init__(self, endpoint: Endpoint, answers: list[bytes | None]) -> None:
        super().__init__(daemon=True)
        self.sock = make_socket(zmq.ROUTER)
        self.sock.bind(endpoint.control_url)
        self.answers = answers
        self.start()

    def run(self) -> None:
        for answer in self.answers:
            *envelope, _ = self.sock.recv_multipart()
            if answer is not None:
                self.sock.send_multipart([*envelope, answer])
        self.sock.close(1000)


def test_requests_are_answered(rig: Any) -> None:
    server = rig.server(kind="camera", title="left", log="/tmp/x.log")
    server.touch()
    with ControlClient(rig.endpoint) as client:
        pong = client.ping()
        assert (pong.kind, pong.title, pong.log, pong.ready) == ("camera", "left", "/tmp/x.log", False)
        assert (pong.pid, pong.start_time) == self_identity()
        assert pong.capabilities["data"] == "ingest"
        assert 0 <= pong.app_idle_ms < 5000
        assert client.status()["senders"] == []
        assert client.command("echo", a=1, b=["x", None]) == {"a": 1, "b": ["x", None]}
        client.shutdown()
    assert server.shutdown_requested


def test_the_url_alone_will_do(rig: Any) -> None:
    rig.server()
    with ControlClient(rig.endpoint.control_url) as client:
        assert client.ping().protocol == PROTOCOL_VERSION


def test_nobody_there_is_a_timeout_that_says_what_to_look_for(endpoint: Endpoint) -> None:
    with ControlClient(endpoint, timeout=0.2) as client:
        begin = time.monotonic()
        with pytest.raises(
            RequestTimeout, match=r"no answer from ipc://.*6555.sock within 0\.2 s: nobody listens"
        ) as caught:
            client.ping()
        assert 0.15 < time.monotonic() - begin < 2
        assert isinstance(caught.value, TimeoutError)
        with pytest.raises(RequestTimeout, match="within 0.1 s"):
            client.command("x", timeout=0.1)


def test_a_late_answer_is_not_taken_for_the_next_one(rig: Any) -> None:
    server = rig.server()
    free = threading.Event()
    original = server.command

    def slow(name: str, params: dict[str, Any]) -> Any:
        if name == "slow":
            free.wait(10)
        return original("echo", params)

    server.command = slow
    with ControlClient(rig.endpoint, timeout=0.2) as client:
        with pytest.raises(RequestTimeout):
            client.command("slow", number=1)
        free.set()
        assert client.command("echo", timeout=5, number=2) == {"number": 2}


def test_errors_of_the_server_keep_their_code_and_remedy(rig: Any) -> None:
    server = rig.server()

    def fail(name: str, params: dict[str, Any]) -> Any:
        if name == "refuse":
            raise RemoteError("no-film", "there is no film in it", "put one in")
        raise KeyError("a bug")

    server.command = fail
    with ControlClient(rig.endpoint) as client:
        with pytest.raises(RemoteError, match=r"there is no film in it \(put one in\)") as caught:
            client.command("refuse")
        assert (caught.value.code, caught.value.remedy) == ("no-film", "put one in")
        with pytest.raises(RemoteError, match="a bug") as caught:
            client.command("fail")
        assert caught.value.code == "KeyError"
        client.ping()


@pytest.mark.parametrize(
    "answer",
    [b"", b"hello", b"[]", b'{"type":"dance"}', b'{"type":"pong","pid":"x"}', b"\xff\xff"],
    ids=repr,
)
def test_an_answer_that_is_none_is_a_typed_error_and_the_client_goes_on(
    endpoint: Endpoint, answer: bytes
) -> None:
    thread = Answering(endpoint, [answer, encode_control(Pong(pid=7))])
    with ControlClient(endpoint, timeout=5) as client:
        with pytest.raises(ProtocolError):
            client.ping()
        assert client.ping().pid == 7
    thread.join(5)


@pytest.mark.parametrize(
    "ask, reply, expected",
    [
        (ControlClient.ping, Ok(), "asked for a pong, got Ok"),
        (ControlClient.status, Pong(), "asked for the status, got Pong"),
        (ControlClient.shutdown, Status({}), "asked for a shutdown, got Status"),
        (lambda client: client.command("x"), Ok(), "asked for 'x', got Ok"),
    ],
    ids=["ping", "status", "shutdown", "command"],
)
def test_an_answer_to_another_question_is_a_typed_error(
    endpoint: Endpoint, ask: Any, reply: Any, expected: str
) -> None:
    thread = Answering(endpoint, [encode_control(reply)])
    with ControlClient(endpoint, timeout=5) as client, pytest.raises(ProtocolError, match=expected):
        ask(client)
    thread.join(5)


def test_threads_may_share_a_client(rig: Any) -> None:
    rig.server()
    with ControlClient(rig.endpoint, timeout=10) as client, ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: client.command("echo", i=i)["i"], range(100)))
    assert found == list(range(100))


def test_a_closed_client_opens_again(rig: Any) -> None:
    rig.server()
    client = ControlClient(rig.endpoint)
    client.ping()
    client.close()
    client.close()
    client.ping()
    client.close()


# --------------------------------------------------------------------------- handshake


def test_ping_compares_versions(endpoint: Endpoint) -> None:
    thread = Answering(endpoint, [encode_control(Pong(protocol=9, min_protocol=8, pid=77))])
    with pytest.raises(
        VersionMismatchError,
        match=r"the server \(pid 77\) speaks protocol 8 to 9, this package 1 to 1.*upgrade",
    ):
        ping(endpoint, timeout=5)
    thread.join(5)
    assert check_protocol(Pong(protocol=9, min_protocol=1)).protocol == 9
    with pytest.raises(VersionMismatchError):
        check_protocol(Pong(protocol=0, min_protocol=0))


def test_waiting_ends_with_the_first_pong_that_says_ready(rig: Any) -> None:
    server = rig.server()
    timer = threading.Timer(0.3, server.set_ready)
    timer.start()
    begin = time.monotonic()
    assert wait_until_ready(rig.endpoint, 10).ready
    assert time.monotonic() - begin < 5
    timer.join()


def test_waiting_in_vain_says_whether_anybody_answered(rig: Any, endpoint: Endpoint) -> None:
    with pytest.raises(HandshakeTimeout, match=r"was not ready within 0\.2 s: nobody answered"):
        wait_until_ready(endpoint, 0.2)
    rig.server()
    with pytest.raises(HandshakeTimeout, match="it answers but is not ready"):
        wait_until_ready(endpoint, 0.2)


def test_waiting_for_a_process_that_ended_ends_at_once(endpoint: Endpoint) -> None:
    begin = time.monotonic()
    with pytest.raises(PeerError, match="ended before it was ready"):
        wait_until_ready(endpoint, 30, still_alive=lambda: False)
    assert time.monotonic() - begin < 5
