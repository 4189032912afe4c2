"""Who may connect: the one ZAP handler of this process (ZeroMQ RFC 27).

libzmq asks it, over an in-process socket, about every client of every CURVE server socket of the context,
so it must answer for sockets without a list too. Ours is a plain thread: pyzmq's own brings an asyncio loop
into the process, and one exception there would end it and leave every later client waiting for ever.
"""

from __future__ import annotations

import itertools
import logging
import os
import threading
from typing import Any

import zmq
from zmq.utils import z85

from zmqruntime.sockets import make_socket

logger = logging.getLogger(__name__)

ZAP_ADDRESS = "inproc://zeromq.zap.01"
"""Fixed by RFC 27."""

_VERSION = b"1.0"
_lock = threading.Lock()
_numbers = itertools.count(1)
_domains: dict[bytes, frozenset[bytes]] = {}
_running_in = 0
"""The process whose handler runs: a fork has a context, and so a handler, of its own."""


def restrict(sock: zmq.Socket[Any], allowed: frozenset[bytes]) -> None:
    """Let only clients with one of the public keys `allowed` (Z85) connect to the CURVE server `sock`."""
    global _running_in
    with _lock:
        if _running_in != os.getpid():
            handler = make_socket(zmq.REP)
            handler.bind(ZAP_ADDRESS)
            threading.Thread(target=_serve, args=(handler,), name="zap", daemon=True).start()
            _running_in = os.getpid()
        domain = b"zmqruntime-%d" % next(_numbers)
        _domains[domain] = allowed
    sock.setsockopt(zmq.ZAP_DOMAIN, domain)
    # Without a handler nobody gets in, instead of everybody.
    sock.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)


def _serve(handler: zmq.Socket[bytes]) -> None:
    while True:
        try:
            request = handler.recv_multipart()
        except zmq.ContextTerminated:
            return
        try:
            status, text, user = decide(request)
        except Exception:
            # The boundary of a loop that must not end: whoever cannot be judged is not let in.
            logger.exception("an authentication request could not be read")
            status, text, user = b"500", b"cannot be read", b""
        number = request[1] if len(request) > 1 else b""
        handler.send_multipart([_VERSION, number, status, text, user, b""])


def decide(request: list[bytes]) -> tuple[bytes, bytes, bytes]:
    """Return status, text and user id for a ZAP request.

    Parameters
    ----------
    request : list of bytes
        Version, number, domain, address, identity, mechanism, credentials.
    """
    version, _, domain, address, _, mechanism, *credentials = request
    if version != _VERSION or mechanism != b"CURVE" or len(credentials) != 1:
        # Sockets without keys have no domain, and are not asked about.
        return b"400", b"only CURVE clients", b""
    key = z85.encode(credentials[0])
    allowed = _domains.get(domain)
    if allowed is None and domain == b"":
        return b"200", b"OK", key  # a server without a list: knowing its public key is enough
    if allowed is None or key not in allowed:
        logger.warning(
            "refused a client from %s: its key %s is not on the list", address.decode(), key.decode()
        )
        return b"400", b"key not on the list", b""
    return b"200", b"OK", key
