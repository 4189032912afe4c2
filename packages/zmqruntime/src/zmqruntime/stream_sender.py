"""The sending side of a credit stream.

Thread rule: one lock guards the DEALER socket and every counter. A call to `StreamSender.send` does its
work itself (no hand-over to another thread on the way out); a small keeper thread says hello, answers
for liveness, and sends what had to wait.
"""

from __future__ import annotations

import logging
import os
import secrets
import select
import threading
import time
from collections import deque
from collections.abc import Hashable, Sequence
from types import TracebackType
from typing import Any, Generic, TypeVar

import msgspec
import zmq

from zmqruntime import _faults
from zmqruntime.config import DEFAULT_TIMEOUTS, Endpoint, Timeouts
from zmqruntime.errors import PeerError, ProtocolError, SendTimeout, StreamClosedError, VersionMismatchError
from zmqruntime.handshake import host_id, self_identity
from zmqruntime.link import Link
from zmqruntime.messages import (
    CREDIT,
    DISPLAYED,
    OLDEST_PROTOCOL,
    PROTOCOL_VERSION,
    REFUSED,
    SUPERSEDED,
    AreYouThere,
    Bye,
    Failed,
    Hello,
    Items,
    Note,
    NoteReply,
    Refused,
    Returns,
    Welcome,
    decode_receiver,
    encode_data,
)
from zmqruntime.process import same_process
from zmqruntime.security import KeyPair
from zmqruntime.sockets import Curve, connect, make_socket
from zmqruntime.stream import Encoder, SendReport, StreamStats, check_policy

logger = logging.getLogger(__name__)

T = TypeVar("T")

DEFAULT_DEADLINE = 1.0
"""Seconds a sender waits for credit, once per stall."""

DEFAULT_QUEUE_BYTES = 256 * 1024 * 1024
"""Memory that waiting items may hold while a receiver starts, or under the policy ``latest``."""

_SLICE_MS = 20
"""Longest the lock is held while waiting for credit: how long a reader of `stats` may have to wait."""

_COLLECT_SENDS, _COLLECT_SECONDS = 8, 0.001
"""Credits are looked for at every eighth send or after a millisecond. Asking ZeroMQ costs 18 us when its I/O thread
was busy meanwhile (measured), half of what copying half a megabyte costs."""

_HELLO_EVERY = 0.25
_TICK = 0.25


def _slice_ms(left: float) -> int:
    return min(_SLICE_MS, int(left * 1000) + 1)


class StreamSender(Generic[T]):
    """Sends items to one receiver and knows what became of each.

    Parameters
    ----------
    endpoint : Endpoint
        The receiver's server. It need not be there yet; it may die and come back.
    encoder : Encoder
        Turns items into bytes.
    policy : {"drop", "block", "latest"}
        What happens when there is no credit (see `send`).
    deadline : float
        Seconds to wait for credit. Under ``drop`` once per stall; 0 never waits.
    queue_bytes : int
        Memory for items that wait.
    starting : bool
        The receiver is being started: queue items until it answers, instead of dropping them.
    name : str
        For logs and the receiver's status.
    server_key : bytes, optional
        The receiver's public CURVE key.
    keys : KeyPair, optional
        This sender's own pair, where the receiver lets only known clients in.

    Notes
    -----
    Safe to use from several threads; not across a fork (`StreamClosedError`).
    """

    def __init__(
        self,
        endpoint: Endpoint,
        encoder: Encoder[T],
        *,
        policy: str = "drop",
        deadline: float = DEFAULT_DEADLINE,
        queue_bytes: int = DEFAULT_QUEUE_BYTES,
        starting: bool = False,
        name: str = "",
        server_key: bytes | None = None,
        keys: KeyPair | None = None,
        timeouts: Timeouts = DEFAULT_TIMEOUTS,
    ) -> None:
        self.endpoint = endpoint
        self.policy = check_policy(policy)
        self.deadline = deadline
        self.name = name or f"pid {os.getpid()}"
        self._encoder = encoder
        self._queue_bytes = queue_bytes
        self._curve = Curve(keys=keys, server_key=server_key)
        self._timeouts = timeouts
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._starting = starting
        # counters
        self._sent = self._displayed = self._superseded = self._dropped = self._lost = self._refused = 0
        self._held = 0
        # attachment
        self._sock: zmq.Socket[bytes] | None = None
        self._link: Link | None = None
        self._poller = zmq.Poller()
        self._state = "connecting"
        self._error: PeerError | ProtocolError | None = None
        self._session = ""
        self._credits = 0
        self._window = (0, 0)
        self._frame_bytes = 0
        self._seq = 0
        self._uncollected = 0
        self._collect_at = 0.0
        self._uncredited: dict[int, tuple[Any, int]] = {}
        self._unresolved: set[int] = set()
        self._peer_fd = -1
        self._peer_poll: select.poll | None = None
        self._peer_local = False
        self._peer_process = (0, 0)
        self._heard = self._asked = self._helloed = 0.0
        self._note = 0
        self._attachments = 0
        # waiting items: (key, item, bytes); `latest` keeps one per key
        self._queue: deque[tuple[T, int]] = deque()
        self._latest: dict[Hashable, tuple[T, int]] = {}
        self._queued_bytes = 0
        # one wait and one warning per stall
        self._stalled = False
        self._stall_dropped = 0
        self._closed = False
        self._keeper = threading.Thread(target=self._keep, name=f"stream-keeper {endpoint}", daemon=True)
        self._keeper.start()

    def __enter__(self) -> StreamSender[T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ------------------------------------------------------------------ what others see
    @property
    def state(self) -> str:
        """``connecting``, ``attached``, ``silent`` (no sign of life for 2 s) or ``closed``."""
        return "closed" if self._closed else self._state

    @property
    def attachments(self) -> int:
        """How many times a receiver took this sender: 1 + its deaths survived."""
        return self._attachments

    @property
    def error(self) -> PeerError | ProtocolError | None:
        """Why the receiver refused this sender, such as a protocol version; None when it did not."""
        return self._error

    @property
    def starting(self) -> bool:
        """Whether items are queued because the receiver is being started."""
        return self._starting

    def started(self, ok: bool = True) -> None:
        """Say that the receiver's start is over: well, or (`ok` False) not, when what waits is dropped."""
        with self._lock:
            self._starting = False
            if not ok:
                self._drop_queue()
        self._wake.set()

    @property
    def stats(self) -> StreamStats:
        """What became of every item so far."""
        with self._lock:
            if self._sock is not None and not self._closed:
                self._drain()
            return self._stats()

    def _stats(self) -> StreamStats:
        return StreamStats(
            sent=self._sent,
            displayed=self._displayed,
            superseded=self._superseded,
            dropped=self._dropped,
            lost_in_flight=self._lost,
            in_flight=len(self._unresolved),
            queued=len(self._queue) + len(self._latest) + self._held,
            refused=self._refused,
        )

    def wait_attached(self, timeout: float) -> bool:
        """Return whether a receiver took this sender within `timeout` seconds."""
        end = time.monotonic() + timeout
        while True:
            with self._lock:
                if self._closed or self._state == "attached":
                    return not self._closed
                left = end - time.monotonic()
                if left <= 0:
                    return False
                self._upkeep()
                if self._sock is not None:
                    self._poller.poll(_slice_ms(left))
                    self._drain()
                    continue
            self._pause(min(0.01, left))

    def collect(self) -> None:
        """Take in the credits that came back, so that what they free can be used again at once."""
        with self._lock:
            if self._sock is not None and not self._closed:
                self._drain()

    # ------------------------------------------------------------------ send
    def send(
        self,
        items: Sequence[T],
        *,
        policy: str | None = None,
        deadline: float | None = None,
        deferred: bool = False,
    ) -> SendReport:
        """Send `items` in order, as many as the policy allows; every one is counted.

        Parameters
        ----------
        items : sequence
            They may change again when this returns, unless `deferred`.
        policy, deadline : optional
            Instead of the sender's own.
        deferred : bool
            Return at once and let the keeper thread encode and send; the items must not change until
            they were sent (`flush`).

        Returns
        -------
        SendReport
            Items accepted (on their way or queued) and dropped.

        Raises
        ------
        SendTimeout
            Policy ``block`` and no credit within the deadline. What was not sent counts as dropped.
        StreamClosedError
            The sender was closed, or belongs to the process this one was forked from.
        VersionMismatchError
            Policy ``block`` and the receiver speaks another protocol.

        Notes
        -----
        * ``drop``: waits up to the deadline once per stall; from then on items are dropped at once,
          with one warning per stall, until a credit returns.
        * ``latest``: never waits; the newest item of each key (`Encoder.key`) is kept, in memory of its
          own, until there is credit; replaced ones count as superseded.
        * ``block``: waits up to the deadline, then raises.
        """
        if os.getpid() != self._pid:
            raise StreamClosedError(
                f"this sender belongs to process {self._pid}, not to its fork {os.getpid()}: make a new one"
            )
        policy = self.policy if policy is None else check_policy(policy)
        total = len(items)
        with self._lock:
            if self._closed:
                raise StreamClosedError(f"the sender to {self.endpoint} is closed")
            self._sent += total
            done = 0
            if not deferred and not self._queue and self._sock is not None:
                self._uncollected += 1
                if (
                    self._credits < total
                    or self._uncollected >= _COLLECT_SENDS
                    or time.monotonic() > self._collect_at
                ):
                    self._drain(thorough=self._link is None)
                if self._credits > 0:
                    if self._latest:
                        self._supersede(items)
                    done = self._push(items, 0)
                    if done < total and self._uncollected:
                        self._drain()
                        done = self._push(items, done)
            if done == total:
                return SendReport(total, 0)
            if deferred or self._starting or policy == "latest":
                done += self._enqueue(items, done, policy, retain=not deferred)
                if done == total:
                    self._wake.set()
                    return SendReport(total, 0)
                if policy == "latest":
                    return self._refuse(total, done)
            self._held += total - done
            wait = self.deadline if deadline is None else deadline
            if policy == "drop" and self._stalled:
                wait = 0.0
        return self._wait(items, done, policy, wait)

    def _wait(self, items: Sequence[T], done: int, policy: str, wait: float) -> SendReport:
        total = len(items)
        end = time.monotonic() + wait
        while True:
            pause = 0.0
            with self._lock:
                if self._closed:
                    self._held -= total - done
                    self._refuse(total, done)
                    raise StreamClosedError(f"the sender to {self.endpoint} was closed while items waited")
                left = end - time.monotonic()
                if left > 0:
                    self._upkeep()
                    if self._sock is not None:
                        # Only wait in the socket when there is nothing to read: credits may be here already.
                        if not self._credits:
                            self._poller.poll(_slice_ms(left))
                        self._drain()
                        if self._credits and not self._queue:
                            before = done
                            done = self._push(items, done)
                            self._held -= done - before
                            if done == before:
                                self._poller.poll(_slice_ms(left))
                        elif self._queue:
                            self._flush_waiting()
                            pause = 0.001
                    else:
                        pause = min(0.01, left)
                if done == total:
                    return SendReport(total, 0)
                if left <= 0 or (policy == "block" and self._error is not None):
                    self._held -= total - done
                    report = self._refuse(total, done)
                    if policy == "block":
                        if self._error is not None:
                            raise self._error
                        raise SendTimeout(
                            f"no credit from {self.endpoint} within {wait:g} s ({self._state}): {report.dropped} of "
                            f"{total} items were not sent. Is the receiver running? Start it, raise the deadline, "
                            "or use policy 'drop' or 'latest'"
                        )
                    return report
            if pause:
                self._pause(pause)

    def _pause(self, seconds: float) -> None:
        # Without a socket there is nothing to poll; the keeper makes one within a tick.
        self._wake.set()
        time.sleep(seconds)

    def _refuse(self, total: int, done: int) -> SendReport:
        count = total - done
        self._dropped += count
        self._stall_dropped += count
        if not self._stalled:
            self._stalled = True
            logger.warning(
                "%s takes nothing (%s): items are dropped and counted until it does",
                self.endpoint,
                self._error or self._state,
            )
        return SendReport(done, count)

    def _push(self, items: Sequence[T], start: int) -> int:
        """Send from `start` on while there is credit and room; return the index of the first one left."""
        total = len(items)
        sock = self._sock
        while start < total and self._credits > 0 and sock is not None:
            if self._frame_bytes >= self._window[1]:
                break
            front = items if start == 0 and total <= self._credits else items[start : start + self._credits]
            encoded = self._encoder.encode(front)
            if encoded is None:
                break
            if _faults.armed:
                _faults.fault_point("sender.encoded")
            seq, count = self._seq, encoded.count
            header = encode_data(Items(seq, count, msgspec.Raw(encoded.body)))
            frames = encoded.frames
            link = self._link
            if frames or link is None or not link.send(header):
                try:
                    sock.send(header, (zmq.SNDMORE if frames else 0) | zmq.NOBLOCK)
                except zmq.Again:
                    # Under IMMEDIATE only a broken connection says so: what was just encoded did not leave.
                    self._lose("the connection broke")
                    break
                for frame in frames[:-1]:
                    sock.send(frame, zmq.SNDMORE | zmq.NOBLOCK)
                if frames:
                    sock.send(frames[-1], zmq.NOBLOCK)
                    self._frame_bytes += encoded.frame_bytes
            share = encoded.frame_bytes // count if frames else 0
            for token in encoded.tokens:
                self._uncredited[seq] = (token, share)
                self._unresolved.add(seq)
                seq += 1
            if frames:
                # The first one carries the rounding, so that the sum comes out even.
                self._uncredited[self._seq] = (encoded.tokens[0], encoded.frame_bytes - share * (count - 1))
            self._seq = seq
            self._credits -= count
            start += count
            if _faults.armed:
                _faults.fault_point("sender.sent")
        return start

    # ------------------------------------------------------------------ waiting items
    def _enqueue(self, items: Sequence[T], start: int, policy: str, retain: bool) -> int:
        taken = 0
        encoder = self._encoder
        for item in items[start:]:
            size = encoder.size(item)
            if policy == "latest" and not self._starting:
                key = encoder.key(item)
                old = self._latest.pop(key, None)
                if old is not None:
                    self._queued_bytes -= old[1]
                    self._superseded += 1
                if self._queued_bytes + size > self._queue_bytes:
                    # The newest is the one to keep: let the oldest waiting keys go.
                    while self._latest and self._queued_bytes + size > self._queue_bytes:
                        _, (_, freed) = self._pop_latest()
                        self._queued_bytes -= freed
                        self._dropped += 1
                    if self._queued_bytes + size > self._queue_bytes:
                        break
                self._latest[key] = (encoder.retain(item) if retain else item, size)
            else:
                if self._queued_bytes + size > self._queue_bytes:
                    break
                self._queue.append((encoder.retain(item) if retain else item, size))
            self._queued_bytes += size
            taken += 1
        return taken

    def _pop_latest(self) -> tuple[Hashable, tuple[T, int]]:
        key = next(iter(self._latest))
        return key, self._latest.pop(key)

    def _supersede(self, items: Sequence[T]) -> None:
        for item in items:
            old = self._latest.pop(self._encoder.key(item), None)
            if old is not None:
                self._queued_bytes -= old[1]
                self._superseded += 1

    def _drop_queue(self) -> None:
        count = len(self._queue) + len(self._latest)
        self._queue.clear()
        self._latest.clear()
        self._queued_bytes = 0
        self._dropped += count
        if count:
            logger.warning("%d items waited for %s, which did not start: dropped", count, self.endpoint)

    def _flush_waiting(self) -> None:
        """Send what waits, oldest first, while there is credit."""
        while self._queue and self._credits > 0:
            item, size = self._queue[0]
            if not self._push([item], 0):
                return
            self._queue.popleft()
            self._queued_bytes -= size
        while self._latest and self._credits > 0:
            key = next(iter(self._latest))
            item, size = self._latest[key]
            if not self._push([item], 0):
                return
            del self._latest[key]
            self._queued_bytes -= size

    # ------------------------------------------------------------------ in
    def _drain(self, thorough: bool = True) -> None:
        """Read what the receiver sent; under the lock. Not `thorough`: from the link only."""
        self._uncollected = 0
        self._collect_at = time.monotonic() + _COLLECT_SECONDS
        while self._link is not None:
            data = self._link.receive()
            if data is None:
                break
            if not data:
                self._lose("it closed the connection")
                return
            self._message(data)
        if thorough:
            while self._sock is not None and self._sock.get(zmq.EVENTS) & zmq.POLLIN:  # type: ignore[arg-type, operator]
                self._message(self._sock.recv(zmq.NOBLOCK))

    def _message(self, data: bytes) -> None:
        try:
            message = decode_receiver(data)
        except ProtocolError as error:
            logger.warning("%s sent what is no protocol message: %s", self.endpoint, error)
            return
        self._heard = time.monotonic()
        if self._state == "silent":
            self._state = "attached"
            logger.info("%s answers again", self.endpoint)
        if type(message) is Returns:
            self._returns(message.pairs)
        elif type(message) is Welcome:
            self._welcome(message)
        elif type(message) is NoteReply:
            if message.number == self._note and self._state == "connecting":
                self._encoder.noted(bytes(message.body))
                self._open()
        elif type(message) is Failed:
            logger.warning("%s refused item %d: %s", self.endpoint, message.seq, message.message)
        elif type(message) is Refused:
            self._refusal(message)

    def _returns(self, pairs: list[int]) -> None:
        uncredited, unresolved = self._uncredited, self._unresolved
        for i in range(0, len(pairs) - 1, 2):
            seq, code = pairs[i], pairs[i + 1]
            if code & CREDIT:
                found = uncredited.pop(seq, None)
                if found is not None:
                    token, frame_bytes = found
                    self._frame_bytes -= frame_bytes
                    self._credits += 1
                    self._encoder.release(token)
                    code &= ~CREDIT
                    if self._stalled:
                        self._unstall()
                else:
                    code &= ~CREDIT
            if code and seq in unresolved:
                unresolved.discard(seq)
                if code == DISPLAYED:
                    self._displayed += 1
                elif code == SUPERSEDED:
                    self._superseded += 1
                elif code == REFUSED:
                    self._dropped += 1
                    self._refused += 1
                else:
                    logger.warning("%s returned the unknown outcome %d", self.endpoint, code)
                    self._dropped += 1

    def _unstall(self) -> None:
        self._stalled = False
        if self._stall_dropped:
            logger.warning(
                "%s takes items again; %d were dropped meanwhile", self.endpoint, self._stall_dropped
            )
            self._stall_dropped = 0

    def _welcome(self, message: Welcome) -> None:
        if message.session != self._session or self._state != "connecting" or self._note:
            return
        self._error = None
        self._window = (message.window_items, message.window_bytes)
        same = (
            message.host == host_id() and message.host != "" and same_process(message.pid, message.start_time)
        )
        if same and hasattr(os, "pidfd_open"):
            try:
                self._peer_fd = os.pidfd_open(message.pid)
            except OSError:
                self._peer_fd = -1
            else:
                self._peer_poll = select.poll()
                self._peer_poll.register(self._peer_fd, select.POLLIN)
        self._peer_local = same
        self._peer_process = (message.pid, message.start_time)
        if same and message.link and self._link is None:
            self._link = Link.connect(message.link, self._session)
            if self._link is not None:
                self._poller.register(self._link.fd, zmq.POLLIN)
        note = self._encoder.attached(bytes(message.body), same)
        if _faults.armed:
            _faults.fault_point("sender.welcomed")
        if note is None:
            self._open()
            return
        self._note = self._attachments + 1
        if not self._try_send(encode_data(Note(self._note, msgspec.Raw(note)))):
            self._lose("the connection broke during the handshake")

    def _open(self) -> None:
        self._state = "attached"
        self._starting = False
        self._attachments += 1
        self._credits = self._window[0]
        self._heard = time.monotonic()
        if self._stalled:
            self._unstall()
        self._flush_waiting()
        if _faults.armed:
            _faults.fault_point("sender.attached")

    def _refusal(self, message: Refused) -> None:
        text = f"{self.endpoint} refused this sender: {message.message}"
        if message.code == "version":
            self._error = VersionMismatchError(text)
        elif message.code == "protocol":
            self._error = ProtocolError(text)
        if message.code in ("version", "protocol"):
            logger.error("%s", text)
        self._lose(message.message)

    # ------------------------------------------------------------------ attachment
    def _upkeep(self) -> None:
        """Do what is due: connect, say hello, ask for a sign of life, notice a death. Under the lock."""
        if self._closed:
            return
        now = time.monotonic()
        if self._sock is None:
            self._connect()
        if self._state == "connecting":
            if self._peer_poll is not None and self._peer_poll.poll(0):
                self._lose("its process ended during the handshake")
            elif now - self._helloed > (_HELLO_EVERY if self._error is None else 4 * _HELLO_EVERY):
                self._helloed = now
                self._hello()
            return
        if self._peer_poll is not None:
            if self._peer_poll.poll(0):
                self._drain()
                self._lose("its process ended")
                return
        elif self._peer_local and not same_process(*self._peer_process):
            self._lose("its process ended")
            return
        quiet = now - self._heard
        if quiet > self._timeouts.ping_interval and now - self._asked > self._timeouts.ping_interval:
            self._asked = now
            self._try_send(encode_data(AreYouThere(int(now * 1000) & 0x7FFFFFFF)))
        if quiet > self._timeouts.silence and self._state == "attached":
            # What was read just now may be older than the silence: look once more before saying so.
            self._drain()
            if now - self._heard > self._timeouts.silence and self._state == "attached":
                self._state = "silent"
                logger.warning(
                    "%s gave no sign of life for %.1f s: stopped, hung or cut off", self.endpoint, quiet
                )
        if quiet > self._timeouts.gone and not self._peer_local and self._state == "silent":
            self._lose(f"no sign of life for {self._timeouts.gone:g} s")

    def _connect(self) -> None:
        # IMMEDIATE: nothing is queued for a receiver that is not there.
        self._sock = make_socket(zmq.DEALER, immediate=1)
        self._poller.register(self._sock, zmq.POLLIN)
        self._seq = 0
        self._session = secrets.token_hex(8)
        self._helloed = 0.0
        connect(self._sock, self.endpoint.data_url, self._curve)

    def _hello(self) -> None:
        pid, start_time = self_identity()
        body = msgspec.Raw(self._encoder.hello())
        hello = Hello(
            PROTOCOL_VERSION, OLDEST_PROTOCOL, self._session, pid, start_time, host_id(), self.name, body
        )
        self._try_send(encode_data(hello))

    def _try_send(self, data: bytes) -> bool:
        if self._sock is None:
            return False
        try:
            self._sock.send(data, zmq.NOBLOCK)
        except zmq.Again:
            return False  # nobody is connected; said again at the next tick
        return True

    def _lose(self, why: str) -> None:
        """The receiver is gone: count what was on its way, start over."""
        if self._unresolved or self._state != "connecting":
            logger.warning(
                "lost %s (%s): %d items were on their way", self.endpoint, why, len(self._unresolved)
            )
        self._lost += len(self._unresolved)
        self._unresolved.clear()
        self._uncredited.clear()
        self._credits = self._frame_bytes = self._note = 0
        self._encoder.detached()
        self._disconnect(linger_ms=0)
        self._state = "connecting"
        self._helloed = time.monotonic()
        self._wake.set()

    def _disconnect(self, linger_ms: int) -> None:
        if self._link is not None:
            self._poller.unregister(self._link.fd)
            self._link.close()
            self._link = None
        if self._sock is not None:
            self._poller.unregister(self._sock)
            self._sock.close(linger_ms)
            self._sock = None
        if self._peer_fd >= 0:
            os.close(self._peer_fd)
        self._peer_fd, self._peer_poll, self._peer_local = -1, None, False

    def _keep(self) -> None:
        while not self._closed:
            busy = False
            with self._lock:
                if self._closed:
                    return
                try:
                    self._upkeep()
                    self._drain()
                    if self._queue or self._latest:
                        self._flush_waiting()
                    if self._sock is not None and (
                        self._queue or self._latest or self._state == "connecting"
                    ):
                        busy = True
                        self._poller.poll(5)
                        self._drain()
                        self._flush_waiting()
                except Exception:
                    # The loop boundary: a bug here must not silently end reconnecting for good.
                    logger.exception("the stream to %s stumbled; attaching anew", self.endpoint)
                    self._lose("an error here")
            # Busy: leave the lock for a moment so that senders get in between.
            self._wake.wait(0.002 if busy else _TICK)
            self._wake.clear()

    # ------------------------------------------------------------------ end
    def flush(self, timeout: float | None = None) -> bool:
        """Wait until every item has its outcome; return whether that was so within `timeout` seconds."""
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            with self._lock:
                if self._sock is not None and not self._closed:
                    self._upkeep()
                    self._drain()
                    self._flush_waiting()
                waiting = len(self._queue) + len(self._latest) + self._held
                if not self._unresolved and not waiting:
                    return True
                left = _SLICE_MS / 1000 if end is None else end - time.monotonic()
                if left <= 0 or self._closed:
                    return False
                if self._sock is not None:
                    self._poller.poll(_slice_ms(left))
                    continue
            self._pause(min(0.01, left))

    def close(self, timeout: float = 0.0) -> None:
        """End the stream; waits up to `timeout` seconds for outcomes. Idempotent.

        What has no outcome then counts as lost in flight, what still waited as dropped.
        """
        if os.getpid() != self._pid:
            return
        if timeout > 0 and not self._closed:
            self.flush(timeout)
        with self._lock:
            if self._closed:
                return
            self._drain()
            self._closed = True
            bye = encode_data(Bye(self._session, self._seq))
            if self._link is None or not self._link.send(bye):
                self._try_send(bye)
            self._lost += len(self._unresolved)
            self._unresolved.clear()
            self._uncredited.clear()
            self._drop_queue()
            self._encoder.detached()
            self._disconnect(linger_ms=1000)
        self._wake.set()
        if threading.current_thread() is not self._keeper:
            self._keeper.join(2.0)
