"""The bytes of every message, pinned: another language relies on them, and on ``docs/protocol.md``, which shows them.

The bytes stand in ``golden.toml``. A change of them is a change of the protocol.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zmqruntime import messages
from zmqruntime._numbering import Numbered, decode_numbered
from zmqruntime.errors import ProtocolError
from zmqruntime.messages import (
    CREDIT,
    DISPLAYED,
    MAX_CONTROL_BYTES,
    MAX_HEADER_BYTES,
    REFUSED,
    SUPERSEDED,
    AreYouThere,
    Bye,
    Command,
    Error,
    Failed,
    GetStatus,
    Hello,
    IAmHere,
    Items,
    Note,
    NoteReply,
    Ok,
    Ping,
    Pong,
    Refused,
    Result,
    Returns,
    Shutdown,
    Status,
    Welcome,
    decode_receiver,
    decode_reply,
    decode_request,
    decode_sender,
    encode_control,
    encode_data,
)

GOLDEN = tomllib.loads(Path(__file__).with_name("golden.toml").read_text())
NIL = messages.EMPTY
HOST = "4d5e6f70-0000-4000-8000-000000000001"

REQUESTS: dict[str, Any] = {
    "ping": Ping(),
    "get_status": GetStatus(),
    "shutdown": Shutdown(),
    "command": Command("screenshot", {"canvas_only": True}),
}

REPLIES: dict[str, Any] = {
    "pong": Pong(
        versions={"zmqruntime": "0.1.0"},
        ready=True,
        pid=4242,
        start_time=123456,
        kind="napari",
        title="plate 7",
        log="/tmp/5555.log",
        capabilities={"data": "ingest"},
        app_idle_ms=3.5,
    ),
    "status": Status({"received": 3, "displayed": 2}),
    "ok": Ok(),
    "result": Result([512, 512]),
    "error": Error("unknown-command", "this server has no command 'dance'", "see capabilities in the pong"),
}

SENDER: dict[str, Any] = {
    "hello": Hello(1, 1, "00112233aabbccdd", 4242, 123456, HOST, "worker 1", NIL),
    "items": Items(7, 2, msgspec.Raw(b"\x92\x01\x02")),
    "are_you_there": AreYouThere(41),
    "note": Note(1, NIL),
    "bye": Bye("00112233aabbccdd", 9),
}

RECEIVER: dict[str, Any] = {
    "welcome": Welcome(1, "00112233aabbccdd", 256, 268435456, 777, 98765, HOST, "/run/z/5555.link", NIL),
    "returns": Returns([7, DISPLAYED | CREDIT, 8, SUPERSEDED, 8, CREDIT, 9, REFUSED | CREDIT]),
    "i_am_here": IAmHere(41),
    "note_reply": NoteReply(1, NIL),
    "refused": Refused("version", "you speak protocol 3 to 4, this server 1 to 1: upgrade the older side"),
    "failed": Failed(9, "unknown kind 7"),
}


@pytest.mark.parametrize("name", REQUESTS | REPLIES)
def test_control_messages_are_these_bytes(name: str) -> None:
    message = (REQUESTS | REPLIES)[name]
    text = GOLDEN["control"][name]
    assert encode_control(message).decode() == text
    decode = decode_request if name in REQUESTS else decode_reply
    assert decode(text.encode()) == message


@pytest.mark.parametrize("name", SENDER | RECEIVER)
def test_data_messages_are_these_bytes(name: str) -> None:
    message = (SENDER | RECEIVER)[name]
    data = bytes.fromhex(GOLDEN["data"][name])
    assert encode_data(message).hex(" ") == data.hex(" ")
    decode = decode_sender if name in SENDER else decode_receiver
    assert decode(data) == message


def test_a_broadcast_is_these_bytes() -> None:
    data = bytes.fromhex(GOLDEN["broadcast"]["broadcast"])
    assert encode_data(Numbered(7, 1, {"done": 3})).hex(" ") == data.hex(" ")
    assert decode_numbered(data) == Numbered(7, 1, {"done": 3})


def test_every_message_is_pinned() -> None:
    assert set(GOLDEN["control"]) == set(REQUESTS | REPLIES)
    assert set(GOLDEN["data"]) == set(SENDER | RECEIVER)
    structs = {
        value
        for value in vars(messages).values()
        if isinstance(value, type) and issubclass(value, msgspec.Struct) and value is not msgspec.Struct
    }
    assert structs == {type(message) for message in (REQUESTS | REPLIES | SENDER | RECEIVER).values()}


def test_numbers_of_messages_and_outcomes() -> None:
    # Each data message begins with its number: a list of this many elements, then the number.
    numbers = {name: bytes.fromhex(data)[1] for name, data in GOLDEN["data"].items()}
    assert numbers == {
        **{name: number for number, name in enumerate(SENDER, start=1)},
        **{name: number for number, name in enumerate(RECEIVER, start=17)},
    }
    assert (DISPLAYED, SUPERSEDED, REFUSED, CREDIT) == (1, 2, 3, 16)
    assert (messages.PROTOCOL_VERSION, messages.OLDEST_PROTOCOL) == (1, 1)
    assert messages.REFUSAL_CODES == ("version", "unknown-session", "protocol", "closing")


# --------------------------------------------------------------------------- what else is read


def test_unknown_fields_and_further_elements_are_ignored() -> None:
    assert decode_request(b'{"type":"ping","protocol":1,"colour":"blue"}') == Ping()
    assert decode_request(b'{"type":"ping"}') == Ping()
    longer = msgspec.msgpack.encode([*msgspec.msgpack.decode(encode_data(AreYouThere(3))), "new", 1])
    assert decode_sender(longer) == AreYouThere(3)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"ping"',
        b'{"type":"dance"}',
        b'{"protocol":1}',
        b'{"type":"ping","protocol":"1"}',
        b'{"type":"command"}',
        b'{"type":"command","name":7}',
        b'{"type":"command","name":"x","params":[]}',
        b'{"type":"pong"}',
        b"[" * 100_000,
        b"\xff\xfe{}",
        b" " * (MAX_CONTROL_BYTES + 1),
    ],
    ids=lambda data: repr(data[:40]),
)
def test_what_is_no_request_is_a_typed_error(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_request(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc0",
        b"\x90",
        b"\x91\x03",
        b"\x92\x03\xa1x",
        b"\x92\x63\x01",
        b"\x92\x12\x90",
        b"\x82\x03\x01\x02\x03",
        b"\xdd\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\x91" * 100_000,
        encode_data(AreYouThere(1)) + b"\x00",
        b"\x00" * (MAX_HEADER_BYTES + 1),
    ],
    ids=lambda data: repr(data[:20]),
)
def test_what_is_no_data_message_is_a_typed_error(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_sender(data)


def test_errors_name_the_version_and_the_limit() -> None:
    with pytest.raises(ProtocolError, match="not a protocol 1 message"):
        decode_sender(b"\xc0")
    with pytest.raises(ProtocolError, match=f"over the limit of {MAX_HEADER_BYTES}"):
        decode_receiver(bytes(MAX_HEADER_BYTES + 1))


@given(st.binary(max_size=300))
def test_any_bytes_are_a_message_or_a_typed_error(data: bytes) -> None:
    for decode in (decode_request, decode_reply, decode_sender, decode_receiver):
        try:
            decode(data)
        except ProtocolError:
            continue


@given(st.sampled_from(sorted(GOLDEN["data"])), st.data())
def test_bytes_with_one_bit_turned_are_a_message_or_a_typed_error(name: str, data: st.DataObject) -> None:
    original = bytearray.fromhex(GOLDEN["data"][name])
    bit = data.draw(st.integers(0, 8 * len(original) - 1))
    original[bit // 8] ^= 1 << (bit % 8)
    for decode in (decode_sender, decode_receiver):
        try:
            decode(bytes(original))
        except ProtocolError:
            continue
