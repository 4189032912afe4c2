"""Chunks in and out of a store: the only place where pixels pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polystore.errors import CorruptFileError, NotFoundError, PolystoreError, UnsupportedArrayError
from polystore.omezarr.arrays import ArrayMeta
from polystore.omezarr.engines import Engine
from polystore.omezarr.tree import Tree

__all__ = ["read_array", "read_plane", "write_array", "write_plane"]


def write_plane(
    tree: Tree,
    meta: ArrayMeta,
    index: Sequence[int],
    plane: NDArray[Any],
    engine: Engine,
    *,
    overwrite: bool = True,
) -> None:
    """Store the plane at an index of all axes but y and x, in one step. The array has a chunk per plane.

    Raises
    ------
    AlreadyExistsError
        It is there and must not be replaced.
    """
    chunk = _padded(plane, meta.chunks)
    tree.put(meta.key((*index, 0, 0)), _encoded(engine, meta, chunk, tree.place), overwrite=overwrite)


def write_array(tree: Tree, meta: ArrayMeta, array: NDArray[Any], engine: Engine) -> None:
    """Store all chunks of an array."""
    for index in meta.grid():
        part = array[_window(index, meta.chunks, array.shape)]
        chunk = part if part.shape == meta.chunks else _fitted(part, meta.chunks)
        tree.put(meta.key(index), _encoded(engine, meta, chunk, tree.place))


def read_plane(
    tree: Tree, meta: ArrayMeta, index: Sequence[int], engine: Engine, *, sparse: bool = False
) -> NDArray[Any]:
    """The plane at an index of all axes but the last two; new and the caller's.

    Parameters
    ----------
    sparse
        Whether what is not stored has the array's fill value, as in plates of others; else it is no plane.

    Raises
    ------
    NotFoundError
        No such plane.
    CorruptFileError
        Its bytes are damaged.
    """
    lead = len(index)
    if any(not 0 <= place < size for place, size in zip(index, meta.shape, strict=False)):
        raise NotFoundError(f"no plane {tuple(index)} in {tree.place}, whose shape is {meta.shape}")
    place = tuple(number // size for number, size in zip(index, meta.chunks, strict=False))
    inside = tuple(number % size for number, size in zip(index, meta.chunks, strict=False))
    shape, chunks = meta.shape[lead:], meta.chunks[lead:]
    counts = [-(-size // chunk) for size, chunk in zip(shape, chunks, strict=True)]
    if all(count == 1 for count in counts):
        chunk = _read_chunk(tree, meta, (*place, *(0 for _ in counts)), engine, sparse=sparse)
        if chunk is not None:
            whole: NDArray[Any] = chunk[inside][tuple(slice(size) for size in shape)]
            return whole
    plane = np.full(shape, meta.fill_value, meta.dtype)
    for position in np.ndindex(*counts):
        chunk = _read_chunk(tree, meta, (*place, *position), engine, sparse=sparse)
        if chunk is not None:
            window = _window(position, chunks, shape)
            part = plane[window]
            part[...] = chunk[inside][tuple(slice(size) for size in part.shape)]
    return plane


def read_array(tree: Tree, meta: ArrayMeta, engine: Engine, *, sparse: bool = True) -> NDArray[Any]:
    """A whole array; as `read_plane`."""
    array: NDArray[Any] = read_plane(tree, meta, (), engine, sparse=sparse)
    return array


def _read_chunk(
    tree: Tree, meta: ArrayMeta, index: Sequence[int], engine: Engine, *, sparse: bool
) -> NDArray[Any] | None:
    data = tree.get(meta.key(index))
    if data is None:
        if sparse:
            return None
        raise NotFoundError(f"no plane is stored at {tree.place}/{meta.key(index)}")
    try:
        return engine.decode(meta, data)
    except (PolystoreError, MemoryError):
        raise
    except (
        Exception
    ) as exc:  # the boundary to the engines, which meet damaged bytes with every error there is
        raise CorruptFileError(
            f"{tree.place}/{meta.key(index)} cannot be decoded: {type(exc).__name__}: {exc}"
        ) from exc


def _encoded(engine: Engine, meta: ArrayMeta, chunk: NDArray[Any], place: str) -> bytes:
    try:
        return engine.encode(meta, chunk)
    except (PolystoreError, MemoryError):
        raise
    except Exception as exc:  # the boundary to the engines: planes larger than the codec takes
        raise UnsupportedArrayError(
            f"a chunk of shape {chunk.shape} and dtype {chunk.dtype} cannot be encoded for {place}: {exc}"
        ) from exc


def _padded(plane: NDArray[Any], chunks: Sequence[int]) -> NDArray[Any]:
    lead = (1,) * (len(chunks) - 2)
    whole = plane.reshape(*lead, *plane.shape)
    return whole if whole.shape == tuple(chunks) else _fitted(whole, chunks)


def _fitted(part: NDArray[Any], chunks: Sequence[int]) -> NDArray[Any]:
    """A part of an array at its edge, filled up with zeros to a whole chunk."""
    chunk = np.zeros(tuple(chunks), part.dtype)
    chunk[tuple(slice(size) for size in part.shape)] = part
    return chunk


def _window(index: Sequence[int], chunks: Sequence[int], shape: Sequence[int]) -> tuple[slice, ...]:
    return tuple(
        slice(number * chunk, min((number + 1) * chunk, size))
        for number, chunk, size in zip(index, chunks, shape, strict=True)
    )
