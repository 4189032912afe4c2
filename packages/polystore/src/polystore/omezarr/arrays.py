"""Metadata of a Zarr array, of format 2 or 3: what is needed to find its chunks and to decode them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import msgspec
import numpy as np

from polystore.errors import CorruptFileError, UnsupportedArrayError
from polystore.payload.arrays import checked_dtype

__all__ = ["SHARD_PIXELS", "ArrayMeta", "ZarrFormat", "chunk_shape_of"]

ZarrFormat = Literal[2, 3]

SHARD_PIXELS = 16 * 1024 * 1024
"""Planes from here on (4096 x 4096) are a shard of tiles in format 3. Below, and in format 2, a plane is one
chunk. Either way it is one file, so it is replaced in one step."""

TILE = 1024
"""Side of a tile in pixels."""

_V3_NAMES = {"b1": "bool", "c8": "complex64", "c16": "complex128"}
_KINDS = {"i": "int", "u": "uint", "f": "float"}
_FROM_V3 = {"bool": "b1", "complex64": "c8", "complex128": "c16"}


@dataclass(frozen=True)
class ArrayMeta:
    """One array, as its metadata file describes it. Immutable; equal when the files say the same.

    Parameters
    ----------
    document
        The metadata file's content, as JSON in bytes.
    """

    document: bytes

    @cached_property
    def plain(self) -> dict[str, Any]:
        """The document as a dict.

        Raises
        ------
        CorruptFileError
            It describes no array.
        """
        try:
            found = msgspec.json.decode(self.document)
            if found["zarr_format"] == 3 and found["node_type"] == "array":
                return dict(found)
            if found["zarr_format"] == 2 and "chunks" in found:
                return dict(found)
        except (msgspec.DecodeError, KeyError, TypeError) as exc:
            raise CorruptFileError(f"no metadata of a Zarr array ({exc})") from exc
        raise CorruptFileError("no metadata of a Zarr array of format 2 or 3")

    @cached_property
    def format(self) -> ZarrFormat:
        """2 or 3."""
        return 2 if self.plain["zarr_format"] == 2 else 3

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Size of the whole array."""
        return self._sizes(self.plain.get("shape"))

    @staticmethod
    def _sizes(given: Any) -> tuple[int, ...]:
        try:
            return tuple(int(size) for size in given)
        except (TypeError, ValueError) as exc:
            raise CorruptFileError(f"{given!r} is no shape of a Zarr array") from exc

    @cached_property
    def chunks(self) -> tuple[int, ...]:
        """Size of what one key holds: a chunk, or a shard of several."""
        if self.format == 2:
            return self._sizes(self.plain.get("chunks"))
        grid = self.plain.get("chunk_grid")
        try:
            name, sizes = grid["name"], grid["configuration"]["chunk_shape"]  # type: ignore[index]
        except (KeyError, TypeError) as exc:
            raise CorruptFileError(f"{grid!r} is no chunk grid of a Zarr array") from exc
        if name != "regular":
            raise CorruptFileError(f"chunk grid {name!r} is not supported (only regular)")
        return self._sizes(sizes)

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values, in this machine's byte order.

        Raises
        ------
        UnsupportedArrayError
            Not plain numbers.
        """
        if self.format == 2:
            return checked_dtype(str(self.plain["dtype"])).newbyteorder("=")
        name = self.plain["data_type"]
        if isinstance(name, str):
            try:
                return checked_dtype(np.dtype(_FROM_V3.get(name, name)).str).newbyteorder("=")
            except TypeError:
                pass
        raise UnsupportedArrayError(f"arrays of data type {name!r} cannot be read")

    @cached_property
    def fill_value(self) -> Any:
        """The value where no chunk is stored, as a NumPy scalar."""
        given = self.plain["fill_value"]
        if given is None:
            given = 0
        elif isinstance(given, list):
            given = complex(float(given[0]), float(given[1]))
        elif isinstance(given, str) and given.startswith("0x"):
            return np.frombuffer(bytes.fromhex(given[2:]), self.dtype.newbyteorder(">"))[0]
        return np.array(float(given) if isinstance(given, str) else given).astype(self.dtype)[()]

    @cached_property
    def _separator(self) -> str:
        if self.format == 2:
            return str(self.plain.get("dimension_separator", "."))
        encoding = self.plain.get("chunk_key_encoding", {"name": "default"})
        default = "/" if encoding["name"] == "default" else "."
        return str(encoding.get("configuration", {}).get("separator", default))

    def key(self, index: Sequence[int]) -> str:
        """Key of the chunk at a place of the chunk grid, relative to the array."""
        numbers = [str(number) for number in index]
        if self.format == 3 and self.plain.get("chunk_key_encoding", {}).get("name") != "v2":
            return self._separator.join(["c", *numbers])
        return self._separator.join(numbers) if numbers else "0"

    def resized(self, shape: Sequence[int]) -> ArrayMeta:
        """The same with another shape."""
        return ArrayMeta(msgspec.json.encode({**self.plain, "shape": list(shape)}))

    def one_chunk(self) -> ArrayMeta:
        """An array of one chunk with the same codecs: how a chunk is encoded does not depend on the rest."""
        kept = {name: value for name, value in self.plain.items() if name not in ("attributes", "shape")}
        if self.format == 3:
            kept["chunk_key_encoding"] = {"name": "default", "configuration": {"separator": "/"}}
            kept.pop("dimension_names", None)
        else:
            kept["dimension_separator"] = "."
        return ArrayMeta(msgspec.json.encode({**kept, "shape": list(self.chunks)}))

    def grid(self) -> Iterator[tuple[int, ...]]:
        """Every place of the chunk grid."""
        return iter(
            np.ndindex(*(-(-size // chunk) for size, chunk in zip(self.shape, self.chunks, strict=True)))
        )

    @classmethod
    def new(
        cls,
        zarr_format: ZarrFormat,
        shape: Sequence[int],
        dtype: np.dtype[Any],
        *,
        axes: Sequence[str] = (),
    ) -> ArrayMeta:
        """An array as we write it: a chunk per plane, blosc-zstd-1 with shuffle, chunks of zeros stored, too."""
        chunks, inner = chunk_shape_of(shape, zarr_format)
        if zarr_format == 2:
            return cls(msgspec.json.encode(_new_v2(shape, chunks, dtype)))
        return cls(msgspec.json.encode(_new_v3(shape, chunks, inner, dtype, axes)))


def chunk_shape_of(
    shape: Sequence[int], zarr_format: ZarrFormat
) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    """What one key of a new array holds, and the tiles in it where it is a shard."""
    if len(shape) < 2:
        return tuple(max(size, 1) for size in shape), None
    height, width = (max(size, 1) for size in shape[-2:])
    lead = (1,) * (len(shape) - 2)
    if math.prod((height, width)) < SHARD_PIXELS:
        return (*lead, height, width), None
    if zarr_format == 2:  # without shards tiles would be files of their own, and a plane half written
        return (*lead, height, width), None
    tiles = (*lead, TILE, TILE)
    return (*lead, -(-height // TILE) * TILE, -(-width // TILE) * TILE), tiles


def _new_v2(shape: Sequence[int], chunks: Sequence[int], dtype: np.dtype[Any]) -> dict[str, Any]:
    return {
        "zarr_format": 2,
        "shape": list(shape),
        "chunks": list(chunks),
        "dtype": dtype.newbyteorder("<").str,
        "compressor": {"id": "blosc", "cname": "zstd", "clevel": 1, "shuffle": 1, "blocksize": 0},
        "fill_value": False if dtype.kind == "b" else None if dtype.kind == "c" else 0,
        "filters": None,
        "order": "C",
        "dimension_separator": "/",
    }


def _new_v3(
    shape: Sequence[int],
    chunks: Sequence[int],
    inner: Sequence[int] | None,
    dtype: np.dtype[Any],
    axes: Sequence[str],
) -> dict[str, Any]:
    blosc = {
        "cname": "zstd", "clevel": 1, "shuffle": "shuffle", "typesize": dtype.itemsize, "blocksize": 0,
    }  # fmt: skip
    to_bytes: dict[str, Any] = {"name": "bytes"}
    if dtype.itemsize > 1:
        to_bytes["configuration"] = {"endian": "little"}
    codecs: list[dict[str, Any]] = [to_bytes, {"name": "blosc", "configuration": blosc}]
    if inner is not None:
        index = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]
        sharding = {
            "chunk_shape": list(inner), "codecs": codecs, "index_codecs": index, "index_location": "end",
        }  # fmt: skip
        codecs = [{"name": "sharding_indexed", "configuration": sharding}]
    fill: Any = {"b": False, "c": [0.0, 0.0], "f": 0.0}.get(dtype.kind, 0)
    document: dict[str, Any] = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(shape),
        "data_type": _V3_NAMES.get(dtype.str[1:], f"{_KINDS.get(dtype.kind, '')}{dtype.itemsize * 8}"),
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunks)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": fill,
        "codecs": codecs,
        "attributes": {},
    }
    if axes:
        document["dimension_names"] = list(axes)
    return document
