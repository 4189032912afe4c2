"""A store in the file system."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, BinaryIO

from polystore._atomic import atomic_write, is_temporary
from polystore._oserrors import translated
from polystore._paths import StrPath, below, check_path
from polystore.abc import Entry, Kind, SupportsLinks
from polystore.backends import _formats
from polystore.config import Settings
from polystore.errors import (
    AlreadyExistsError,
    NotAFileError,
    NotAFolderError,
    NotFoundError,
    StorageError,
    UnsafePathError,
)
from polystore.payload.arrays import is_array

__all__ = ["DiskBackend"]


class DiskBackend(SupportsLinks):
    """Files in the format of their suffix: TIFF, npy, npz, PNG, JPEG, CSV, TSV, JSON, text, regions.

    A file is written beside its place and moved there in one step, so a reader and a crash see the old or
    the new. An image whose path has no suffix is kept as ``.tif`` and found again under the path as given.
    Loaded arrays are new and the caller's. Thread-safe; picklable.

    Parameters
    ----------
    root
        None: paths are those of the file system, absolute ones are ordinary. A folder: every path is
        relative to it, and one that leaves it (absolute, with ``..``, or through a link) is refused.
    durable
        Whether a saved file is on the medium when `save` returns; by default ``POLYSTORE_DURABLE``, else
        False.
    """

    def __init__(self, root: StrPath | None = None, *, durable: bool | None = None) -> None:
        self.root = None if root is None else os.path.abspath(check_path(root))
        self.durable = Settings.from_env().durable if durable is None else durable

    def __repr__(self) -> str:
        return f"DiskBackend(root={self.root!r}, durable={self.durable!r})"

    def load(self, path: StrPath, **options: Any) -> Any:
        """The value in a file, read by its suffix; options are the format's (``page=`` of TIFF)."""
        real = self._existing(path)
        with translated("read", path), open(real, "rb") as stream:
            return _formats.read(stream, real, **options)

    def save(self, data: Any, path: StrPath, *, overwrite: bool = True, **options: Any) -> None:
        """Write a value in the format of the path's suffix; options are the format's (``compression=`` of TIFF)."""
        real = self._real(path)
        if not _names_a_file(path):
            raise NotAFileError(f"{path!s} names a folder; give the name of a file")
        if not _formats.has_suffix(real) and is_array(data):
            real += _formats.DEFAULT_IMAGE_SUFFIX
        _formats.suffix_of(real)  # refuse an unknown format before anything is made
        with translated("write", path):
            if os.path.isdir(real):
                raise NotAFileError(f"a folder is at {path!s}; choose another name")
            if not overwrite and os.path.lexists(real):
                raise FileExistsError
            self._make_folders(os.path.dirname(real))
            with atomic_write(real, overwrite=overwrite, durable=self.durable) as stream:
                _formats.write(stream, real, data, **options)

    def scan(self, folder: StrPath) -> Iterable[Entry]:
        """What stands directly in a folder; files that are just being written are left out."""
        real = self._real(folder)
        with translated("list", folder), os.scandir(real) as entries:
            return [
                Entry(entry.name, entry.is_dir(), entry.is_symlink())
                for entry in entries
                if not is_temporary(entry.name)
            ]

    def kind(self, path: StrPath) -> Kind | None:
        """``"file"``, ``"folder"``, or None when nothing (or a dangling link) is there."""
        if self.root is None and _ELSEWHERE.match(check_path(path)):
            return None
        real = self._existing(path)
        with translated("look at", path):
            if os.path.isdir(real):
                return "folder"
            return "file" if os.path.exists(real) else None

    def mkdir(self, path: StrPath) -> None:
        """Make a folder and those above it."""
        real = self._real(path)
        with translated("make", path):
            self._make_folders(real)

    def delete(self, path: StrPath, *, recursive: bool = False) -> None:
        """Remove a file, a link (not what it points to), or a folder."""
        real = self._existing(path)
        if real == self.root or os.path.dirname(os.path.abspath(real)) == os.path.abspath(real):
            raise UnsafePathError(f"{path!s} is the top folder; delete what is in it")
        with translated("delete", path):
            if os.path.islink(real) or not os.path.isdir(real):
                os.unlink(real)
            elif recursive:
                shutil.rmtree(real)
            else:
                os.rmdir(real)

    def copy(self, source: StrPath, target: StrPath, *, overwrite: bool = False) -> None:
        """Copy the bytes of a file, or a folder with all that is in it; links are followed."""
        first, second = self._pair(source, target, overwrite)
        with translated("copy", f"{source!s} to {target!s}"):
            self._make_folders(os.path.dirname(second))
            if os.path.isdir(first):
                shutil.copytree(first, second, copy_function=self._copy_file)
            else:
                self._copy_file(first, second, overwrite=overwrite)

    def move(self, source: StrPath, target: StrPath, *, overwrite: bool = False) -> None:
        """Rename a file or folder; across file systems it is copied, then removed."""
        first, second = self._pair(source, target, overwrite)
        with translated("move", f"{source!s} to {target!s}"):
            self._make_folders(os.path.dirname(second))
            try:
                os.replace(first, second)
            except OSError as exc:
                if exc.errno != errno.EXDEV:
                    raise
                self.copy(source, target, overwrite=overwrite)
                self.delete(source, recursive=True)

    def symlink(self, source: StrPath, target: StrPath, *, overwrite: bool = False) -> None:
        """Make a link to a file or folder: absolute, or below a root relative, so that the root can be moved."""
        first, second = self._existing(source), self._real(target)
        if not os.path.exists(first):
            raise NotFoundError(f"nothing to link to at {source!s}")
        if not os.path.isdir(second) and not os.path.isdir(first) and not _formats.has_suffix(second):
            second += os.path.splitext(first)[1]
        folder = os.path.dirname(second)
        with translated("link", f"{target!s} to {source!s}"):
            if os.path.isdir(second) and not os.path.islink(second):
                raise AlreadyExistsError(f"a folder is already at {target!s}")
            if not overwrite and os.path.lexists(second):
                raise FileExistsError
            self._make_folders(folder)
            place = os.path.relpath(first, os.path.realpath(folder)) if self.root else os.path.abspath(first)
            _place_link(place, second, overwrite)

    def is_link(self, path: StrPath) -> bool:
        """Whether the path is a symbolic link, dangling ones too."""
        return os.path.islink(self._existing(path))

    def open_binary(self, path: StrPath) -> BinaryIO:
        """The bytes of a file from the beginning; the caller closes it."""
        with translated("read", path):
            return open(self._existing(path), "rb")  # the caller's from here on

    def write_bytes(self, data: bytes, path: StrPath, *, overwrite: bool = True) -> None:
        """Store bytes under exactly that path, whatever its suffix."""
        real = self._real(path)
        if not _names_a_file(path):
            raise NotAFileError(f"{path!s} names a folder; give the name of a file")
        with translated("write", path):
            if os.path.isdir(real):
                raise NotAFileError(f"a folder is at {path!s}; choose another name")
            self._make_folders(os.path.dirname(real))
            with atomic_write(real, overwrite=overwrite, durable=self.durable) as stream:
                stream.write(data)

    def _pair(self, source: StrPath, target: StrPath, overwrite: bool) -> tuple[str, str]:
        self.check_transfer(source, target, overwrite=overwrite)
        first, second = self._existing(source), self._real(target)
        if not os.path.isdir(first) and _names_a_file(target) and not _formats.has_suffix(second):
            second += os.path.splitext(first)[1]
        inside, outside = os.path.realpath(second), os.path.realpath(first)
        if inside == outside or inside.startswith(outside + os.sep):
            raise StorageError(f"{target!s} is {source!s} or in it; choose another", errno=errno.EINVAL)
        return first, second

    def _copy_file(self, source: str, target: str, *, overwrite: bool = True) -> str:
        with (
            open(source, "rb") as reader,
            atomic_write(target, overwrite=overwrite, durable=self.durable) as writer,
        ):
            shutil.copyfileobj(reader, writer, 1 << 20)
        return target

    def _existing(self, path: StrPath) -> str:
        """Where a path leads, with the suffix an image got when it was saved without one."""
        real = self._real(path)
        if _names_a_file(path) and not _formats.has_suffix(real) and not os.path.lexists(real):
            image = real + _formats.DEFAULT_IMAGE_SUFFIX
            if os.path.lexists(image):
                return image
        return real

    def _real(self, path: StrPath) -> str:
        text = check_path(path)
        if self.root is not None:
            return below(self.root, text)
        _check_is_here(text)
        return text

    def _make_folders(self, folder: str) -> None:
        try:
            os.makedirs(folder or ".", exist_ok=True)
        except FileExistsError as exc:  # makedirs says so when the last one is a file
            raise NotAFolderError(f"{folder} is a file; choose another folder") from exc


_ELSEWHERE = re.compile(
    r"(/omero/(?:plate|screen|project|dataset)_[0-9]+(?=/|$))|([A-Za-z][A-Za-z0-9+.-]+)://"
)


def _check_is_here(path: str) -> None:
    """Refuse what another backend knows: it would become a folder of that name here."""
    match = _ELSEWHERE.match(path)
    if match is None or (match[1] and os.path.exists(match[1])):
        return
    if match[1]:
        raise UnsafePathError(f"{path} is in OMERO and not on disk: use backend='omero_local'")
    if match[2].lower() == "file":
        raise UnsafePathError(f"{path} is a url: give the path behind file://")
    raise UnsafePathError(
        f"{path} is a url and not a path on disk: use backend='cloud', or 'zarr' for a plate"
    )


def _place_link(source: str, target: str, overwrite: bool) -> None:
    if not overwrite:
        os.symlink(source, target)  # fails when something is there, in one step
        return
    temporary = os.path.join(os.path.dirname(target), f".polystore-{os.getpid()}-{secrets.token_hex(8)}.tmp")
    os.symlink(source, temporary)
    try:
        os.replace(temporary, target)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)


def _names_a_file(path: StrPath) -> bool:
    """Whether a path ends in a name, so that a suffix added to it belongs to that name and not to a folder's."""
    return os.path.basename(os.fspath(path)) not in ("", os.curdir, os.pardir)
