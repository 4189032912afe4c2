"""Chunks encoded and decoded by tensorstore, through a store in memory."""

from __future__ import annotations

import logging
import os
from typing import Any

import tensorstore as ts
from numpy.typing import NDArray

from polystore.omezarr._handles import Handles
from polystore.omezarr.arrays import ArrayMeta

__all__ = ["TensorstoreEngine"]

logger = logging.getLogger(__name__)

_DRIVERS = {2: "zarr", 3: "zarr3"}


LARGE = 1 << 23
"""Bytes from which on a chunk is not kept until the next comes."""


class TensorstoreEngine:
    """See `polystore.omezarr.engines.Engine`. After its first use the process must not fork."""

    name = "tensorstore"

    def __init__(self) -> None:
        self._handles: Handles[Any] = Handles(_open)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(before=_warn)

    def encode(self, meta: ArrayMeta, chunk: NDArray[Any]) -> bytes:
        """The bytes of one chunk."""
        with self._handles.lend(meta) as handle:
            # The chunk lives until the result is there, so tensorstore need not copy it first.
            handle.write(chunk, can_reference_source_data_indefinitely=True).result()
            data: bytes = handle.kvstore.read(_key(meta)).result().value
            _forget(handle, meta, data)
        return data

    def decode(self, meta: ArrayMeta, data: bytes) -> NDArray[Any]:
        """The chunk in those bytes."""
        with self._handles.lend(meta) as handle:
            handle.kvstore.write(_key(meta), data).result()
            chunk: NDArray[Any] = handle.read().result()
            _forget(handle, meta, data)
        return chunk


def _warn() -> None:
    logger.warning(
        "process %d has used tensorstore, which aborts every child that is forked now; start workers with "
        "multiprocessing.set_start_method('spawn'), or use ZarrBackend(engine='zarr')",
        os.getpid(),
    )


def _forget(handle: Any, meta: ArrayMeta, data: bytes) -> None:
    """Free the memory of a large chunk; that of a small one is overwritten by the next."""
    if len(data) > LARGE:
        handle.kvstore.write(_key(meta), None).result()


def _key(meta: ArrayMeta) -> str:
    numbers = ["0"] * len(meta.chunks)
    return "/".join(["c", *numbers]) if meta.format == 3 else ".".join(numbers) or "0"


def _open(meta: ArrayMeta) -> Any:
    spec = {
        "driver": _DRIVERS[meta.format],
        "kvstore": {"driver": "memory"},
        "metadata": meta.plain,
        "open": True,
        "assume_metadata": True,
        # A plane of zeros is a plane: whether a chunk is there says whether it was written.
        "store_data_equal_to_fill_value": True,
    }
    return ts.open(spec, context=ts.Context()).result()  # a context of its own: a memory of its own
