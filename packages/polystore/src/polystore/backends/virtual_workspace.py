"""A folder in which the images of another look tidy, without a copy: a virtual workspace."""

from __future__ import annotations

import errno
import os
import posixpath
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, BinaryIO

from polystore._paths import StrPath, check_path
from polystore._workspaces import FILE_NAME, OPENHCS_NAME, find_workspace, stamp_of
from polystore.abc import DataSource, Entry, Kind, StorageBackend, SupportsBytes, VirtualBackend
from polystore.backends._openhcs_mapping import decode_openhcs
from polystore.backends._workspace_file import FileRef, Mapped, decode, encode
from polystore.backends.disk import DiskBackend
from polystore.components import ImageKey
from polystore.errors import (
    AlreadyExistsError,
    BackendLoadError,
    CorruptFileError,
    NotAFileError,
    NotAFolderError,
    NotFoundError,
    StorageError,
    UnsafePathError,
    UnsupportedFormatError,
)
from polystore.microscopes import parse_path
from polystore.objects._place import is_url
from polystore.objects.local import LocalObjects
from polystore.plate import PlaneRef, PlateIndex, PlateInfo
from polystore.virtual_names import virtual_name
from polystore.workspace import create_workspace

__all__ = ["VirtualWorkspaceBackend", "create_workspace"]


class VirtualWorkspaceBackend(StorageBackend, VirtualBackend):
    """A workspace is a folder with a mapping (``polystore_workspace.json``, see `create_workspace`): under which
    names it shows images that lie elsewhere. It is a tidy plate to whoever lists it.

    * A mapped name is loaded from its source: from the file, the page and by the backend the mapping says.
      Sources are only ever read, and listing looks at the mapping and never at a source.
    * What is saved becomes a real file in the workspace's folder, in the format of its suffix, and goes before
      a mapped name. Deleting takes the file away and the name out of the mapping.
    * Copying or moving a mapped name changes the mapping and copies no pixel.

    The mapping is read when it is first needed, and again when it has changed. Without one, that of an OpenHCS plate
    (``workspace_mapping`` in ``openhcs_metadata.json``) is taken. Thread-safe; picklable; several processes may save
    and change the mapping at once.

    Parameters
    ----------
    root
        None: paths are those of the file system, and the workspace is the nearest folder upwards with a mapping.
        A folder: paths are relative to it and do not leave it; without a mapping it is an empty workspace.
    sources
        Folders on disk that mappings may read from. None: any, or with a ``root`` only what is below it. A path
        in a mapping that leaves its source (absolute, with ``..``, through a link) is always refused.
    registry
        Where the backends of sources are looked up by name, instead of `polystore.base.storage_registry`.
    """

    def __init__(
        self,
        root: StrPath | None = None,
        *,
        sources: Sequence[StrPath] | None = None,
        registry: Mapping[str, Any] | None = None,
    ) -> None:
        self.root = None if root is None else os.path.abspath(check_path(root))
        self.sources = (
            None if sources is None else tuple(os.path.abspath(check_path(path)) for path in sources)
        )
        self._registry = registry
        self._mappings: dict[str, tuple[tuple[int, int, int], Mapped]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return _make, (self.root, self.sources, self._registry)

    def __repr__(self) -> str:
        return f"VirtualWorkspaceBackend(root={self.root!r})"

    # -- reading

    def load(self, path: StrPath, **options: Any) -> Any:
        """The value under a name: of the file saved there, else of the image the name stands for.

        Options are the format's. The page is the mapping's business and cannot be given for a mapped name.
        """
        place = self._place(path)
        if place.results.kind(place.name) == "file":
            return place.results.load(place.name, **options)
        source, ref, where = self._source(place, path)
        if ref.page is not None:
            if "page" in options:
                raise UnsupportedFormatError(f"{path!s} is page {ref.page} of {where}; leave page= out")
            options["page"] = ref.page
        try:
            return source.load(where, **options)
        except (NotFoundError, CorruptFileError) as exc:
            raise type(exc)(f"{path!s} stands for {ref.path} in {ref.source!r}: {exc}") from exc

    def open_binary(self, path: StrPath) -> BinaryIO:
        """The bytes of the file under a name, where it is a file of its own in the format of its suffix."""
        place = self._place(path)
        if place.results.kind(place.name) is not None:
            return place.results.open_binary(place.name)
        source, ref, where = self._source(place, path)
        same = os.path.splitext(ref.path)[1].lower() == os.path.splitext(place.name)[1].lower()
        if ref.page is not None or not same or not isinstance(source, SupportsBytes):
            raise UnsupportedFormatError(f"{path!s} is no file of its own but in {where}; load it")
        return source.open_binary(where)

    def scan(self, folder: StrPath) -> Iterable[Entry]:
        """What stands directly in a folder: from the mapping, and what was saved. No source is looked at."""
        place = self._place(folder)
        real = place.results.kind(place.folder)
        mapped = place.mapped.folders.get(place.name)
        if real == "file" or place.name in place.mapped.files:
            raise NotAFolderError(f"{folder!s} is a file")
        if real is None and mapped is None:
            raise NotFoundError(f"no folder {folder!s} in the workspace {place.workspace}")
        found = {name: Entry(name, is_folder) for name, is_folder in (mapped or {}).items()}
        if real is not None:
            prefix = f"{place.name}/" if place.name else ""
            for entry in place.results.scan(place.folder):
                if entry.name != FILE_NAME and prefix + entry.name not in place.mapped.inside:
                    found[entry.name] = entry
        return list(found.values())

    def kind(self, path: StrPath) -> Kind | None:
        """``"file"``, ``"folder"``, or None; also for a name whose source is gone."""
        workspace = self._workspace(check_path(path))
        if workspace is None:
            return None
        place = self._place(path)
        if posixpath.basename(place.name) == FILE_NAME:
            return None
        real = place.results.kind(place.folder)
        if real is not None:
            return real
        if place.name in place.mapped.files:
            return "file"
        return "folder" if place.name in place.mapped.folders else None

    def list_files(
        self,
        directory: StrPath,
        pattern: str | None = None,
        extensions: Iterable[str] | None = None,
        recursive: bool = False,
    ) -> list[str]:
        """As `DataSource.list_files`, from the mapping and what was saved."""
        return super().list_files(directory, pattern, extensions, recursive)

    def generate_filename(self, metadata: Mapping[str, Any]) -> str:
        """The name of the image with those components: ``{"well": "A01", "site": 1}`` to ``A01_s001.tif``."""
        components = dict(metadata)
        suffix = components.pop("extension", None) or ".tif"
        return virtual_name(ImageKey.from_mapping(components), str(suffix))

    def plate(self, plate_path: StrPath) -> PlateIndex:
        """The plate a workspace shows: its mapped images by the names they have, and what is known of it."""
        place = self._place(plate_path)
        planes = {}
        for name in place.mapped.below(place.name):
            below = name[len(place.name) :].lstrip("/")
            key = parse_path(below)
            if key != ImageKey():
                planes[key] = PlaneRef(key, below)
        ordered = tuple(planes[key] for key in sorted(planes, key=ImageKey.sort_key))
        microscope = place.mapped.microscope or "openhcs"
        return PlateIndex(os.fspath(plate_path), "virtual_workspace", microscope, ordered, place.mapped.info)

    # -- writing

    def save(self, data: Any, path: StrPath, *, overwrite: bool = True, **options: Any) -> None:
        """Write a real file into the workspace; a mapped image of that name is hidden by it and stays as it is."""
        place = self._place(path)
        self._check_new(place, path)
        if not overwrite and place.name in place.mapped.files:
            raise AlreadyExistsError(f"{path!s} exists already; pass overwrite=True to hide it by a new file")
        place.results.save(data, place.folder, overwrite=overwrite, **options)

    def write_bytes(self, data: bytes, path: StrPath, *, overwrite: bool = True) -> None:
        """As `save`, for the bytes of a file."""
        place = self._place(path)
        self._check_new(place, path)
        if not overwrite and place.name in place.mapped.files:
            raise AlreadyExistsError(f"{path!s} exists already; pass overwrite=True to hide it by a new file")
        place.results.write_bytes(data, place.folder, overwrite=overwrite)

    def mkdir(self, path: StrPath) -> None:
        """Make a real folder in the workspace."""
        place = self._place(path)
        for folder in _upwards(place.name):
            if folder in place.mapped.files:
                raise NotAFolderError(f"{folder!r} is an image of the workspace; choose another name")
        place.results.mkdir(place.folder)

    def delete(self, path: StrPath, *, recursive: bool = False) -> None:
        """Take a name out of the workspace, and the file where one was saved; sources are left alone."""
        kind = self.kind(path)
        place = self._place(path)
        if kind is None:
            raise NotFoundError(f"nothing at {path!s}")
        if not place.name:
            raise UnsafePathError(f"{path!s} is the workspace itself; delete what is in it")
        if kind == "folder" and not recursive and next(iter(self.scan(path)), None) is not None:
            raise StorageError(f"{path!s} is not empty; pass recursive=True", errno=errno.ENOTEMPTY)
        gone = place.mapped.below(place.name)
        if gone:
            if kind == "file":  # a folder does not vanish with the last file in it
                place.results.mkdir(posixpath.dirname(place.name) or ".")
            self._change(place.workspace, lambda mapped: mapped.changed(remove=mapped.below(place.name)))
        if place.results.exists(place.folder):
            place.results.delete(place.folder, recursive=recursive)

    def copy(self, source: StrPath, target: StrPath, *, overwrite: bool = False) -> None:
        """Copy a file or folder; of mapped images only the entry in the mapping."""
        kind = self.check_transfer(source, target, overwrite=overwrite)
        first, second = self._place(source), self._place(target)
        self._check_new(second, target, folder=kind == "folder")
        if first.workspace != second.workspace:
            self._copy(source, target, kind)
            return
        if first.results.exists(first.folder):
            first.results.copy(first.folder, second.folder, overwrite=overwrite)
        hidden = {name for name in first.mapped.below(first.name) if first.results.exists(name)}
        cut = len(first.name)
        added = {
            second.name + name[cut:]: ref
            for name, ref in first.mapped.below(first.name).items()
            if name not in hidden
        }
        if added:
            self._change(first.workspace, lambda mapped: mapped.changed(add=added))
            if kind == "file" and second.results.exists(second.folder):
                second.results.delete(second.folder)  # it would hide the one just put there

    def describe(self, plate_path: StrPath, info: PlateInfo) -> None:
        """Replace what the workspace says about its plate."""
        self._change(self._place(plate_path).workspace, lambda mapped: mapped.changed(info=info))

    # -- inside

    def _place(self, path: StrPath) -> _Place:
        text = check_path(path)
        workspace = self._workspace(text)
        if workspace is None:
            raise NotFoundError(
                f"{text} is in no workspace: no folder upwards of it holds {FILE_NAME} (create_workspace makes one)"
            )
        full = os.path.abspath(text) if self.root is None else os.path.join(self.root, text)
        name = os.path.relpath(full, workspace).replace(os.sep, "/")
        return _Place(workspace, "" if name == "." else name, self._mapped(workspace))

    def _workspace(self, text: str) -> str | None:
        if self.root is not None:
            DiskBackend(self.root).kind(text)  # refuses what leaves the root
            found = find_workspace(os.path.join(self.root, text), stop=self.root)
            return found or self.root
        return find_workspace(text)

    def _mapped(self, workspace: str) -> Mapped:
        for name, decoder in ((FILE_NAME, decode), (OPENHCS_NAME, decode_openhcs)):
            path = os.path.join(workspace, name)
            stamp = stamp_of(path)
            if stamp is None:
                continue
            known = self._mappings.get(path)
            if known is None or known[0] != stamp:
                with DiskBackend().open_binary(path) as stream:
                    known = (stamp, decoder(stream.read(), path))
                self._mappings[path] = known
            return known[1]
        return Mapped()

    def _source(self, place: _Place, path: StrPath) -> tuple[DataSource, FileRef, str]:
        """The backend a mapped name is read with, what it stands for, and its path there."""
        ref = place.mapped.files.get(place.name)
        if ref is None:
            if place.name in place.mapped.folders or place.results.kind(place.folder) == "folder":
                raise NotAFileError(f"{path!s} is a folder; list_files shows what is in it")
            raise NotFoundError(f"nothing at {path!s} in the workspace {place.workspace}")
        source = place.mapped.sources[ref.source]
        if source.backend == "disk":
            folder = os.path.normpath(os.path.join(place.workspace, source.path))
            self._check_source(folder)
            return DiskBackend(folder), ref, ref.path
        self._check_source(source.path, on_disk=False)
        backend = self._backend(source.backend)
        return backend, ref, f"{source.path.rstrip('/')}/{ref.path}"

    def _check_source(self, folder: str, *, on_disk: bool = True) -> None:
        allowed = (
            self.sources if self.sources is not None else (self.root,) if self.root is not None else None
        )
        if allowed is None:
            return
        # Other backends read the file system, too (zarr); only urls are taken as they are.
        real = os.path.realpath(folder) if on_disk or not is_url(folder) else folder
        for top in allowed:
            place = top if is_url(top) else os.path.realpath(top)
            if real == place or real.startswith(place.rstrip(os.sep) + os.sep):
                return
        raise UnsafePathError(
            f"the workspace reads from {folder}, which is in none of {', '.join(allowed)}: if you trust it, "
            "add it to sources="
        )

    def _backend(self, name: str) -> DataSource:
        if self._registry is None:
            from polystore.backends import storage_registry

            backend = storage_registry[name]
        else:
            backend = self._registry[name]
        if not isinstance(backend, DataSource):
            raise BackendLoadError(f"backend {name!r} ({type(backend).__name__}) cannot be read from")
        return backend

    def _check_new(self, place: _Place, path: StrPath, *, folder: bool = False) -> None:
        if posixpath.basename(place.name) == FILE_NAME:
            raise UnsafePathError(f"{path!s} is the workspace's own file; choose another name")
        if place.name in place.mapped.folders:
            raise NotAFileError(f"a folder is at {path!s}; choose another name")
        for above in _upwards(posixpath.dirname(place.name)):
            if above in place.mapped.files:
                raise NotAFolderError(f"{above!r} is an image of the workspace, so there can be no {path!s}")
        if folder and place.name in place.mapped.files:
            raise AlreadyExistsError(f"a file is already at {path!s}")

    def _change(self, workspace: str, change: Callable[[Mapped], Mapped]) -> None:
        where = os.path.join(workspace, FILE_NAME)

        def apply(data: bytes | None) -> bytes:
            return encode(change(self._mapped(workspace) if data is None else decode(data, where)))

        LocalObjects(workspace).update(FILE_NAME, apply)


class _Place:
    """A path of a workspace."""

    __slots__ = ("folder", "mapped", "name", "results", "workspace")

    def __init__(self, workspace: str, name: str, mapped: Mapped) -> None:
        self.workspace = workspace
        self.name = name  # "" for the workspace itself
        self.folder = name or "."  # as the store of real files has it
        self.mapped = mapped
        self.results = DiskBackend(workspace)


def _upwards(path: str) -> Iterable[str]:
    while path:
        yield path
        path = posixpath.dirname(path)


def _make(
    root: str | None, sources: tuple[str, ...] | None, registry: Mapping[str, Any] | None
) -> VirtualWorkspaceBackend:
    return VirtualWorkspaceBackend(root, sources=sources, registry=registry)
