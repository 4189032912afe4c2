"""The bytes of everything a stream of images says, pinned in ``golden.toml`` and shown in ``docs/protocol.md``."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polystore.components import ImageKey
from polystore.errors import PayloadError
from polystore.projection.spec import DisplaySpec
from polystore.rois import ROI, rois_to_wire
from polystore.streaming import messages
from polystore.streaming.messages import (
    IN_ARENA,
    IN_FRAME,
    IN_HEADER,
    IN_SEGMENT,
    KINDS,
    MAX_CONTEXT_BYTES,
    ArenaOffer,
    ArenaReply,
    BatchContext,
    ImageBatch,
    ImageHeader,
    ReceiverWelcome,
    SenderHello,
    decode_as,
    decode_batch,
    decode_context,
    encode,
    key_of,
)
from zmqruntime.messages import Items, decode_sender, encode_data

GOLDEN = tomllib.loads(Path(__file__).with_name("golden.toml").read_text())["bodies"]

CONTEXT = BatchContext(
    "run-7", 2, "gaussian_blur", "worker 1", DisplaySpec(colormap="magma", modes={"well": "layer"})
)
EMPTY = msgspec.Raw(encode(["", None, "", "", {}]))
ROIS = rois_to_wire(
    [
        ROI("polygon", [[1.5, 2], [3, 4], [5, 2]], {"label": 7}),
        ROI("mask", [[10, 20]], mask=[[1, 1, 0], [0, 1, 1]]),
    ]
)
KEY = (None, None, "A01", 1, "DAPI", 3, None)
NOWHERE = (None,) * 7

SMALL: dict[str, Any] = {
    "sender_hello": SenderHello("0.1.0", ["lz4", "none"]),
    "receiver_welcome": ReceiverWelcome("0.1.0", True, ["lz4", "none"], 1 << 30),
    "arena_offer": ArenaOffer("polystore-4242-123456-1", 67108864, bytes(range(16))),
    "arena_reply": ArenaReply(True),
}

HEADERS: dict[str, ImageHeader] = {
    "image_in_arena": ImageHeader(
        IN_ARENA, 8192, 5, 8388608, (2048, 2048), "<u2", 0, KEY, (0.0, 4095.0), "/data/A01_s001.tif", "", None
    ),
    "image_in_segment": ImageHeader(
        IN_SEGMENT,
        0,
        0,
        80000000,
        (2, 4000, 5000),
        ">u2",
        0,
        NOWHERE,
        None,
        "",
        "stem",
        "polystore-4242-123456-2",
    ),
    "labels_in_frame": ImageHeader(IN_FRAME, 0, 0, 6, (2, 3), "|u1", 1, KEY, None, "", "", "none"),
    "rois_in_header": ImageHeader(IN_HEADER, 0, 0, 0, (), "", 2, KEY, None, "", "", ROIS),
}


def batch(name: str) -> ImageBatch:
    return ImageBatch(EMPTY, [HEADERS[name]])


def golden(name: str) -> bytes:
    return bytes.fromhex(GOLDEN[name])


@pytest.mark.parametrize("name", SMALL)
def test_handshake_bodies_are_these_bytes(name: str) -> None:
    assert encode(SMALL[name]).hex(" ") == golden(name).hex(" ")
    assert decode_as(type(SMALL[name]), golden(name)) == SMALL[name]


def test_the_context_is_these_bytes() -> None:
    assert CONTEXT.wire().hex(" ") == golden("context").hex(" ")
    assert decode_context(golden("context")) == CONTEXT
    assert decode_context(golden("context")) is decode_context(bytearray(golden("context")))
    assert decode_context(golden("empty_context")) == BatchContext()


@pytest.mark.parametrize("name", HEADERS)
def test_batches_are_these_bytes(name: str) -> None:
    assert encode(batch(name)).hex(" ") == golden(name).hex(" ")
    found = decode_batch(golden(name))
    assert decode_context(found.context) == BatchContext()
    assert msgspec.structs.asdict(found.images[0]) == msgspec.structs.asdict(HEADERS[name])


def test_a_whole_message_is_these_bytes() -> None:
    message = Items(0, 1, msgspec.Raw(encode(batch("labels_in_frame"))))
    assert encode_data(message).hex(" ") == golden("items_with_a_frame").hex(" ")
    read = decode_sender(golden("items_with_a_frame"))
    assert isinstance(read, Items)
    assert decode_batch(read.body).images[0].shape == (2, 3)


def test_every_body_is_pinned() -> None:
    assert set(GOLDEN) == {*SMALL, *HEADERS, "context", "empty_context", "items_with_a_frame"}
    assert KINDS == ("image", "labels", "rois")
    assert (IN_ARENA, IN_SEGMENT, IN_FRAME, IN_HEADER) == (0, 1, 2, 3)


def test_fields_of_later_versions_are_ignored_and_missing_ones_have_defaults() -> None:
    assert decode_as(SenderHello, encode({"package": "9", "codecs": ["zstd"], "colour": 1})) == SenderHello(
        "9", ["zstd"]
    )
    assert decode_as(ReceiverWelcome, encode({})) == ReceiverWelcome()
    later = msgspec.msgpack.decode(golden("context"))
    later[4]["shimmer"] = True
    assert decode_context(encode([*later, "more"])) == CONTEXT


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc0",
        b"\x92\xc0",
        b"\x92\xc0\xc0",
        b"\x92\xc0\x91\x90",
        b"\x92\xc0\xdd\xff\xff\xff\xff",
        encode([None, [[0, 0, 0, 0, [], "", 0, [None] * 6, None, "", "", None]]]),
        encode([None, [[0, 0, 0, 0, ["2"], "", 0, [None] * 7, None, "", "", None]]]),
        encode([None, [[0, 0, 0, 0, [2], "", 0, [None] * 6 + [1.5], None, "", "", None]]]),
        encode([None, [[0, 0, 0, 0, [2], "", 0, [None] * 7, [1.0], "", "", None]]]),
        encode([None, [[0, 0, 0, 0, [2], "", 0, [None] * 7, None, None, "", None]]]),
        b"\x91" * 100_000,
    ],
    ids=lambda body: body[:12].hex(),
)
def test_what_is_no_batch_is_a_typed_error(body: bytes) -> None:
    with pytest.raises(PayloadError, match="not an image batch"):
        decode_batch(body)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc0",
        encode([1, 2]),
        encode(["", None, "", "", {"modes": {"well": "sideways"}}]),
        encode(["", "2", "", "", {}]),
    ],
    ids=lambda data: data[:12].hex(),
)
def test_what_is_no_context_is_a_typed_error(data: bytes) -> None:
    with pytest.raises(PayloadError, match="not a batch context"):
        decode_context(data)


def test_a_context_over_the_limit_is_a_typed_error() -> None:
    with pytest.raises(PayloadError, match=f"limit of {MAX_CONTEXT_BYTES}"):
        decode_context(bytes(MAX_CONTEXT_BYTES + 1))


def test_contexts_and_keys_that_come_again_are_the_same_objects() -> None:
    assert key_of(KEY) is key_of(tuple(KEY))
    assert key_of(KEY) == ImageKey.of(well="A01", site=1, channel="DAPI", z=3)
    assert CONTEXT.wire() is CONTEXT.wire()


@given(st.sampled_from(sorted(GOLDEN)), st.data())
def test_bytes_with_one_bit_turned_are_a_body_or_a_typed_error(name: str, data: st.DataObject) -> None:
    original = bytearray(golden(name))
    bit = data.draw(st.integers(0, 8 * len(original) - 1))
    original[bit // 8] ^= 1 << (bit % 8)
    for decode in (
        decode_batch,
        decode_context,
        *(lambda body, kind=kind: decode_as(kind, body) for kind in map(type, SMALL.values())),
    ):
        try:
            decode(bytes(original))
        except PayloadError:
            continue


def test_no_message_is_forgotten_here() -> None:
    structs = {
        value
        for name, value in vars(messages).items()
        if isinstance(value, type) and issubclass(value, msgspec.Struct) and not name.startswith("_")
    }
    assert structs == {*map(type, SMALL.values()), ImageBatch, ImageHeader}
