"""Anybody's array to a NumPy array in host memory, and the one place that says which arrays can travel.

No framework is imported: an array tells what it is through the array protocols (DLPack, ``__array__``), and
a device array is brought to the host by its own method.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from polystore.errors import PayloadTooLargeError, UnsupportedArrayError

__all__ = ["MAX_DIMENSIONS", "as_host_array", "check_array", "checked_dtype", "checked_nbytes", "is_array"]

MAX_DIMENSIONS = 32
"""Most dimensions of one array: the limit of NumPy 1.x, more than any acquisition has components."""

DEFAULT_MAX_BYTES = 1 << 30
"""Largest single image, 1 GiB: a 23,000 x 23,000 uint16 plane. ``POLYSTORE_MAX_IMAGE_BYTES`` changes it."""

# DLPack device types whose memory the host can read as it is: CPU, CUDA pinned host memory, ROCm host
# memory. (CUDA managed memory, 13, is readable too, but only after a synchronisation that its owner has to
# do.)
_HOST_DEVICES = frozenset({1, 3, 11})

# bool, signed, unsigned, float, complex; with the item sizes that mean the same on every machine.
_ITEM_SIZES = {"b": (1,), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "f": (2, 4, 8), "c": (8, 16)}
_DTYPE_TEXT = re.compile(r"[<>|=]?([biufc])([0-9]{1,2})", re.ASCII)

_REMEDIES = {
    "O": "it holds Python objects; convert it first, e.g. array.astype('float32')",
    "V": "send its fields one by one, e.g. array['name']; bfloat16 and the like need .astype('float32')",
    "U": "text is no image; save it as .txt, .csv or .json",
    "S": "text is no image; save it as .txt, .csv or .json",
    "M": "convert dates first, e.g. array.astype('int64')",
    "m": "convert time spans first, e.g. array.astype('int64')",
    "T": "text is no image; save it as .txt, .csv or .json",
    "f": "long double differs between machines; use .astype('float64')",
    "c": "long double differs between machines; use .astype('complex128')",
}


@runtime_checkable
class _SupportsDLPack(Protocol):
    def __dlpack__(self, *, stream: Any = None) -> Any: ...
    def __dlpack_device__(self) -> tuple[int, int]: ...


@runtime_checkable
class _SupportsDetach(Protocol):
    requires_grad: bool

    def detach(self) -> Any: ...


@runtime_checkable
class _SupportsCpu(Protocol):
    def cpu(self) -> Any: ...


@runtime_checkable
class _SupportsGet(Protocol):
    def get(self) -> Any: ...


@runtime_checkable
class _SupportsArray(Protocol):
    def __array__(self, dtype: Any = None) -> NDArray[Any]: ...


@runtime_checkable
class _HasShape(Protocol):
    shape: Any
    dtype: Any


def is_array(obj: object) -> bool:
    """Whether `as_host_array` has something to work with: an array of NumPy or of any framework.

    A table (which only *can* be made an array) is none, a NumPy scalar is none.
    """
    if isinstance(obj, np.ndarray):
        return True
    if isinstance(obj, np.generic):
        return False
    return isinstance(obj, _SupportsDLPack) or (
        isinstance(obj, _SupportsArray) and isinstance(obj, _HasShape)
    )


def as_host_array(obj: Any) -> NDArray[Any]:
    """The values of ``obj`` as a NumPy array in host memory, without a copy where that is possible.

    NumPy arrays come back as they are (subclasses such as ``memmap`` as a view), arrays of other libraries
    in host memory as a view of the same memory, device arrays as a copy made by their own library (which
    waits for the kernels that still write them). PyTorch, CuPy, JAX and everything else with DLPack or
    ``__array__`` are understood; none of them is imported.

    The result may be read-only, may share memory with ``obj`` and keeps that memory alive. Its dtype is
    *not* checked: see `check_array`.

    Raises
    ------
    UnsupportedArrayError
        Not an array, a masked array (whose mask would be lost), or an array its library refuses to export.
    """
    if type(obj) is np.ndarray:
        return obj
    if isinstance(obj, np.ndarray):
        if isinstance(obj, np.ma.MaskedArray):
            raise UnsupportedArrayError("a masked array would lose its mask; pass array.filled(value)")
        return np.asarray(obj)
    try:
        if isinstance(obj, _SupportsDLPack):
            return _from_dlpack(obj)
        if isinstance(obj, _SupportsArray):
            return np.asarray(obj)
    except (BufferError, RuntimeError, TypeError, ValueError) as exc:
        # What the frameworks raise when they refuse: BufferError by the standard, the others in practice.
        raise UnsupportedArrayError(
            f"{_name(obj)} cannot be read as a host array ({exc}); convert it first, e.g. to float32 on a CPU"
        ) from exc
    raise UnsupportedArrayError(f"{_name(obj)} is no array; pass numpy.asarray(...) of it")


def _from_dlpack(obj: _SupportsDLPack) -> NDArray[Any]:
    source: Any = obj
    if isinstance(source, _SupportsDetach) and source.requires_grad:
        source = source.detach()  # PyTorch refuses to export a tensor that still records gradients
    device = int(source.__dlpack_device__()[0])
    if device in _HOST_DEVICES:
        return np.from_dlpack(source)
    if isinstance(source, _SupportsCpu):  # PyTorch
        return np.from_dlpack(source.cpu())
    if isinstance(source, _SupportsGet):  # CuPy
        return np.asarray(source.get())
    if isinstance(source, _SupportsArray):  # JAX, MLX
        return np.asarray(source)
    raise UnsupportedArrayError(
        f"{_name(obj)} lives on a device (DLPack device type {device}) with no way to the host; copy it first"
    )


def check_array(array: NDArray[Any], *, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
    """Return if the array can be sent and stored exactly, else raise. Nothing is allocated.

    0-d, empty, Fortran-ordered, big-endian, bool, float16, complex, read-only and non-contiguous are fine.

    Raises
    ------
    UnsupportedArrayError
        Object, structured, text, date or long-double dtype.
    PayloadTooLargeError
        More than ``max_bytes`` bytes or more than `MAX_DIMENSIONS` dimensions.
    """
    dtype = array.dtype
    if dtype.itemsize not in _ITEM_SIZES.get(dtype.kind, ()):
        raise _unsupported(dtype)
    if array.nbytes > max_bytes or array.ndim > MAX_DIMENSIONS:
        checked_nbytes(array.shape, dtype, max_bytes=max_bytes)  # says which limit


def checked_dtype(text: str) -> np.dtype[Any]:
    """The dtype a message names (``'<u2'``, ``'|b1'``), or an error: never one that holds objects or
    fields.

    Raises
    ------
    UnsupportedArrayError
        Any other text.
    """
    match = _DTYPE_TEXT.fullmatch(text)
    if match and int(match[2]) in _ITEM_SIZES[match[1]]:
        return np.dtype(text)
    raise UnsupportedArrayError(f"dtype {text[:40]!r} is not one of bool, int, uint, float and complex")


def checked_nbytes(shape: Sequence[int], dtype: np.dtype[Any], *, max_bytes: int = DEFAULT_MAX_BYTES) -> int:
    """Bytes an array of that shape needs, worked out in Python integers, which cannot overflow.

    For shapes that come from elsewhere: call it before allocating.

    Raises
    ------
    UnsupportedArrayError
        The dtype cannot travel, or a dimension is negative or no integer.
    PayloadTooLargeError
        More than ``max_bytes`` bytes or more than `MAX_DIMENSIONS` dimensions.
    """
    if dtype.itemsize not in _ITEM_SIZES.get(dtype.kind, ()):
        raise _unsupported(dtype)
    if len(shape) > MAX_DIMENSIONS:
        raise PayloadTooLargeError(f"an array of {len(shape)} dimensions; at most {MAX_DIMENSIONS} travel")
    try:
        sizes = [operator.index(size) for size in shape]
    except TypeError:
        raise UnsupportedArrayError(f"shape {shape!r} must be a sequence of integers") from None
    if any(size < 0 for size in sizes):
        raise UnsupportedArrayError(f"shape {tuple(sizes)} has a negative dimension")
    nbytes = math.prod(sizes) * dtype.itemsize
    # An empty array needs no memory however long its other sides, but NumPy refuses what it cannot index.
    if nbytes > max_bytes or math.prod(size or 1 for size in sizes) * dtype.itemsize > 2**62:
        raise PayloadTooLargeError(
            f"an array of shape {tuple(sizes)} and dtype {dtype} has {nbytes:,} bytes, the limit is "
            f"{max_bytes:,}; send it in tiles or planes, or raise POLYSTORE_MAX_IMAGE_BYTES"
        )
    return nbytes


def _unsupported(dtype: np.dtype[Any]) -> UnsupportedArrayError:
    remedy = _REMEDIES.get(dtype.kind, "convert it to a numeric dtype first")
    return UnsupportedArrayError(f"an array of dtype {str(dtype)[:80]} cannot be sent or stored: {remedy}")


def _name(obj: object) -> str:
    cls = type(obj)
    return f"{cls.__module__}.{cls.__qualname__}".removeprefix("builtins.")
