"""What an arriving plane costs the GUI thread, counted and not timed."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest


def calls(work: Callable[[], Any]) -> int:
    """How many Python functions are called while working."""
    count = 0

    def tracer(_frame: Any, event: str, _arg: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(tracer)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


class Watch:
    """Counts what napari is made to do with the first layer."""

    def __init__(self, rig: Any) -> None:
        self.seen: Counter[str] = Counter()
        self.layer = rig.layer()
        self.planes = self.layer.data
        self.reads = self.planes.reads
        for name in ("set_data", "data", "thumbnail", "contrast_limits"):
            getattr(self.layer.events, name).connect(lambda _event, name=name: self.seen.update([name]))

    def __call__(self) -> dict[str, int]:
        return {**self.seen, "reads": self.planes.reads - self.reads}


def test_a_plane_nobody_looks_at_costs_nothing(rig: Any) -> None:
    for z in range(5):
        rig.send(z, z=z)
    rig.show()
    wakes: list[None] = []
    rig.scene.on_wake(lambda: wakes.append(None))
    wakes.clear()
    watch = Watch(rig)
    for turn in range(100):
        rig.send(turn, z=1 + turn % 4)
    assert wakes == []
    assert not rig.scene.take_changes()
    assert watch() == {"reads": 0}


def test_a_displayed_plane_costs_one_slice_and_one_upload_however_often_it_came(rig: Any) -> None:
    for z in range(5):
        rig.send(z, z=z)
    rig.show()
    watch = Watch(rig)
    images = [rig.send(turn, z=0) for turn in range(50)]
    rig.show()
    assert watch() == {"reads": 1, "set_data": 1}
    assert [image.outcome for image in images] == ["superseded"] * 49 + ["displayed"]


def test_a_hidden_layer_costs_nothing(rig: Any) -> None:
    for z in range(5):
        rig.send(z, z=z)
    rig.show()
    rig.layer().visible = False
    watch = Watch(rig)
    assert rig.send(7, z=0).outcome == ""
    rig.show()
    assert watch() == {"reads": 0}


def test_growing_reads_no_plane_and_costs_at_1000_what_it_costs_at_10(rig: Any) -> None:
    costs = {}
    count = 0
    for size in (10, 1000):
        while count < size:
            rig.send(1, shape=(2, 2), z=count)
            count += 1
        rig.show()
        watch = Watch(rig)
        costs[size] = []
        for _ in range(5):
            rig.send(1, shape=(2, 2), z=count)
            count += 1
            costs[size].append(calls(rig.viewer.pump))
        assert rig.model.dims.nsteps[0] == count
        assert watch() == {"reads": 0}
    assert sorted(costs[1000])[2] <= 1.05 * sorted(costs[10])[2]


def test_many_values_at_once_are_one_change_of_the_slider(rig: Any) -> None:
    rig.send(1, z=0)
    rig.send(1, z=1)
    rig.show()
    changed: list[Any] = []
    rig.model.dims.events.range.connect(changed.append)
    for z in range(2, 200):
        rig.send(1, z=z)
    rig.show()
    assert len(changed) == 1
    assert rig.model.dims.nsteps[0] == 200


def test_thumbnails_follow_in_idle_time(rig: Any) -> None:
    for z in range(2):
        rig.send(1, z=z)
    rig.show()
    watch = Watch(rig)
    for _ in range(10):
        rig.send(50, z=0)
        rig.show()
    assert "thumbnail" not in watch()
    rig.viewer._idle(lambda: None)
    rig.viewer._idle(lambda: None)
    assert watch()["thumbnail"] == 1


@pytest.mark.parametrize("layers", [1, 6])
def test_following_moves_the_sliders_once_per_frame(rig: Any, layers: int) -> None:
    from polystore.projection import DisplaySpec
    from polystore.streaming.messages import BatchContext

    context = BatchContext(run="run", display=DisplaySpec(follow=True))
    for channel in range(layers):
        for z in range(20):
            rig.send(1, channel=channel, z=z, context=context)
    rig.show()
    moved: list[Any] = []
    rig.model.dims.events.point.connect(moved.append)
    watch = Watch(rig)
    for z in range(15):
        rig.send(1, channel=0, z=z, context=context)
    rig.show()
    assert len(moved) == 1
    assert watch() == {"reads": 1, "set_data": 1, "thumbnail": 1}


def test_planes_on_disk_come_back_when_they_are_looked_at(open_rig: Callable[..., Any]) -> None:
    rig = open_rig(budget=6 * 16 * 16 * 2)
    for z in range(20):
        rig.send(z, z=z)
    rig.show()
    state = rig.viewer.state()["memory"]
    assert state["spilled_planes"] >= 14
    assert state["bytes"] <= state["budget"]
    for z in (0, 19, 7):
        rig.move(z=z)
        assert rig.layer()._slice.image.raw[0, 0] == z
