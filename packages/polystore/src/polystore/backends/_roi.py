"""ImageJ's files of regions: ``.roi`` holds one, ``.zip`` a list. The format itself is in `_imagej`."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from typing import Any, BinaryIO

from polystore.backends._imagej import from_bytes, to_bytes
from polystore.backends._regions import checked_regions
from polystore.errors import (
    ComponentError,
    CorruptFileError,
    RoiError,
    UnsafePathError,
    UnsupportedFormatError,
)
from polystore.rois import ROI

__all__ = ["read", "write"]

MAX_REGION_BYTES = 1 << 26
"""Largest ``.roi``: one with the most points a region may have, eight bytes each, is an eighth of it."""

MAX_ZIP_BYTES = 1 << 29
"""Most bytes all regions of a zip unpack to. Checked against what it declares, before anything is unpacked."""

MAX_READ = 1 << 24
"""Longest single read of a zip, so of its table of contents: about 200,000 regions."""

_BAD_IN_NAMES = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|\ud800-\udfff]')
_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
_DATE = (1980, 1, 1, 0, 0, 0)


def write(stream: BinaryIO, suffix: str, value: Any) -> None:
    """Write one region (``.roi``), or a region or a list of them (``.zip``).

    In a zip each is named after its property ``name``, else after its number and centre as ImageJ does; names
    are made unique.
    """
    rois = checked_regions(value, suffix)
    if suffix == ".roi":
        if len(rois) != 1:
            raise UnsupportedFormatError(f"{len(rois)} regions: .roi holds one; save them as .zip")
        stream.write(to_bytes(rois[0]))
        return
    with zipfile.ZipFile(stream, "w") as archive:
        for name, roi in zip(_names(rois), rois, strict=True):
            # A fixed date: the same regions are the same bytes.
            member = zipfile.ZipInfo(f"{name}.roi", _DATE)
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, to_bytes(roi))


def read(stream: BinaryIO, suffix: str) -> ROI | list[ROI]:
    """The region of a ``.roi``, or the regions of a zip in its order. Nothing is unpacked to the disk."""
    if suffix == ".roi":
        content = stream.read(MAX_REGION_BYTES + 1)
        if len(content) > MAX_REGION_BYTES:
            raise CorruptFileError(f"more than {MAX_REGION_BYTES} bytes for one region")
        return _region(content, "")
    with zipfile.ZipFile(_Bounded(stream)) as archive:
        members = archive.infolist()
        regions = list(_checked(members))
        if members and not regions:
            raise UnsupportedFormatError("it holds no .roi; other zips than ImageJ's are not read")
        return [_region(archive.read(member), member.filename) for member in regions]


def _region(content: bytes, member: str) -> ROI:
    try:
        return from_bytes(content, member.rpartition("/")[2].rpartition(".")[0])
    except (CorruptFileError, RoiError, ComponentError) as exc:
        raise CorruptFileError(f"{member}: {exc}" if member else str(exc)) from exc
    except (ValueError, TypeError, IndexError, RuntimeError, ArithmeticError) as exc:
        # roifile says what is wrong in a damaged file with whatever NumPy and struct say.
        where = f"{member}: " if member else ""
        raise CorruptFileError(f"{where}a damaged region ({type(exc).__name__}: {exc})") from exc


def _checked(members: list[zipfile.ZipInfo]) -> Iterator[zipfile.ZipInfo]:
    """The members that are regions, if all names are ones a zip may have and all sizes are bearable."""
    total = 0
    for member in members:
        name = member.orig_filename.replace("\\", "/")
        if name.startswith("/") or ".." in name.split("/") or "\0" in name or name[1:2] == ":":
            raise UnsafePathError(
                f"its member {member.orig_filename!r} has a name that leaves the zip: do not trust it"
            )
        if not name.lower().endswith(".roi") or name.startswith("__MACOSX/"):
            continue
        if member.flag_bits & 1:
            raise UnsupportedFormatError(
                f"its member {name!r} is encrypted; unpack it with its password first"
            )
        total += member.file_size
        if member.file_size > MAX_REGION_BYTES or total > MAX_ZIP_BYTES:
            raise CorruptFileError(
                f"its member {name!r} unpacks to {member.file_size} bytes, all so far to {total}: at most "
                f"{MAX_REGION_BYTES} and {MAX_ZIP_BYTES} are read"
            )
        yield member


def _names(rois: list[ROI]) -> Iterator[str]:
    """A name for each that no other has, in upper or lower case, and that is a file's on every system."""
    used: set[str] = set()
    numbers: dict[str, int] = {}
    for index, roi in enumerate(rois, start=1):
        given = roi.properties.get("name")
        text = _BAD_IN_NAMES.sub("_", given).strip(". ")[:100] if isinstance(given, str) else ""
        if not text:
            y, x = roi.centroid
            text = f"{index:04d}-{max(round(y), 0):04d}-{max(round(x), 0):04d}"
        elif _DEVICES.fullmatch(text):
            text = f"_{text}"
        name = text
        while name.casefold() in used:
            numbers[text] = numbers.get(text, 1) + 1
            name = f"{text}-{numbers[text]}"
        used.add(name.casefold())
        yield name


class _Bounded:
    """A file that refuses to be read in pieces too large to be a table of contents."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.seek, self.tell = stream.seek, stream.tell
        self.closed = False

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if size > MAX_READ:
            raise CorruptFileError(
                f"a zip with a table of contents of {size} bytes: at most {MAX_READ} are read"
            )
        data = self._stream.read(MAX_READ + 1 if size < 0 else size)
        if len(data) > MAX_READ:
            raise CorruptFileError(f"a zip with an ending of more than {MAX_READ} bytes")
        return data
