"""What a microscope's handler can do: read names, find the planes of a plate, say where the plate belongs."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from polystore.components import Component, ImageKey, Value
from polystore.config import VFSConfig
from polystore.constants import Backend
from polystore.microscopes import HANDLERS
from polystore.microscopes.filename_parser import FilenameParser, ParsedName, split_suffix
from polystore.plate import PlaneRef, PlateIndex, PlateInfo
from polystore.registry import register_subclass

if TYPE_CHECKING:
    from polystore.filemanager import FileManager
    from polystore.microscopes._files import Folder, PlateFiles

__all__ = ["MetadataHandler", "MicroscopeHandler", "ParsedNamesHandler", "Plate", "plate_path"]

Plate: TypeAlias = "str | os.PathLike[str] | int | PlateIndex"
"""A plate as callers name it: its folder, its number in OMERO, or the index `open_plate` made of it."""


def plate_path(plate: Plate) -> str:
    """The path of a plate; a number is one in OMERO."""
    if isinstance(plate, PlateIndex):
        return plate.root
    return f"/omero/plate_{plate}" if isinstance(plate, int) else os.fspath(plate)


class MetadataHandler(ABC):
    """Reads what the files of one microscope say beyond their pixels. Stateless."""

    @abstractmethod
    def read(self, files: PlateFiles, planes: Sequence[PlaneRef]) -> PlateInfo:
        """What is known of a plate. A file that cannot be read is noted in ``files.notes`` and left out."""


class MicroscopeHandler(ABC):
    """One microscope's plates. Only `parse_filename` has to be written; the rest has defaults.

    A subclass that states `_microscope_type` is found under that name in
    `polystore.microscopes.MICROSCOPE_HANDLERS` as soon as it is defined; a distribution declares it under the
    entry-point group ``polystore.microscopes``, so that it is found without being imported.
    """

    _microscope_type: ClassVar[str | None] = None
    metadata_handler: ClassVar[type[MetadataHandler] | None] = None
    """Class that reads the metadata; None: what the names say is all there is."""

    looks_for: ClassVar[str] = "names it can parse"
    """What it needs to find in a folder, for the error when nothing fits."""

    markers: ClassVar[tuple[str, ...]] = ()
    """Names of files (in lower case; ``*`` at the beginning stands for anything) only this microscope writes."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        register_subclass(cls, HANDLERS, "_microscope_type")

    @property
    def microscope_type(self) -> str:
        """Its name, as in `PlateIndex.microscope`."""
        return self._microscope_type or type(self).__name__

    # -- names

    @abstractmethod
    def parse_filename(self, filename: str) -> ParsedName | ImageKey | Mapping[str, Any] | None:
        """What the name of one file (no folders) says, or None when it is not of this microscope.

        A mapping has components by any of their names: ``{"well": "A01", "site": 1, "z_index": None}``.
        """

    def parse_folders(self, folders: Sequence[str]) -> Mapping[str, Value]:
        """What the folders above a file (outermost first) say, component to value. By default nothing."""
        return {}

    def parse(self, filename: str) -> ParsedName | None:
        """As `parse_filename`, always as a `ParsedName`."""
        found = self.parse_filename(filename)
        if found is None or isinstance(found, ParsedName):
            return found
        if not isinstance(found, ImageKey):
            known = {name: value for name, value in found.items() if name not in ("extension", "suffix")}
            found = ImageKey.from_mapping(known)
        return ParsedName(found, self.microscope_type)

    # -- plates

    def recognise(self, folders: Sequence[Folder]) -> int:
        """How sure it is that these folders are a plate of its own: 0 not at all, 1 by its names, 2 by a marker."""
        names = [name for folder in folders for name in folder.files]
        if self.markers and any(_is_marker(name.lower(), self.markers) for name in names):
            return 2
        images = [name for name in names if split_suffix(name)[1].lower() in _PLANE_SUFFIXES][:_SAMPLE]
        known = sum(self.parse(name) is not None for name in images)
        return 1 if known and 2 * known >= len(images) else 0

    def find_planes(self, files: PlateFiles) -> list[PlaneRef]:
        """Where every plane lies, in any order; what is left out is noted in ``files.notes``."""
        from polystore.microscopes._listing import planes_by_name

        return planes_by_name(files, self)

    def read_info(self, files: PlateFiles, planes: Sequence[PlaneRef]) -> PlateInfo:
        """What the files say beyond their pixels; `planes` are those that were found."""
        return PlateInfo() if self.metadata_handler is None else self.metadata_handler().read(files, planes)

    def expected_keys(self, files: PlateFiles, planes: Sequence[PlaneRef]) -> Sequence[ImageKey] | None:
        """Every plane the plate's own files say there should be, or None when they do not say."""
        return None

    def choose(self, files: PlateFiles, paths: Sequence[str]) -> str:
        """Which of several files for one plane counts. By default the first by name."""
        return paths[0]

    # -- where a plate can be read and written

    @property
    def compatible_backends(self) -> Sequence[Backend]:
        """Where its plates can be read, the best first."""
        return (Backend.DISK,)

    def get_primary_backend(self, plate_path: Plate, filemanager: FileManager) -> str:
        """The backend to read this plate from: the first compatible one."""
        return str(self.compatible_backends[0])

    def get_materialization_backend(
        self, plate_path: Plate, filemanager: FileManager, config: VFSConfig | None = None
    ) -> str:
        """The backend to write this plate's results to: what is configured, by default disk."""
        return str((config or VFSConfig()).materialization_backend)

    # -- what a plate holds

    def index(self, plate: Plate, filemanager: FileManager | None = None) -> PlateIndex:
        """The plate's index; made once for each plate and kept by this handler."""
        if isinstance(plate, PlateIndex):
            return plate
        kept: dict[str, PlateIndex] = self.__dict__.setdefault("_indexes", {})
        path = plate_path(plate)
        if path not in kept:
            from polystore.microscopes import open_plate

            kept[path] = open_plate(path, filemanager or self.filemanager(), microscope=self)
        return kept[path]

    def filemanager(self) -> FileManager:
        """What finds the backends when a plate is asked about without one. By default a new one."""
        from polystore.filemanager import FileManager

        return FileManager()

    def get_channel_values(self, plate: Plate) -> dict[Value, str | None]:
        """The plate's channels, each with its name where the files say one."""
        index = self.index(plate)
        return {
            value: info.name if (info := index.info.channels.get(value)) is not None else None
            for value in index.channels
        }

    def get_z_index_values(self, plate: Plate) -> dict[Value, str | None]:
        """The plate's z steps; they have no names."""
        return self._values(plate, Component.Z)

    def get_timepoint_values(self, plate: Plate) -> dict[Value, str | None]:
        """The plate's time points; they have no names."""
        return self._values(plate, Component.T)

    def get_site_values(self, plate: Plate) -> dict[Value, str | None]:
        """The plate's fields; they have no names."""
        return self._values(plate, Component.FIELD)

    def get_well_values(self, plate: Plate) -> dict[Value, str | None]:
        """The plate's wells with images; they are named by their keys."""
        return self._values(plate, Component.WELL)

    def _values(self, plate: Plate, which: Component) -> dict[Value, str | None]:
        return dict.fromkeys(self.index(plate).values(which))


class ParsedNamesHandler(MicroscopeHandler):
    """A microscope whose names a `FilenameParser` reads."""

    parser: ClassVar[FilenameParser]
    """Reads them, for all handlers of the class."""

    def parse_filename(self, filename: str) -> ParsedName | None:
        """As the parser does."""
        return self.parser.parse_filename(filename)

    def parse_folders(self, folders: Sequence[str]) -> Mapping[str, Value]:
        """As the parser does."""
        return self.parser.parse_folders(folders)


_PLANE_SUFFIXES = frozenset({".tif", ".tiff", ".ome.tif", ".ome.tiff", ".png", ".npy", ".c01", ".dib"})
_SAMPLE = 64


def _is_marker(name: str, markers: tuple[str, ...]) -> bool:
    return any(name.endswith(marker[1:]) if marker.startswith("*") else name == marker for marker in markers)
