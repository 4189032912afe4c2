"""A scene of hyperstacks: every image gets exactly one outcome, and the viewer hears of growth."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from openhcs_viewers.scene import Scene
from openhcs_viewers.store import PlaneStore
from openhcs_viewers.testing import RecordingViewer
from polystore.components import Component, ImageKey
from polystore.projection import DisplaySpec, HyperstackPlan, HyperstackProjection
from polystore.rois import ROI, rois_to_wire
from polystore.streaming.messages import BatchContext

STEP = BatchContext(run="run", step_index=1, step_name="blur")
ONE, TWO = (
    BatchContext(run=run, step_index=1, step_name="blur", display=DisplaySpec(replace_layers=True))
    for run in ("one", "two")
)


@dataclass
class Arriving:
    """An image as the receiver hands it over, that notes what becomes of it."""

    array: Any
    key: ImageKey
    context: Any = STEP
    kind: str = "image"
    contrast: tuple[float, float] | None = None
    path: str = ""
    name: str = ""
    rois: list[Any] | None = None
    owned: bool = False
    credits: int = 0
    outcomes: list[str] = field(default_factory=list)

    def intact(self) -> bool:
        return True

    def credit(self) -> None:
        self.credits += 1

    def resolve(self, outcome: str, reason: str = "") -> None:
        self.outcomes.append(outcome)

    def finish(self, outcome: str, reason: str = "") -> None:
        self.credit()
        self.resolve(outcome, reason)


def image(
    value: int = 1, *, contrast: tuple[float, float] | None = None, context: Any = STEP, **components: Any
) -> Arriving:
    array = np.full((8, 8), value, np.uint16)
    return Arriving(array, ImageKey.of(**components), context, contrast=contrast)


def rig(*, every_plane: bool = False) -> tuple[Scene, RecordingViewer]:
    scene = Scene(PlaneStore(2**24), HyperstackProjection(), every_plane=every_plane)
    viewer = RecordingViewer(scene)
    viewer.open("test")
    return scene, viewer


def settle(viewer: RecordingViewer) -> None:
    for _ in range(50):
        before = len(viewer.recorded)
        viewer.pump()
        if len(viewer.recorded) == before:
            return
    raise AssertionError("never settles")


def hyperstack(viewer: RecordingViewer, layer_id: str = "layer-1") -> HyperstackPlan:
    plan = viewer.plans[layer_id]
    assert isinstance(plan, HyperstackPlan)
    return plan


def test_every_plane_gets_one_outcome_while_hyperstacks_grow() -> None:
    scene, viewer = rig()
    images = [
        image(well=well, channel=channel, z=z)
        for z in (5, 1, 3)
        for well in ("A01", "B02")
        for channel in (2, 1)
    ] + [image(well="A01", channel=3)]
    for number, one in enumerate(images):
        scene.receive([one])
        if number % 3 == 0:
            viewer.pump()
    settle(viewer)
    assert [one.credits for one in images] == [1] * len(images)
    assert Counter(outcome for one in images for outcome in one.outcomes) == {"displayed": len(images)}
    plan = hyperstack(viewer)
    assert (plan.name, plan.size) == ("Step_01_blur_Well_A01", (3, 3, 1))
    for position in scene.store.positions("layer-1"):
        assert plan.slots(position)
    assert len({slot for at in scene.store.positions("layer-1") for slot in plan.slots(at)}) == 9
    state = scene.state()
    assert state["images"]["displayed"] == state["images"]["received"] == len(images)
    assert state["axes"] == []
    assert state["layers"][0]["axes"] == {"channel": [1, 2, 3], "z": [1, 3, 5]}


def test_a_plane_in_a_new_place_waits_for_the_viewer_and_another_one_does_not() -> None:
    scene, viewer = rig()
    scene.receive([image(channel=1, z=1), image(channel=1, z=2)])
    settle(viewer)
    scene.look_at({Component.Z: 1}, "layer-1")  # a composite: all channels are looked at
    hidden, shown, new = image(7, channel=1, z=2), image(8, channel=1, z=1), image(9, channel=2)
    scene.receive([hidden, shown])
    assert (hidden.outcomes, shown.outcomes) == (["displayed"], [])
    scene.receive([new])
    assert new.outcomes == []
    changes = scene.take_changes()
    assert [plan.layer_id for plan in changes.updated] == ["layer-1"]
    scene.applied(changes)
    assert (shown.outcomes, new.outcomes) == (["displayed"], ["displayed"])
    projection = image(10, channel=2)  # has no z: it is on screen at any
    scene.receive([projection])
    assert projection.outcomes == []
    assert dict(scene.take_changes().planes) == {"layer-1": ((2, None, None),)}


def test_a_plane_that_makes_a_hyperstack_grow_waits_for_it_wherever_one_looks() -> None:
    scene, viewer = rig()
    scene.receive([image(z=1), image(z=2)])
    settle(viewer)
    scene.look_at({Component.Z: 1}, "layer-1")
    grows, known = image(3, z=3), image(4, z=2)
    scene.receive([grows])
    assert grows.outcomes == []
    scene.receive([known])
    assert known.outcomes == []  # all is drawn anew
    viewer.pump()
    assert (grows.outcomes, known.outcomes) == (["displayed"], ["displayed"])


def takeover() -> tuple[Scene, RecordingViewer, list[Arriving], list[Arriving]]:
    """A scene whose layer is taken over by a run the viewer has not shown yet, while images of the older wait."""
    scene, viewer = rig()
    scene.receive([image(z=1, context=ONE), image(z=2, context=ONE)])
    settle(viewer)
    older = [image(10, z=z, context=ONE) for z in (1, 3)]
    newer = [image(20, z=z, context=TWO) for z in (1, 2)]
    scene.receive(older)
    scene.receive(newer)
    return scene, viewer, older, newer


def test_a_takeover_supersedes_what_waits() -> None:
    scene, viewer, older, newer = takeover()
    assert [one.outcomes for one in older] == [["superseded"], ["superseded"]]
    assert [one.outcomes for one in newer] == [[], []]
    settle(viewer)
    assert [one.outcomes for one in newer] == [["displayed"], ["displayed"]]
    assert hyperstack(viewer).run == "two"
    assert scene.store.positions("layer-1") == [(None, None, 1), (None, None, 2)]


def test_a_layer_deleted_while_it_is_taken_over_is_that_of_the_older_run() -> None:
    scene, viewer, _, newer = takeover()
    scene.layer_deleted("layer-1")
    assert [one.outcomes for one in newer] == [[], []]
    changes = scene.take_changes()
    assert [(plan.layer_id, plan.run) for plan in changes.created] == [("layer-1", "two")]
    scene.applied(changes, viewer.apply(changes))
    assert [one.outcomes for one in newer] == [["displayed"], ["displayed"]]
    scene.layer_deleted("layer-1")
    late = image(z=1, context=TWO)
    scene.receive([late])
    assert late.outcomes == ["dropped"]


def test_a_layer_deleted_while_the_takeover_is_shown_is_that_of_the_older_run() -> None:
    scene, viewer, _, newer = takeover()
    changes = scene.take_changes()
    assert [plan.run for plan in changes.updated] == ["two"]
    scene.layer_deleted("layer-1")
    again = image(30, z=1, context=TWO)
    scene.receive([again])
    scene.applied(changes)
    assert [one.outcomes for one in (*newer, again)] == [["superseded"], [], []]
    settle(viewer)
    assert [one.outcomes for one in (*newer, again)] == [["superseded"], ["displayed"], ["displayed"]]


def test_a_layer_deleted_before_it_is_drawn_displays_nothing() -> None:
    scene, viewer = rig()
    scene.receive([image(z=1)])
    settle(viewer)
    late = image(z=2)
    scene.receive([late])
    changes = scene.take_changes()
    scene.layer_deleted("layer-1", "it was broken")
    scene.applied(changes)
    assert late.outcomes == ["dropped"]
    state = scene.state()
    assert state["images"]["drop_reasons"] == {"it was broken": 1}
    assert state["layers"] == []


def test_a_single_plane_that_cannot_be_shown_costs_only_itself() -> None:
    scene, viewer = rig()
    scene.receive([image(z=1)])
    settle(viewer)
    lost, shown = image(z=2), image(z=3)
    scene.receive([lost, shown])
    changes = scene.take_changes()
    scene.applied(changes, {}, {("layer-1", (None, None, 2)): "no memory"})
    assert (lost.outcomes, shown.outcomes) == (["dropped"], ["displayed"])
    again = image(z=1)
    scene.receive([again])
    settle(viewer)
    assert again.outcomes == ["displayed"]


def test_each_channel_has_its_display_range() -> None:
    scene, viewer = rig()
    scene.receive([image(channel=c, z=1, contrast=(0.0, 100.0 * c)) for c in (2, 1)])
    settle(viewer)
    assert hyperstack(viewer).contrasts == ((0.0, 100.0), (0.0, 200.0))
    scene.receive([image(channel=2, z=1, contrast=(0.0, 500.0))])
    viewer.pump()
    assert viewer.recorded[-1].contrast == {"layer-1": {2: (0.0, 500.0)}}


def test_a_viewer_of_every_plane_hears_of_each_with_its_place() -> None:
    scene, viewer = rig(every_plane=True)
    scene.receive([image(channel=1, z=z) for z in (1, 2)])
    settle(viewer)
    again = [image(5, channel=1, z=z) for z in (1, 2)]
    scene.receive(again)
    settle(viewer)
    assert viewer.recorded[-1].planes == {"layer-1": ((1, None, 1), (1, None, 2))}
    assert [one.outcomes for one in again] == [["displayed"], ["displayed"]]


def test_regions_of_interest_have_one_outcome_and_go_when_none_are_left() -> None:
    scene, viewer = rig()
    roi = ROI("polygon", [[0, 0], [0, 4], [4, 4]])
    first = Arriving(None, ImageKey.of(z=1), kind="rois", path="a", rois=rois_to_wire([roi]))
    none = Arriving(None, ImageKey.of(z=1), kind="rois", path="a", rois=[])
    scene.receive([first])
    settle(viewer)
    assert len(scene.rois("layer-1", (None, None, 1))) == 1
    scene.receive([none])
    settle(viewer)
    assert scene.rois("layer-1", (None, None, 1)) == ()
    assert [one.outcomes for one in (first, none)] == [["displayed"], ["displayed"]]


def test_a_closed_window_is_given_up_and_its_images_are_dropped() -> None:
    scene, viewer = rig()
    scene.receive([image(z=1)])
    settle(viewer)
    scene.layer_deleted("layer-1")
    late = image(z=2)
    scene.receive([late])
    assert late.outcomes == ["dropped"]
