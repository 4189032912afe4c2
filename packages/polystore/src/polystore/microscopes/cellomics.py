"""Cellomics ArrayScan and CellInsight: ``Plate_A01f00d0.C01``, and what the headers of ``.C01`` and ``.DIB`` say."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from polystore.components import ImageKey
from polystore.microscopes.filename_parser import FilenameParser, ParsedName
from polystore.microscopes.microscope_base import MetadataHandler, ParsedNamesHandler

if TYPE_CHECKING:
    from polystore.microscopes._files import PlateFiles
    from polystore.plate import PlaneRef, PlateInfo

__all__ = ["CellomicsHandler", "CellomicsMetadata", "CellomicsParser"]

# <plate>_[i<interval>][t<time>]<well>f<field>d<dye>; fields and dyes count from 0. o<n> in the place of d is an
# overlay the instrument drew.
_NAME = re.compile(
    r"(?:(?P<plate>.+)_)?(?:i[0-9]+)?(?:t(?P<t>[0-9]{3,6}))?(?P<well>[A-Z]{1,2}[0-9]{2})"
    r"f(?P<field>[0-9]{2,4})(?P<what>[do])(?P<channel>[0-9]{1,2})\.(?i:c01|dib|tiff?)",
    re.ASCII,
)


class CellomicsParser(FilenameParser):
    """Names as Cellomics' software writes them; field and channel count from 0, as they do there."""

    name = "cellomics"

    def parse_filename(self, name: str) -> ParsedName | None:
        """The components of such a name, else None."""
        match = _NAME.fullmatch(name)
        if match is None:
            return None
        key = ImageKey.of(**{part: match[part] for part in ("plate", "well", "field", "channel", "t")})
        return ParsedName(key, self.name, extra="overlay" if match["what"] == "o" else "")


class CellomicsMetadata(MetadataHandler):
    """Reads the header of one image for each channel. The plate's ``.MDB`` is a database that is not read."""

    def read(self, files: PlateFiles, planes: Sequence[PlaneRef]) -> PlateInfo:
        """The size of a pixel and what the names say."""
        from polystore.microscopes._cellomics import read_info

        return read_info(files, planes)


class CellomicsHandler(ParsedNamesHandler):
    """Plates of Cellomics ArrayScan and CellInsight."""

    _microscope_type = "cellomics"
    metadata_handler = CellomicsMetadata
    parser = CellomicsParser()
    looks_for = "images such as Plate_A01f00d0.C01 (also .DIB, .TIF)"
    markers = ("*.c01",)
