"""Regions of interest in a real ImageJ: streamed there, drawn by the user, given back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from openhcs_viewers.drawn import DrawnRoi
from openhcs_viewers.fiji._drawn import drawn_rois
from openhcs_viewers.fiji._java import java, on_edt
from openhcs_viewers.fiji._rois import Rois, mark_of
from openhcs_viewers.fiji.engine import Engine
from polystore.components import ImageKey
from polystore.projection import DisplaySpec, Position
from polystore.projection.hyperstack import HyperstackPlan, HyperstackProjection, host_of
from polystore.rois import ROI
from polystore.streaming.messages import BatchContext

SQUARE = np.array([[2.5, 2.5], [2.5, 6.5], [6.5, 6.5], [6.5, 2.5]])


@dataclass
class Window:
    image: Any
    plan: HyperstackPlan


class Rig:
    """A projection, windows without planes of their own, and the regions drawn upon them."""

    def __init__(self, headless: bool = False) -> None:
        self.projection = HyperstackProjection()
        self.context = BatchContext(run="r", step_index=1, step_name="blur", display=DisplaySpec())
        self.rois = Rois(headless=headless)
        self.held: dict[str, dict[Position, tuple[ROI, ...]]] = {}
        self.windows: list[Window] = []

    def image(self, *keys: dict[str, Any], shape: tuple[int, int] = (64, 64)) -> str:
        layer_id = ""
        for key in keys:
            placed = self.projection.place(self.context, ImageKey(**key), shape, np.dtype("uint8"), "image")
            layer_id = placed.layer_id
        return layer_id

    def plan(self, layer_id: str) -> HyperstackPlan:
        plan = self.projection.layer(layer_id)
        assert isinstance(plan, HyperstackPlan)
        return plan

    def open(self, layer_id: str, *, show: bool = False) -> Window:
        plan = self.plan(layer_id)
        height, width = plan.plane_shape[:2]
        image = java("ij.IJ").createHyperStack(plan.name, width, height, *plan.size, 8)
        if show:
            on_edt(image.show)
        window = Window(image, plan)
        self.windows.append(window)
        self.opened(window)
        return window

    def opened(self, window: Window) -> None:
        """Draw what belongs upon a window that was opened or has grown."""
        for layer_id, held in self.held.items():
            plan = self.plan(layer_id)
            host = host_of(plan, [one.plan for one in self.windows])
            if host is not None and host.layer_id == window.plan.layer_id:
                self.rois.apply(plan, [], lambda at, held=held: held.get(at, ()), window)

    def stream(self, *rois: ROI, host: Window | None = None, kind: str = "shapes", **key: Any) -> str:
        placed = self.projection.place(self.context, ImageKey(**key), (), "", kind)
        self.held.setdefault(placed.layer_id, {})[placed.position] = rois
        held = self.held[placed.layer_id]
        plan = self.plan(placed.layer_id)
        self.rois.apply(plan, [placed.position], lambda at: held.get(at, ()), host)
        return placed.layer_id

    def drawn(self, include: str = "user") -> list[DrawnRoi]:
        return drawn_rois(self.rois, self.windows, include)

    def close(self) -> None:
        manager = java("ij.plugin.frame.RoiManager").getRawInstance()

        def end() -> None:
            for window in self.windows:
                window.image.changes = False
                window.image.close()
            if manager is not None:
                manager.reset()
                manager.close()

        on_edt(end)


@pytest.fixture
def rig(engine: Engine) -> Iterator[Rig]:
    rig = Rig()
    yield rig
    rig.close()


def manager() -> Any:
    return java("ij.plugin.frame.RoiManager").getInstance()


def names() -> list[str]:
    return [] if manager() is None else [str(shape.getName()) for shape in manager().getRoisAsArray()]


def places(window: Window) -> list[tuple[int, int, int]]:
    overlay = window.image.getOverlay()
    return [(r.getCPosition(), r.getZPosition(), r.getTPosition()) for r in overlay.toArray()]


def planes(count: int = 3, **more: Any) -> list[dict[str, Any]]:
    return [{"well": "A01", "z": z, "t": t, **more} for z in range(1, count + 1) for t in (1, 2)]


def select(window: Window, shape: Any, *place: int) -> None:
    def task() -> None:
        if place:
            window.image.setPosition(*place)
        window.image.setRoi(shape)

    on_edt(task)


def test_regions_are_in_the_overlay_and_the_manager_at_their_plane(rig: Rig) -> None:
    window = rig.open(rig.image(*planes()))
    rig.stream(ROI("polygon", SQUARE, {"name": "cell 7"}), host=window, well="A01", z=2, t=1)
    rig.stream(ROI("polygon", SQUARE + 9), host=window, well="A01", z=3, t=2)
    rig.stream(ROI("polygon", SQUARE + 20, place={"t": 2}), host=window, well="A01", z=1, t=1)
    assert places(window) == [(1, 2, 1), (1, 3, 2), (1, 1, 2)] or places(window) == [
        (0, 2, 1), (0, 3, 2), (0, 1, 2),
    ]  # fmt: skip
    assert names() == ["cell 7 A01 blur", "1 A01 blur", "1 A01 blur"]
    assert manager().isVisible()
    in_manager = manager().getRoi(1)
    assert (in_manager.getZPosition(), in_manager.getTPosition()) == (3, 2)
    x, y, width, height = (getattr(in_manager.getBounds(), name) for name in ("x", "y", "width", "height"))
    assert (x, y, width, height) == (12, 12, 4, 4)


def test_a_name_imagej_would_take_for_a_slice_is_none_any_more(rig: Rig) -> None:
    window = rig.open(rig.image(*[{"well": "A01", "z": z} for z in (1, 2, 3)]))
    rig.stream(ROI("polygon", SQUARE, {"name": "0002-0010-0010"}), host=window, well="A01")
    assert names() == ["roi 0002-0010-0010 A01 blur"]
    assert manager().getSliceNumber(names()[0]) == -1
    assert rig.drawn("all")[0].roi.properties["name"] == "0002-0010-0010"


def test_in_a_plain_stack_the_place_is_one_number(rig: Rig) -> None:
    window = rig.open(rig.image(*[{"well": "A01", "z": z} for z in (1, 2, 3)]))
    rig.stream(ROI("polygon", SQUARE), host=window, well="A01", z=3)
    (shape,) = window.image.getOverlay().toArray()
    assert shape.getPosition() == 3
    (found,) = rig.drawn("all")
    assert found.key == ImageKey(well="A01", z=3)


def test_every_kind_goes_there_and_comes_back_as_it_was(rig: Rig) -> None:
    mask = np.zeros((9, 9), bool)
    mask[0:3, 0:3] = mask[6:9, 6:9] = True
    rois = [
        ROI("polygon", SQUARE, {"area": 16.0, "label": "a", "color": "#ff0000"}),
        ROI("polygon", SQUARE * 3, rings=(SQUARE * 2,)),
        ROI("polyline", [[0, 0], [1, 1], [2, 0]]),
        ROI("rectangle", [[1, 2], [5, 9]]),
        ROI("ellipse", [[1, 2], [5, 9]], {"name": "round"}),
        ROI.from_mask(mask, properties={"area": 18.0}),
        ROI("point", [[3, 4], [5, 6]]),
    ]
    window = rig.open(rig.image({"well": "A01"}))
    rig.stream(*rois, host=window, well="A01")
    overlay = window.image.getOverlay()
    assert [str(shape.getTypeAsString()) for shape in overlay.toArray()] == [
        "Traced", "Composite", "Polyline", "Rectangle", "Oval", "Composite", "Point",
    ]  # fmt: skip
    assert overlay.get(0).getStrokeColor() == java("java.awt.Color").red
    assert [one.roi.replace(place={}) for one in rig.drawn("all")] == rois
    assert all(one.streamed and one.key == ImageKey(well="A01") for one in rig.drawn("all"))
    assert rig.drawn() == []
    # And changed by the user, each by a pixel: as they are now.
    on_edt(lambda: [shape.setLocation(shape.getXBase() + 1, shape.getYBase()) for shape in overlay.toArray()])
    found = rig.drawn()
    assert [one.roi.kind for one in found] == [roi.kind for roi in rois]
    for one, before in zip(found, rois, strict=True):
        np.testing.assert_allclose(one.roi.points, before.points + np.array([0, 1]))
        assert dict(one.roi.properties) == dict(before.properties)


def test_a_replacement_takes_exactly_the_old_ones_away(rig: Rig) -> None:
    window = rig.open(rig.image(*planes()))
    mine = java("ij.gui.Roi")(2, 2, 4, 4)  # equal to a streamed one, as ImageJ compares them
    on_edt(lambda: window.image.setOverlay(java("ij.gui.Overlay")(mine)))
    rig.stream(ROI("rectangle", SQUARE[[0, 2]] - 1), host=window, well="A01", z=1, t=1)
    on_edt(lambda: manager().add(java("ij.gui.Roi")(2, 2, 4, 4), -1))
    rig.stream(ROI("polygon", SQUARE), host=window, well="A01", z=2, t=1)
    rig.stream(*[ROI("polygon", SQUARE + n) for n in range(3)], host=window, well="A01", z=1, t=1)
    rig.stream(host=window, well="A01", z=2, t=1)
    overlay = window.image.getOverlay().toArray()
    assert len(overlay) == 4
    assert [mark_of(shape) == "" for shape in overlay] == [True, False, False, False]
    assert [mark_of(shape) == "" for shape in manager().getRoisAsArray()] == [True, False, False, False]


def test_what_the_user_changed_is_his_and_stays(rig: Rig) -> None:
    window = rig.open(rig.image({"well": "A01"}), show=True)
    layer = rig.stream(ROI("polygon", SQUARE), ROI("polygon", SQUARE + 9), host=window, well="A01")

    def move() -> None:
        manager().select(window.image, 0)
        window.image.getRoi().setLocation(30.0, 31.0)
        manager().runCommand(window.image, "Update")
        window.image.deleteRoi()

    on_edt(move)
    (changed,) = rig.drawn()
    assert changed.streamed
    np.testing.assert_allclose(changed.roi.points.min(axis=0), (30.5, 29.5))
    assert (changed.layer_id, changed.key) == (layer, ImageKey(well="A01"))
    assert len(rig.drawn("all")) == 2  # each once, the changed one as it is now
    rig.stream(ROI("polygon", SQUARE + 20), host=window, well="A01")
    assert window.image.getOverlay().size() == 1
    assert manager().getCount() == 2
    (kept,) = rig.drawn()
    assert not kept.streamed  # nothing streamed is behind it any more
    np.testing.assert_array_equal(kept.roi.points, changed.roi.points)
    assert "openhcs" not in kept.roi.properties


def test_what_the_user_draws_comes_back_with_its_place(rig: Rig) -> None:
    window = rig.open(rig.image(*planes(channel=1), *planes(channel=2)), show=True)
    rig.stream(ROI("polygon", SQUARE), host=window, well="A01", z=2, t=1)
    select(window, java("ij.gui.OvalRoi")(10, 20, 30, 8), 1, 3, 2)
    on_edt(lambda: manager().runCommand(window.image, "Add"))  # and it stays selected
    select(window, java("ij.gui.Roi")(1, 2, 3, 4), 2, 1, 1)
    overlaid = java("ij.gui.Line")(1, 2, 3, 4)
    overlaid.setPosition(0, 2, 0)
    on_edt(lambda: window.image.getOverlay().add(overlaid))
    found = {one.source: one for one in rig.drawn()}
    assert sorted(found) == ["manager", "overlay", "selection"]
    name = window.plan.name
    assert {(one.layer, one.layer_id, one.streamed) for one in found.values()} == {
        (name, window.plan.layer_id, False)
    }
    oval = found["manager"]
    assert oval.roi.kind == "ellipse"
    assert (oval.key.well, oval.key.z, oval.key.t) == ("A01", 3, 2)
    np.testing.assert_array_equal(oval.roi.points, [[19.5, 9.5], [27.5, 39.5]])
    assert found["overlay"].key == ImageKey(well="A01", z=2)
    assert (found["selection"].key.z, found["selection"].key.t) == (1, 1)
    assert found["selection"].roi.place == found["selection"].key


def test_a_selection_added_to_the_manager_is_one_region(rig: Rig) -> None:
    window = rig.open(rig.image(*planes()), show=True)
    rig.stream(ROI("polygon", SQUARE), host=window, well="A01", z=2, t=1)
    select(window, java("ij.gui.OvalRoi")(10, 20, 30, 8), 1, 3, 2)
    on_edt(lambda: manager().runCommand(window.image, "Add"))
    assert [one.source for one in rig.drawn()] == ["manager"]


def test_images_the_user_opened_are_looked_at(rig: Rig) -> None:
    image = java("ij.IJ").createImage("his own", "8-bit black", 32, 32, 1)
    on_edt(image.show)
    try:
        on_edt(lambda: image.setRoi(java("ij.gui.Roi")(1, 2, 3, 4)))
        (found,) = rig.drawn()
    finally:
        image.changes = False
        on_edt(image.close)
    assert (found.layer, found.layer_id, found.source) == ("his own", "", "selection")


def test_regions_wait_for_their_window_and_outlive_it(rig: Rig) -> None:
    layer = rig.image(*planes())
    rig.stream(ROI("polygon", SQUARE), well="A01", z=2, t=2)
    assert names() == ["1 A01 blur"]  # seen even if no image ever comes
    window = rig.open(layer, show=True)
    assert [place[1:] for place in places(window)] == [(2, 2)]
    assert names() == ["1 A01 blur"]
    rig.rois.host_closed(layer)
    rig.windows.clear()
    window.image.changes = False
    on_edt(window.image.close)
    rig.stream(ROI("polygon", SQUARE), ROI("polygon", SQUARE), well="A01", z=3, t=2)
    assert names() == ["1 A01 blur", "1 A01 blur", "2 A01 blur"]
    again = rig.open(layer)
    assert [place[1:] for place in places(again)] == [(2, 2), (3, 2), (3, 2)]


def test_a_window_that_grows_takes_its_regions_along(rig: Rig) -> None:
    layer = rig.image({"well": "A01", "z": 5, "t": 1}, {"well": "A01", "z": 5, "t": 2})
    window = rig.open(layer)
    rig.stream(ROI("polygon", SQUARE), host=window, well="A01", z=5, t=2)
    assert [shape.getPosition() for shape in window.image.getOverlay().toArray()] == [2]
    rig.image({"well": "A01", "z": 3, "t": 1})  # before it
    window.plan = rig.plan(layer)
    window.image.setStack(java("ij.ImageStack").create(64, 64, 4, 8), 1, 2, 2)
    rig.opened(window)
    assert [place[1:] for place in places(window)] == [(2, 2)]
    assert len(names()) == 1


def test_other_windows_are_left_alone(rig: Rig) -> None:
    a = rig.open(rig.image({"well": "A01"}))
    b = rig.open(rig.image({"well": "B02"}))
    rig.stream(ROI("polygon", SQUARE), host=a, well="A01")
    rig.stream(ROI("polygon", SQUARE), host=b, well="B02")
    assert (a.image.getOverlay().size(), b.image.getOverlay().size()) == (1, 1)
    assert names() == ["1 A01 blur", "1 B02 blur"]


def test_forgetting_a_layer_takes_its_regions_away(rig: Rig) -> None:
    window = rig.open(rig.image(*planes()))
    layer = rig.stream(ROI("polygon", SQUARE), host=window, well="A01", z=2, t=1)
    rig.stream(ROI("point", [[1, 1]]), host=window, kind="points", well="A01", z=2, t=1)
    rig.rois.forget(layer)
    assert window.image.getOverlay().size() == 1
    assert manager().getCount() == 1
    rig.rois.forget("nothing")


def test_many_regions_are_one_update_of_the_overlay(rig: Rig) -> None:
    window = rig.open(rig.image({"well": "A01"}))
    updates = []

    class Counting:
        def __getattr__(self, name: str) -> Any:
            if name == "setOverlay":
                updates.append(name)
            return getattr(window.image, name)

    rig.stream(
        *[ROI("polygon", SQUARE + n % 50) for n in range(600)],
        host=Window(Counting(), window.plan),
        well="A01",
    )
    assert updates == ["setOverlay"]
    assert window.image.getOverlay().size() == manager().getCount() == 600


def test_a_region_imagej_cannot_have_is_left_out_and_said(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    window = rig.open(rig.image({"well": "A01"}))
    rig.stream(ROI("polygon", SQUARE + 1e8), ROI("polygon", SQUARE), host=window, well="A01")
    assert window.image.getOverlay().size() == 1
    assert "cannot tell pixels apart" in caplog.text


def test_without_windows_there_are_overlays_only(engine: Engine) -> None:
    rig = Rig(headless=True)
    window = rig.open(rig.image({"well": "A01"}))
    rig.stream(ROI("polygon", SQUARE), host=window, well="A01")
    assert window.image.getOverlay().size() == 1
    assert manager() is None
    rig.stream(ROI("polygon", SQUARE), ROI("polygon", SQUARE), host=window, well="A01")
    assert window.image.getOverlay().size() == 2
    assert [one.source for one in rig.drawn("all")] == ["overlay", "overlay"]
