"""The header of a Cellomics image: a Windows bitmap without its file header, in ``.C01`` compressed by zlib."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import BinaryIO

from polystore.errors import CorruptFileError
from polystore.microscopes._files import PlateFiles
from polystore.plate import ChannelInfo, PlaneRef, PlateInfo

__all__ = ["read_info", "read_pixel_size"]

TRIES = 3
"""Headers tried before the size of a pixel is given up."""

HEADER = struct.Struct("<IiiHHIIii")
"""Size of the header, width, height, planes, bits, compression, size of the image, pixels per metre x and y."""

C01_MAGIC = 4
"""Bytes before the compressed part of a ``.C01``."""


def read_pixel_size(stream: BinaryIO, path: str) -> tuple[float, float] | None:
    """Height and width of a pixel in micrometres, None when the file does not say.

    Raises
    ------
    CorruptFileError
        No such file.
    """
    start = stream.read(4096)
    if path.lower().endswith(".c01"):
        try:
            start = zlib.decompressobj().decompress(start[C01_MAGIC:], HEADER.size)
        except zlib.error as exc:
            raise CorruptFileError(f"{path} is no C01 file: {exc}") from exc
    if len(start) < HEADER.size:
        raise CorruptFileError(
            f"{path} is cut off: its header has {len(start)} bytes and needs {HEADER.size}"
        )
    _, width, height, _, bits, _, _, per_metre_x, per_metre_y = HEADER.unpack_from(start)
    if width <= 0 or height == 0 or bits not in (8, 16, 24, 32):
        raise CorruptFileError(f"{path} has no Cellomics header: {width} x {height} pixels of {bits} bits")
    if per_metre_x <= 0 or per_metre_y <= 0:
        return None
    return round(1e6 / per_metre_y, 6), round(1e6 / per_metre_x, 6)


def read_info(files: PlateFiles, planes: Sequence[PlaneRef]) -> PlateInfo:
    """The size of a pixel from the first header that can be read, and the channels by number."""
    size = None
    native = (plane.path for plane in planes if plane.path.lower().endswith((".c01", ".dib")))
    for _, path in zip(range(TRIES), native, strict=False):
        size = files.read(path, read_pixel_size)
        if size is not None:
            break
    channels = {plane.key.channel for plane in planes}
    return PlateInfo(
        name=files.plate_name,
        pixel_size_um=size,
        channels={channel: ChannelInfo() for channel in channels if channel is not None},
        instrument="Cellomics",
    )
