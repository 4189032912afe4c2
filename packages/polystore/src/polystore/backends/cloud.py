"""A store in a bucket: S3 and what speaks it, Google Cloud Storage, Azure."""

from __future__ import annotations

import errno
import io
import os
import posixpath
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, BinaryIO

from polystore._locks import ForkSafeLock
from polystore._paths import StrPath, check_key, check_path
from polystore.abc import Entry, Kind, StorageBackend, _batch_error, check_lengths
from polystore.backends import _formats
from polystore.backends._at_once import THREADS, load_at_once
from polystore.errors import (
    AlreadyExistsError,
    NotAFileError,
    NotAFolderError,
    NotFoundError,
    PolystoreError,
    StorageError,
    UnsafePathError,
)
from polystore.objects import CloudObjects
from polystore.objects._place import is_url, split_url
from polystore.payload.arrays import is_array

__all__ = ["CloudBackend"]

_MARKER = ".polystore-folder"
"""The object that makes a folder of a prefix nothing else is below. Listings leave it out."""

_AT_ONCE = 2 * THREADS
_PAGE = 1000
_MOST_FOLDERS = 10_000


class CloudBackend(StorageBackend):
    """Objects in the format of their suffix, the same as on disk: TIFF, npy, npz, PNG, CSV, JSON, text, ROIs.

    An object is replaced in one step; of a batch several are on their way at once. A bucket knows no folders:
    one is there as long as something is below it, and one that is made empty, or becomes so, is an object named
    ``.polystore-folder``. A save asks whether a folder stands in its place, so it is two requests.

    Picklable, without credentials; thread-safe; opened in the process that uses it.

    Parameters
    ----------
    root
        ``s3://bucket/prefix``: paths are relative to it and cannot leave it; urls below it are taken, too.
        None: paths are urls.
    options
        How to reach the server, as of `polystore.objects.CloudObjects`: ``endpoint=``, ``profile=``. By default
        what the environment says.
    """

    _libraries = ("obstore",)

    def __init__(self, root: StrPath | None = None, **options: Any) -> None:
        self.root = None if root is None else check_path(root)
        self.options = options
        if root is not None:
            CloudObjects(self.root or "", **options)  # refuse what is no url now, not at the first image
        self._setup()

    def _setup(self) -> None:
        self._lock = ForkSafeLock()
        self._stores: dict[str, CloudObjects] = {}
        self._folders: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        return {"root": self.root, "options": self.options}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._setup()

    def __repr__(self) -> str:
        return f"CloudBackend(root={self.root!r})"

    def load(self, path: StrPath, **options: Any) -> Any:
        """The value in an object, read by its suffix; options are the format's (``page=`` of TIFF)."""
        store, key = self._existing(path)
        return _formats.read(io.BytesIO(self._read(store, key, path)), key, **options)

    def load_batch(self, paths: Sequence[StrPath], **options: Any) -> list[Any]:
        """The values of several paths, in order, several on their way at once."""
        return load_at_once(self.load, paths, options)

    def save(self, data: Any, path: StrPath, *, overwrite: bool = True, **options: Any) -> None:
        """Write a value in the format of the path's suffix; options are the format's (``compression=`` of TIFF)."""
        self._encoded(data, path, overwrite, options)()

    def save_batch(self, data_list: Sequence[Any], file_paths: Sequence[StrPath], **options: Any) -> None:
        """Store each value under its path, several on their way at once; raises as every store."""
        check_lengths(data_list, file_paths)
        if not options.get("overwrite", True) or len({os.fspath(path) for path in file_paths}) < len(
            file_paths
        ):
            super().save_batch(data_list, file_paths, **options)  # where the order matters
            return
        overwrite = options.pop("overwrite", True)
        count = len(file_paths)
        going: deque[tuple[int, Future[None]]] = deque()
        problems: dict[int, Exception] = {}

        def finish(most: int) -> None:
            while len(going) > most:
                index, future = going.popleft()
                exc = future.exception()
                if exc is not None:
                    if not isinstance(exc, PolystoreError | OSError):
                        raise exc
                    problems[index] = exc

        with ThreadPoolExecutor(THREADS) as pool:
            for index, (value, path) in enumerate(zip(data_list, file_paths, strict=True)):
                finish(_AT_ONCE - 1)
                if problems:
                    break
                try:
                    upload = self._encoded(value, path, overwrite, options)
                except (PolystoreError, OSError) as exc:
                    problems[index] = exc
                    break
                going.append((index, pool.submit(upload)))
            finish(0)
        if problems:
            first = min(problems)
            cause = problems[first]
            raise _batch_error("save", first, count, file_paths[first], cause) from cause

    def scan(self, folder: StrPath) -> Iterable[Entry]:
        """What stands directly in a folder."""
        store, key = self.locate(folder)
        folders, names = store.bucket.scan(key)
        if not folders and not names and not self._is_top(store, key):
            if store.bucket.size(key) is not None:
                raise NotAFolderError(f"{folder!s} is a file")
            raise NotFoundError(f"nothing is at {folder!s}")
        return [Entry(name, is_folder=True) for name in folders] + [
            Entry(name, is_folder=False) for name in names if name != _MARKER
        ]

    def kind(self, path: StrPath) -> Kind | None:
        """``"file"``, ``"folder"`` or None: one or two requests."""
        store, key = self._existing(path)
        if self._is_top(store, key):
            return "folder"
        if store.bucket.size(key) is not None:
            return "file"
        return "folder" if store.bucket.any_below(key) else None

    def mkdir(self, path: StrPath) -> None:
        """Make a folder: its marker."""
        store, key = self.locate(path)
        if self._is_top(store, key):
            return
        self._check_folders(store, key)
        store.bucket.put(f"{key}/{_MARKER}", b"")

    def delete(self, path: StrPath, *, recursive: bool = False) -> None:
        """Remove an object, or a folder; the folder above stays one."""
        store, key = self._existing(path)
        if self._is_top(store, key):
            raise UnsafePathError(f"{path!s} is the top folder; delete what is in it")
        if store.bucket.size(key) is not None:
            store.bucket.delete([key])
        else:
            below = list(store.bucket.keys(key))
            if not below:
                raise NotFoundError(f"cannot delete {path!s}: nothing is there")
            if below != [f"{key}/{_MARKER}"] and not recursive:
                raise StorageError(
                    f"{path!s} holds {len(below)} objects; pass recursive=True", errno=errno.ENOTEMPTY
                )
            for start in range(0, len(below), _PAGE):
                store.bucket.delete(below[start : start + _PAGE])
            self._folders.clear()
        above = posixpath.dirname(key)
        if above and not self._is_top(store, above) and not store.bucket.any_below(above):
            store.bucket.put(f"{above}/{_MARKER}", b"")

    def copy(self, source: StrPath, target: StrPath, *, overwrite: bool = False) -> None:
        """Copy an object, or a folder with all that is in it; within a bucket the bytes do not come here."""
        kind = self.check_transfer(source, target, overwrite=overwrite)
        (store, first), (other, second) = self._existing(source), self.locate(target)
        if kind == "file":
            if _formats.has_suffix(first) and not _formats.has_suffix(second):
                second += os.path.splitext(first)[1]
            self._check_folders(other, posixpath.dirname(second))
            self._copy_object(store, first, other, second, overwrite)
            return
        if other.bucket is store.bucket and f"{second}/".startswith(f"{first}/"):
            raise StorageError(f"{target!s} is {source!s} or in it; choose another", errno=errno.EINVAL)
        self._check_folders(other, second)
        for key in list(store.bucket.keys(first)):
            self._copy_object(store, key, other, second + key[len(first) :], True)

    def open_binary(self, path: StrPath) -> BinaryIO:
        """The bytes of an object as a stream, all of one version."""
        store, key = self._existing(path)
        return io.BytesIO(self._read(store, key, path))

    def write_bytes(self, data: bytes, path: StrPath, *, overwrite: bool = True) -> None:
        """Store bytes under exactly that path, whatever its suffix."""
        store, key = self.locate(path)
        self._upload(store, key, path, data, overwrite)

    def _read(self, store: CloudObjects, key: str, path: StrPath) -> bytes:
        if self._is_top(store, key):
            raise NotAFileError(f"{path!s} is a folder")
        try:
            data: bytes = store.bucket.get(key)[0]
        except NotFoundError:
            if store.bucket.any_below(key):
                raise NotAFileError(f"{path!s} is a folder; list_files shows what is in it") from None
            raise
        return data

    def _encoded(
        self, data: Any, path: StrPath, overwrite: bool, options: dict[str, Any]
    ) -> Callable[[], None]:
        """What stores a value when it is called; the value is encoded now and may change afterwards."""
        store, key = self.locate(path)
        if not _names_a_file(path):
            raise NotAFileError(f"{path!s} names a folder; give the name of a file")
        if not _formats.has_suffix(key) and is_array(data):
            key += _formats.DEFAULT_IMAGE_SUFFIX
        stream = io.BytesIO()
        _formats.write(stream, key, data, **options)
        return lambda: self._upload(store, key, path, stream.getvalue(), overwrite)

    def _upload(self, store: CloudObjects, key: str, path: StrPath, data: bytes, overwrite: bool) -> None:
        self._check_folders(store, posixpath.dirname(key))
        if self._is_top(store, key) or store.bucket.any_below(key):
            raise NotAFileError(f"a folder is at {path!s}; choose another name")
        if overwrite:
            store.bucket.put(key, data)
        elif not store.bucket.create(key, data):
            raise AlreadyExistsError(f"{path!s} exists already; pass overwrite=True to replace it")

    def _copy_object(
        self, store: CloudObjects, first: str, other: CloudObjects, second: str, overwrite: bool
    ) -> None:
        if overwrite and other.bucket is store.bucket:
            store.bucket.copy(first, second)
            return
        data = store.bucket.get(first)[0]
        if overwrite:
            other.bucket.put(second, data)
        elif not other.bucket.create(second, data):
            raise AlreadyExistsError(
                f"{other.place.bucket_url}/{second} exists already; pass overwrite=True to replace it"
            )

    def _check_folders(self, store: CloudObjects, folder: str) -> None:
        """Return if no object stands where a folder has to be; what was seen to be a folder is not asked again."""
        while folder and not self._is_top(store, folder):
            name = f"{store.place.bucket_url}/{folder}"
            if name in self._folders:
                return
            if store.bucket.size(folder) is not None:
                raise NotAFolderError(f"{name} is a file; choose another folder")
            if len(self._folders) >= _MOST_FOLDERS:
                self._folders.clear()
            self._folders.add(name)
            folder = posixpath.dirname(folder)

    def _existing(self, path: StrPath) -> tuple[CloudObjects, str]:
        """Where a path leads, with the suffix an image got when it was saved without one."""
        store, key = self.locate(path)
        if key and _names_a_file(path) and not _formats.has_suffix(key) and store.bucket.size(key) is None:
            image = key + _formats.DEFAULT_IMAGE_SUFFIX
            if store.bucket.size(image) is not None:
                return store, image
        return store, key

    def _is_top(self, store: CloudObjects, key: str) -> bool:
        return not key or (self.root is not None and key == split_url(self.root)[2])

    def locate(self, path: StrPath) -> tuple[CloudObjects, str]:
        """The bucket of a path and its key there.

        Raises
        ------
        UnsafePathError
            It leaves the root.
        StorageError
            It is no url, and there is no root.
        """
        text = check_path(path)
        if not is_url(text):
            if self.root is None:
                raise StorageError(
                    f"{text!r} is no url: write s3://bucket/key, or make the backend with root='s3://...'"
                )
            key = check_key(text)
            top = split_url(self.root)[2]
            return self._store(self.root), "/".join(part for part in (top, key) if part)
        scheme, bucket, key = split_url(text)
        if self.root is not None:
            *place, top = split_url(self.root)
            if [scheme, bucket] != place or not f"{key}/".startswith(f"{top}/" if top else ""):
                raise UnsafePathError(f"{text!r} leaves {self.root}: give a path below it")
        return self._store(text), key

    def _store(self, url: str) -> CloudObjects:
        scheme, bucket, _ = split_url(url)
        name = f"{scheme}://{bucket}"
        store = self._stores.get(name)
        if store is None:
            with self._lock:
                store = self._stores.setdefault(name, CloudObjects(name, **self.options))
        return store


def _names_a_file(path: StrPath) -> bool:
    return posixpath.basename(os.fspath(path)) not in ("", ".", "..")
