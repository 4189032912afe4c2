"""What a biologist sees and touches: real windows of a real ImageJ."""

from __future__ import annotations

import itertools
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import jpype
import numpy as np
import pytest
import tifffile

from openhcs_viewers.errors import ViewerClosedError, ViewerError
from openhcs_viewers.fiji import _java, _screen, viewer
from openhcs_viewers.fiji._java import java, later, on_edt
from polystore.projection import DisplaySpec
from polystore.streaming.messages import BatchContext
from zmqruntime.testing import wait_until


def step(run: str = "run", **display: Any) -> BatchContext:
    return BatchContext(run=run, step_index=1, step_name="blur", display=DisplaySpec(**display))


AUTO = step(colormap="auto")

WHITE = 200
"""Above the range of 0..100: ImageJ draws the highest value itself a little darker."""


def place(rig: Any, at: int = 0) -> tuple[int, ...]:
    return tuple(rig.window(at).place())


def bounds(rig: Any, at: int = 0) -> tuple[int, ...]:
    frame = rig.window(at).window
    return int(frame.getX()), int(frame.getY()), int(frame.getWidth()), int(frame.getHeight())


def test_the_first_image_is_on_screen(rig: Any) -> None:
    image = rig.send(WHITE, well="A01")
    rig.show()
    assert image.outcome == "displayed"
    assert str(rig.image().getTitle()) == "Step_01_blur_Well_A01"
    assert rig.colour() == (255, 255, 255)


def test_channels_add_up_in_their_colours(rig: Any) -> None:
    for channel, value in (("DAPI", WHITE), ("GFP", WHITE), ("Cy5", 0)):
        for z in (1, 2):
            rig.send(value if z == 1 else 0, channel=channel, z=z, context=AUTO)
    rig.show()
    described = rig.viewer.state()["layers"][0]
    assert described["mode"] == "composite"
    assert dict(zip(described["axes"]["channel"], described["luts"], strict=True)) == {
        "DAPI": "blue",
        "GFP": "green",
        "Cy5": "cyan",
    }
    assert described["axes"]["channel"] == ["DAPI", "GFP", "Cy5"]
    assert rig.colour() == (0, 255, 255)
    rig.move(1, 2, 1)
    assert rig.colour() == (0, 0, 0)


def test_channels_can_be_shown_one_at_a_time_in_colour_or_gray(rig: Any) -> None:
    for shown, well in (("color", "A01"), ("grayscale", "B02")):
        for channel in ("DAPI", "GFP"):
            rig.send(WHITE, well=well, channel=channel, context=step(channel_display=shown))
    rig.show()
    assert [rig.colour(0), rig.colour(1)] == [(0, 0, 255), (255, 255, 255)]
    for at in (0, 1):
        rig.move(2, 1, 1, at=at)
    assert [rig.colour(0), rig.colour(1)] == [(0, 255, 0), (255, 255, 255)]


def test_a_channel_more_keeps_the_colours(rig: Any) -> None:
    for z in (1, 2):
        rig.send(WHITE, channel="GFP", z=z, context=AUTO)
    rig.show()
    assert rig.colour() == (0, 255, 0)
    rig.send(WHITE, channel="DAPI", z=1, context=AUTO)  # comes before GFP
    rig.show()
    assert rig.window().describe()["luts"] == ["blue", "green"]
    assert rig.colour() == (0, 255, 255)
    assert place(rig) == (2, 1, 1)  # still at GFP


def test_the_first_channel_takes_its_colour_when_a_second_one_comes(rig: Any) -> None:
    rig.send(WHITE, channel=1, contrast=(0.0, 50.0))
    rig.show()
    assert rig.window().describe()["luts"] == ["grays"]
    assert rig.colour() == (255, 255, 255)
    rig.send(0, channel=2)
    rig.show()
    assert rig.window().describe()["luts"] == ["blue", "green"]
    assert rig.window().describe()["ranges"] == [(0.0, 50.0), (0.0, 100.0)]
    assert rig.colour() == (0, 0, 255)
    rig.send(0, channel=3)
    rig.show()
    assert rig.window().describe()["luts"] == ["blue", "green", "magenta"]


def test_the_first_channel_keeps_the_lookup_table_the_user_gave_it(rig: Any) -> None:
    rig.send(WHITE, channel=1)
    rig.show()
    on_edt(lambda: java("ij.IJ").run(rig.image(), "Red", ""))
    rig.send(0, channel=2)
    rig.show()
    assert rig.colour() == (255, 0, 0)


@pytest.mark.parametrize("channels", [("GFP",), ("DAPI", "GFP")])
def test_a_frame_more_changes_nothing_of_what_is_seen(rig: Any, channels: tuple[str, ...]) -> None:
    for t in (1, 2):
        for channel in channels:
            rig.send(50, channel=channel, t=t, context=AUTO)
    rig.show()
    before, window = rig.colour(), rig.window().window
    assert before[1] == 127
    for channel in channels:
        rig.send(7, channel=channel, t=3, context=AUTO)
    rig.show()
    assert rig.window().window == window
    assert rig.colour() == before
    rig.move(1, 1, 3)
    assert rig.colour()[1] < 30


def test_more_channels_than_imagej_adds_up_are_shown_one_at_a_time(rig: Any) -> None:
    modes = []
    for channel in range(1, 11):
        rig.send(100 * channel, channel=channel, context=AUTO)
        rig.show()
        modes.append(rig.window().describe()["mode"])
    most = int(java("ij.CompositeImage").MAX_CHANNELS)
    assert modes[1:] == ["composite"] * (most - 1) + ["color"] * (10 - most)
    assert rig.values() == [100 * channel for channel in range(1, 11)]
    rig.move(10, 1, 1)
    assert rig.colour() == (255, 255, 0)  # yellow, the tenth in the cycle


def test_what_the_user_looks_at_waits_for_the_window_and_the_rest_does_not(rig: Any) -> None:
    for z in (1, 2):
        for channel in (1, 2):
            rig.send(0, z=z, channel=channel, context=AUTO)
    rig.show()
    assert [rig.send(WHITE, z=1, channel=c, context=AUTO).outcome for c in (1, 2)] == ["", ""]
    assert rig.send(WHITE, z=2, channel=1, context=AUTO).outcome == "displayed"
    rig.show()
    rig.move(1, 2, 1)
    again = rig.send(50, z=2, channel=2, context=AUTO)
    assert not again.outcome
    rig.show()
    assert again.outcome == "displayed"
    assert rig.colour() == (0, 127, 255)


def test_a_plane_that_comes_while_the_slider_moves_is_shown(rig: Any) -> None:
    for z in (1, 2):
        rig.send(0, z=z)
    rig.show()
    on_edt(lambda: rig.image().setPosition(1, 2, 1))  # nobody has noticed yet
    assert rig.send(WHITE, z=2).outcome == "displayed"
    rig.show()
    assert rig.colour() == (255, 255, 255)


@pytest.mark.parametrize("slices", [1, 2], ids=["another window", "in place"])
def test_after_a_takeover_one_looks_at_the_values_of_the_later_run(rig: Any, slices: int) -> None:
    for run, first in (("one", 5), ("two", 7)):
        for z in range(first, first + slices):
            rig.send(0, z=z, context=step(run, replace_layers=True))
        rig.show()
    again = rig.send(WHITE, z=7, context=step("two", replace_layers=True))
    assert again.outcome == ""  # at the same plane as z 5 was: it waits for the screen
    rig.show()
    assert rig.colour() == (255, 255, 255)


def test_the_users_place_is_a_value_and_not_an_index(rig: Any) -> None:
    for z in (10, 20):
        rig.send(z, z=z)
    rig.show()
    rig.move(1, 2, 1)
    for z in (5, 15, 25):
        rig.send(z, z=z)
    rig.show()
    assert place(rig) == (1, 4, 1)
    assert rig.window().describe()["position"] == {"z": 20}
    rig.send(1, z=20, t=1)
    rig.show()
    assert rig.values() == [5, 10, 15, 20, 25]


def test_growing_takes_nothing_of_the_users_away(rig: Any) -> None:
    for channel in ("DAPI", "GFP"):
        for t in (1, 2):
            for z in (1, 2):
                rig.send(10 * z, shape=(64, 64), channel=channel, z=z, t=t, context=AUTO)
    rig.show()
    rig.rest()
    image, frame = rig.image(), rig.window().window
    canvas = frame.getCanvas()
    overlay = java("ij.gui.Overlay")(java("ij.gui.Roi")(3, 3, 9, 9))

    def touch() -> None:
        frame.setLocation(333, 222)
        canvas.zoomIn(20, 20)
        image.setPosition(2, 2, 1)
        image.setDisplayRange(5, 55)
        image.setRoi(4, 5, 10, 12)
        image.setOverlay(overlay)
        image.getActiveChannels()[0] = False
        image.updateAndDraw()

    on_edt(touch)
    rig.show()
    rig.rest()
    before, zoom = bounds(rig), float(canvas.getMagnification())
    for t in (3, 4):
        rig.send(1, shape=(64, 64), channel="DAPI", z=1, t=t, context=AUTO)
    rig.send(1, shape=(64, 64), channel="DAPI", z=0, t=1, context=AUTO)
    rig.send(1, shape=(64, 64), channel="Cy5", z=1, t=1, context=AUTO, contrast=(1.0, 7.0))
    rig.show()
    assert tuple(image.getDimensions())[2:] == (3, 3, 4)
    assert rig.image() == image
    assert rig.window().window == frame
    assert frame.getCanvas() == canvas
    assert bounds(rig) == before
    assert canvas.getMagnification() == zoom
    assert rig.window().describe()["position"] == {"channel": "GFP", "z": 2, "t": 1}
    assert [str(one) for one in rig.window().describe()["luts"]] == ["blue", "green", "cyan"]
    assert rig.window().describe()["ranges"] == [(0.0, 100.0), (5.0, 55.0), (1.0, 7.0)]
    assert [bool(one) for one in image.getActiveChannels()][:3] == [False, True, True]
    assert image.getRoi().getBounds() == java("java.awt.Rectangle")(4, 5, 10, 12)
    assert image.getOverlay() == overlay
    assert int(java("ij.WindowManager").getImageCount()) == 1


def test_a_new_slider_keeps_the_users_place_and_zoom(rig: Any) -> None:
    rig.send(1, shape=(64, 64), t=1)
    rig.show()
    rig.rest()
    frame = rig.window().window

    def touch() -> None:
        frame.setLocation(301, 202)
        frame.getCanvas().zoomOut(0, 0)
        rig.image().setRoi(4, 5, 10, 12)

    on_edt(touch)
    zoom = float(frame.getCanvas().getMagnification())
    rig.send(2, shape=(64, 64), t=2)
    rig.show()
    rig.send(3, shape=(64, 64), t=3)
    rig.show()
    assert rig.values() == [1, 2, 3]
    assert bounds(rig)[:2] == (301, 202)
    assert float(rig.window().window.getCanvas().getMagnification()) == zoom
    assert rig.image().getRoi().getBounds() == java("java.awt.Rectangle")(4, 5, 10, 12)


def test_the_users_range_is_his(rig: Any) -> None:
    for channel in (1, 2):
        rig.send(
            np.arange(1024, dtype=np.uint16).reshape(32, 32), channel=channel, context=AUTO, contrast=None
        )
    rig.show()
    first = rig.window().describe()["ranges"]
    on_edt(lambda: rig.image().setDisplayRange(3, 33))
    for channel in (1, 2):
        rig.send(
            2 * np.arange(1024, dtype=np.uint16).reshape(32, 32), channel=channel, context=AUTO, contrast=None
        )
    rig.show()
    ranges = rig.window().describe()["ranges"]
    assert ranges[0] == (3.0, 33.0)
    assert ranges[1][1] > first[1][1]


def test_the_senders_range_is_there_before_anything_is_shown(rig: Any) -> None:
    rig.send(60, channel="DAPI", contrast=(0.0, 50.0), context=AUTO)
    rig.send(60, channel="GFP", contrast=(0.0, 500.0), context=AUTO)
    rig.show()
    assert rig.window().describe()["ranges"] == [(0.0, 50.0), (0.0, 500.0)]
    assert rig.colour()[2] == 255
    assert 28 <= rig.colour()[1] <= 32


@pytest.mark.parametrize(
    ("value", "dtype", "limits"),
    [
        (1000, "uint16", (0.0, 2000.0)),
        (0.25, "float32", (0.0, 0.5)),
        (-3, "float32", (-6.0, 0.0)),
        (0, "uint16", (0.0, 1.0)),
        (float("nan"), "float32", (0.0, 1.0)),
        (7, "uint8", (0.0, 255.0)),
    ],
)
def test_a_plane_of_one_value_is_neither_black_nor_white(
    rig: Any, value: float, dtype: str, limits: tuple[float, float]
) -> None:
    rig.send(value, dtype=dtype, contrast=None)
    rig.show()
    assert rig.window().describe()["ranges"] == [limits]
    if value in (1000, 0.25):
        assert rig.colour() == (128, 128, 128)


def test_channels_of_one_value_each_have_ranges_until_there_is_contrast(rig: Any) -> None:
    rig.send(1000, channel=1, contrast=None)
    rig.send(200, channel=2, contrast=None)
    rig.show()
    assert rig.window().describe()["ranges"] == [(0.0, 2000.0), (0.0, 400.0)]
    rig.send(np.arange(1024, dtype=np.uint16).reshape(32, 32), channel=2, contrast=(100.0, 500.0))
    rig.show()
    assert rig.window().describe()["ranges"] == [(0.0, 2000.0), (100.0, 500.0)]


def test_calibration(rig: Any) -> None:
    rig.send(1, z=1, well="A01", context=step(scale=(0.5, 0.25), z_step=2.0, frame_interval=30.0))
    rig.send(1, z=1, well="B01", context=step(z_step=2.0))
    rig.show()
    assert rig.window(0).describe()["calibration"] == {
        "pixel_width": 0.25,
        "pixel_height": 0.5,
        "pixel_depth": 2.0,
        "unit": "\u00b5m",
        "frame_interval": 30.0,
        "time_unit": "sec",
    }
    pixels = rig.window(1).describe()["calibration"]  # it has one unit, and the size of a pixel is not known
    assert (pixels["unit"], pixels["pixel_depth"]) == ("pixel", 1.0)


def test_a_later_run_may_know_the_calibration(rig: Any) -> None:
    rig.send(1, z=1, well="A01")
    rig.show()
    window = rig.window().window
    rig.send(1, z=1, well="A01", context=step("next", replace_layers=True, scale=(0.5, 0.25)))
    rig.show()
    found = rig.window().describe()["calibration"]
    assert (rig.window().window, len(rig.windows)) == (window, 1)
    assert (found["pixel_width"], found["pixel_height"], found["unit"]) == (0.25, 0.5, "\u00b5m")


def test_the_users_calibration_is_his(rig: Any) -> None:
    known = step(scale=(0.5, 0.5), z_step=2.0)
    for t in (1, 2):
        rig.send(1, z=1, t=t, well="A01")
        rig.send(1, z=1, t=t, well="B01", context=known)
    rig.show()

    def touch() -> None:
        run = java("ij.IJ").run
        for at in (0, 1):
            run(rig.image(at), "Set Scale...", "distance=1 known=5 unit=mm")

    on_edt(touch)
    rig.send(1, z=2, t=3, well="A01")
    rig.send(1, z=2, t=3, channel=2, well="B01", context=known)
    rig.show()
    for at in (0, 1):
        found = rig.window(at).describe()["calibration"]
        assert (found["pixel_width"], found["unit"]) == (5.0, "mm")


def test_labels_are_told_apart_whatever_their_number(rig: Any) -> None:
    labels = np.zeros((32, 32), np.uint16)
    labels[:, 16:] = 7
    rig.send(labels, kind="labels", z=1)
    rig.send(labels * 100, kind="labels", z=2)
    rig.show()
    assert str(rig.image().getTitle()).endswith("labels")
    assert rig.window().describe()["luts"] == ["glasbey"]
    assert rig.window().describe()["ranges"] == [(0.0, 255.0)]
    assert max(rig.colour()) > 60
    rig.move(1, 2, 1)
    assert rig.window().describe()["ranges"] == [(-1.0, 700.0)]
    rig.send(labels * 200, kind="labels", z=2)
    rig.show()
    assert rig.window().describe()["ranges"] == [(-2.0, 1400.0)]


@pytest.mark.parametrize("dtype", ["uint16", "int32"])
@pytest.mark.parametrize(("highest", "columns"), [(900, 17), (1023, 32), (65535, 256)])
def test_more_labels_than_colours_share_them_evenly_and_none_is_black(
    rig: Any, dtype: str, highest: int, columns: int
) -> None:
    labels = np.arange(highest + 1, dtype=dtype).reshape(-1, columns)
    rig.send(labels, kind="labels")
    rig.show()
    assert np.array_equal(rig.pixels(1).astype(dtype), labels)  # Java's short has a sign
    picture = _screen.to_rgba(rig.image().getProcessor().getBufferedImage())[..., :3]
    colours = [tuple(one) for one in picture.reshape(-1, 3).tolist()]
    assert [at for at, one in enumerate(colours) if one == (0, 0, 0)] == [0]
    shares = [len(list(some)) for _, some in itertools.groupby(colours[1:])]
    assert len(shares) >= 254
    assert max(shares) <= 1.5 * highest / 254 + 2  # ImageJ rounds: the last colour has half a share more


@pytest.mark.parametrize("dtype", ["bool", "int8", "int16", "int32", "uint32", "int64", "uint64"])
def test_labels_of_any_whole_numbers_are_shown(rig: Any, dtype: str) -> None:
    labels = np.zeros((32, 32), dtype)
    labels[:, 16:] = 1
    image = rig.send(labels, kind="labels")
    rig.show()
    assert (image.outcome, image.reason) == ("displayed", "")
    assert np.array_equal(rig.pixels(1), labels)
    assert max(rig.colour()) > 60


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
def test_labels_that_are_no_whole_numbers_are_refused_and_take_no_memory(rig: Any, dtype: str) -> None:
    image = rig.send(np.ones((32, 32), dtype), kind="labels")
    assert image.outcome == "dropped"
    assert f"labels of dtype {dtype}" in image.reason
    assert "whole numbers" in image.reason
    assert (rig.scene.store.status().bytes, rig.windows) == (0, [])


def test_follow_goes_to_the_newest_image(rig: Any) -> None:
    context = step(follow=True)
    for z in (1, 2, 3):
        rig.send(z, z=z, context=context)
        rig.show()
        assert rig.window().describe()["position"] == {"z": z}
    rig.move(1, 1, 1)
    assert place(rig) == (1, 1, 1)
    rig.send(20, z=2, context=context)
    rig.show()
    assert place(rig) == (1, 2, 1)


def test_a_z_stack_stands_in_its_middle_until_the_user_goes_elsewhere(rig: Any) -> None:
    for z in (5, 6, 7, 8, 9):
        for well in ("A01", "B02"):
            rig.send(z, well=well, z=z)
    rig.show()
    assert [place(rig, at) for at in (0, 1)] == [(1, 3, 1), (1, 3, 1)]
    for z in (1, 2, 3, 4):
        rig.send(z, well="A01", z=z)
        rig.show()
    rig.send(9, well="A01", z=5, t=2)  # in a window of its own
    rig.show()
    assert rig.window().describe()["position"] == {"z": 5}
    middle = rig.send(WHITE, well="A01", z=5)
    assert not middle.outcome  # the scene knows that one looks there
    rig.show()
    assert rig.colour() == (255, 255, 255)
    rig.move(1, 2, 1)
    rig.move(1, 5, 1)  # back to where it was put: his all the same
    for z in (10, 11, 12):
        rig.send(z, well="A01", z=z)
    rig.show()
    assert rig.window().describe()["position"] == {"z": 5}
    rig.send(9, well="B02", z=9, context=step(follow=True))
    rig.send(9, well="B02", z=10)
    rig.show()
    assert rig.window(1).describe()["position"] == {"z": 9}


def test_follow_moves_the_window_that_is_followed_alone(rig: Any) -> None:
    for well in ("A01", "B02"):
        for t in (1, 2, 3):
            rig.send(t, well=well, t=t)
    rig.show()
    rig.send(3, well="B02", t=3, context=step(follow=True))
    rig.show()
    assert [place(rig, at) for at in (0, 1)] == [(1, 1, 1), (1, 1, 3)]


# -- what the user may do


def test_a_closed_window_stays_away_until_another_run(rig: Any) -> None:
    for well in ("A01", "B02"):
        rig.send(1, well=well)
    rig.show()
    window = rig.window().window
    on_edt(window.close)
    rig.show()
    refused = rig.send(2, well="A01")
    rig.show()
    assert (refused.outcome, refused.reason) == ("dropped", "its layer was deleted in the viewer")
    assert [one.plan.name for one in rig.windows] == ["Step_01_blur_Well_B02"]
    again = rig.send(3, well="A01", context=step("another"))
    rig.show()
    assert again.outcome == "displayed"
    assert len(rig.windows) == 2


def test_a_macro_that_closes_all_is_a_user_who_closes_all(rig: Any, caplog: Any) -> None:
    for well in ("A01", "B02", "C03"):
        rig.send(1, well=well)
    rig.show()
    on_edt(lambda: java("ij.IJ").runMacro('close("*");'))
    rig.show()
    assert rig.windows == []
    assert rig.send(1, well="B02").outcome == "dropped"
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("run('8-bit');", "its stack was replaced in ImageJ"),
        ("makeRectangle(2, 2, 9, 9); run('Crop');", "its stack was replaced in ImageJ"),
        ("run('Delete Slice', 'delete=slice');", "its stack was replaced in ImageJ"),
        (
            "run('Properties...', 'channels=1 slices=1 frames=3 pixel_width=1 pixel_height=1 voxel_depth=1');",
            "its dimensions were changed in ImageJ",
        ),
    ],
    ids=["convert", "crop", "delete slice", "dimensions"],
)
def test_what_the_user_makes_something_else_of_is_given_up_once(
    rig: Any, caplog: Any, command: str, said: str
) -> None:
    for z in (1, 2, 3):
        rig.send(10 * z, z=z)
    rig.show()
    image = rig.image()
    java("ij.IJ").selectWindow(image.getID())
    java("ij.IJ").runMacro(command)
    late = [rig.send(5, z=z) for z in (1, 2, 3)]
    rig.show()
    late += [rig.send(6, z=z) for z in (1, 4)]
    rig.show()
    assert late[-1].outcome == "dropped"
    assert said in late[-1].reason
    warnings = [one for one in caplog.records if one.levelno >= logging.WARNING and "given up" in one.message]
    assert len(warnings) == 1
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]
    assert image.getWindow() is not None
    image.changes = False
    on_edt(image.close)


def test_a_window_that_was_given_up_is_counted_until_it_is_closed(rig: Any) -> None:
    for z in (1, 2, 3):
        rig.send(10 * z, z=z)
    rig.show()
    image, nbytes = rig.image(), rig.store.status().bytes
    on_edt(lambda: image.setDimensions(1, 1, 3))
    rig.show()
    assert rig.windows == []
    assert rig.store.status().bytes == nbytes
    assert rig.store.status().planes == 0
    image.changes = False
    on_edt(image.close)
    rig.show()
    assert rig.store.status().bytes == 0


def test_a_slider_beyond_our_dimensions_is_the_users(rig: Any) -> None:
    for channel in (1, 2):
        for t in (1, 2, 3):
            rig.send(10 * channel + t, channel=channel, t=t)
    rig.send(99, channel=1, well="B02")
    rig.show()
    image = rig.image()
    on_edt(lambda: (image.setDimensions(1, 1, 6), image.setPosition(1, 1, 6)))
    lost, shown = rig.send(55, channel=1, t=1), rig.send(98, channel=1, well="B02")
    assert len(rig.viewer.state()["layers"]) == 1
    rig.show()
    assert (lost.outcome, shown.outcome) == ("dropped", "displayed")
    assert "its dimensions were changed in ImageJ" in lost.reason
    image.changes = False
    on_edt(image.close)


def test_a_window_closed_this_very_moment_is_in_no_answer(rig: Any, tmp_path: Path) -> None:
    for well in ("A01", "B02"):
        rig.send(1, well=well, z=1)
    rig.show()
    on_edt(rig.window().window.close)
    save = rig.viewer.commands()["save"].run
    assert [Path(one).name for one in save({"path": str(tmp_path)})] == ["Step_01_blur_Well_B02.tif"]
    assert [one["name"] for one in rig.viewer.state()["layers"]] == ["Step_01_blur_Well_B02"]


def test_a_window_closed_before_it_is_drawn_displays_nothing(rig: Any) -> None:
    rig.send(1, z=1)
    rig.show()
    image = rig.send(2, z=1)
    changes = rig.scene.take_changes()
    on_edt(rig.window().window.close)
    rig.scene.applied(changes, rig.viewer.apply(changes))
    assert (image.outcome, image.reason) == ("dropped", "its layer was deleted in the viewer")


@pytest.mark.parametrize("taken", [False, True], ids=["before", "meanwhile"])
def test_a_run_that_takes_over_a_closed_window_opens_it_anew(rig: Any, taken: bool) -> None:
    one, two = step("one", replace_layers=True), step("two", replace_layers=True)
    for z in (1, 2):
        rig.send(z, z=z, context=one)
    rig.show()
    window = rig.window().window
    if not taken:
        on_edt(window.close)
    images = [rig.send(10 * z, z=z, context=two) for z in (1, 2)]
    if taken:  # the window is closed while the viewer is at it
        changes = rig.scene.take_changes()
        on_edt(window.close)
        rig.scene.applied(changes, rig.viewer.apply(changes))
    assert [image.outcome for image in images] == ["", ""]
    rig.show()
    assert [image.outcome for image in images] == ["displayed", "displayed"]
    assert rig.values() == [10, 20]
    on_edt(rig.window().window.close)
    rig.show()
    assert rig.send(3, z=1, context=two).outcome == "dropped"


def test_a_duplicate_is_the_users(rig: Any) -> None:
    for z in (1, 2):
        rig.send(z, z=z)
    rig.show()
    copy = rig.image().duplicate()
    on_edt(copy.show)
    rig.send(50, z=1)
    rig.show()
    assert rig.values() == [50, 2]
    assert int(copy.getStack().getProcessor(1).getf(0, 0)) == 1
    copy.changes = False
    on_edt(copy.close)


def test_windows_of_one_name_are_two(rig: Any) -> None:
    first = rig.send(10, z=1, context=step("one"))
    second = rig.send(20, z=1, context=step("two"))
    rig.show()
    assert (first.outcome, second.outcome) == ("displayed", "displayed")
    assert [rig.values(at) for at in (0, 1)] == [[10], [20]]
    java("ij.IJ").runMacro(f"rename('{rig.image(0).getTitle()}');")
    rig.send(21, z=1, context=step("two"))
    rig.show()
    assert [rig.values(at) for at in (0, 1)] == [[10], [21]]


def test_a_layer_imagej_cannot_show_costs_only_itself(
    rig: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    from openhcs_viewers.fiji import _display

    real = _display.new_image

    def odd(plan: Any, *rest: Any) -> Any:
        if "A01" in plan.name:
            raise java("java.lang.IllegalStateException")("of a plugin")
        return real(plan, *rest)

    monkeypatch.setattr(_display, "new_image", odd)
    lost, shown = rig.send(1, well="A01"), rig.send(1, well="B02")
    rig.show()
    assert lost.outcome == "dropped"
    assert "of a plugin" in lost.reason
    assert shown.outcome == "displayed"
    assert rig.send(2, well="A01").outcome == "dropped"


# -- the loop


@pytest.fixture
def looping(rig: Any) -> Any:
    """A viewer whose loop turns in a thread of the test's."""
    beats: list[float] = []
    thread = threading.Thread(
        target=lambda: rig.viewer.run(rig.viewer.pump, lambda: beats.append(time.monotonic())), daemon=True
    )
    rig.beats = beats
    thread.start()
    yield rig
    rig.viewer.close()
    thread.join(10.0)
    assert not thread.is_alive()


def until(condition: Callable[[], bool], timeout: float = 20.0) -> None:
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.005)


def test_the_loop_shows_what_arrives_and_its_heart_beats(looping: Any) -> None:
    image = looping.send(WHITE)
    until(lambda: image.outcome == "displayed")
    assert looping.colour() == (255, 255, 255)
    count = len(looping.beats)
    until(lambda: len(looping.beats) > count + 1)


def test_updates_are_put_together(looping: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    looping.send(1, z=1)
    until(lambda: looping.windows and not looping.scene.status()["images"]["waiting"])
    draws = []
    window = looping.window()
    real = window.refresh
    monkeypatch.setattr(window, "refresh", lambda **options: (draws.append(1), real(**options)))
    begin = time.monotonic()
    images = [looping.send(value, z=1) for value in range(2, 400)]
    until(lambda: images[-1].outcome == "displayed")
    assert len(draws) <= 20 * (time.monotonic() - begin) + 2
    assert looping.values() == [399]


def test_the_heart_stands_still_while_the_event_thread_is_held(looping: Any) -> None:
    until(lambda: bool(looping.beats))
    held, go = threading.Event(), threading.Event()

    def hold() -> None:
        held.set()
        go.wait(20.0)

    later(hold)
    held.wait(10.0)
    time.sleep(0.6)  # a beat that was on its way
    count = len(looping.beats)
    time.sleep(0.8)
    still = len(looping.beats) - count
    go.set()
    until(lambda: len(looping.beats) > count)
    assert still == 0


def test_closing_takes_bounded_time_while_the_event_thread_is_held(rig: Any) -> None:
    rig.send(1)
    rig.show()
    go = threading.Event()
    later(lambda: go.wait(20.0))
    begin = time.monotonic()
    rig.viewer.close()
    took = time.monotonic() - begin
    go.set()
    assert took < 4.0
    on_edt(lambda: None)


def test_planes_stream_while_the_user_drags_the_slider(looping: Any, caplog: Any) -> None:
    count = 300
    first = [looping.send(t, channel=channel, t=t, context=AUTO) for t in (1, 2) for channel in (1, 2)]
    until(lambda: all(one.outcome for one in first))
    looping.rest()
    image, frame = looping.image(), looping.window().window
    on_edt(lambda: frame.setLocation(123, 234))
    stop = threading.Event()
    visited: list[int] = []

    def drag() -> None:
        while not stop.is_set():
            to = 1 + len(visited) % int(image.getNFrames())
            on_edt(partial(image.setPosition, 1, 1, to))
            visited.append(int(image.getT()))

    user = threading.Thread(target=drag)
    user.start()
    images = []
    for t in range(3, count + 1):
        images += [looping.send(t, channel=channel, t=t, context=AUTO) for channel in (1, 2)]
        if t % 50 == 0:
            moves = len(visited)
            until(lambda moves=moves: len(visited) > moves + 3)
    until(lambda: all(one.outcome for one in images))
    until(lambda: not looping.window().hyperstack.has_news)
    stop.set()
    user.join()
    on_edt(lambda: image.setPosition(2, 1, 77))
    looping.send(1, channel=1, t=count + 1, context=AUTO)
    until(lambda: image.getNFrames() == count + 1)
    assert {one.outcome for one in images} == {"displayed"}
    assert looping.values()[: 2 * count] == [t for t in range(1, count + 1) for _ in (1, 2)]
    assert looping.window().window == frame
    assert bounds(looping)[:2] == (123, 234)
    assert place(looping) == (2, 1, 77)
    assert len(set(visited)) > 5
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]


def test_a_mouse_that_drags_a_slider_keeps_it_while_the_hyperstack_grows(rig: Any) -> None:
    for t in range(20):
        for channel in (1, 2):
            rig.send(t, shape=(256, 256), channel=channel, t=t, context=AUTO)
    rig.show()
    rig.rest()
    window = rig.window().window
    slider = window.getComponents()[-1]
    where = slider.getLocationOnScreen()
    x, y = int(where.x) + 35, int(where.y) + int(slider.getHeight()) // 2
    mouse = java("java.awt.Robot")()
    mouse.mouseMove(x, y)
    mouse.mousePress(1024)
    visited = []
    try:
        for t in range(20, 50):
            mouse.mouseMove(x + 5 * (t - 20), y)
            mouse.waitForIdle()
            for channel in (1, 2):
                rig.send(t, shape=(256, 256), channel=channel, t=t, context=AUTO)
            rig.show()
            visited.append(int(rig.image().getT()))
    finally:
        mouse.mouseRelease(1024)
        mouse.mouseMove(0, 0)
    assert visited == sorted(visited)  # it never jumped back
    assert visited[-1] > 8
    assert rig.window().window == window
    assert rig.values() == [t for t in range(50) for _ in (1, 2)]


# -- pictures and files


def test_a_picture_shows_every_window_with_its_name(rig: Any, tmp_path: Path) -> None:
    for well in ("A01", "B02"):
        rig.send(WHITE, well=well, z=1)
    rig.show()
    picture = rig.viewer.screenshot(tmp_path / "picture.png")
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 4
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    canvases = rig.viewer.screenshot(canvas_only=True)
    assert canvases.size < picture.size
    white = (canvases[..., :3] == 255).all(axis=2).sum()
    sizes = [one.window.getCanvas().getSize() for one in rig.windows]
    assert white == sum(size.width * size.height for size in sizes)


def test_a_closed_viewer_has_no_picture(rig: Any) -> None:
    rig.viewer.close()
    with pytest.raises(ViewerClosedError, match="closed"):
        rig.viewer.screenshot()
    rig.viewer.close()


def test_saved_hyperstacks_are_read_back_pixel_by_pixel(rig: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    planes = rng.integers(0, 2**16, (2, 3, 2, 20, 30), dtype=np.uint16)
    for t in range(2):
        for z in range(3):
            for c in range(2):
                rig.send(planes[t, z, c], t=t, z=z, channel=c, context=step(scale=(0.5, 0.5), z_step=2.0))
    rig.send(rng.random((20, 30)).astype(np.float32), well="B02")
    rig.show()
    save = rig.viewer.commands()["save"]
    assert save.trusted
    written = save.run({"path": str(tmp_path / "out")})
    names = [one.plan.name for one in rig.windows]
    assert [Path(one).name for one in written] == [f"{name}.tif" for name in names]
    with tifffile.TiffFile(written[0]) as file:
        assert file.series[0].axes == "TZCYX"
        assert np.array_equal(file.asarray(), planes)
        assert file.imagej_metadata["spacing"] == 2.0
    (one,) = save.run({"path": str(tmp_path / "one.tif"), "layer": names[1]})
    assert tifffile.imread(one).dtype == np.float32
    assert [str(rig.image(at).getTitle()) for at in (0, 1)] == names
    assert sorted(file.name for file in tmp_path.iterdir()) == ["one.tif", "out"]


def test_a_file_is_replaced_whole_or_not_at_all(rig: Any, tmp_path: Path) -> None:
    for z in (1, 2):
        rig.send(z, z=z)
    rig.show()
    file = tmp_path / "one.tif"
    file.write_text("older")
    (tmp_path / f".one.tif.{os.getpid()}.tif").mkdir()  # ImageJ cannot write there
    with pytest.raises(ViewerError, match="did not write"):
        rig.viewer.commands()["save"].run({"path": str(file)})
    assert file.read_text() == "older"
    log = java("ij.WindowManager").getWindow("Log")
    assert "one.tif" in str(log.getTextPanel().getText())
    on_edt(log.close)


def test_saving_says_what_it_needs(rig: Any, tmp_path: Path) -> None:
    save = rig.viewer.commands()["save"].run
    with pytest.raises(ViewerError, match="no hyperstack"):
        save({"path": str(tmp_path)})
    rig.send(1, well="A01")
    rig.send(1, well="B02")
    rig.show()
    with pytest.raises(ViewerError, match="absolute"):
        save({"path": "here"})
    with pytest.raises(ViewerError, match="name the layer"):
        save({"path": str(tmp_path / "one.tif")})
    with pytest.raises(ViewerError, match="Step_01_blur_Well_A01, Step_01_blur_Well_B02"):
        save({"path": str(tmp_path / "one.tif"), "layer": "other"})
    one = {"layer": "Step_01_blur_Well_A01"}
    with pytest.raises(ViewerError, match=r"a.png is no TIFF file: give one that ends in .tif, or a folder"):
        save({"path": str(tmp_path / "a.png"), **one})
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ViewerError, match=r"cannot be saved as /proc/x.tif: No such file or directory"):
        save({"path": "/proc/x.tif", **one})
    (tmp_path / "file").write_text("")
    with pytest.raises(ViewerError, match="cannot be saved"):
        save({"path": str(tmp_path / "file" / "one.tif"), "layer": "Step_01_blur_Well_A01"})


def test_a_window_grows_while_a_filter_locks_its_image(rig: Any) -> None:
    """ImageJ's filters hold the image and then ask for its window: who grows it must not hold that and want the image.

    Else the event thread is lost for good, and the process with it.
    """
    for t in (1, 2):
        rig.send(t, t=t)
    rig.show()
    rig.send(3, t=3)
    changes = rig.scene.take_changes()
    (plan,) = changes.updated
    window = rig.window()
    old, frame = window.plan, window.window
    event_thread = on_edt(java("java.lang.Thread").currentThread)
    on_edt(lambda: window.hyperstack.grow(plan))
    grown: list[bool] = []
    grower = threading.Thread(target=lambda: grown.append(on_edt(lambda: window._stretch(old, (1, 1, 2)))))
    asker = threading.Thread(target=lambda: frame.setSlidersEnabled(True))
    with jpype.synchronized(rig.image()):  # a filter, between the two locks
        grower.start()
        wait_until(lambda: str(event_thread.getState()) == "BLOCKED", 5.0)
        asker.start()
        asker.join(5.0)
        free = not asker.is_alive()
    for thread in (asker, grower):
        thread.join(5.0)
    assert (free, grown) == (True, [True])
    rig.scene.applied(changes)


def test_what_java_was_given_holds_nothing_of_a_task_that_is_done(engine: Any) -> None:
    """Java forgets it when it next collects: the memory of a sender would stay until then."""
    planes = [np.zeros((4, 4)) for _ in range(3)]
    gone = [weakref.ref(one) for one in planes]

    def fails(plane: Any) -> None:
        raise ValueError(plane.shape)

    assert on_edt(partial(lambda plane: plane.shape, planes[0])) == (4, 4)
    with pytest.raises(ValueError, match="4, 4"):
        on_edt(partial(fails, planes[1]))
    later(partial(lambda plane: plane.shape, planes[2]))
    on_edt(lambda: None)
    planes.clear()
    assert [one() for one in gone] == [None, None, None]


@contextmanager
def held_event_thread() -> Iterator[None]:
    """Hold ImageJ's event thread, as a plugin may."""
    latch = java("java.util.concurrent.CountDownLatch")(1)
    later(lambda: latch.await_())
    try:
        yield
    finally:
        latch.countDown()
        on_edt(lambda: None)


def test_a_held_event_thread_does_not_keep_the_loop_from_ending(rig: Any) -> None:
    beats: list[int] = []
    thread = threading.Thread(
        target=lambda: rig.viewer.run(rig.viewer.pump, lambda: beats.append(1)), daemon=True
    )
    thread.start()
    until(lambda: bool(beats))
    with held_event_thread():
        rig.viewer.end_soon()
        thread.join(5.0)
        ended = not thread.is_alive()
    rig.viewer.close()
    assert ended


def test_whoever_waits_for_a_held_event_thread_at_the_end_is_let_go(
    engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[int] = []
    monkeypatch.setattr(_java, "PATIENCE", 0.1)
    monkeypatch.setattr(_java, "_leaving", threading.Event())
    threading.Timer(0.3, _java.let_go).start()
    with held_event_thread(), pytest.raises(ViewerClosedError, match="which plugin or macro is busy"):
        on_edt(lambda: called.append(1))
    assert called == []  # nobody is there any more who wants it
    assert on_edt(lambda: 2) == 2


def test_what_arrives_while_the_window_is_brought_up_to_date_is_not_lost(rig: Any) -> None:
    pumps: list[int] = []

    def pump() -> None:
        pumps.append(1)
        if len(pumps) == 1:
            rig.scene.wake()

    thread = threading.Thread(target=lambda: rig.viewer.run(pump), daemon=True)
    thread.start()
    until(lambda: len(pumps) > 1, 3.0)
    rig.viewer.close()
    thread.join(5.0)
    assert not thread.is_alive()


def test_the_steps_of_an_end_fit_into_its_time() -> None:
    """Each with ImageJ's event thread held: a wait there, the probe, its windows, its preferences."""
    steps = _java.PATIENCE + 3 * viewer.HEARTBEAT + viewer.HELD_TIMEOUT
    assert steps + 1.0 < viewer.FijiViewer.end_grace < 5.0
