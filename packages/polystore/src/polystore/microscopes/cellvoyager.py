"""Yokogawa CellVoyager: ``Plate_B03_T0001F001L01A01Z01C01.tif``, and the files beside it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from polystore.components import ImageKey
from polystore.microscopes.filename_parser import FilenameParser, ParsedName
from polystore.microscopes.microscope_base import MetadataHandler, ParsedNamesHandler

if TYPE_CHECKING:
    from polystore.microscopes._files import Folder, PlateFiles
    from polystore.plate import PlaneRef, PlateInfo

__all__ = ["CellVoyagerHandler", "CellVoyagerMetadata", "CellVoyagerParser"]

# T time point, F field, L time line, A action, Z plane, C channel
_NAME = re.compile(
    r"(?P<plate>.+)_(?P<well>[A-Z]{1,2}[0-9]{2,3})"
    r"_T(?P<t>[0-9]{4,6})F(?P<field>[0-9]{3,5})L[0-9]{2}A[0-9]{2}Z(?P<z>[0-9]{2,5})C(?P<channel>[0-9]{2})"
    r"\.(?i:tiff?|png)",
    re.ASCII,
)
# Dark and shading images of the cameras, which lie beside the plate's images.
_CORRECTION = re.compile(r"(?:DC|SC)_.+\.(?i:tiff?|png)", re.ASCII)


class CellVoyagerParser(FilenameParser):
    """Names as CV7000 and CV8000 write them."""

    name = "cellvoyager"

    def parse_filename(self, name: str) -> ParsedName | None:
        """The components of such a name, else None."""
        match = _NAME.fullmatch(name)
        return None if match is None else ParsedName(ImageKey.of(**match.groupdict()), self.name)


class CellVoyagerMetadata(MetadataHandler):
    """Reads ``MeasurementData.mlf``, ``MeasurementDetail.mrf``, the ``.mes`` and the ``.wpi``; opens no image."""

    def read(self, files: PlateFiles, planes: Sequence[PlaneRef]) -> PlateInfo:
        """What they say; each may be absent."""
        from polystore.microscopes._cellvoyager import read_info

        return read_info(files)


class CellVoyagerHandler(ParsedNamesHandler):
    """Plates of Yokogawa CellVoyager."""

    _microscope_type = "cellvoyager"
    metadata_handler = CellVoyagerMetadata
    parser = CellVoyagerParser()
    looks_for = "images such as Plate_B03_T0001F001L01A01Z01C01.tif, or MeasurementData.mlf"
    markers = ("measurementdata.mlf", "measurementdetail.mrf")

    def parse_filename(self, filename: str) -> ParsedName | None:
        """As `CellVoyagerParser.parse_filename`; correction images of the cameras are told apart."""
        if _CORRECTION.fullmatch(filename):
            return ParsedName(ImageKey(), "cellvoyager", extra="correction")
        return super().parse_filename(filename)

    def recognise(self, folders: Sequence[Folder]) -> int:
        """By its markers and names, but not by correction images alone."""
        found = super().recognise(folders)
        if found == 1 and not any(
            self.parser.parse_filename(name) for folder in folders for name in folder.files
        ):
            return 0
        return found

    def find_planes(self, files: PlateFiles) -> list[PlaneRef]:
        """By the ``.mlf`` where it lists a file, else by its name."""
        from polystore.microscopes._cellvoyager import listed
        from polystore.microscopes._listing import planes_by_name

        return planes_by_name(files, self, listed(files))

    def expected_keys(self, files: PlateFiles, planes: Sequence[PlaneRef]) -> Sequence[ImageKey] | None:
        """Every plane of the ``.mlf``, those the instrument failed to take included; without one it is not known."""
        from polystore.microscopes._cellvoyager import expected_keys

        return expected_keys(files)
