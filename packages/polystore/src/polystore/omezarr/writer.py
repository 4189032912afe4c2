"""Planes into plates, a batch at a time: metadata once per field, well and plate, then the pixels."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Any

from numpy.typing import NDArray

from polystore.components import ImageKey
from polystore.errors import AlreadyExistsError, PolystoreError, UnsupportedFormatError
from polystore.omezarr import images, labels, plates
from polystore.omezarr.describing import show_labels
from polystore.omezarr.engines import Engine
from polystore.omezarr.grouping import Version
from polystore.omezarr.names import Plane, field_path, row_and_column
from polystore.omezarr.pixels import write_plane
from polystore.omezarr.pyramids import Pyramid, halved
from polystore.omezarr.requests import Context, Request
from polystore.omezarr.tree import Tree

__all__ = ["Batch", "Settings"]


MOST_LISTED = 100_000
_listed: set[tuple[str, str]] = set()
"""Fields that this process has seen in the lists of their wells and plates. Who removes a field removes its
group, and then it is new."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How planes are written.

    Parameters
    ----------
    engine
        Encodes them.
    version
        Of new plates.
    pyramid
        Whether they get smaller copies.
    """

    engine: Engine
    version: Version
    pyramid: Pyramid


@dataclass(slots=True)
class _Item:
    tree: Tree
    request: Request
    target: images.Target | PolystoreError | None = None
    context: Context | None = None


class Batch:
    """Planes that are stored together: `add` all, `prepare` once, `write` each."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._items: dict[int, _Item] = {}
        self._failed: dict[int, PolystoreError] = {}

    def __enter__(self) -> Batch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._items.clear()

    def __contains__(self, index: int) -> bool:
        return index in self._items

    def add(
        self, index: int, plate: Tree, place: Plane, plane: NDArray[Any], *, overwrite: bool = True
    ) -> None:
        """Note a plane."""
        self._items[index] = _Item(plate, Request(place, plane, overwrite))

    def prepare(self) -> None:
        """Make room for all of them. What goes wrong is raised by the `write` of the plane it concerns."""
        by_plate: dict[str, list[_Item]] = {}
        for item in self._items.values():
            by_plate.setdefault(item.tree.place, []).append(item)
        for items in by_plate.values():
            try:
                self._prepare_plate(items[0].tree, items)
            except PolystoreError as exc:
                for item in items:
                    item.target = item.target if isinstance(item.target, PolystoreError) else exc

    def _prepare_plate(self, tree: Tree, items: list[_Item]) -> None:
        groups: dict[str, list[_Item]] = {}
        for item in items:
            groups.setdefault(_group_path(item.request.place), []).append(item)
        plate, context = plates.open_plate(tree, self._settings.version, self._settings.pyramid)
        unlisted: list[ImageKey] = []
        for path, members in groups.items():
            targets, new = images.prepare(tree.at(path), context, [item.request for item in members])
            for item, target in zip(members, targets, strict=True):
                item.target, item.context = target, context
            first = members[0].request.place
            if first.labels is not None and (new or _name(tree, path) not in _listed):
                field = tree.at(_field_path(first))
                labels.register(field, context, first.labels)
                show_labels(field, context, members[0].request, tree.at(path))
                _listed.add(_name(tree, path))
            if new or _name(tree, _field_path(first)) not in _listed:
                unlisted.append(first.key)
        if unlisted:
            plates.register(tree, context, unlisted, plate)
            if len(_listed) > MOST_LISTED:
                _listed.clear()
            _listed.update(_name(tree, _field_path(members[0].request.place)) for members in groups.values())

    def write(self, index: int, *, overwrite: bool = True) -> None:
        """Store the pixels of one plane; without any lock.

        Raises
        ------
        PolystoreError
            It was refused when room was made, or cannot be stored.
        """
        item = self._items.pop(index)
        target = item.target
        if isinstance(target, PolystoreError):
            raise target
        assert target is not None
        place, plane = item.request.place, item.request.plane
        tree = item.tree.at(_group_path(place))
        _, largest_meta = target.metas[0]
        if not overwrite and tree.at(target.path).holds(largest_meta.key((*target.index, 0, 0))):
            raise AlreadyExistsError(  # before its smaller copies are touched
                f"{place.name!r} is in {item.tree.place} already; pass overwrite=True to replace it"
            )
        planes = [plane]
        for _ in target.metas[1:]:
            planes.append(halved(planes[-1], nearest=place.labels is not None))
        # The largest last: a plane is there when its largest copy is.
        for (path, meta), level in reversed(list(zip(target.metas, planes, strict=True))):
            largest = path == target.path
            try:
                write_plane(
                    tree.at(path), meta, target.index, level, self._settings.engine,
                    overwrite=overwrite or not largest,
                )  # fmt: skip
            except BaseException:
                if target.renews is not None:  # nobody else knows these arrays
                    for name, _ in target.metas:
                        tree.at(name).delete_all()
                raise
        if target.renews is not None:
            assert item.context is not None
            images.switch(tree, item.context, item.request, target)
            return
        block = plates.block_at(tree, target.metas[0][1].format)
        if block is None or all(series.path != target.path for series in block.series):
            raise UnsupportedFormatError(
                f"while {place.name!r} was stored, another process replaced its field in {item.tree.place} by one of "
                "another dtype or size: a field has one of each"
            )


def _name(tree: Tree, path: str) -> tuple[str, str]:
    """What tells a field, or labels of one, from those of all other stores."""
    return repr(tree.store), tree.key(path)


def _field_path(place: Plane) -> str:
    assert place.key.well is not None
    row, column = row_and_column(place.key.well)
    return f"{row}/{column}/{field_path(place.key)}"


def _group_path(place: Plane) -> str:
    field = _field_path(place)
    return field if place.labels is None else f"{field}/labels/{place.labels}"
