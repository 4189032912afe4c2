"""Chunks encoded and decoded by zarr-python, through a store in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import MemoryStore

from polystore.omezarr._handles import Handles
from polystore.omezarr.arrays import ArrayMeta

__all__ = ["ZarrEngine"]


@dataclass(frozen=True, slots=True)
class _Handle:
    array: Any
    memory: dict[str, Any]
    key: str


class ZarrEngine:
    """See `polystore.omezarr.engines.Engine`."""

    name = "zarr"

    def __init__(self) -> None:
        self._handles: Handles[_Handle] = Handles(_open)

    def encode(self, meta: ArrayMeta, chunk: NDArray[Any]) -> bytes:
        """The bytes of one chunk."""
        with self._handles.lend(meta) as handle:
            handle.array[...] = chunk
            data: bytes = handle.memory.pop(handle.key).to_bytes()
        return data

    def decode(self, meta: ArrayMeta, data: bytes) -> NDArray[Any]:
        """The chunk in those bytes."""
        with self._handles.lend(meta) as handle:
            handle.memory[handle.key] = default_buffer_prototype().buffer.from_bytes(data)
            chunk = handle.array[...]
            del handle.memory[handle.key]
        return np.asarray(chunk, dtype=meta.dtype)  # format 2 may be of the other byte order


def _open(meta: ArrayMeta) -> _Handle:
    name = ".zarray" if meta.format == 2 else "zarr.json"
    memory: dict[str, Any] = {name: default_buffer_prototype().buffer.from_bytes(meta.document)}
    # A plane of zeros is a plane: whether a chunk is there says whether it was written.
    opened = zarr.open_array(MemoryStore(memory), mode="r+", zarr_format=meta.format)
    array = opened.with_config({"write_empty_chunks": True})
    numbers = ["0"] * len(meta.chunks)
    key = "/".join(["c", *numbers]) if meta.format == 3 else ".".join(numbers) or "0"
    return _Handle(array, memory, key)
