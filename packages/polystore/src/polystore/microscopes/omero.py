"""Plates in OMERO: names made from the plate's structure, ``A01_s001_z000_c000.tif`` under ``/omero/plate_123``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from polystore.constants import Backend
from polystore.microscopes.microscope_base import ParsedNamesHandler, Plate
from polystore.microscopes.openhcs import OpenHCSParser

if TYPE_CHECKING:
    from polystore.config import VFSConfig
    from polystore.filemanager import FileManager
    from polystore.microscopes._files import Folder

__all__ = ["OMEROHandler"]


class OMEROHandler(ParsedNamesHandler):
    """Plates in OMERO are read from and written to ``omero_local``, whatever is configured.

    Parameters
    ----------
    backend
        The live backend that holds the connection; without it, the one put in as
        ``storage_registry["omero_local"]``.
    """

    _microscope_type = "omero"
    parser = OpenHCSParser()
    looks_for = "a path such as /omero/plate_123, or the number of a plate"

    def __init__(self, backend: Any = None) -> None:
        self.backend = backend

    @property
    def compatible_backends(self) -> Sequence[Backend]:
        """OMERO only: there are no files to be read otherwise."""
        return (Backend.OMERO_LOCAL,)

    def get_materialization_backend(
        self, plate_path: Plate, filemanager: FileManager, config: VFSConfig | None = None
    ) -> str:
        """OMERO: results belong to the objects they were made from."""
        return str(Backend.OMERO_LOCAL)

    def filemanager(self) -> FileManager:
        """One that has this handler's own backend, where it was given one."""
        files = super().filemanager()
        if self.backend is not None:
            files.mount(Backend.OMERO_LOCAL, self.backend)
        return files

    def recognise(self, folders: Sequence[Folder]) -> int:
        """Never by names: files that look so are an OpenHCS plate."""
        return 0
