"""A sender's connection to a receiver, and to its successor after its death.

Owned by a `StreamSender` and used under its lock.
"""

from __future__ import annotations

import logging
import os
import secrets
import select
import time
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec
import zmq

from zmqruntime import _faults
from zmqruntime.config import Endpoint, Timeouts
from zmqruntime.errors import PeerError, ProtocolError, VersionMismatchError
from zmqruntime.handshake import host_id, self_identity
from zmqruntime.link import Link
from zmqruntime.messages import (
    OLDEST_PROTOCOL,
    PROTOCOL_VERSION,
    AreYouThere,
    Bye,
    Failed,
    Hello,
    Note,
    NoteReply,
    Refused,
    Returns,
    Welcome,
    decode_receiver,
    encode_data,
)
from zmqruntime.process import same_process
from zmqruntime.sockets import Curve, connect, make_socket
from zmqruntime.stream import Encoder

logger = logging.getLogger(__name__)

_HELLO_EVERY = 0.25
"""Seconds between two hellos to a receiver that has not answered; four times that after a refusal."""

_RECONNECT_SECONDS = 5.0
"""With a key, a connection without a welcome is made anew this often."""

_BURST_SECONDS = 5.0
"""Refusals for the same reason no further apart than this are one burst, and one line in the log."""

_EAGER_SECONDS = 5.0
"""So long a missing receiver is looked for every few milliseconds; later a few times a second."""


class Owner(Protocol):
    """What an `Attachment` tells its sender; called under the sender's lock."""

    def on_returns(self, pairs: list[int]) -> None:
        """Take in outcomes and credits."""

    def on_open(self, window_items: int, window_bytes: int) -> None:
        """Start sending: a receiver took us."""

    def on_lost(self, why: str) -> None:
        """Count what was on its way: the receiver is gone."""


class Attachment:
    """Connects, says hello, hears, notices death, and starts over.

    Attributes
    ----------
    state : {"connecting", "attached", "silent"}
        ``silent``: attached, but no sign of life for a while.
    error : Exception or None
        Why the receiver refused us.
    count : int
        How many receivers took us so far.
    seq : int
        Number of the next item of this session.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        name: str,
        encoder: Encoder[Any],
        owner: Owner,
        curve: Curve,
        timeouts: Timeouts,
    ) -> None:
        self.endpoint = endpoint
        self.state = "connecting"
        self.error: PeerError | ProtocolError | None = None
        self.count = 0
        self.seq = 0
        self._name = name
        self._encoder = encoder
        self._owner = owner
        self._curve = curve
        self._timeouts = timeouts
        self._poller = zmq.Poller()
        self._sock: zmq.Socket[bytes] | None = None
        self._link: Link | None = None
        self._session = ""
        self._window = (0, 0)
        self._note = 0
        self._process: tuple[int, int] | None = None
        self._pidfd = -1
        self._death: select.poll | None = None
        self._heard = self._asked = self._helloed = 0.0
        self._since = time.monotonic()
        self._reason = ("", 0.0)
        self._connected = 0.0

    @property
    def has_link(self) -> bool:
        """Whether messages take the short cut."""
        return self._link is not None

    @property
    def connected(self) -> bool:
        """Whether there is a socket to wait on."""
        return self._sock is not None

    @property
    def patient(self) -> bool:
        """Whether nobody has answered for so long that looking now and then is enough."""
        return self.state == "connecting" and time.monotonic() - self._since > _EAGER_SECONDS

    # ------------------------------------------------------------------ out
    def transmit(self, header: bytes, frames: Sequence[Any]) -> bool:
        """Send one data message; False when the connection broke, which the owner then knows already."""
        sock = self._sock
        if sock is None:
            return False
        link = self._link
        if not frames and link is not None and link.send(header):
            return True
        try:
            sock.send(header, (zmq.SNDMORE if frames else 0) | zmq.NOBLOCK)
        except zmq.Again:
            # Under IMMEDIATE only a broken connection says so: the message did not leave.
            self.lose("the connection broke")
            return False
        for frame in frames[:-1]:
            sock.send(frame, zmq.SNDMORE | zmq.NOBLOCK)
        if frames:
            sock.send(frames[-1], zmq.NOBLOCK)
        return True

    def _try_send(self, message: Any) -> bool:
        data = encode_data(message)
        if self._sock is None:
            return False
        try:
            self._sock.send(data, zmq.NOBLOCK)
        except zmq.Again:
            return False  # nobody is connected; said again at the next tick
        return True

    # ------------------------------------------------------------------ in
    def wait(self, milliseconds: int) -> None:
        """Wait until there is something to `drain`."""
        self._poller.poll(milliseconds)

    def drain(self, thorough: bool = True) -> None:
        """Read what the receiver sent. Not `thorough`: what came by the link only."""
        while self._link is not None:
            data = self._link.receive()
            if data is None:
                break
            if not data:
                self.lose("it closed the connection")
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
        if self.state == "silent":
            self.state = "attached"
            logger.info("%s answers again", self.endpoint)
        if type(message) is Returns:
            self._owner.on_returns(message.pairs)
        elif type(message) is Welcome:
            self._welcome(message)
        elif type(message) is NoteReply:
            if message.number == self._note and self.state == "connecting":
                try:
                    self._encoder.noted(bytes(message.body))
                except ProtocolError as error:
                    self._unfit(error)
                    return
                self._open()
        elif type(message) is Failed:
            self._refused_item(message)
        elif type(message) is Refused:
            self._refusal(message)

    def _welcome(self, message: Welcome) -> None:
        if message.session != self._session or self.state != "connecting" or self._note:
            return
        self._window = (message.window_items, message.window_bytes)
        same = (
            bool(message.host) and message.host == host_id() and same_process(message.pid, message.start_time)
        )
        if same:
            self._watch(message.pid, message.start_time)
            if message.link and self._link is None:
                self._link = Link.connect(message.link, self._session)
                if self._link is not None:
                    self._poller.register(self._link.fd, zmq.POLLIN)
        try:
            note = self._encoder.attached(bytes(message.body), same)
        except ProtocolError as error:
            self._unfit(error)
            return
        if _faults.armed:
            _faults.fault_point("sender.welcomed")
        if note is None:
            self._open()
            return
        self._note = self.count + 1
        if not self._try_send(Note(self._note, msgspec.Raw(note))):
            self.lose("the connection broke during the handshake")

    def _watch(self, pid: int, start_time: int) -> None:
        self._process = (pid, start_time)
        if hasattr(os, "pidfd_open"):
            try:
                self._pidfd = os.pidfd_open(pid)
            except OSError:
                return
            self._death = select.poll()
            self._death.register(self._pidfd, select.POLLIN)

    def _open(self) -> None:
        self.state = "attached"
        self.error = None
        self.count += 1
        self._heard = time.monotonic()
        self._owner.on_open(*self._window)
        if _faults.armed:
            _faults.fault_point("sender.attached")

    def _refused_item(self, message: Failed) -> None:
        # One line per reason and burst: a closed window refuses a whole plate for the same one.
        now = time.monotonic()
        if message.message == self._reason[0] and now - self._reason[1] < _BURST_SECONDS:
            logger.debug("%s refused item %d: %s", self.endpoint, message.seq, message.message)
        else:
            logger.warning("%s refused item %d: %s", self.endpoint, message.seq, message.message)
        self._reason = (message.message, now)

    def _refusal(self, message: Refused) -> None:
        text = f"{self.endpoint} refused this sender: {message.message}"
        if message.code == "version":
            self._remember(VersionMismatchError(text))
        elif message.code == "protocol":
            self._remember(ProtocolError(text))
        self.lose(message.message)

    def _unfit(self, error: ProtocolError) -> None:
        self._remember(ProtocolError(f"{self.endpoint} is no receiver for this stream: {error}"))
        self.lose("it is no receiver for this stream")

    def _remember(self, error: ProtocolError) -> None:
        if self.error is None or self.error.args != error.args:  # said once, not at every new attempt
            logger.error("%s", error)
        self.error = error

    # ------------------------------------------------------------------ life and death
    def upkeep(self) -> None:
        """Do what is due: connect, say hello, ask for a sign of life, notice a death."""
        now = time.monotonic()
        if self._sock is None:
            self._connect()
        if self._died():
            if self.state != "connecting":
                self.drain()  # its last words
            if self._process is not None:
                self.lose("its process ended")
            return
        if self.state == "connecting":
            if self._note:
                if now - self._heard > self._timeouts.silence:
                    self.lose("no answer to its note")
                return
            if self._curve.server_key is not None and now - self._connected > _RECONNECT_SECONDS:
                # libzmq gives up on a server that refused our key; one restarted with another list may not refuse.
                self.disconnect()
                self._connect()
            due = _HELLO_EVERY if self.error is None else 4 * _HELLO_EVERY
            if now - self._helloed > due and self._hello():
                self._helloed = now
            return
        quiet = now - self._heard
        if quiet > self._timeouts.ping_interval and now - self._asked > self._timeouts.ping_interval:
            self._asked = now
            if not self._try_send(AreYouThere(int(now * 1000) & 0x7FFFFFFF)):
                self.lose("the connection broke")
                return
        if quiet > self._timeouts.silence and self.state == "attached":
            # What was read last may be older than the silence: look once more before saying so.
            self.drain()
            if now - self._heard > self._timeouts.silence and self.state == "attached":
                self.state = "silent"
                logger.warning(
                    "%s gave no sign of life for %.1f s: stopped, hung or cut off", self.endpoint, quiet
                )
        if quiet > self._timeouts.gone and self._process is None and self.state == "silent":
            self.lose(f"no sign of life for {self._timeouts.gone:g} s")

    def _died(self) -> bool:
        if self._death is not None:
            return bool(self._death.poll(0))
        return self._process is not None and not same_process(*self._process)

    def _connect(self) -> None:
        # IMMEDIATE: nothing is queued for a receiver that is not there.
        self._sock = make_socket(zmq.DEALER, immediate=1)
        self._poller.register(self._sock, zmq.POLLIN)
        self._session = secrets.token_hex(8)
        self._connected = time.monotonic()
        self.seq = 0
        connect(self._sock, self.endpoint.data_url, self._curve)

    def _hello(self) -> bool:
        pid, start_time = self_identity()
        body = msgspec.Raw(self._encoder.hello())
        version = (PROTOCOL_VERSION, OLDEST_PROTOCOL)
        return self._try_send(Hello(*version, self._session, pid, start_time, host_id(), self._name, body))

    def lose(self, why: str) -> None:
        """The receiver is gone: tell the owner, start over."""
        self._owner.on_lost(why)
        self._encoder.detached()
        self.disconnect()
        self.state = "connecting"
        self._note = 0
        self._helloed = self._since = time.monotonic()

    def say_goodbye(self) -> None:
        """Tell the receiver that no more items come."""
        bye = Bye(self._session, self.seq)
        if self._link is None or not self._link.send(encode_data(bye)):
            self._try_send(bye)

    def disconnect(self, linger_ms: int = 0) -> None:
        """Close the socket and the link; idempotent."""
        if self._link is not None:
            self._poller.unregister(self._link.fd)
            self._link.close()
            self._link = None
        if self._sock is not None:
            self._poller.unregister(self._sock)
            self._sock.close(linger_ms)
            self._sock = None
        if self._pidfd >= 0:
            os.close(self._pidfd)
        self._pidfd, self._death, self._process = -1, None, None
