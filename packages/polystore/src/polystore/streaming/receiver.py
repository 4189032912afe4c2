"""The viewer's end: messages in, checked images out, on the server's I/O thread."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from polystore.components import ImageKey
from polystore.config import Settings
from polystore.errors import (
    ComponentError,
    MissingExtraError,
    NoSharedMemoryError,
    PayloadError,
    TornPayloadError,
)
from polystore.payload import inline, segment, shm
from polystore.payload.arena import MappedArena
from polystore.payload.arrays import checked_dtype, checked_nbytes
from polystore.streaming.messages import (
    IN_ARENA,
    IN_FRAME,
    IN_HEADER,
    IN_SEGMENT,
    KINDS,
    ArenaOffer,
    ArenaReply,
    BatchContext,
    ImageHeader,
    ReceiverWelcome,
    decode_as,
    decode_batch,
    decode_context,
    encode,
    key_of,
)
from zmqruntime import _faults
from zmqruntime.errors import ProtocolError
from zmqruntime.messages import CREDIT, DISPLAYED, REFUSED, SUPERSEDED
from zmqruntime.stream import StreamHandler
from zmqruntime.stream_receiver import Peer

logger = logging.getLogger(__name__)

_ROIS = KINDS.index("rois")

OUTCOMES = {"displayed": DISPLAYED, "superseded": SUPERSEDED, "dropped": REFUSED}
"""What `ReceivedImage.resolve` takes."""


class ReceivedImage:
    """An item that arrived.

    Attributes
    ----------
    array : numpy.ndarray or None
        Read-only pixels. In shared memory of the sender until `credit`: copy first. None for ``rois``.
    key, context, kind, contrast, path, name, rois
        As sent, see `polystore.streaming.StreamItem`.
    owned : bool
        The array's memory is the receiver's for good (a segment or frame): keeping it needs no copy.
    """

    __slots__ = (
        "_base",
        "_generation",
        "_memory",
        "array",
        "context",
        "contrast",
        "key",
        "kind",
        "name",
        "owned",
        "path",
        "peer",
        "rois",
        "seq",
    )

    def __init__(
        self, peer: Peer, seq: int, context: BatchContext, header: ImageHeader, key: ImageKey
    ) -> None:
        self.peer = peer
        self.seq = seq
        self.context = context
        self.key = key
        self.kind = KINDS[header.kind]
        self.contrast = header.contrast
        self.path = header.path
        self.name = header.name
        self.rois: list[Any] | None = None
        self.array: np.ndarray[Any, Any] | None = None
        self.owned = True
        self._memory: MappedArena | None = None
        self._base = header.offset
        self._generation = header.generation

    @property
    def nbytes(self) -> int:
        """Bytes of the array."""
        return 0 if self.array is None else self.array.nbytes

    def intact(self) -> bool:
        """Return whether what was copied until now is whole; ask after copying and before `credit`."""
        return self._memory is None or self._memory.intact(self._base, self._generation)

    def credit(self) -> None:
        """Say that the array is no longer used (or is `owned`): the sender may write there again. Once.

        Drop `array`, too, if this object is kept: a view of its slot keeps the whole mapping of the sender's memory.
        """
        self.peer.give(self.seq, CREDIT, "", self.nbytes)
        self._memory = None

    def resolve(self, outcome: str, reason: str = "") -> None:
        """Say what became of the image: ``displayed``, ``superseded`` or ``dropped`` (with the reason). Once."""
        self.peer.give(self.seq, OUTCOMES[outcome], reason)

    def finish(self, outcome: str, reason: str = "") -> None:
        """`credit` and `resolve` in one message."""
        self.peer.give(self.seq, OUTCOMES[outcome] | CREDIT, reason, self.nbytes)
        self._memory = None


class ImageReceiver(StreamHandler):
    """Decodes what senders send; a server hands its stream hooks to it.

    Parameters
    ----------
    sink : callable
        Gets a list of `ReceivedImage` on the I/O thread. Each needs one `credit` and one `resolve`.
    max_bytes : int, optional
        Largest image taken, checked before anything is allocated; from the environment when not given, see
        `polystore.config.Settings`.
    shared_memory : bool
        Whether senders may use shared memory; False makes them use frames.
    """

    def __init__(
        self,
        sink: Callable[[list[ReceivedImage]], None],
        *,
        max_bytes: int | None = None,
        shared_memory: bool = True,
    ) -> None:
        self._sink = sink
        self._max_bytes = Settings.from_env().max_image_bytes if max_bytes is None else max_bytes
        self._shared = shared_memory and shm.available()
        shm.janitor()

    def attach(self, peer: Peer, body: bytes) -> bytes:
        """See `StreamHandler.attach`."""
        from polystore import __version__

        return encode(ReceiverWelcome(__version__, self._shared, inline.codec_names(), self._max_bytes))

    def note(self, peer: Peer, body: bytes) -> bytes:
        """See `StreamHandler.note`: maps the arena the sender offers and removes its name."""
        try:
            offer: ArenaOffer = decode_as(ArenaOffer, body)
            if _faults.armed:
                _faults.fault_point("receiver.offered")
            peer.state = MappedArena(offer.name, offer.size, offer.nonce)
        except (NoSharedMemoryError, PayloadError) as error:
            logger.info("%s offers memory that cannot be used: %s", peer.name, error)
            return encode(ArenaReply(False, str(error)[:500]))
        if _faults.armed:
            _faults.fault_point("receiver.mapped")
        return encode(ArenaReply(True))

    def detach(self, peer: Peer) -> None:
        """See `StreamHandler.detach`. Images still in use keep the mapping; names a dead sender left go."""
        peer.state = None
        if self._shared and peer.died:
            # Killed between naming a segment and telling of it: nobody else will hear of that name.
            shm.janitor()

    def items(self, peer: Peer, seq: int, count: int, body: bytes, frames: list[Any]) -> None:
        """See `StreamHandler.items`."""
        try:
            batch = decode_batch(body)
            context = decode_context(batch.context)
            if len(batch.images) != count:
                raise PayloadError(f"{len(batch.images)} images where {count} were announced")
        except PayloadError as error:
            raise ProtocolError(str(error)) from error
        images = []
        for header in batch.images:
            try:
                images.append(self._image(peer, seq, context, header, frames))
            except (PayloadError, ComponentError, MissingExtraError) as error:
                # One bad image does not take its neighbours with it.
                logger.warning("refused image %d of %s: %s", seq, peer.name, error)
                peer.give(seq, REFUSED | CREDIT, str(error))
            seq += 1
        if _faults.armed:
            _faults.fault_point("receiver.decoded")
        if images:
            self._sink(images)

    def _image(
        self, peer: Peer, seq: int, context: BatchContext, header: ImageHeader, frames: list[Any]
    ) -> ReceivedImage:
        if not 0 <= header.kind < len(KINDS):
            raise PayloadError(f"unknown kind {header.kind}")
        if (header.kind == _ROIS) != (header.place == IN_HEADER):
            raise PayloadError(f"an item of kind {KINDS[header.kind]!r} cannot be in place {header.place}")
        image = ReceivedImage(peer, seq, context, header, key_of(header.key))
        place = header.place
        if place == IN_HEADER:
            if not isinstance(header.extra, list):
                raise PayloadError("regions are missing")
            image.rois = header.extra
            return image
        dtype = _dtype(header.dtype)
        shape, nbytes = header.shape, header.nbytes
        if checked_nbytes(shape, dtype, max_bytes=self._max_bytes) != nbytes:
            raise PayloadError(f"shape {shape} of {dtype} is not {nbytes} bytes")
        if place == IN_ARENA:
            memory = peer.state
            if memory is None:
                raise TornPayloadError("a slot of an arena that was never offered")
            image.array = memory.view(header.offset, header.generation, shape, dtype, nbytes)
            image.owned = False
            image._memory = memory
        elif place == IN_SEGMENT and isinstance(header.extra, str):
            image.array = segment.receive(header.extra, nbytes, shape, dtype)
        elif place == IN_FRAME and isinstance(header.extra, str) and 0 <= header.offset < len(frames):
            data = inline.codec(header.extra).decode(frames[header.offset].buffer, nbytes, dtype.itemsize)
            array = np.ndarray(shape, dtype, buffer=data) if nbytes else np.empty(shape, dtype)
            array.flags.writeable = False
            image.array = array
        else:
            raise PayloadError(f"place {place} is not known or its bytes are missing")
        return image


_dtype = lru_cache(maxsize=256)(checked_dtype)
