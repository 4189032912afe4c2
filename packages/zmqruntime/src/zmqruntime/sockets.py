"""The only place a socket is made: its LINGER, high-water marks, limits and keys are set here.

Nothing else in the project calls ``zmq.Context.socket``.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket as stdlib_socket
import stat
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zmq

from zmqruntime.config import Endpoint
from zmqruntime.errors import AddressInUseError, EndpointUnusableError
from zmqruntime.security import require_key_for

if TYPE_CHECKING:
    from zmqruntime.security import KeyPair

logger = logging.getLogger(__name__)

MAX_MESSAGE_BYTES = 2 * 1024**3
"""A larger frame closes the connection before anything is allocated for it."""

HIGH_WATER_MARK = 100_000
"""Far above any credit window, so that ZeroMQ itself never drops nor blocks: credits do."""

_lock = threading.Lock()
_contexts: dict[int, zmq.Context[zmq.Socket[bytes]]] = {}


def context() -> zmq.Context[zmq.Socket[bytes]]:
    """Return this process's context; a forked child gets one of its own."""
    pid = os.getpid()
    found = _contexts.get(pid)
    if found is None:
        with _lock:
            found = _contexts.setdefault(pid, zmq.Context())
    return found


@dataclass(frozen=True, slots=True)
class Curve:
    """CURVE options of one socket: the server's own key pair, or a client's and the server's public key."""

    keys: KeyPair | None = None
    server_key: bytes | None = None

    def apply_server(self, sock: zmq.Socket[bytes]) -> None:
        """Make `sock` the server side, when there are keys."""
        if self.keys is not None:
            sock.setsockopt(zmq.CURVE_SERVER, 1)
            sock.setsockopt(zmq.CURVE_SECRETKEY, self.keys.secret)
            sock.setsockopt(zmq.CURVE_PUBLICKEY, self.keys.public)
            self.keys.guard(sock)

    def apply_client(self, sock: zmq.Socket[bytes]) -> None:
        """Make `sock` a client of the server with `server_key`, when one is given."""
        if self.server_key is None:
            return
        keys = self.keys
        if keys is None:
            from zmqruntime.security import KeyPair as Pair

            keys = Pair.generate()
        sock.setsockopt(zmq.CURVE_SERVERKEY, self.server_key)
        sock.setsockopt(zmq.CURVE_PUBLICKEY, keys.public)
        sock.setsockopt(zmq.CURVE_SECRETKEY, keys.secret)


NO_CURVE = Curve()


def make_socket(kind: int, *, linger_ms: int = 0, **options: Any) -> zmq.Socket[bytes]:
    """Return a new socket of this process with the project's settings.

    Parameters
    ----------
    kind : int
        ``zmq.ROUTER``, ``zmq.DEALER``, ...
    linger_ms : int
        How long closing waits for unsent messages.
    **options
        Further socket options by lower-case name, such as ``identity=b"..."``.
    """
    sock = context().socket(kind)
    sock.setsockopt(zmq.LINGER, linger_ms)
    sock.setsockopt(zmq.SNDHWM, HIGH_WATER_MARK)
    sock.setsockopt(zmq.RCVHWM, HIGH_WATER_MARK)
    sock.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
    sock.setsockopt(zmq.RECONNECT_IVL, 50)
    sock.setsockopt(zmq.RECONNECT_IVL_MAX, 500)
    for name, value in options.items():
        sock.setsockopt(getattr(zmq, name.upper()), value)
    return sock


def ipc_path_is_live(path: str) -> bool:
    """Return whether a process listens on the Unix socket file `path`.

    ZeroMQ binds over a living ipc socket without a word, so binding has to ask first.
    """
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return False
    except OSError:
        return False
    probe = stdlib_socket.socket(stdlib_socket.AF_UNIX, stdlib_socket.SOCK_STREAM)
    try:
        probe.settimeout(0.5)
        probe.connect(path)
    except TimeoutError:
        return True
    except OSError as error:
        return error.errno == errno.EAGAIN
    else:
        return True
    finally:
        probe.close()


@contextlib.contextmanager
def _binding_alone(path: str) -> Iterator[None]:
    """Keep others from binding in the folder of `path` between our look and our bind: ZeroMQ would let both."""
    import fcntl

    lock = os.open(Path(path).with_name(".bind.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


BIND_PATIENCE = 0.5
"""Seconds to wait for an address to become free: libzmq closes a listener a moment after its socket."""


def bind(sock: zmq.Socket[bytes], url: str, endpoint: Endpoint, curve: Curve = NO_CURVE) -> None:
    """Bind `sock` to `url`, one of the two of `endpoint`.

    Raises
    ------
    InsecureBindError
        The endpoint can be reached from other machines and there is no key.
    AddressInUseError
        Another process listens there. Its process is left alone.
    EndpointUnusableError
        No process can listen there: no such interface or folder.
    """
    require_key_for(endpoint, curve.keys)
    curve.apply_server(sock)
    _allow_ipv6(sock, url)
    end = time.monotonic() + BIND_PATIENCE
    while True:
        try:
            _bind(sock, url)
        except AddressInUseError:
            if time.monotonic() > end:
                raise
            time.sleep(0.01)
        else:
            return


def _bind(sock: zmq.Socket[bytes], url: str) -> None:
    taken = f"{url} is in use by another process: choose another port, or stop that one"
    try:
        if not url.startswith("ipc://"):
            sock.bind(url)
            return
        path = url[len("ipc://") :]
        with _binding_alone(path):
            if ipc_path_is_live(path):
                raise AddressInUseError(taken)
            sock.bind(url)
            os.chmod(path, 0o600)
    except zmq.ZMQError as error:
        if error.errno in (errno.EADDRINUSE, zmq.EADDRINUSE):
            raise AddressInUseError(taken) from error
        raise EndpointUnusableError(f"cannot listen on {url}: {error}") from error
    except (FileNotFoundError, PermissionError, NotADirectoryError) as error:
        raise EndpointUnusableError(
            f"cannot listen on {url}: {error}; set ZMQRUNTIME_DIR to a folder of yours"
        ) from error


def remove_socket_file(url: str) -> None:
    """Remove the file of an ipc `url` whose socket was closed; one that somebody listens on is left alone.

    ZeroMQ does it a moment later, and not at all in a process that ends before.
    """
    if not url.startswith("ipc://"):
        return
    path = url.removeprefix("ipc://")
    end = time.monotonic() + BIND_PATIENCE
    while ipc_path_is_live(path) and time.monotonic() < end:
        time.sleep(0.005)
    try:
        with _binding_alone(path):
            if not ipc_path_is_live(path):
                Path(path).unlink(missing_ok=True)
    except OSError as error:
        logger.info("%s cannot be removed: %s", path, error.strerror)


def connect(sock: zmq.Socket[bytes], url: str, curve: Curve = NO_CURVE) -> None:
    """Connect `sock` to `url`; ZeroMQ goes on trying until somebody listens there."""
    curve.apply_client(sock)
    _allow_ipv6(sock, url)
    sock.connect(url)


def _allow_ipv6(sock: zmq.Socket[bytes], url: str) -> None:
    if "[" in url:  # only there: a name could otherwise come to mean an IPv6 address nobody listens on
        sock.setsockopt(zmq.IPV6, 1)
