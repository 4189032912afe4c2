"""Connection files, free ports, and who holds one."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
import zmq

from zmqruntime import sockets
from zmqruntime.config import Endpoint
from zmqruntime.discovery import (
    ConnectionInfo,
    connection_path,
    connections_dir,
    free_endpoint,
    holder_of,
    is_free,
    list_connections,
    port_is_free,
    read_connection,
    remove_connection,
    write_connection,
)
from zmqruntime.errors import AddressInUseError, ConnectionFileError, EndpointFormatError
from zmqruntime.handshake import self_identity
from zmqruntime.process import ServerProcess
from zmqruntime.testing import EchoServer, echo_command, echo_process, start_port, wait_until


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A runtime folder of the test's own, with a short path: ipc allows 107 bytes."""
    path = tmp_path / "r"
    monkeypatch.setenv("ZMQRUNTIME_DIR", str(path))
    return path


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A stranger that listens on a tcp port of its own."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield sock


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def info(port: int = 5555, kind: str = "echo", **values: object) -> ConnectionInfo:
    made = ConnectionInfo.of(Endpoint("localhost", port), kind=kind)
    return msgspec.structs.replace(made, **values)


# --------------------------------------------------------------------------- connection files


def test_written_private_and_read_back(runtime: Path) -> None:
    written = ConnectionInfo.of(
        Endpoint("localhost", 5601, transport="tcp"),
        kind="echo",
        title="my ünicode title",
        log="/l",
        public_key=b"k" * 40,
    )
    path = write_connection(written)
    assert path == runtime / "connections" / f"echo-5601-{os.getpid()}.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert read_connection("echo", 5601) == written
    assert list_connections() == [written]
    assert written.endpoint == Endpoint("localhost", 5601, transport="tcp")
    assert (written.pid, written.start_time) == self_identity()
    assert json.loads(path.read_text())["title"] == "my ünicode title"
    assert names(path.parent) == [path.name], "nothing temporary is left"


def test_removed_once(runtime: Path) -> None:
    written = info()
    write_connection(written)
    assert remove_connection(written)
    assert not remove_connection(written)
    assert list_connections() == []


def test_rewriting_replaces(runtime: Path) -> None:
    write_connection(info(title="first"))
    write_connection(info(title="second"))
    assert [found.title for found in list_connections()] == ["second"]


def test_only_our_own_is_removed() -> None:
    """The pid came round again: the file of that name is not the one we wrote."""
    written = info()
    path = write_connection(written)
    assert not remove_connection(msgspec.structs.replace(written, start_time=written.start_time - 1))
    assert path.exists()


def test_a_dead_process_is_not_listed_and_its_file_goes() -> None:
    dead = subprocess.Popen([sys.executable, "-c", "pass"])
    dead.wait()
    path = write_connection(info(pid=dead.pid))
    reused = write_connection(info(port=5700, start_time=1))
    assert list_connections() == []
    assert not path.exists()
    assert not reused.exists()


def test_filters() -> None:
    for port, kind in ((5556, "b"), (5555, "b"), (5555, "a")):
        write_connection(info(port, kind))
    assert [(found.kind, found.data_port) for found in list_connections()] == [
        ("a", 5555),
        ("b", 5555),
        ("b", 5556),
    ]
    assert [found.data_port for found in list_connections("b")] == [5555, 5556]
    assert read_connection("a", 5556) is None
    assert read_connection(None, 5556) is not None
    assert read_connection("a", 5555, "tcp") is None
    assert read_connection("a", 5555, "ipc") is not None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"kind": "echo"}',
        b'{"kind": "echo", "pid": "1", "start_time": 1, "data_port": 1, "control_port": 2, "transport": "ipc"}',
        b"\xff\xfe",
        b" " * 70_000,
        b"[" * 10_000,
    ],
)
def test_garbage_is_left_out_with_a_line_in_the_log(content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    write_connection(info())
    path = connections_dir() / "garbage-1-1.json"
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert [found.kind for found in list_connections()] == ["echo"]
    assert str(path) in caplog.text
    assert path.exists()


def test_links_and_pipes_are_left_out(tmp_path: Path) -> None:
    path = write_connection(info())
    elsewhere = tmp_path / "elsewhere.json"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    os.mkfifo(connections_dir() / "pipe-1-1.json")
    assert list_connections() == []


def test_newer_fields_are_ignored() -> None:
    path = write_connection(info())
    path.write_text(json.dumps({**json.loads(path.read_text()), "colour": "blue"}))
    assert len(list_connections()) == 1


@pytest.mark.parametrize("kind", ["", "a/b", "../a", "A", "a-b", "_a", "a" * 33, "ä"])
def test_kinds_that_are_no_names(kind: str) -> None:
    with pytest.raises(ConnectionFileError, match="kind"):
        connection_path(info(kind=kind))


def test_open_folder_is_closed(runtime: Path) -> None:
    folder = connections_dir()
    folder.chmod(0o755)
    assert stat.S_IMODE(connections_dir().stat().st_mode) == 0o700


def test_link_for_a_folder_is_refused(runtime: Path, tmp_path: Path) -> None:
    runtime.mkdir(mode=0o700)
    (runtime / "connections").symlink_to(tmp_path)
    with pytest.raises(ConnectionFileError, match="ZMQRUNTIME_DIR"):
        connections_dir()


def test_folder_of_another_user_is_refused(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_connection(info())
    owner, stat_of = os.getuid(), Path.lstat

    def given_away(self: Path) -> os.stat_result:
        values = list(stat_of(self))
        values[stat.ST_UID] = owner + 1
        return os.stat_result(values)

    monkeypatch.setattr(Path, "lstat", given_away)
    with pytest.raises(ConnectionFileError, match=f"belongs to user {owner + 1}"):
        list_connections()
    monkeypatch.undo()
    monkeypatch.setenv("ZMQRUNTIME_DIR", str(runtime))
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    with pytest.raises(EndpointFormatError, match=f"belongs to user {owner}"):
        list_connections()
    assert path.exists()


def test_a_full_disk_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    folder = connections_dir()
    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(ConnectionFileError, match="No space left"):
        write_connection(info())
    assert names(folder) == []


def test_readers_never_see_half_a_file(caplog: pytest.LogCaptureFixture) -> None:
    stop = threading.Event()

    def rewrite() -> None:
        while not stop.is_set():
            write_connection(info(title="x" * 10_000))

    write_connection(info())
    writer = threading.Thread(target=rewrite)
    writer.start()
    try:
        with caplog.at_level(logging.WARNING):
            assert all(len(list_connections()) == 1 for _ in range(300))
    finally:
        stop.set()
        writer.join()
    assert not caplog.records


def test_real_servers_come_and_go() -> None:
    endpoint = free_endpoint(5800)
    with echo_process(endpoint, "--title", "one") as server:
        (found,) = list_connections("echo")
        assert (found.pid, found.start_time, found.title) == (server.pid, server.start_time, "one")
        assert found.endpoint == endpoint
        assert found.is_alive()
    assert names(connections_dir()) == [], "removed by the server itself"


def test_a_killed_server_leaves_a_file_that_the_next_look_removes() -> None:
    with echo_process(free_endpoint(5800)) as server:
        os.kill(server.pid, 9)
        assert server.wait(5)
        assert len(names(connections_dir())) == 1
        assert list_connections() == []
    assert names(connections_dir()) == []


# --------------------------------------------------------------------------- ports


def test_port_of_a_stranger_is_not_free(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    assert not port_is_free(port)
    listener.close()
    assert port_is_free(port)


def test_bound_but_not_listening_is_not_free() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        assert not port_is_free(sock.getsockname()[1])


def test_every_interface_counts() -> None:
    with socket.socket() as sock:
        sock.bind(("0.0.0.0", 0))
        sock.listen()
        assert not port_is_free(sock.getsockname()[1])
        assert not port_is_free(sock.getsockname()[1], "*")


@pytest.mark.parametrize("taken", [0, 1000])
def test_next_free_pair_tcp(taken: int) -> None:
    start = _free_pair()
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # an earlier test's connections linger
        sock.bind(("127.0.0.1", start + taken))
        sock.listen()
        endpoint = free_endpoint(start, "tcp")
        assert endpoint.data_port > start
        assert endpoint.control_port == endpoint.data_port + 1000
        assert is_free(endpoint)
        assert not is_free(Endpoint("localhost", start, transport="tcp"))


def _free_pair() -> int:
    return free_endpoint(start_port(), "tcp").data_port


@pytest.mark.parametrize("transport", ["ipc", "tcp"])
def test_next_free_pair_beside_a_server(transport: str) -> None:
    first = free_endpoint(_free_pair(), transport)
    with EchoServer(first):
        assert not is_free(first)
        second = free_endpoint(first.data_port, transport)
        assert second.data_port > first.data_port
        with EchoServer(second):
            pass
    wait_until(lambda: is_free(first))  # ZeroMQ closes the listener a moment after the socket


def test_a_stale_socket_file_is_free(runtime: Path) -> None:
    endpoint = free_endpoint(5900)
    with echo_process(endpoint) as server:
        os.kill(server.pid, 9)
        assert server.wait(5)
    assert Path(endpoint.data_url.removeprefix("ipc://")).exists()
    assert is_free(endpoint)
    with EchoServer(endpoint):
        assert not is_free(endpoint)


def test_no_pair_left(listener: socket.socket) -> None:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", 64535))
        sock.listen()
        with pytest.raises(AddressInUseError, match="64535"):
            free_endpoint(64535, "tcp")


def test_of_many_servers_on_one_ipc_address_one_wins(runtime: Path) -> None:
    """ZeroMQ itself lets each of them bind, and the last takes the clients of all."""
    endpoint = Endpoint("localhost", 5950, transport="ipc")
    contestants = [ServerProcess.spawn(echo_command(endpoint), detached=False) for _ in range(4)]
    try:
        wait_until(lambda: sum(one.is_alive() for one in contestants) == 1, 20, "one server is left")
        (winner,) = [one for one in contestants if one.is_alive()]
        wait_until(lambda: [found.pid for found in list_connections()] == [winner.pid])
    finally:
        for one in contestants:
            one.stop()


def test_nobody_binds_between_anothers_look_and_bind(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = Endpoint("localhost", 5950, transport="ipc")
    both_looked = threading.Barrier(2)
    look = sockets.ipc_path_is_live

    def slow_look(path: str) -> bool:
        live = look(path)
        with contextlib.suppress(threading.BrokenBarrierError):
            both_looked.wait(0.5)
        return live

    monkeypatch.setattr(sockets, "ipc_path_is_live", slow_look)

    def try_to_bind() -> bool:
        sock = sockets.make_socket(zmq.ROUTER)
        socks.append(sock)
        try:
            sockets.bind(sock, endpoint.data_url, endpoint)
        except AddressInUseError:
            return False
        return True

    socks: list[zmq.Socket[bytes]] = []
    with ThreadPoolExecutor(2) as pool:
        bound = [pool.submit(try_to_bind) for _ in range(2)]
    assert sorted(one.result() for one in bound) == [False, True]
    for sock in socks:
        sock.close(0)


# --------------------------------------------------------------------------- holders


def test_holder_of_a_tcp_port(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    text = holder_of(port)
    assert f"pid {os.getpid()}" in text
    assert "user" in text
    assert holder_of(Endpoint("localhost", port, control_port=port - 1, transport="tcp")) == text


def test_holder_of_a_control_port(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    assert f"pid {os.getpid()}" in holder_of(
        Endpoint("localhost", port - 1, control_port=port, transport="tcp")
    )


def test_holder_of_an_ipc_endpoint() -> None:
    endpoint = free_endpoint(5990, "ipc")
    with echo_process(endpoint) as server:
        assert re.search(rf"\(pid {server.pid}, user .+\)", holder_of(endpoint))
    assert holder_of(endpoint) == "nobody"


def test_holder_of_a_free_port(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    listener.close()
    assert holder_of(port) == "nobody"


def test_holder_that_this_user_may_not_see(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    def refuse(**_: object) -> None:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil, "net_connections", refuse)
    assert holder_of(listener.getsockname()[1]) == "a process of another user"
