"""The contracts of stores and sinks. Small on purpose: everything else stands on top of these few verbs.

* `DataSource`       something can be read and listed
* `DataSink`         something can be written to
* `StorageBackend`   both: a store; `polystore.testing.BackendTests` is its contract as tests
* `StreamingBackend` a sink that shows or forwards and keeps nothing
* `VirtualBackend`   names that are made from metadata, without a file system
* `SupportsLinks`    a store that can also keep names which only point at others
* `SupportsBytes`    a store that can also give and take a file as the bytes it is
* `SupportsPlates`   a store that keeps plates as such

A backend is a picklable description: it opens what it needs in the process that uses it. All methods may be
called from any thread. Paths are text or `os.PathLike`; answers are text.
"""

from __future__ import annotations

import errno
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, Literal, Protocol, runtime_checkable

from polystore._paths import StrPath, endings, join, matches, natural_key, natural_path_key, virtual_path
from polystore._subclasses import RegistersBackend
from polystore.errors import (
    AlreadyExistsError,
    BatchError,
    BatchLengthError,
    NotFoundError,
    PolystoreError,
    StorageError,
)

if TYPE_CHECKING:
    from polystore.plate import PlateIndex, PlateInfo

__all__ = [
    "DataSink", "DataSource", "Entry", "Kind", "StorageBackend", "StreamingBackend", "SupportsBytes", "SupportsLinks",
    "SupportsOpen", "SupportsPlate", "SupportsPlates", "VirtualBackend", "check_lengths", "check_target",
]  # fmt: skip

Kind = Literal["file", "folder"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing directly in a folder.

    Parameters
    ----------
    name
        Its name, without folders.
    is_folder
        Whether it is a folder (or a link to one).
    is_link
        Whether it only points elsewhere: `DataSource.walk` lists it and does not follow.
    """

    name: str
    is_folder: bool
    is_link: bool = False


class DataSource(RegistersBackend, ABC):
    """Something images, tables and texts are read from by path."""

    @abstractmethod
    def load(self, path: StrPath, **options: Any) -> Any:
        """The value stored at a path; who owns its memory, the backend says.

        Raises
        ------
        NotFoundError, NotAFileError
            Nothing there, or a folder.
        UnsupportedFormatError, CorruptFileError
            It cannot be read.
        """

    @abstractmethod
    def scan(self, folder: StrPath) -> Iterable[Entry]:
        """What stands directly in a folder, in any order.

        Raises
        ------
        NotFoundError, NotAFolderError
            Nothing there, or a file.
        """

    @abstractmethod
    def kind(self, path: StrPath) -> Kind | None:
        """``"file"``, ``"folder"``, or None when nothing is there."""

    def load_batch(self, paths: Sequence[StrPath], **options: Any) -> list[Any]:
        """The values of several paths, in order.

        Raises
        ------
        BatchError
            One could not be loaded; it names which.
        """
        values = []
        for index, path in enumerate(paths):
            try:
                values.append(self.load(path, **options))
            except (PolystoreError, OSError) as exc:
                raise _batch_error("load", index, len(paths), path, exc) from exc
        return values

    def exists(self, path: StrPath) -> bool:
        """Whether a file or folder is there."""
        return self.kind(path) is not None

    def is_file(self, path: StrPath) -> bool:
        """Whether a file is there."""
        return self.kind(path) == "file"

    def is_dir(self, path: StrPath) -> bool:
        """Whether a folder is there."""
        return self.kind(path) == "folder"

    def list_files(
        self,
        directory: StrPath,
        pattern: str | None = None,
        extensions: Iterable[str] | None = None,
        recursive: bool = False,
    ) -> list[str]:
        """Paths of the files in a folder, in natural order (``s2`` before ``s10``), folder by folder.

        Parameters
        ----------
        directory
            The folder; answers begin with it, spelled as here.
        pattern
            Shell pattern the file *name* has to fit: ``"*_w1*"``; upper and lower case differ.
        extensions
            Endings to keep, with or without dot, in any case: ``[".tif", "png"]``, or ``".tif"`` for one.
        recursive
            Whether to look into the folders below, too. Links to folders are not followed.

        Raises
        ------
        NotFoundError, NotAFolderError
            No such folder.
        """
        wanted = endings(extensions)
        if recursive:
            found = [
                join(folder, name)
                for folder, _, files in self.walk(directory)
                for name in files
                if matches(name, pattern, wanted)
            ]
            return sorted(found, key=natural_path_key)
        names = [entry.name for entry in self.scan(directory) if not entry.is_folder]
        names = [name for name in names if matches(name, pattern, wanted)]
        return [join(directory, name) for name in sorted(names, key=natural_key)]

    def list_dirs(self, directory: StrPath) -> list[str]:
        """Paths of the folders directly in a folder, in natural order; raises as `list_files`."""
        names = [entry.name for entry in self.scan(directory) if entry.is_folder]
        return [join(directory, name) for name in sorted(names, key=natural_key)]

    def find(self, directory: StrPath, pattern: str) -> list[str]:
        """Paths of all files below a folder whose name fits a shell pattern, in natural order."""
        return self.list_files(directory, pattern, recursive=True)

    def walk(self, directory: StrPath) -> Iterator[tuple[str, list[str], list[str]]]:
        """Each folder from the given one down, parents first: its path, names of its folders, names of its
        files.

        Names are in natural order. Links to folders are listed and not followed, so there are no loops.
        """
        entries = sorted(self.scan(directory), key=lambda entry: natural_key(entry.name))
        folders = [entry for entry in entries if entry.is_folder]
        names = [entry.name for entry in folders]
        yield os.fspath(directory), names, [entry.name for entry in entries if not entry.is_folder]
        for entry in folders:
            if not entry.is_link:
                yield from self.walk(join(directory, entry.name))


class DataSink(RegistersBackend, ABC):
    """Something named arrays are written to."""

    takes_context: ClassVar[bool] = True
    """Whether it is told where a batch belongs (step, components, viewer), beside what to write."""

    context_options: ClassVar[frozenset[str]] = frozenset()
    """Of what is said of a batch's place and show, the options that matter to a store nonetheless: ``kind``."""

    @abstractmethod
    def save_batch(self, data_list: Sequence[Any], file_paths: Sequence[StrPath], **options: Any) -> Any:
        """Write every item under its path, or raise an error that names the first that failed."""

    def save(self, data: Any, path: StrPath, **options: Any) -> Any:
        """Write one item: a batch of one."""
        return self.save_batch([data], [path], **options)


class StreamingBackend(DataSink):
    """A sink that shows or forwards what it gets and keeps nothing: viewers.

    What its `save_batch` returns says what became of the batch.
    """


class StorageBackend(DataSource, DataSink):
    """A store: what was saved under a path is loaded from it again.

    A save either stores the whole value or leaves what was there.
    """

    takes_context: ClassVar[bool] = False

    @abstractmethod
    def save(self, data: Any, path: StrPath, *, overwrite: bool = True, **options: Any) -> None:
        """Store a value; folders above it are made. All or nothing.

        Raises
        ------
        AlreadyExistsError
            Something is there and ``overwrite`` is false.
        NotAFileError, NotAFolderError
            A folder is there, or a file stands where a folder has to be.
        UnsupportedFormatError, UnsupportedArrayError
            The format cannot hold that value exactly.
        """

    @abstractmethod
    def delete(self, path: StrPath, *, recursive: bool = False) -> None:
        """Remove a file, an empty folder or, with ``recursive``, a folder with all that is in it.

        Raises
        ------
        NotFoundError
            Nothing there.
        StorageError
            The folder is not empty and ``recursive`` is false.
        """

    @abstractmethod
    def mkdir(self, path: StrPath) -> None:
        """Make a folder and those above it; one that is there already is fine.

        Raises
        ------
        NotAFolderError
            A file stands there or above.
        """

    def save_batch(self, data_list: Sequence[Any], file_paths: Sequence[StrPath], **options: Any) -> Any:
        """Store each value under its path, in order.

        Raises
        ------
        BatchLengthError
            Not as many paths as values; nothing was stored.
        BatchError
            One could not be stored: it names which, and those before it are stored.
        """
        check_lengths(data_list, file_paths)
        for index, (value, path) in enumerate(zip(data_list, file_paths, strict=True)):
            try:
                self.save(value, path, **options)
            except (PolystoreError, OSError) as exc:
                raise _batch_error("save", index, len(file_paths), path, exc) from exc

    def copy(self, source: StrPath, target: StrPath, *, overwrite: bool = False) -> None:
        """Copy a file, or a folder with all that is in it.

        Raises
        ------
        NotFoundError
            No source.
        AlreadyExistsError
            Something is at the target and ``overwrite`` is false, or it is a folder.
        """
        self._copy(source, target, self.check_transfer(source, target, overwrite=overwrite))

    def move(self, source: StrPath, target: StrPath, *, overwrite: bool = False) -> None:
        """Move a file or a folder; raises as `copy`."""
        self.copy(source, target, overwrite=overwrite)
        self.delete(source, recursive=True)

    def _copy(self, source: StrPath, target: StrPath, kind: Kind) -> None:
        if kind == "file":
            self.save(self.load(source), target)
            return
        entries = list(self.scan(source))
        self.mkdir(target)
        for entry in entries:
            below: Kind = "folder" if entry.is_folder else "file"
            self._copy(join(source, entry.name), join(target, entry.name), below)

    def check_transfer(self, source: StrPath, target: StrPath, *, overwrite: bool) -> Kind:
        """What a copy or move would carry, or its error before anything is touched. For backends."""
        kind = self.kind(source)
        if kind is None:
            raise NotFoundError(f"nothing to copy or move at {source!s}")
        first, second = virtual_path(source), virtual_path(target)
        if first == second or second.startswith(first.rstrip("/") + "/"):
            raise StorageError(f"{target!s} is {source!s} or in it; choose another", errno=errno.EINVAL)
        check_target(self, target, kind, overwrite=overwrite)
        return kind


class SupportsLinks(StorageBackend):
    """A store that can also keep names which only point at others, so that a tree is shown twice and kept once.

    A link is loaded as what it points to; deleting or replacing the link leaves that alone.
    """

    @abstractmethod
    def symlink(self, source: StrPath, target: StrPath, *, overwrite: bool = False) -> None:
        """Make ``target`` a link to ``source``; folders above it are made. All or nothing.

        Raises
        ------
        NotFoundError
            No source.
        AlreadyExistsError
            Something is at the target and ``overwrite`` is false, or it is a folder.
        """

    @abstractmethod
    def is_link(self, path: StrPath) -> bool:
        """Whether the path is a link, dangling ones too."""

    def mirror(self, source: StrPath, target: StrPath, *, overwrite: bool = False) -> int:
        """Rebuild a folder at another place, with a link for each file, and return how many links were made.

        Folders are made anew, so what is saved into the mirror does not reach the source. Links that stand
        there already from an earlier run stay as they are.

        Raises
        ------
        NotFoundError, NotAFolderError
            No such folder.
        AlreadyExistsError
            A file stands where a link belongs and ``overwrite`` is false.
        """
        first, second = virtual_path(source), virtual_path(target)
        if first == second or second.startswith(first.rstrip("/") + "/"):
            raise StorageError(f"{target!s} is {source!s} or in it; choose another", errno=errno.EINVAL)
        made = 0
        top = os.fspath(source)
        for folder, _, names in self.walk(source):
            below = folder[len(top) :].strip("/" + os.sep)
            place = join(target, below) if below else os.fspath(target)
            self.mkdir(place)
            for name in names:
                link = join(place, name)
                if not overwrite and self.is_link(link):
                    continue
                self.symlink(join(folder, name), link, overwrite=overwrite)
                made += 1
        return made


@runtime_checkable
class SupportsOpen(Protocol):
    """A store that gives the bytes of a file."""

    def open_binary(self, path: StrPath) -> BinaryIO:
        """The bytes of a file from the beginning, seekable, to be closed by the caller; raises as `DataSource.load`."""
        ...


@runtime_checkable
class SupportsBytes(SupportsOpen, Protocol):
    """A store whose files are bytes: one is carried to another such store exactly, whatever its format."""

    def write_bytes(self, data: bytes, path: StrPath, *, overwrite: bool = True) -> None:
        """Store bytes as a file, all or nothing; raises as `StorageBackend.save`."""
        ...


@runtime_checkable
class SupportsPlate(Protocol):
    """A store that lists a plate by itself: OME-Zarr, a virtual workspace, perhaps OMERO."""

    def plate(self, plate_path: StrPath, /) -> PlateIndex:
        """The planes of the plate at a path, and what is known of it; raises as `DataSource.scan`."""
        ...


@runtime_checkable
class SupportsPlates(SupportsPlate, Protocol):
    """A store that keeps plates as such: it also notes what is known of one."""

    def describe(self, plate_path: StrPath, info: PlateInfo) -> None:
        """Note what is known of the plate at a path."""
        ...


class VirtualBackend(RegistersBackend, ABC):
    """A store without a file system: it makes names from metadata instead of finding them.

    One that can also be read is a `DataSource` besides, one that can be written a `DataSink`.
    """

    @abstractmethod
    def list_files(self, directory: str) -> list[str]:
        """Paths of the files metadata says there are in a folder."""

    @abstractmethod
    def generate_filename(self, metadata: Mapping[str, Any]) -> str:
        """The name of the image with those components: ``{"well": "A01", "site": 1}`` to ``A01_s001...``."""


def check_lengths(data: Sequence[Any], paths: Sequence[StrPath]) -> None:
    """Return if there are as many paths as items.

    Raises
    ------
    BatchLengthError
        There are not.
    """
    if len(data) != len(paths):
        raise BatchLengthError(f"{len(data)} items, {len(paths)} paths: give one for each; nothing was done")


def check_target(store: DataSource, target: StrPath, kind: Kind, *, overwrite: bool) -> None:
    """Return if a file or folder may be put there.

    Raises
    ------
    AlreadyExistsError
        Something is there, and it is not a file to be replaced by a file.
    """
    there = store.kind(target)
    if there is not None and not (overwrite and kind == there == "file"):
        hint = "; pass overwrite=True to replace it" if kind == there == "file" else ""
        raise AlreadyExistsError(f"a {there} is already at {target!s}{hint}")


def _batch_error(verb: str, index: int, count: int, path: StrPath, exc: Exception) -> BatchError:
    done = f"the {index} before it are done" if index else "none is done"
    return BatchError(
        f"cannot {verb} item {index} of {count}, {path!s}: {exc} ({done})",
        index=index,
        done=index,
        errno=getattr(exc, "errno", None),
    )
