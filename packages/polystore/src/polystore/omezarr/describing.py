"""The OME-NGFF metadata of a field's group, made from our own: what other software sees of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from polystore.components import Value
from polystore.omezarr import ngff
from polystore.omezarr.blocks import ImageBlock, Series, level_paths, read_block
from polystore.omezarr.grouping import BLOCK, Group, change_group, group_at
from polystore.omezarr.pyramids import level_shape
from polystore.omezarr.requests import Context, Request
from polystore.omezarr.tree import Tree

__all__ = ["describe", "describe_others", "refresh", "show_labels"]


def describe(
    group: Group, context: Context, block: ImageBlock, *, labels: str | None, requests: Sequence[Request] = ()
) -> None:
    """Write the OME-NGFF metadata that a group's series have."""
    ome = group.ome
    main = block.series[0]
    ome["multiscales"] = [_multiscale(main, context, block, labels, main.paths())]
    if labels is not None:
        mark: dict[str, Any] = {"source": {"image": "../../"}}
        if context.version == "0.4":
            mark["version"] = "0.4"
        ome["image-label"] = {**(ome.get("image-label") or {}), **mark}  # colours and properties stay
        return
    channels = main.c
    dtype = np.dtype(main.dtype)
    old = (ome.get("omero") or {}).get("channels") or []
    if dtype.kind not in "biuf":
        ome.pop("omero", None)
        return
    described = []
    for number, value in enumerate([None] if channels is None else channels):
        known = None if value is None else context.info.channels.get(value)
        window = (old[number].get("window") or {}) if number < len(old) else {}
        if window.get("start") == window.get("min") and window.get("end") == window.get("max"):
            shown = _shown(value, requests)  # not known yet
        else:
            shown = float(window["start"]), float(window["end"])
        label = "image" if value is None else str(value)
        described.append(ngff.omero_channel(number, label, known, dtype, shown))
    ome["omero"] = {"channels": described, "rdefs": {"model": "color"}}


def _multiscale(
    series: Series, context: Context, block: ImageBlock, labels: str | None, paths: Sequence[str]
) -> dict[str, Any]:
    info = context.info
    position = None if block.field is None else info.positions_um.get((block.well, block.field))
    shape = series.shape()
    shapes = [(*shape[:3], *level_shape(shape[3], shape[4], level)) for level in range(series.levels)]
    field = "" if block.field is None else f" field {block.field}"
    name = labels or f"{block.well}{field}"
    return ngff.multiscale(
        paths, shapes, ngff.AXES, version=context.version, name=name, info=info, position_um=position,
        nearest=labels is not None,
    )  # fmt: skip


def show_labels(field: Tree, context: Context, request: Request, labels: Tree) -> None:
    """Let a field without an image show its labels as one, so that it is an image to other software."""
    inner = group_at(labels, context.format)
    block = None if inner is None else read_block(inner.block, labels.place)
    if block is None:
        return
    path = f"labels/{request.place.labels}"
    shown = [f"{path}/{level}" for level in block.series[0].paths()]
    entry = _multiscale(block.series[0], context, block, request.place.labels, shown)

    def change(group: Group, is_new: bool) -> bool:
        if group.ome.get("multiscales"):
            return False
        group.ome["multiscales"] = [entry]
        kept = ImageBlock(block.well, block.field, block.acquisition)
        group.attributes[BLOCK] = msgspec.to_builtins(kept)
        return True

    change_group(field, context.format, change)


def describe_others(tree: Tree, context: Context, block: ImageBlock, labels: str | None) -> None:
    """Make images of their own of a field's other series: OME-NGFF has no place for planes beside a stack."""
    for series in block.series[1:]:
        folder, _, _ = series.path.rpartition("/")
        entry = _multiscale(series, context, block, labels, level_paths("0", series.levels))

        def change(group: Group, is_new: bool, entry: dict[str, Any] = entry) -> bool:
            changed = group.ome.get("multiscales") != [entry]
            group.ome["multiscales"] = [entry]
            return changed

        change_group(tree.at(folder), context.format, change)


def _shown(channel: Value | None, requests: Sequence[Request]) -> tuple[float, float] | None:
    """What of a channel's values to show, by its first plane: the darkest to nearly the brightest pixel."""
    for request in requests:
        plane = request.plane
        if request.place.key.channel == channel and plane.size and plane.dtype.kind in "iuf":
            step = max(1, min(plane.shape) // 64)
            sample = np.sort(plane[::step, ::step], axis=None)
            low, high = float(sample[0]), float(sample[int(0.998 * (sample.size - 1))])
            if np.isfinite(low) and np.isfinite(high) and low < high:
                return low, high
    return None


def refresh(tree: Tree, context: Context, labels: str | None) -> None:
    """Write a group's OME-NGFF metadata anew from what is known of the plate now."""

    def change(group: Group, is_new: bool) -> bool:
        block = read_block(group.block, tree.place)
        if is_new or block is None or not block.series:
            return False
        before = msgspec.json.encode(group.attributes)
        describe(group, context, block, labels=labels)
        return msgspec.json.encode(group.attributes) != before

    if group_at(tree, context.format) is not None:
        block = read_block(change_group(tree, context.format, change).block, tree.place)
        if block is not None:
            describe_others(tree, context, block, labels)
