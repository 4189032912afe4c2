"""Opera Phenix and Operetta (Harmony): ``r01c01f01p01-ch1sk1fk1fl1.tiff``, and what the index file says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from polystore.components import ImageKey, well_name
from polystore.errors import ComponentError
from polystore.microscopes.filename_parser import FilenameParser, ParsedName
from polystore.microscopes.microscope_base import MetadataHandler, ParsedNamesHandler

if TYPE_CHECKING:
    from polystore.microscopes._files import PlateFiles
    from polystore.plate import PlaneRef, PlateInfo

__all__ = ["OperaPhenixHandler", "OperaPhenixMetadata", "OperaPhenixParser"]

# row, column, field, plane - channel, sk (number of the time point), fk (flim), fl (flim)
_NAME = re.compile(
    r"r(?P<row>[0-9]{2,3})c(?P<column>[0-9]{2,3})f(?P<field>[0-9]{2,4})p(?P<z>[0-9]{2,4})"
    r"-ch(?P<channel>[0-9]{1,2})(?:sk(?P<t>[0-9]{1,6}))?(?:fk[0-9]+)?(?:fl[0-9]+)?"
    r"\.(?i:tiff?)",
    re.ASCII,
)


class OperaPhenixParser(FilenameParser):
    """Names as Harmony exports them; row and column become the name of the well."""

    name = "opera_phenix"

    def parse_filename(self, name: str) -> ParsedName | None:
        """The components of such a name, else None (also for a row or column 0)."""
        match = _NAME.fullmatch(name)
        if match is None:
            return None
        try:
            well = well_name(int(match["row"]), int(match["column"]))
        except ComponentError:
            return None
        key = ImageKey.of(
            well=well, field=match["field"], channel=match["channel"], z=match["z"], t=match["t"]
        )
        return ParsedName(key, self.name)


class OperaPhenixMetadata(MetadataHandler):
    """Reads ``Index.xml`` or ``Index.idx.xml`` as the versions of Harmony write them; opens no image."""

    def read(self, files: PlateFiles, planes: Sequence[PlaneRef]) -> PlateInfo:
        """What it says; without one, nothing."""
        from polystore.microscopes._harmony import read_info

        return read_info(files)


class OperaPhenixHandler(ParsedNamesHandler):
    """Plates of Opera Phenix and Operetta, as Harmony exports them."""

    _microscope_type = "opera_phenix"
    metadata_handler = OperaPhenixMetadata
    parser = OperaPhenixParser()
    looks_for = "images such as r01c01f01p01-ch1sk1fk1fl1.tiff, with Index.xml or Index.idx.xml beside them"
    markers = ("index.xml", "index.idx.xml")

    def find_planes(self, files: PlateFiles) -> list[PlaneRef]:
        """By the index file where it lists a file, else by its name; `UnsupportedFormatError` for several plates."""
        from polystore.microscopes._harmony import listed, plates
        from polystore.microscopes._listing import planes_by_name, several_plates

        if len(plates(files)) > 1:
            raise several_plates(files.root, plates(files))
        return planes_by_name(files, self, listed(files))

    def expected_keys(self, files: PlateFiles, planes: Sequence[PlaneRef]) -> Sequence[ImageKey] | None:
        """Every plane of the index file; without one it is not known."""
        from polystore.microscopes._harmony import expected_keys

        return expected_keys(files)
