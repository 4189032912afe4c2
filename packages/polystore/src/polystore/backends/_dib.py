"""Images of Cellomics, read only: a bitmap without its file header (``.dib``), compressed by zlib in ``.c01``."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from polystore.errors import CorruptFileError, UnsupportedFormatError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["DibHeader", "read", "read_header", "write"]

# Size of the header, width, height, planes, bits, compression, size of the image, pixels per metre x and y.
_HEADER = struct.Struct("<IiiHHIIii")

PIXELS_AT = 52
"""Where the pixels begin: behind the header of a bitmap (40 bytes) and 12 bytes of Cellomics' own."""

C01_MAGIC = 4
"""Bytes before the compressed part of a ``.c01``."""

MAX_PIXELS = 1 << 30
"""Largest image accepted, in pixels; the cameras have some millions."""


@dataclass(frozen=True, slots=True)
class DibHeader:
    """What such a file says of itself.

    Parameters
    ----------
    width, height, planes, bits
        Of the image.
    pixel_um
        Height and width of a pixel in micrometres; None when the file does not say.
    """

    width: int
    height: int
    planes: int
    bits: int
    pixel_um: tuple[float, float] | None


def read_header(stream: BinaryIO, path: str) -> DibHeader:
    """The header of a ``.c01`` or ``.dib``, from its first bytes.

    Raises
    ------
    CorruptFileError
        It is none.
    """
    start = stream.read(4096)
    if path.lower().endswith(".c01"):
        try:
            start = zlib.decompressobj().decompress(start[C01_MAGIC:], _HEADER.size)
        except zlib.error as exc:
            raise CorruptFileError(f"{path} is no C01 file: {exc}") from exc
    if len(start) < _HEADER.size:
        raise CorruptFileError(
            f"{path} is cut off: its header has {len(start)} bytes and needs {_HEADER.size}"
        )
    _, width, height, planes, bits, compression, _, per_metre_x, per_metre_y = _HEADER.unpack_from(start)
    if not (
        width > 0 and height > 0 and planes > 0 and bits in (8, 16) and width * height * planes <= MAX_PIXELS
    ):
        raise CorruptFileError(
            f"{path} has no Cellomics header: {planes} planes of {width} x {height} pixels of {bits} bits"
        )
    if compression:
        raise UnsupportedFormatError(
            f"{path} is compressed by method {compression}, which nobody has described"
        )
    pixel = (
        (round(1e6 / per_metre_y, 6), round(1e6 / per_metre_x, 6)) if per_metre_x > 0 < per_metre_y else None
    )
    return DibHeader(width, height, planes, bits, pixel)


def read(stream: BinaryIO, suffix: str) -> NDArray[Any]:
    """The image, rows from the top as stored; with several planes they come first. A new array of the caller's."""
    import numpy as np

    header = read_header(stream, suffix)
    wanted = PIXELS_AT + header.width * header.height * header.planes * header.bits // 8
    if suffix == ".c01":
        stream.seek(C01_MAGIC)
        # No more than the header promises: a small file may unpack to any size.
        content = zlib.decompressobj().decompress(stream.read(), wanted)
    else:
        stream.seek(0)
        content = stream.read(wanted)
    if len(content) < wanted:
        raise CorruptFileError(f"it is cut off: it has {len(content)} bytes and needs {wanted}")
    shape = (
        (header.planes, header.height, header.width) if header.planes > 1 else (header.height, header.width)
    )
    array = np.frombuffer(content, f"<u{header.bits // 8}", offset=PIXELS_AT).reshape(shape)
    return array.astype(array.dtype.newbyteorder("="))


def write(stream: BinaryIO, suffix: str, value: Any) -> None:
    """Never: these are formats to be read."""
    raise UnsupportedFormatError(f"{suffix} is only read; use .tif")
