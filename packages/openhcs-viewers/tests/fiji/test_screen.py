"""Where windows go, and how pictures of them are put together."""

from __future__ import annotations

import itertools
import time
from functools import partial
from typing import Any

import numpy as np
import pytest

from openhcs_viewers.fiji import _desk, _screen
from openhcs_viewers.fiji._java import java, on_edt
from openhcs_viewers.fiji._screen import Rect

SCREEN = Rect(0, 96, 1600, 904)


def frames(rig: Any) -> list[Rect]:
    """Where the windows are."""
    rig.rest()
    found = [one.window.getBounds() for one in rig.windows]
    return [Rect(*(int(part) for part in (one.x, one.y, one.width, one.height))) for one in found]


def overlap(one: Rect, other: Rect) -> bool:
    apart = one.x + one.width <= other.x or other.x + other.width <= one.x
    return not (apart or one.y + one.height <= other.y or other.y + other.height <= one.y)


def fill(rig: Any, count: int, **options: Any) -> None:
    for at in range(len(rig.windows), count):
        for z in (1, 2):
            rig.send(1, well=f"A{at + 1:02d}", z=z, shape=options.get("shape", (256, 256)))
        rig.show()


@pytest.mark.parametrize(
    ("count", "size", "expected"),
    [
        (1, (512, 512), (1, 1)),
        (2, (512, 512), (2, 1)),
        (4, (512, 512), (4, 1)),
        (6, (512, 512), (3, 2)),
        (2, (2000, 400), (1, 2)),
    ],
)
def test_the_grid_is_the_one_with_the_largest_pictures(
    count: int, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert _screen.grid(count, SCREEN, size, (10, 43)) == expected


def test_tiles_lie_beside_each_other_on_the_screen_with_room_for_names() -> None:
    places = _screen.tiles(SCREEN, 3, 2)
    assert len(places) == 6
    named = [Rect(x, y - _screen.CAPTION, width, height + _screen.CAPTION) for x, y, width, height in places]
    assert not any(overlap(*pair) for pair in itertools.combinations(named, 2))
    assert all(one.x >= SCREEN.x and one.y >= SCREEN.y for one in named)
    assert all(one.x + one.width <= 1600 and one.y + one.height <= 1000 for one in named)


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(
    ("fit", "level"), [(0.9, 0.75), (1.0, 1.0), (1.6, 1.5), (0.34, 1 / 3), (50.0, 4.0), (0.001, 1 / 72)]
)
def test_zoom_levels_are_imagejs(fit: float, level: float) -> None:
    assert _screen.zoom_level(fit, 512) == pytest.approx(level)


@pytest.mark.parametrize("count", [2, 5])
def test_windows_stand_beside_each_other_below_imagejs_own(rig: Any, count: int) -> None:
    fill(rig, count)
    places = frames(rig)
    assert not any(overlap(*pair) for pair in itertools.combinations(places, 2))
    main = java("ij.IJ").getInstance()
    assert min(place.y for place in places) >= main.getY() + main.getHeight() + _screen.CAPTION
    assert all(place.x + place.width <= 1600 and place.y + place.height <= 1000 for place in places)
    assert len({float(one.window.getCanvas().getMagnification()) for one in rig.windows}) == 1


def test_pictures_of_one_size_are_equally_large_without_gaps_between_them(rig: Any) -> None:
    """Whatever sliders their windows have."""
    for at in range(8):
        for z in (1, 2, 3) if at % 2 else (1,):
            for channel in (1, 2):
                rig.send(1, well=f"A{at + 1:02d}", channel=channel, z=z, shape=(512, 512))
        rig.show()
    assert {float(one.window.getCanvas().getMagnification()) for one in rig.windows} == {0.5}
    places = frames(rig)
    assert not any(overlap(*pair) for pair in itertools.combinations(places, 2))
    assert len({place.height for place in places}) == 2
    rows = [places[:4], places[4:]]
    for row in rows:
        assert len({place.y for place in row}) == 1
        for one, other in itertools.pairwise(row):
            assert other.x - (one.x + one.width) == _screen.GAP
    assert rows[1][0].y - max(one.y + one.height for one in rows[0]) == _screen.GAP + _screen.CAPTION


def test_a_window_takes_a_place_that_became_free(rig: Any) -> None:
    fill(rig, 3)
    before = frames(rig)
    on_edt(rig.window(1).window.close)
    rig.show()
    rig.send(1, well="B01", z=1, shape=(256, 256))
    rig.send(1, well="B01", z=2, shape=(256, 256))
    rig.show()
    after = frames(rig)
    assert [after[0], after[2], after[1]] == before


def test_places_are_the_same_each_time(rig: Any) -> None:
    fill(rig, 3)
    first = frames(rig)
    on_edt(lambda: java("ij.IJ").runMacro('close("*");'))
    rig.show()
    from polystore.streaming.messages import BatchContext

    for at in range(3):
        for z in (1, 2):
            rig.send(1, well=f"A{at + 1:02d}", z=z, shape=(256, 256), context=BatchContext(run="another"))
        rig.show()
    assert frames(rig) == first


def test_a_window_the_user_moved_or_zoomed_stays_as_it_is(rig: Any) -> None:
    fill(rig, 2)
    rig.rest()
    moved, zoomed = (one.window for one in rig.windows)

    def touch() -> None:
        moved.setLocation(700, 500)
        zoomed.getCanvas().zoomOut(0, 0)

    on_edt(touch)
    before = frames(rig)
    fill(rig, 6)
    assert frames(rig)[:2] == before


def test_windows_are_placed_whatever_the_display_tells_of_them_meanwhile(rig: Any, monkeypatch: Any) -> None:
    """A busy display answers older wishes late, and Java takes that for where a window is."""
    real, told = _desk._now, itertools.count(1)

    def answered_late(window: Any) -> tuple[int, int, float]:
        x, y, zoom = real(window)
        return (x, y, zoom) if (at := next(told)) % 3 else (x + 100 * at, y + 70 * at, zoom)

    monkeypatch.setattr(_desk, "_now", answered_late)
    fill(rig, 3, shape=(128, 128))
    monkeypatch.undo()
    places = frames(rig)
    assert next(told) > 9
    assert not any(overlap(*pair) for pair in itertools.combinations(places, 2))
    assert {float(one.window.getCanvas().getMagnification()) for one in rig.windows} == {_screen.MOST_ZOOM}


def test_a_window_that_replaces_another_is_ours_as_that_was(rig: Any) -> None:
    """ImageJ opens another one when a second kind of slider comes, and the display may tell of any place at first."""
    fill(rig, 1)
    rig.send(1, well="A02", channel=1, z=1, shape=(256, 256))
    rig.show()
    rig.rest()
    before = rig.window(1).window
    rig.send(1, well="A02", channel=1, z=2, shape=(256, 256))
    rig.show()
    after = rig.window(1).window
    assert after != before
    on_edt(lambda: after.setLocation(700, 500))  # the display tells of another place
    places = frames(rig)
    assert not overlap(*places)
    assert len({float(one.window.getCanvas().getMagnification()) for one in rig.windows}) == 1


def test_a_window_that_the_display_made_smaller_shows_all_of_its_picture_again(rig: Any) -> None:
    """ImageJ crops a picture when its window gets smaller: not each time, so it is done here as ImageJ does it."""
    fill(rig, 1)
    window = rig.window().window

    def crop() -> None:
        canvas = window.getCanvas()
        zoom = float(canvas.getMagnification())
        canvas.setSize(256, 256)
        canvas.setSourceRect(java("java.awt.Rectangle")(0, 0, int(256 / zoom), int(256 / zoom)))
        canvas.setMagnification(zoom)  # the last one: the others change it
        window.pack()

    on_edt(crop)
    assert int(window.getCanvas().getSrcRect().width) < 256
    places = frames(rig)
    canvas = window.getCanvas()
    assert (places[0].width > 266, int(canvas.getSrcRect().width)) == (True, 256)
    assert int(canvas.getWidth()) == 256 * float(canvas.getMagnification())


def test_a_window_that_was_just_closed_does_not_spoil_the_places_of_others(rig: Any) -> None:
    """It is in its slot until the next update, and its picture may be of a size that no other one has."""
    fill(rig, 1, shape=(100, 300))
    fill(rig, 2)
    before = frames(rig)[1]
    closed, other = rig.windows

    def close_and_settle() -> None:
        closed.window.close()
        rig.viewer._desk.settle(other, ours=True)

    on_edt(close_and_settle)
    rig.show()
    assert rig.windows == [other]
    assert frames(rig)[0].width >= before.width


def test_a_window_somebody_insists_to_have_elsewhere_is_let_alone(rig: Any, monkeypatch: Any) -> None:
    """A window manager, or a user who drags it right when it comes."""
    monkeypatch.setattr(_desk, "INSISTING", 0.1)
    fill(rig, 1)
    window, desk = rig.window().window, rig.viewer._desk

    def drag() -> bool:
        window.setLocation(700, 500)
        return bool(desk.straighten())

    end = time.monotonic() + 10.0
    while not on_edt(drag):
        assert time.monotonic() < end
        time.sleep(0.02)
    assert not on_edt(lambda: desk.is_ours(rig.window()))
    fill(rig, 3)
    assert frames(rig)[0][:2] == (700, 500)


def test_windows_beyond_the_grid_lie_over_the_others_with_their_names_free(rig: Any) -> None:
    fill(rig, _screen.MAX_TILES + 2, shape=(64, 64))
    places = frames(rig)
    for first, later in ((0, _screen.MAX_TILES), (1, _screen.MAX_TILES + 1)):
        assert (places[later].x, places[later].y) == (places[first].x, places[first].y + _screen.CAPTION)


def test_a_picture_holds_all_of_its_parts() -> None:
    red, blue = np.zeros((10, 20, 4), np.uint8), np.zeros((30, 5, 4), np.uint8)
    red[..., 0] = blue[..., 2] = red[..., 3] = blue[..., 3] = 255
    whole = _screen.compose([(Rect(100, 50, 20, 10), red, "", ""), (Rect(130, 40, 5, 30), blue, "", "")])
    assert whole.shape == (30 + 2 * _screen.GAP, 35 + 2 * _screen.GAP, 4)
    assert (whole == (255, 0, 0, 255)).all(axis=2).sum() == 200
    assert (whole == (0, 0, 255, 255)).all(axis=2).sum() == 150


@pytest.mark.usefixtures("engine")
def test_a_name_stands_above_its_window_whatever_its_width() -> None:
    picture = np.zeros((10, 300, 4), np.uint8)
    whole = _screen.compose([(Rect(0, 0, 300, 10), picture, "Step_01_blur_Well_A01", "z 3")])
    assert whole.shape[0] == 10 + _screen.CAPTION + 2 * _screen.GAP
    above = whole[_screen.GAP : _screen.GAP + _screen.CAPTION, _screen.GAP : -_screen.GAP]
    lit = (above[..., :3] > 200).all(axis=2)
    assert lit.sum() > 100
    narrow = _screen.caption("Step_01_blur_Well_A01", "z 3", 60)
    edge = (narrow[:, -6:, :3] > 200).all(axis=2)
    assert not edge.any()  # cut at its beginning, and not at its end


def test_no_windows_are_a_small_picture() -> None:
    assert _screen.tile_sheet([]).shape == (64, 64, 4)


def test_pixels_and_colours_come_out_as_they_are(rig: Any) -> None:
    picture = np.zeros((16, 16, 3), np.uint8)
    picture[:8, :, 0] = 200
    picture[8:, :, 2] = 100
    rig.send(picture, contrast=None)
    rig.show()
    assert np.array_equal(_screen.flattened(rig.image())[..., :3], picture)


def test_lines_of_pixels_are_shown_in_part_and_do_not_spoil_the_picture(rig: Any, capfd: Any) -> None:
    for well, shape in (("A01", (1, 5000)), ("B01", (5000, 1)), ("C01", (20, 20))):
        for z in (1, 2):
            rig.send(200, well=well, z=z, shape=shape)
        rig.show()
    rig.rest()
    sizes = [on_edt(one.window.getCanvas().getSize) for one in rig.windows]
    assert all(size.width >= 1 and size.height >= 1 for size in sizes)
    assert (int(sizes[0].width) > 500, int(sizes[1].height) > 300) == (True, True)
    picture = on_edt(lambda: _desk.picture(rig.windows, canvas_only=True, headless=False))
    assert (picture[..., :3] == 255).all(axis=-1).sum() > 800
    assert "Exception" not in capfd.readouterr().err


def test_a_window_that_cannot_be_painted_does_not_cost_the_others(rig: Any, caplog: Any) -> None:
    fill(rig, 2)
    rig.send(200, well="C01", z=1, shape=(1, 500))
    rig.show()
    canvas = rig.window(2).window.getCanvas()

    def zoomed_out() -> np.ndarray[Any, Any]:
        canvas.setMagnification(0.125)  # by the user
        return _desk.picture(rig.windows, canvas_only=False, headless=False)

    picture = on_edt(zoomed_out)
    on_edt(lambda: canvas.setMagnification(1.0))
    assert picture.shape[1] > 500
    assert "ij.gui.ImageWindow cannot be painted" in caplog.text


@pytest.mark.parametrize("kind", ["image", "labels"])
def test_the_line_of_text_above_an_image_can_be_read(rig: Any, kind: str) -> None:
    rig.send(0, kind=kind, shape=(256, 256), z=1)
    rig.send(0, kind=kind, shape=(256, 256), z=2)
    rig.show()
    rig.rest()
    window = rig.window().window
    picture = on_edt(lambda: _screen.paint(window))
    line = picture[: int(window.getCanvas().getY()) - 1, :, :3]
    assert (line.max(axis=2) < 100).sum() > 50


def test_a_window_is_painted_without_what_the_window_manager_drew_around_it(
    rig: Any, monkeypatch: Any
) -> None:
    """There is none here: nothing is cut off; as if there were one: all that it would have drawn is."""
    fill(rig, 1)
    rig.rest()
    for window in (java("ij.IJ").getInstance(), rig.window().window):
        whole, picture = on_edt(partial(_screen.paint_inside, window))
        bounds = window.getBounds()
        assert whole == (int(bounds.x), int(bounds.y), int(bounds.width), int(bounds.height))
        with monkeypatch.context() as patched:
            patched.setattr(_screen, "_decoration", lambda _: _screen._Decoration(2, 20, 3, 4))
            at, inside = on_edt(partial(_screen.paint_inside, window))
        assert at == (whole.x + 2, whole.y + 20, whole.width - 5, whole.height - 24)
        if window == rig.window().window:  # the other one's menus are written below the title bar
            assert np.array_equal(inside, picture[20:-4, 2:-3])


def test_a_picture_names_what_is_seen_without_the_channel_where_all_are(rig: Any) -> None:
    for channel in ("DAPI", "GFP"):
        for z in (1, 2):
            rig.send(1, channel=channel, z=z)
    rig.send(1, well="B02", z=1, channel="DAPI")
    rig.show()
    assert [one.label() for one in rig.windows] == ["z 1", "DAPI"]
