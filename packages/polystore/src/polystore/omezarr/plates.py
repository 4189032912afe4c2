"""Plates: the groups of rows and wells around the fields, and what is known of the whole."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

from polystore._paths import natural_key
from polystore.components import ImageKey, Value, canonical, component
from polystore.errors import ComponentError, NotAFolderError, UnsupportedFormatError
from polystore.omezarr.arrays import ZarrFormat
from polystore.omezarr.blocks import ImageBlock, info_from_plain, info_to_plain, read_block
from polystore.omezarr.describing import refresh
from polystore.omezarr.grouping import BLOCK, Group, Version, change_group, group_at, open_group, plain_group
from polystore.omezarr.names import field_path, row_and_column
from polystore.omezarr.pyramids import Pyramid
from polystore.omezarr.requests import Context
from polystore.omezarr.tree import Tree
from polystore.plate import PlateInfo

__all__ = ["Field", "describe", "fields_of", "merged", "open_plate", "register"]

VERSION = 1
"""Of our own attributes."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a plate, as the plate and its well list it.

    Parameters
    ----------
    path
        Of its group in the plate: ``"A/1/1"``.
    well
        The well's name.
    field
        Its value.
    """

    path: str
    well: str
    field: Value


def context_of(group: Group | None, version: Version, pyramid: Pyramid, place: str) -> Context:
    """What images of a plate are made with; a plate that is there decides its version itself."""
    if group is None:
        return Context(version, 2 if version == "0.4" else 3, pyramid, PlateInfo())
    if group.ome.get("multiscales"):
        raise NotAFolderError(f"{place} is a single image; save to another folder")
    block = group.block or {}
    info = info_from_plain(block.get("info"), place)
    return Context("0.4" if group.format == 2 else "0.5", group.format, pyramid, info)


def open_plate(tree: Tree, version: Version, pyramid: Pyramid) -> tuple[Group | None, Context]:
    """A plate's group to write to, if there is one, and what its images are made with.

    Raises
    ------
    UnsupportedFormatError
        Somebody else wrote it.
    NotAFolderError
        It is a single image.
    """
    group = open_group(tree, 2 if version == "0.4" else 3)
    if group is not None and group.ome.get("plate") and group.block is None:
        raise UnsupportedFormatError(
            f"{tree.place} was written by other software and is only read: save to a folder beside it"
        )
    return group, context_of(group, version, pyramid, tree.place)


def register(tree: Tree, context: Context, keys: Iterable[ImageKey], group: Group | None) -> None:
    """List fields in their wells and wells in the plate: a change of each well's file, and one of the plate's.

    ``group`` is the plate as it was read before; what it lists already costs nothing.
    """
    wells: dict[tuple[str, str], dict[str, ImageKey]] = {}
    for key in keys:
        assert key.well is not None
        wells.setdefault(row_and_column(key.well), {})[field_path(key)] = key
    most = 0
    for (row, column), fields in wells.items():
        plain_group(tree.at(row), context.format)
        most = max(most, _list_fields(tree.at(f"{row}/{column}"), context, fields))
    acquisitions = {key.acquisition for fields in wells.values() for key in fields.values()} - {None}
    if group is None or not _lists(group, wells, most, acquisitions):
        change_group(tree, context.format, _adding(context, wells, most, acquisitions, tree.place))


def _list_fields(tree: Tree, context: Context, fields: Mapping[str, ImageKey]) -> int:
    count = 0
    there = group_at(tree, context.format)
    if there is not None:
        images_there = (there.ome.get("well") or {}).get("images", ())
        if {entry.get("path") for entry in images_there}.issuperset(fields):
            return len(images_there)

    def change(group: Group, is_new: bool) -> bool:
        nonlocal count
        well: dict[str, Any] = group.ome.setdefault("well", {})
        well.setdefault("version", context.version)
        listed: list[dict[str, Any]] = well.setdefault("images", [])
        known = {entry.get("path") for entry in listed}
        for path, key in fields.items():
            if path not in known:
                entry: dict[str, Any] = {"path": path}
                if key.acquisition is not None:
                    entry["acquisition"] = _acquisition_id(key.acquisition)
                listed.append(entry)
        listed.sort(key=lambda entry: natural_key(str(entry.get("path"))))
        count = len(listed)
        return is_new or not known.issuperset(fields)

    change_group(tree, context.format, change)
    return count


def _acquisition_id(acquisition: Value) -> int:
    text = str(acquisition)
    if text.isascii() and text.isdigit():
        return int(text)
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=6).digest(), "big")


def _lists(
    group: Group, wells: Iterable[tuple[str, str]], most: int, acquisitions: Iterable[Value | None]
) -> bool:
    plate = group.ome.get("plate") or {}
    ids = {entry.get("id") for entry in plate.get("acquisitions", ())}
    return (
        all(at is not None and there for at, there in _places(plate, wells))
        and plate.get("field_count", 0) >= most
        and all(_acquisition_id(value) in ids for value in acquisitions if value is not None)
    )


def _adding(
    context: Context,
    wells: Iterable[tuple[str, str]],
    most: int,
    acquisitions: Iterable[Value | None],
    place: str,
) -> Callable[[Group, bool], bool]:
    added = list(wells)

    def change(group: Group, is_new: bool) -> bool:
        block: dict[str, Any] = group.attributes.setdefault(BLOCK, {"version": VERSION})
        info = info_from_plain(block.get("info"), place)
        plate: dict[str, Any] = group.ome.setdefault("plate", {})
        _arrange(plate, context.version, added, info, place)
        plate["field_count"] = max(most, plate.get("field_count", 1))
        listed: list[dict[str, Any]] = plate.get("acquisitions", [])
        known = {entry.get("id") for entry in listed}
        for value in acquisitions:
            if value is not None and _acquisition_id(value) not in known:
                listed.append({"id": _acquisition_id(value), "name": str(value)})
                plate["acquisitions"] = listed
        return True

    return change


def _arrange(
    plate: dict[str, Any], version: str, added: Collection[tuple[str, str]], info: PlateInfo, place: str
) -> None:
    """Bring rows, columns and wells of a plate into order, with more wells."""
    if _inserted(plate, added):
        return
    paths = {entry["path"] for entry in plate.get("wells", ())} | {f"{row}/{column}" for row, column in added}
    places = [tuple(path.split("/", 1)) for path in paths]
    rows = {row for row, _ in places} | {_row_name(number) for number in range(info.rows or 0)}
    columns = {column for _, column in places} | {str(number + 1) for number in range(info.columns or 0)}
    row_names = sorted(rows, key=lambda name: (len(name), name))
    column_names = sorted(columns, key=natural_key)
    row_index = {name: number for number, name in enumerate(row_names)}
    column_index = {name: number for number, name in enumerate(column_names)}
    plate["rows"] = [{"name": name} for name in row_names]
    plate["columns"] = [{"name": name} for name in column_names]
    plate["wells"] = [
        {"path": f"{row}/{column}", "rowIndex": row_index[row], "columnIndex": column_index[column]}
        for row, column in sorted(places, key=lambda item: (row_index[item[0]], column_index[item[1]]))
    ]
    plate["name"] = (
        info.name or plate.get("name") or re.sub(r"(?i)(\.ome)?\.zarr$", "", place.rpartition("/")[2])
    )
    plate["version"] = version


def _inserted(plate: dict[str, Any], added: Collection[tuple[str, str]]) -> bool:
    """Put wells in their places among those that are there; not where there is no such row or column yet.

    A well more in a plate of 1,536 costs a search then, and not an order of all.
    """
    places = _places(plate, added)
    if not places or any(at is None for at, _ in places):
        return False
    for well in added:
        ((at, there),) = _places(plate, [well])
        if at is not None and not there:
            row, column = _indices(plate, well)
            plate["wells"].insert(at, {"path": "/".join(well), "rowIndex": row, "columnIndex": column})
    return True


def _places(
    plate: Mapping[str, Any], wells: Iterable[tuple[str, str]]
) -> list[tuple[int, bool] | tuple[None, bool]]:
    """For each well its place in the plate's list, None without such a row or column, and whether it is there."""
    listed = plate.get("wells", ())
    found: list[tuple[int, bool] | tuple[None, bool]] = []
    for well in wells:
        indices = _indices(plate, well)
        if None in indices:
            found.append((None, False))
            continue
        at = bisect_left(listed, indices, key=lambda entry: (entry["rowIndex"], entry["columnIndex"]))
        found.append((at, at < len(listed) and listed[at]["path"] == "/".join(well)))
    return found


def _indices(plate: Mapping[str, Any], well: tuple[str, str]) -> tuple[int | None, int | None]:
    row, column = (
        next((number for number, entry in enumerate(plate.get(axis, ())) if entry["name"] == name), None)
        for axis, name in zip(("rows", "columns"), well, strict=True)
    )
    return row, column


def _row_name(number: int) -> str:
    high, low = divmod(number, 26)
    return (chr(64 + high) if high else "") + chr(65 + low)


def fields_of(tree: Tree, group: Group) -> Iterator[Field]:
    """The fields that a plate and its wells list, ours or anybody's."""
    plate = group.ome.get("plate") or {}
    for entry in plate.get("wells", ()):
        path = str(entry.get("path", ""))
        well = group_at(tree.at(path), group.format)
        if well is None:
            continue
        for image in (well.ome.get("well") or {}).get("images", ()):
            name = str(image.get("path", ""))
            yield Field(f"{path}/{name}", well_of(path), int(name) if name.isdigit() else name)


def well_of(path: str) -> str:
    """The name of a well by its path in the plate: ``A/1`` is A01."""
    try:
        return str(canonical(component("well"), path.replace("/", "")))
    except ComponentError:
        return path.replace("/", "")


def merged(old: PlateInfo, new: PlateInfo) -> PlateInfo:
    """What is known of a plate when more is said: the newest of each."""
    values = {
        name: value
        for name in PlateInfo.__dataclass_fields__
        if name not in ("channels", "positions_um") and (value := getattr(new, name)) is not None
    }
    channels = dict(old.channels)
    for value, known in new.channels.items():
        before = channels.get(value)
        fields = {
            name: given
            for name in type(known).__dataclass_fields__
            if (given := getattr(known, name)) is not None
        }
        channels[value] = replace(before, **fields) if before is not None else known
    return replace(old, **values, channels=channels, positions_um={**old.positions_um, **new.positions_um})


def describe(tree: Tree, version: Version, pyramid: Pyramid, info: PlateInfo) -> None:
    """Note what is known of a plate, beside what is known already, in it and in the fields it has."""
    _, context = open_plate(tree, version, pyramid)

    def change(group: Group, is_new: bool) -> bool:
        block: dict[str, Any] = group.attributes.setdefault(BLOCK, {"version": VERSION})
        known = merged(info_from_plain(block.get("info"), tree.place), info)
        block["info"] = info_to_plain(known)
        if "plate" in group.ome:
            _arrange(group.ome["plate"], context.version, (), known, tree.place)
        return True

    group = change_group(tree, context.format, change)
    context = context_of(group, version, pyramid, tree.place)
    for field in fields_of(tree, group):
        refresh(tree.at(field.path), context, None)


def block_at(tree: Tree, zarr_format: ZarrFormat) -> ImageBlock | None:
    """Our attributes of the field at a tree, or None when there is none or somebody else wrote it."""
    group = group_at(tree, zarr_format)
    return None if group is None else read_block(group.block, tree.place)
