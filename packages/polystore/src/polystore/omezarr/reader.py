"""Planes out of plates, ours and those of other software, by the same names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from polystore.components import ImageKey, Value
from polystore.errors import CorruptFileError, NotFoundError, StorageError
from polystore.omezarr import foreign, images, labels, ngff, plates
from polystore.omezarr.blocks import ImageBlock, Series, info_from_plain, level_paths, read_block
from polystore.omezarr.engines import Engine
from polystore.omezarr.grouping import Group, Version, array_meta, group_at, open_group
from polystore.omezarr.names import Plane, field_path, row_and_column
from polystore.omezarr.pixels import read_plane
from polystore.omezarr.tree import Tree
from polystore.plate import ChannelInfo, PlaneRef, PlateIndex, PlateInfo

__all__ = ["delete_plane", "has_plane", "index_of", "load_plane", "names_in", "rows_of"]

ATTEMPTS = 100
"""Times a reader looks again when a field's array was replaced while it read."""


@dataclass(frozen=True, slots=True)
class _Found:
    """A plane: the group it is in, its array's path there, its place in the array."""

    tree: Tree
    group: Group
    path: str
    index: tuple[int, ...]
    levels: int
    ours: bool


def _find(plate: Tree, place: Plane, level: int = 0) -> Iterator[_Found]:
    """Where a plane may be, by the metadata; whether it was written is not looked at."""
    for path in _candidates(plate, place):
        tree = plate.at(path)
        group = open_group(tree)
        if group is None:
            continue
        block = read_block(group.block, tree.place)
        if block is not None:
            target = images.target_of(block, place)
            if target is not None and images.name_at(*target) == place.name:
                series, index = target
                paths = level_paths(series.path, series.levels)
                path_of_level = paths[level] if 0 <= level < len(paths) else ""
                yield _Found(tree, group, path_of_level, index, series.levels, True)
        elif group.ome.get("multiscales"):
            if 0 <= level < len(ngff.multiscales_of(group.ome, tree.place)[0].datasets):
                image = foreign.open_image(tree, group, level)
                at = image.index(place.key)
                if at is not None:
                    yield _Found(tree, group, image.path, at, 1, False)
            else:
                yield _Found(tree, group, "", (), 1, False)


def _candidates(plate: Tree, place: Plane) -> Iterator[str]:
    """Paths of the group a plane may be in: ours, then as the plate's own lists say."""
    key = place.key
    assert key.well is not None
    row, column = row_and_column(key.well)
    # Labels that were saved as such under the name of an image come after the image.
    names = ["", "/labels/labels"] if place.labels is None else [f"/labels/{place.labels}"]
    if place.labels is not None and place.labels.endswith("_labels"):
        names.append(f"/labels/{place.labels.removesuffix('_labels')}")
    ours = f"{row}/{column}/{field_path(key)}"
    for name in names:
        yield ours + name
    group = open_group(plate)
    if group is None or group.block is not None:
        return
    for field in plates.fields_of(plate, group):
        if field.well == key.well and field.field == key.field and field.path != ours:
            for name in names:
                yield field.path + name


def load_plane(plate: Tree, place: Plane, engine: Engine, *, level: int = 0) -> NDArray[Any] | None:
    """The plane at a place, or None when it was never written.

    Raises
    ------
    NotFoundError
        It has no such resolution.
    CorruptFileError
        It is damaged.
    """
    seen: set[str] = set()
    for _ in range(ATTEMPTS):
        places = []
        for found in _find(plate, place, level):
            places.append(found.tree.place + found.path)
            if not found.path:
                raise NotFoundError(f"{place.name} in {plate.place} has no resolution {level}")
            array = found.tree.at(found.path)
            meta = array_meta(array, found.group.format)
            if meta is not None:
                try:
                    return read_plane(array, meta, found.index, engine, sparse=not found.ours)
                except NotFoundError:
                    continue
        if seen.issuperset(places):
            return None
        seen.update(places)  # a field's array may just have been replaced: look again
    return None


def _is_there(found: _Found) -> bool:
    if not found.ours:
        return True
    array = found.tree.at(found.path)
    meta = array_meta(array, found.group.format)
    return meta is not None and array.holds(meta.key((*found.index, 0, 0)))


def has_plane(plate: Tree, place: Plane) -> bool:
    """Whether a plane was written."""
    return any(_is_there(found) for found in _find(plate, place))


def delete_plane(plate: Tree, place: Plane) -> bool:
    """Remove a plane with its smaller copies; whether it was there."""
    for found in _find(plate, place):
        if not found.ours:
            raise StorageError(f"{plate.place} was written by other software; its planes cannot be deleted")
        if _is_there(found):
            removed = False
            for path in level_paths(found.path, found.levels):
                array = found.tree.at(path)
                meta = array_meta(array, found.group.format)
                if meta is not None and array.delete(meta.key((*found.index, 0, 0))):
                    removed = True
            return removed
    return False


def rows_of(plate: Tree) -> frozenset[str]:
    """Names of the folders that hold a plate's rows."""
    try:
        group = open_group(plate)
    except CorruptFileError:
        return frozenset()
    if group is None:
        return frozenset()
    listed = (group.ome.get("plate") or {}).get("rows") or ()
    return frozenset(str(row.get("name")) for row in listed if isinstance(row, dict))


@dataclass(frozen=True, slots=True)
class _Named:
    name: str
    key: ImageKey
    labels: str | None


def _planes(plate: Tree, group: Group, *, with_labels: bool) -> Iterator[_Named]:
    for field in plates.fields_of(plate, group):
        tree = plate.at(field.path)
        there = group_at(tree, group.format)
        if there is None:
            continue
        yield from _planes_of(tree, there, field, None)
        if with_labels:
            for name in labels.names_of(tree, there):
                below = tree.at(f"labels/{name}")
                inner = group_at(below, there.format)
                if inner is not None:
                    yield from _planes_of(below, inner, field, name)


def _planes_of(tree: Tree, group: Group, field: plates.Field, name: str | None) -> Iterator[_Named]:
    block = read_block(group.block, tree.place)
    if block is not None:
        for plane, series, index in images.planes_in(tree, group.format, block):
            yield _Named(plane, _key(block, series, index), name)
    elif group.ome.get("multiscales"):
        image = foreign.open_image(tree, group)
        for plane, key in foreign.planes_of(image, field.well, field.field, name):
            yield _Named(plane, key, name)


def _key(block: ImageBlock, series: Series, index: images.Index) -> ImageKey:
    t, c, z = (
        None if values is None else values[number]
        for number, values in zip(index, (series.t, series.c, series.z), strict=True)
    )
    return ImageKey(acquisition=block.acquisition, well=block.well, field=block.field, channel=c, z=z, t=t)


def names_in(plate: Tree, version: Version) -> Iterator[str]:
    """Names of all planes of a plate and of its labels; none where there is no plate."""
    group = open_group(plate, 2 if version == "0.4" else 3)
    if group is not None and group.ome.get("plate"):
        for plane in _planes(plate, group, with_labels=True):
            yield plane.name


def index_of(plate: Tree, root: str, version: Version) -> PlateIndex | None:
    """Every plane of a plate, without its labels, or None where there is no plate."""
    group = open_group(plate, 2 if version == "0.4" else 3)
    if group is None or not (group.ome.get("plate") or group.block):
        return None
    planes = [
        PlaneRef(plane.key, plane.name)
        for plane in (_planes(plate, group, with_labels=False) if group.ome.get("plate") else ())
    ]
    planes.sort(key=lambda plane: plane.key.sort_key())
    block = group.block
    info = (
        info_from_plain(block.get("info"), plate.place) if block is not None else _foreign_info(plate, group)
    )
    return PlateIndex(root, "zarr", "openhcs", tuple(planes), info)


def _foreign_info(plate: Tree, group: Group) -> PlateInfo:
    """What another's plate says of itself: name and size, and of its first field pixels and channels."""
    described = group.ome.get("plate") or {}
    values: dict[str, Any] = {
        "name": described.get("name"),
        "rows": len(described.get("rows") or ()) or None,
        "columns": len(described.get("columns") or ()) or None,
    }
    first = next(plates.fields_of(plate, group), None)
    if first is None:
        return PlateInfo(**values)
    tree = plate.at(first.path)
    image = group_at(tree, group.format)
    entries = ngff.multiscales_of(image.ome, tree.place) if image is not None else []
    if image is None or not entries:
        return PlateInfo(**values)
    channels: dict[Value, ChannelInfo] = {}
    for number, entry in enumerate((image.ome.get("omero") or {}).get("channels") or (), start=1):
        if isinstance(entry, dict):
            channels[number] = ChannelInfo(name=entry.get("label"), color=entry.get("color"))
    scale = ngff.scale_of(entries[0])
    units = {axis.name: axis.unit for axis in ngff.axes_with_units(entries[0])}
    axes = ngff.axes_of(entries[0], len(scale) if scale else 0)
    by_axis = dict(zip(axes, scale or (), strict=False))
    if units.get("y") == "micrometer" and "y" in by_axis and "x" in by_axis:
        values["pixel_size_um"] = (by_axis["y"], by_axis["x"])
    if units.get("z") == "micrometer" and "z" in by_axis:
        values["z_step_um"] = by_axis["z"]
    if units.get("t") == "second" and "t" in by_axis:
        values["t_step_s"] = by_axis["t"]
    return PlateInfo(**values, channels=channels)
