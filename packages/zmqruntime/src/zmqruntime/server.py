"""A server with a data channel and a control channel on one I/O thread.

The I/O thread owns both sockets and answers pings whatever the application does: a blocked application
shows in ``app_idle_ms``, not in a missing pong.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket as stdlib_socket
import threading
import time
from abc import abstractmethod
from collections import deque
from concurrent.futures import Future
from types import TracebackType
from typing import Any

import msgspec
import zmq

from zmqruntime._numbering import Numbering
from zmqruntime.config import DEFAULT_TIMEOUTS, Endpoint, Timeouts
from zmqruntime.errors import PeerBusyError, ProtocolError, RemoteError, ZMQRuntimeError
from zmqruntime.handshake import self_identity
from zmqruntime.link import LinkListener, link_path
from zmqruntime.messages import (
    Command,
    ControlReply,
    Error,
    GetStatus,
    Ok,
    Ping,
    Pong,
    Result,
    Shutdown,
    Status,
    decode_request,
    encode_control,
)
from zmqruntime.security import KeyPair
from zmqruntime.sockets import NO_CURVE, Curve, bind, make_socket, remove_socket_file
from zmqruntime.stream import StreamHandler
from zmqruntime.stream_receiver import DEFAULT_WINDOW_BYTES, DEFAULT_WINDOW_ITEMS, Peer, StreamReceiver

logger = logging.getLogger(__name__)

_TICK_MS = 500


class ZMQServer(StreamHandler):
    """Base of every server.

    Parameters
    ----------
    endpoint : Endpoint
        Where to listen.
    kind, title, log : str
        Told in every pong.
    keys : KeyPair, optional
        CURVE keys; needed to listen beyond this machine.
    data : {"ingest", "broadcast"}
        What the data channel does: take credit streams, or publish to subscribers.
    window_items, window_bytes : int
        Credit given to each sender.

    Notes
    -----
    The hooks `attach`, `note`, `items`, `detach`, `status` and `command` are called on the I/O thread and
    must not block; `command` may return a `concurrent.futures.Future` for work done elsewhere.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        kind: str = "server",
        title: str = "",
        log: str = "",
        keys: KeyPair | None = None,
        data: str = "ingest",
        window_items: int = DEFAULT_WINDOW_ITEMS,
        window_bytes: int = DEFAULT_WINDOW_BYTES,
        timeouts: Timeouts = DEFAULT_TIMEOUTS,
    ) -> None:
        if data not in ("ingest", "broadcast"):
            raise ZMQRuntimeError(f"data channel {data!r} is not known (known: ingest, broadcast)")
        self.endpoint = endpoint
        self.kind, self.title, self.log = kind, title, log
        self._curve = Curve(keys=keys) if keys is not None else NO_CURVE
        self._data_kind = data
        self._window = (window_items, window_bytes)
        self._timeouts = timeouts
        self._ready = False
        self._touched = -1.0
        self._stop = threading.Event()
        self._ended = threading.Event()
        self._shutdown_asked = threading.Event()
        self._thread: threading.Thread | None = None
        self._replies: deque[tuple[list[bytes], ControlReply]] = deque()
        self._broadcasts: deque[list[bytes]] = deque()
        self._numbering, self._numbering_lock = Numbering(), threading.Lock()
        self._wake_read: stdlib_socket.socket | None = None
        self._wake_write: stdlib_socket.socket | None = None
        self._receiver: StreamReceiver | None = None
        self._garbage = 0

    def __enter__(self) -> ZMQServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # ------------------------------------------------------------------ hooks
    @abstractmethod
    def items(self, peer: Peer, seq: int, count: int, body: bytes, frames: list[Any]) -> None:
        """See `StreamHandler.items`. A broadcast server is never called."""

    def status(self) -> dict[str, Any]:
        """Return what `ControlClient.status` gets beside the stream counters."""
        return {}

    def command(self, name: str, params: dict[str, Any]) -> Any | Future[Any]:
        """Return what the command does, or a future of it.

        Raises
        ------
        RemoteError
            To answer with an error of this code, message and remedy.
        """
        raise RemoteError("unknown-command", f"this server has no command {name!r}")

    def capabilities(self) -> dict[str, Any]:
        """Return what the pong says the application can do."""
        return {}

    def versions(self) -> dict[str, str]:
        """Return package versions for the pong."""
        from zmqruntime import __version__

        return {"zmqruntime": __version__}

    # ------------------------------------------------------------------ life
    def start(self) -> None:
        """Bind both channels and start the I/O thread.

        Raises
        ------
        AddressInUseError, InsecureBindError
            See `zmqruntime.sockets.bind`; nothing stays bound then.
        """
        # MANDATORY: answering a connection that is gone fails, which is how one notices that it is.
        data = (
            make_socket(zmq.ROUTER, router_mandatory=1)
            if self._data_kind == "ingest"
            else make_socket(zmq.XPUB)
        )
        control = make_socket(zmq.ROUTER)
        try:
            if self._data_kind == "broadcast":
                data.setsockopt(zmq.XPUB_NODROP, 1)
            bind(control, self.endpoint.control_url, self.endpoint, self._curve)
            bind(data, self.endpoint.data_url, self.endpoint, self._curve)
        except Exception:
            data.close(0)
            control.close(0)
            raise
        self._wake_read, self._wake_write = stdlib_socket.socketpair()
        self._wake_read.setblocking(False)
        self._wake_write.setblocking(False)
        poller = zmq.Poller()
        if self._data_kind == "ingest":
            items, size = self._window
            self._receiver = StreamReceiver(
                data,
                self,
                wake=self.wake,
                window_items=items,
                window_bytes=size,
                timeouts=self._timeouts,
                listener=self._listen(),
                poller=poller,
            )
        self._thread = threading.Thread(
            target=self._run, args=(data, control, poller), name=f"io {self.endpoint}", daemon=True
        )
        self._thread.start()

    def _listen(self) -> LinkListener | None:
        path = link_path(self.endpoint)
        if not path:
            return None
        try:
            return LinkListener(path)
        except OSError as error:
            logger.warning("no short cut at %s (%s): everything takes the data channel", path, error)
            return None

    def stop(self, timeout: float = 5.0) -> None:
        """End the I/O thread and close both channels; idempotent, any thread but the I/O thread."""
        self._stop.set()
        self._shutdown_asked.set()
        self.wake()
        if self._thread is not None and threading.current_thread() is not self._thread:
            self._thread.join(timeout)

    def request_shutdown(self) -> None:
        """Ask the application to end; `wait` returns. Called for a client's shutdown request too."""
        self._shutdown_asked.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until somebody asked for the end; return whether that was so."""
        return self._shutdown_asked.wait(timeout)

    @property
    def shutdown_requested(self) -> bool:
        """Whether somebody asked for the end."""
        return self._shutdown_asked.is_set()

    def set_ready(self, ready: bool = True) -> None:
        """Say in pongs whether the application is up."""
        self._ready = ready

    def touch(self) -> None:
        """Say that the application's own loop just moved; any thread, cheap."""
        self._touched = time.monotonic()

    @property
    def peers(self) -> list[Peer]:
        """The attached senders."""
        return [] if self._receiver is None else self._receiver.peers

    def wake(self) -> None:
        """Make the I/O thread look around; any thread."""
        if self._wake_write is not None:
            with contextlib.suppress(BlockingIOError, OSError):  # full: it is awake already; closed: it ended
                self._wake_write.send(b"\0")

    # ------------------------------------------------------------------ broadcast
    def publish(self, topic: str, payload: Any) -> None:
        """Send `payload` (anything msgpack) to the subscribers of `topic`; any thread, loss is possible.

        Raises
        ------
        PeerBusyError
            More than 10,000 messages wait already.
        ProtocolError
            The payload is nothing msgpack can hold, or larger than 1 MiB.
        """
        if len(self._broadcasts) >= 10_000:
            raise PeerBusyError(f"10,000 broadcasts wait on {self.endpoint}: its subscribers are too slow")
        with self._numbering_lock:  # in the queue as they are numbered
            self._broadcasts.append(self._numbering.frames(topic, payload))
            self._numbering.sent(topic)
        self.wake()

    # ------------------------------------------------------------------ I/O thread
    def _run(self, data: zmq.Socket[bytes], control: zmq.Socket[bytes], poller: zmq.Poller) -> None:
        assert self._wake_read is not None
        wake_fd = self._wake_read.fileno()
        poller.register(control, zmq.POLLIN)
        poller.register(data, zmq.POLLIN)
        poller.register(wake_fd, zmq.POLLIN)
        receiver = self._receiver
        expire_at = 0.0
        try:
            while not self._stop.is_set():
                owing = receiver is not None and receiver.owing
                events = poller.poll(1 if owing else _TICK_MS)
                try:
                    for sock, _ in events:
                        if sock is data:
                            if receiver is None:
                                self._subscriptions(data)
                            else:
                                receiver.read()
                        elif sock is control:
                            self._control(control)
                        elif sock == wake_fd:
                            self._clear_wake()
                        elif receiver is not None:
                            receiver.read_link(sock)
                    self._send_replies(control)
                    if receiver is not None:
                        if receiver.owing:
                            if events:
                                receiver.flush_due()
                            else:
                                receiver.flush()
                        now = time.monotonic()
                        if now > expire_at:
                            expire_at = now + 1.0
                            receiver.expire(now)
                    else:
                        self._send_broadcasts(data)
                except zmq.ZMQError:
                    raise
                except Exception:
                    # The loop's boundary: a hook's bug must not end the thread that answers pings.
                    logger.exception("the I/O thread of %s stumbled and goes on", self.endpoint)
        except Exception:
            logger.exception("the I/O thread of %s ended", self.endpoint)
        finally:
            if receiver is not None:
                receiver.close()
            self._send_replies(control)
            data.close(200)
            control.close(200)
            for url in (self.endpoint.data_url, self.endpoint.control_url):
                remove_socket_file(url)
            self._wake_read.close()
            if self._wake_write is not None:
                self._wake_write.close()
            self._shutdown_asked.set()
            self._ended.set()

    def _clear_wake(self) -> None:
        assert self._wake_read is not None
        with contextlib.suppress(BlockingIOError):
            while len(self._wake_read.recv(4096)) == 4096:
                pass

    def _subscriptions(self, data: zmq.Socket[bytes]) -> None:
        with contextlib.suppress(zmq.Again):
            while True:
                self.subscribed(data.recv(zmq.NOBLOCK))

    def subscribed(self, frame: bytes) -> None:
        """Broadcast servers only: a subscriber came (``b"\\x01" + topic``) or left (``b"\\x00" + topic``)."""

    def _send_broadcasts(self, data: zmq.Socket[bytes]) -> None:
        while self._broadcasts:
            try:
                data.send_multipart(self._broadcasts[0], zmq.NOBLOCK)
            except zmq.Again:
                return  # a subscriber is full; tried again at the next wake-up
            self._broadcasts.popleft()

    def _control(self, control: zmq.Socket[bytes]) -> None:
        for _ in range(64):
            try:
                frames = control.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            # A REQ client's request is [identity, empty, text]; a DEALER may put more before the empty frame.
            try:
                split = frames.index(b"", 1)
            except ValueError:
                self._garbage += 1
                continue
            envelope, rest = frames[: split + 1], frames[split + 1 :]
            if len(rest) != 1:
                self._garbage += 1
                self._replies.append(
                    (envelope, Error("protocol", f"a request is one frame, not {len(rest)}"))
                )
                continue
            try:
                self._request(envelope, rest[0])
            except ProtocolError as error:
                self._garbage += 1
                self._replies.append((envelope, Error("protocol", str(error)[:500], "see docs/protocol.md")))
            except RemoteError as error:
                self._replies.append((envelope, _error(error)))  # an answer, no accident
            except Exception as error:
                # The application's boundary: a request must never go without an answer.
                logger.exception("a control request failed")
                self._replies.append((envelope, _error(error)))

    def _request(self, envelope: list[bytes], data: bytes) -> None:
        request = decode_request(data)
        if isinstance(request, Ping):
            self._replies.append((envelope, self.pong()))
        elif isinstance(request, GetStatus):
            self._replies.append((envelope, Status(self._status())))
        elif isinstance(request, Shutdown):
            self._replies.append((envelope, Ok()))
            self.request_shutdown()
        elif isinstance(request, Command):
            result = self.command(request.name, request.params)
            if isinstance(result, Future):
                result.add_done_callback(lambda done: self._later(envelope, done))
            else:
                self._replies.append((envelope, Result(result)))

    def _later(self, envelope: list[bytes], done: Future[Any]) -> None:
        error = (
            done.exception()
            if not done.cancelled()
            else RemoteError("cancelled", "the server ended before it was done")
        )
        self._replies.append((envelope, Result(done.result()) if error is None else _error(error)))
        self.wake()

    def _send_replies(self, control: zmq.Socket[bytes]) -> None:
        while self._replies:
            envelope, reply = self._replies.popleft()
            try:
                text = encode_control(reply)
            except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
                logger.exception("a reply cannot be written as JSON")
                text = encode_control(
                    Error("reply", f"the server's answer cannot be written as JSON: {error}")
                )
            try:
                control.send_multipart([*envelope, text], zmq.NOBLOCK)
            except zmq.ZMQError as error:
                logger.warning("could not answer a request: %s", error)

    def pong(self) -> Pong:
        """Return what a ping is answered with."""
        pid, start_time = self_identity()
        return Pong(
            versions=self.versions(),
            ready=self._ready,
            pid=pid,
            start_time=start_time,
            kind=self.kind,
            title=self.title,
            log=self.log,
            capabilities={"data": self._data_kind, **self.capabilities()},
            app_idle_ms=round((time.monotonic() - self._touched) * 1000, 1) if self._touched >= 0 else -1.0,
        )

    def _status(self) -> dict[str, Any]:
        values: dict[str, Any] = {
            "pid": os.getpid(),
            "kind": self.kind,
            "title": self.title,
            "rejected_messages": self._garbage,
        }
        if self._receiver is not None:
            values["rejected_messages"] += self._receiver.rejected
            values["senders"] = [
                {
                    "name": peer.name,
                    "pid": peer.pid,
                    "received": peer.received,
                    "displayed": peer.displayed,
                    "superseded": peer.superseded,
                    "refused": peer.refused,
                }
                for peer in self._receiver.peers
            ]
            values.update(self._receiver.counters())
        values.update(self.status())
        return values


def _error(error: BaseException) -> Error:
    if isinstance(error, RemoteError):
        return Error(error.code, error.message, error.remedy)
    return Error(type(error).__name__, str(error) or type(error).__name__)
