"""The words of a credit stream: policy, counters, and the two sides' contracts.

A `StreamSender` (DEALER) numbers items and sends them while it holds credits; a `StreamReceiver`
(ROUTER, inside a `ZMQServer`) hands them to a `StreamHandler` and returns, per item, a credit (its
memory is free) and an outcome (displayed, superseded or refused). In flight <= window < high-water
mark, so ZeroMQ can neither drop nor block; what is dropped is dropped here, by policy, and counted.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import msgspec

from zmqruntime.errors import PolicyError

if TYPE_CHECKING:
    from zmqruntime.stream_receiver import Peer

T = TypeVar("T")

POLICIES = ("block", "drop", "latest")
"""What to do when there is no credit: wait for one, drop the newest, or keep the newest of each key."""


def check_policy(policy: str) -> str:
    """Return `policy`.

    Raises
    ------
    PolicyError
        It is not one of `POLICIES`.
    """
    if policy not in POLICIES:
        raise PolicyError(f"unknown policy {policy!r} (known: {', '.join(POLICIES)})")
    return policy


@dataclass(frozen=True, slots=True)
class StreamStats:
    """What became of every item given to a sender.

    ``sent == displayed + superseded + dropped + lost_in_flight + in_flight + queued`` at any moment.

    Attributes
    ----------
    sent : int
        Items given to `StreamSender.send`.
    displayed : int
        Taken by the receiver for good.
    superseded : int
        Replaced by a newer item of the same key before they were taken.
    dropped : int
        Refused here for want of credit, or refused by the receiver.
    lost_in_flight : int
        On their way when the receiver died.
    in_flight : int
        Sent, outcome not yet known.
    queued : int
        Waiting here.
    refused : int
        The part of `dropped` that the receiver refused, with the reason in the log.
    """

    sent: int = 0
    displayed: int = 0
    superseded: int = 0
    dropped: int = 0
    lost_in_flight: int = 0
    in_flight: int = 0
    queued: int = 0
    refused: int = 0

    @property
    def balanced(self) -> bool:
        """Whether every item is accounted for."""
        known = self.displayed + self.superseded + self.dropped + self.lost_in_flight
        return self.sent == known + self.in_flight + self.queued


class SendReport(NamedTuple):
    """What one `send` did: items on their way or queued, and items dropped."""

    accepted: int
    dropped: int


class Encoded(msgspec.Struct, frozen=True):
    """The front of a list of items, ready to go.

    Attributes
    ----------
    count : int
        How many items it holds.
    body : bytes
        One msgpack value that describes them.
    frames : sequence of buffers
        Bytes that travel beside it; copied by the socket, so they may change after the send.
    tokens : sequence
        One per item: what `Encoder.release` gets when the item's credit returns.
    frame_bytes : int
        Total size of `frames`, and of anything else that one message makes the receiver hold; counted against
        its byte window.
    """

    count: int
    body: bytes
    frames: Sequence[Any]
    tokens: Sequence[Any]
    frame_bytes: int = 0


class Encoder(ABC, Generic[T]):
    """How a sender's items become bytes. Called under the sender's lock, from any of its threads."""

    @abstractmethod
    def encode(self, items: Sequence[T]) -> Encoded | None:
        """Return the first items that there is room for, or None when there is none even for the first."""

    @abstractmethod
    def release(self, token: Any) -> None:
        """Take back what an item occupied: its credit returned."""

    def retain(self, item: T) -> T:
        """Return `item` in memory of its own, because it has to wait while its owner goes on."""
        return item

    def key(self, item: T) -> Hashable:
        """Return what makes a newer item replace an older one under the policy ``latest``."""
        return id(item)

    def size(self, item: T) -> int:
        """Return the bytes a waiting item holds."""
        return 0

    def hello(self) -> bytes:
        """Return the msgpack value that introduces this sender."""
        return b"\xc0"

    def attached(self, body: bytes, same_machine: bool) -> bytes | None:
        """Read the receiver's welcome; return the body of a note it must answer before items go, or None."""
        return None

    def noted(self, body: bytes) -> None:
        """Read the answer to the note of `attached`."""

    def detached(self) -> None:
        """Forget the receiver: it is gone, and so is everything it held."""


class StreamHandler(ABC):
    """What a receiver does with a stream. Called on its I/O thread; must not block."""

    @abstractmethod
    def items(self, peer: Peer, seq: int, count: int, body: bytes, frames: list[Any]) -> None:
        """Take `count` items numbered from `seq`.

        Every item needs one outcome and one credit through `Peer.give`, now or later, from any thread.
        A `ProtocolError` raised here refuses all of them and returns their credits.
        """

    def attach(self, peer: Peer, body: bytes) -> bytes:
        """Greet a sender; return the application's part of the welcome."""
        return b"\xc0"

    def note(self, peer: Peer, body: bytes) -> bytes:
        """Answer a sender's note."""
        return b"\xc0"

    def detach(self, peer: Peer) -> None:
        """Forget a sender: it left or died."""
