"""What goes over the wire, and nothing else: the protocol of ``docs/protocol.md``.

Control messages are JSON objects with a ``type``; data messages begin with one msgpack array whose
first element is the message's number. Decoding checks types; nothing is ever unpickled.
"""

from __future__ import annotations

from typing import Any

import msgspec

from zmqruntime.errors import ProtocolError

PROTOCOL_VERSION = 1
"""Version of both channels. A change that an older peer cannot read raises it by one."""

OLDEST_PROTOCOL = 1
"""Oldest version this package still speaks: N talks to N-1."""

MAX_HEADER_BYTES = 16 * 1024 * 1024
"""A data header larger than this is refused: 10,000 items need about 1 MB."""

MAX_CONTROL_BYTES = 4 * 1024 * 1024
"""A control message larger than this is refused."""

# --------------------------------------------------------------------------- control channel (JSON)


class Ping(msgspec.Struct, frozen=True, tag_field="type", tag="ping"):
    """Ask whether the server is there."""

    protocol: int = PROTOCOL_VERSION


class GetStatus(msgspec.Struct, frozen=True, tag_field="type", tag="get_status"):
    """Ask for the server's counters."""

    protocol: int = PROTOCOL_VERSION


class Shutdown(msgspec.Struct, frozen=True, tag_field="type", tag="shutdown"):
    """Ask the server to end itself in good order."""

    protocol: int = PROTOCOL_VERSION


class Command(msgspec.Struct, frozen=True, tag_field="type", tag="command"):
    """Ask the server for something its application offers by name."""

    name: str
    params: dict[str, Any] = {}
    protocol: int = PROTOCOL_VERSION


class Pong(msgspec.Struct, frozen=True, tag_field="type", tag="pong", kw_only=True):
    """The server is there: who it is and what it can do.

    Attributes
    ----------
    protocol, min_protocol : int
        Newest and oldest protocol version it speaks.
    versions : dict
        Package name to version.
    ready : bool
        Whether its application is up.
    pid, start_time : int
        Its process, see `zmqruntime.process`.
    kind, title, log : str
        What it is, its name for people, its log file.
    capabilities : dict
        What its application offers.
    app_idle_ms : float
        Milliseconds since its application's own loop last moved; the I/O thread that answers this
        goes on even when that loop hangs. Negative before the loop started.
    """

    protocol: int = PROTOCOL_VERSION
    min_protocol: int = OLDEST_PROTOCOL
    versions: dict[str, str] = {}
    ready: bool = False
    pid: int = 0
    start_time: int = 0
    kind: str = "server"
    title: str = ""
    log: str = ""
    capabilities: dict[str, Any] = {}
    app_idle_ms: float = -1.0


class Status(msgspec.Struct, frozen=True, tag_field="type", tag="status"):
    """The server's counters, as its application words them."""

    values: dict[str, Any]


class Ok(msgspec.Struct, frozen=True, tag_field="type", tag="ok"):
    """Done, nothing to say."""


class Result(msgspec.Struct, frozen=True, tag_field="type", tag="result"):
    """What a command returned."""

    value: Any = None


class Error(msgspec.Struct, frozen=True, tag_field="type", tag="error"):
    """The request failed: a stable code, what failed, what to do."""

    code: str
    message: str
    remedy: str = ""


ControlRequest = Ping | GetStatus | Shutdown | Command
ControlReply = Pong | Status | Ok | Result | Error

_json_encode = msgspec.json.Encoder().encode
_decode_request = msgspec.json.Decoder(ControlRequest).decode
_decode_reply = msgspec.json.Decoder(ControlReply).decode


def encode_control(message: ControlRequest | ControlReply) -> bytes:
    """Return the JSON of a control message."""
    return _json_encode(message)


def decode_request(data: bytes) -> ControlRequest:
    """Return the request in `data`.

    Raises
    ------
    ProtocolError
        It is none.
    """
    return _decoded(_decode_request, data, MAX_CONTROL_BYTES)  # type: ignore[no-any-return]


def decode_reply(data: bytes) -> ControlReply:
    """Return the reply in `data`.

    Raises
    ------
    ProtocolError
        It is none.
    """
    return _decoded(_decode_reply, data, MAX_CONTROL_BYTES)  # type: ignore[no-any-return]


# --------------------------------------------------------------------------- data channel (msgpack)


class Hello(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """First word of a sender: who it is and which versions it speaks.

    `session` names this attachment; every later message on the same connection belongs to it.
    `host` is the boot id of its machine (empty where there is none): equal means same machine.
    `body` is the application's own msgpack value.
    """

    protocol: int
    min_protocol: int
    session: str
    pid: int
    start_time: int
    host: str
    name: str
    body: msgspec.Raw


class Items(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """`count` items numbered from `seq`; `body` describes them, further frames may carry their bytes.

    A session's items are numbered from 0 without a gap; the receiver takes them in that order.
    """

    seq: int
    count: int
    body: msgspec.Raw


class AreYouThere(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Sign of life asked for; answered by `IAmHere` with the same number."""

    number: int


class Note(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """An application's message outside the numbered items; answered by `NoteReply` with the same number."""

    number: int
    body: msgspec.Raw


class Bye(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """The sender leaves after `items` items; the receiver may forget it once it has them all."""

    session: str
    items: int


class Welcome(msgspec.Struct, frozen=True, array_like=True, tag=17):
    """The receiver takes the sender: at most `window_items` uncredited items, `window_bytes` in frames.

    `link` is the path of its short cut (see `zmqruntime.link`), empty when it has none.
    """

    protocol: int
    session: str
    window_items: int
    window_bytes: int
    pid: int
    start_time: int
    host: str
    link: str
    body: msgspec.Raw


class Returns(msgspec.Struct, frozen=True, array_like=True, tag=18):
    """What became of items: ``[seq, code, seq, code, ...]``.

    A code is one of `DISPLAYED`, `SUPERSEDED`, `REFUSED` or 0, plus `CREDIT` when the item's memory
    may be used again.
    """

    pairs: list[int]


class IAmHere(msgspec.Struct, frozen=True, array_like=True, tag=19):
    """Answer to `AreYouThere`."""

    number: int


class NoteReply(msgspec.Struct, frozen=True, array_like=True, tag=20):
    """Answer to `Note`."""

    number: int
    body: msgspec.Raw


class Refused(msgspec.Struct, frozen=True, array_like=True, tag=21):
    """The receiver does not take the sender, or does not know its session. See `REFUSAL_CODES`."""

    code: str
    message: str


class Failed(msgspec.Struct, frozen=True, array_like=True, tag=22):
    """Why item `seq` was refused, in words."""

    seq: int
    message: str


DISPLAYED, SUPERSEDED, REFUSED = 1, 2, 3
"""Outcomes of an item, in `Returns`."""

CREDIT = 16
"""Added to an outcome (or alone): the item's slot, segment or frames are free again."""

REFUSAL_CODES = ("version", "unknown-session", "protocol", "closing")
"""`Refused.code` is one of these."""

SenderMessage = Hello | Items | AreYouThere | Note | Bye
ReceiverMessage = Welcome | Returns | IAmHere | NoteReply | Refused | Failed

EMPTY = msgspec.Raw(b"\xc0")
"""An application body that says nothing (msgpack nil)."""

encode_data = msgspec.msgpack.Encoder().encode
"""Return the msgpack of a data-channel message."""

_decode_sender = msgspec.msgpack.Decoder(SenderMessage).decode
_decode_receiver = msgspec.msgpack.Decoder(ReceiverMessage).decode


def decode_sender(data: bytes) -> SenderMessage:
    """Return the sender's message in `data`.

    Raises
    ------
    ProtocolError
        It is none.
    """
    return _decoded(_decode_sender, data, MAX_HEADER_BYTES)  # type: ignore[no-any-return]


def decode_receiver(data: bytes) -> ReceiverMessage:
    """Return the receiver's message in `data`.

    Raises
    ------
    ProtocolError
        It is none.
    """
    return _decoded(_decode_receiver, data, MAX_HEADER_BYTES)  # type: ignore[no-any-return]


def _decoded(decode: Any, data: bytes, limit: int) -> Any:
    if len(data) > limit:
        raise ProtocolError(f"a message of {len(data)} bytes is over the limit of {limit}")
    try:
        return decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError, OverflowError) as error:
        # ValueError: text that is no UTF-8.
        raise ProtocolError(f"not a protocol {PROTOCOL_VERSION} message: {error}") from error
