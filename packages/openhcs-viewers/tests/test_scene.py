"""Between the thread that receives and the thread that draws: every image gets exactly one outcome."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openhcs_viewers._contrast import PLANES, Contrast, sample_range
from openhcs_viewers.abc import Changes
from openhcs_viewers.scene import Scene
from openhcs_viewers.store import PlaneStore
from openhcs_viewers.testing import RecordingViewer
from polystore.components import Component, ImageKey
from polystore.projection import DisplaySpec, LayerProjection, Placement
from polystore.rois import ROI, rois_to_wire
from polystore.streaming.messages import BatchContext

STEP = BatchContext(run="run", step_index=1, step_name="blur")


@dataclass
class Arriving:
    """An image as the receiver hands it over, that checks how it is treated."""

    array: Any = None
    key: ImageKey = field(default_factory=ImageKey)
    context: Any = STEP
    kind: str = "image"
    contrast: tuple[float, float] | None = None
    path: str = ""
    name: str = ""
    rois: list[Any] | None = None
    owned: bool = False
    torn: bool = False
    credits: int = 0
    outcome: str = ""
    reason: str = ""

    def intact(self) -> bool:
        assert not self.credits
        return not self.torn

    def credit(self) -> None:
        self.credits += 1
        assert self.credits == 1

    def resolve(self, outcome: str, reason: str = "") -> None:
        assert not self.outcome, "resolved twice"
        assert self.credits == 1
        self.outcome, self.reason = outcome, reason

    def finish(self, outcome: str, reason: str = "") -> None:
        self.credit()
        self.resolve(outcome, reason)


def image(
    value: int = 1, *, shape: tuple[int, ...] = (8, 8), dtype: Any = np.uint16, **options: Any
) -> Arriving:
    fields = {name: options.pop(name) for name in list(options) if name in Arriving.__dataclass_fields__}
    array = None if fields.get("kind") == "rois" else np.full(shape, value, dtype)
    return Arriving(array, ImageKey.of(**options), **fields)


class Rig:
    """A scene with a recording viewer that is pumped by hand."""

    def __init__(self, *, every_plane: bool = False, every_roi: bool = False) -> None:
        self.store = PlaneStore(2**24)
        self.scene = Scene(self.store, every_plane=every_plane, every_roi=every_roi)
        self.viewer = RecordingViewer(self.scene)
        self.viewer.open("test")
        self.wakes = 0
        self.scene.on_wake(self._wake)
        self.wakes = 0

    def _wake(self) -> None:
        self.wakes += 1

    def receive(self, *images: Arriving) -> list[str]:
        self.scene.receive(images)
        return [one.outcome for one in images]

    def settle(self) -> None:
        for _ in range(50):
            before = len(self.viewer.recorded)
            self.viewer.pump()
            if len(self.viewer.recorded) == before:
                return
        raise AssertionError("never settles")

    @property
    def last(self) -> Changes:
        return self.viewer.recorded[-1]


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_the_first_image_waits_for_its_layer(rig: Rig) -> None:
    first = image(well="A01")
    assert rig.receive(first) == [""]
    assert first.credits == 1  # its memory is the sender's again at once
    assert rig.wakes == 1
    rig.settle()
    assert (first.outcome, first.reason) == ("displayed", "")
    assert [plan.name for plan in rig.last.created] == ["Step_01_blur"]
    assert not rig.scene.take_changes()


def test_an_image_nobody_looks_at_is_displayed_at_once_and_costs_the_gui_nothing(rig: Rig) -> None:
    rig.receive(image(z=1), image(z=2), image(z=3))
    rig.settle()
    before, rig.wakes = len(rig.viewer.recorded), 0
    assert rig.receive(image(5, z=2), image(6, z=3)) == ["displayed", "displayed"]
    rig.settle()
    assert (len(rig.viewer.recorded), rig.wakes) == (before, 0)
    rig.viewer.move({Component.Z: 3})
    found = rig.store.get("layer-1", (3,))
    assert found is not None
    assert found[0, 0] == 6


def test_an_image_that_is_looked_at_waits_for_the_next_frame(rig: Rig) -> None:
    rig.receive(image(z=1), image(z=2))
    rig.settle()
    again = image(7, z=1)
    assert rig.receive(again) == [""]
    rig.settle()
    assert again.outcome == "displayed"
    assert rig.last.planes == {"layer-1": ((1,),)}
    assert rig.last.axes is None


def test_an_image_sent_again_before_its_frame_supersedes_the_first(rig: Rig) -> None:
    rig.receive(image(z=1), image(z=2))
    rig.settle()
    images = [image(value, z=1) for value in range(5)]
    rig.receive(*images)
    rig.settle()
    assert [one.outcome for one in images] == ["superseded"] * 4 + ["displayed"]
    assert rig.last.planes == {"layer-1": ((1,),)}


def test_a_new_value_waits_until_the_slider_has_it(rig: Rig) -> None:
    rig.receive(image(z=1), image(z=2))
    rig.settle()
    new = image(z=3)
    assert rig.receive(new) == [""]
    rig.settle()
    assert new.outcome == "displayed"
    assert rig.last.axes == ((Component.Z, (1, 2, 3)),)
    assert rig.last.planes == {}  # nobody looks at it: only the slider grew


def test_layers_are_made_one_per_frame_and_their_images_wait_for_them(rig: Rig) -> None:
    images = [image(channel=channel) for channel in (1, 2, 3)]
    rig.receive(*images)
    outcomes = []
    for _ in range(3):
        rig.viewer.pump()
        outcomes.append([one.outcome for one in images])
    assert outcomes == [
        ["displayed", "", ""],
        ["displayed", "displayed", ""],
        ["displayed", "displayed", "displayed"],
    ]
    assert rig.wakes >= 3  # each frame asks for the next one


def test_moving_the_slider_changes_what_is_looked_at(rig: Rig) -> None:
    rig.receive(image(z=1), image(z=2))
    rig.settle()
    rig.viewer.move({Component.Z: 2})
    assert rig.receive(image(z=1)) == ["displayed"]
    assert rig.receive(image(z=2)) == [""]


def test_axes_drawn_as_a_whole_are_looked_at_everywhere(rig: Rig) -> None:
    rig.receive(image(z=1), image(z=2))
    rig.settle()
    rig.scene.look_at({})
    assert rig.receive(image(z=1), image(z=2)) == ["", ""]


def test_a_layer_without_the_sliders_component_is_looked_at_everywhere(rig: Rig) -> None:
    rig.receive(image(z=1, channel=1), image(z=2, channel=1), image(channel=2))
    rig.settle()
    rig.viewer.move({Component.Z: 2})
    assert rig.receive(image(channel=2)) == [""]


def test_a_viewer_can_ask_for_every_plane() -> None:
    rig = Rig(every_plane=True)
    rig.receive(image(z=1), image(z=2))
    rig.settle()
    again = image(z=2)
    assert rig.receive(again) == [""]
    rig.settle()
    assert again.outcome == "displayed"
    assert rig.last.planes == {"layer-1": ((2,),)}


@pytest.mark.parametrize(
    ("refused", "text"),
    [
        (image(shape=(0, 4)), "no pixels"),
        (image(shape=(4,)), "no image"),
        (image(shape=()), "no image"),
        (image(torn=True), "rewritten"),
        (image(kind="labels", dtype=np.float32), "whole numbers"),
        (Arriving(None), "without pixels"),
        (image(kind="rois", rois=[{"kind": "blob", "points": []}]), "unknown kind of region"),
    ],
    ids=["empty", "1-d", "0-d", "torn", "labels", "nothing", "regions"],
)
def test_what_cannot_be_shown_is_dropped_with_the_reason_and_the_rest_goes_on(
    refused: Arriving, text: str
) -> None:
    rig = Rig()
    good = image(well="A01")
    rig.receive(refused, good)
    rig.settle()
    assert refused.outcome == "dropped"
    assert text in refused.reason
    assert refused.credits == 1
    assert good.outcome == "displayed"
    counts = rig.scene.status()["images"]
    assert (counts["received"], counts["displayed"], counts["dropped"], counts["waiting"]) == (2, 1, 1, 0)
    assert list(counts["drop_reasons"]) == [refused.reason]


def test_a_torn_image_does_not_replace_the_good_one(rig: Rig) -> None:
    rig.receive(image(1, z=1))
    rig.settle()
    rig.receive(image(2, z=1, torn=True))
    found = rig.store.get("layer-1", (1,))
    assert found is not None
    assert found[0, 0] == 1


def test_two_producers_on_one_place(rig: Rig) -> None:
    first, second, third = (
        image(1, z=1, path="a.tif"),
        image(2, z=1, path="a_thumb.tif"),
        image(3, z=2, path="b.tif"),
    )
    rig.receive(first, second, third)
    rig.settle()
    assert [first.outcome, second.outcome, third.outcome] == ["displayed", "dropped", "displayed"]
    assert "two images for z=1" in second.reason


def test_a_stack_is_one_image_of_many_planes(rig: Rig) -> None:
    pixels = np.arange(3 * 4 * 4, dtype=np.uint16).reshape(3, 4, 4)
    stack = Arriving(pixels, ImageKey(well="A01"))
    rig.receive(stack)
    assert not stack.outcome
    assert stack.array is None  # credited: it may be a view of all the memory of a sender
    rig.settle()
    assert stack.outcome == "displayed"
    assert rig.viewer.axes == ((Component.Z, (0, 1, 2)),)
    found = rig.store.get("layer-1", ("A01", 2))
    np.testing.assert_array_equal(found, pixels[2])
    again = Arriving(pixels, ImageKey(well="A01"))
    newest = Arriving(pixels, ImageKey(well="A01"))
    rig.receive(again, newest)
    rig.settle()
    assert (again.outcome, newest.outcome) == ("superseded", "displayed")


def test_another_size_of_the_same_place_takes_its_older_self_away(rig: Rig) -> None:
    rig.receive(image(1, well="A01"))
    rig.settle()
    rig.receive(image(2, well="A01", shape=(4, 4)))
    rig.settle()
    assert rig.store.positions("layer-1") == []
    assert rig.store.positions("layer-2") == [("A01",)]


def test_a_layer_the_viewer_cannot_make_is_given_up(rig: Rig) -> None:
    rig.viewer.refuse["Step_01_blur"] = "no such texture"
    bad, good = image(z=1), image(z=1, context=BatchContext(run="run", step_name="other"))
    rig.receive(bad, good)
    rig.settle()
    assert (bad.outcome, good.outcome) == ("dropped", "displayed")
    assert bad.reason == "no such texture"
    late = image(z=2)
    rig.receive(late)
    assert late.outcome == "dropped"
    assert "no such texture" in late.reason
    assert rig.store.positions("layer-1") == []


def test_a_layer_the_user_deleted_stays_away_until_another_run(rig: Rig) -> None:
    rig.receive(image(z=1), image(z=2))
    rig.settle()
    waiting, late = image(z=1), image(z=3)
    rig.receive(waiting)
    rig.scene.layer_deleted("layer-1")
    rig.receive(late)
    for one in (waiting, late):
        assert (one.outcome, one.reason) == ("dropped", "its layer was deleted in the viewer")
    assert rig.store.status().planes == 0
    again = image(z=1, context=BatchContext(run="second", step_index=1, step_name="blur"))
    rig.receive(again)
    rig.settle()
    assert again.outcome == "displayed"


def test_a_run_that_takes_a_layer_over(rig: Rig) -> None:
    spec = DisplaySpec(replace_layers=True)
    second = BatchContext(run="second", step_index=1, step_name="blur", display=spec)
    rig.receive(image(1, z=1), image(1, z=2))
    rig.settle()
    waiting, taking = image(2, z=1), image(3, z=1, context=second, dtype=np.float32)
    rig.receive(waiting, taking)
    late = image(4, z=2)
    rig.receive(late)
    rig.settle()
    assert [one.outcome for one in (waiting, taking, late)] == ["superseded", "displayed", "superseded"]
    assert "later run" in late.reason
    assert [plan.run for plan in rig.last.updated] == ["second"]
    assert rig.store.positions("layer-1") == [(1,)]
    assert list(rig.viewer.plans) == ["layer-1"]


def test_padding_tells_the_viewer_of_the_larger_planes(rig: Rig) -> None:
    context = BatchContext(run="run", display=DisplaySpec(variable_size="pad_to_max"))
    rig.receive(image(z=1, context=context))
    rig.settle()
    larger = image(z=1, shape=(16, 4), context=context)
    rig.receive(larger)
    rig.settle()
    assert larger.outcome == "displayed"
    assert [plan.plane_shape for plan in rig.last.updated] == [(16, 8)]


def test_following_moves_to_the_newest(rig: Rig) -> None:
    context = BatchContext(run="run", display=DisplaySpec(follow=True))
    rig.receive(*[image(z=z, context=context) for z in (1, 2, 3)])
    rig.settle()
    rig.wakes = 0
    assert rig.receive(image(z=2, context=context)) == ["displayed"]
    assert rig.wakes == 1
    rig.settle()
    assert rig.last.follow == {"layer-1": {Component.Z: 2}}
    assert rig.scene.state()["position"] == {"z": 2}


def test_declared_values_are_sliders_before_any_image(rig: Rig) -> None:
    rig.scene.declare({"well": ["A01", "B02"]})
    rig.settle()
    assert rig.viewer.axes == ((Component.WELL, ("A01", "B02")),)


def regions(*rois: ROI, **options: Any) -> Arriving:
    return image(kind="rois", rois=rois_to_wire(rois), **options)


def test_regions_are_kept_by_position_and_split_into_shapes_and_points(rig: Rig) -> None:
    triangle = ROI("polygon", [[0, 0], [0, 4], [4, 4]], {"area": 8})
    spot = ROI("point", [[1, 1]])
    both = regions(triangle, spot, well="A01")
    rig.receive(both)
    rig.settle()
    assert both.outcome == "displayed"
    assert sorted(plan.name for plan in rig.viewer.plans.values()) == [
        "Step_01_blur_points",
        "Step_01_blur_shapes",
    ]
    assert rig.scene.rois("layer-1", ("A01",)) == (triangle,)
    only_point = regions(spot, well="A01")
    rig.receive(only_point)
    rig.settle()
    assert only_point.outcome == "displayed"
    assert rig.scene.rois("layer-1", ("A01",)) == ()
    assert rig.last.rois == {"layer-1": (("A01",),), "layer-2": (("A01",),)}


def test_outlines_and_centres_may_come_from_two_files(rig: Rig) -> None:
    triangle, spot = ROI("polygon", [[0, 0], [0, 4], [4, 4]]), ROI("point", [[1, 1]])
    rig.receive(regions(triangle, well="A01", path="outlines"), regions(spot, well="A01", path="centres"))
    rig.settle()
    assert [len(rig.scene.rois(layer_id, ("A01",))) for layer_id in rig.viewer.plans] == [1, 1]


def test_no_regions_at_all_are_displayed_at_once(rig: Rig) -> None:
    assert rig.receive(regions(well="A01")) == ["displayed"]
    assert rig.viewer.plans == {}


def test_regions_nobody_looks_at_cost_nothing(rig: Rig) -> None:
    spot = ROI("point", [[1, 1]])
    rig.receive(regions(spot, well="A01"), regions(spot, well="A02"))
    rig.settle()
    before = len(rig.viewer.recorded)
    assert rig.receive(regions(spot, spot, well="A02")) == ["displayed"]
    rig.settle()
    assert len(rig.viewer.recorded) == before
    state = rig.viewer.state()
    assert [(layer["kind"], layer["planes"], layer["rois"]) for layer in state["layers"]] == [
        ("points", 2, 3)
    ]


def test_closing_drops_what_waits(rig: Rig) -> None:
    waiting = image(z=1)
    rig.receive(waiting)
    rig.scene.close()
    assert (waiting.outcome, waiting.reason) == ("dropped", "the viewer was closed")


def test_contrast_comes_with_the_layer_and_widens_without_waking_anybody(rig: Rig) -> None:
    rig.receive(image(z=1, contrast=(10.0, 20.0)), image(z=2, contrast=(12.0, 30.0)))
    rig.settle()
    assert rig.viewer.plans["layer-1"].contrast == (10.0, 30.0)
    rig.wakes = 0
    rig.receive(image(z=2, contrast=(0.0, 40.0)))
    assert rig.wakes == 0
    rig.viewer.move({Component.Z: 2})
    assert rig.wakes == 1  # now it will be seen
    rig.settle()
    assert rig.last.contrast == {"layer-1": {None: (0.0, 40.0)}}


def test_state_is_plain_values_from_the_bottom_to_the_top(rig: Rig) -> None:
    later = BatchContext(run="run", step_index=2, step_name="labels")
    rig.receive(image(z=1, kind="labels", context=later), image(z=1), image(z=2))
    rig.settle()
    state = rig.viewer.state()
    assert [(layer["name"], layer["planes"]) for layer in state["layers"]] == [
        ("Step_01_blur", 2),
        ("Step_02_labels_labels", 1),
    ]
    assert state["axes"] == [{"component": "z", "values": [1, 2]}]
    assert state["position"] == {"z": 1}
    assert state["title"] == "test"
    assert state["memory"]["planes"] == 3


def test_a_bug_costs_one_image_and_no_credit(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rig.store, "fill", lambda *_, **__: 1 / 0)
    broken = image(z=1)
    rig.receive(broken)
    assert broken.outcome == "dropped"
    assert "internal error: ZeroDivisionError" in broken.reason
    assert broken.credits == 1


def test_everything_is_counted_while_a_viewer_runs(tmp_path: Path) -> None:
    """One thread sends, the viewer's own thread shows and the slider moves: no outcome is missing or given twice."""
    store = PlaneStore(2**24)
    scene = Scene(store)
    viewer = RecordingViewer(scene)
    viewer.open("test")
    beats: list[None] = []
    thread = threading.Thread(target=viewer.run, args=(viewer.pump, lambda: beats.append(None)))
    thread.start()
    images = [image(n % 7, z=n % 10, channel=n % 3) for n in range(600)]
    for at, one in enumerate(images):
        scene.receive([one])
        if at % 50 == 0 and viewer.axes:
            scene.look_at({Component.Z: at // 50})
    deadline = threading.Event()
    for _ in range(200):
        if scene.status()["images"]["waiting"] == 0:
            break
        scene.wake()
        deadline.wait(0.02)
    viewer.close()
    thread.join(5)
    assert not thread.is_alive()
    assert beats
    outcomes = Counter(one.outcome for one in images)
    assert set(outcomes) <= {"displayed", "superseded"}
    counts = scene.status()["images"]
    assert counts["received"] == 600 == counts["displayed"] + counts["superseded"]
    assert viewer.screenshot(tmp_path / "picture.png").shape[2] == 4
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("plane", "expected"),
    [
        (np.array([[True, False]]), (0.0, 1.0)),
        (np.zeros((9, 9), np.uint16), None),
        (np.array([[1, 1], [1, 5]], np.uint16), (1.0, 5.0)),
        (np.full((4, 4), np.nan), None),
        (np.array([[np.inf, 1.0], [3.0, np.nan]]), (1.0, 3.0)),
        (np.array([[3 + 4j, 0]]), (0.0, 5.0)),
    ],
)
def test_ranges(plane: Any, expected: Any) -> None:
    assert sample_range(plane) == expected


def test_hot_pixels_do_not_turn_the_picture_black() -> None:
    rng = np.random.default_rng(0)
    plane = rng.normal(500, 50, (1024, 1024)).clip(0).astype(np.uint16)
    plane[rng.integers(0, 1024, 20), rng.integers(0, 1024, 20)] = 65535
    found = sample_range(plane)
    assert found is not None
    assert 300 < found[0] < 450
    assert 600 < found[1] < 800


def test_contrast_looks_at_a_bounded_number_of_planes() -> None:
    contrast = Contrast()
    moved = [contrast.feed(np.array([[0, value]], np.uint16), None) for value in range(1, 200)]
    assert moved[0]
    assert not any(moved[PLANES:])
    assert contrast.limits is not None
    assert contrast.limits[0] == 0.0
    assert 60 <= contrast.limits[1] <= PLANES
    assert not contrast.wants_pixels
    assert contrast.feed(None, (5.0, 6.0))  # what the sender says beats it
    assert contrast.limits == (5.0, 6.0)


def test_a_layer_with_sliders_of_its_own_is_looked_at_by_itself(rig: Rig) -> None:
    rig.receive(*(image(well="A01", channel=c, z=z) for c in (1, 2) for z in (1, 2)))
    rig.settle()
    rig.scene.look_at({Component.WELL: "A01", Component.Z: 2}, "layer-1")
    rig.scene.look_at({Component.WELL: "A01", Component.Z: 1}, "layer-2")
    # Again: those on screen wait for the window, the others are there to be looked at.
    assert rig.receive(*(image(9, well="A01", channel=c, z=z) for c in (1, 2) for z in (1, 2))) == [
        "displayed", "", "", "displayed",
    ]  # fmt: skip
    changes = rig.scene.take_changes()
    assert dict(changes.planes) == {"layer-1": (("A01", 2),), "layer-2": (("A01", 1),)}


def test_parts_of_a_layer_have_display_ranges_of_their_own() -> None:
    class Parted(LayerProjection):
        def place(self, *args: Any, **options: Any) -> Placement:
            placement = super().place(*args, **options)
            return replace(placement, part=args[1].z)

    scene = Scene(PlaneStore(2**24), Parted())
    viewer = RecordingViewer(scene)
    viewer.open("test")
    scene.receive([image(1, z=z, contrast=(0.0, 10.0 * z)) for z in (1, 2)])
    viewer.pump()
    scene.receive([image(1, z=z, contrast=(0.0, 40.0 * z)) for z in (1, 2)])
    viewer.pump()
    assert viewer.recorded[-1].contrast == {"layer-1": {1: (0.0, 40.0), 2: (0.0, 80.0)}}
    scene.receive([image(1, z=1, contrast=(0.0, 90.0))])
    scene.layer_deleted("layer-1")  # and what was about to be told of it is forgotten
    assert not scene.take_changes().contrast


def test_a_viewer_can_be_told_of_every_region_and_of_planes_only_where_it_looks() -> None:
    triangle = ROI("polygon", [[0, 0], [0, 4], [4, 4]])
    for every_roi in (False, True):
        rig = Rig(every_roi=every_roi)
        rig.receive(*[image(well=well) for well in ("A01", "B02")], regions(triangle, well="A01"))
        rig.receive(regions(triangle, well="B02"))
        rig.settle()
        before = len(rig.viewer.recorded)
        assert rig.receive(image(9, well="B02")) == ["displayed"]
        outcome = rig.receive(regions(well="B02"))
        rig.settle()
        told = [dict(changes.rois) for changes in rig.viewer.recorded[before:] if changes.rois]
        assert outcome == ([""] if every_roi else ["displayed"])
        assert told == ([{"layer-2": (("B02",),)}] if every_roi else [])
        assert all(not changes.planes for changes in rig.viewer.recorded[before:])


def test_what_the_user_made_of_regions_is_kept_until_they_are_sent_anew(rig: Rig) -> None:
    one, two = ROI("polygon", [[0, 0], [0, 4], [4, 4]]), ROI("polygon", [[1, 1], [1, 5], [5, 5]])
    rig.receive(regions(one, well="A01"), regions(one, well="B02"))
    rig.settle()
    rig.scene.keep_rois("layer-1", ("A01",), [one, two], [two])
    assert rig.scene.drawn_rois("layer-1", ("A01",)) == (two,)
    assert rig.scene.roi_positions("layer-1") == (("A01",), ("B02",))
    assert [plan.layer_id for plan in rig.scene.roi_plans()] == ["layer-1"]
    rig.receive(regions(one, well="A01"))
    assert rig.scene.drawn_rois("layer-1", ("A01",)) == ()
    rig.scene.keep_rois("layer-1", ("A01",), [two])
    rig.scene.layer_deleted("layer-1")
    assert rig.scene.drawn_rois("layer-1", ("A01",)) == rig.scene.roi_positions("layer-1") == ()


def test_each_layer_has_a_place_to_follow_once_it_is_there(rig: Rig) -> None:
    context = BatchContext(run="run", display=DisplaySpec(follow=True))
    rig.receive(*(image(context=context, channel=c, z=z) for c in (1, 2) for z in (1, 2)))
    first, second = rig.scene.take_changes(), None
    assert dict(first.follow) == {"layer-1": {Component.Z: 2}}  # one layer at a time is made
    rig.scene.applied(first)
    second = rig.scene.take_changes()
    assert dict(second.follow) == {"layer-2": {Component.Z: 2}}
    rig.scene.applied(second)
    rig.receive(image(context=context, channel=2, z=1), image(context=context, channel=1, z=1))
    assert list(rig.scene.take_changes().follow) == ["layer-2", "layer-1"]
