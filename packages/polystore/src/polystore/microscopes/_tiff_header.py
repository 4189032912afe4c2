"""The first header of a TIFF: size, description, and whether all its pixels are there. Reads no pixel."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import BinaryIO

from polystore.errors import CorruptFileError

__all__ = ["TiffHeader", "read_header"]

MAX_DESCRIPTION = 1 << 22
"""Longest description read, 4 MiB: MetaXpress writes 6 kB, OME-XML of a large plate some hundred."""

MAX_TAGS = 4096
"""Most tags of one header."""

MAX_SEGMENTS = 1 << 20
"""Most strips or tiles looked at."""

# Type number to size and struct letter, for those that hold sizes and offsets.
_TYPES = {
    1: (1, "B"), 2: (1, "s"), 3: (2, "H"), 4: (4, "I"), 7: (1, "B"), 13: (4, "I"), 16: (8, "Q"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class TiffHeader:
    """What the first page of a TIFF says of itself.

    Parameters
    ----------
    width, height
        In pixels.
    bits
        Of one sample.
    description
        Its ImageDescription, often an instrument's metadata; empty when it has none.
    """

    width: int
    height: int
    bits: int
    description: bytes


def read_header(stream: BinaryIO, path: str) -> TiffHeader:
    """The header of a TIFF or BigTIFF; two or three short reads.

    Raises
    ------
    CorruptFileError
        No TIFF, or cut off: its header or its pixels end after the file does.
    """
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    start = stream.read(16)
    if not start:
        raise CorruptFileError(f"{path} is empty")
    order = {b"II": "<", b"MM": ">"}.get(start[:2])
    magic = struct.unpack(f"{order}H", start[2:4])[0] if order and len(start) >= 8 else 0
    if order is None or magic not in (42, 43):
        raise CorruptFileError(f"{path} is no TIFF: it begins with {start[:4]!r}")
    if magic == 43 and len(start) < 16:
        raise _cut_off(path, size, 16)
    big = magic == 43
    offset = struct.unpack(f"{order}Q", start[8:16])[0] if big else struct.unpack(f"{order}I", start[4:8])[0]
    reader = _Reader(stream, path, size, order, big)
    tags = reader.tags(offset)
    width, height = reader.one(tags, 256), reader.one(tags, 257)
    if not width or not height:
        raise CorruptFileError(f"{path} has no size in its TIFF header")
    segments = (324, 325) if 324 in tags else (273, 279)
    offsets, counts = (reader.values(tags, tag) for tag in segments)
    end = max((first + count for first, count in zip(offsets, counts, strict=False)), default=0)
    if end > size:
        raise _cut_off(path, size, end)
    return TiffHeader(width, height, reader.one(tags, 258), reader.text(tags, 270))


@dataclass(slots=True)
class _Reader:
    stream: BinaryIO
    path: str
    size: int
    order: str
    big: bool

    def tags(self, offset: int) -> dict[int, tuple[int, int, bytes]]:
        """Tag to type, count and its field, which holds the value or where it stands."""
        width, entry = (8, 20) if self.big else (2, 12)
        (count,) = struct.unpack(f"{self.order}{'Q' if self.big else 'H'}", self.at(offset, width))
        if count > MAX_TAGS:
            raise CorruptFileError(f"{self.path} has {count} TIFF tags")
        block = self.at(offset + width, count * entry)
        form = f"{self.order}HH{'Q' if self.big else 'I'}{8 if self.big else 4}s"
        return {tag: (kind, number, value) for tag, kind, number, value in struct.iter_unpack(form, block)}

    def values(self, tags: dict[int, tuple[int, int, bytes]], tag: int) -> tuple[int, ...]:
        """The whole numbers of a tag; nothing when it is absent or of another type."""
        if tag not in tags:
            return ()
        kind, count, inline = tags[tag]
        if kind not in _TYPES or kind == 2:
            return ()
        width, letter = _TYPES[kind]
        if count > MAX_SEGMENTS:
            raise CorruptFileError(f"{self.path} has {count} values in TIFF tag {tag}")
        return struct.unpack(f"{self.order}{count}{letter}", self.field(count * width, inline))

    def one(self, tags: dict[int, tuple[int, int, bytes]], tag: int) -> int:
        """The first number of a tag, 0 when it is absent."""
        return next(iter(self.values(tags, tag)), 0)

    def text(self, tags: dict[int, tuple[int, int, bytes]], tag: int) -> bytes:
        """The text of a tag, without its closing NULs."""
        kind, count, inline = tags.get(tag, (2, 0, b""))
        if count > MAX_DESCRIPTION:
            raise CorruptFileError(f"{self.path} has a description of {count} bytes")
        return self.field(count, inline).rstrip(b"\0") if kind in (1, 2, 7) else b""

    def field(self, width: int, inline: bytes) -> bytes:
        if width <= len(inline):
            return inline[:width]
        (offset,) = struct.unpack(f"{self.order}{'Q' if self.big else 'I'}", inline)
        return self.at(offset, width)

    def at(self, offset: int, width: int) -> bytes:
        if offset + width > self.size:
            raise _cut_off(self.path, self.size, offset + width)
        self.stream.seek(offset)
        found = self.stream.read(width)
        if len(found) < width:  # it became shorter while it was read
            raise _cut_off(self.path, offset + len(found), offset + width)
        return found


def _cut_off(path: str, size: int, needed: int) -> CorruptFileError:
    return CorruptFileError(f"{path} is cut off: it has {size} bytes and needs {needed}; copy it again")
