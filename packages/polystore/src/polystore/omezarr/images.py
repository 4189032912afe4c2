"""One image group of a plate, a field or labels of it: planes in and out, by what their names say."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from polystore.components import Value
from polystore.errors import AlreadyExistsError, PolystoreError, UnsupportedFormatError
from polystore.omezarr import ngff
from polystore.omezarr.arrays import ArrayMeta, ZarrFormat
from polystore.omezarr.axes import extended
from polystore.omezarr.blocks import ImageBlock, Series, read_block
from polystore.omezarr.describing import describe, describe_others
from polystore.omezarr.grouping import BLOCK, Group, array_meta, change_group, group_at, grow_array
from polystore.omezarr.names import Plane, components_of, expand, pattern_of
from polystore.omezarr.pyramids import level_shape, levels_of
from polystore.omezarr.requests import Context, Request
from polystore.omezarr.tree import Tree

__all__ = [
    "Target",
    "name_at",
    "planes_in",
    "prepare",
    "present",
    "switch",
    "target_of",
]

Index = tuple[int, int, int]
"""t, c, z."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a plane is stored.

    Parameters
    ----------
    path
        Of the series' largest array.
    metas
        The arrays of all resolutions, with their paths, largest first.
    index
        The plane's place in them.
    """

    path: str
    metas: tuple[tuple[str, ArrayMeta], ...]
    index: Index
    renews: str | None = None


def prepare(
    tree: Tree, context: Context, requests: Sequence[Request]
) -> tuple[list[Target | PolystoreError], bool]:
    """Make room for planes in an image group: one change of its metadata at most, none when there is room.

    Returns
    -------
    list of Target or PolystoreError
        For each plane where it goes, or why it cannot.
    bool
        Whether the group is new.
    """
    group = group_at(tree, context.format)
    block = None if group is None else read_block(group.block, tree.place)
    new = block is None
    places = None if block is None else _all_fit(block, requests)
    found: list[tuple[Series, Index] | PolystoreError]
    renewed: dict[str, str] = {}
    if places is None:
        found = []

        def change(group: Group, is_new: bool) -> bool:
            renewed.clear()
            found[:] = _extend(tree, context, group, requests, renewed)
            return True

        changed = change_group(tree, context.format, change)
        after = read_block(changed.block, tree.place)
        if after is not None:
            describe_others(tree, context, after, requests[0].place.labels)
        if block is not None:
            kept = {series.path for series in after.series} if after is not None else set()
            for series in block.series:
                if series.path not in kept:  # its planes had another size, and all of them are replaced
                    for path in series.paths():
                        tree.at(path).delete_all()
    else:
        found = list(places)
    arrays: dict[str, tuple[tuple[str, ArrayMeta], ...]] = {}
    targets: list[Target | PolystoreError] = []
    for item in found:
        if isinstance(item, PolystoreError):
            targets.append(item)
            continue
        series, index = item
        if series.path not in arrays:
            arrays[series.path] = tuple(_ensure_arrays(tree, context.format, series))
        targets.append(Target(series.path, arrays[series.path], index, renewed.get(series.path)))
    return targets, new


def switch(tree: Tree, context: Context, request: Request, target: Target) -> None:
    """Let a series be the arrays that now hold its only plane, and remove those it had: the last step of
    replacing a plane by one of another dtype or size."""
    assert target.renews is not None
    old: list[str] = []

    def change(group: Group, is_new: bool) -> bool:
        block = read_block(group.block, tree.place)
        found = None if block is None else target_of(block, request.place)
        if block is None or found is None or found[0].path != target.renews or found[1] != target.index:
            raise _other_sort(request, tree, None)
        series = found[0]
        if set(present(tree, context.format, series)) - {target.index}:
            raise _other_sort(request, tree, series)
        old[:] = series.paths()
        _renew(series, context, request, target.path)
        group.attributes[BLOCK] = msgspec.to_builtins(block)
        describe(group, context, block, labels=request.place.labels, requests=[request])
        return True

    try:
        block = read_block(change_group(tree, context.format, change).block, tree.place)
    except BaseException:
        for path, _ in target.metas:
            tree.at(path).delete_all()
        raise
    if block is not None:
        describe_others(tree, context, block, request.place.labels)
    for path in old:
        tree.at(path).delete_all()


def _renew(series: Series, context: Context, request: Request, path: str) -> None:
    plane = request.plane
    series.path = path
    series.dtype, series.plane = plane.dtype.name, list(plane.shape)
    series.levels = levels_of(plane.shape[0], plane.shape[1], context.pyramid)


def _other_sort(request: Request, tree: Tree, series: Series | None) -> UnsupportedFormatError:
    plane = request.plane
    others = "of another sort" if series is None else f"{series.dtype} {tuple(series.plane)}"
    return UnsupportedFormatError(
        f"{request.place.name!r} is {plane.dtype} {plane.shape}, others of its field in {tree.place} are {others}: "
        "a field has one dtype and one size. Convert it, or save it to another folder"
    )


def _ensure_arrays(tree: Tree, zarr_format: ZarrFormat, series: Series) -> Iterator[tuple[str, ArrayMeta]]:
    shape = series.shape()
    for level, path in enumerate(series.paths()):
        wanted = (*shape[:3], *level_shape(shape[3], shape[4], level))
        there = array_meta(tree.at(path), zarr_format)
        if there is None or any(a < b for a, b in zip(there.shape, wanted, strict=True)):
            meta = ArrayMeta.new(zarr_format, wanted, np.dtype(series.dtype), axes=ngff.AXES)
            there = grow_array(tree.at(path), meta)
        yield path, there


def _find(block: ImageBlock, values: Sequence[Value | None]) -> Series | None:
    """The series of planes that are indexed by the same components."""
    for series in block.series:
        if all(
            (a is None) == (b is None) for a, b in zip(values, (series.t, series.c, series.z), strict=True)
        ):
            return series
    return None


def _index(series: Series, values: Sequence[Value | None]) -> Index | None:
    index = []
    for value, known in zip(values, (series.t, series.c, series.z), strict=True):
        if value is None or known is None:
            index.append(0)
        elif value in known:
            index.append(known.index(value))
        else:
            return None
    return index[0], index[1], index[2]


def _all_fit(block: ImageBlock, requests: Iterable[Request]) -> list[tuple[Series, Index]] | None:
    """Where each plane goes without any change of the metadata, or None."""
    places = []
    for request in requests:
        found = target_of(block, request.place)
        if found is None:
            return None
        series, index = found
        if not _same_sort(series, request.plane) or name_at(series, index) != request.place.name:
            return None
        places.append(found)
    return places


def target_of(block: ImageBlock, place: Plane) -> tuple[Series, Index] | None:
    """The series and index of a plane, or None when the group has no such place."""
    values = components_of(place.key)
    series = _find(block, values)
    if series is None:
        return None
    index = _index(series, values)
    return None if index is None else (series, index)


def _same_sort(series: Series, plane: NDArray[Any]) -> bool:
    return series.dtype == plane.dtype.name and tuple(series.plane) == plane.shape


def name_at(series: Series, index: Index) -> str:
    """The name of the plane at an index, empty where none was ever given."""
    own = series.own.get(".".join(map(str, index)))
    if own is not None or not series.names:
        return own or ""
    t, c, z = (
        None if values is None else values[number]
        for number, values in zip(index, (series.t, series.c, series.z), strict=True)
    )
    return expand(series.names, t, c, z)


def _extend(
    tree: Tree, context: Context, group: Group, requests: Sequence[Request], renewed: dict[str, str]
) -> list[tuple[Series, Index] | PolystoreError]:
    first = requests[0].place
    key = first.key
    assert key.well is not None
    block = read_block(group.block, tree.place) or ImageBlock(str(key.well), key.field, key.acquisition)
    # Of a batch the stacks first: the first series is the one that other software shows.
    ordered = sorted(requests, key=lambda request: components_of(request.place.key).count(None))
    for letter, number in (("t", 0), ("c", 1), ("z", 2)):
        _extend_axis(block, context, letter, number, ordered)
    found: list[tuple[Series, Index] | PolystoreError] = []
    for request in requests:
        before = [item for item in found if not isinstance(item, PolystoreError)]
        found.append(_admit(tree, context, block, request, before, renewed))
    group.attributes[BLOCK] = msgspec.to_builtins(block)
    describe(group, context, block, labels=first.labels, requests=requests)
    return found


def _extend_axis(
    block: ImageBlock, context: Context, letter: str, number: int, requests: Sequence[Request]
) -> None:
    wanted: dict[str, tuple[Series, list[Value]]] = {}
    for request in requests:
        values = components_of(request.place.key)
        series = _find(block, values) or _new_series(block, context, request)
        value = values[number]
        if value is not None:
            wanted.setdefault(series.path, (series, []))[1].append(value)
    for series, values_wanted in wanted.values():
        there = getattr(series, letter) or []
        if not there and letter == "c" and context.info.channels:
            known = list(context.info.channels)
            if set(values_wanted) <= set(known):
                there = known
        setattr(series, letter, extended(letter, there, values_wanted))


def _new_series(block: ImageBlock, context: Context, request: Request) -> Series:
    values = components_of(request.place.key)
    t, c, z = (_empty_axis(value) for value in values)
    letters = "".join(letter for letter, value in zip("tcz", values, strict=True) if value is not None)
    path = "0" if not block.series else f"series_{letters}/0"
    plane = request.plane
    levels = levels_of(plane.shape[0], plane.shape[1], context.pyramid)
    series = Series(
        path, plane.dtype.name, list(plane.shape), t, c, z,
        names=pattern_of(request.place.name, request.place.key), levels=levels,
    )  # fmt: skip
    block.series.append(series)
    return series


def _empty_axis(value: Value | None) -> list[Value] | None:
    return None if value is None else []


def _admit(
    tree: Tree,
    context: Context,
    block: ImageBlock,
    request: Request,
    before: Sequence[tuple[Series, Index]],
    renewed: dict[str, str],
) -> tuple[Series, Index] | PolystoreError:
    place, plane = request.place, request.plane
    target = target_of(block, place)
    assert target is not None
    series, index = target
    if not _same_sort(series, plane):
        there_now = set(present(tree, context.format, series))
        if {*there_now, *(at for which, at in before if which is series)} - {index}:
            return _other_sort(request, tree, series)
        if index in there_now:
            if not request.overwrite:
                return AlreadyExistsError(
                    f"{place.name!r} exists in {tree.place} already; pass overwrite=True to replace it"
                )
            if name_at(series, index) != place.name:
                return AlreadyExistsError(
                    f"the plane of {place.name!r} is in {tree.place} already, under the name "
                    f"{name_at(series, index)!r}: delete that first"
                )
            # The plane that is there stays until the new one is: see `switch`.
            copy = msgspec.structs.replace(series)
            _renew(copy, context, request, _unused_path())
            renewed[copy.path] = series.path
            return copy, index
        _renew(series, context, request, _unused_path())
    there = name_at(series, index)
    if there != place.name:
        if there and _is_stored(tree, context.format, series, index):
            return AlreadyExistsError(
                f"the plane of {place.name!r} is in {tree.place} already, under the name {there!r}: delete that first"
            )
        series.own[".".join(map(str, index))] = place.name
    return series, index


def _unused_path() -> str:
    """A path for a series that starts anew; never one that was used before, which readers may still look at."""
    return f"v{secrets.token_hex(8)}/0"


def present(tree: Tree, zarr_format: ZarrFormat, series: Series) -> list[Index]:
    """Places of the planes that are stored, in order. One listing of the series' folder."""
    array = tree.at(series.path)
    meta = array_meta(array, zarr_format)
    if meta is None:
        return []
    keys = set(array.keys())
    t, c, z, *_ = series.shape()
    return [
        (i, j, k) for i in range(t) for j in range(c) for k in range(z) if meta.key((i, j, k, 0, 0)) in keys
    ]


def _is_stored(tree: Tree, zarr_format: ZarrFormat, series: Series, index: Index) -> bool:
    """Whether one plane is there: one look instead of `present`'s listing."""
    array = tree.at(series.path)
    meta = array_meta(array, zarr_format)
    return meta is not None and array.holds(meta.key((*index, 0, 0)))


def planes_in(tree: Tree, zarr_format: ZarrFormat, block: ImageBlock) -> Iterator[tuple[str, Series, Index]]:
    """Name and place of every plane that is stored in a group."""
    for series in block.series:
        for index in present(tree, zarr_format, series):
            name = name_at(series, index)
            if name:
                yield name, series, index
