"""The first words of the X11 protocol, by hand: does an X server answer, and would it let us in?

Qt ends the whole process when it cannot open its display, so we ask first, without Qt and without any
X library.
"""

from __future__ import annotations

import os
import re
import secrets
import socket
import struct
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

COOKIE_NAME = b"MIT-MAGIC-COOKIE-1"
"""The one authorisation scheme every X server has."""

FAMILY_WILD = 0xFFFF
"""Address family of an authority entry that fits any server."""

ANSWER_TIMEOUT = 5.0
"""Seconds an X server gets to answer; a healthy one takes about a millisecond."""

TRIES = 4
"""Connections that are tried when the server hangs up, `PAUSE` seconds apart."""

PAUSE = 0.1
"""An X server starts anew when its last client leaves and hangs up on those that come meanwhile; it takes some
milliseconds (measured with Xvfb 21.1: half of 800 connections of four threads were refused)."""

_TCP_BASE = 6000
_DISPLAY = re.compile(r"^(?:(?P<host>[^:/]*)/?)?:(?P<number>\d+)(?:\.\d+)?$")


class X11Refused(Exception):
    """The display cannot be opened; the text says why."""


def handshake(display: str, env: Mapping[str, str]) -> str:
    """Open and close a connection to X server `display`.

    Parameters
    ----------
    display : str
        As in ``$DISPLAY``: ``":0"``, ``"localhost:10.0"``.
    env : mapping of str to str
        Environment to take ``XAUTHORITY`` and ``HOME`` from.

    Returns
    -------
    str
        The server's vendor, such as ``"The X.Org Foundation"``.

    Raises
    ------
    X11Refused
        It is not a display name, nobody listens there, or the server lets us not in.
    """
    match = _DISPLAY.match(display)
    if not match:
        raise X11Refused("it is not a display name such as ':0'")
    number = match["number"]
    cookies = list(read_cookies(authority_file(env), number))
    reason = ""
    for cookie in cookies or [b""]:
        ok, text = _greet(match["host"] or "", int(number), cookie)
        if ok:
            return text
        reason = f"the server refused: {text}" if text else "the server refused"
    raise X11Refused(reason)


def _greet(host: str, number: int, cookie: bytes) -> tuple[bool, str]:
    """Return whether the server lets somebody with this cookie in, and its vendor or its reason."""
    for left in range(TRIES - 1, -1, -1):
        with _connect(host, number) as sock:
            try:
                return _setup(sock, cookie)
            except ConnectionError as error:
                # A server that refuses may hang up before its reason can be read; one that starts anew does, too.
                if not left:
                    return False, f"it hung up ({error.strerror or error}); is the cookie right?"
            except OSError as error:
                raise X11Refused(
                    f"the server did not answer within {ANSWER_TIMEOUT:g} s ({error})"
                ) from error
        time.sleep(PAUSE)
    raise AssertionError("unreachable")


def authority_file(env: Mapping[str, str]) -> Path:
    """Return the file in which X clients look for their cookies."""
    given = env.get("XAUTHORITY")
    return Path(given) if given else Path(env.get("HOME") or os.path.expanduser("~")) / ".Xauthority"


def write_authority(path: Path) -> None:
    """Write a new random cookie that fits whatever display number the server takes; mode 0600."""
    cookie = secrets.token_bytes(16)
    entry = (
        struct.pack(">H", FAMILY_WILD)
        + _counted(b"")
        + _counted(b"")
        + _counted(COOKIE_NAME)
        + _counted(cookie)
    )
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(entry)


def read_cookies(path: Path, number: str) -> Iterator[bytes]:
    """Yield the cookies in authority file `path` that fit display `number`; none when it cannot be read."""
    try:
        data = path.read_bytes()
    except OSError:
        return
    at = 0
    try:
        while at < len(data):
            at += 2  # address family: which host matters less than whether the server takes the cookie
            parts = []
            for _ in range(4):
                (length,) = struct.unpack_from(">H", data, at)
                parts.append(data[at + 2 : at + 2 + length])
                at += 2 + length
            _, entry_number, name, cookie = parts
            if name == COOKIE_NAME and entry_number in (b"", number.encode()):
                yield cookie
    except struct.error:
        return


def _counted(data: bytes) -> bytes:
    return struct.pack(">H", len(data)) + data


def _connect(host: str, number: int) -> socket.socket:
    path = f"/tmp/.X11-unix/X{number}"
    if host in ("", "unix"):
        tries: list[tuple[int, str | tuple[str, int]]] = [
            (socket.AF_UNIX, path),
            (socket.AF_UNIX, "\0" + path),
        ]
    else:
        tries = [(socket.AF_INET, (host, _TCP_BASE + number))]
    problem: OSError | None = None
    for family, address in tries:
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.settimeout(ANSWER_TIMEOUT)
        try:
            sock.connect(address)
        except OSError as error:
            sock.close()
            problem = problem or error
        else:
            return sock
    raise X11Refused(f"no X server listens there ({problem})")


def _setup(sock: socket.socket, cookie: bytes) -> tuple[bool, str]:
    name = COOKIE_NAME if cookie else b""
    request = struct.pack("<BxHHHHxx", ord("l"), 11, 0, len(name), len(cookie))
    sock.sendall(request + _padded(name) + _padded(cookie))
    head = _read(sock, 8)
    code, reason_length, rest = head[0], head[1], struct.unpack_from("<H", head, 6)[0] * 4
    body = _read(sock, rest)
    if code == 1:
        (vendor_length,) = struct.unpack_from("<H", body, 16)
        return True, body[32 : 32 + vendor_length].decode("latin-1")
    return False, body[:reason_length].decode("latin-1").strip("\0\n ")


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)


def _read(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = sock.recv(count - len(data))
        if not more:
            raise ConnectionError("it closed the connection")
        data += more
    return data
