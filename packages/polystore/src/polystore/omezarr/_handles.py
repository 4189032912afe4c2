"""Open arrays of an engine, kept for the next chunk of the same sort."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from polystore._locks import ForkSafeLock
from polystore.omezarr.arrays import ArrayMeta

__all__ = ["Handles"]

T = TypeVar("T")

KEPT = 32
"""Sorts of chunks (dtype, shape, codecs) of which open arrays are kept; each holds one small chunk at most."""


class Handles(Generic[T]):
    """Lends an open array for one chunk's sort to one thread at a time.

    Parameters
    ----------
    make
        Opens the array that a description of one chunk means.
    """

    def __init__(self, make: Callable[[ArrayMeta], T]) -> None:
        self._make = make
        self._lock = ForkSafeLock()
        self._idle: OrderedDict[bytes, list[T]] = OrderedDict()
        self._chunks: OrderedDict[bytes, ArrayMeta] = OrderedDict()

    @contextmanager
    def lend(self, meta: ArrayMeta) -> Iterator[T]:
        """An array of one chunk as those of `meta`; it is not kept when the block fails."""
        chunk = self._chunk(meta)
        with self._lock:
            idle = self._idle.get(chunk.document)
            handle = idle.pop() if idle else None
        if handle is None:
            handle = self._make(chunk)
        yield handle
        with self._lock:
            self._idle.setdefault(chunk.document, []).append(handle)
            self._idle.move_to_end(chunk.document)
            while len(self._idle) > KEPT:
                self._idle.popitem(last=False)

    def _chunk(self, meta: ArrayMeta) -> ArrayMeta:
        with self._lock:
            chunk = self._chunks.get(meta.document)
        if chunk is None:
            chunk = meta.one_chunk()
            with self._lock:
                self._chunks[meta.document] = chunk
                while len(self._chunks) > KEPT * 8:
                    self._chunks.popitem(last=False)
        return chunk
