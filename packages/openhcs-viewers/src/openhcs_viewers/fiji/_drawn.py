"""What is drawn in ImageJ, given back: from the ROI Manager, the windows' selections and their overlays."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from openhcs_viewers.drawn import DrawnRoi
from openhcs_viewers.fiji._java import java, on_edt
from openhcs_viewers.fiji._rois import MARK, Host, Rois, Streamed, content, mark_of
from polystore.components import Component, ImageKey
from polystore.errors import PolystoreError
from polystore.imagej_rois import roi_from_imagej
from polystore.projection.hyperstack import HyperstackPlan
from polystore.rois import ROI

__all__ = ["drawn_rois"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Found:
    """One region as it was read on ImageJ's event thread."""

    data: bytes
    name: str
    mark: str
    changed: bool
    source: str
    place: tuple[int, int, int]
    plan: HyperstackPlan | None
    title: str


def drawn_rois(rois: Rois, hosts: Iterable[Host], include: str = "user") -> list[DrawnRoi]:
    """Return the regions in ImageJ; on the main thread.

    Parameters
    ----------
    rois
        Knows the streamed ones.
    hosts
        Our windows. Those the user opened are looked at, too.
    include
        ``"user"``: what he drew, and streamed regions he changed, with their changes. ``"all"``: all of them, each
        once.
    """
    windows = list(hosts)
    found = on_edt(lambda: list(_read(rois, windows, everything=include == "all")))
    changed = {one.mark for one in found if one.mark and one.changed}
    answer: list[DrawnRoi] = []
    seen: set[str] = set()
    for one in found:
        known = rois.streamed(one.mark)
        if known is not None and not one.changed:
            if one.mark not in changed and one.mark not in seen:
                seen.add(one.mark)
                answer.append(_as_sent(known, one.source))
            continue
        drawn = _decoded(one, known)
        if drawn is not None and not any(_is_same(drawn, other) for other in answer):
            answer.append(drawn)
    return answer


def _read(rois: Rois, hosts: list[Host], *, everything: bool) -> Iterator[_Found]:
    """Everything there is, the ROI Manager first: what is there has a name. On ImageJ's event thread."""
    owners = {int(host.image.getID()): host for host in hosts}
    images: dict[int, tuple[Any, HyperstackPlan | None]] = {
        number: (host.image, host.plan) for number, host in owners.items()
    }
    for number in java("ij.WindowManager").getIDList() or ():
        if int(number) not in images:
            images[int(number)] = (java("ij.WindowManager").getImage(int(number)), None)

    def one(shape: Any, source: str, image: Any, plan: HyperstackPlan | None) -> _Found | None:
        mark = mark_of(shape)
        known = rois.streamed(mark)
        changed = known is None or content(shape) != known.content
        if not (changed or everything):
            return None
        place = (0, 0, 0) if image is None else _place(shape, image, selection=source == "selection")
        data = bytes(java("ij.io.RoiEncoder").saveAsByteArray(shape)) if changed else b""
        title = plan.name if plan is not None else "" if image is None else str(image.getTitle())
        return _Found(data, str(shape.getName() or ""), mark, changed, source, place, plan, title)

    manager = java("ij.plugin.frame.RoiManager").getRawInstance()
    if manager is not None:
        for shape in manager.getRoisAsArray():
            known = rois.streamed(mark_of(shape))
            image, plan = images.get(int(shape.getImageID()), (None, None))
            if image is None and known is not None:
                image, plan = next(
                    ((h.image, h.plan) for h in hosts if h.plan.layer_id == rois.host_id(known)), (None, None)
                )
            elif image is None and len(images) == 1:
                ((image, plan),) = images.values()
            if (found := one(shape, "manager", image, plan)) is not None:
                yield found
    for image, plan in images.values():
        overlay = image.getOverlay()
        for shape in overlay.toArray() if overlay is not None else ():
            if (found := one(shape, "overlay", image, plan)) is not None:
                yield found
        selection = image.getRoi()
        if selection is not None and (found := one(selection, "selection", image, plan)) is not None:
            yield found


def _place(shape: Any, image: Any, *, selection: bool) -> tuple[int, int, int]:
    """Channel, slice and frame of a region, from 1; 0 is all. A selection lies on the plane that is seen."""
    if shape.hasHyperStackPosition():
        return int(shape.getCPosition()), int(shape.getZPosition()), int(shape.getTPosition())
    position = int(shape.getPosition())
    if position > 0:
        c, z, t = (int(at) for at in image.convertIndexToPosition(position))
        return c, z, t
    if selection:
        return (0 if image.isComposite() else int(image.getC())), int(image.getZ()), int(image.getT())
    return 0, 0, 0


def _key(plan: HyperstackPlan | None, place: tuple[int, int, int]) -> ImageKey:
    """The components of a place; those of which all entries are meant are left out."""
    if plan is None:
        named = zip((Component.CHANNEL, Component.Z, Component.T), place, strict=True)
        return ImageKey(**{which.value: at for which, at in named if at > 0})
    inside = [min(max(at, 1), entries) for at, entries in zip(place, plan.size, strict=True)]
    values = dict(plan.position(*inside))
    for at, entries, components in zip(place, plan.size, plan.along, strict=True):
        if at < 1 and entries > 1:
            for which in components:
                values.pop(which, None)
    return ImageKey(**{which.value: value for which, value in {**plan.window, **values}.items()})


def _decoded(one: _Found, known: Streamed | None) -> DrawnRoi | None:
    try:
        roi = roi_from_imagej(one.data, one.name)
    except (PolystoreError, ValueError, TypeError, IndexError) as error:
        # What roifile says of a region it does not know; the others are given back all the same.
        logger.warning("the region %r of ImageJ is left out: %s", one.name, error)
        return None
    key = _key(one.plan, one.place)
    properties = dict(roi.properties)
    properties.pop(MARK, None)
    if known is not None and properties.get("name") == known.name:
        properties.pop("name")  # ours, for the list
        if "name" in known.roi.properties:
            properties["name"] = known.roi.properties["name"]
    layer, layer_id = (one.title, "") if known is None else (known.plan.name, known.plan.layer_id)
    if one.plan is not None and known is None:
        layer_id = one.plan.layer_id
    roi = roi.replace(properties=properties, place=key)
    return DrawnRoi(roi, key, layer, layer_id, streamed=known is not None, source=one.source)


def _as_sent(known: Streamed, source: str) -> DrawnRoi:
    key = known.key
    return DrawnRoi(
        known.roi.replace(place=key),
        key,
        known.plan.name,
        known.plan.layer_id,
        streamed=True,
        source=source,
    )


def _is_same(drawn: DrawnRoi, other: DrawnRoi) -> bool:
    """Whether two finds are one region: a selection that was added to the ROI Manager stays selected."""
    one, two = drawn.roi, other.roi
    return (
        drawn.source != other.source
        and one.kind == two.kind
        and _fits(drawn, other)
        and _outline(one) == _outline(two)
    )


def _fits(drawn: DrawnRoi, other: DrawnRoi) -> bool:
    """Whether both can be in one window and plane: what only one of them says is no difference."""
    mine, theirs = drawn.key.as_dict(), other.key.as_dict()
    same_window = (
        not drawn.layer or not other.layer or drawn.streamed or other.streamed or drawn.layer == other.layer
    )
    return same_window and all(theirs.get(name, value) == value for name, value in mine.items())


def _outline(roi: ROI) -> bytes:
    parts = [roi.points, *roi.rings]
    mask = b"" if roi.mask is None else roi.mask.tobytes()
    return b"|".join(np.ascontiguousarray(part).tobytes() for part in parts) + mask
