"""Pixels between numpy and Java: one bulk copy each way, done by Java itself.

JPype copies a numpy array into a Java array number by number, which takes 16 to 50 times a memcpy. Java's own
buffers copy all at once, and JPype releases the GIL meanwhile. A buffer is made of an address, and making one costs
more than copying a small plane (23 us against 12 us in all at 512x512), and leaves something for Java to collect.
So they are made once: each is a **window** of two GiB of this process's addresses, most of them without any memory,
and a plane is read at its offset in one. A window owns nothing and keeps nothing alive. What makes that safe is that
nothing but this module has one, and that it reads only inside arrays its caller holds while it does.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any, TypeAlias

import jpype
import jpype.nio
import numpy as np

from openhcs_viewers.fiji._convert import PixelType, convert, converted, pixel_type
from openhcs_viewers.fiji._java import java

__all__ = ["PixelType", "copy_into", "new_array", "pixel_type", "staging_shape", "to_numpy", "warm_up"]

Array: TypeAlias = np.ndarray[Any, Any]

GIB = 1 << 30

_WINDOW = 2 * GIB - 8
"""Bytes of a window: the most a Java buffer can have, in whole samples. One begins at each GiB, so they overlap."""

_PIECE = GIB // 2
"""Most bytes copied at once: any piece lies in the window that begins at or before it."""

_BLOCK = 256 * 1024
"""Bytes converted at a time: still in the processor's cache when Java copies them."""

_MAX_WINDOWS = 64
"""Kept at most; addresses of planes are close together, so a process has a handful."""

_windows: dict[int, Any] = {}


def new_array(to: PixelType, pixels: int) -> Any:
    """Return a Java array (``byte[]``, ``short[]``, ``float[]``, ``int[]``) of zeros; any thread.

    Its memory is touched here, which is most of its cost; the GIL is released meanwhile.

    Raises
    ------
    java.lang.OutOfMemoryError
        Java's heap is full.
    """
    # Not jpype.JArray: that holds the GIL while Java clears the memory.
    return java("java.lang.reflect.Array").newInstance(_primitive(to), pixels)


def staging_shape(array: Array, to: PixelType) -> tuple[int, int] | None:
    """Return the shape of the memory `copy_into` needs to prepare pixels in, samples of `to`; None for none.

    The whole plane where its pixels are converted: somebody will ask for them. A few rows where they only lie apart.
    """
    height, width = array.shape[:2]
    if converted(array, to):
        return (height, width)
    if to is PixelType.RGB or not array.flags.c_contiguous or not array.flags.aligned:
        return (min(height, _rows(width, to)), width)
    return None


def copy_into(
    array: Array, pixels: Any, to: PixelType, *, kind: str = "image", staging: Array | None = None
) -> Array:
    """Copy a plane into a Java array that nobody reads yet; return its pixels as numpy sees them.

    Java copies straight from `array` where the memory there is what ImageJ wants, without a copy in numpy. Else rows
    are prepared in `staging`, a block at a time. The GIL is released while Java copies.

    Parameters
    ----------
    array
        (y, x) or (y, x, 3|4), any strides and byte order, read-only or not; not kept.
    pixels
        A Java array of that type and size.
    to
        What `pixel_type` said of `array`.
    kind
        ``"image"`` or ``"labels"``.
    staging
        Memory of `staging_shape`, C-contiguous; made here when not given. Free again once the result is.

    Returns
    -------
    numpy.ndarray
        `array` itself or a view of it or of `staging`.
    """
    shape = staging_shape(array, to)
    if shape is None:
        _copy(array, pixels, to, 0)
        return array
    if staging is None:
        staging = np.empty(shape, to.sample)
    height, width = array.shape[:2]
    rows, whole = _rows(width, to), shape[0] == height
    for top in range(0, height, rows):
        source = array[top : top + rows]
        block = staging[top : top + rows] if whole else staging[: len(source)]
        convert(source, block, kind)
        _copy(block, pixels, to, top * width)
    if converted(array, to):
        return staging
    return array[..., :3] if to is PixelType.RGB else array


def warm_up() -> None:
    """Copy a pixel of each type: the first copy loads Java's classes and takes 30 ms."""
    for to in PixelType:
        array = np.zeros(
            (1, 1, 3) if to is PixelType.RGB else (1, 1), np.uint8 if to is PixelType.RGB else to.sample
        )
        copy_into(array, new_array(to, 1), to)


def to_numpy(pixels: Any, shape: tuple[int, int], to: PixelType) -> Array:
    """Return a copy of a Java array: (y, x), or (y, x, 3) of uint8 for RGB."""
    flat = np.empty(len(pixels), to.sample)
    step = _PIECE // flat.itemsize
    for start in range(0, flat.size, step):
        count = min(step, flat.size - start)
        view, index = _view(flat[start:].ctypes.data, to)
        view = view.duplicate()
        view.position(index)
        view.put(pixels, start, count)
    if to is not PixelType.RGB:
        return flat.reshape(shape)
    return (
        np.stack([(flat >> shift) & 255 for shift in (16, 8, 0)], axis=-1).astype(np.uint8).reshape(*shape, 3)
    )


def _rows(width: int, to: PixelType) -> int:
    return max(1, _BLOCK // (width * to.sample.itemsize))


def _copy(array: Array, pixels: Any, to: PixelType, at: int) -> None:
    """Have Java copy a C-contiguous array of samples into `pixels` from element `at` on."""
    size, itemsize = array.size, to.sample.itemsize
    address = array.ctypes.data
    step = _PIECE // itemsize
    for start in range(0, size, step):
        view, index = _view(address + start * itemsize, to)
        count = min(step, size - start)
        if _absolute():
            view.get(index, pixels, at + start, count)
        else:
            view = view.duplicate()  # its position is nobody else's
            view.position(index)
            view.get(pixels, at + start, count)


def _view(address: int, to: PixelType) -> tuple[Any, int]:
    """Return the window an address is in, as samples of a type, and the index of the address there."""
    number = address // GIB
    views = _windows.get(number)
    if views is None:
        views = _open(number)
    return views[to], (address - number * GIB) // to.sample.itemsize


def _open(number: int) -> dict[PixelType, Any]:
    if len(_windows) >= _MAX_WINDOWS:
        _windows.clear()
    window = (ctypes.c_char * _WINDOW).from_address(number * GIB)
    buffer = jpype.nio.convertToDirectBuffer(window).order(java("java.nio.ByteOrder").nativeOrder())
    views = _windows[number] = {
        PixelType.BYTE: buffer,
        PixelType.SHORT: buffer.asShortBuffer(),
        PixelType.FLOAT: buffer.asFloatBuffer(),
        PixelType.RGB: buffer.asIntBuffer(),
    }
    return views


@cache
def _absolute() -> bool:
    """Whether buffers copy from an index without moving their position: Java 13 and newer."""
    version = str(java("java.lang.System").getProperty("java.specification.version"))
    return not version.startswith("1.") and int(version) >= 13


@cache
def _primitive(to: PixelType) -> Any:
    name = {
        PixelType.BYTE: "Byte",
        PixelType.SHORT: "Short",
        PixelType.FLOAT: "Float",
        PixelType.RGB: "Integer",
    }
    return java(f"java.lang.{name[to]}").TYPE
