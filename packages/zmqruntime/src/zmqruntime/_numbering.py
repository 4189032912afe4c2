"""What a broadcast looks like on the wire: the topic, then ``[publisher, seq, payload]`` in msgpack."""

from __future__ import annotations

import secrets
from collections import Counter
from typing import Any, NamedTuple

import msgspec

from zmqruntime.errors import MessageTooLargeError, ProtocolError

MAX_BROADCAST_BYTES = 1024 * 1024
"""Largest encoded message: these are events, not arrays."""

MAX_TOPICS = 10_000
"""Most topics one publisher numbers, and one subscriber follows: memory that only ever grows."""


class Numbered(msgspec.Struct, frozen=True, array_like=True):
    """The second frame of a broadcast: who numbered it, its number within its topic (from 1), the payload."""

    publisher: int
    seq: int
    payload: Any


class Broadcast(NamedTuple):
    """A message as a subscriber gets it."""

    topic: str
    seq: int
    payload: Any


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Numbered).decode


def decode_numbered(data: bytes) -> Numbered:
    """Return the second frame of a broadcast.

    Raises
    ------
    ProtocolError
        It is none.
    """
    try:
        message = _decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ProtocolError(f"not a broadcast: {error}") from error
    if message.seq < 1:
        raise ProtocolError(f"broadcasts are numbered from 1, not {message.seq}")
    return message


class Numbering:
    """Turns topics and payloads into frames, each topic with numbers of its own. Not thread-safe."""

    def __init__(self, max_bytes: int = MAX_BROADCAST_BYTES) -> None:
        self._max_bytes = max_bytes
        self._publisher = secrets.randbits(63)
        self._last: Counter[str] = Counter()

    def frames(self, topic: str, payload: Any) -> list[bytes]:
        """Return the two frames of the topic's next message; `sent` makes the number final.

        Raises
        ------
        ProtocolError
            The payload is nothing msgpack can hold, or there are too many topics.
        MessageTooLargeError
            It is larger than the limit.
        """
        if topic not in self._last and len(self._last) >= MAX_TOPICS:
            raise ProtocolError(f"topic {topic!r} would be number {MAX_TOPICS + 1}: use fewer")
        try:
            body = _encode(Numbered(self._publisher, self._last[topic] + 1, payload))
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise ProtocolError(
                f"a payload for {topic!r} cannot be broadcast: {error}; use plain values"
            ) from error
        if len(body) > self._max_bytes:
            raise MessageTooLargeError(
                f"a payload of {len(body)} bytes for {topic!r} is over the limit of {self._max_bytes}: use a stream"
            )
        return [topic.encode(), body]

    def sent(self, topic: str) -> None:
        """Take note that the frames are on their way: the next message gets the next number."""
        self._last[topic] += 1
