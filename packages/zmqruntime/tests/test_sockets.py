"""Sockets: their settings, binding alone, and living and stale addresses told apart."""

from __future__ import annotations

import ast
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest
import zmq

import zmqruntime
from zmqruntime.config import Endpoint
from zmqruntime.discovery import free_endpoint
from zmqruntime.errors import AddressInUseError, EndpointError, EndpointUnusableError, InsecureBindError
from zmqruntime.security import KeyPair
from zmqruntime.sockets import (
    HIGH_WATER_MARK,
    MAX_MESSAGE_BYTES,
    Curve,
    bind,
    connect,
    context,
    ipc_path_is_live,
    make_socket,
    remove_socket_file,
)


def test_every_socket_has_the_projects_settings() -> None:
    with make_socket(zmq.DEALER) as sock:
        assert sock.getsockopt(zmq.LINGER) == 0
        assert sock.getsockopt(zmq.SNDHWM) == sock.getsockopt(zmq.RCVHWM) == HIGH_WATER_MARK
        assert sock.getsockopt(zmq.MAXMSGSIZE) == MAX_MESSAGE_BYTES
        assert HIGH_WATER_MARK > 100 * 256  # far above any window
    with make_socket(zmq.ROUTER, linger_ms=5, identity=b"me") as sock:
        assert sock.getsockopt(zmq.LINGER) == 5
        assert sock.getsockopt(zmq.IDENTITY) == b"me"


def test_sockets_are_made_nowhere_else() -> None:
    folder = Path(zmqruntime.__file__).parent
    for source in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.Attribute) and node.attr == "socket" and source.name != "sockets.py":
                assert isinstance(node.value, ast.Name), source
                assert node.value.id in ("socket", "stdlib_socket"), f"{source}:{node.lineno}"
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "Context"
            ):
                assert source.name == "sockets.py", source


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_gets_a_context_of_its_own() -> None:
    assert context() is context()
    mine = id(context())
    pid = os.fork()
    if pid == 0:
        os._exit(0 if id(context()) != mine and context() is context() else 1)
    assert os.waitpid(pid, 0)[1] == 0


# --------------------------------------------------------------------------- binding


def bound(endpoint: Endpoint, curve: Curve | None = None) -> zmq.Socket[bytes]:
    sock = make_socket(zmq.ROUTER)
    try:
        bind(sock, endpoint.data_url, endpoint, *([curve] if curve else []))
    except BaseException:
        sock.close()
        raise
    return sock


@pytest.fixture(params=["ipc", "tcp"])
def address(request: pytest.FixtureRequest, endpoint: Endpoint) -> Endpoint:
    return endpoint if request.param == "ipc" else free_endpoint(20100, "tcp")


def test_an_address_in_use_stays_its_owners(address: Endpoint) -> None:
    with bound(address) as owner, make_socket(zmq.DEALER) as client:
        with pytest.raises(
            AddressInUseError, match=r"is in use by another process: choose another port, or stop that one"
        ) as caught:
            bound(address)
        assert address.data_url in str(caught.value)
        assert isinstance(caught.value, OSError)
        connect(client, address.data_url)
        client.send(b"still mine")
        assert owner.poll(5000)
        assert owner.recv_multipart()[1] == b"still mine"


def test_an_address_is_free_again_when_its_owner_closed_it(address: Endpoint) -> None:
    # At once: libzmq itself takes a moment.
    for _ in range(10):
        with bound(address) as owner, make_socket(zmq.DEALER) as client:
            connect(client, address.data_url)
            client.send(b"to this one")
            assert owner.poll(5000)
            assert owner.recv_multipart()[1] == b"to this one"


def test_ipc_sockets_are_this_users_alone(endpoint: Endpoint) -> None:
    with bound(endpoint):
        path = endpoint.data_url.removeprefix("ipc://")
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        assert stat.S_IMODE(os.stat(endpoint.directory).st_mode) == 0o700


def test_a_stale_socket_file_is_replaced(endpoint: Endpoint) -> None:
    path = endpoint.data_url.removeprefix("ipc://")
    dead = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    dead.bind(path)
    dead.close()
    assert os.path.exists(path)
    assert not ipc_path_is_live(path)
    with bound(endpoint):
        assert ipc_path_is_live(path)


def test_a_living_socket_with_a_full_queue_is_still_living(endpoint: Endpoint) -> None:
    path = endpoint.data_url.removeprefix("ipc://")
    busy = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    busy.bind(path)
    busy.listen(0)
    waiting = []
    try:
        for _ in range(4):
            caller = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            waiting.append(caller)
            caller.setblocking(False)
            if caller.connect_ex(path):
                break
        assert ipc_path_is_live(path)
    finally:
        for caller in waiting:
            caller.close()
        busy.close()


@pytest.mark.parametrize("what", ["nothing", "a file", "a folder"])
def test_what_is_no_socket_is_not_living(tmp_path: Path, what: str) -> None:
    path = tmp_path / "x"
    if what == "a file":
        path.touch()
    elif what == "a folder":
        path.mkdir()
    assert not ipc_path_is_live(str(path))


def test_of_many_who_bind_at_once_exactly_one_wins(address: Endpoint) -> None:
    ready = threading.Barrier(6)
    won: list[Any] = []
    lost: list[AddressInUseError] = []

    def race() -> None:
        ready.wait()
        try:
            won.append(bound(address))
        except AddressInUseError as error:
            lost.append(error)

    threads = [threading.Thread(target=race) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert (len(won), len(lost)) == (1, 5)
    won[0].close()


def test_a_dead_owners_address_is_free(endpoint: Endpoint) -> None:
    code = (
        "import sys, zmq; from zmqruntime.config import Endpoint; from zmqruntime.sockets import bind, make_socket\n"
        "e = Endpoint(data_port=5555); s = make_socket(zmq.ROUTER); bind(s, e.data_url, e)\n"
        "print('bound', flush=True); sys.stdin.read()"
    )
    owner = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert owner.stdout is not None
    assert owner.stdout.readline() == b"bound\n"
    with pytest.raises(AddressInUseError):
        bound(endpoint)
    owner.send_signal(signal.SIGKILL)
    owner.communicate()
    bound(endpoint).close()


def test_a_folder_that_is_missing_is_a_typed_error(tmp_path: Path) -> None:
    with pytest.raises(EndpointUnusableError, match="cannot listen on ipc://.*set ZMQRUNTIME_DIR"):
        bound(Endpoint(directory=str(tmp_path / "missing")))


def test_an_address_of_no_interface_is_a_typed_error() -> None:
    with pytest.raises(EndpointUnusableError, match=r"cannot listen on tcp://203\.0\.113\.7:5555") as caught:
        bound(Endpoint("203.0.113.7"), Curve(keys=KeyPair.generate()))
    assert isinstance(caught.value, EndpointError)


def test_ipv6_loopback_works_where_there_is_one() -> None:
    probe = socket.socket(socket.AF_INET6)
    try:
        probe.bind(("::1", 0))
        port = probe.getsockname()[1]
    except OSError:
        return  # no IPv6 here: nothing to see
    finally:
        probe.close()
    endpoint = Endpoint("::1", min(port, 64000), transport="tcp")
    with bound(endpoint) as server, make_socket(zmq.DEALER) as client:
        connect(client, endpoint.data_url)
        client.send(b"six")
        assert server.poll(5000)


# --------------------------------------------------------------------------- beyond this machine


@pytest.mark.parametrize("host", ["*", "0.0.0.0", "127.0.0.1.example.org"])
def test_without_a_key_nobody_listens_beyond_this_machine(host: str) -> None:
    with pytest.raises(InsecureBindError, match="ssh tunnel|key") as caught:
        bound(Endpoint(host, transport="tcp"))
    assert isinstance(caught.value, PermissionError)


def test_with_a_key_it_may() -> None:
    near = free_endpoint(20100, "tcp")
    everywhere = Endpoint("*", near.data_port, transport="tcp")
    keys = KeyPair.generate()
    with (
        bound(everywhere, Curve(keys=keys)) as server,
        make_socket(zmq.DEALER) as client,
        make_socket(zmq.DEALER) as stranger,
    ):
        connect(stranger, near.data_url)
        stranger.send(b"in clear")
        connect(client, near.data_url, Curve(server_key=keys.public))
        client.send(b"sealed")
        assert server.poll(5000)
        assert server.recv_multipart()[1] == b"sealed"
        assert not server.poll(300)


def test_a_process_that_ends_at_once_leaves_no_socket_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Viewers end with ``os._exit``, which takes ZeroMQ's own threads with it."""
    place = tempfile.mkdtemp(prefix="zs-")
    monkeypatch.setenv("ZMQRUNTIME_DIR", place)
    endpoint = free_endpoint(transport="ipc")
    code = (
        "import os, sys; from zmqruntime.config import Endpoint; from zmqruntime.testing import EchoServer\n"
        f"server = EchoServer(Endpoint('localhost', {endpoint.data_port}, transport='ipc'))\n"
        "server.start(); server.stop(); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
    assert endpoint.data_url.startswith(f"ipc://{place}")
    assert list(Path(place).rglob("*.sock")) == []
    shutil.rmtree(place)


def test_only_a_dead_socket_file_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "s"
    url = f"ipc://{path}"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        remove_socket_file(url)
        assert path.exists()
    remove_socket_file(url)
    assert not path.exists()
    remove_socket_file(url)
    remove_socket_file("tcp://localhost:1")
