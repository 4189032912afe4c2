"""The helpers for other tests, and the contract suite on our own server."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from zmqruntime.client import ControlClient
from zmqruntime.config import Endpoint
from zmqruntime.discovery import free_endpoint
from zmqruntime.errors import RemoteError
from zmqruntime.stream_sender import StreamSender
from zmqruntime.testing import (
    BytesEncoder,
    EchoServer,
    ServerTests,
    echo_process,
    fault_env,
    run_to_fault,
    wait_until,
)


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZMQRUNTIME_DIR", str(tmp_path / "r"))


class TestEchoServer(ServerTests):
    def make_server(self, endpoint: Endpoint) -> EchoServer:
        return EchoServer(endpoint, title="echo")


class TestBroadcastServer(ServerTests):
    def make_server(self, endpoint: Endpoint) -> EchoServer:
        return EchoServer(endpoint, data="broadcast")


def test_waiting() -> None:
    values = iter([0, "", "value"])
    assert wait_until(lambda: next(values)) == "value"
    with pytest.raises(AssertionError, match=r"the sun not within 0.05 s; last value \[\]"):
        wait_until(list, 0.05, "the sun")


def test_commands() -> None:
    endpoint = free_endpoint(29000)
    with echo_process(endpoint) as process, ControlClient(endpoint, timeout=5) as client:
        assert client.ping().pid == process.pid
        assert client.command("echo", a=[1, "ü"]) == {"a": [1, "ü"]}
        assert client.command("later", seconds=0.01, a=1) == {"seconds": 0.01, "a": 1}
        with pytest.raises(RemoteError, match="as asked") as caught:
            client.command("fail")
        assert (caught.value.code, caught.value.remedy) == ("asked-to-fail", "do not ask")
        assert str(caught.value) == "this fails, as asked (do not ask)"
        with pytest.raises(RemoteError, match="nobody expected"):
            client.command("bug")
        client.ping()


def test_items() -> None:
    with EchoServer(free_endpoint(29000)) as server:
        with StreamSender(server.endpoint, BytesEncoder(), policy="block", deadline=5) as sender:
            sender.send([b"one", b"two"])
            wait_until(lambda: sender.stats.displayed == 2)
            assert sender.stats.balanced
        assert [frame for frames in server.frames for frame in frames] == [b"one", b"two"]


def test_a_process_that_dies_at_a_fault_point() -> None:
    code = "from zmqruntime._faults import fault_point\nfor i in range(3): print(i, flush=True); fault_point('here')"
    assert run_to_fault([sys.executable, "-c", code], "here", 2).stdout == b"0\n1\n"
    assert fault_env("here", 2) == {"ZMQRUNTIME_FAULT": "here:2"}
    with pytest.raises(AssertionError, match="exit code 0: 0\n1\n2"):
        run_to_fault([sys.executable, "-c", code], "elsewhere")
    with pytest.raises(AssertionError, match="not reached within"):
        run_to_fault([sys.executable, "-c", "import signal; signal.pause()"], "here", timeout=0.5)
