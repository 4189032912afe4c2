"""A store of OME-Zarr plates and images."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from polystore._paths import StrPath, check_path, join, natural_key
from polystore.abc import Entry, Kind, StorageBackend, check_lengths
from polystore.backends._at_once import load_at_once
from polystore.config import Settings
from polystore.errors import (
    AlreadyExistsError,
    BatchError,
    NotAFileError,
    NotAFolderError,
    NotFoundError,
    PolystoreError,
    StorageError,
    UnsafePathError,
    UnsupportedFormatError,
)
from polystore.objects._place import is_url
from polystore.omezarr import names, plates, reader, writer
from polystore.omezarr.engines import ENGINES, Engine, EngineName, choose, engine
from polystore.omezarr.files import Files
from polystore.omezarr.grouping import VERSIONS, Version, open_group
from polystore.omezarr.names import Plain, Plane, Single
from polystore.omezarr.pyramids import Pyramid
from polystore.omezarr.singles import is_single, load_single, save_single
from polystore.omezarr.tree import Tree
from polystore.payload.arrays import as_host_array, check_array, is_array
from polystore.plate import PlateIndex, PlateInfo

__all__ = ["ZarrBackend"]

_UNBOUNDED = 2**63 - 1

_INTERNAL = frozenset({"zarr.json", ".zgroup", ".zattrs", ".zarray", ".zmetadata"})


class ZarrBackend(StorageBackend):
    """OME-Zarr plates, addressed by the names that images would have on disk.

    ``save(image, "/data/p.zarr/A01_s001_w1_z001_t001.tif")`` stores a plane of field 1 of well A01 of the
    plate ``/data/p.zarr``; `list_files` gives the names back as they were saved. In a folder that is no
    ``.zarr`` the plate is ``images.zarr`` in it. Images whose names no parser knows are OME-Zarr images of
    their own, and what is no image (``.json``, ``.csv``, ``.txt``, ``.npy``) is a plain file. See
    ``docs/zarr.md``.

    Every image, and every file of metadata, is the old or the new for a reader, whatever happens to the
    writer. Several processes may write one plate. Loaded arrays are new and the caller's. Thread-safe;
    picklable.

    Parameters
    ----------
    root
        None: paths are those of the file system, or urls (``s3://bucket/p.zarr/A01_s1.tif``). A folder or a
        url: every path is relative to it, and one that leaves it is refused.
    version
        Of OME-NGFF for new plates: ``"0.5"`` (Zarr 3) or ``"0.4"`` (Zarr 2). A plate that is there keeps its
        own.
    engine
        ``"tensorstore"``, ``"zarr"`` (zarr-python), or ``"auto"``, see `polystore.omezarr.engines.choose`.
    durable
        Whether what was saved is on the medium when `save` returns; by default ``POLYSTORE_DURABLE``.
    pyramid
        Smaller copies of planes: ``"auto"`` (for planes over 2048 pixels), True or False.
    options
        How to reach a bucket, as of `polystore.objects.CloudObjects`: ``endpoint=``, ``profile=``.
    """

    context_options = frozenset({"kind"})
    _libraries = ("zarr",)

    def __init__(
        self,
        root: StrPath | None = None,
        *,
        version: Version = "0.5",
        engine: EngineName = "auto",
        durable: bool | None = None,
        pyramid: Pyramid = "auto",
        **options: Any,
    ) -> None:
        if version not in VERSIONS:
            raise UnsupportedFormatError(
                f"OME-Zarr {version!r} cannot be written (known: {', '.join(VERSIONS)})"
            )
        if engine not in ENGINES:
            raise UnsupportedFormatError(f"unknown engine {engine!r} (known: {', '.join(ENGINES)})")
        text = None if root is None else check_path(root)
        self.root = text if text is None or is_url(text) else os.path.abspath(text)
        self.version: Version = version
        self.engine: EngineName = engine
        self.durable = Settings.from_env().durable if durable is None else durable
        self.pyramid: Pyramid = pyramid
        self._files = Files(self.root, durable=self.durable, options=options)

    def __repr__(self) -> str:
        return (
            f"ZarrBackend(root={self.root!r}, version={self.version!r}, engine={self.engine!r}, "
            f"durable={self.durable!r}, pyramid={self.pyramid!r})"
        )

    # -- reading

    def load(self, path: StrPath, *, level: int = 0, **options: Any) -> Any:
        """The plane, image or value at a path; ``level`` 1 and more are its smaller copies.

        Raises
        ------
        NotFoundError
            Nothing was saved there; a plane that was never written is never made up.
        """
        place = self._locate(path)
        if options and not isinstance(place, Plain) and self._files.kind(path) != "file":
            raise UnsupportedFormatError(f"unknown option {sorted(options)[0]!r} for {path!s} (known: level)")
        if isinstance(place, Plane):
            plane = reader.load_plane(self._tree(place.plate), place, self._engine(), level=level)
            if plane is not None:
                return plane
            place = Single(_clean(path) + names.SUFFIX)
        if isinstance(place, Single):
            tree = self._tree(place.path)
            group = open_group(tree)
            if is_single(group):
                return load_single(tree, self._engine(), level=level)
            foreign = self._tree(_clean(path))  # "0" of a collection of images
            if self._files.kind(path) == "folder" and is_single(open_group(foreign)):
                return load_single(foreign, self._engine(), level=level)
            if self.kind(path) == "folder":
                raise NotAFileError(f"{path!s} is a folder; list_files shows what is in it")
            if self._files.kind(path) is None:
                raise NotFoundError(f"nothing is at {path!s}")
        self._refuse_internal(path)
        return self._files.load(path, **options)

    def load_batch(self, paths: Sequence[StrPath], **options: Any) -> list[Any]:
        """The values of several paths, in order; from a bucket several are on their way at once."""
        if any(self._files.is_far(path) for path in paths):
            return load_at_once(self.load, paths, options)
        return super().load_batch(paths, **options)

    def kind(self, path: StrPath) -> Kind | None:
        """``"file"``, ``"folder"`` or None. The groups of rows, wells and fields are no folders."""
        place = self._locate(path)
        text = _clean(path)
        if isinstance(place, Plane):
            if reader.has_plane(self._tree(place.plate), place):
                return "file"
            place = Single(text + names.SUFFIX)
        if isinstance(place, Single) and is_single(open_group(self._tree(place.path))):
            return "file"
        if self._is_internal(text):
            return None
        kind = self._files.kind(path)
        if kind == "folder" and is_single(open_group(self._tree(text))):
            return "file"
        return kind

    def scan(self, folder: StrPath) -> Iterable[Entry]:
        """What stands directly in a folder: planes by the names they were saved under, images, files, folders."""
        return self._scan(folder, {})

    def walk(self, directory: StrPath) -> Iterator[tuple[str, list[str], list[str]]]:
        """As every store; each plate is listed once, however many folders its names have."""
        yield from self._walk(os.fspath(directory), {})

    def _walk(self, folder: str, listed: dict[str, list[str]]) -> Iterator[tuple[str, list[str], list[str]]]:
        entries = sorted(self._scan(folder, listed), key=lambda entry: natural_key(entry.name))
        folders = [entry for entry in entries if entry.is_folder]
        yield (
            folder,
            [entry.name for entry in folders],
            [entry.name for entry in entries if not entry.is_folder],
        )
        for entry in folders:
            if not entry.is_link:
                yield from self._walk(join(folder, entry.name), listed)

    def _scan(self, folder: StrPath, listed: dict[str, list[str]]) -> Iterable[Entry]:
        text = _clean(folder)
        kind = self.kind(folder)
        if kind is None:
            raise NotFoundError(f"no folder at {folder!s}")
        if kind == "file":
            raise NotAFolderError(f"{folder!s} is a file")
        found: dict[str, Entry] = {}
        hidden = reader.rows_of(self._tree(text)) if self._is_plate(text) else frozenset()
        for entry in self._files.scan(folder):
            if entry.name in hidden or self._hides(text, entry.name):
                continue
            if entry.is_folder and self._may_be_image(text, entry.name):
                inner = self._tree(posixpath.join(text, entry.name))
                if is_single(open_group(inner)):
                    name = names.single_name(entry.name)
                    found[name] = Entry(name, is_folder=False)
                    continue
            found[entry.name] = entry
        for collection, lead in self._collections(text):
            plate = self._plate_of(collection)
            if plate not in listed:
                listed[plate] = list(reader.names_in(self._tree(plate), self.version))
            for name in listed[plate]:
                head, _, tail = name.rpartition("/")
                if head == lead:
                    found[tail] = Entry(tail, is_folder=False)
        return found.values()

    def plate(self, plate_path: StrPath) -> PlateIndex:
        """Every plane of a plate and what is known of it. No pixels are read.

        Raises
        ------
        NotFoundError
            There is no plate.
        """
        text = _clean(plate_path)
        self._check(plate_path)
        index = reader.index_of(self._tree(self._plate_of(text)), os.fspath(plate_path), self.version)
        if index is None:
            raise NotFoundError(f"no OME-Zarr plate at {plate_path!s}")
        return index

    # -- writing

    def save(
        self,
        data: Any,
        path: StrPath,
        *,
        overwrite: bool = True,
        kind: Literal["image", "labels"] = "image",
        **options: Any,
    ) -> None:
        """Store a plane, an image or any other value.

        Parameters
        ----------
        data, path, overwrite
            As every store.
        kind
            ``"labels"``: to the labels of its field, although the name does not say so.
        **options
            Of an image: ``axes="zyx"``; of other files as the disk backend has them.

        Raises
        ------
        UnsupportedArrayError, UnsupportedFormatError
            Zarr cannot hold it exactly, or the other planes of its field have another dtype or size.
        """
        with writer.Batch(self._writer()) as batch:
            self._prepare(batch, [(data, path)], overwrite=overwrite, kind=kind)
            self._save(batch, 0, data, path, overwrite=overwrite, kind=kind, **options)

    def save_batch(self, data_list: Sequence[Any], file_paths: Sequence[StrPath], **options: Any) -> None:
        """Store each value under its path, in order; metadata of plates once for the whole batch."""
        check_lengths(data_list, file_paths)
        pairs = list(zip(data_list, file_paths, strict=True))
        with writer.Batch(self._writer()) as batch:
            chosen = {name: options[name] for name in ("overwrite", "kind") if name in options}
            self._prepare(batch, pairs, **chosen)
            for index, (value, path) in enumerate(pairs):
                try:
                    self._save(batch, index, value, path, **options)
                except (PolystoreError, OSError) as exc:
                    done = f"the {index} before it are done" if index else "none is done"
                    raise BatchError(
                        f"cannot save item {index} of {len(pairs)}, {path!s}: {exc} ({done})",
                        index=index,
                        done=index,
                        errno=getattr(exc, "errno", None),
                    ) from exc

    def _prepare(
        self,
        batch: writer.Batch,
        pairs: Sequence[tuple[Any, StrPath]],
        *,
        overwrite: bool = True,
        kind: str = "image",
    ) -> None:
        """Make room for the planes of a batch, up to the first item that will be refused anyway."""
        for index, (data, path) in enumerate(pairs):
            try:
                place = self._locate(path, kind)
                if not isinstance(place, Plane) or not is_array(data):
                    continue
                array = _exact(data)
                if not _is_plane(place, array):
                    continue
                self._refuse_internal(path)
                self._check_above(path, plate=place.plate)
            except PolystoreError:
                break
            batch.add(index, self._tree(place.plate), place, array, overwrite=overwrite)
        batch.prepare()

    def _save(
        self,
        batch: writer.Batch,
        index: int,
        data: Any,
        path: StrPath,
        *,
        overwrite: bool = True,
        kind: str = "image",
        **options: Any,
    ) -> None:
        place = self._locate(path, kind)
        if posixpath.basename(os.fspath(path).replace(os.sep, "/")) in ("", ".", ".."):
            raise NotAFileError(f"{path!s} names a folder; give the name of a file")
        if isinstance(place, Plain) or not is_array(data):
            self._refuse_internal(path)
            if not isinstance(place, Plain) and not is_array(data):
                raise UnsupportedFormatError(
                    f"{type(data).__name__} for {path!s}: images are arrays; save it as .json, .csv or .txt"
                )
            self._check_above(path)
            self._files.save(data, path, overwrite=overwrite, **options)
            return
        array = _exact(data)
        text = _clean(path)
        if isinstance(place, Plane) and _is_plane(place, array):
            if options:
                raise UnsupportedFormatError(f"unknown option {sorted(options)[0]!r} for a plane of a plate")
            if index not in batch:  # it was refused when room was made: say why
                self._refuse_internal(path)
                self._check_above(path, plate=place.plate)
            single = Single(text + names.SUFFIX)
            stands = self._files.there(single.path) or self._files.there(text)
            replaced = stands and self._stands_in_the_way(path, single, overwrite=overwrite)
            folder = posixpath.dirname(place.name)
            if folder:
                self._files.mkdir(posixpath.dirname(text))
            batch.write(index, overwrite=overwrite)
            if replaced:
                self._files.delete(single.path, recursive=True)
            return
        taken = isinstance(place, Plane) and reader.has_plane(self._tree(place.plate), place)
        if taken and not overwrite:
            raise AlreadyExistsError(f"{path!s} exists already; pass overwrite=True to replace it")
        single = place if isinstance(place, Single) else Single(text + names.SUFFIX)
        self._check_above(path)
        self._refuse_internal(path)
        there = self.kind(path)
        if there == "folder":
            raise NotAFileError(f"a folder is at {path!s}; choose another name")
        if there == "file" and self._files.kind(path) == "file":
            raise AlreadyExistsError(f"a file of another format is at {path!s}; delete it first")
        unknown = options.keys() - {"axes"}
        if unknown:
            raise UnsupportedFormatError(f"unknown option {sorted(unknown)[0]!r} for {path!s} (known: axes)")
        self._files.mkdir(posixpath.dirname(single.path) or ".")
        save_single(
            self._tree(single.path), array, self.version, self._engine(),
            overwrite=overwrite, pyramid=self.pyramid, labels=kind == "labels", **options,
        )  # fmt: skip
        if taken:
            assert isinstance(place, Plane)
            reader.delete_plane(self._tree(place.plate), place)

    def _stands_in_the_way(self, path: StrPath, single: Single, *, overwrite: bool) -> bool:
        """Whether an image of its own has a plane's name and goes when the plane is stored; others are refused."""
        if is_single(open_group(self._tree(single.path))):
            if not overwrite:
                raise AlreadyExistsError(f"{path!s} exists already; pass overwrite=True to replace it")
            return True
        kind = self._files.kind(path)
        if kind == "folder":
            raise NotAFileError(f"a folder is at {path!s}; choose another name")
        if kind == "file":
            raise AlreadyExistsError(f"a file of another format is at {path!s}; delete it first")
        return False

    def describe(self, plate_path: StrPath, info: PlateInfo) -> None:
        """Note what is known of a plate (names of channels, sizes of pixels, positions), beside what is
        known already; before or after its images are saved."""
        self._check(plate_path)
        self._check_above(join(plate_path, "x"))
        tree = self._tree(self._plate_of(_clean(plate_path)))
        plates.describe(tree, self.version, self.pyramid, info)

    def mkdir(self, path: StrPath) -> None:
        """Make a folder and those above it."""
        self._check_above(join(path, "x"))
        self._refuse_internal(path)
        self._files.mkdir(path)

    def delete(self, path: StrPath, *, recursive: bool = False) -> None:
        """Remove a plane, an image, a file, or a folder with ``recursive``."""
        place = self._locate(path)
        text = _clean(path)
        if isinstance(place, Plane):
            if reader.delete_plane(self._tree(place.plate), place):
                return
            place = Single(text + names.SUFFIX)
        if isinstance(place, Single) and is_single(open_group(self._tree(place.path))):
            self._files.delete(place.path, recursive=True)
            return
        kind = self.kind(path)
        if kind is None:
            raise NotFoundError(f"nothing is at {path!s}")
        if kind == "folder" and not recursive and list(self.scan(path)):
            raise StorageError(
                f"folder {path!s} is not empty; pass recursive=True to delete what is in it, too"
            )
        if kind == "folder":
            for collection, lead in self._collections(text):
                if lead:
                    self._delete_named(collection, lead)
        self._files.delete(path, recursive=True)

    def _delete_named(self, collection: str, lead: str) -> None:
        tree = self._tree(self._plate_of(collection))
        for name in list(reader.names_in(tree, self.version)):
            if name.startswith(lead + "/"):
                place = self._locate(posixpath.join(collection, name))
                if isinstance(place, Plane):
                    reader.delete_plane(tree, place)

    def _copy(self, source: StrPath, target: StrPath, kind: Kind) -> None:
        if (
            kind == "file"
            and isinstance(self._locate(source), Plain)
            and isinstance(self._locate(target), Plain)
        ):
            self._check_above(target)
            self._files.copy(source, target, overwrite=True)
            return
        first, second = _clean(source), _clean(target)
        names_its_images = names.is_name_folder(posixpath.basename(first)) or names.is_name_folder(
            posixpath.basename(second)
        )
        if kind == "folder" and self._is_plate(first) == self._is_plate(second) and not names_its_images:
            self._check_above(target)  # what is in the folder stays as it is, so its files are copied
            self._refuse_internal(target)
            self._files.copy(source, target)
            return
        super()._copy(source, target, kind)

    # -- inside

    def _engine(self) -> Engine:
        return engine(choose(self.engine))

    def _writer(self) -> writer.Settings:
        return writer.Settings(self._engine(), self.version, self.pyramid)

    def _tree(self, path: str) -> Tree:
        return self._files.tree(path)

    def _check(self, path: StrPath) -> None:
        """Refuse a path that leaves the root, or is none, before anything is touched."""
        self._files.check(path)

    def _locate(self, path: StrPath, kind: str = "image") -> names.Place:
        self._check(path)
        place = names.locate(_clean(path), "labels" if kind == "labels" else None)
        if isinstance(place, Plane) and place.plate == names.IMAGES:
            return replace(place, plate=self._plate_of("."))
        return place

    def _plate_of(self, folder: str) -> str:
        """The plate of the planes in a folder: itself, or ``images.zarr`` in it. The root may be one, too."""
        if folder in ("", "."):
            return "." if self._is_plate(".") else names.IMAGES
        return names.plate_folder(folder)

    def _is_plate(self, folder: str) -> bool:
        """Whether a folder is a plate by its name."""
        return _is_zarr(self.root or "") if folder in ("", ".") else _is_zarr(folder)

    def _check_above(self, path: StrPath, *, plate: str | None = None) -> None:
        """Refuse to store below an image. Whether the plate is one is seen when it is opened."""
        folder = posixpath.dirname(_clean(path))
        while folder and folder not in ("/", "."):
            name = posixpath.basename(folder)
            if "." in name and folder != plate and self.kind(folder) == "file":
                raise NotAFolderError(f"{folder!r} is a file, so nothing can be stored below it")
            folder = posixpath.dirname(folder)

    def _is_internal(self, text: str) -> bool:
        """Whether a path leads into the groups of a plate or an image, where no names of ours are."""
        while text not in ("", ".", "/"):
            folder, name = posixpath.split(text)
            if self._is_plate(folder) and (
                name in _INTERNAL or name in reader.rows_of(self._tree(folder or "."))
            ):
                return True
            text = folder
        return False

    def _refuse_internal(self, path: StrPath) -> None:
        text = _clean(path)
        while text not in ("", ".", "/"):
            folder, name = posixpath.split(text)
            if self._is_plate(folder) and (name in _INTERNAL or names.is_row(name)):
                raise UnsafePathError(f"{path!s} is part of the plate's own structure; choose another name")
            text = folder

    def _hides(self, folder: str, name: str) -> bool:
        return (
            name == names.IMAGES
            or (self._is_plate(folder) and name in _INTERNAL)
            or name.startswith(".polystore")
        )

    def _may_be_image(self, folder: str, name: str) -> bool:
        return _is_zarr(name) or self._is_plate(".") or any(_is_zarr(part) for part in folder.split("/"))

    def _collections(self, folder: str) -> Iterator[tuple[str, str]]:
        """Folders whose plates may have planes in a folder, and the folder as those planes' names begin."""
        lead = ""
        while True:
            yield folder, lead
            folder, last = posixpath.split(folder)
            if not last or not names.is_name_folder(last):
                return
            lead = f"{last}/{lead}" if lead else last


def _clean(path: StrPath) -> str:
    text = check_path(path)
    if os.sep != "/":
        text = text.replace(os.sep, "/")
    return posixpath.normpath(text)


def _is_zarr(path: str) -> bool:
    return path.lower().endswith(names.SUFFIX)


def _exact(data: Any) -> NDArray[Any]:
    array = as_host_array(data)
    check_array(array, max_bytes=_UNBOUNDED)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return array


def _is_plane(place: Plane, array: NDArray[Any]) -> bool:
    if array.ndim != 2 or array.size == 0:
        return False
    return place.labels is None or np.issubdtype(array.dtype, np.integer)
