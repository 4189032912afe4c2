"""A short cut between two processes of one machine: a Unix SEQPACKET connection beside the ZeroMQ one.

It carries the same messages as the data channel, without ZeroMQ's I/O threads in between: at half a megabyte
per item sending and arriving each take about a third less time (measured; see ``docs/decisions``). It is only
a short cut: whatever does not fit or cannot go through at once takes the ZeroMQ socket, and the receiver puts
items back in order by their numbers. Linux only, and only under the ipc transport.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import sys

from zmqruntime.config import Endpoint
from zmqruntime.sockets import ipc_path_is_live

MAX_LINK_BYTES = 32 * 1024
"""Larger messages take the ZeroMQ socket: a packet has to fit the socket buffer (208 KiB) several times."""

_BACKLOG = 64
_CREDENTIALS = struct.Struct("3i")


def link_path(endpoint: Endpoint) -> str:
    """Return where a server at `endpoint` listens for links, or an empty string where it cannot."""
    if endpoint.transport != "ipc" or sys.platform != "linux":
        return ""
    # As long as the path of the socket file, whose length the endpoint has checked.
    return os.path.join(endpoint.directory, f"{endpoint.data_port}.link")


class Link:
    """One end of a connection. Not thread-safe: its owner has a lock or a thread.

    Attributes
    ----------
    fd : int
        For polling.
    """

    __slots__ = ("_sock", "fd")

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self.fd = sock.fileno()

    @classmethod
    def connect(cls, path: str, session: str) -> Link | None:
        """Return a connection to the server's `path` that introduced itself, or None when there is none to be had."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            sock.connect(path)
            sock.send(session.encode())
        except OSError:
            sock.close()
            return None
        return cls(sock)

    def send(self, data: bytes) -> bool:
        """Send one message; False when it has to take the other way: too large, no room, or nobody there."""
        if len(data) > MAX_LINK_BYTES:
            return False
        try:
            self._sock.send(data)
        except OSError:
            return False
        return True

    def receive(self) -> bytes | None:
        """Return the next message, None when there is none, empty bytes when the other side closed."""
        try:
            return self._sock.recv(MAX_LINK_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def same_user(self) -> bool:
        """Return whether the other end belongs to this user."""
        raw = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        return bool(_CREDENTIALS.unpack(raw)[1] == os.geteuid())

    def close(self) -> None:
        """Close it; idempotent."""
        self._sock.close()


class LinkListener:
    """Where a server takes links.

    Parameters
    ----------
    path : str
        Socket file; a stale one is replaced. A living one is nobody's but ours: the data channel's
        address was bound before.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        if not ipc_path_is_live(path):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._sock.bind(path)
            os.chmod(path, 0o600)
            self._sock.listen(_BACKLOG)
        except OSError:
            self._sock.close()
            raise
        self._sock.setblocking(False)
        self.fd = self._sock.fileno()

    def accept(self) -> Link | None:
        """Return the next connection of this user, None when there is none."""
        while True:
            try:
                sock, _ = self._sock.accept()
            except OSError:
                return None
            link = Link(sock)
            if link.same_user():
                return link
            link.close()

    def close(self) -> None:
        """Stop listening and remove the socket file."""
        self._sock.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
