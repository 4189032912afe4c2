"""Where the plates and files of the zarr backend are: in the file system, or in buckets."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from polystore._paths import StrPath, below, check_path
from polystore.abc import Entry, Kind
from polystore.backends.disk import DiskBackend
from polystore.errors import StorageError
from polystore.objects._place import is_url
from polystore.omezarr.folder import PlateFolder
from polystore.omezarr.tree import Tree

__all__ = ["Files"]


class Files:
    """Files by path or url, and the trees of plates among them.

    Parameters
    ----------
    root
        None: paths are those of the file system, urls those of buckets. A folder or the url of one: paths are
        below it.
    durable
        As `polystore.backends.disk.DiskBackend`.
    options
        How to reach a bucket, as `polystore.objects.CloudObjects`.
    """

    def __init__(self, root: str | None, *, durable: bool, options: dict[str, Any]) -> None:
        self._durable = durable
        self._root = root
        in_cloud = root is not None and is_url(root)
        if root is not None and not in_cloud and options:
            raise StorageError(f"unknown option {sorted(options)[0]!r}: {root} is a folder, no url")
        self._disk = DiskBackend(None if in_cloud else root, durable=durable)
        self._cloud: Any = None
        if in_cloud or root is None:
            from polystore.backends.cloud import CloudBackend

            self._cloud = CloudBackend(root, **options)
        self._in_cloud = in_cloud

    def tree(self, path: str) -> Tree:
        """The plate at a path, as keys and bytes."""
        if self.is_far(path):
            store, key = self._cloud.locate(path)
            return Tree(store, key, path)
        if self._root is None:
            return Tree(PlateFolder(os.path.abspath(path), durable=self._durable, contained=False), "", path)
        if path in ("", "."):
            return Tree(PlateFolder(self._root, durable=self._durable, contained=True), "", self._root)
        real = below(self._root, path)  # also images.zarr and the like may be links
        return Tree(PlateFolder(real, durable=self._durable, contained=True), "", path)

    def is_far(self, path: StrPath) -> bool:
        """Whether a path is in a bucket."""
        return self._in_cloud or (self._root is None and is_url(check_path(path)))

    def check(self, path: StrPath) -> None:
        """Refuse a path that leaves the root, or is none, before anything is touched."""
        if self.is_far(path):
            self._cloud.locate(path)
        else:
            self._disk._real(path)

    def there(self, path: str) -> bool:
        """Whether anything is at a path: cheaper than `kind`."""
        if self.is_far(path):
            return self._cloud.kind(path) is not None
        return os.path.lexists(path if self._root is None else os.path.join(self._root, path))

    def load(self, path: StrPath, **options: Any) -> Any:
        """As every store."""
        return self._at(path).load(path, **options)

    def save(self, data: Any, path: StrPath, *, overwrite: bool = True, **options: Any) -> None:
        """As every store."""
        self._at(path).save(data, path, overwrite=overwrite, **options)

    def kind(self, path: StrPath) -> Kind | None:
        """As every store."""
        kind: Kind | None = self._at(path).kind(path)
        return kind

    def scan(self, folder: StrPath) -> Iterable[Entry]:
        """As every store."""
        entries: Iterable[Entry] = self._at(folder).scan(folder)
        return entries

    def mkdir(self, path: StrPath) -> None:
        """As every store. A bucket needs no folders above what is stored: there it is for those who ask."""
        self._at(path).mkdir(path)

    def delete(self, path: StrPath, *, recursive: bool = False) -> None:
        """As every store."""
        self._at(path).delete(path, recursive=recursive)

    def copy(self, source: StrPath, target: StrPath, *, overwrite: bool = False) -> None:
        """As every store, for one file; also between the file system and a bucket."""
        first, second = self._at(source), self._at(target)
        if first is second:
            first.copy(source, target, overwrite=overwrite)
            return
        with first.open_binary(source) as stream:
            second.write_bytes(stream.read(), target, overwrite=overwrite)

    def _at(self, path: StrPath) -> Any:
        return self._cloud if self.is_far(path) else self._disk
