"""One way to load, save and list, whatever the store: `FileManager`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from typing import Any, TypeAlias

from polystore._auto import AUTO, backend_for
from polystore._paths import StrPath, endings, matches, natural_path_key
from polystore._transfer import carry
from polystore.abc import (
    DataSink,
    DataSource,
    Kind,
    StorageBackend,
    SupportsLinks,
    VirtualBackend,
    check_lengths,
)
from polystore.backends import storage_registry
from polystore.errors import BackendLoadError, BackendNotFoundError, StorageError

__all__ = ["CONTEXT_OPTIONS", "BackendName", "FileManager"]

BackendName: TypeAlias = str
"""A backend's name, or ``"auto"``; members of `polystore.Backend` are such names."""

CONTEXT_OPTIONS = frozenset(
    {
        "step_index", "step_name", "components", "run", "producer",  # where a batch belongs
        "host", "port", "transport", "config",  # where it is shown
        "kind", "contrast", "policy", "deadline", "deferred",  # how
    }
)  # fmt: skip
"""Options that say where a batch belongs and how it is shown. A store keeps values by path and is not given
them (but those in its `DataSink.context_options`), so that one call with the same options can go to a store and to
a viewer."""


class FileManager:
    """Loads, saves and lists by the name of a backend. Thread-safe.

    Every call names its backend: ``fm.save(image, path, backend="disk")``. Instances come from
    `polystore.base.storage_registry`, so FileManagers of one process share them (what one saves in
    ``"memory"``, all find there), except those mounted on this one. ``backend="auto"`` leaves the choice to the
    path: see `backend_for`.

    A pickled FileManager takes its mounted backends along and finds the others by name where it arrives.

    Parameters
    ----------
    registry
        Where backends are looked up by name, instead of `polystore.base.storage_registry`: any mapping of
        names to backends.
    """

    def __init__(self, registry: Mapping[str, Any] | None = None) -> None:
        self._registry = registry
        self._mounted: dict[str, Any] = {}

    def __repr__(self) -> str:
        mounted = f", mounted: {', '.join(sorted(self._mounted))}" if self._mounted else ""
        return f"<FileManager over {', '.join(self._backends())}{mounted}>"

    # -- backends

    def mount(self, name: str, backend: Any) -> None:
        """Use a live object under a name, on this FileManager only; it goes before a backend of the same name."""
        self._mounted = {**self._mounted, str(name): backend}

    def unmount(self, name: str) -> None:
        """Stop using what was mounted under a name; fine when nothing was."""
        self._mounted = {key: backend for key, backend in self._mounted.items() if key != name}

    def backend(self, name: BackendName) -> Any:
        """The backend of that name: the mounted one, else the registry's.

        Raises
        ------
        BackendNotFoundError, BackendLoadError, MissingExtraError, BackendClashError
            There is none, or it cannot be used.
        """
        mounted = self._mounted.get(name)
        if mounted is not None:
            return mounted
        try:
            return self._backends()[name]
        except KeyError:  # from a plain mapping; ours raises what is documented
            known = ", ".join(sorted({*self._backends(), *self._mounted}))
            raise BackendNotFoundError(f"unknown backend {str(name)!r} (known: {known})") from None

    def backend_for(self, path: StrPath) -> str:
        """The name of the backend a path belongs to: what ``backend="auto"`` takes.

        The first that fits decides:

        1. a component that ends in ``.zarr``: ``zarr``, also in a bucket;
        2. a scheme: ``s3://``, ``gs://``, ``az://`` and the like are ``cloud``, ``memory://`` is ``memory``;
        3. ``/omero/...``: ``omero_local``;
        4. a path in a virtual workspace: ``virtual_workspace``;
        5. a folder a microscope's handler recognises: the handler's ``get_primary_backend``;
        6. else ``disk``.
        """
        return backend_for(path, self)

    # -- reading

    def load(self, path: StrPath, backend: BackendName, **options: Any) -> Any:
        """The value stored at a path; see the backend for who owns its memory.

        Raises
        ------
        NotFoundError, NotAFileError, UnsupportedFormatError, CorruptFileError
            As the backend says.
        """
        return self._source(backend, path).load(path, **options)

    def load_batch(self, paths: Sequence[StrPath], backend: BackendName, **options: Any) -> list[Any]:
        """The values at several paths, in order; `BatchError` names the first that failed."""
        return self._source(backend, *paths).load_batch(paths, **options)

    def exists(self, path: StrPath, backend: BackendName) -> bool:
        """Whether a file or folder is there."""
        return self._kind(path, backend) is not None

    def is_file(self, path: StrPath, backend: BackendName) -> bool:
        """Whether a file is there."""
        return self._kind(path, backend) == "file"

    def is_dir(self, path: StrPath, backend: BackendName) -> bool:
        """Whether a folder is there."""
        return self._kind(path, backend) == "folder"

    def list_files(
        self,
        directory: StrPath,
        backend: BackendName,
        pattern: str | None = None,
        extensions: Iterable[str] | None = None,
        recursive: bool = False,
    ) -> list[str]:
        """Paths of the files in a folder, in natural order (``s2`` before ``s10``).

        Parameters
        ----------
        directory
            The folder; answers begin with it.
        backend
            The backend's name.
        pattern
            Shell pattern for the file name, e.g. ``"*_w1*"``.
        extensions
            Endings to keep, with or without dot, in any case; a text is one.
        recursive
            Whether to look into the folders below, too.
        """
        there = self.backend(self._chosen(backend, directory))
        if isinstance(there, VirtualBackend) and not isinstance(there, DataSource):
            return _filter(there.list_files(os.fspath(directory)), pattern, extensions)
        return self._source(backend, directory).list_files(directory, pattern, extensions, recursive)

    def list_dirs(self, directory: StrPath, backend: BackendName) -> list[str]:
        """Paths of the folders directly in a folder, in natural order."""
        return self._source(backend, directory).list_dirs(directory)

    def find(self, directory: StrPath, pattern: str, backend: BackendName) -> list[str]:
        """Paths of all files below a folder whose name fits a shell pattern, in natural order."""
        return self.list_files(directory, backend, pattern, recursive=True)

    def walk(self, directory: StrPath, backend: BackendName) -> Iterator[tuple[str, list[str], list[str]]]:
        """Each folder from the given one down: its path, the names of its folders, the names of its files."""
        return self._source(backend, directory).walk(directory)

    # -- writing

    def save(
        self, data: Any, path: StrPath, backend: BackendName | Sequence[BackendName], **options: Any
    ) -> Any:
        """Store or show one value; options as for `save_batch`.

        Raises
        ------
        UnsupportedFormatError, UnsupportedArrayError, AlreadyExistsError, StorageError
            As the backend says; nothing is stored then.
        """
        return self._write("save", data, path, backend, options)

    def save_batch(
        self,
        data: Sequence[Any],
        paths: Sequence[StrPath],
        backend: BackendName | Sequence[BackendName],
        **options: Any,
    ) -> Any:
        """Store or show each value under its path.

        Parameters
        ----------
        data
            The values; an array counts as a sequence of its planes.
        paths
            As many paths. A viewer reads from their names where an image belongs.
        backend
            A name, or several: then every store has the whole batch before a viewer is given it.
        **options
            Where a batch belongs (``step_index=``, ``step_name=``, ``components=``, ``host=``, ``port=``,
            ``config=``, see `CONTEXT_OPTIONS`) goes to viewers, all else (``compression=``, ``overwrite=``)
            to the backends that keep values.

        Returns
        -------
        object
            What the backend says of the batch (a viewer: what was sent and dropped; a store: None). For
            several backends a dict of that by name.

        Raises
        ------
        BatchLengthError
            Not as many paths as values; checked first, nothing is stored or shown.
        BatchError
            One value could not be stored; it says which and how many before it are.
        """
        data = data if isinstance(data, Sized) else list(data)
        paths = paths if isinstance(paths, Sized) else list(paths)
        check_lengths(data, paths)
        return self._write("save_batch", data, paths, backend, options)

    def mkdir(self, path: StrPath, backend: BackendName) -> None:
        """Make a folder and those above it; one that is there already is fine."""
        self._store(backend, path).mkdir(path)

    def delete(self, path: StrPath, backend: BackendName, *, recursive: bool = False) -> None:
        """Remove a file, an empty folder or, with ``recursive``, a folder with all that is in it."""
        self._store(backend, path).delete(path, recursive=recursive)

    def copy(
        self,
        source: StrPath,
        target: StrPath,
        backend: BackendName,
        *,
        to_backend: BackendName | None = None,
        overwrite: bool = False,
    ) -> None:
        """Copy a file, or a folder with all that is in it, within one backend or into another.

        Parameters
        ----------
        source, target
            From where, to where.
        backend
            Where the source is.
        to_backend
            Where the target is; by default in the same.
        overwrite
            Whether a file at the target is replaced.

        Raises
        ------
        NotFoundError, AlreadyExistsError, StorageError
            Each file is whole at its target or not there, and the source is untouched.
        """
        self._transfer(source, target, backend, to_backend, overwrite)

    def move(
        self,
        source: StrPath,
        target: StrPath,
        backend: BackendName,
        *,
        to_backend: BackendName | None = None,
        overwrite: bool = False,
    ) -> None:
        """Move a file or folder; options as for `copy`. Between backends the source goes when all has arrived."""
        self._transfer(source, target, backend, to_backend, overwrite, move=True)

    def symlink(
        self, source: StrPath, target: StrPath, backend: BackendName, *, overwrite: bool = False
    ) -> None:
        """Make ``target`` a link to ``source``.

        Raises
        ------
        BackendLoadError
            The backend has no links.
        NotFoundError, AlreadyExistsError
            As `SupportsLinks.symlink` says.
        """
        self._linking(backend, target).symlink(source, target, overwrite=overwrite)

    def mirror(
        self, source: StrPath, target: StrPath, backend: BackendName, *, overwrite: bool = False
    ) -> int:
        """Rebuild a folder elsewhere with a link for each file; how many were made. Raises as `symlink`."""
        return self._linking(backend, target).mirror(source, target, overwrite=overwrite)

    def is_link(self, path: StrPath, backend: BackendName) -> bool:
        """Whether a path only points at another; never so where the backend has no links."""
        there = self._source(backend, path)
        return isinstance(there, SupportsLinks) and there.is_link(path)

    # -- inside

    def _backends(self) -> Mapping[str, Any]:
        return storage_registry if self._registry is None else self._registry

    def _write(
        self,
        verb: str,
        data: Any,
        path: Any,
        backend: BackendName | Sequence[BackendName],
        options: dict[str, Any],
    ) -> Any:
        if isinstance(backend, str):
            sink = self._sink(backend, *([path] if verb == "save" else path))
            given = options if sink.takes_context else _for_store(sink, options)
            return getattr(sink, verb)(data, path, **given)
        sinks = {name: self._sink(name, *([path] if verb == "save" else path)) for name in backend}
        context = {name: value for name, value in options.items() if name in CONTEXT_OPTIONS}
        results = {}
        # Stores first: what a viewer shows is then already safe.
        for name, sink in sorted(sinks.items(), key=lambda item: item[1].takes_context):
            given = context if sink.takes_context else _for_store(sink, options)
            results[name] = getattr(sink, verb)(data, path, **given)
        return results

    def _kind(self, path: StrPath, backend: BackendName) -> Kind | None:
        return self._source(backend, path).kind(path)

    def _transfer(
        self,
        source: StrPath,
        target: StrPath,
        backend: BackendName,
        to_backend: BackendName | None,
        overwrite: bool,
        move: bool = False,
    ) -> None:
        if to_backend is None and backend == AUTO:
            to_backend = AUTO
        first = self._store(backend, source) if move else self._source(backend, source)
        second: Any = first if to_backend is None else self._store(to_backend, target)
        if second is not first:
            carry(first, source, second, target, overwrite=overwrite)
            if isinstance(first, StorageBackend) and move:
                first.delete(source, recursive=True)
            return
        store = self._store(backend, source)
        (store.move if move else store.copy)(source, target, overwrite=overwrite)

    def _chosen(self, name: BackendName, *paths: StrPath) -> str:
        """The name itself, or for ``"auto"`` the one backend that all these paths belong to."""
        if name != AUTO:
            return name
        # One of each folder will do: to look for each of ten thousand files would take longer than a listing.
        some = {
            (os.path.dirname(text := os.fspath(path)), text.lower().endswith(".zarr")): path for path in paths
        }
        names = {self.backend_for(path) for path in some.values()}
        if len(names) == 1:
            return names.pop()
        if not names:  # an empty batch
            return "disk"
        raise StorageError(
            f"these paths belong to several backends ({', '.join(sorted(names))}): make a call for each"
        )

    def _source(self, name: BackendName, *paths: StrPath) -> DataSource:
        name = self._chosen(name, *paths)
        there = self.backend(name)
        if not isinstance(there, DataSource):
            raise BackendLoadError(f"backend {name!r} ({type(there).__name__}) cannot be read from")
        return there

    def _sink(self, name: BackendName, *paths: StrPath) -> DataSink:
        name = self._chosen(name, *paths)
        there = self.backend(name)
        if not isinstance(there, DataSink):
            raise BackendLoadError(f"backend {name!r} ({type(there).__name__}) cannot be written to")
        return there

    def _store(self, name: BackendName, *paths: StrPath) -> StorageBackend:
        name = self._chosen(name, *paths)
        there = self.backend(name)
        if not isinstance(there, StorageBackend):
            raise BackendLoadError(f"backend {name!r} ({type(there).__name__}) keeps no files")
        return there

    def _linking(self, name: BackendName, path: StrPath) -> SupportsLinks:
        name = self._chosen(name, path)
        there = self.backend(name)
        if not isinstance(there, SupportsLinks):
            raise BackendLoadError(f"backend {name!r} ({type(there).__name__}) has no links; copy instead")
        return there


def _for_store(store: DataSink, options: dict[str, Any]) -> dict[str, Any]:
    left_out = CONTEXT_OPTIONS - store.context_options
    return {name: value for name, value in options.items() if name not in left_out}


def _filter(paths: Iterable[str], pattern: str | None, extensions: Iterable[str] | None) -> list[str]:
    wanted = endings(extensions)
    kept = [path for path in paths if matches(path.rpartition("/")[2], pattern, wanted)]
    return sorted(kept, key=natural_path_key)
