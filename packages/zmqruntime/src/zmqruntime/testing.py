"""For tests of servers, ours and other people's: an echo server, a contract suite, waiting, dying on cue.

`EchoServer` also runs as a real process::

    python -m zmqruntime.testing --port 5555 --transport tcp

Only `ServerTests` needs pytest.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from zmqruntime._deadline import start_port, wait_until
from zmqruntime._server_tests import ServerTests
from zmqruntime.config import Endpoint
from zmqruntime.discovery import ConnectionInfo, remove_connection, write_connection
from zmqruntime.errors import PeerError, RemoteError
from zmqruntime.handshake import wait_until_ready
from zmqruntime.messages import CREDIT, DISPLAYED
from zmqruntime.process import ServerProcess, watch_lifeline
from zmqruntime.security import KeyPair, ServerKeys, read_public_key
from zmqruntime.server import ZMQServer
from zmqruntime.stream import Encoded, Encoder
from zmqruntime.stream_receiver import Peer

__all__ = [
    "BytesEncoder",
    "EchoServer",
    "ServerTests",
    "echo_command",
    "echo_process",
    "fault_env",
    "run_to_fault",
    "start_port",
    "wait_until",
]

KEPT_BODIES = 1000
"""Item bodies an `EchoServer` remembers."""


# --------------------------------------------------------------------------- a server


class EchoServer(ZMQServer):
    """Takes every item as displayed and answers a few commands; see `command`.

    Attributes
    ----------
    bodies : collections.deque of bytes
        The last item messages' bodies.
    frames : collections.deque of list of bytes
        The frames that came with them.
    """

    def __init__(self, endpoint: Endpoint, **options: Any) -> None:
        super().__init__(endpoint, **{"kind": "echo", **options})
        self.bodies: deque[bytes] = deque(maxlen=KEPT_BODIES)
        self.frames: deque[list[bytes]] = deque(maxlen=KEPT_BODIES)
        self._count = self._frame_bytes = 0
        self._block = 0.0

    def items(self, peer: Peer, seq: int, count: int, body: bytes, frames: list[Any]) -> None:
        """Remember the items and give each its outcome and credit at once."""
        self.bodies.append(bytes(body))
        self.frames.append([bytes(frame) for frame in frames])
        self._count += count
        self._frame_bytes += sum(len(frame) for frame in frames)
        for number in range(seq, seq + count):
            peer.give(number, DISPLAYED | CREDIT)

    def status(self) -> dict[str, Any]:
        """Return how many items and frame bytes came."""
        return {"echo_items": self._count, "echo_frame_bytes": self._frame_bytes}

    def command(self, name: str, params: dict[str, Any]) -> Any | Future[Any]:
        """Answer a command.

        ``echo`` returns its parameters; ``later`` does so after ``seconds``; ``fail`` is a `RemoteError` and
        ``bug`` a `ValueError`; ``block`` makes the application's loop, not the I/O thread, sleep for ``seconds``;
        ``publish`` broadcasts ``payload`` under ``topic``.
        """
        if name == "echo":
            return params
        if name == "later":
            future: Future[Any] = Future()
            timer = threading.Timer(float(params.get("seconds", 0)), future.set_result, (params,))
            timer.daemon = True
            timer.start()
            return future
        if name == "fail":
            raise RemoteError("asked-to-fail", "this fails, as asked", "do not ask")
        if name == "bug":
            raise ValueError("an error nobody expected")
        if name == "block":
            self._block = float(params["seconds"])
            return None
        if name == "publish":
            self.publish(params["topic"], params["payload"])
            return None
        return super().command(name, params)

    def run(self) -> None:
        """Be the application: move until somebody asks for the end."""
        while not self.wait(0.05):
            self.touch()
            seconds, self._block = self._block, 0.0
            if seconds:
                time.sleep(seconds)


class BytesEncoder(Encoder[bytes]):
    """Sends each `bytes` item as one frame, for tests of streams without an application."""

    def encode(self, items: Sequence[bytes]) -> Encoded | None:
        """Return all of them: there is no memory of ours to run out of."""
        return Encoded(len(items), b"\xc0", list(items), [None] * len(items), sum(map(len, items)))

    def release(self, token: Any) -> None:
        """Nothing was occupied."""

    def size(self, item: bytes) -> int:
        """Return the item's length."""
        return len(item)


# --------------------------------------------------------------------------- real processes


def echo_command(endpoint: Endpoint, *options: str) -> list[str]:
    """Return the command that runs an `EchoServer` at `endpoint` in a process of its own."""
    where = ["--host", endpoint.host, "--port", str(endpoint.data_port), "--transport", endpoint.transport]
    if endpoint.directory:
        where += ["--directory", endpoint.directory]
    return [sys.executable, "-m", "zmqruntime.testing", *where, *options]


@contextlib.contextmanager
def echo_process(
    endpoint: Endpoint,
    *options: str,
    env: Mapping[str, str | None] | None = None,
    log: Path | str | None = None,
    detached: bool = False,
    **client: Any,
) -> Iterator[ServerProcess]:
    """Run an echo server in a process of its own, ready to answer; it is gone afterwards.

    Parameters
    ----------
    *options : str
        Further arguments, see ``python -m zmqruntime.testing --help``.
    env, log, detached
        See `ServerProcess.spawn`.
    **client
        `server_key` and `keys` for asking whether it is ready.
    """
    with tempfile.TemporaryDirectory(prefix="echo-") as folder:
        output = Path(log or f"{folder}/log")
        process = ServerProcess.spawn(
            echo_command(endpoint, *options), detached=detached, env=env, log=output
        )
        try:
            try:
                wait_until_ready(endpoint, 20, process.is_alive, **client)
            except PeerError as error:
                said = output.read_text(errors="replace")[-4000:]
                raise AssertionError(f"{error}; exit code {process.returncode}, it said: {said}") from error
            yield process
        finally:
            if process.is_alive():
                os.kill(process.pid, getattr(signal, "SIGCONT", 0))  # a stopped one cannot end itself
            process.stop(2.0)


def fault_env(point: str, hit: int = 1) -> dict[str, str]:
    """Return the environment in which a process kills itself at passage number `hit` of a fault point."""
    return {"ZMQRUNTIME_FAULT": f"{point}:{hit}"}


def run_to_fault(
    argv: Sequence[str],
    point: str,
    hit: int = 1,
    *,
    timeout: float = 60.0,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run a program that dies at a fault point.

    Raises
    ------
    AssertionError
        It ended in another way, or not at all: the point was never reached. The text holds its output.
    """
    whole = {**os.environ, **(env or {}), **fault_env(point, hit)}
    try:
        done = subprocess.run(list(argv), env=whole, capture_output=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired as error:
        raise AssertionError(
            f"{point}:{hit} was not reached within {timeout:g} s: {error.stderr!r}"
        ) from error
    if done.returncode != -getattr(signal, "SIGKILL", signal.SIGTERM):
        output = (done.stdout + done.stderr)[-4000:].decode(errors="replace")
        raise AssertionError(f"{point}:{hit} was not reached, exit code {done.returncode}: {output}")
    return done


# --------------------------------------------------------------------------- python -m zmqruntime.testing


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m zmqruntime.testing", description="Run an echo server.")
    parser.add_argument("--host", default="localhost")
    parser.add_argument("--port", type=int, default=5555, help="data port; control is 1000 above")
    parser.add_argument("--transport", choices=["ipc", "tcp"])
    parser.add_argument("--directory", default="", help="folder of the ipc socket files")
    parser.add_argument("--kind", default="echo")
    parser.add_argument("--title", default="")
    parser.add_argument("--data", choices=["ingest", "broadcast"], default="ingest")
    parser.add_argument("--key", help="file with a CURVE key pair")
    parser.add_argument(
        "--allow", action="append", help="public key, or its file, of a client to let in; repeatable"
    )
    parser.add_argument(
        "--stubborn", action="store_true", help="ignore SIGTERM, shutdown requests and the parent's death"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run an echo server until it is asked to end."""
    options = _parser().parse_args(argv)
    keys = KeyPair.load(options.key) if options.key else None
    if keys is not None and options.allow is not None:
        keys = ServerKeys(keys, [read_public_key(text) for text in options.allow])
    endpoint = Endpoint(
        options.host, options.port, transport=options.transport or "", directory=options.directory
    )
    server = EchoServer(endpoint, kind=options.kind, title=options.title, keys=keys, data=options.data)

    def end(*_: object) -> None:
        if not options.stubborn:
            server.request_shutdown()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    watch_lifeline(end)
    with server:
        info = ConnectionInfo.of(
            endpoint, kind=options.kind, title=options.title, public_key=keys.public if keys else ""
        )
        write_connection(info)
        try:
            server.set_ready()
            server.run()
            while options.stubborn:
                signal.pause()
        finally:
            remove_connection(info)
    return 0


if __name__ == "__main__":
    sys.exit(main())
