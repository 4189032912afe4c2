"""Which regions of interest go to which window, from what the scene says has changed. On the main thread."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from functools import partial

from openhcs_viewers.abc import Changes
from openhcs_viewers.drawn import DrawnRoi
from openhcs_viewers.fiji._drawn import drawn_rois
from openhcs_viewers.fiji._rois import Host, Rois
from openhcs_viewers.scene import Scene
from polystore.projection import Position
from polystore.projection.hyperstack import HyperstackPlan, host_of

__all__ = ["Regions"]

logger = logging.getLogger(__name__)

_KINDS = ("shapes", "points")


class Regions:
    """The regions of a scene in ImageJ.

    Parameters
    ----------
    scene
        Holds them, and tells of every one (``every_roi``).
    headless
        There are no windows in this Java.
    """

    def __init__(self, scene: Scene, *, headless: bool) -> None:
        self._scene = scene
        self._rois = Rois(headless=headless)
        self._hosts: dict[str, str] = {}
        """Of each layer shown, the window it was drawn upon; empty while there is none."""

    def apply(self, changes: Changes, windows: Mapping[str, Host]) -> dict[str, str]:
        """Show what changed, and draw upon windows that were opened or have grown. Returns layers that failed, and why.

        Parameters
        ----------
        windows
            Those on the screen, the new ones among them, by layer id.
        """
        known = [*changes.created, *changes.updated]
        news: dict[str, tuple[Position, ...]] = dict(changes.rois)
        for plan in known:
            if plan.kind in _KINDS:
                if plan.layer_id in self._hosts:  # a later run took it over
                    self.forget(plan.layer_id)
                news[plan.layer_id] = self._scene.roi_positions(plan.layer_id)
                self._hosts[plan.layer_id] = ""
        touched = [windows[plan.layer_id] for plan in known if plan.layer_id in windows]
        failed: dict[str, str] = {}
        if not news and not touched:
            return failed
        for plan in self._scene.roi_plans():
            layer_id = plan.layer_id
            if layer_id not in self._hosts or not isinstance(plan, HyperstackPlan):
                continue
            if layer_id not in news and not touched:
                continue
            candidates: Iterable[Host] = windows.values()
            if layer_id not in news:
                host_id = self._hosts[layer_id]
                candidates = [*([windows[host_id]] if host_id in windows else []), *touched]
            try:
                self._show(plan, news.get(layer_id, ()), candidates)
            except Exception as error:
                # The boundary to ImageJ: one layer it cannot show must not take the others with it.
                logger.exception("the regions of %r cannot be shown", plan.name)
                failed[layer_id] = f"{type(error).__name__}: {error}"
        return failed

    def window_closed(self, layer_id: str) -> None:
        """Forget a window; its regions stay in the ROI Manager."""
        self._rois.host_closed(layer_id)
        for roi_layer, host_id in self._hosts.items():
            if host_id == layer_id:
                self._hosts[roi_layer] = ""

    def forget(self, layer_id: str) -> None:
        """Take the regions of a layer away; nothing when it has none."""
        if self._hosts.pop(layer_id, None) is not None:
            self._rois.forget(layer_id)

    def drawn(self, windows: Iterable[Host], include: str) -> list[DrawnRoi]:
        """Return what is drawn in these windows and in the ROI Manager; see `drawn_rois`."""
        return drawn_rois(self._rois, windows, include)

    def _show(
        self, plan: HyperstackPlan, positions: tuple[Position, ...], candidates: Iterable[Host]
    ) -> None:
        by_id = {host.plan.layer_id: host for host in candidates}
        chosen = host_of(plan, [host.plan for host in by_id.values()])
        host = None if chosen is None else by_id[chosen.layer_id]
        self._rois.apply(plan, positions, partial(self._scene.rois, plan.layer_id), host)
        self._hosts[plan.layer_id] = "" if chosen is None else chosen.layer_id
