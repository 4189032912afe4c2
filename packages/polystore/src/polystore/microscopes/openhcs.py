"""OpenHCS names: ``A01_s001_z000_c000_t000.tif``, ``A01_s001_w1_z003_t001.tif``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from polystore.components import ImageKey
from polystore.constants import Backend
from polystore.microscopes.filename_parser import FilenameParser, ParsedName, split_suffix
from polystore.microscopes.microscope_base import MetadataHandler, ParsedNamesHandler, Plate

if TYPE_CHECKING:
    from polystore.filemanager import FileManager
    from polystore.microscopes._files import PlateFiles
    from polystore.plate import PlaneRef, PlateInfo

__all__ = ["OpenHCSHandler", "OpenHCSMetadata", "OpenHCSParser"]

_NAME = re.compile(
    r"(?P<well>[A-Z]{1,2}[0-9]{1,3})"
    r"(?P<components>(?:_(?:s|z|t|w|ch|c)[0-9]{1,9})+)"
    r"(?:_(?P<extra>[A-Za-z][A-Za-z0-9_.-]*))?",
    re.ASCII,
)
_COMPONENT = re.compile(r"_(s|z|t|w|ch|c)([0-9]+)", re.ASCII)
_MEANS = {"s": "field", "z": "z", "t": "t", "w": "channel", "ch": "channel", "c": "channel"}


class OpenHCSParser(FilenameParser):
    """A well, then site, channel (w or c), z and t in any order, then perhaps a word.

    The word is what a pipeline adds to what it makes of an image: ``A01_s001_w1_labels.tif``,
    ``A01_s001_w1_rois.json``.
    """

    name = "openhcs"

    def parse_filename(self, name: str) -> ParsedName | None:
        """The components of such a name, else None (also when one stands twice)."""
        match = _NAME.fullmatch(split_suffix(name)[0])
        if match is None:
            return None
        components: dict[str, str | int] = {"well": match["well"]}
        for letter, digits in _COMPONENT.findall(match["components"]):
            if components.setdefault(_MEANS[letter], int(digits)) != int(digits):
                return None
        extra = match["extra"] or ""
        return ParsedName(ImageKey.of(**components), self.name, extra, thumbnail=extra.startswith("thumb"))


class OpenHCSMetadata(MetadataHandler):
    """Reads ``openhcs_metadata.json``; opens no image."""

    def read(self, files: PlateFiles, planes: Sequence[PlaneRef]) -> PlateInfo:
        """What it says of the folder the images are in; without one, nothing."""
        from polystore.microscopes._openhcs import read_info

        return read_info(files)


class OpenHCSHandler(ParsedNamesHandler):
    """Plates an OpenHCS pipeline wrote or prepared: the backend they are read from is what their metadata say."""

    _microscope_type = "openhcs"
    metadata_handler = OpenHCSMetadata
    parser = OpenHCSParser()
    looks_for = "images such as A01_s001_w1_z001_t001.tif, or openhcs_metadata.json"
    markers = ("openhcs_metadata.json",)

    @property
    def compatible_backends(self) -> Sequence[Backend]:
        """Disk, zarr, or a virtual workspace."""
        return (Backend.DISK, Backend.ZARR, Backend.VIRTUAL_WORKSPACE)

    def get_primary_backend(self, plate_path: Plate, filemanager: FileManager) -> str:
        """The backend the plate is in, by its metadata and by what is there; disk when nothing says otherwise."""
        from polystore.microscopes._openhcs import detect_backend

        return detect_backend(plate_path, filemanager)

    def find_planes(self, files: PlateFiles) -> list[PlaneRef]:
        """Those in the folder the metadata call the main one; without metadata, all there are."""
        from polystore.microscopes._openhcs import find_planes

        return find_planes(files, self)
