"""The receiving side of a credit stream: a ROUTER socket driven by its server's I/O thread."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import zmq

from zmqruntime import _faults
from zmqruntime.config import DEFAULT_TIMEOUTS, Timeouts
from zmqruntime.errors import ProtocolError
from zmqruntime.handshake import host_id, self_identity
from zmqruntime.link import Link, LinkListener
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
    IAmHere,
    Items,
    Note,
    NoteReply,
    Refused,
    Returns,
    Welcome,
    decode_sender,
    encode_data,
)
from zmqruntime.process import same_process
from zmqruntime.stream import StreamHandler

logger = logging.getLogger(__name__)

DEFAULT_WINDOW_ITEMS = 256
"""Items a sender may have uncredited: enough to keep a link busy, small enough to stop quickly."""

DEFAULT_WINDOW_BYTES = 256 * 1024 * 1024
"""Bytes a sender may have on their way in frames (items in shared memory do not count)."""

MAX_PEERS = 4096
"""More senders than this at once are refused: one per process and stream is normal."""

MAX_NAME = 200
"""A sender's name is cut here: it goes into logs and the status, 4096 times over."""

_DRAIN = 32
"""Messages taken before the control channel is looked at again."""

_OWED_ITEMS, _OWED_BYTES, _OWED_SECONDS = 16, 1 << 20, 0.002
"""Outcomes are sent together: at once when they free a megabyte (a large slot is still in the sender's cache),
else when 16 wait, when 2 ms passed, or when nothing arrives for a millisecond. One message per small item
would cost the sender more than its own copy (measured at 0.5 MB: 15 of 100 us)."""


class Peer:
    """One attached sender, as the receiver sees it.

    Attributes
    ----------
    session, name : str
        Its attachment's and its own name.
    pid : int
        Its process.
    local : bool
        Whether that process was found on this machine.
    seen : float
        `time.monotonic` of its last message.
    received, displayed, superseded, refused : int
        Items counted here.
    state : object
        The handler's own.
    """

    __slots__ = (
        "_identity",
        "_outbox",
        "_owed",
        "_start_time",
        "displayed",
        "early",
        "expected",
        "last",
        "link",
        "local",
        "name",
        "pid",
        "received",
        "refused",
        "seen",
        "session",
        "state",
        "superseded",
        "uncredited",
    )

    def __init__(
        self, identity: bytes, hello: Hello, outbox: Callable[[Peer, int, int, str, int], None]
    ) -> None:
        self._identity = identity
        self._outbox = outbox
        self._start_time = hello.start_time
        self._owed: list[int] = []
        self.session = hello.session
        self.name = hello.name[:MAX_NAME]
        self.pid = hello.pid
        self.local = (
            hello.host == host_id() and hello.host != "" and same_process(hello.pid, hello.start_time)
        )
        self.seen = time.monotonic()
        self.received = self.displayed = self.superseded = self.refused = 0
        self.state: Any = None
        self.link: Link | None = None
        self.expected = 0
        self.last = -1
        self.early: dict[int, tuple[Items, list[Any]]] = {}
        self.uncredited = 0

    def give(self, seq: int, code: int, reason: str = "", weight: int = 0) -> None:
        """Return item `seq`'s outcome, its credit, or both; any thread, once each.

        Parameters
        ----------
        code : int
            `messages.DISPLAYED`, ``SUPERSEDED`` or ``REFUSED``, plus or only ``CREDIT``.
        reason : str
            Why it was refused.
        weight : int
            Bytes the credit frees at the sender; many of them are told sooner.
        """
        self._outbox(self, seq, code, reason, weight)

    @property
    def died(self) -> bool:
        """Whether the sender is a process of this machine that has ended."""
        return self.local and not same_process(self.pid, self._start_time)

    def is_alive(self, now: float, gone: float) -> bool:
        """Return whether the sender may still be there."""
        if self.local:
            return same_process(self.pid, self._start_time)
        return now - self.seen < gone


class StreamReceiver:
    """Takes items from many senders on one ROUTER socket.

    Every method but `Peer.give` belongs to the I/O thread that owns the socket.

    Parameters
    ----------
    sock : zmq.Socket
        Bound ROUTER socket; closed by its owner.
    handler : StreamHandler
        Gets the items.
    wake : callable
        Called from other threads when there is something to send.
    window_items, window_bytes : int
        Credit each sender gets.
    listener : LinkListener, optional
        Where senders of this machine may take the short cut.
    poller : zmq.Poller, optional
        Gets the descriptors of links as they come and go; needed with `listener`.
    """

    def __init__(
        self,
        sock: zmq.Socket[bytes],
        handler: StreamHandler,
        *,
        wake: Callable[[], None],
        window_items: int = DEFAULT_WINDOW_ITEMS,
        window_bytes: int = DEFAULT_WINDOW_BYTES,
        timeouts: Timeouts = DEFAULT_TIMEOUTS,
        listener: LinkListener | None = None,
        poller: zmq.Poller | None = None,
    ) -> None:
        self._sock = sock
        self._listener = listener
        self._poller = poller
        self._links: dict[int, tuple[Link, bytes]] = {}
        if listener is not None and poller is not None:
            poller.register(listener.fd, zmq.POLLIN)
        self._handler = handler
        self._wake = wake
        self._window = (window_items, window_bytes)
        self._timeouts = timeouts
        self._peers: dict[bytes, Peer] = {}
        self._out: deque[tuple[Peer, int, int, str]] = deque()
        self._weight = 0
        self._owed_since = 0.0
        self._woken = False
        self._thread = 0
        self._totals = dict.fromkeys(("received", "displayed", "superseded", "refused"), 0)
        self.rejected = 0
        """Messages that were not of the protocol."""

    @property
    def peers(self) -> list[Peer]:
        """The attached senders."""
        return list(self._peers.values())

    def counters(self) -> dict[str, int]:
        """Return items received, displayed, superseded and refused since the start, all senders together."""
        return dict(self._totals)

    # ------------------------------------------------------------------ in
    def read(self) -> bool:
        """Handle the messages that are there, at most a few dozen; return whether there may be more."""
        self._thread = threading.get_ident()
        sock, more = self._sock, zmq.RCVMORE
        for _ in range(_DRAIN):
            try:
                identity = sock.recv(zmq.NOBLOCK)
            except zmq.Again:
                return False
            header = sock.recv() if sock.getsockopt(more) else b""
            frames: list[Any] = []
            while sock.getsockopt(more):
                frames.append(sock.recv(copy=False))
            self._take(identity, header, frames)
        return True

    def read_link(self, fd: int) -> None:
        """Handle what is readable at `fd`, one of the descriptors registered with the poller."""
        self._thread = threading.get_ident()
        if self._listener is not None and fd == self._listener.fd:
            while (link := self._listener.accept()) is not None and self._poller is not None:
                self._links[link.fd] = (link, b"")
                self._poller.register(link.fd, zmq.POLLIN)
            return
        found = self._links.get(fd)
        if found is None:
            return
        link, identity = found
        for _ in range(_DRAIN):
            data = link.receive()
            if data is None:
                return
            if not identity:
                identity = self._introduced(link, data)
            if not data or not identity:
                self._unlink(link)
                return
            if self._links[fd][1]:
                self._take(identity, data, [])
                if fd not in self._links:
                    return  # it said goodbye
            else:
                self._links[fd] = (link, identity)

    def _introduced(self, link: Link, data: bytes) -> bytes:
        for identity, peer in self._peers.items():
            if peer.session.encode() == data and peer.link is None:
                peer.link = link
                return identity
        return b""

    def _unlink(self, link: Link) -> None:
        _, identity = self._links.pop(link.fd)
        peer = self._peers.get(identity)
        if peer is not None:
            peer.link = None
        if self._poller is not None:
            self._poller.unregister(link.fd)
        link.close()

    def _take(self, identity: bytes, header: bytes, frames: list[Any]) -> None:
        try:
            self._message(identity, header, frames)
        except ProtocolError as error:
            self._reject(identity, error)
        except Exception:
            # The plugin boundary: one handler's bug must not end the thread that answers pings.
            logger.exception("a message from %r could not be handled", identity)
            self.rejected += 1
            if identity in self._peers:
                # Nobody knows what became of its items: over there they count as lost, and a new session begins.
                self._forget(identity)
                self._send(identity, Refused("unknown-session", "the receiver stumbled over a message"))
        if self._out:
            self.flush_due()

    def _reject(self, identity: bytes, error: ProtocolError) -> None:
        self.rejected += 1
        if self.rejected & (self.rejected - 1) == 0:  # the 1st, 2nd, 4th, 8th ...: not to fill the log
            logger.warning("refused a message, number %d: %s", self.rejected, error)
        if identity in self._peers:
            self._forget(identity)  # what it said is lost, and with it the count: the session cannot go on
        self._send(identity, Refused("protocol", str(error)[:500]))

    def _message(self, identity: bytes, header: bytes, frames: list[Any]) -> None:
        message = decode_sender(header)
        peer = self._peers.get(identity)
        if type(message) is Hello:
            self._hello(identity, message)
            return
        if peer is None:
            if type(message) is not Bye:
                self._send(identity, Refused("unknown-session", "say hello first"))
            return
        peer.seen = time.monotonic()
        if type(message) is Items:
            if message.seq != peer.expected:
                self._stash(peer, message, frames)
                return
            self._items(peer, message, frames)
            while peer.early:
                # What came on the other way meanwhile has its turn now.
                early = peer.early.pop(peer.expected, None)
                if early is None:
                    break
                self._items(peer, *early)
        elif type(message) is AreYouThere:
            self._send(identity, IAmHere(message.number), peer.link)
        elif type(message) is Note:
            self._send(
                identity, NoteReply(message.number, _raw(self._handler.note(peer, bytes(message.body))))
            )
        elif type(message) is Bye:
            peer.last = message.items
        if 0 <= peer.last <= peer.expected:
            self._forget(identity)

    def _stash(self, peer: Peer, message: Items, frames: list[Any]) -> None:
        if message.seq < peer.expected or message.seq in peer.early or len(peer.early) >= self._window[0]:
            raise ProtocolError(
                f"items from {message.seq} where {peer.expected} was expected: number them without gaps"
            )
        peer.early[message.seq] = (message, frames)

    def _items(self, peer: Peer, message: Items, frames: list[Any]) -> None:
        if _faults.armed:
            _faults.fault_point("receiver.items")
        count = message.count
        if not 0 < count <= self._window[0] - peer.uncredited:
            raise ProtocolError(
                f"{count} items where {self._window[0] - peer.uncredited} of {self._window[0]} credits are left"
            )
        peer.received += count
        peer.uncredited += count
        peer.expected = message.seq + count
        self._totals["received"] += count
        try:
            self._handler.items(peer, message.seq, count, message.body, frames)
        except ProtocolError as error:
            logger.warning(
                "refused items %d to %d of %s: %s", message.seq, message.seq + count - 1, peer.name, error
            )
            for seq in range(message.seq, message.seq + count):
                peer.give(seq, REFUSED | CREDIT, str(error))

    def _hello(self, identity: bytes, hello: Hello) -> None:
        if hello.protocol < OLDEST_PROTOCOL or hello.min_protocol > PROTOCOL_VERSION:
            text = (
                f"you speak protocol {hello.min_protocol} to {hello.protocol}, this server {OLDEST_PROTOCOL} to "
                f"{PROTOCOL_VERSION}: upgrade the older side"
            )
            self._send(identity, Refused("version", text))
            return
        if len(hello.session) > MAX_NAME:
            raise ProtocolError(
                f"a session's name has {len(hello.session)} letters, at most {MAX_NAME} are taken"
            )
        peer = self._peers.get(identity)
        if peer is None or peer.session != hello.session:
            if len(self._peers) >= MAX_PEERS:
                self._send(identity, Refused("protocol", f"{MAX_PEERS} senders are attached already"))
                return
            if peer is not None:
                self._forget(identity)
            peer = Peer(identity, hello, self._put)
            body = self._handler.attach(peer, bytes(hello.body))
            self._peers[identity] = peer
        else:
            body = self._handler.attach(peer, bytes(hello.body))
        pid, start_time = self_identity()
        version = min(PROTOCOL_VERSION, hello.protocol)
        link = self._listener.path if self._listener is not None and peer.local else ""
        self._send(
            identity,
            Welcome(version, hello.session, *self._window, pid, start_time, host_id(), link, _raw(body)),
        )
        if _faults.armed:
            _faults.fault_point("receiver.welcomed")

    def _forget(self, identity: bytes) -> None:
        peer = self._peers.pop(identity)
        if peer.link is not None:
            self._unlink(peer.link)
        try:
            self._handler.detach(peer)
        except Exception:
            logger.exception("sender %s could not be forgotten in good order", peer.name)

    def expire(self, now: float) -> None:
        """Forget senders that died, or broke the connection, without a word."""
        for identity, peer in list(self._peers.items()):
            if now - peer.seen > self._timeouts.silence and not (
                # An attached sender asks for a sign of life when it has nothing to say: this one is stopped or gone.
                peer.is_alive(now, self._timeouts.gone) and self._send(identity, IAmHere(0))
            ):
                logger.info("sender %s (pid %d) is gone", peer.name, peer.pid)
                self._forget(identity)

    def close(self) -> None:
        """Tell the senders, forget them all."""
        self.flush()
        for identity in list(self._peers):
            self._send(identity, Refused("closing", "the receiver ends"))
            self._forget(identity)
        for link, _ in list(self._links.values()):
            self._unlink(link)
        if self._listener is not None:
            self._listener.close()

    # ------------------------------------------------------------------ out
    @property
    def owing(self) -> bool:
        """Whether outcomes wait to be sent."""
        return bool(self._out)

    def _put(self, peer: Peer, seq: int, code: int, reason: str, weight: int) -> None:
        self._out.append((peer, seq, code, reason))
        self._weight += weight  # a lost race only delays the message by a millisecond
        if not self._woken and threading.get_ident() != self._thread:
            self._woken = True
            self._wake()

    def flush_due(self) -> None:
        """Send the outcomes that wait when they are many, free much, or wait for long."""
        now = time.monotonic()
        if not self._owed_since:
            self._owed_since = now
        if (
            self._weight >= _OWED_BYTES
            or len(self._out) >= _OWED_ITEMS
            or now - self._owed_since > _OWED_SECONDS
        ):
            self.flush()

    def flush(self) -> None:
        """Send the outcomes that wait."""
        self._woken = False
        self._weight = 0
        self._owed_since = 0.0
        out, totals = self._out, self._totals
        owing: list[Peer] = []
        while out:
            peer, seq, code, reason = out.popleft()
            outcome = code & ~CREDIT
            if code & CREDIT:
                peer.uncredited -= 1
            if outcome == DISPLAYED:
                peer.displayed += 1
                totals["displayed"] += 1
            elif outcome == SUPERSEDED:
                peer.superseded += 1
                totals["superseded"] += 1
            elif outcome == REFUSED:
                peer.refused += 1
                totals["refused"] += 1
                text = reason[:500].encode("utf-8", "replace").decode()  # a path in it may be no valid text
                self._send(peer._identity, Failed(seq, text), peer.link)
            if not peer._owed:
                owing.append(peer)
            peer._owed += (seq, code)
        for peer in owing:
            pairs, peer._owed = peer._owed, []
            self._send(peer._identity, Returns(pairs), peer.link)
        if _faults.armed and owing:
            _faults.fault_point("receiver.returned")

    def _send(self, identity: bytes, message: Any, link: Link | None = None) -> bool:
        data = encode_data(message)
        if link is not None and link.send(data):
            return True
        try:
            self._sock.send(identity, zmq.SNDMORE | zmq.NOBLOCK)
            self._sock.send(data, zmq.NOBLOCK)
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:  # a connection that is gone; its sender knows
                logger.warning("could not answer a sender: %s", error)
            return False
        return True


def _raw(body: bytes) -> Any:
    from msgspec import Raw

    return Raw(body)
