"""Ask a server something, with a deadline."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Any

import zmq

from zmqruntime.config import Endpoint
from zmqruntime.errors import ProtocolError, RemoteError, RequestTimeout
from zmqruntime.messages import (
    Command,
    ControlReply,
    ControlRequest,
    Error,
    GetStatus,
    Ok,
    Ping,
    Pong,
    Result,
    Shutdown,
    Status,
    decode_reply,
    encode_control,
)
from zmqruntime.security import KeyPair
from zmqruntime.sockets import Curve, connect, make_socket


class ControlClient:
    """Requests on a server's control channel; safe to share between threads.

    Parameters
    ----------
    endpoint : Endpoint or str
        The server, or its control URL.
    timeout : float
        Seconds each request may take.
    server_key : bytes, optional
        The server's public CURVE key (Z85, 40 bytes) when it has one.
    keys : KeyPair, optional
        This client's own pair, where the server lets only known clients in.

    Notes
    -----
    After a timeout the REQ socket is thrown away: it would wait for the old answer for ever.
    """

    def __init__(
        self,
        endpoint: Endpoint | str,
        *,
        timeout: float = 2.0,
        server_key: bytes | None = None,
        keys: KeyPair | None = None,
    ) -> None:
        self._url = endpoint.control_url if isinstance(endpoint, Endpoint) else endpoint
        self._timeout = timeout
        self._curve = Curve(keys=keys, server_key=server_key)
        self._sock: zmq.Socket[bytes] | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> ControlClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket; idempotent."""
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        if self._sock is not None:
            self._sock.close(0)
            self._sock = None

    def request(self, message: ControlRequest, timeout: float | None = None) -> ControlReply:
        """Return the reply to `message`.

        Raises
        ------
        RequestTimeout
            None came within `timeout` (default: the client's) seconds.
        RemoteError
            The server answered with an error.
        ProtocolError
            The answer is not one.
        """
        wait = self._timeout if timeout is None else timeout
        with self._lock:
            if self._sock is None:
                self._sock = make_socket(zmq.REQ)
                connect(self._sock, self._url, self._curve)
            sock = self._sock
            end = time.monotonic() + wait
            try:
                # A server that refuses our key makes ZeroMQ give the connection up: without a limit
                # the next send would wait for ever.
                sock.setsockopt(zmq.SNDTIMEO, max(0, int(wait * 1000)))
                sock.send(encode_control(message))
                answered = bool(sock.poll(max(0, int((end - time.monotonic()) * 1000))))
            except zmq.Again:
                answered = False
            if not answered:
                self._drop()
                raise RequestTimeout(
                    f"no answer from {self._url} within {wait:g} s: nobody listens there, it hangs, or a key is missing"
                )
            try:
                reply = decode_reply(sock.recv())
            except ProtocolError:
                self._drop()
                raise
        if isinstance(reply, Error):
            raise RemoteError(reply.code, reply.message, reply.remedy)
        return reply

    def ping(self) -> Pong:
        """Return who the server is. See `request` for the errors."""
        reply = self.request(Ping())
        if not isinstance(reply, Pong):
            raise ProtocolError(f"asked for a pong, got {type(reply).__name__}")
        return reply

    def status(self) -> dict[str, Any]:
        """Return the server's counters. See `request` for the errors."""
        reply = self.request(GetStatus())
        if not isinstance(reply, Status):
            raise ProtocolError(f"asked for the status, got {type(reply).__name__}")
        return reply.values

    def shutdown(self) -> None:
        """Ask the server to end; it answers before it does. See `request` for the errors."""
        reply = self.request(Shutdown())
        if not isinstance(reply, Ok):
            raise ProtocolError(f"asked for a shutdown, got {type(reply).__name__}")

    def command(self, name: str, timeout: float | None = None, **params: Any) -> Any:
        """Return what the server's command `name` returns. See `request` for the errors."""
        reply = self.request(Command(name, params), timeout)
        if not isinstance(reply, Result):
            raise ProtocolError(f"asked for {name!r}, got {type(reply).__name__}")
        return reply.value
