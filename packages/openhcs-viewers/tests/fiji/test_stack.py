"""A hyperstack in a real ImageJ: every plane at its place, however it grows."""

from __future__ import annotations

import logging
import threading
from typing import Any

import jpype
import numpy as np
import pytest

from openhcs_viewers.fiji._java import java, on_edt
from polystore.projection import DisplaySpec
from polystore.streaming.messages import BatchContext
from zmqruntime.testing import wait_until


def step(run: str = "run", **display: Any) -> BatchContext:
    return BatchContext(run=run, step_index=1, step_name="blur", display=DisplaySpec(**display))


def dimensions(rig: Any, at: int = 0) -> tuple[int, ...]:
    return tuple(int(one) for one in rig.image(at).getDimensions())


def stored(rig: Any) -> list[Any]:
    """The arrays of the first hyperstack in the store, in the order in which they came."""
    layer = rig.window().plan.layer_id
    return [rig.store.array(layer, position) for position in rig.store.positions(layer)]


def test_planes_stand_at_their_channel_slice_and_frame(rig: Any) -> None:
    for t in (1, 2):
        for z in (1, 2, 3):
            for channel in (1, 2):
                rig.send(100 * t + 10 * z + channel, channel=channel, z=z, t=t)
    rig.show()
    assert dimensions(rig) == (32, 32, 2, 3, 2)
    assert rig.values() == [111, 112, 121, 122, 131, 132, 211, 212, 221, 222, 231, 232]
    assert str(rig.image().getStack().getSliceLabel(1)) == "channel 1; z 1; t 1"


def test_missing_planes_share_one_blank_array(rig: Any) -> None:
    rig.send(5, channel=1, z=1)
    rig.send(7, channel=2, z=3)
    rig.send(9, channel=1, z=2)
    rig.show()
    assert rig.values() == [5, 0, 9, 0, 0, 7]
    images = rig.image().getStack().getImageArray()
    assert images[1] == images[3] == images[4]
    assert images[0] != images[1]


def test_a_plane_without_a_frame_is_at_new_frames_too(rig: Any) -> None:
    for t in (1, 2):
        rig.send(t, channel=1, t=t)
    rig.send(50, channel=2)
    rig.show()
    assert rig.values() == [1, 50, 2, 50]
    rig.send(3, channel=1, t=3)
    rig.show()
    assert rig.values() == [1, 50, 2, 50, 3, 50]


def test_undo_brings_no_older_plane_back(rig: Any) -> None:
    for z in (1, 2):
        rig.send(z, z=z)
    rig.show()
    processor = rig.image().getProcessor()
    on_edt(processor.snapshot)
    rig.send(50, z=1)
    rig.show()
    assert processor.getSnapshotPixels() is None
    assert int(processor.getf(0, 0)) == 50


def test_planes_are_put_while_nobody_else_has_the_image(rig: Any) -> None:
    for z in (1, 2):
        rig.send(z, z=z)
    rig.show()
    rig.send(50, z=1)
    at_work = threading.Thread(target=rig.window().hyperstack.take_in)
    with jpype.synchronized(rig.image()):
        at_work.start()
        at_work.join(0.2)
        assert rig.values() == [1, 2]
    at_work.join(10.0)
    assert rig.values() == [50, 2]


def test_a_window_given_up_wants_no_planes(rig: Any) -> None:
    for z in (1, 2, 3):
        rig.send(z, z=z)
    rig.show()
    window = rig.window()
    on_edt(lambda: window.image.setDimensions(1, 1, 3))
    rig.show()
    rig.store.put(window.plan.layer_id, (None, None, 1), np.ones((32, 32), np.uint16))
    assert rig.windows == []
    assert not window.hyperstack.has_news
    window.image.changes = False
    on_edt(window.image.close)


def test_planes_are_shown_without_a_copy(rig: Any) -> None:
    rig.send(5, z=1)
    rig.send(6, z=2)
    rig.show()
    arrays = stored(rig)
    for index in (1, 2):
        assert rig.image().getStack().getPixels(index) == arrays[index - 1]


def test_values_that_come_late_take_their_places(rig: Any) -> None:
    for z, channel in ((5, 2), (1, 2), (3, 1), (5, 1), (3, 2), (1, 1)):
        rig.send(10 * z + channel, channel=channel, z=z)
        rig.show()
    assert dimensions(rig) == (32, 32, 2, 3, 1)
    assert rig.values() == [11, 12, 31, 32, 51, 52]


def test_frames_are_appended_in_the_same_window(rig: Any) -> None:
    for t in (1, 2):
        rig.send(t, t=t)
    rig.show()
    window = rig.window().window
    for t in range(3, 30):
        rig.send(t, t=t)
        if t % 4 == 0:
            rig.show()
    rig.show()
    assert rig.window().window == window
    assert rig.values() == list(range(1, 30))
    assert dimensions(rig) == (32, 32, 1, 1, 29)


def test_a_plane_sent_again_is_another_one(rig: Any) -> None:
    rig.send(5, z=1)
    rig.send(6, z=2)
    rig.show()
    rig.send(50, z=1)
    rig.send(60, z=2)
    rig.show()
    assert rig.values() == [50, 60]


def test_what_imagej_writes_back_when_the_user_moves_on_loses_no_plane(rig: Any) -> None:
    for z in (1, 3):
        rig.send(z, z=z)
    rig.send(2, z=2, channel=1)  # in another window: this one has no place for z 2 yet
    rig.show()
    rig.send(100, z=1)
    # ImageJ shows z 1, and writes the array it shows into the stack before it shows another.
    on_edt(lambda: rig.image().setPosition(1, 2, 1))
    assert rig.values()[:2] == [1, 3]
    rig.show()
    assert rig.values()[:2] == [100, 3]
    rig.move(1, 1, 1)
    rig.move(1, 2, 1)
    assert rig.values()[:2] == [100, 3]


def test_smaller_planes_lie_top_left_on_blank(rig: Any) -> None:
    context = step(variable_size="pad_to_max")
    rig.send(7, shape=(16, 24), z=1, context=context)
    rig.show()
    rig.send(9, shape=(32, 20), z=2, context=context)
    rig.send(8, shape=(8, 8), z=3, context=context)
    rig.show()
    assert dimensions(rig) == (24, 32, 1, 3, 1)
    for index, (height, width, value) in enumerate(((16, 24, 7), (32, 20, 9), (8, 8, 8))):
        expected = np.zeros((32, 24))
        expected[:height, :width] = value
        assert np.array_equal(rig.pixels(index + 1), expected)


PADDED = step(variable_size="pad_to_max")


def test_planes_there_is_no_memory_to_lay_out_anew_stay_out(rig: Any, caplog: Any) -> None:
    for t in range(1, 5):
        rig.send(t, t=t, context=PADDED)
    rig.show()
    image, small, large = rig.image(), 32 * 32 * 2, 256 * 256 * 2
    rig.store.budget = 5 * small + 3 * large + 100
    big = rig.send(50, t=5, context=PADDED, shape=(256, 256))
    rig.show()
    assert big.outcome == "displayed"
    assert rig.image() == image
    assert rig.values() == [1, 2, 0, 0, 50]
    assert rig.store.status().bytes == 4 * small + 3 * large
    (said,) = [one.message for one in caplog.records if one.levelno >= logging.WARNING]
    assert "--budget" in said
    again = rig.send(40, t=4, context=PADDED)
    rig.show()
    assert again.outcome == "dropped"
    assert "--budget" in again.reason
    rig.store.budget = 2**28
    for t in (3, 4):
        assert rig.send(t, t=t, context=PADDED).outcome == ""
    rig.show()
    assert rig.values() == [1, 2, 3, 4, 50]
    assert rig.store.status().bytes == 4 * small + 5 * large


def test_what_is_laid_out_anew_is_counted_as_long_as_it_is_there(rig: Any) -> None:
    small, large, larger = (size * size * 2 for size in (32, 64, 128))
    for t, size in ((1, 32), (2, 64)):
        rig.send(t, t=t, context=PADDED, shape=(size, size))
    rig.show()
    assert rig.store.status().bytes == small + 2 * large
    rig.send(10, t=1, context=PADDED)  # instead of its older self
    rig.show()
    assert rig.values() == [10, 2]
    assert rig.store.status().bytes == small + 2 * large
    rig.send(3, t=3, context=PADDED, shape=(128, 128))
    rig.show()
    assert rig.values() == [10, 2, 3]
    assert rig.store.status().bytes == small + large + 3 * larger
    rig.send(11, t=1, context=PADDED, shape=(128, 128))
    rig.show()
    assert rig.values() == [11, 2, 3]
    assert rig.store.status().bytes == large + 3 * larger
    on_edt(rig.window().window.close)
    rig.show()
    assert rig.store.status().bytes == 0


@pytest.mark.parametrize(
    ("dtype", "depth", "array"),
    [("uint8", 8, "byte[]"), ("uint16", 16, "short[]"), ("float32", 32, "float[]"), ("int32", 32, "float[]")],
)
def test_depths(rig: Any, dtype: str, depth: int, array: str) -> None:
    for channel in (1, 2):
        rig.send(channel, dtype=dtype, channel=channel, z=1)
        rig.send(channel + 10, dtype=dtype, channel=channel, z=2)
    rig.show()
    assert int(rig.image().getBitDepth()) == depth
    assert type(rig.image().getStack().getPixels(1)).__name__ == array
    assert rig.values() == [1, 2, 11, 12]


def test_colour_pictures_are_a_stack_of_their_own_kind(rig: Any) -> None:
    red = np.zeros((32, 32, 3), np.uint8)
    red[..., 0] = 255
    rig.send(red, z=1, contrast=None)
    rig.send(np.roll(red, 1, axis=2), z=2, contrast=None)
    rig.show()
    assert int(rig.image().getBitDepth()) == 24
    assert dimensions(rig) == (32, 32, 1, 2, 1)
    assert rig.colour() == (255, 0, 0)
    rig.move(1, 2, 1)
    assert rig.colour() == (0, 255, 0)
    rig.send(red, z=3, contrast=None)
    rig.show()
    assert rig.colour() == (0, 255, 0)


def test_a_later_run_takes_over_the_window(rig: Any) -> None:
    for z in (1, 2, 3):
        rig.send(z, z=z, context=step(replace_layers=True))
    rig.show()
    window = rig.window().window
    for z in (2, 3):
        rig.send(10 * z, z=z, context=step("another", replace_layers=True))
    rig.show()
    assert len(rig.windows) == 1
    assert rig.values() == [20, 30]
    assert rig.window().window == window


def test_no_plane_of_an_older_run_is_in_the_stack_of_a_later_one(rig: Any) -> None:
    """Not even one that waited for a place in the stack when the later run took over."""
    one, two = step("one", replace_layers=True), step("two", replace_layers=True)
    for z in (1, 2):
        rig.send(z, channel=1, z=z, context=one)
    rig.show()
    rig.send(77, channel=1, z=2, context=one)
    rig.send(78, channel=1, z=3, context=one)
    for channel, z in ((1, 1), (2, 2), (2, 3)):
        rig.send(100 * channel + z, channel=channel, z=z, context=two)
    rig.show()
    assert dimensions(rig) == (32, 32, 2, 3, 1)
    assert rig.values() == [101, 0, 0, 202, 0, 203]


def test_an_image_sent_again_with_another_size_leaves_its_old_window(rig: Any) -> None:
    for t in (1, 2):
        rig.send(t, t=t)
    rig.show()
    rig.send(50, t=1, shape=(40, 40))
    rig.show()
    assert [rig.values(at) for at in (0, 1)] == [[0, 2], [50]]


RED = np.full((32, 32, 3), (255, 0, 0), np.uint8)


@pytest.mark.parametrize(
    ("array", "kind", "shown"),
    [
        (np.full((32, 32), 200, np.uint8), "byte[]", (255, 255, 255)),
        (np.full((32, 32), 200, np.float32), "float[]", (255, 255, 255)),
        (RED, "int[]", (255, 0, 0)),
    ],
    ids=["uint8", "float32", "rgb"],
)
def test_a_later_run_may_have_other_pixels(rig: Any, array: Any, kind: str, shown: Any) -> None:
    for channel in (1, 2):
        for z in (1, 2):
            rig.send(channel * 10 + z, channel=channel, z=z, context=step(replace_layers=True))
    rig.show()
    rig.rest()
    frame = rig.window().window

    def touch() -> None:
        frame.setLocation(333, 222)
        frame.getCanvas().zoomOut(0, 0)
        rig.image().setPosition(2, 2, 1)

    on_edt(touch)
    rig.show()
    rig.rest()
    for _ in range(5):  # a busy display may answer an older wish later
        if (int(frame.getX()), int(frame.getY())) != (333, 222):
            on_edt(lambda: frame.setLocation(333, 222))
            rig.rest()
    zoom = float(frame.getCanvas().getMagnification())
    later = step("another", replace_layers=True, channel_display="grayscale")
    for channel, z in ((1, 1), (2, 2)):  # the others are missing: blank, and of the same kind
        assert rig.send(array, channel=channel, z=z, context=later, contrast=(0.0, 100.0)).outcome == ""
    rig.show()
    assert len(rig.windows) == 1
    assert {type(one).__name__ for one in rig.image().getStack().getImageArray()[:4]} == {kind}
    assert tuple(rig.window().place()) == (2, 2, 1)
    assert rig.colour() == shown
    for place in ((1, 1, 1), (1, 2, 1), (2, 1, 1)):
        rig.move(*place)
    rig.viewer.screenshot()
    frame = rig.window().window
    wait_until(lambda: (int(frame.getX()), int(frame.getY())) == (333, 222))
    assert float(frame.getCanvas().getMagnification()) == zoom
    assert int(java("ij.WindowManager").getImageCount()) == 1
    again = rig.send(array, channel=1, z=3, context=later, contrast=(0.0, 100.0))
    rig.show()
    assert again.outcome == "displayed"
    assert dimensions(rig) == (32, 32, 2, 3, 1)


def test_growing_costs_no_pixels(rig: Any) -> None:
    """The arrays stay the same ones whichever dimension grows."""
    rig.send(1, channel=1, z=1)
    rig.send(2, channel=1, z=2)
    rig.show()
    (array, _) = stored(rig)
    for more in ({"channel": 2, "z": 1}, {"channel": 1, "z": 0}, {"channel": 0, "z": 5}):
        rig.send(3, **more)
        rig.show()
        images = rig.image().getStack().getImageArray()
        assert [one == array for one in images].count(True) == 1
    assert int(java("ij.WindowManager").getImageCount()) == 1


def test_no_blank_plane_is_made_where_none_is_missing(rig: Any) -> None:
    for z in (1, 2):
        rig.send(z, z=z, channel=1)
    rig.show()
    hyperstack = rig.window().hyperstack
    assert rig.values() == [1, 2]
    assert hyperstack._blank is None
    rig.send(5, z=3, channel=2)
    rig.show()
    assert rig.values() == [1, 0, 2, 0, 0, 5]
    assert hyperstack._blank is not None
