"""Keys: their files, who gets in with which, and when a server refuses to listen without one."""

from __future__ import annotations

import copy
import logging
import os
import pickle  # noqa: TID251 - to see that it refuses
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
import zmq.auth

from zmqruntime import _zap
from zmqruntime.client import ControlClient
from zmqruntime.config import Endpoint
from zmqruntime.discovery import free_endpoint
from zmqruntime.errors import InsecureBindError, KeyFileError, RequestTimeout
from zmqruntime.messages import Ping, encode_control
from zmqruntime.security import KeyPair, ServerKeys, check_key, read_public_key, require_key_for
from zmqruntime.sockets import Curve, connect, make_socket
from zmqruntime.stream_sender import StreamSender
from zmqruntime.testing import BytesEncoder, EchoServer, echo_process, start_port, wait_until

SHORT = 0.3
"""Seconds after which nothing more is expected to arrive; a healthy answer takes a millisecond."""


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZMQRUNTIME_DIR", str(tmp_path / "r"))


SERVER, CLIENT, OTHER = KeyPair.generate(), KeyPair.generate(), KeyPair.generate()


# --------------------------------------------------------------------------- keys and files


def test_generated_pairs_differ() -> None:
    assert SERVER != CLIENT
    assert len({SERVER, CLIENT, SERVER}) == 2
    assert zmq.curve_public(SERVER.secret) == SERVER.public


def test_saved_private_and_read_back(tmp_path: Path) -> None:
    path = SERVER.save(tmp_path / "keys" / "server.key")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    loaded = KeyPair.load(path)
    assert (loaded.public, loaded.secret) == (SERVER.public, SERVER.secret)
    assert zmq.auth.load_certificate(path) == (SERVER.public, SERVER.secret), "pyzmq reads it too"


def test_pyzmqs_own_files_are_read(tmp_path: Path) -> None:
    _, secret = zmq.auth.create_certificates(tmp_path, "name")
    Path(secret).chmod(0o600)
    assert KeyPair.load(secret).public == zmq.auth.load_certificate(secret)[0]


def test_never_overwritten(tmp_path: Path) -> None:
    path = SERVER.save(tmp_path / "key")
    with pytest.raises(KeyFileError, match="not overwritten"):
        CLIENT.save(path)
    assert KeyPair.load(path) == SERVER
    dangling = tmp_path / "dangling"
    dangling.symlink_to(tmp_path / "target")
    with pytest.raises(KeyFileError):
        CLIENT.save(dangling)
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644])
def test_readable_by_others_is_refused(tmp_path: Path, mode: int) -> None:
    path = SERVER.save(tmp_path / "key")
    path.chmod(mode)
    with pytest.raises(KeyFileError, match="chmod 600"):
        KeyPair.load(path)


def test_public_key_alone(tmp_path: Path) -> None:
    path = SERVER.save_public(tmp_path / "public")
    assert SERVER.secret not in path.read_bytes()
    assert read_public_key(str(path)) == SERVER.public
    assert read_public_key(SERVER.public.decode()) == SERVER.public
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match="no key pair"):
        KeyPair.load(path)


@pytest.mark.parametrize(
    "content", ["", "curve\n", 'public-key = "short"\nsecret-key = "short"\n', "x" * 100_000]
)
def test_files_without_keys(tmp_path: Path, content: str) -> None:
    path = tmp_path / "key"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(KeyFileError):
        KeyPair.load(path)
    with pytest.raises(KeyFileError):
        read_public_key(str(path))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="No such file"):
        KeyPair.load(tmp_path / "none")
    with pytest.raises(KeyFileError, match="No such file"):
        read_public_key(str(tmp_path / "none"))


def test_keys_that_do_not_belong_together() -> None:
    with pytest.raises(KeyFileError, match="does not belong"):
        KeyPair(SERVER.public, CLIENT.secret)


@pytest.mark.parametrize("key", [b"", b"x" * 39, b"x" * 41, b'"' * 40, "ä" * 40, b"\n" * 40])
def test_texts_that_are_no_keys(key: bytes | str) -> None:
    with pytest.raises(KeyFileError, match="40 characters"):
        check_key(key)


@pytest.mark.parametrize("keys", [SERVER, ServerKeys(SERVER, [CLIENT.public])])
def test_the_secret_is_not_shown_nor_pickled(keys: KeyPair) -> None:
    for text in (repr(keys), str(keys), f"{keys}", repr([keys])):
        assert keys.secret.decode() not in text
        assert "hidden" in text
    with pytest.raises(TypeError, match="never pickled"):
        pickle.dumps(keys)
    with pytest.raises(TypeError, match="never pickled"):
        copy.deepcopy(keys)


# --------------------------------------------------------------------------- listening without a key


@pytest.mark.parametrize("host", ["*", "0.0.0.0", "192.0.2.1", "example.org", "::"])
def test_beyond_this_machine_a_key_is_required(host: str) -> None:
    endpoint = Endpoint(host, 5555, transport="tcp")
    with pytest.raises(InsecureBindError, match=r"--key.*ssh -L 5555:localhost:5555 -L 6555"):
        require_key_for(endpoint, None)
    server = EchoServer(endpoint)
    with pytest.raises(PermissionError):
        server.start()
    require_key_for(endpoint, SERVER)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "::1"])
def test_on_this_machine_it_is_not(host: str) -> None:
    require_key_for(Endpoint(host, 5555, transport="tcp"), None)
    require_key_for(Endpoint("localhost", 5555, transport="ipc"), None)


def test_with_a_key_every_interface_can_be_listened_on() -> None:
    endpoint = Endpoint("*", free_endpoint(start_port(), "tcp").data_port, transport="tcp")
    here = Endpoint("127.0.0.1", endpoint.data_port, transport="tcp")
    with EchoServer(endpoint, keys=SERVER), ControlClient(here, server_key=SERVER.public) as client:
        assert client.ping().pid == os.getpid()


# --------------------------------------------------------------------------- who gets in

KNOWN = {"server_key": SERVER.public, "keys": CLIENT}

PEERS: dict[str, dict[str, Any]] = {
    "plain": {},
    "wrong server key": {"server_key": OTHER.public},
    "wrong server key, known client": {"server_key": OTHER.public, "keys": CLIENT},
}
"""Let in nowhere."""

STRANGERS: dict[str, dict[str, Any]] = {
    "right server key, no own": {"server_key": SERVER.public},
    "right server key, unknown own": {"server_key": SERVER.public, "keys": OTHER},
}
"""Let in where there is no list."""


@pytest.fixture(params=["ipc", "tcp"])
def endpoint(request: pytest.FixtureRequest) -> Endpoint:
    return free_endpoint(start_port(), request.param)


def servers(endpoint: Endpoint, listed: bool) -> EchoServer:
    return EchoServer(endpoint, keys=ServerKeys(SERVER, [CLIENT.public]) if listed else SERVER)


def refused(listed: bool) -> dict[str, dict[str, Any]]:
    return {**PEERS, **STRANGERS} if listed else PEERS


def admitted(listed: bool) -> list[dict[str, Any]]:
    return [KNOWN] if listed else [KNOWN, *STRANGERS.values()]


@pytest.mark.parametrize("listed", [False, True])
def test_control_channel(endpoint: Endpoint, listed: bool) -> None:
    with servers(endpoint, listed) as server:
        for peer in refused(listed).values():
            with ControlClient(endpoint, timeout=SHORT, **peer) as client, pytest.raises(RequestTimeout):
                client.shutdown()
        for peer in admitted(listed):
            with ControlClient(endpoint, timeout=5, **peer) as client:
                assert client.ping().pid == os.getpid()
        assert not server.shutdown_requested, "nothing of a refused peer was delivered"


def test_a_refused_client_never_waits_longer_than_it_said(endpoint: Endpoint) -> None:
    """ZeroMQ gives a refused connection up; sending on it then has nowhere to go."""
    with servers(endpoint, True):
        sock = make_socket(zmq.REQ)
        connect(sock, endpoint.control_url, Curve(keys=OTHER, server_key=SERVER.public))
        wait_until(lambda: not sock.poll(0, zmq.POLLOUT), message="the refusal to arrive")
        with ControlClient(endpoint, timeout=SHORT) as client:
            client._sock = sock
            with pytest.raises(RequestTimeout):
                client.ping()


@pytest.mark.parametrize("listed", [False, True])
def test_data_channel(endpoint: Endpoint, listed: bool) -> None:
    with servers(endpoint, listed) as server:
        for name, peer in refused(listed).items():
            with StreamSender(endpoint, BytesEncoder(), policy="drop", deadline=SHORT, **peer) as sender:
                assert sender.send([b"secret"]).dropped == 1, name
                assert sender.stats.balanced
        assert not server.peers
        assert not server.bodies
        for peer in admitted(listed):
            with StreamSender(endpoint, BytesEncoder(), policy="block", deadline=5, **peer) as sender:
                sender.send([b"for you"])
                wait_until(lambda sender=sender: sender.stats.displayed == 1)  # type: ignore[misc]
        assert len(server.bodies) == len(admitted(listed))
        with ControlClient(endpoint, timeout=5, **KNOWN) as client:
            assert client.status()["rejected_messages"] == 0


def test_raw_bytes_of_a_plain_peer_reach_nobody(endpoint: Endpoint) -> None:
    with servers(endpoint, False) as server, ControlClient(endpoint, timeout=5, **KNOWN) as client:
        for url in (endpoint.control_url, endpoint.data_url):
            sock = make_socket(zmq.DEALER)
            sock.connect(url)
            sock.send_multipart([b"", encode_control(Ping())])
            assert not sock.poll(int(SHORT * 1000))
            sock.close()
        assert client.status()["rejected_messages"] == 0
        assert not server.peers


def test_an_empty_list_lets_nobody_in(endpoint: Endpoint) -> None:
    with EchoServer(endpoint, keys=ServerKeys(SERVER, [])):
        for peer in (*PEERS.values(), *STRANGERS.values(), KNOWN):
            with ControlClient(endpoint, timeout=SHORT, **peer) as client, pytest.raises(RequestTimeout):
                client.ping()


def test_no_list_lets_in_whoever_knows_the_key_beside_a_server_with_one(endpoint: Endpoint) -> None:
    """One handler judges for both: each server's own rule holds."""
    second = free_endpoint(endpoint.data_port + 1, endpoint.transport)
    stranger = STRANGERS["right server key, unknown own"]
    with servers(endpoint, True), EchoServer(second, keys=ServerKeys(SERVER)):
        with ControlClient(second, timeout=5, **stranger) as client:
            client.ping()
        with ControlClient(endpoint, timeout=SHORT, **stranger) as client, pytest.raises(RequestTimeout):
            client.ping()


def test_two_lists_do_not_mix(endpoint: Endpoint) -> None:
    second = free_endpoint(endpoint.data_port + 1, endpoint.transport)
    other = {"server_key": SERVER.public, "keys": OTHER}
    with servers(endpoint, True), EchoServer(second, keys=ServerKeys(SERVER, [OTHER.public])):
        for where, peer, welcome in (
            (endpoint, KNOWN, 1),
            (endpoint, other, 0),
            (second, KNOWN, 0),
            (second, other, 1),
        ):
            with ControlClient(where, timeout=5 if welcome else SHORT, **peer) as client:
                if welcome:
                    client.ping()
                else:
                    with pytest.raises(RequestTimeout):
                        client.ping()


def test_servers_without_keys_are_not_asked_about(endpoint: Endpoint) -> None:
    second = free_endpoint(endpoint.data_port + 1, endpoint.transport)
    with servers(endpoint, True), EchoServer(second), ControlClient(second, timeout=5) as client:
        client.ping()


def test_a_real_process_with_key_files(tmp_path: Path, endpoint: Endpoint) -> None:
    key = SERVER.save(tmp_path / "server.key")
    allowed = CLIENT.save_public(tmp_path / "client.pub")
    with echo_process(endpoint, "--key", str(key), "--allow", str(allowed), **KNOWN):
        for peer in (*PEERS.values(), *STRANGERS.values()):
            with ControlClient(endpoint, timeout=SHORT, **peer) as client, pytest.raises(RequestTimeout):
                client.ping()
        with ControlClient(endpoint, timeout=5, **KNOWN) as client:
            assert client.command("echo", text="x") == {"text": "x"}


# --------------------------------------------------------------------------- the handler itself


@pytest.fixture
def domain() -> Iterator[bytes]:
    _zap._domains[b"a"] = frozenset({CLIENT.public})
    yield b"a"
    del _zap._domains[b"a"]


def ask(domain: bytes, key: KeyPair, version: bytes = b"1.0", mechanism: bytes = b"CURVE") -> bytes:
    from zmq.utils import z85

    return _zap.decide([version, b"7", domain, b"1.2.3.4", b"", mechanism, z85.decode(key.public)])[0]


def test_decisions(domain: bytes, caplog: pytest.LogCaptureFixture) -> None:
    assert ask(domain, CLIENT) == b"200"
    assert ask(b"", OTHER) == b"200"
    with caplog.at_level(logging.WARNING):
        assert ask(domain, OTHER) == b"400"
    assert OTHER.public.decode() in caplog.text, "so that it can be put on the list"
    assert ask(b"unknown", CLIENT) == b"400"
    assert ask(domain, CLIENT, version=b"2.0") == b"400"
    assert ask(domain, CLIENT, mechanism=b"PLAIN") == b"400"


def test_a_bad_request_does_not_end_the_handler(endpoint: Endpoint) -> None:
    with servers(endpoint, True), ControlClient(endpoint, timeout=5, **KNOWN) as client:
        client.ping()
        sock = make_socket(zmq.REQ)
        sock.connect(_zap.ZAP_ADDRESS)
        for frames in ([b"x"], [b"1.0", b"1"], [b"1.0", b"1", b"", b"\xff", b"", b"CURVE", b"short"]):
            sock.send_multipart(frames)
            assert sock.poll(5000)
            assert sock.recv_multipart()[2] in (b"400", b"500")
        sock.close()
        with ControlClient(endpoint, timeout=5, **KNOWN) as fresh:
            fresh.ping()


def test_a_sender_refused_by_a_key_list_is_taken_by_a_server_with_another(endpoint: Endpoint) -> None:
    # libzmq itself gives a connection up for good once its key was refused.
    server_pair, ours, other = KeyPair.generate(), KeyPair.generate(), KeyPair.generate()
    place = Endpoint(data_port=endpoint.data_port, transport="ipc", directory=endpoint.directory)
    with StreamSender(
        place, BytesEncoder(), policy="block", deadline=20, server_key=server_pair.public, keys=ours
    ) as sender:
        with EchoServer(place, keys=ServerKeys(server_pair, allowed_clients=[other.public])):
            assert not sender.wait_attached(1.0)
        with EchoServer(place, keys=ServerKeys(server_pair, allowed_clients=[ours.public])):
            assert sender.wait_attached(15.0)
            assert sender.send([b"let in"]).accepted == 1
            assert sender.flush(10.0)
