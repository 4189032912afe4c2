"""The labels of a field: images of their own below it, listed by name."""

from __future__ import annotations

from polystore.omezarr.grouping import Group, change_group, group_at
from polystore.omezarr.requests import Context
from polystore.omezarr.tree import Tree

__all__ = ["names_of", "register"]


def register(field: Tree, context: Context, name: str) -> None:
    """List labels in the labels of a field."""

    def change(group: Group, is_new: bool) -> bool:
        listed: list[str] = group.ome.setdefault("labels", [])
        if name in listed:
            return is_new
        listed.append(name)
        listed.sort()
        return True

    change_group(field.at("labels"), context.format, change)


def names_of(field: Tree, group: Group) -> list[str]:
    """Names of the labels of a field."""
    labels = group_at(field.at("labels"), group.format)
    if labels is None:
        return []
    return [str(name) for name in labels.ome.get("labels") or ()]
