"""Streamed regions of interest in ImageJ: in the overlay of the window they belong to, and in the ROI Manager.

Every region of ours carries a mark of this process in its properties, in all its copies. So ours are told from the
user's, and from what he made of ours: a region whose content is no longer the one that was put there is his from then
on, and is never taken away. One update of the overlay per call, however many regions.
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, Protocol

from openhcs_viewers.fiji._java import java, on_edt
from polystore.components import Component, ImageKey, Value
from polystore.errors import UnsupportedFormatError
from polystore.imagej_rois import roi_to_imagej
from polystore.projection import Position
from polystore.projection.hyperstack import HyperstackPlan, place_roi
from polystore.rois import ROI

__all__ = ["MARK", "Host", "Rois", "Streamed", "content", "mark_of", "roi_manager"]

logger = logging.getLogger(__name__)

MARK = "openhcs"
"""The property that says which of our regions an ImageJ region is a copy of."""

Regions = Callable[[Position], tuple[ROI, ...]]


class Host(Protocol):
    """A window: its ``ImagePlus`` and what it shows."""

    @property
    def image(self) -> Any: ...
    @property
    def plan(self) -> HyperstackPlan: ...


@dataclass(frozen=True, slots=True)
class Streamed:
    """What is known of one region that was put into ImageJ.

    Parameters
    ----------
    roi
        As it came.
    plan, position
        Its layer and where in it.
    name
        What it is called in ImageJ.
    content
        Of ImageJ's region (`content`); another one now: the user changed it.
    """

    roi: ROI
    plan: HyperstackPlan
    position: Position
    name: str
    content: int

    @property
    def key(self) -> ImageKey:
        """Where it lies: its own place over that of what it came with."""
        return ImageKey(
            **{which.value: value for which, value in _values(self.plan, self.position, self.roi).items()}
        )


@dataclass(slots=True)
class _Layer:
    plan: HyperstackPlan
    regions: Regions
    marks: dict[Position, tuple[str, ...]] = field(default_factory=dict)
    host_id: str = ""
    image: Any = None
    index: Any = None
    """Of the host when its positions were last counted; another one: they are counted anew."""


class Rois:
    """The regions of all layers. Every method is called on the main thread.

    Parameters
    ----------
    headless
        There are no windows in this Java, so no ROI Manager: overlays only.
    """

    def __init__(self, *, headless: bool) -> None:
        self._headless = headless
        self._layers: dict[str, _Layer] = {}
        self._streamed: dict[str, Streamed] = {}
        self._session = secrets.token_hex(4)
        self._numbers = count(1)

    def apply(
        self, plan: HyperstackPlan, positions: Sequence[Position], regions: Regions, host: Host | None
    ) -> None:
        """Show the regions at these positions instead of those that were there.

        Parameters
        ----------
        plan
            Their layer.
        regions
            Gives those at a position; asked again when a window opens or grows.
        host
            The window to draw them upon. None: there is none yet, or the user closed it; they are in the ROI Manager.
        """
        layer = self._layers.get(plan.layer_id)
        if layer is None:
            layer = self._layers[plan.layer_id] = _Layer(plan, regions)
        layer.plan, layer.regions = plan, regions
        wanted = dict.fromkeys(positions)
        if host is not None and self._is_elsewhere(layer, host):
            wanted.update(dict.fromkeys(layer.marks))
        self._replace(layer, tuple(wanted), host)

    def host_closed(self, layer_id: str) -> None:
        """Forget a window; its regions stay in the ROI Manager."""
        for layer in self._layers.values():
            if layer.host_id == layer_id:
                layer.host_id, layer.image, layer.index = "", None, None

    def forget(self, layer_id: str) -> None:
        """Take the regions of a layer away, but for what the user changed."""
        layer = self._layers.pop(layer_id, None)
        if layer is not None:
            self._swap(layer.image, {mark for marks in layer.marks.values() for mark in marks}, [])

    def streamed(self, mark: str) -> Streamed | None:
        """Return what is known of a region with this mark; None for one that is not, or no longer, ours."""
        return self._streamed.get(mark)

    def host_id(self, known: Streamed) -> str:
        """Return the layer id of the window a streamed region is drawn upon; empty without one."""
        layer = self._layers.get(known.plan.layer_id)
        return "" if layer is None else layer.host_id

    # -- inside

    @staticmethod
    def _is_elsewhere(layer: _Layer, host: Host) -> bool:
        return (
            layer.host_id != host.plan.layer_id
            or layer.image is not host.image
            or layer.index != _index(host)
        )

    def _replace(self, layer: _Layer, positions: Iterable[Position], host: Host | None) -> None:
        gone: set[str] = set()
        fresh: list[Any] = []
        for position in positions:
            gone.update(layer.marks.pop(position, ()))
            marks = []
            for number, roi in enumerate(layer.regions(position), start=1):
                mark = f"{self._session}-{next(self._numbers)}"
                shape = self._make(layer.plan, position, roi, number, mark, host)
                if shape is not None:
                    fresh.append(shape)
                    marks.append(mark)
            if marks:
                layer.marks[position] = tuple(marks)
        before = layer.image
        if host is not None:
            layer.host_id, layer.image, layer.index = host.plan.layer_id, host.image, _index(host)
        if before is not None and before is not layer.image:
            on_edt(lambda: self._take_from_overlay(before, gone))
        self._swap(None if host is None else host.image, gone, fresh)

    def _make(
        self,
        plan: HyperstackPlan,
        position: Position,
        roi: ROI,
        number: int,
        mark: str,
        host: Host | None,
    ) -> Any:
        """ImageJ's region, or None for one it cannot have."""
        try:
            # Its place is said in ImageJ's own numbers below.
            data = roi_to_imagej(roi.replace(place=ImageKey()) if roi.place != _ANYWHERE else roi)
        except UnsupportedFormatError as error:
            logger.warning("a region of %r is not shown: %s", plan.name, error)
            return None
        shape = java("ij.io.RoiDecoder").openFromByteArray(data)
        if shape is None:
            logger.warning("a region of %r is not shown: ImageJ cannot read it", plan.name)
            return None
        name = _name(plan, roi, number)
        shape.setName(name)
        shape.setProperty(MARK, mark)
        if host is not None:
            _set_place(shape, host.plan, plan, position, roi)
        self._streamed[mark] = Streamed(roi, plan, position, name, content(shape))
        return shape

    def _swap(self, image: Any, gone: set[str], fresh: Sequence[Any]) -> None:
        if not gone and not fresh:
            return

        def task() -> None:
            if image is not None:
                self._change_overlay(image, gone, fresh)
            if not self._headless:
                self._change_manager(gone, fresh)

        on_edt(task)
        for mark in gone:
            self._streamed.pop(mark, None)

    def _take_from_overlay(self, image: Any, gone: set[str]) -> None:
        self._change_overlay(image, gone, [])

    def _change_overlay(self, image: Any, gone: set[str], fresh: Sequence[Any]) -> None:
        overlay = image.getOverlay()
        if overlay is None:
            if not fresh:
                return
            overlay = java("ij.gui.Overlay")()
        for at in reversed(self._ours(overlay.toArray(), gone)):
            overlay.remove(at)
        if fresh:
            added = java("ij.gui.Overlay")()
            for shape in fresh:
                added.add(shape)
            overlay.add(added)
        image.setOverlay(overlay)  # repaints, once

    def _change_manager(self, gone: set[str], fresh: Sequence[Any]) -> None:
        manager = roi_manager()
        if manager is None:
            if not fresh:
                return
            manager = java("ij.plugin.frame.RoiManager")()
        if gone:
            for at in reversed(self._ours(manager.getRoisAsArray(), gone)):
                manager.delete(at)
        for shape in fresh:
            manager.add(shape, -1)  # a copy, under its own name; nothing is painted yet
        last = int(manager.getCount()) - 1
        if fresh and last >= 0:
            manager.setRoi(manager.getRoi(last), last)  # now, when "Show All" is ticked

    def _ours(self, shapes: Iterable[Any], marks: set[str]) -> list[int]:
        """Where the regions with these marks are, but for those the user changed."""
        found: list[int] = []
        if not marks:
            return found
        for at, shape in enumerate(shapes):
            mark = mark_of(shape)
            if mark in marks:
                known = self._streamed.get(mark)
                if known is not None and content(shape) == known.content:
                    found.append(at)
        return found


def roi_manager() -> Any:
    """Return the ROI Manager the user sees, or None."""
    return java("ij.plugin.frame.RoiManager").getInstance()


def mark_of(shape: Any) -> str:
    """Return our mark on ImageJ's region; empty without one."""
    return str(shape.getProperty(MARK) or "")


def content(shape: Any) -> int:
    """Return a number that tells one content of ImageJ's region from another: outline, place, name, colours."""
    return int(java("java.util.Arrays").hashCode(java("ij.io.RoiEncoder").saveAsByteArray(shape)))


_ANYWHERE = ImageKey()
_SLICE = re.compile(r"[0-9]{4,}-")
"""The beginning of a name that ImageJ takes for the number of a slice."""


def _index(host: Host) -> tuple[Any, ...]:
    return host.plan.along, host.plan.channels, host.plan.slices, host.plan.frames


def _values(plan: HyperstackPlan, position: Position, roi: ROI) -> dict[Component, Value]:
    pairs = zip(plan.components, position, strict=True)
    own = {Component(name): value for name, value in roi.place.as_dict().items()}
    return {**plan.window, **{which: value for which, value in pairs if value is not None}, **own}


def _set_place(shape: Any, host: HyperstackPlan, plan: HyperstackPlan, position: Position, roi: ROI) -> None:
    """Tie a region to channel, slice and frame, each 0 for all of them."""
    own = roi.place.as_dict()
    if own:  # it wins over what the region came with
        plan = replace(plan, components=(*plan.components, *map(Component, own)), index=())
        position = (*position, *own.values())
    c, z, t = place_roi(host, plan, position)
    several = [at for at, entries in zip((c, z, t), host.size, strict=True) if entries > 1]
    if len(several) > 1:
        shape.setPosition(c, z, t)
    else:  # a plain stack, which knows of one number only
        shape.setPosition(several[0] if several else 0)


def _name(plan: HyperstackPlan, roi: ROI, number: int) -> str:
    """What the region is called, its well, its step: the ROI Manager shows no more than the beginning."""
    called = next(
        (str(value) for name in ("name", "label") if (value := roi.properties.get(name)) not in (None, "")),
        str(number),
    )
    if _SLICE.match(called):
        called = f"roi {called}"
    parts = [called, *map(str, plan.window.values()), plan.step_name or plan.name]
    return " ".join("".join(sign if sign.isprintable() else " " for sign in part) for part in parts)
