"""Plates that other software wrote: which planes they have, and the names they go by."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from polystore.components import ImageKey, Value
from polystore.errors import CorruptFileError
from polystore.omezarr import ngff
from polystore.omezarr.arrays import ArrayMeta
from polystore.omezarr.grouping import Group, array_meta
from polystore.omezarr.tree import Tree

__all__ = ["ForeignImage", "name_of", "open_image", "planes_of"]

_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class ForeignImage:
    """An image as OME-NGFF describes it.

    Parameters
    ----------
    path
        Of the array.
    axes
        Names of its axes.
    meta
        The array.
    """

    path: str
    axes: tuple[str, ...]
    meta: ArrayMeta

    def size(self, axis: str) -> int:
        """Size along an axis; 1 where the image has none."""
        return self.meta.shape[self.axes.index(axis)] if axis in self.axes else 1

    def index(self, key: ImageKey) -> tuple[int, ...] | None:
        """The place of a plane in all axes but y and x, or None when there is none. Values count from 1."""
        places = []
        for axis in self.axes[:-2]:
            value: Value | None = {"t": key.t, "c": key.channel, "z": key.z}.get(axis)
            number = 0 if value is None else value - 1 if isinstance(value, int) else -1
            if not 0 <= number < self.size(axis) or (value is None and self.size(axis) > 1):
                return None
            places.append(number)
        return tuple(places)


def open_image(tree: Tree, group: Group, level: int = 0) -> ForeignImage:
    """The image of a group, at a resolution.

    Raises
    ------
    CorruptFileError
        It cannot be understood.
    """
    images = ngff.multiscales_of(group.ome, tree.place)
    if not images or not 0 <= level < len(images[0].datasets):
        raise CorruptFileError(f"{tree.place} has no image of resolution {level}")
    path = images[0].datasets[level].path
    meta = array_meta(tree.at(path), group.format)
    if meta is None:
        raise CorruptFileError(f"{tree.place} names an array {path!r} that is not there")
    axes = ngff.axes_of(images[0], len(meta.shape))
    if axes[-2:] != ("y", "x") or not set(axes[:-2]) <= {"t", "c", "z"}:
        raise CorruptFileError(f"{tree.place} has axes {axes}; planes need ..., y, x")
    return ForeignImage(path, axes, meta)


def planes_of(
    image: ForeignImage, well: str, field: Value, labels: str | None = None
) -> Iterator[tuple[str, ImageKey]]:
    """Name and key of every plane of an image: as OpenHCS would call it, counted from 1."""
    for t in _values(image, "t"):
        for c in range(1, image.size("c") + 1):
            for z in _values(image, "z"):
                key = ImageKey(well=well, field=field, channel=c, z=z, t=t)
                yield name_of(key, labels), key


def _values(image: ForeignImage, axis: str) -> Sequence[int | None]:
    size = image.size(axis)
    return [None] if size == 1 else range(1, size + 1)


def name_of(key: ImageKey, labels: str | None = None) -> str:
    """``A01_s001_w1_z001_t001.tif``, without what plays no part."""
    parts = [str(key.well)]
    if key.field is not None:
        parts.append(f"s{key.field:03d}" if isinstance(key.field, int) else f"s{key.field}")
    for letter, value, width in (("w", key.channel, 1), ("z", key.z, 3), ("t", key.t, 3)):
        if isinstance(value, int):
            parts.append(f"{letter}{value:0{width}d}")
    if labels is not None:
        parts.append(label_word(labels))
    return "_".join(parts) + ".tif"


def label_word(name: str) -> str:
    """What stands for labels in a name: their own name, ending in ``labels``."""
    word = name if _WORD.fullmatch(name) else "x" + name.encode("utf-8", "surrogatepass").hex()
    return word if word.endswith("labels") else f"{word}_labels"
