"""Puts images where the receiver finds them: a slot, a segment or a frame."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Hashable, Sequence
from typing import Any

import msgspec
import numpy as np

from polystore.errors import NoSharedMemoryError, PayloadError, PayloadTooLargeError
from polystore.payload import inline, segment, shm
from polystore.payload.arena import DEFAULT_ARENA_BYTES, Arena, arena_size
from polystore.streaming.messages import (
    IN_ARENA,
    IN_FRAME,
    IN_HEADER,
    IN_SEGMENT,
    KINDS,
    ArenaOffer,
    ArenaReply,
    ImageBatch,
    ImageHeader,
    ReceiverWelcome,
    SenderHello,
    decode_as,
    encode,
)
from zmqruntime import _faults
from zmqruntime.errors import ProtocolError
from zmqruntime.messages import MAX_HEADER_BYTES
from zmqruntime.stream import Encoded, Encoder

logger = logging.getLogger(__name__)

MAX_BATCH = 64
"""Images in one message; a larger batch goes in several, so that the first is shown while the last is copied."""

MESSAGE_FRAME_BYTES = 32 * 1024 * 1024
"""A message with this much outside the arena is full: the window in bytes is looked at between messages."""

MESSAGE_REGION_BYTES = 4 * 1024 * 1024
"""The same for regions of interest, which travel in the header."""

MAX_REGION_BYTES = MAX_HEADER_BYTES // 2
"""Largest list of regions of one item, encoded; together with others it must stay below what a receiver reads."""

SMALL_BYTES = 2048
"""At or below this an image travels in the message: a slot would take a page for it."""

_KIND_NUMBERS = {kind: number for number, kind in enumerate(KINDS)}
_dtype_names: dict[np.dtype[Any], str] = {}


class Outgoing(msgspec.Struct, gc=False):
    """An item that was checked: a host array of a plain dtype, or regions."""

    array: np.ndarray[Any, Any] | None
    context: bytes
    kind: int
    key: tuple[Any, ...]
    contrast: tuple[float, float] | None
    path: str
    name: str
    rois: bytes


class ImageEncoder(Encoder[Outgoing]):
    """See `zmqruntime.stream.Encoder`; `empty` and `born` may be called from any thread.

    Parameters
    ----------
    arena_bytes : int
        Size of the arena, at most a fourth of the free shared memory; 0 for none.
    """

    def __init__(self, arena_bytes: int = DEFAULT_ARENA_BYTES) -> None:
        self._arena_bytes = arena_bytes
        self._arena: Arena | None = None
        self._offered: Arena | None = None
        self._segments: set[str] = set()
        self._shared = False
        self._codec = inline.codec("none")
        self._max_bytes = 0
        self._born: dict[int, tuple[int, weakref.ref[np.ndarray[Any, Any]], Arena]] = {}
        self._warned = False

    # ------------------------------------------------------------------ handshake
    def hello(self) -> bytes:
        """See `Encoder.hello`."""
        from polystore import __version__

        return encode(SenderHello(__version__, inline.codec_names()))

    def attached(self, body: bytes, same_machine: bool) -> bytes | None:
        """See `Encoder.attached`: offers an arena when both sides can map one."""
        try:
            welcome: ReceiverWelcome = decode_as(ReceiverWelcome, body)
        except PayloadError as error:
            raise ProtocolError(str(error)) from error
        self._max_bytes = welcome.max_bytes
        self._warned = False
        self._codec = inline.codec(inline.choose(welcome.codecs, same_machine))
        self._shared = same_machine and welcome.shared_memory and shm.available()
        if not self._shared:
            return None
        shm.janitor()
        size = arena_size(self._arena_bytes)
        if not size:
            if self._arena_bytes:
                logger.warning(
                    "only %d bytes of shared memory are free: images travel in messages, which is slower "
                    "(docker run --shm-size=1g gives a container more)",
                    shm.free_bytes(),
                )
            return None
        try:
            self._offered = Arena(size)
        except NoSharedMemoryError as error:
            logger.warning("%s; images travel in messages, which is slower", error)
            return None
        if _faults.armed:
            _faults.fault_point("arena.created")
        return encode(ArenaOffer(self._offered.name, size, self._offered.nonce))

    def noted(self, body: bytes) -> None:
        """See `Encoder.noted`: the receiver mapped the arena, or could not."""
        offered, self._offered = self._offered, None
        if offered is None:
            return
        offered.offered()
        try:
            reply: ArenaReply = decode_as(ArenaReply, body)
        except PayloadError as error:
            raise ProtocolError(str(error)) from error
        if reply.mapped:
            self._arena = offered
        else:
            # Another container, or another machine with the same boot id: its shared memory is not ours.
            self._shared = False
            logger.info("the receiver cannot map our memory (%s): images travel in messages", reply.reason)

    def detached(self) -> None:
        """See `Encoder.detached`: names that nobody will remove any more go."""
        if self._offered is not None:
            self._offered.offered()
            self._offered = None
        for name in self._segments:
            shm.unlink(name)
        self._segments.clear()
        self._arena = None
        self._born.clear()
        self._shared = False

    # ------------------------------------------------------------------ arrays born in a slot
    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any], nbytes: int) -> np.ndarray[Any, Any] | None:
        """Return an array that lives in a slot, or None when there is none free."""
        arena = self._arena
        base = None if arena is None or nbytes <= SMALL_BYTES else arena.allocate(nbytes)
        if arena is None or base is None:
            return None
        array = arena.born(base, shape, dtype)
        identity = id(array)

        def dropped(_: object) -> None:
            # Finalizers run anywhere, also while a lock is held here: only a lock-free note is left.
            if self._born.pop(identity, None) is not None:
                arena.abandon(base)

        self._born[identity] = (base, weakref.ref(array, dropped), arena)
        return array

    def _born_slot(self, array: np.ndarray[Any, Any]) -> int | None:
        found = self._born.get(id(array))
        # An array may outlive its arena: then it is one like any other.
        if found is None or found[1]() is not array or found[2] is not self._arena:
            return None
        del self._born[id(array)]
        return found[0]

    # ------------------------------------------------------------------ items
    def encode(self, items: Sequence[Outgoing]) -> Encoded | None:
        """See `Encoder.encode`. Items of one message share their context."""
        tokens: list[Any] = []
        try:
            return self._encode(items, tokens)
        except BaseException:
            for token in tokens:
                self.release(token)
            raise

    def _encode(self, items: Sequence[Outgoing], tokens: list[Any]) -> Encoded | None:
        context = items[0].context
        headers: list[ImageHeader] = []
        frames: list[Any] = []
        frame_bytes = region_bytes = 0
        arena = self._arena
        for item in items if len(items) <= MAX_BATCH else items[:MAX_BATCH]:
            if item.context is not context and item.context != context:
                break
            array = item.array
            if array is None:
                region_bytes += len(item.rois)
                if headers and region_bytes > MESSAGE_REGION_BYTES:
                    break
                rois: Any = msgspec.Raw(item.rois)
                headers.append(
                    ImageHeader(
                        IN_HEADER, 0, 0, 0, (), "", item.kind, item.key, None, item.path, item.name, rois
                    )
                )
                tokens.append(None)
                continue
            nbytes = array.nbytes
            dtype = array.dtype
            place, offset, generation = IN_FRAME, len(frames), 0
            extra: str | None = None
            token: Any = None
            base: int | None = None
            if arena is not None and nbytes > SMALL_BYTES and arena.fits(nbytes):
                base = self._born_slot(array) if self._born else None
                if base is not None:
                    generation = arena.stamp(base, nbytes)
                else:
                    base = arena.allocate(nbytes)
                    if base is not None:
                        generation = arena.stamp(base, nbytes)
                        np.copyto(arena.view(base, array.shape, dtype), array)
                    elif arena.used > len(self._born):
                        break  # a credit will bring a slot back
            if base is not None:
                place, offset, token = IN_ARENA, base, (arena, base)
                if _faults.armed:
                    _faults.fault_point("slot.filled")
            else:
                # Too small or too large for a slot, or all slots hold arrays that the pipeline still computes.
                if self._shared and nbytes > SMALL_BYTES:
                    place, extra = self._segment(array)
                    token = extra
                    frame_bytes += nbytes if extra is not None else 0
                if place == IN_FRAME:
                    frame = self._codec.encode(array)
                    extra = self._codec.name
                    frames.append(frame)
                    frame_bytes += len(frame)
            name = _dtype_names.get(dtype)
            if name is None:
                name = _dtype_names[dtype] = dtype.str
            headers.append(
                ImageHeader(
                    place,
                    offset,
                    generation,
                    nbytes,
                    array.shape,
                    name,
                    item.kind,
                    item.key,
                    item.contrast,
                    item.path,
                    item.name,
                    extra,
                )
            )
            tokens.append(token)
            if frame_bytes >= MESSAGE_FRAME_BYTES:
                break
        if not headers:
            return None
        body = encode(ImageBatch(msgspec.Raw(context), headers))
        return Encoded(len(headers), body, frames, tokens, frame_bytes)

    def _segment(self, array: np.ndarray[Any, Any]) -> tuple[int, str | None]:
        try:
            name = segment.publish(array)
        except NoSharedMemoryError as error:
            if not self._warned:
                self._warned = True
                logger.warning("%s; such images travel in messages", error)
            return IN_FRAME, None
        self._segments.add(name)
        if _faults.armed:
            _faults.fault_point("segment.filled")
        return IN_SEGMENT, name

    def release(self, token: Any) -> None:
        """See `Encoder.release`."""
        if type(token) is tuple:
            arena, base = token
            arena.free(base)
        elif token is not None:
            self._segments.discard(token)
            shm.unlink(token)

    def retain(self, item: Outgoing) -> Outgoing:
        """See `Encoder.retain`: a private copy of the pixels."""
        if item.array is None:
            return item
        return msgspec.structs.replace(item, array=item.array.copy())

    def key(self, item: Outgoing) -> Hashable:
        """See `Encoder.key`: the same place of the same step of the same run."""
        return item.context, item.kind, item.key, item.name

    def size(self, item: Outgoing) -> int:
        """See `Encoder.size`."""
        return 512 + len(item.rois) if item.array is None else int(item.array.nbytes)

    def check_size(self, nbytes: int) -> None:
        """Refuse what the receiver would refuse.

        Raises
        ------
        PayloadTooLargeError
            The image is larger than the receiver takes.
        """
        if self._max_bytes and nbytes > self._max_bytes:
            raise PayloadTooLargeError(
                f"an image of {nbytes} bytes is larger than the receiver takes ({self._max_bytes}): send it in parts"
            )
