"""The command ``zmqruntime``: what it prints, and its exit codes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from zmqruntime import _cli
from zmqruntime.config import Endpoint
from zmqruntime.discovery import free_endpoint, list_connections
from zmqruntime.process import ServerProcess
from zmqruntime.security import KeyPair
from zmqruntime.testing import echo_process, start_port, wait_until


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZMQRUNTIME_DIR", str(tmp_path / "r"))


@pytest.fixture
def endpoint() -> Endpoint:
    return free_endpoint(start_port(), "tcp")


@pytest.fixture
def server(endpoint: Endpoint) -> Iterator[ServerProcess]:
    with echo_process(endpoint, "--title", "my server") as process:
        yield process


class Ran:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


Run = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def main(*argv: str) -> Ran:
        capsys.readouterr()
        try:
            code = _cli.main(argv)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 99
        return Ran(code, *capsys.readouterr())

    return main


def port(endpoint: Endpoint) -> str:
    return str(endpoint.data_port)


def test_the_script_is_installed() -> None:
    script = shutil.which("zmqruntime", path=str(Path(sys.executable).parent))
    assert script
    done = subprocess.run([script, "--version"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert done.stdout.startswith("zmqruntime ")


def test_help_teaches(run: Run) -> None:
    ran = run("--help")
    assert ran.code == 0
    for word in ("examples:", "zmqruntime ping 5555", "--force", "exit codes"):
        assert word in ran.out
    for command in ("ping", "status", "shutdown", "list"):
        ran = run(command, "--help")
        assert ran.code == 0
        assert "--json" in ran.out


def test_ping(run: Run, endpoint: Endpoint, server: ServerProcess) -> None:
    ran = run("ping", port(endpoint))
    assert (ran.code, ran.err) == (0, "")
    assert "'my server'" in ran.out
    assert f"pid {server.pid}" in ran.out
    values = json.loads(run("ping", str(endpoint), "--json").out)
    assert values["pid"] == server.pid
    assert values["type"] == "pong"
    assert values["round_trip_ms"] > 0
    assert values["endpoint"] == str(endpoint)


def test_a_port_finds_the_transport_by_the_connection_file(
    run: Run, endpoint: Endpoint, server: ServerProcess
) -> None:
    assert run("ping", port(endpoint)).code == 0
    assert run("ping", f"ipc://{port(endpoint)}", "--timeout", "0.2").code == 3


def test_status(run: Run, endpoint: Endpoint, server: ServerProcess) -> None:
    ran = run("status", port(endpoint))
    assert ran.code == 0
    assert [line.split() for line in ran.out.splitlines() if line.startswith("pid ")] == [
        ["pid", str(server.pid)]
    ]
    assert json.loads(run("status", port(endpoint), "--json").out)["echo_items"] == 0


def test_shutdown_returns_when_it_is_gone(run: Run, endpoint: Endpoint, server: ServerProcess) -> None:
    ran = run("shutdown", port(endpoint))
    assert (ran.code, ran.err) == (0, "")
    assert "ended" in ran.out
    assert not server.is_alive()
    assert list_connections() == []


def test_nobody_there(run: Run, endpoint: Endpoint) -> None:
    for command in ("ping", "status", "shutdown"):
        ran = run(command, str(endpoint), "--timeout", "0.2")
        assert ran.code == 3
        assert ran.out == ""
        assert endpoint.control_url in ran.err
        assert "zmqruntime list" in ran.err


@pytest.mark.parametrize(
    "argv",
    [["ping", "nonsense"], ["ping", "99999"], ["ping", "5555", "--server-key", "/no/file"], ["nonsense"], []],
)
def test_wrong_command_lines(run: Run, argv: list[str]) -> None:
    ran = run(*argv)
    assert ran.code == 2
    assert ran.err


def test_list(run: Run, endpoint: Endpoint, server: ServerProcess) -> None:
    ran = run("list")
    assert ran.code == 0
    head, row = ran.out.splitlines()
    assert head.split() == ["PORT", "KIND", "TITLE", "PID", "TRANSPORT", "STATE"]
    assert row.split() == [port(endpoint), "echo", "my", "server", str(server.pid), "tcp", "ready"]
    (value,) = json.loads(run("list", "--json").out)
    assert (value["pid"], value["state"], value["title"]) == (server.pid, "ready", "my server")


def test_list_of_nothing(run: Run) -> None:
    assert "no servers" in run("list").out
    assert json.loads(run("list", "--json").out) == []


def test_a_stopped_server_is_listed_and_ended_by_force_only(
    run: Run, endpoint: Endpoint, server: ServerProcess
) -> None:
    os.kill(server.pid, signal.SIGSTOP)
    assert "not responding" in run("list", "--timeout", "0.3").out
    ran = run("shutdown", port(endpoint), "--timeout", "0.3")
    assert ran.code == 3
    assert "shutdown --force" in ran.err
    assert server.is_alive()
    ran = run("shutdown", port(endpoint), "--timeout", "0.3", "--force", "--json")
    assert ran.code == 0
    assert json.loads(ran.out) == {"endpoint": str(endpoint), "pid": server.pid, "result": "killed"}
    assert not server.is_alive()
    assert "no servers" in run("list").out


def test_one_that_says_yes_and_lives_on(run: Run, endpoint: Endpoint) -> None:
    with echo_process(endpoint, "--stubborn") as server:
        ran = run("shutdown", port(endpoint), "--timeout", "0.5")
        assert ran.code == 1
        assert "--force" in ran.err
        assert server.is_alive()
        assert run("shutdown", port(endpoint), "--timeout", "0.5", "--force").code == 0
        assert not server.is_alive()


def test_force_leaves_a_stranger_on_the_port_alone(
    run: Run, endpoint: Endpoint, server: ServerProcess
) -> None:
    """The connection file's process is dead and somebody else listens: nobody is killed by port."""
    (info,) = list_connections()
    path = next((Path(os.environ["ZMQRUNTIME_DIR"]) / "connections").iterdir())
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, "start_time": info.start_time - 1}))
    os.kill(server.pid, signal.SIGSTOP)
    ran = run("shutdown", str(endpoint), "--timeout", "0.3", "--force")
    assert ran.code == 3
    assert server.is_alive()
    os.kill(server.pid, signal.SIGCONT)


def test_force_is_for_this_machine(run: Run) -> None:
    ran = run("shutdown", "192.0.2.1:5555", "--force", "--timeout", "0.2")
    assert ran.code == 1
    assert "192.0.2.1" in ran.err


def test_an_application_that_hangs_is_told(run: Run, endpoint: Endpoint, server: ServerProcess) -> None:
    from zmqruntime.client import ControlClient

    with ControlClient(endpoint, timeout=5) as client:
        client.command("block", seconds=30)
        wait_until(lambda: client.ping().app_idle_ms > 1000)
    assert "has not moved for" in run("ping", port(endpoint)).out
    assert "has not moved for" in run("list").out


def test_keys_of_this_machine_are_found(run: Run, endpoint: Endpoint, tmp_path: Path) -> None:
    server, client = KeyPair.generate(), KeyPair.generate()
    path = server.save(tmp_path / "key")
    own = client.save(tmp_path / "own")
    with echo_process(endpoint, "--key", str(path), server_key=server.public):
        assert run("ping", port(endpoint)).code == 0
        assert run("list").out.endswith("ready\n")
        wrong = run("ping", port(endpoint), f"--server-key={client.public.decode()}", "--timeout", "0.3")
        assert wrong.code == 3
    allowed = client.save_public(tmp_path / "own.pub")
    with echo_process(
        endpoint, "--key", str(path), "--allow", str(allowed), server_key=server.public, keys=client
    ):
        assert run("ping", port(endpoint), "--timeout", "0.3").code == 3
        assert run("ping", port(endpoint), "--key", str(own)).code == 0
