"""Pixels as message frames: for another machine, no shared memory, or hardly any bytes.

A codec is agreed in the handshake. ``lz4`` first sorts the bytes of each sample by significance, which is
what makes camera images compressible at all (plain LZ4 on noise: 87 % of the size; sorted: about 57 %).

Other distributions add codecs by entry point ``polystore.codecs``; they are used where both sides have them.
"""

from __future__ import annotations

import importlib.util
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

import numpy as np

from polystore.errors import BackendNotFoundError, MissingExtraError, PayloadError, PolystoreError
from polystore.registry import Registry

logger = logging.getLogger(__name__)

LZ4_MOST = 255
"""LZ4 packs at most this many bytes into one."""


class FrameCodec(ABC):
    """Bytes of an image to bytes of a frame and back."""

    name: str
    """What the handshake calls it."""

    @abstractmethod
    def encode(self, array: np.ndarray[Any, Any]) -> Any:
        """Return a buffer with `array` (C order) in it; the socket copies it."""

    @abstractmethod
    def decode(self, frame: Any, nbytes: int, itemsize: int) -> Any:
        """Return a buffer of exactly `nbytes`.

        Raises
        ------
        PayloadError
            The frame does not hold that many.
        """


class PlainCodec(FrameCodec):
    """The bytes as they are."""

    name = "none"

    def encode(self, array: np.ndarray[Any, Any]) -> Any:
        """See `FrameCodec.encode`."""
        return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data if array.nbytes else b""

    def decode(self, frame: Any, nbytes: int, itemsize: int) -> Any:
        """See `FrameCodec.decode`; the result shares the frame's memory."""
        view = memoryview(frame)
        if view.nbytes != nbytes:
            raise PayloadError(f"a frame of {view.nbytes} bytes where {nbytes} were announced")
        return view


class Lz4Codec(FrameCodec):
    """LZ4 after sorting the bytes of each sample by significance."""

    name = "lz4"

    def __init__(self) -> None:
        try:
            import lz4.block
        except ImportError as error:
            raise MissingExtraError("codec 'lz4' needs: pip install 'polystore[remote]'") from error
        self._block = lz4.block

    def encode(self, array: np.ndarray[Any, Any]) -> Any:
        """See `FrameCodec.encode`."""
        flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        if array.itemsize > 1:
            flat = np.ascontiguousarray(flat.reshape(-1, array.itemsize).T)
        return self._block.compress(flat, store_size=False)

    def decode(self, frame: Any, nbytes: int, itemsize: int) -> Any:
        """See `FrameCodec.decode`."""
        size = memoryview(frame).nbytes
        if nbytes > LZ4_MOST * (size + 1):  # before anything is allocated for it
            raise PayloadError(f"a frame of {size} bytes cannot hold the {nbytes} that were announced")
        try:
            data = self._block.decompress(frame, uncompressed_size=nbytes)
        except (self._block.LZ4BlockError, ValueError) as error:
            raise PayloadError(f"a frame cannot be decompressed: {error}") from error
        if len(data) != nbytes:
            raise PayloadError(f"a frame decompressed to {len(data)} bytes where {nbytes} were announced")
        if itemsize > 1:
            return np.ascontiguousarray(np.frombuffer(data, np.uint8).reshape(itemsize, -1).T).reshape(-1)
        return data


CODECS: Registry[type[FrameCodec]] = Registry(
    "frame codec",
    group="polystore.codecs",
    builtins={"none": "polystore.payload.inline:PlainCodec", "lz4": "polystore.payload.inline:Lz4Codec"},
)
"""Codecs by name."""

_made: dict[str, FrameCodec] = {}


def codec_names() -> list[str]:
    """Return the codecs that are installed, best for a network first, without importing any."""
    ours = ["lz4"] if importlib.util.find_spec("lz4") is not None else []
    return [*ours, *(name for name in CODECS.names() if name not in ("lz4", "none")), "none"]


def codec(name: str) -> FrameCodec:
    """Return the codec `name`.

    Raises
    ------
    PayloadError
        There is none of that name.
    MissingExtraError
        Its library is not installed.
    """
    made = _made.get(name)
    if made is None:
        try:
            made = _made[name] = CODECS.get(name)()
        except BackendNotFoundError as error:
            raise PayloadError(str(error)) from None
    return made


def choose(theirs: Iterable[str], same_machine: bool) -> str:
    """Return the codec both sides have: none on one machine, where compressing only costs."""
    if same_machine:
        return "none"
    offered = set(theirs)
    for name in codec_names():
        try:
            if name in offered and codec(name):
                return name
        except PolystoreError:  # a plugin that cannot be imported costs its own compression, no image
            logger.exception("frame codec %r is left out", name)
    return "none"
