"""What a stream of images says on the wire; see ``docs/protocol.md``.

These are the application bodies inside `zmqruntime.messages`: all msgpack, all typed, nothing executable.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from polystore.components import ImageKey
from polystore.errors import PayloadError, PayloadTooLargeError
from polystore.projection.spec import DisplaySpec

if TYPE_CHECKING:
    from collections.abc import Sequence

KINDS = ("image", "labels", "rois")
"""What an item can be: intensities, integer labels, or a list of regions of interest."""

IN_ARENA, IN_SEGMENT, IN_FRAME, IN_HEADER = 0, 1, 2, 3
"""Where an item's bytes are: a slot of the arena, a segment, a message frame, the header itself."""

MAX_CONTEXT_BYTES = 16 * 1024
"""Largest context of a batch: names and a display specification."""

DEFAULT_DISPLAY = DisplaySpec()


@dataclass(frozen=True, slots=True)
class BatchContext:
    """Where a batch of images belongs; the same for all of them.

    Attributes
    ----------
    run : str
        One pipeline run; its workers share it, so they share layers.
    step_index : int, optional
        Position of the step in the pipeline.
    step_name : str
        The step.
    producer : str
        Who sends, for error messages; two producers on one coordinate are an error.
    display : DisplaySpec
        How to show it.
    """

    run: str = ""
    step_index: int | None = None
    step_name: str = ""
    producer: str = ""
    display: DisplaySpec = DEFAULT_DISPLAY
    _wire: bytes = field(default=b"", init=False, repr=False, compare=False)

    def wire(self) -> bytes:
        """Return the msgpack of this context; made once.

        Raises
        ------
        PayloadError
            A value no message can hold.
        PayloadTooLargeError
            More than `MAX_CONTEXT_BYTES`.
        """
        if not self._wire:
            wire = _ContextWire(
                self.run, self.step_index, self.step_name, self.producer, self.display.to_wire()
            )
            try:
                data = encode(wire)
            except (TypeError, ValueError, OverflowError) as error:
                raise PayloadError(f"{self} cannot be written as a message: {error}") from error
            if len(data) > MAX_CONTEXT_BYTES:
                raise PayloadTooLargeError(
                    f"a batch context of {len(data)} bytes (step name {self.step_name[:40]!r}) is over the limit of "
                    f"{MAX_CONTEXT_BYTES}: give shorter names"
                )
            object.__setattr__(self, "_wire", data)
        return self._wire


@dataclass(slots=True)
class StreamItem:
    """One image, label image or list of regions to send.

    Attributes
    ----------
    array : array, optional
        Pixels, last two axes y and x; anything `polystore.payload.arrays.as_host_array` takes. None for ``rois``.
    key : ImageKey
        Where it belongs.
    kind : {"image", "labels", "rois"}
        What it is.
    contrast : (float, float), optional
        Display range; found by the receiver when not given.
    path : str
        Where it came from or goes to, for people.
    rois : list, optional
        Regions in wire form, for kind ``rois``.
    name : str
        Part of the layer's name when no parser knew the file's name.
    """

    array: Any = None
    key: ImageKey = field(default_factory=ImageKey)
    kind: str = "image"
    contrast: tuple[float, float] | None = None
    path: str = ""
    rois: list[Any] | None = None
    name: str = ""


class _ContextWire(msgspec.Struct, array_like=True, frozen=True):
    run: str
    step_index: int | None
    step_name: str
    producer: str
    display: dict[str, Any]


class ImageHeader(msgspec.Struct, array_like=True, gc=False):
    """One item: where its bytes are, what they are, where the image belongs."""

    place: int
    offset: int
    generation: int
    nbytes: int
    shape: tuple[int, ...]
    dtype: str
    kind: int
    key: tuple[
        str | int | None,
        str | int | None,
        str | int | None,
        str | int | None,
        str | int | None,
        str | int | None,
        str | int | None,
    ]
    contrast: tuple[float, float] | None
    path: str
    name: str
    extra: str | list[Any] | None


class ImageBatch(msgspec.Struct, array_like=True):
    """Body of ``Items``: the context as its own msgpack value, then the headers."""

    context: msgspec.Raw
    images: list[ImageHeader]


class SenderHello(msgspec.Struct):
    """Body of ``Hello``."""

    package: str = ""
    codecs: list[str] = []


class ReceiverWelcome(msgspec.Struct):
    """Body of ``Welcome``: whether it can map shared memory, its frame codecs, its largest image in bytes."""

    package: str = ""
    shared_memory: bool = False
    codecs: list[str] = []
    max_bytes: int = 0


class ArenaOffer(msgspec.Struct):
    """Body of ``Note``: the arena's name, size and random number."""

    name: str
    size: int
    nonce: bytes


class ArenaReply(msgspec.Struct):
    """Body of ``NoteReply``: whether the receiver mapped it, and why not."""

    mapped: bool
    reason: str = ""


encode = msgspec.msgpack.Encoder().encode
"""Return the msgpack of one of the messages above."""

_DECODERS = {
    kind: msgspec.msgpack.Decoder(kind) for kind in (SenderHello, ReceiverWelcome, ArenaOffer, ArenaReply)
}
"""Made here, once: msgspec makes its tables of a class when they are first used, and two threads at once crash it."""

_decode_batch = msgspec.msgpack.Decoder(ImageBatch).decode
_decode_context = msgspec.msgpack.Decoder(_ContextWire).decode


def decode_batch(body: Any) -> ImageBatch:
    """Return the batch in `body`.

    Raises
    ------
    PayloadError
        It is none.
    """
    try:
        return _decode_batch(body)
    except (msgspec.DecodeError, ValueError, RecursionError, OverflowError) as error:  # ValueError: no UTF-8
        raise PayloadError(f"not an image batch: {error}") from error


def decode_context(raw: Any) -> BatchContext:
    """Return the context in `raw`; the same object for the same bytes.

    Raises
    ------
    PayloadError
        It is none.
    """
    data = bytes(raw)
    if len(data) > MAX_CONTEXT_BYTES:
        raise PayloadError(f"a batch context of {len(data)} bytes is over the limit of {MAX_CONTEXT_BYTES}")
    return _context(data)


@lru_cache(maxsize=1024)
def _context(data: bytes) -> BatchContext:
    try:
        wire = _decode_context(data)
        display = DisplaySpec.from_wire(wire.display)
    except (msgspec.DecodeError, ValueError, TypeError, RecursionError) as error:
        raise PayloadError(f"not a batch context: {error}") from error
    return BatchContext(wire.run, wire.step_index, wire.step_name, wire.producer, display)


def decode_as(kind: type[Any], body: bytes) -> Any:
    """Return `body` as one of the small structs above.

    Raises
    ------
    PayloadError
        It is none.
    """
    try:
        return _DECODERS[kind].decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError, OverflowError) as error:  # ValueError: no UTF-8
        raise PayloadError(f"not a {kind.__name__}: {error}") from error


@lru_cache(maxsize=65536)
def key_of(values: Sequence[Any]) -> ImageKey:
    """Return the key with these seven values; cached, because keys come back again and again.

    Raises
    ------
    ComponentError
        A value no component can have.
    """
    return ImageKey(*values)
