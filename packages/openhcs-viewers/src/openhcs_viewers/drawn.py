"""Regions of interest as a viewer gives them back: with where they were drawn, and their plain form for messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from openhcs_viewers.errors import ViewerError
from polystore.components import ImageKey
from polystore.errors import ComponentError, RoiError
from polystore.rois import ROI

if TYPE_CHECKING:
    from openhcs_viewers.scene import Scene

__all__ = ["INCLUDE", "DrawnRoi", "rois_of_scene"]

INCLUDE = ("user", "all")
"""Which regions to ask for: those the user drew or changed, or the streamed ones, too."""


@dataclass(frozen=True, slots=True)
class DrawnRoi:
    """One region in a viewer.

    Parameters
    ----------
    roi
        The region; its ``place`` is `key`.
    key
        Well, z, t ... of the planes it lies on. A component that is not set: all of them, or nobody knows.
    layer
        The layer or window it was found in; empty for one that belongs to none.
    layer_id
        The same layer's identity, as in `ViewerHandle.state`; empty for one that did not come from a stream.
    streamed
        It came from a stream and, where a viewer knows, the user may have changed it since. False: he drew it, or a
        viewer that does not know took what he changed for it.
    source
        Where it was found: ``"layer"``, or in ImageJ ``"manager"``, ``"selection"`` or ``"overlay"``.
    """

    roi: ROI
    key: ImageKey = field(default_factory=ImageKey)
    layer: str = ""
    layer_id: str = ""
    streamed: bool = False
    source: str = "layer"

    def to_wire(self) -> dict[str, Any]:
        """Return it as text, numbers and lists only."""
        roi = self.roi.to_wire()
        if "properties" in roi:
            # ImageJ keeps texts only: a row of digits may be a number no message has a place for.
            roi["properties"] = {
                name: str(value) if isinstance(value, int) and not -(2**63) <= value < 2**63 else value
                for name, value in roi["properties"].items()
            }
        return {
            "roi": roi,
            "key": self.key.as_dict(),
            "layer": self.layer,
            "layer_id": self.layer_id,
            "streamed": self.streamed,
            "source": self.source,
        }

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> DrawnRoi:
        """Return the region of such a dict.

        Raises
        ------
        ViewerError
            It is not one.
        """
        try:
            return cls(
                ROI.from_wire(wire["roi"]),
                ImageKey.from_mapping(wire["key"]),
                str(wire["layer"]),
                str(wire["layer_id"]),
                bool(wire["streamed"]),
                str(wire["source"]),
            )
        except (KeyError, TypeError, AttributeError, RoiError, ComponentError) as error:
            raise ViewerError(f"the viewer answered with a region that is none: {error!r}") from error


def rois_of_scene(scene: Scene, include: str = "user") -> list[DrawnRoi]:
    """Return what the scene was told of the user's regions (`Scene.keep_rois`), or all it has; any thread."""
    found = []
    for plan in scene.roi_plans():
        for position in scene.roi_positions(plan.layer_id):
            theirs = scene.drawn_rois(plan.layer_id, position)
            drawn = {id(roi) for roi in theirs}
            pairs = zip(plan.components, position, strict=True)
            where = {which.value: value for which, value in pairs if value is not None}
            for roi in theirs if include == "user" else scene.rois(plan.layer_id, position):
                key = ImageKey(**{**where, **roi.place.as_dict()})
                found.append(
                    DrawnRoi(
                        roi.replace(place=key), key, plan.name, plan.layer_id, streamed=id(roi) not in drawn
                    )
                )
    return found
