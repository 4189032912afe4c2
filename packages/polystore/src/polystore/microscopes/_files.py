"""The files of one plate: each folder is listed once, each file opened when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from polystore._paths import join, natural_key
from polystore.abc import DataSource, Entry, SupportsOpen, VirtualBackend
from polystore.errors import StorageError, UnsupportedFormatError
from polystore.plate import PlateNote

if TYPE_CHECKING:
    from polystore.filemanager import FileManager

__all__ = ["Folder", "PlateFiles"]

T = TypeVar("T")

GLANCE_FOLDERS = 24
"""Folders looked into before a format is decided on: a TimePoint with its ZSteps, or a row of wells."""

GLANCE_NAMES = 200
"""File names looked at before a format is decided on."""


@dataclass(frozen=True, slots=True)
class Folder:
    """What stands directly in one folder of a plate.

    Parameters
    ----------
    path
        Relative to the plate, ``/`` separates; empty for the plate itself.
    folders
        Names of folders to look into (no links, nothing hidden, no zarr stores), in natural order.
    files
        Names of files, sorted.
    """

    path: str
    folders: tuple[str, ...]
    files: tuple[str, ...]


class PlateFiles:
    """A plate's folder in some store. Remembers what it listed, so nothing is listed twice.

    Picklable, without what it remembers.

    Parameters
    ----------
    root
        The plate as the caller named it.
    filemanager, backend
        Where it lies.
    """

    def __init__(self, root: str, filemanager: FileManager, backend: str) -> None:
        self.root = root
        self.filemanager = filemanager
        self.backend = backend
        self.plate_name: str | None = None
        """The plate's name as its files state it, once they were listed."""
        self.acquisitions: dict[str, str] = {}
        """Folder of an acquisition to its name, where the plate was taken several times."""
        self.notes: list[PlateNote] = []
        """What was met on the way and did not stop it."""
        self._folders: dict[str, Folder] = {}
        self._names: list[str] | None = None
        self._failed: set[str] = set()
        self._read: dict[tuple[str, object], Any] = {}

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.root, self.filemanager, self.backend)

    def folder(self, path: str) -> Folder:
        """What stands in a folder of the plate; raises as `DataSource.scan`."""
        known = self._folders.get(path)
        if known is None:
            entries = self._entries(path)
            links = [relative(path, entry.name) for entry in entries if entry.is_folder and entry.is_link]
            if links:
                text = f"links to folders are not followed: {', '.join(links)}; open what they point to"
                self.notes.append(PlateNote("folders", text, tuple(links)))
            folders = [entry.name for entry in entries if entry.is_folder and not entry.is_link]
            files = [entry.name for entry in entries if not entry.is_folder]
            known = self._folders[path] = Folder(
                path,
                tuple(sorted((name for name in folders if _is_looked_into(name)), key=natural_key)),
                tuple(sorted(name for name in files if not name.startswith("."))),
            )
        return known

    def _entries(self, path: str) -> list[Entry]:
        store = self.filemanager.backend(self.backend)
        if isinstance(store, VirtualBackend) and not isinstance(store, DataSource):
            return self._made(store, path)
        return list(store.scan(self.full(path)))

    def _made(self, store: VirtualBackend, path: str) -> list[Entry]:
        """What stands in a folder of a store that only makes names: it is asked once for all of them."""
        if self._names is None:
            top = self.root.rstrip("/") + "/"
            self._names = [name.removeprefix(top) for name in store.list_files(self.root)]
        prefix = f"{path}/" if path else ""
        here = [name.removeprefix(prefix) for name in self._names if name.startswith(prefix)]
        return [Entry(name, is_folder) for name, is_folder in {(n.partition("/")[0], "/" in n) for n in here}]

    def walk(self) -> Iterator[Folder]:
        """Every folder from the plate down, parents first. One that cannot be listed is noted and left out."""
        waiting = [""]
        while waiting:
            path = waiting.pop()
            try:
                folder = self.folder(path)
            except StorageError as exc:
                if not path:
                    raise
                if path not in self._failed:
                    self._failed.add(path)
                    self.notes.append(PlateNote("unreadable", f"folder left out: {exc}", (path,)))
                continue
            yield folder
            waiting.extend(relative(path, name) for name in reversed(folder.folders))

    def glance(self) -> tuple[Folder, ...]:
        """The folders of the plate level by level, until enough names of files were seen to tell its format."""
        seen: list[Folder] = []
        waiting = [""]
        names = 0
        while waiting and len(seen) < GLANCE_FOLDERS and names < GLANCE_NAMES:
            path = waiting.pop(0)
            try:
                folder = self.folder(path)
            except StorageError:
                if not path:
                    raise
                continue  # noted when the plate is walked
            seen.append(folder)
            names += len(folder.files)
            waiting.extend(relative(path, name) for name in folder.folders)
        return tuple(seen)

    def full(self, path: str) -> str:
        """The path the backend knows a relative one by."""
        return join(self.root, path) if path else self.root

    def open(self, path: str) -> BinaryIO:
        """The bytes of a file, to be closed by the caller.

        Raises
        ------
        UnsupportedFormatError
            This store gives no bytes.
        StorageError
            The file cannot be opened.
        """
        source = self.filemanager.backend(self.backend)
        if not isinstance(source, SupportsOpen):
            raise UnsupportedFormatError(
                f"backend {self.backend!r} gives no bytes of {self.full(path)}: only what its name says is known"
            )
        return source.open_binary(self.full(path))

    def read(self, path: str, reader: Callable[[BinaryIO, str], T]) -> T | None:
        """What ``reader(stream, path)`` makes of a file, or None and a note when it cannot be read.

        Asked again for the same file and reader it answers from memory: a file is opened once.
        """
        known = (path, reader)
        if known not in self._read:
            try:
                with self.open(path) as stream:
                    self._read[known] = reader(stream, self.full(path))
            except OSError as exc:  # ours, and what a drive may say in the middle of a file
                self._read[known] = None
                text = (
                    str(exc) if isinstance(exc, StorageError) else f"{self.full(path)} cannot be read: {exc}"
                )
                self.notes.append(PlateNote("unreadable", text, (path,)))
        found: T | None = self._read[known]
        return found

    def find(self, *endings: str) -> list[str]:
        """Paths of the files whose names end so (in lower case), folder by folder."""
        return [
            relative(folder.path, name)
            for folder in self.walk()
            for name in folder.files
            if name.lower().endswith(endings)
        ]


def relative(folder: str, name: str) -> str:
    """The path of something in a folder of a plate."""
    return f"{folder}/{name}" if folder else name


def _is_looked_into(name: str) -> bool:
    return not name.startswith((".", "@", "$")) and not name.lower().endswith(".zarr")
