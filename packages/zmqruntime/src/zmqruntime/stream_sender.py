"""The sending side of a credit stream.

Thread rule: one lock guards the connection and every counter. A call to `StreamSender.send` does its
work itself (no hand-over to another thread on the way out); a small keeper thread says hello, answers
for liveness, and sends what had to wait.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from zmqruntime import _faults
from zmqruntime._attachment import Attachment
from zmqruntime._waiting import WaitingItems
from zmqruntime.config import DEFAULT_TIMEOUTS, Endpoint, Timeouts
from zmqruntime.errors import PeerError, ProtocolError, SendTimeout, StreamClosedError
from zmqruntime.messages import CREDIT, DISPLAYED, REFUSED, SUPERSEDED, Items, encode_data
from zmqruntime.sockets import Curve
from zmqruntime.stream import Encoder, SendReport, StreamStats, check_policy

if TYPE_CHECKING:
    from zmqruntime.security import KeyPair

logger = logging.getLogger(__name__)

T = TypeVar("T")

DEFAULT_DEADLINE = 1.0
"""Seconds a sender waits for credit, once per stall."""

DEFAULT_QUEUE_BYTES = 256 * 1024 * 1024
"""Memory that waiting items may hold while a receiver starts, or under the policy ``latest``."""

_SLICE_MS = 20
"""Longest the lock is held while waiting for credit: how long a reader of `stats` may have to wait."""

_COLLECT_SENDS, _COLLECT_SECONDS = 8, 0.001
"""Credits are looked for at every eighth send or after a millisecond. Asking ZeroMQ costs 18 us when its I/O
thread was busy meanwhile (measured), half of what copying half a megabyte costs."""

_TICK = 0.25
"""Seconds between two rounds of the keeper when nothing is the matter."""


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
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._starting = starting
        self._closed = False
        self._sent = self._displayed = self._superseded = self._dropped = self._lost = self._refused = 0
        self._held = 0
        self._waiting: WaitingItems[T] = WaitingItems(queue_bytes)
        self._credits = 0
        self._window_bytes = self._frame_bytes = 0
        self._uncredited: dict[int, tuple[Any, int]] = {}
        self._unresolved: set[int] = set()
        self._uncollected = 0
        self._collect_at = 0.0
        # One wait and one warning per stall.
        self._stalled = False
        self._stall_dropped = 0
        self._attachment = Attachment(
            endpoint, self.name, encoder, self, Curve(keys=keys, server_key=server_key), timeouts
        )
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
        return "closed" if self._closed else self._attachment.state

    @property
    def attachments(self) -> int:
        """How many times a receiver took this sender: 1 + its deaths survived."""
        return self._attachment.count

    @property
    def error(self) -> PeerError | ProtocolError | None:
        """Why the receiver refused this sender, such as a protocol version; None when it did not."""
        return self._attachment.error

    @property
    def starting(self) -> bool:
        """Whether items are queued because the receiver is being started."""
        return self._starting

    def expect(self) -> None:
        """Say that the receiver is being started: unless one is attached, items wait for it from now on."""
        with self._lock:
            self._starting = self._attachment.state != "attached"

    def started(self, ok: bool = True) -> None:
        """Say that the receiver's start is over: well, or (`ok` False) not, when what waits is dropped."""
        with self._lock:
            self._starting = False
            if not ok:
                self._drop_waiting()
        self._wake.set()

    @property
    def stats(self) -> StreamStats:
        """What became of every item so far."""
        with self._lock:
            if not self._closed:
                self._drain()
            return StreamStats(
                sent=self._sent,
                displayed=self._displayed,
                superseded=self._superseded,
                dropped=self._dropped,
                lost_in_flight=self._lost,
                in_flight=len(self._unresolved),
                queued=len(self._waiting) + self._held,
                refused=self._refused,
            )

    def wait_attached(self, timeout: float) -> bool:
        """Return whether a receiver took this sender within `timeout` seconds."""
        end = time.monotonic() + timeout
        while True:
            with self._lock:
                if not self._closed:
                    self._attachment.upkeep()  # first: one that took this sender may have died since
                if self._closed or self._attachment.state == "attached":
                    return not self._closed
                left = end - time.monotonic()
                if left <= 0:
                    return False
                self._attachment.wait(_slice_ms(left))
                self._drain()

    def collect(self) -> None:
        """Take in the credits that came back, so that what they free can be used again at once."""
        with self._lock:
            if not self._closed:
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
        * ``block``: waits as long as credits come; when none came for the deadline, raises.
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
            try:
                done = 0 if deferred or self._waiting.in_order else self._send_now(items, total)
                if done < total and (deferred or self._starting or policy == "latest"):
                    done += self._hold_back(items, done, newest_only=policy == "latest", retain=not deferred)
                    self._wake.set()
            except BaseException:
                self._settle()
                raise
            if done < total and policy == "latest":
                return self._refuse(total, done)
            if done == total:
                return SendReport(total, 0)
            self._held += total - done
            wait = self.deadline if deadline is None else deadline
            if policy == "drop" and self._stalled:
                wait = 0.0
        return self._wait(items, done, policy, wait)

    def _send_now(self, items: Sequence[T], total: int) -> int:
        self._uncollected += 1
        if (
            self._credits < total
            or self._uncollected >= _COLLECT_SENDS
            or time.monotonic() > self._collect_at
        ):
            self._drain(thorough=not self._attachment.has_link)
        if self._credits <= 0:
            return 0
        if self._waiting.keyed:
            for item in items:
                self._superseded += self._waiting.forget(self._encoder.key(item))
        done = self._push(items, 0)
        if done < total and self._uncollected:
            self._drain()
            done = self._push(items, done)
        return done

    def _wait(self, items: Sequence[T], done: int, policy: str, wait: float) -> SendReport:
        total = len(items)
        end = time.monotonic() + wait
        attachment = self._attachment
        while True:
            with self._lock:
                if self._closed:
                    self._held -= total - done
                    self._refuse(total, done)
                    raise StreamClosedError(f"the sender to {self.endpoint} was closed while items waited")
                left = end - time.monotonic()
                if left > 0:
                    before, seq = done, attachment.seq
                    try:
                        attachment.upkeep()
                        self._drain()
                        self._waiting.release(self._push_one)
                        if self._credits > 0 and not self._waiting.in_order:
                            done = self._push(items, done)
                            self._held -= done - before
                        if attachment.seq == seq:
                            attachment.wait(_slice_ms(left))
                        elif policy == "block":
                            end = time.monotonic() + wait  # slow is not stalled
                    except BaseException:
                        self._held -= total - done
                        self._settle()
                        raise
                if done == total:
                    return SendReport(total, 0)
                if left <= 0 or (policy == "block" and attachment.error is not None):
                    self._held -= total - done
                    report = self._refuse(total, done)
                    if policy == "block":
                        if attachment.error is not None:
                            # A new one each time: an exception gathers the traces of everywhere it was raised.
                            raise type(attachment.error)(*attachment.error.args)
                        raise SendTimeout(
                            f"no credit from {self.endpoint} within {wait:g} s ({attachment.state}): {report.dropped} "
                            f"of {total} items were not sent. Is the receiver running? Start it, raise the deadline, "
                            "or use policy 'drop' or 'latest'"
                        )
                    return report

    def _settle(self) -> None:
        """Count as dropped what an exception, such as an encoder's or a Ctrl-C, left uncounted."""
        known = self._displayed + self._superseded + self._dropped + self._lost
        self._dropped = max(
            self._dropped,
            self._dropped + self._sent - known - len(self._unresolved) - len(self._waiting) - self._held,
        )

    def _refuse(self, total: int, done: int) -> SendReport:
        count = total - done
        self._dropped += count
        self._stall_dropped += count
        if not self._stalled:
            self._stalled = True
            logger.warning(
                "%s takes nothing (%s): items are dropped and counted until it does",
                self.endpoint,
                self._attachment.error or self._attachment.state,
            )
        return SendReport(done, count)

    def _push(self, items: Sequence[T], start: int) -> int:
        """Send from `start` on while there is credit and room; return the index of the first one left."""
        total = len(items)
        attachment = self._attachment
        while start < total and self._credits > 0 and self._frame_bytes <= self._window_bytes:
            front = items if start == 0 and total <= self._credits else items[start : start + self._credits]
            encoded = self._encoder.encode(front)
            if encoded is None:
                break
            if _faults.armed:
                _faults.fault_point("sender.encoded")
            seq, count, share = attachment.seq, encoded.count, 0
            if not attachment.transmit(
                encode_data(Items(seq, count, msgspec.Raw(encoded.body))), encoded.frames
            ):
                break  # what was encoded is void with the receiver; the items are still ours
            if encoded.frame_bytes:
                self._frame_bytes += encoded.frame_bytes
                share = encoded.frame_bytes // count
            for token in encoded.tokens:
                self._uncredited[seq] = (token, share)
                self._unresolved.add(seq)
                seq += 1
            if encoded.frame_bytes:
                # The first one carries the rounding, so that the sum comes out even.
                rest = encoded.frame_bytes - share * (count - 1)
                self._uncredited[attachment.seq] = (encoded.tokens[0], rest)
            attachment.seq = seq
            self._credits -= count
            start += count
            if _faults.armed:
                _faults.fault_point("sender.sent")
        return start

    def _push_one(self, item: T) -> bool:
        try:
            return self._credits > 0 and self._push([item], 0) == 1
        except Exception:
            # The encoder's boundary: nobody is there to hear of it, and those behind it must not wait for ever.
            logger.exception("an item for %s cannot be encoded: dropped", self.endpoint)
            self._dropped += 1
            return True

    def _hold_back(self, items: Sequence[T], start: int, *, newest_only: bool, retain: bool) -> int:
        """Let items from `start` on wait, in memory of their own when `retain`; return how many there was room for."""
        taken = 0
        encoder, waiting = self._encoder, self._waiting
        for item in items[start:]:
            size = encoder.size(item)
            if newest_only and not self._starting:
                key = encoder.key(item)
                self._superseded += waiting.forget(key)
                gone = waiting.keep_newest(key, encoder.retain(item) if retain else item, size)
                if gone < 0:
                    break
                self._dropped += gone
            elif not waiting.fits(size):
                break
            else:
                waiting.append(encoder.retain(item) if retain else item, size)
            taken += 1
        return taken

    def _drop_waiting(self) -> None:
        count = self._waiting.clear()
        self._dropped += count
        if count:
            logger.warning("%d items waited for %s, which did not start: dropped", count, self.endpoint)

    # ------------------------------------------------------------------ what the attachment tells
    def _drain(self, thorough: bool = True) -> None:
        self._uncollected = 0
        self._collect_at = time.monotonic() + _COLLECT_SECONDS
        self._attachment.drain(thorough)

    def on_open(self, window_items: int, window_bytes: int) -> None:
        """See `zmqruntime._attachment.Owner`."""
        self._starting = False
        self._credits = window_items
        self._window_bytes = window_bytes
        self._unstall()
        self._waiting.release(self._push_one)

    def on_lost(self, why: str) -> None:
        """See `zmqruntime._attachment.Owner`."""
        lost = len(self._unresolved)
        if lost or self._attachment.state != "connecting":
            # Closing a receiver that has everything is how a session usually ends: nothing to warn of.
            level = logging.WARNING if lost else logging.INFO
            logger.log(level, "lost %s (%s): %d items were on their way", self.endpoint, why, lost)
        self._lost += lost
        self._unresolved.clear()
        self._uncredited.clear()
        self._credits = self._frame_bytes = 0
        self._wake.set()

    def on_returns(self, pairs: list[int]) -> None:
        """See `zmqruntime._attachment.Owner`."""
        for i in range(0, len(pairs) - 1, 2):
            seq, code = pairs[i], pairs[i + 1]
            if code & CREDIT:
                code &= ~CREDIT
                found = self._uncredited.pop(seq, None)
                if found is not None:
                    token, frame_bytes = found
                    self._frame_bytes -= frame_bytes
                    self._credits += 1
                    self._encoder.release(token)
                    if self._stalled:
                        self._unstall()
            if code and seq in self._unresolved:
                self._unresolved.discard(seq)
                if code == DISPLAYED:
                    self._displayed += 1
                elif code == SUPERSEDED:
                    self._superseded += 1
                else:
                    if code != REFUSED:
                        logger.warning("%s returned the unknown outcome %d", self.endpoint, code)
                    self._dropped += 1
                    self._refused += 1

    def _unstall(self) -> None:
        self._stalled = False
        if self._stall_dropped:
            logger.warning(
                "%s takes items again; %d were dropped meanwhile", self.endpoint, self._stall_dropped
            )
            self._stall_dropped = 0

    # ------------------------------------------------------------------ keeper
    def _keep(self) -> None:
        attachment = self._attachment
        while not self._closed:
            pause = _TICK
            with self._lock:
                if self._closed:
                    return
                try:
                    attachment.upkeep()
                    self._drain()
                    self._waiting.release(self._push_one)
                    if self._waiting or (attachment.state == "connecting" and not attachment.patient):
                        attachment.wait(5)
                        self._drain()
                        self._waiting.release(self._push_one)
                        # Leave the lock for a moment so that senders get in between.
                        pause = 0.002 if self._waiting else 0.01
                except Exception:
                    # The loop boundary: a bug here must not silently end reconnecting for good.
                    logger.exception("the stream to %s stumbled; attaching anew", self.endpoint)
                    attachment.lose("an error here")
            self._wake.wait(pause)
            self._wake.clear()

    # ------------------------------------------------------------------ end
    def flush(self, timeout: float | None = None) -> bool:
        """Wait until every item has its outcome; return whether that was so within `timeout` seconds."""
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            with self._lock:
                if not self._closed:
                    self._attachment.upkeep()
                    self._drain()
                    self._waiting.release(self._push_one)
                if not (self._unresolved or self._waiting or self._held):
                    return True
                left = _SLICE_MS / 1000 if end is None else end - time.monotonic()
                if left <= 0 or self._closed:
                    return False
                self._attachment.wait(_slice_ms(left))

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
            self._attachment.say_goodbye()
            self._lost += len(self._unresolved)
            self._unresolved.clear()
            self._uncredited.clear()
            self._drop_waiting()
            self._encoder.detached()
            self._attachment.disconnect(linger_ms=1000)
        self._wake.set()
        if threading.current_thread() is not self._keeper:
            self._keeper.join(2.0)
