"""One-to-many messages for progress and events: loss is possible, and always noticed.

What is guaranteed:

* Nothing is dropped silently *here*. Before a message leaves, `Publisher.publish` either takes it for every
  subscriber there is, or takes it for none and raises `PeerBusyError`.
* A `Subscriber` sees messages of one topic in order, none twice, and counts in `missed` those of a topic it
  follows that it did not get, as soon as the next one arrives: every message carries its topic's number and
  its publisher's own random id.
* Nothing is lost between `Publisher.wait_for_subscriber` and the first message.

What is not:

* A message that was taken is not yet delivered: it is lost with the publisher's process, with the
  subscriber's, and with the connection between them (then it shows in `missed`).
* A message published while nobody subscribes goes nowhere. A late subscriber begins with the next one, and
  one whose connection broke subscribes anew when its thread is next in `recv`.
* One subscriber that does not read holds up all: its queue fills, then `PeerBusyError`. One whose whole
  process is stopped or cut off is disconnected after `HEARTBEAT_TIMEOUT_MS`, and the others go on.

Anything of which every single one counts goes through a `StreamSender`.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any

import zmq

from zmqruntime._numbering import MAX_BROADCAST_BYTES, MAX_TOPICS, Broadcast, Numbering, decode_numbered
from zmqruntime.config import Endpoint
from zmqruntime.errors import HandshakeTimeout, PeerBusyError, StreamClosedError
from zmqruntime.security import KeyPair
from zmqruntime.sockets import Curve, bind, connect, make_socket

__all__ = ["Broadcast", "Publisher", "Subscriber"]

logger = logging.getLogger(__name__)

DEFAULT_QUEUE = 1000
"""Messages that may wait for each subscriber."""

HEARTBEAT_MS = 1000
"""A publisher asks each subscriber's I/O thread for a sign of life this often."""

HEARTBEAT_TIMEOUT_MS = 3000
"""A subscriber without one for this long is disconnected, so that it cannot hold up the others."""

_SUBSCRIBE, _UNSUBSCRIBE = b"\x01", b"\x00"


class Publisher:
    """Sends messages to every subscriber of their topic.

    Parameters
    ----------
    endpoint : Endpoint
        Its data channel is bound; see `sockets.bind` for the errors.
    keys : KeyPair, optional
        CURVE keys, see `zmqruntime.security`.
    queue : int
        Messages that may wait for each subscriber before `PeerBusyError`.
    max_bytes : int
        Largest encoded message.

    Notes
    -----
    Any thread may use it; not a fork.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        keys: KeyPair | None = None,
        queue: int = DEFAULT_QUEUE,
        max_bytes: int = MAX_BROADCAST_BYTES,
    ) -> None:
        self.endpoint = endpoint
        self._numbering = Numbering(max_bytes)
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._subscriptions: Counter[str] = Counter()
        self._closed = False
        self._sent = self._refused = 0
        self._sock = make_socket(
            zmq.XPUB,
            sndhwm=queue,
            xpub_nodrop=1,  # full: an error for us, instead of a message lost for somebody
            xpub_verboser=1,  # every subscription and its end, not only each topic's first and last
            heartbeat_ivl=HEARTBEAT_MS,
            heartbeat_timeout=HEARTBEAT_TIMEOUT_MS,
        )
        try:
            bind(self._sock, endpoint.data_url, endpoint, Curve(keys=keys))
        except BaseException:
            self._sock.close(0)
            raise

    def __enter__(self) -> Publisher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def sent(self) -> int:
        """Messages taken; what became of them only the subscribers know."""
        return self._sent

    @property
    def refused(self) -> int:
        """Messages refused with `PeerBusyError`."""
        return self._refused

    def subscribers(self, topic: str = "") -> int:
        """Return how many subscriptions would match a message of `topic` now."""
        with self._lock:
            self._check()
            self._read_subscriptions()
            return self._matching(topic)

    def wait_for_subscriber(self, timeout: float, topic: str = "") -> None:
        """Return once somebody subscribes to what `topic` is part of; from then on nothing is lost unnoticed.

        Parameters
        ----------
        timeout : float
            Seconds.
        topic : str
            What is going to be published; any when empty.

        Raises
        ------
        HandshakeTimeout
            Nobody did in time.
        """
        end = time.monotonic() + timeout
        while True:
            with self._lock:
                self._check()
                self._read_subscriptions()
                if self._matching(topic) or (not topic and self._subscriptions):
                    return
                left = end - time.monotonic()
                if left <= 0:
                    what = f" to {topic!r}" if topic else ""
                    raise HandshakeTimeout(
                        f"nobody subscribed{what} at {self.endpoint} within {timeout:g} s: "
                        "is the subscriber running, on this endpoint, with the right key?"
                    )
                # In slices: another thread may want to publish meanwhile.
                self._sock.poll(int(min(left, 0.05) * 1000) + 1)

    def publish(self, topic: str, payload: Any, *, timeout: float = 0.0) -> None:
        """Send `payload` to the subscribers of `topic`: to all of them, or to none.

        Parameters
        ----------
        topic : str
            A subscriber gets it when it subscribed to this text or its beginning.
        payload : object
            Anything msgpack can hold; dataclasses and msgspec structs too.
        timeout : float
            Seconds to wait for room in the queues of slow subscribers. No other thread can publish meanwhile.

        Raises
        ------
        PeerBusyError
            A subscriber's queue was full all that time. Nobody got the message; it is counted in `refused`.
        ProtocolError, MessageTooLargeError
            See `Numbering.frames`.
        StreamClosedError
            It is closed, or belongs to the process this one was forked from.
        """
        with self._lock:
            self._check()
            self._read_subscriptions()
            frames = self._numbering.frames(topic, payload)
            try:
                if timeout > 0:
                    self._sock.setsockopt(zmq.SNDTIMEO, max(1, round(timeout * 1000)))
                    self._sock.send_multipart(frames)
                else:
                    self._sock.send_multipart(frames, zmq.NOBLOCK)
            except zmq.Again as error:
                self._refused += 1
                raise PeerBusyError(
                    f"a subscriber of {topic!r} at {self.endpoint} is too slow, its queue is full: publish less, "
                    "give a timeout, or find out why it does not read"
                ) from error
            self._numbering.sent(topic)
            self._sent += 1

    def close(self, linger: float = 0.2) -> None:
        """Stop publishing; idempotent. Messages still queued get `linger` seconds to leave."""
        with self._lock:
            if not self._closed:
                self._closed = True
                if os.getpid() == self._pid:
                    self._sock.close(round(linger * 1000))

    def _check(self) -> None:
        if self._closed:
            raise StreamClosedError(f"the publisher at {self.endpoint} is closed")
        if os.getpid() != self._pid:
            raise StreamClosedError(
                f"this publisher belongs to process {self._pid}, not to its fork {os.getpid()}"
            )

    def _matching(self, topic: str) -> int:
        return sum(count for prefix, count in self._subscriptions.items() if topic.startswith(prefix))

    def _read_subscriptions(self) -> None:
        while True:
            try:
                frame = self._sock.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            prefix = frame[1:].decode("utf-8", "replace")
            if frame[:1] == _SUBSCRIBE:
                self._subscriptions[prefix] += 1
            elif frame[:1] == _UNSUBSCRIBE:
                self._subscriptions[prefix] -= 1
                self._subscriptions = +self._subscriptions


class Subscriber:
    """Receives the messages of some topics, and knows which it missed.

    Iterating yields `Broadcast` tuples ``(topic, seq, payload)`` until `close`, waiting in between.
    One thread uses it; it starts none.

    Parameters
    ----------
    endpoint : Endpoint
        The publisher. It need not be there yet; it may go and come back.
    topics : sequence of str
        Beginnings of topics; ``""`` is all.
    server_key : bytes, optional
        The publisher's public CURVE key.
    keys : KeyPair, optional
        An own CURVE pair, where the publisher lets only known clients in.
    queue : int
        Messages that may wait here before the publisher's queue fills.

    Attributes
    ----------
    received, missed : int
        Messages got, and messages of a topic got before that never arrived.
    restarts : int
        How often another publisher took the place of the one before.
    rejected : int
        Messages that were no broadcasts.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        topics: Sequence[str] = ("",),
        *,
        server_key: bytes | None = None,
        keys: KeyPair | None = None,
        queue: int = DEFAULT_QUEUE,
    ) -> None:
        self.endpoint = endpoint
        self.received = self.missed = self.restarts = self.rejected = 0
        self._publisher = -1
        self._last: dict[str, int] = {}
        self._closed = False
        self._sock = make_socket(zmq.SUB, rcvhwm=queue, maxmsgsize=2 * MAX_BROADCAST_BYTES)
        for topic in topics:
            self._sock.setsockopt(zmq.SUBSCRIBE, topic.encode())
        connect(self._sock, endpoint.data_url, Curve(keys=keys, server_key=server_key))

    def __enter__(self) -> Subscriber:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Broadcast]:
        while not self._closed:
            message = self.recv(None)
            if message is not None:
                yield message

    def recv(self, timeout: float | None = None) -> Broadcast | None:
        """Return the next message, or None when none came within `timeout` seconds (None: wait for ever).

        Raises
        ------
        StreamClosedError
            The subscriber is closed.
        """
        if self._closed:
            raise StreamClosedError(f"the subscriber of {self.endpoint} is closed")
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            left = None if end is None else max(0, round((end - time.monotonic()) * 1000))
            if not self._sock.poll(left):
                return None
            message = self._read(self._sock.recv_multipart())
            if message is not None:
                return message

    def close(self) -> None:
        """Stop receiving; idempotent."""
        if not self._closed:
            self._closed = True
            self._sock.close(0)

    def _read(self, frames: list[bytes]) -> Broadcast | None:
        try:
            topic_bytes, body = frames
            topic, message = topic_bytes.decode(), decode_numbered(body)
            if topic not in self._last and len(self._last) >= MAX_TOPICS:
                raise ValueError(f"{MAX_TOPICS} topics are followed already")
        except ValueError as error:
            if not self.rejected:
                logger.warning(
                    "%s sent something that is no broadcast (%s); counted from now on", self.endpoint, error
                )
            self.rejected += 1
            return None
        if message.publisher != self._publisher:
            known = self._publisher >= 0
            self.restarts += known
            self._publisher = message.publisher
            # We followed these topics when the new publisher began, so its numbers count from 1.
            self._last = dict.fromkeys(self._last, 0)
        # A topic seen for the first time may have been published before we came: nothing is missed.
        previous = self._last.get(topic, message.seq - 1)
        self.missed += max(0, message.seq - previous - 1)
        self._last[topic] = message.seq
        self.received += 1
        return Broadcast(topic, message.seq, message.payload)
