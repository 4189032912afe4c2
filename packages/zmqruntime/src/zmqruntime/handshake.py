"""Who we are, whether somebody is there, and whether we understand each other."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable

from zmqruntime.client import ControlClient
from zmqruntime.config import Endpoint
from zmqruntime.errors import HandshakeTimeout, PeerError, RequestTimeout, VersionMismatchError
from zmqruntime.messages import OLDEST_PROTOCOL, PROTOCOL_VERSION, Pong
from zmqruntime.process import process_start_time
from zmqruntime.security import KeyPair


@functools.cache
def host_id() -> str:
    """Return this boot of this machine's id, empty where the system has none.

    Equal ids mean the same running kernel, not the same process table: containers share it.
    """
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return ""


def self_identity() -> tuple[int, int]:
    """Return this process's pid and start time."""
    pid = os.getpid()
    return pid, _start_time(pid)


@functools.lru_cache(maxsize=1)
def _start_time(pid: int) -> int:
    return int(process_start_time(pid) or 0)


def check_protocol(pong: Pong) -> Pong:
    """Return `pong`.

    Raises
    ------
    VersionMismatchError
        The server and this package share no protocol version.
    """
    if pong.protocol < OLDEST_PROTOCOL or pong.min_protocol > PROTOCOL_VERSION:
        raise VersionMismatchError(
            f"the server (pid {pong.pid}) speaks protocol {pong.min_protocol} to {pong.protocol}, this package "
            f"{OLDEST_PROTOCOL} to {PROTOCOL_VERSION}: upgrade the older side, or stop that server and start it anew"
        )
    return pong


def ping(
    endpoint: Endpoint | str,
    timeout: float = 2.0,
    server_key: bytes | None = None,
    keys: KeyPair | None = None,
) -> Pong:
    """Return the answer of the server at `endpoint`, a protocol version of ours being among its own.

    Raises
    ------
    RequestTimeout
        Nobody answered within `timeout` seconds.
    VersionMismatchError
        It speaks another protocol.
    """
    with ControlClient(endpoint, timeout=timeout, server_key=server_key, keys=keys) as client:
        return check_protocol(client.ping())


def wait_until_ready(
    endpoint: Endpoint | str,
    timeout: float = 60.0,
    still_alive: Callable[[], bool] | None = None,
    server_key: bytes | None = None,
    keys: KeyPair | None = None,
) -> Pong:
    """Return the first pong that says ready.

    Parameters
    ----------
    timeout : float
        Seconds to wait.
    still_alive : callable, optional
        Asked between pings; False ends the waiting at once.

    Raises
    ------
    HandshakeTimeout
        It was not ready in time.
    PeerError
        `still_alive` said no.
    """
    end = time.monotonic() + timeout
    last: Pong | None = None
    while True:
        left = end - time.monotonic()
        if left <= 0:
            state = "it answers but is not ready" if last else "nobody answered"
            raise HandshakeTimeout(f"{endpoint} was not ready within {timeout:g} s: {state}")
        asked = time.monotonic()
        try:
            last = ping(endpoint, timeout=min(0.5, left), server_key=server_key, keys=keys)
            if last.ready:
                return last
        except RequestTimeout:
            pass
        if still_alive is not None and not still_alive():
            raise PeerError(f"the server at {endpoint} ended before it was ready")
        pause = 0.05 - (time.monotonic() - asked)
        if pause > 0:
            time.sleep(min(pause, max(0.0, end - time.monotonic())))
