"""What ``openhcs_metadata.json`` says: which folder holds the images, in which backend, names and pixel size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

from polystore._paths import join
from polystore.components import Component, Value, canonical
from polystore.constants import Backend
from polystore.errors import ComponentError, CorruptFileError, NotFoundError, StorageError
from polystore.microscopes._files import PlateFiles
from polystore.microscopes._listing import planes_by_name
from polystore.microscopes.microscope_base import plate_path
from polystore.plate import ChannelInfo, PlaneRef, PlateIndex, PlateInfo, PlateNote

if TYPE_CHECKING:
    from polystore.filemanager import FileManager
    from polystore.microscopes.microscope_base import MicroscopeHandler, Plate

__all__ = ["detect_backend", "find_planes", "read_info"]

FILE_NAME = "openhcs_metadata.json"
MAX_BYTES = 1 << 28
"""Largest file read: it lists every image of every folder."""


@dataclass(frozen=True, slots=True)
class Part:
    """What the metadata say of one folder of a plate.

    Parameters
    ----------
    folder
        Relative to the plate, empty for the plate itself.
    is_main
        Whether it holds the images a pipeline starts from.
    backends
        Names of the backends it is in.
    mapped
        Whether its images are names for files elsewhere.
    """

    folder: str
    is_main: bool = False
    backends: tuple[str, ...] = ()
    mapped: bool = False
    channels: Mapping[Value, str | None] = field(default_factory=dict)
    pixel_um: float | None = None
    plate_name: str | None = None
    acquired: str | None = None
    microscope: str | None = None


def read_parts(stream: BinaryIO, path: str) -> tuple[Part, ...]:
    """The folders of a plate, in the order of the file.

    Raises
    ------
    CorruptFileError
        No JSON, or a value of the wrong kind; the text names the file and where.
    """
    import json

    content = stream.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise CorruptFileError(f"{path} is larger than {MAX_BYTES} bytes")
    try:
        value = json.loads(content)
    except json.JSONDecodeError as exc:
        raise CorruptFileError(f"{path}, line {exc.lineno}: no JSON: {exc.msg}") from exc
    except (UnicodeDecodeError, RecursionError) as exc:
        raise CorruptFileError(f"{path}: no JSON: {exc}") from exc
    if not isinstance(value, dict):
        raise CorruptFileError(f"{path}: an object is needed, not a {type(value).__name__}")
    folders = value.get("subdirectories")
    if folders is None:
        return (_part(path, "", value),)  # the older form: one folder, not named
    if not isinstance(folders, dict) or not all(isinstance(part, dict) for part in folders.values()):
        raise CorruptFileError(f"{path}: subdirectories has to hold an object for each folder")
    return tuple(_part(path, name, part) for name, part in folders.items())


def main_part(files: PlateFiles) -> Part | None:
    """The folder a pipeline would start from: the one marked, else the first; None without metadata."""
    parts = files.read(FILE_NAME, read_parts) if FILE_NAME in files.folder("").files else None
    if not parts:
        return None
    return next((part for part in parts if part.is_main), parts[0])


def find_planes(files: PlateFiles, handler: MicroscopeHandler) -> list[PlaneRef]:
    """The planes of the main folder; of the whole plate without metadata."""
    part = main_part(files)
    if part is None or not part.folder:
        return planes_by_name(files, handler)
    inside = PlateFiles(join(files.root, part.folder), files.filemanager, files.backend)
    try:
        planes = planes_by_name(inside, handler)
    except NotFoundError as exc:
        raise NotFoundError(
            f"{files.root}: its metadata name a folder {part.folder!r} that is not there"
        ) from exc
    others = [name for name in files.folder("").folders if name != part.folder.split("/")[0]]
    if others:
        text = f"images are those of {part.folder}, not of {', '.join(others)}"
        files.notes.append(PlateNote("folders", text, tuple(others)))
    files.plate_name, files.acquisitions = inside.plate_name, inside.acquisitions
    prefix = f"{part.folder}/"
    files.notes += [
        PlateNote(note.kind, note.text, tuple(prefix + path for path in note.paths)) for note in inside.notes
    ]
    return [PlaneRef(plane.key, prefix + plane.path, plane.page) for plane in planes]


def read_info(files: PlateFiles) -> PlateInfo:
    """What the metadata say of the main folder."""
    part = main_part(files)
    if part is None:
        return PlateInfo()
    return PlateInfo(
        name=part.plate_name,
        pixel_size_um=(part.pixel_um, part.pixel_um) if part.pixel_um else None,
        channels={value: ChannelInfo(name) for value, name in part.channels.items()},
        acquired=part.acquired,
        instrument=part.microscope,
    )


def detect_backend(plate: Plate, filemanager: FileManager) -> str:
    """The backend of the main folder by the metadata, else by what is there."""
    if isinstance(plate, PlateIndex):
        return plate.backend
    path = plate_path(plate)
    if any(part.lower().endswith(".zarr") for part in path.replace("\\", "/").split("/")):
        return Backend.ZARR.value
    files = PlateFiles(path, filemanager, Backend.DISK.value)
    try:
        part = main_part(files)
    except StorageError:
        part = None  # not on disk: looked for below
    if part is not None and part.mapped:
        return Backend.VIRTUAL_WORKSPACE.value
    if part is not None and part.backends and Backend.DISK.value not in part.backends:
        return part.backends[0]
    if not filemanager.exists(path, Backend.DISK) and filemanager.exists(path, Backend.MEMORY):
        return Backend.MEMORY.value
    return Backend.DISK.value


def _part(path: str, name: str, values: Mapping[str, Any]) -> Part:
    folder = "" if name in ("", ".") else name.replace("\\", "/").strip("/")
    if ".." in folder.split("/") or name.startswith("/"):
        raise CorruptFileError(f"{path}: subdirectory {name!r} leaves the plate")
    backends = values.get("available_backends") or {}
    channels = values.get("channels") or {}
    size = values.get("pixel_size")
    if not isinstance(backends, Mapping) or not isinstance(channels, Mapping):
        raise CorruptFileError(
            f"{path}: available_backends and channels of {name or '.'!r} have to be objects"
        )
    if size is not None and (not isinstance(size, int | float) or isinstance(size, bool) or not size > 0):
        raise CorruptFileError(f"{path}: pixel_size of {name or '.'!r} is {size!r}, not a positive number")
    try:
        named = {
            canonical(Component.CHANNEL, value): str(label) if label is not None else None
            for value, label in channels.items()
        }
    except ComponentError as exc:
        raise CorruptFileError(f"{path}: channels of {name or '.'!r}: {exc}") from exc
    return Part(
        folder,
        is_main=values.get("main") is True,
        backends=tuple(str(backend) for backend, there in backends.items() if there is True),
        mapped=bool(values.get("workspace_mapping")),
        channels=named,
        pixel_um=float(size) if size is not None else None,
        plate_name=_word(values.get("plate_name")),
        acquired=_word(values.get("acquisition_datetime")),
        microscope=_word(values.get("microscope_handler_name")),
    )


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
