"""Endpoints: what is one, what its addresses are, and what every other value is told."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zmqruntime.config import (
    DEFAULT_TIMEOUTS,
    IPC_PATH_LIMIT,
    Endpoint,
    is_loopback,
    is_this_machine,
    runtime_dir,
)
from zmqruntime.errors import EndpointError, EndpointFormatError, IpcPathError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "run"
    monkeypatch.setenv("ZMQRUNTIME_DIR", str(path))
    return path


def test_the_defaults_are_those_of_the_documents(folder: Path) -> None:
    endpoint = Endpoint()
    assert (endpoint.host, endpoint.data_port, endpoint.control_port, endpoint.transport) == (
        "localhost",
        5555,
        6555,
        "ipc",
    )
    assert endpoint.data_url == f"ipc://{folder}/5555.sock"
    assert endpoint.control_url == f"ipc://{folder}/6555.sock"
    assert endpoint.is_local
    assert endpoint.is_loopback
    assert str(endpoint) == "ipc://localhost:5555"


def test_tcp_listens_on_exactly_these_ports_of_loopback() -> None:
    endpoint = Endpoint(transport="tcp")
    assert endpoint.data_url == "tcp://127.0.0.1:5555"
    assert endpoint.control_url == "tcp://127.0.0.1:6555"
    assert endpoint.is_loopback
    assert Endpoint(transport="tcp", control_port=7000).control_url == "tcp://127.0.0.1:7000"


def test_another_machine_is_reached_by_tcp() -> None:
    endpoint = Endpoint("microscope-3.example.org")
    assert endpoint.transport == "tcp"
    assert endpoint.data_url == "tcp://microscope-3.example.org:5555"
    assert not endpoint.is_local
    assert not endpoint.is_loopback
    everywhere = Endpoint("*", transport="tcp")
    assert everywhere.data_url == "tcp://*:5555"
    assert not everywhere.is_loopback


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_ipv6_addresses_stand_in_brackets(host: str) -> None:
    assert Endpoint(host, transport="tcp").data_url == "tcp://[::1]:5555"


@pytest.mark.parametrize(
    "text, same",
    [
        ("5555", {}),
        (" 5556 ", {"data_port": 5556}),
        ("ipc://5557", {"data_port": 5557}),
        ("localhost:5555", {}),
        ("tcp://localhost:5555", {"transport": "tcp"}),
        ("tcp://10.0.0.7:5555", {"host": "10.0.0.7"}),
        ("microscope:6000", {"host": "microscope", "data_port": 6000}),
        ("tcp://[::1]:5555", {"host": "[::1]", "transport": "tcp"}),
    ],
)
def test_text_is_parsed(text: str, same: dict[str, Any]) -> None:
    assert Endpoint.parse(text) == Endpoint(**same)


@pytest.mark.parametrize(
    "text",
    ["", "x", "tcp://", "localhost:", ":5555x", "udp://localhost:5555", "tcp://a b:5555", "5555.5", "-1"],
)
def test_text_that_names_none_is_a_typed_error(text: str) -> None:
    with pytest.raises(EndpointFormatError):
        Endpoint.parse(text)


def test_what_an_endpoint_says_of_itself_is_understood() -> None:
    for endpoint in (Endpoint(), Endpoint(transport="tcp"), Endpoint("far.example.org", 7000)):
        assert Endpoint.parse(str(endpoint)) == endpoint


@pytest.mark.parametrize(
    "values, text",
    [
        ({"data_port": 0}, "data_port 0 is not a port"),
        ({"data_port": -5}, "data_port -5"),
        ({"data_port": 65536}, "data_port 65536"),
        ({"data_port": 65000}, r"control_port 66000.*control = data \+ 1000"),
        ({"data_port": "5555"}, "data_port '5555'"),
        ({"data_port": "abc"}, "data_port 'abc'"),
        ({"data_port": None}, "data_port None"),
        ({"data_port": 5555.0}, "data_port 5555.0"),
        ({"data_port": True}, "data_port True"),
        ({"control_port": 70000}, "control_port 70000"),
        ({"control_port": 5555}, "data and control port are both 5555"),
        ({"transport": "udp"}, r"transport 'udp' is not known \(known: ipc, tcp\)"),
        ({"host": ""}, "host ''"),
        ({"host": "a b"}, "host 'a b'"),
        ({"host": None}, "host None"),
        ({"host": "tcp://x"}, "host 'tcp://x'"),
        ({"host": "-x"}, "host '-x'"),
        ({"host": "x\n"}, "host"),
        (
            {"host": "far.example.org", "transport": "ipc"},
            "ipc reaches only this machine.*use transport='tcp'",
        ),
    ],
)
def test_every_other_value_is_named_in_a_typed_error(values: dict[str, Any], text: str) -> None:
    with pytest.raises(EndpointFormatError, match=text) as caught:
        Endpoint(**values)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, EndpointError)


def test_an_ipc_path_over_the_limit_names_its_length_and_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = IPC_PATH_LIMIT - len("/65535.sock")
    fits = "/" + "f" * (room - 1)
    assert (
        len(Endpoint(directory=fits).data_url) == len("ipc://") + IPC_PATH_LIMIT - 1
    )  # 5555 has a digit less
    with pytest.raises(
        IpcPathError, match=r"is 108 bytes long, the limit is 107: set ZMQRUNTIME_DIR.*transport='tcp'"
    ):
        Endpoint(directory=fits + "f")
    # Bytes count, not letters.
    with pytest.raises(IpcPathError):
        Endpoint(directory="/" + "\u00e4" * 60)
    long = tmp_path / ("x" * 60) / ("y" * 60)
    monkeypatch.setenv("ZMQRUNTIME_DIR", str(long))
    with pytest.raises(IpcPathError):
        Endpoint()
    assert Endpoint(transport="tcp").directory == ""


# --------------------------------------------------------------------------- which machine


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "::1", "[::1]"])
def test_loopback_is_this_machine_alone(host: str) -> None:
    assert is_loopback(host)
    assert is_this_machine(host)


@pytest.mark.parametrize(
    "host",
    [
        "*",
        "0.0.0.0",
        "10.0.0.1",
        "127.evil.example.org",
        "127.0.0.1.example.org",
        "localhost.example.org",
        "[::]",
    ],
)
def test_what_only_looks_like_loopback_is_not(host: str) -> None:
    assert not is_loopback(host)


def test_this_machines_own_name_is_known() -> None:
    assert is_this_machine(socket.gethostname())
    assert not is_loopback("microscope-3")
    assert not is_this_machine("microscope-3")


# --------------------------------------------------------------------------- the runtime folder


def test_the_folder_is_made_for_this_user_alone(folder: Path) -> None:
    assert runtime_dir() == folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_folder_others_may_write_to_is_refused_with_the_remedy(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o770)
    with pytest.raises(EndpointFormatError, match=f"can be written by others: run 'chmod 700 {folder}'"):
        runtime_dir()


def test_a_folder_of_another_user_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime_dir()
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(EndpointFormatError, match="belongs to user .*not to you: set ZMQRUNTIME_DIR"):
        runtime_dir()


def test_without_the_variable_it_is_in_the_users_runtime_folder_or_the_temporary_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ZMQRUNTIME_DIR")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert runtime_dir() == tmp_path / "zmqruntime"
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "missing"))
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    assert runtime_dir() == tmp_path / f"zmqruntime-{os.getuid()}"


def test_a_stopped_server_is_noticed_within_three_seconds() -> None:
    # What the documents promise; the keeper looks four times a second.
    assert DEFAULT_TIMEOUTS.silence + 0.25 + DEFAULT_TIMEOUTS.ping_interval < 3
    assert DEFAULT_TIMEOUTS.ping_interval < DEFAULT_TIMEOUTS.silence < DEFAULT_TIMEOUTS.gone


@given(st.text(max_size=40), st.integers(-10, 70_000), st.sampled_from(["", "tcp", "ipc", "x"]))
def test_any_values_are_an_endpoint_or_a_typed_error(host: str, port: int, transport: str) -> None:
    try:
        endpoint = Endpoint(host, port, transport=transport, directory="/tmp")
    except EndpointError:
        return
    assert endpoint.data_url.startswith((f"{endpoint.transport}://",))
    assert "\n" not in endpoint.data_url


@given(st.text(max_size=40))
def test_any_text_is_an_endpoint_or_a_typed_error(text: str) -> None:
    try:
        Endpoint.parse(text)
    except EndpointError:
        return
