"""The contract suite of servers, for anybody's subclass of `ZMQServer`."""

from __future__ import annotations

import contextlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import zmq

from zmqruntime._deadline import start_port, wait_until
from zmqruntime.client import ControlClient
from zmqruntime.config import Endpoint
from zmqruntime.discovery import free_endpoint, is_free
from zmqruntime.errors import AddressInUseError, RemoteError
from zmqruntime.handshake import self_identity
from zmqruntime.server import ZMQServer
from zmqruntime.sockets import connect, make_socket


class ServerTests(ABC):
    """What every `ZMQServer` has to do; subclass it in a test module, as ``class TestMine(ServerTests)``."""

    @abstractmethod
    def make_server(self, endpoint: Endpoint) -> ZMQServer:
        """Return a server for `endpoint`, not yet started."""

    @contextlib.contextmanager
    def running(self, directory: Path) -> Iterator[tuple[ZMQServer, ControlClient]]:
        """Run a server on a free endpoint in `directory`."""
        endpoint = free_endpoint(start_port(), directory=str(directory))
        with self.make_server(endpoint) as server, ControlClient(endpoint, timeout=5.0) as client:
            yield server, client

    def test_ping_tells_who_answers(self, tmp_path: Path) -> None:
        """The pong holds this process's identity and the server's own words."""
        with self.running(tmp_path) as (server, client):
            pong = client.ping()
            assert (pong.pid, pong.start_time) == self_identity()
            assert (pong.kind, pong.title) == (server.kind, server.title)
            assert "zmqruntime" in pong.versions

    def test_ready_is_told(self, tmp_path: Path) -> None:
        """`set_ready` shows in the next pong."""
        with self.running(tmp_path) as (server, client):
            server.set_ready()
            assert client.ping().ready
            server.set_ready(False)
            assert not client.ping().ready

    def test_status_is_json(self, tmp_path: Path) -> None:
        """The status arrives, and names the process."""
        with self.running(tmp_path) as (_, client):
            assert client.status()["pid"] == os.getpid()

    def test_unknown_command_is_an_error(self, tmp_path: Path) -> None:
        """A command nobody knows is refused by name, and the server goes on."""
        import pytest

        with self.running(tmp_path) as (_, client):
            with pytest.raises(RemoteError, match="no_such_command") as caught:
                client.command("no_such_command")
            assert caught.value.code == "unknown-command"
            client.ping()

    def test_garbage_leaves_it_answering(self, tmp_path: Path) -> None:
        """Bytes of no protocol on either channel change nothing."""
        garbage: list[list[bytes]] = [
            [b""],
            [b"", b""],
            [b"", b"{"],
            [b"", b"[]"],
            [b"", b'{"type":"ping"}', b"more"],
            [b"", b'{"type":"no such type"}'],
            [b"", b'{"type":"command","name":7}'],
            [b"\x92\x01", b"\xff" * 100],
            [os.urandom(1000)],
        ]
        with self.running(tmp_path) as (server, client):
            for url in (server.endpoint.control_url, server.endpoint.data_url):
                sock = make_socket(zmq.DEALER, linger_ms=1000)
                connect(sock, url)
                for frames in garbage:
                    sock.send_multipart(frames)
                sock.close()
            assert client.ping().pid == os.getpid()
            assert client.status()["pid"] == os.getpid()

    def test_many_clients_at_once(self, tmp_path: Path) -> None:
        """Clients do not wait for each other."""
        with self.running(tmp_path) as (server, _):

            def ask(_: int) -> int:
                with ControlClient(server.endpoint, timeout=10.0) as client:
                    return client.ping().pid

            with ThreadPoolExecutor(8) as pool:
                assert set(pool.map(ask, range(32))) == {os.getpid()}

    def test_shutdown_request_reaches_the_application(self, tmp_path: Path) -> None:
        """A client's request ends `wait`; the answer comes first."""
        with self.running(tmp_path) as (server, client):
            assert not server.wait(0)
            client.shutdown()
            assert server.wait(5)

    def test_stop_frees_the_address(self, tmp_path: Path) -> None:
        """After `stop`, twice even, the next server can listen at once."""
        with self.running(tmp_path) as (server, _):
            endpoint = server.endpoint
        server.stop()
        wait_until(lambda: is_free(endpoint), message="the address is free")
        with self.make_server(endpoint), ControlClient(endpoint, timeout=5.0) as client:
            client.ping()

    def test_second_server_is_refused(self, tmp_path: Path) -> None:
        """An address in use stays its owner's."""
        import pytest

        with self.running(tmp_path) as (server, client):
            second = self.make_server(server.endpoint)
            with pytest.raises(AddressInUseError, match=str(server.endpoint.control_port)):
                second.start()
            second.stop()
            client.ping()
