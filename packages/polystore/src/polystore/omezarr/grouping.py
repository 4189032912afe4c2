"""The attributes of a Zarr group: where they stand in format 2 and 3, and where OME-NGFF's are among them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from polystore.errors import CorruptFileError
from polystore.omezarr.arrays import ArrayMeta, ZarrFormat
from polystore.omezarr.tree import Tree

__all__ = [
    "BLOCK",
    "VERSIONS",
    "Group",
    "Version",
    "array_meta",
    "array_there",
    "change_group",
    "group_at",
    "grow_array",
    "open_group",
    "plain_group",
    "store_array",
]

Version = Literal["0.4", "0.5"]
"""Versions of OME-NGFF that are written. 0.6 is read, too."""

VERSIONS: tuple[Version, ...] = ("0.5", "0.4")

BLOCK = "polystore"
"""Name of our own attributes."""

_ATTRIBUTES = {2: ".zattrs", 3: "zarr.json"}
_ARRAY = {2: ".zarray", 3: "zarr.json"}


@dataclass(frozen=True, slots=True)
class Group:
    """A group's attributes as read, with ours and OME-NGFF's apart from the rest.

    Parameters
    ----------
    format
        2 or 3.
    attributes
        All of them.
    """

    format: ZarrFormat
    attributes: dict[str, Any]

    @property
    def ome(self) -> dict[str, Any]:
        """OME-NGFF's metadata; changes are the group's."""
        if self.format == 2:
            return self.attributes
        found: dict[str, Any] = self.attributes.setdefault("ome", {"version": "0.5"})
        return found

    @property
    def block(self) -> Mapping[str, Any] | None:
        """Our own attributes, or None in a group that somebody else wrote."""
        found = self.attributes.get(BLOCK)
        return found if isinstance(found, Mapping) else None

    def encode(self) -> bytes:
        """The file that holds the attributes."""
        if self.format == 2:
            return msgspec.json.encode(self.attributes)
        return msgspec.json.encode({"zarr_format": 3, "node_type": "group", "attributes": self.attributes})


def _decode(data: bytes, zarr_format: ZarrFormat, place: str) -> Group:
    try:
        found = msgspec.json.decode(data, type=dict[str, Any])
    except msgspec.DecodeError as exc:
        raise CorruptFileError(f"the metadata of {place} is damaged: {exc}") from exc
    if zarr_format == 2:
        return Group(2, found)
    if found.get("node_type") == "array":
        raise CorruptFileError(f"{place} is a single Zarr array, no group")
    attributes = found.get("attributes") or {}
    if not isinstance(attributes, dict) or not isinstance(attributes.get("ome", {}), dict):
        raise CorruptFileError(f"the metadata of {place} is damaged: its attributes are no map")
    return Group(3, attributes)


def open_group(tree: Tree, first: ZarrFormat = 3) -> Group | None:
    """The group at the top of a tree, or None. ``first`` says which format is more likely: one look less."""
    return group_at(tree, first) or group_at(tree, 2 if first == 3 else 3)


def group_at(tree: Tree, zarr_format: ZarrFormat) -> Group | None:
    """The group of one format at the top of a tree, or None."""
    data = tree.get(_ATTRIBUTES[zarr_format])
    return None if data is None else _decode(data, zarr_format, tree.place)


def change_group(tree: Tree, zarr_format: ZarrFormat, change: Callable[[Group, bool], bool]) -> Group:
    """Change a group's attributes in one step as seen by every process, making the group where it is missing.

    Parameters
    ----------
    tree, zarr_format
        Which group.
    change
        Is given the attributes to change, and whether the group is new; returns whether it changed anything.
        It may be called more than once.
    """
    result: list[Group] = []

    def apply(data: bytes | None) -> bytes | None:
        group = Group(zarr_format, {}) if data is None else _decode(data, zarr_format, tree.place)
        changed = change(group, data is None)
        result[:] = [group]
        return group.encode() if changed or data is None else None

    name = _ATTRIBUTES[zarr_format]
    if zarr_format == 2:
        mark_group(tree)
    tree.update(name, apply)
    return result[0]


def mark_group(tree: Tree) -> None:
    """Say that a folder is a group of format 2."""
    if tree.get(".zgroup") is None:
        tree.put(".zgroup", b'{"zarr_format":2}')


def plain_group(tree: Tree, zarr_format: ZarrFormat) -> None:
    """Make a group without attributes, where there is none: a row of a plate."""
    if zarr_format == 2:
        mark_group(tree)
    elif tree.get("zarr.json") is None:
        tree.put("zarr.json", Group(3, {}).encode())


def array_meta(tree: Tree, zarr_format: ZarrFormat) -> ArrayMeta | None:
    """Metadata of the array at the top of a tree, or None."""
    data = tree.get(_ARRAY[zarr_format])
    return None if data is None else ArrayMeta(data)


def array_there(tree: Tree, zarr_format: ZarrFormat) -> bool:
    """Whether there is an array at the top of a tree."""
    return tree.holds(_ARRAY[zarr_format])


def store_array(tree: Tree, meta: ArrayMeta, *, overwrite: bool = True) -> None:
    """Write the metadata of an array that only this caller knows."""
    tree.put(_ARRAY[meta.format], meta.document, overwrite=overwrite)


def grow_array(tree: Tree, meta: ArrayMeta) -> ArrayMeta:
    """Make an array, or the one that is there at least as large; what is there now.

    Sizes only ever grow, so the order in which several processes ask does not matter.
    """
    result: list[ArrayMeta] = []

    def apply(data: bytes | None) -> bytes | None:
        if data is None:
            result[:] = [meta]
            return meta.document
        there = ArrayMeta(data)
        shape = tuple(max(pair) for pair in zip(there.shape, meta.shape, strict=True))
        grown = there.resized(shape)
        result[:] = [there if shape == there.shape else grown]
        return None if shape == there.shape else grown.document

    tree.update(_ARRAY[meta.format], apply)
    return result[0]
