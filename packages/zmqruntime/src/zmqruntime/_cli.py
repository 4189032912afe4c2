"""The command ``zmqruntime``: look at running servers from a shell, and end them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from zmqruntime.errors import KeyFileError, PeerError, RequestTimeout, ZMQRuntimeError

if TYPE_CHECKING:
    from zmqruntime.client import ControlClient
    from zmqruntime.config import Endpoint
    from zmqruntime.discovery import ConnectionInfo
    from zmqruntime.messages import Pong

OK, FAILED, USAGE, SILENT = 0, 1, 2, 3
"""Exit codes: done; it said no or could not be done; a wrong command line; nobody answered."""

_EPILOG = """\
An ENDPOINT is a port of this machine (5555), host:port, or tcp://host:port. Servers of this machine are
reached over ipc when only a port is given; write tcp://localhost:5555 for one that listens on tcp.

examples:
  zmqruntime list                          servers of yours on this machine, and whether they answer
  zmqruntime ping 5555                     who answers on port 5555, and how fast
  zmqruntime status 5555 --json | jq .     its counters, for a script
  zmqruntime shutdown 5555                 ask it to end, and wait until it has
  zmqruntime shutdown 5555 --force         end it although it does not answer (TERM, then KILL; by its
                                           pid and start time, never by its port)
  zmqruntime ping gpu1:5555 --server-key gpu1.pub

exit codes: 0 done, 1 failed, 2 wrong command line, 3 nobody answered
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    from zmqruntime import __version__

    parser = argparse.ArgumentParser(
        prog="zmqruntime",
        description="Look at running servers, and end them.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"zmqruntime {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    helps = {
        "ping": "ask a server who it is",
        "status": "show a server's counters",
        "shutdown": "ask a server to end, and wait until it has",
        "list": "list your servers on this machine",
    }
    for name, text in helps.items():
        command = commands.add_parser(name, help=text, description=text.capitalize() + ".")
        if name != "list":
            command.add_argument(
                "endpoint", metavar="ENDPOINT", nargs="?", default="5555", help="default: 5555"
            )
            command.add_argument(
                "--server-key",
                metavar="KEY",
                help="its public CURVE key (--server-key=KEY) or a file with it; found by itself on this machine",
            )
            command.add_argument(
                "--key", metavar="FILE", help="your own key pair, if it lets only known clients in"
            )
        command.add_argument(
            "--timeout", type=float, metavar="S", help="seconds to wait (default: %(default)s)"
        )
        command.add_argument("--json", action="store_true", help="print JSON")
        command.set_defaults(timeout={"list": 1.0, "shutdown": 10.0}.get(name, 2.0))
        if name == "shutdown":
            command.add_argument(
                "--force", action="store_true", help="end its process when it does not do so itself"
            )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    options = build_parser().parse_args(argv)
    try:
        code: int = {"ping": _ping, "status": _status, "shutdown": _shutdown, "list": _list}[options.command](
            options
        )
    except RequestTimeout as error:
        print(f"zmqruntime: {error}\n{_silent_hint(options)}", file=sys.stderr)
        return SILENT
    except (ZMQRuntimeError, OSError) as error:
        print(f"zmqruntime: {error}", file=sys.stderr)
        return (
            USAGE
            if isinstance(error, (ValueError, KeyFileError)) and not isinstance(error, PeerError)
            else FAILED
        )
    return code


def _silent_hint(options: argparse.Namespace) -> str:
    if options.command == "shutdown" and not options.force:
        return "If it hangs, 'zmqruntime shutdown --force' ends its process. 'zmqruntime list' shows what runs here."
    return "'zmqruntime list' shows what runs here."


def _where(options: argparse.Namespace) -> tuple[Endpoint, ConnectionInfo | None]:
    """Return the endpoint meant, and its connection file when it is a server of this user and machine."""
    from zmqruntime.config import Endpoint
    from zmqruntime.discovery import read_connection

    endpoint = Endpoint.parse(options.endpoint)
    if not endpoint.is_local:
        return endpoint, None
    explicit = "://" in options.endpoint
    info = read_connection(None, endpoint.data_port, endpoint.transport if explicit else None)
    return (endpoint if info is None else info.endpoint), info


def _client(options: argparse.Namespace) -> tuple[ControlClient, Endpoint, ConnectionInfo | None]:
    from zmqruntime.client import ControlClient
    from zmqruntime.security import KeyPair, read_public_key

    endpoint, info = _where(options)
    server_key = None
    if options.server_key:
        server_key = read_public_key(options.server_key)
    elif info is not None and info.public_key:
        server_key = info.public_key.encode()
    keys = KeyPair.load(options.key) if options.key else None
    timeout = min(options.timeout, 2.0) if options.command == "shutdown" else options.timeout
    return ControlClient(endpoint, timeout=timeout, server_key=server_key, keys=keys), endpoint, info


def _print_json(value: Any) -> None:
    import msgspec

    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def _ping(options: argparse.Namespace) -> int:
    import time

    client, endpoint, _ = _client(options)
    with client:
        client.ping()  # the first one pays for the connection
        began = time.perf_counter()
        pong = client.ping()
        elapsed = (time.perf_counter() - began) * 1000
    if options.json:
        import msgspec

        _print_json(
            {**msgspec.to_builtins(pong), "endpoint": str(endpoint), "round_trip_ms": round(elapsed, 3)}
        )
        return OK
    versions = ", ".join(f"{name} {version}" for name, version in sorted(pong.versions.items()))
    print(f"{pong.kind} {pong.title!r} at {endpoint}: {_state(pong)}, answered in {elapsed:.1f} ms")
    print(f"  pid {pong.pid}, protocol {pong.protocol}, {versions}")
    if pong.log:
        print(f"  log {pong.log}")
    return OK


def _state(pong: Pong) -> str:
    if not pong.ready:
        return "starting"
    return (
        "ready"
        if pong.app_idle_ms < 1000
        else f"ready, but its application has not moved for {pong.app_idle_ms / 1000:.1f} s"
    )


def _status(options: argparse.Namespace) -> int:
    client, _, _ = _client(options)
    with client:
        values = client.status()
    if options.json:
        _print_json(values)
        return OK
    width = max(map(len, values), default=0)
    for name, value in values.items():
        print(f"{name:<{width}}  {value}")
    return OK


def _shutdown(options: argparse.Namespace) -> int:
    from zmqruntime.process import ServerProcess

    client, endpoint, info = _client(options)
    with client:
        if options.force and info is not None:
            how = ServerProcess.attach(info.pid, info.start_time).stop(
                min(options.timeout, 5.0), client.shutdown
            )
            return _ended(options, endpoint, info.pid, {"asked": "ended", "gone": "ended"}.get(how, how))
        if options.force and not endpoint.is_local:
            raise ZMQRuntimeError(
                f"--force ends processes of this machine only, not of {endpoint.host}: run it there"
            )
        pong = client.ping()
        client.shutdown()
    if not endpoint.is_local:
        return _ended(options, endpoint, pong.pid, "asked to end")
    process = ServerProcess(pong.pid, pong.start_time)
    if process.wait(options.timeout):
        return _ended(options, endpoint, pong.pid, "ended")
    if options.force:
        return _ended(options, endpoint, pong.pid, process.stop())
    print(
        f"zmqruntime: {endpoint} (pid {pong.pid}) agreed to end but lives after {options.timeout:g} s: "
        "wait, or use 'zmqruntime shutdown --force'",
        file=sys.stderr,
    )
    return FAILED


def _ended(options: argparse.Namespace, endpoint: Endpoint, pid: int, how: str) -> int:
    if options.json:
        _print_json({"endpoint": str(endpoint), "pid": pid, "result": how})
    else:
        print(f"{endpoint} (pid {pid}): {how}")
    return OK


def _list(options: argparse.Namespace) -> int:
    import msgspec

    from zmqruntime.discovery import list_connections
    from zmqruntime.handshake import ping

    found = list_connections()

    def ask(info: ConnectionInfo) -> tuple[str, float | None]:
        try:
            pong = ping(info.endpoint, timeout=options.timeout, server_key=info.public_key.encode() or None)
        except (PeerError, ZMQRuntimeError) as error:
            return ("not responding" if isinstance(error, RequestTimeout) else str(error)), None
        return _state(pong), pong.app_idle_ms

    with ThreadPoolExecutor(max(1, min(16, len(found)))) as pool:
        states = list(pool.map(ask, found))
    if options.json:
        _print_json(
            [
                {
                    **msgspec.to_builtins(info),
                    "endpoint": str(info.endpoint),
                    "state": state,
                    "app_idle_ms": idle,
                }
                for info, (state, idle) in zip(found, states, strict=True)
            ]
        )
        return OK
    if not found:
        print("no servers of yours run on this machine")
        return OK
    rows = [("PORT", "KIND", "TITLE", "PID", "TRANSPORT", "STATE")]
    for info, (state, _) in zip(found, states, strict=True):
        rows.append((str(info.data_port), info.kind, info.title or "-", str(info.pid), info.transport, state))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    for row in rows:
        print("  ".join([*(text.ljust(width) for text, width in zip(row, widths, strict=False)), row[-1]]))
    return OK


if __name__ == "__main__":
    sys.exit(main())
