"""OME-Zarr images of their own: any array under any name, replaced in one step whatever its shape."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polystore.errors import AlreadyExistsError, NotFoundError, UnsupportedFormatError
from polystore.omezarr import ngff
from polystore.omezarr.arrays import ArrayMeta, ZarrFormat
from polystore.omezarr.engines import Engine
from polystore.omezarr.grouping import BLOCK, Group, array_meta, change_group, open_group, store_array
from polystore.omezarr.pixels import read_array, write_array
from polystore.omezarr.pyramids import Pyramid, halved, levels_of
from polystore.omezarr.tree import Tree

__all__ = ["is_single", "load_single", "save_single"]

ATTEMPTS = 100
"""Times a reader looks again when the image was replaced while it read."""


def is_single(group: Group | None) -> bool:
    """Whether a group is an image."""
    if group is None:
        return False
    return bool(group.ome.get("multiscales")) or "array" in (group.block or {})


def save_single(
    tree: Tree,
    array: NDArray[Any],
    version: str,
    engine: Engine,
    *,
    overwrite: bool,
    pyramid: Pyramid = "auto",
    axes: str | None = None,
    labels: bool = False,
) -> None:
    """Store an array as the image at a tree; all or nothing.

    A chunk of the same sort is replaced where it is. Everything else is written beside the old image, then the
    group's metadata, which says where the image is, is replaced, and then the old image goes.

    Raises
    ------
    AlreadyExistsError
        An image is there and must not be replaced.
    UnsupportedFormatError
        The axes do not fit the array.
    """
    zarr_format: ZarrFormat = 2 if version == "0.4" else 3
    names = _axes(array, axes)
    group = open_group(tree, zarr_format)
    if group is not None:
        if not overwrite:
            raise AlreadyExistsError(f"{tree.place} exists already; pass overwrite=True to replace it")
        zarr_format, version = group.format, "0.4" if group.format == 2 else "0.5"
        if _replaced_in_place(tree, group, array, names, engine):
            return
    height, width = array.shape[-2:] if names else (0, 0)
    levels = levels_of(height, width, pyramid) if names else 1
    folder = _new_folder(tree, zarr_format, is_new=group is None)
    paths = [f"{folder}{level}" for level in range(levels)]
    shapes: list[Sequence[int]] = []
    try:
        for path in paths:
            meta = ArrayMeta.new(zarr_format, array.shape, array.dtype, axes=names)
            store_array(tree.at(path), meta)
            write_array(tree.at(path), meta, array, engine)
            shapes.append(array.shape)
            if path != paths[-1]:
                array = halved(array, nearest=labels)
    except BaseException:
        _discard(tree, paths)
        raise

    replaced: list[str] = []

    def change(group: Group, is_new: bool) -> bool:
        if is_single(group) and not overwrite:
            _discard(tree, paths)
            raise AlreadyExistsError(f"{tree.place} exists already; pass overwrite=True to replace it")
        replaced[:] = _paths(group, tree.place) if is_single(group) else []
        group.attributes[BLOCK] = {"version": 1, "array": paths[0]}
        if names:
            entry = ngff.multiscale(
                paths, shapes, names, version=version, name=tree.place.rpartition("/")[2], nearest=labels
            )
            group.ome["multiscales"] = [entry]
        else:
            group.ome.pop("multiscales", None)
        return True

    change_group(tree, zarr_format, change)
    for path in replaced:
        tree.at(path).delete_all()


def load_single(tree: Tree, engine: Engine, *, level: int = 0) -> NDArray[Any]:
    """The image at a tree, at a resolution; new and the caller's.

    Raises
    ------
    NotFoundError
        There is none, or no such resolution.
    CorruptFileError
        It is damaged.
    """
    for _ in range(ATTEMPTS):
        group = open_group(tree)
        if group is None or not is_single(group):
            raise NotFoundError(f"no image at {tree.place}")
        path = _path(group, tree.place, level)
        meta = array_meta(tree.at(path), group.format)
        ours = group.block is not None
        try:
            if meta is None:
                raise NotFoundError(f"{tree.place} names an array {path!r} that is not there")
            return read_array(tree.at(path), meta, engine, sparse=not ours)
        except NotFoundError:
            again = open_group(tree, group.format)
            if again is not None and is_single(again) and _path(again, tree.place, level) == path:
                raise
    raise NotFoundError(f"{tree.place} is replaced all the time")


def _paths(group: Group, place: str) -> list[str]:
    """Arrays of an image, largest first."""
    images = ngff.multiscales_of(group.ome, place)
    if not images:
        return [str((group.block or {})["array"])]
    return [dataset.path for dataset in images[0].datasets]


def _path(group: Group, place: str, level: int) -> str:
    paths = _paths(group, place)
    if not 0 <= level < len(paths):
        raise NotFoundError(f"{place} has {len(paths)} resolutions, no number {level}")
    return paths[level]


def _axes(array: NDArray[Any], axes: str | None) -> tuple[str, ...]:
    """Names of an image's axes; none where OME-NGFF has none for such an array."""
    if axes is None:
        if not 2 <= array.ndim <= 5 or 0 in array.shape:
            return ()
        return ngff.AXES[5 - array.ndim :] if array.ndim != 4 else ("c", "z", "y", "x")
    names = tuple(axes.lower())
    good = tuple(name for name in ngff.AXES if name in names)
    if names != good or names[-2:] != ("y", "x") or len(names) != array.ndim:
        raise UnsupportedFormatError(
            f"axes={axes!r} for an array of shape {array.shape}: one letter per dimension, in the order tczyx"
        )
    return names


def _replaced_in_place(
    tree: Tree, group: Group, array: NDArray[Any], axes: tuple[str, ...], engine: Engine
) -> bool:
    """Store an array over one of the same sort, where both are one chunk and nothing else."""
    if group.block is None or array.size == 0:
        return False
    images = ngff.multiscales_of(group.ome, tree.place)
    if images and (len(images[0].datasets) != 1 or ngff.axes_of(images[0], array.ndim) != axes):
        return False
    if not images and axes:
        return False
    path = _path(group, tree.place, 0)
    meta = array_meta(tree.at(path), group.format)
    if meta is None or meta.shape != array.shape or meta.dtype != array.dtype:
        return False
    if len(list(meta.grid())) != 1:
        return False
    write_array(tree.at(path), meta, array, engine)
    return True


def _discard(tree: Tree, paths: Sequence[str]) -> None:
    """Remove arrays that only this caller knows."""
    for path in paths:
        tree.at(path).delete_all()


def _new_folder(tree: Tree, zarr_format: ZarrFormat, *, is_new: bool) -> str:
    """Where a new image goes in its group: to the top for the first, else to a folder of its own."""
    if is_new:
        try:
            store_array(tree.at("0"), ArrayMeta.new(zarr_format, (1,), np.dtype("u1")), overwrite=False)
        except AlreadyExistsError:
            pass
        else:
            return ""
    return f"v{secrets.token_hex(8)}/"
