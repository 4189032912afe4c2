"""Regions of interest in napari: those of the position shown, in a shapes or a points layer.

The layer holds the regions of one position at a time and is refilled when the sliders move. As one N-d
layer of a whole plate it would be rebuilt for every arriving image: 35 ms for 100 outlines, and 96 wells
have 10,000. So regions nobody looks at cost nothing, and what the user draws is kept when he moves on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from openhcs_viewers.scene import Scene
from polystore.components import Component, Value
from polystore.projection import LayerPlan, Position
from polystore.rois import ROI, RoiKind

__all__ = ["RoiFiller", "read_layer"]

_SHAPE_TYPES = {
    RoiKind.POLYGON: "polygon",
    RoiKind.POLYLINE: "path",
    RoiKind.RECTANGLE: "rectangle",
    RoiKind.ELLIPSE: "ellipse",
    RoiKind.MASK: "polygon",
}
_KINDS = {"polygon": RoiKind.POLYGON, "rectangle": RoiKind.RECTANGLE, "ellipse": RoiKind.ELLIPSE}


class RoiFiller:
    """Keeps one shapes or points layer filled with the regions of the position shown.

    Parameters
    ----------
    layer
        napari's, two-dimensional: shown at every position of the sliders.
    plan
        Ours.
    scene
        Holds the regions of all positions.
    edge_width
        Of outlines, in pixels.
    """

    def __init__(self, layer: Any, plan: LayerPlan, scene: Scene, edge_width: float) -> None:
        self._layer = layer
        self._plan = plan
        self._scene = scene
        self._edge_width = edge_width
        self._where: Position | None = None
        self._filling = False
        self._edited = False
        layer.events.data.connect(self._on_data)

    def change(self, plan: LayerPlan) -> None:
        """Take on a new plan: a later run's regions replace all there were."""
        self._plan, self._where, self._edited = plan, None, False

    def fill(self, position: Mapping[Component, Value], *, anew: bool = False) -> None:
        """Show the regions of a position.

        Parameters
        ----------
        position
            Where the sliders stand; components without a slider have one value in all the layer.
        anew
            The regions there may be others than before.
        """
        where = tuple(position.get(which, values[0]) for which, values in self._plan.axes)
        if where == self._where and not anew:
            return
        if where != self._where:
            self.keep()
        rois = self._scene.rois(self._plan.layer_id, where)
        self._where, self._edited = where, False
        if not rois and not len(self._layer.data):
            return
        self._filling = True
        try:
            if self._plan.kind == "points":
                self._fill_points(rois)
            else:
                self._fill_shapes(rois)
        finally:
            self._filling = False

    def keep(self) -> None:
        """Let the scene know what the user made of the regions shown; nothing when he left them alone."""
        if not self._edited or self._where is None:
            return
        layer_id, where = self._plan.layer_id, self._where
        his = {id(roi) for roi in self._scene.drawn_rois(layer_id, where)}
        # What was filled in and is there still, as it was; each explains one region only.
        filled = [
            (outline, id(roi) in his) for roi in self._scene.rois(layer_id, where) for outline in _rows(roi)
        ]
        found = self._read()
        drawn = []
        for roi in found:
            at = next((n for n, (row, _) in enumerate(filled) if np.array_equal(row, roi.points)), None)
            if at is None or filled.pop(at)[1]:
                drawn.append(roi)
        self._scene.keep_rois(layer_id, where, found, drawn)
        self._edited = False

    def _fill_points(self, rois: Sequence[ROI]) -> None:
        empty = np.empty((0, 2))
        self._layer.selected_data = set()
        self._layer.data = np.concatenate([empty, *(roi.points for roi in rois)])
        self._layer.features = _features([roi for roi in rois for _ in roi.points])

    def _fill_shapes(self, rois: Sequence[ROI]) -> None:
        outlines = [(outline, _SHAPE_TYPES[roi.kind], roi) for roi in rois for outline in _outlines(roi)]
        self._layer.data = [(outline, kind) for outline, kind, _ in outlines]
        if outlines:
            self._layer.edge_width = [self._edge_width] * len(outlines)
        self._layer.features = _features([roi for _, _, roi in outlines])

    def _read(self) -> list[ROI]:
        """The regions as they are in the layer now; properties stay where the user neither added nor removed any."""
        found = [roi for roi, _ in read_layer(self._layer)]
        rows = self._layer.features.to_dict("records")
        if len(rows) != len(found):
            return found
        return [ROI(roi.kind, roi.points, _plain(row)) for roi, row in zip(found, rows, strict=True)]

    def _on_data(self, _event: Any = None) -> None:
        if not self._filling:
            self._edited = True


def read_layer(layer: Any) -> list[tuple[ROI, tuple[float, ...]]]:
    """The regions in a shapes or points layer, each with where it lies in the dimensions before y and x."""
    if hasattr(layer, "shape_type"):
        pairs = zip(layer.data, layer.shape_type, strict=True)
        parts = [(_KINDS.get(kind, RoiKind.POLYLINE), np.asarray(data)) for data, kind in pairs]
    else:
        parts = [(RoiKind.POINT, np.atleast_2d(row)) for row in layer.data]
    return [(ROI(kind, data[:, -2:]), tuple(map(float, data[0, :-2]))) for kind, data in parts]


def _rows(roi: ROI) -> Iterator[np.ndarray[Any, Any]]:
    """What stands for a region in a layer: its outlines, or each of its points."""
    return iter(roi.points[:, None, :]) if roi.kind is RoiKind.POINT else _outlines(roi)


def _outlines(roi: ROI) -> Iterator[np.ndarray[Any, Any]]:
    if roi.mask is None:
        yield roi.corners() if roi.kind in (RoiKind.RECTANGLE, RoiKind.ELLIPSE) else roi.points
        yield from roi.rings  # holes and further parts: shapes of their own, napari's have one outline
        return
    from skimage.measure import find_contours

    # A margin of false pixels, so that what touches the border has a closed outline too.
    for contour in find_contours(np.pad(roi.mask, 1).astype(np.uint8), 0.5):
        yield contour - 1 + roi.points[0]


def _features(rois: Sequence[ROI]) -> dict[str, list[Any]]:
    names = dict.fromkeys(name for roi in rois for name in roi.properties)
    return {name: [roi.properties.get(name) for roi in rois] for name in names}


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of a table as properties: numpy's scalars as Python's, what was missing left out."""
    plain = {
        str(name): value.item() if isinstance(value, np.generic) else value for name, value in row.items()
    }
    return {
        name: value
        for name, value in plain.items()
        if isinstance(value, (str, int, float, bool)) and value == value
    }
