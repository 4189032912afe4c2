"""Bytes by key in a plate's folder: as `polystore.objects.LocalObjects`, without locks where pixels pass."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator

from polystore._atomic import atomic_write, is_temporary, sweep_once
from polystore._filelock import file_lock
from polystore._oserrors import translated
from polystore.errors import NotAFolderError, NotFoundError
from polystore.objects import LocalObjects

__all__ = ["PlateFolder"]


class PlateFolder(LocalObjects):
    """The same files, locks and promises, at less cost per file.

    A plate is thousands of small files and as many large ones. What differs: `read` and `write` neither lock
    nor compute a stamp (an array's chunk is never changed, only replaced as a whole), and a path is looked at
    once for links, not by every step again, or not at all.

    Parameters
    ----------
    root, durable
        As `LocalObjects`.
    contained
        Whether links that lead out of the folder are refused. Without a root to keep to, somebody who links
        wells to another disk means it.
    """

    def __init__(self, root: str, *, durable: bool, contained: bool) -> None:
        super().__init__(root, durable=durable)
        self.contained = contained

    def read(self, key: str) -> bytes:
        """The bytes under a key, all of one version; `NotFoundError` when nothing is there."""
        path = self._path(key)
        try:
            with translated("read", path), open(path, "rb", buffering=0) as stream:
                return stream.readall()
        except NotAFolderError as exc:
            raise NotFoundError(f"cannot read {path}: a file stands where its folder would be") from exc

    def write(self, key: str, data: bytes, *, overwrite: bool = True) -> None:
        """Store bytes in one step, whoever else does; `AlreadyExistsError` as `put`."""
        path = self._path(key)
        with translated("write", path):
            _make_folders(os.path.dirname(path))
            self._place(path, data, overwrite=overwrite)

    def update(self, key: str, change: Callable[[bytes | None], bytes | None]) -> bytes | None:
        """As `LocalObjects.update`."""
        path = self._path(key)
        with translated("change", path):
            _make_folders(os.path.dirname(path))
            with file_lock(path, timeout=self.timeout):
                try:
                    with open(path, "rb") as stream:
                        there: bytes | None = stream.read()
                except FileNotFoundError:
                    there = None
                new = change(there)
                if new is None or new == there:
                    return there
                self._place(path, new, overwrite=True)
                return new

    def holds(self, key: str) -> bool:
        """Whether a file is under a key."""
        return os.path.isfile(self._path(key))

    def keys(self, prefix: str = "") -> Iterator[str]:
        """All keys below a folder; none when it is not there. Links to folders are not followed."""
        waiting = [(self._path(prefix) if prefix else self.root, f"{prefix}/" if prefix else "")]
        while waiting:
            folder, lead = waiting.pop()
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append((entry.path, f"{lead}{entry.name}/"))
                        elif not is_temporary(entry.name) and not entry.is_dir():
                            yield lead + entry.name
            except (FileNotFoundError, NotADirectoryError):
                continue

    def _place(self, path: str, data: bytes, *, overwrite: bool) -> None:
        # Unfinished files stand in the plate's folder: one look there finds what dead writers left.
        with atomic_write(path, overwrite=overwrite, durable=self.durable, folder=self.root) as stream:
            stream.write(data)

    def _path(self, key: str) -> str:
        path = self.root
        parts = key.split("/")
        if os.name == "nt" or "\0" in key or not _NO_NAMES.isdisjoint(parts) or is_temporary(parts[-1]):
            return super()._path(key)  # says what is wrong with it
        sweep_once(self.root)
        if not self.contained:
            return f"{path}/{key}"
        for number, part in enumerate(parts):
            path = f"{path}/{part}"
            try:
                mode = os.lstat(path).st_mode
            except OSError:  # from here on nothing is there
                return "/".join([path, *parts[number + 1 :]])
            if stat.S_ISLNK(mode):
                return super()._path(key)  # refuses one that leads out
        return path


_NO_NAMES = frozenset({"", ".", ".."})


def _make_folders(folder: str) -> None:
    if os.path.isdir(folder):
        return
    try:
        os.makedirs(folder, exist_ok=True)
    except FileExistsError as exc:  # makedirs says so when the last one is a file
        raise NotAFolderError(f"{folder} is a file; choose another folder") from exc
