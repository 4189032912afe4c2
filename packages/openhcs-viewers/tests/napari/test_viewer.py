"""What a biologist sees: real pixels of a real napari."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openhcs_viewers.errors import DisplayError, ViewerClosedError
from polystore.projection import DisplaySpec
from polystore.streaming.messages import BatchContext


def test_the_first_image_is_on_screen(rig: Any) -> None:
    image = rig.send(100)
    rig.show()
    assert image.outcome == "displayed"
    layer = rig.layer()
    assert (layer.name, layer.data.shape, layer.projection_mode) == ("Step_01_blur", (16, 16), "none")
    assert layer.colormap.name == "gray"
    assert tuple(layer.contrast_limits) == (0.0, 100.0)
    assert rig.middle() == (255, 255, 255)


def test_a_window_of_its_own(open_rig: Callable[..., Any]) -> None:
    rig = open_rig()
    rig.send(100)
    rig.show()
    assert rig.model.title == "test window"
    assert rig.middle() == (255, 255, 255)
    rig.viewer.close()
    with pytest.raises(ViewerClosedError, match="closed"):
        rig.viewer.screenshot()
    rig.viewer.close()


def test_planes_are_shown_without_a_copy(rig: Any) -> None:
    rig.send(3, z=1)
    rig.send(4, z=2)
    rig.show()
    assert np.shares_memory(rig.layer()._slice.image.raw, rig.scene.store.get("layer-1", (1,)))


def test_sliders_step_through_the_planes_and_missing_ones_are_black(rig: Any) -> None:
    for well, site, value in (("A01", 1, 100), ("B02", 2, 50)):
        rig.send(value, well=well, site=site)
    rig.show()
    assert rig.model.dims.axis_labels == ("well", "site", "y", "x")
    assert rig.where == {"well": "A01", "field": 1}
    assert rig.middle() == (255, 255, 255)
    rig.move(well=1)
    assert rig.middle() == (0, 0, 0)
    rig.move(field=1)
    assert rig.where == {"well": "B02", "field": 2}
    assert 120 <= rig.middle()[0] <= 135


def test_the_caption_says_where_the_user_is(rig: Any, until: Callable[..., None]) -> None:
    overlay = rig.model.canvas.overlays.text
    rig.send(1, well="E07", site=1, z=5)
    rig.show()
    assert not overlay.visible
    rig.send(1, well="E07", site=2, z=5)
    rig.send(1, well="E08", site=1, z=7)
    rig.show()
    until(lambda: overlay.text == "well E07 · site 1 · z 5")
    assert overlay.visible
    rig.move(well=1, z=1)
    until(lambda: overlay.text == "well E08 · site 1 · z 7")


def test_an_image_sent_again_is_shown_again(rig: Any) -> None:
    rig.send(100, z=1)
    rig.send(100, z=2)
    rig.show()
    assert rig.middle() == (255, 255, 255)
    again = rig.send(0, z=1)
    assert not again.outcome
    rig.show()
    assert again.outcome == "displayed"
    assert rig.middle() == (0, 0, 0)


def test_the_users_place_is_a_value_and_not_an_index(rig: Any) -> None:
    for z in (10, 20):
        rig.send(z, z=z)
    rig.show()
    rig.move(z=1)
    assert rig.where == {"z": 20}
    shown = rig.layer()._slice.image.raw
    for z in (5, 15):
        rig.send(z, z=z)
    rig.show()
    assert rig.where == {"z": 20}
    assert rig.model.dims.current_step[0] == 3
    assert np.array_equal(rig.layer()._slice.image.raw, shown)
    rig.send(1, well="B02", z=20)
    rig.send(1, well="A01", z=20)
    rig.show()
    assert rig.where["z"] == 20
    rig.send(7, well="A01", z=15)
    rig.send(8, well="C03", z=25)
    rig.show()
    assert rig.where["z"] == 20


def test_new_sliders_keep_the_place_of_what_was_seen_first(rig: Any) -> None:
    rig.send(1, well="E07", z=5)
    rig.show()
    rig.send(2, well="E07", z=3)
    rig.show()
    assert rig.where == {"z": 5}
    rig.send(3, well="A01", z=4)
    rig.show()
    assert rig.where == {"well": "E07", "z": 5}
    assert rig.model.dims.nsteps[:2] == (2, 3)
    assert rig.layer().data.shape == (2, 3, 16, 16)


def test_a_projection_is_shown_at_every_z(rig: Any) -> None:
    for z in (1, 2, 3):
        rig.send(10 * z, channel=1, z=z)
    rig.send(77, channel=2)
    rig.show()
    stack, projection = rig.layer(0), rig.layer(1)
    for step in range(3):
        rig.move(z=step)
        assert stack._slice.image.raw[0, 0] == 10 * (step + 1)
        assert projection._slice.image.raw[0, 0] == 77


def test_a_stack_hides_its_projection_unless_the_user_wants_both(rig: Any) -> None:
    for channel in (1, 2):
        rig.send(100, channel=channel)
    rig.show()
    rig.layer(1).visible = False
    rig.layer(1).visible = True
    for channel in (1, 2):
        rig.send(50, channel=channel, z=1)
    rig.show()
    assert [(layer.name, layer.visible) for layer in rig.model.layers] == [
        ("Step_01_blur_Channel_1", False),
        ("Step_01_blur_Channel_1_Z_stack", True),
        ("Step_01_blur_Channel_2", True),
        ("Step_01_blur_Channel_2_Z_stack", True),
    ]


def test_channels_add_up_and_the_next_step_covers_the_one_before(rig: Any) -> None:
    spec = DisplaySpec(colormap="auto")
    raw = BatchContext(run="run", step_index=0, step_name="raw", display=spec)
    flat = BatchContext(run="run", step_index=1, step_name="flat", display=spec)
    rig.send(100, channel=1, context=raw)
    rig.send(100, channel=2, context=raw)
    rig.show()
    assert rig.middle() == (0, 255, 255)  # blue and green
    rig.send(100, channel=3, context=flat)
    rig.show()
    assert rig.middle() == (255, 0, 255)  # magenta alone
    rig.send(0, channel=3, context=raw)  # an older step's third channel goes below
    rig.show()
    assert [layer.name for layer in rig.model.layers] == [
        "Step_00_raw_Channel_1",
        "Step_00_raw_Channel_2",
        "Step_00_raw_Channel_3",
        "Step_01_flat_Channel_3",
    ]
    assert rig.middle() == (255, 0, 255)


def test_labels_lie_over_the_image_and_can_be_painted(rig: Any) -> None:
    labels = np.zeros((16, 16), np.int32)
    labels[4:12, 4:12] = 3
    for z in (1, 2):
        rig.send(100, z=z)
    rig.send(labels, z=1, kind="labels")
    rig.show()
    layer = rig.layer(1)
    assert (type(layer).__name__, layer.name) == ("Labels", "Step_01_blur_labels")
    assert rig.middle() not in ((255, 255, 255), (0, 0, 0))
    layer.selected_label = 9
    layer.paint((0, 1, 1), 9)
    layer.fill((0, 8, 8), 9)
    kept = rig.scene.store.get("layer-2", (1,))
    assert kept is not None
    assert kept[1, 1] == kept[8, 8] == 9
    layer.undo()
    assert kept[8, 8] == 3
    rig.move(z=1)
    layer.paint((1, 2, 2), 5)  # there were no labels at this z until now
    kept = rig.scene.store.get("layer-2", (2,))
    assert kept is not None
    assert kept[2, 2] == 5
    layer.data_setitem((np.array([0, 1]), np.array([3, 4]), np.array([3, 4])), 7)
    assert rig.scene.store.get("layer-2", (1,))[3, 3] == rig.scene.store.get("layer-2", (2,))[4, 4] == 7


@pytest.mark.parametrize(
    "dtype",
    [
        "bool",
        "uint8",
        "int8",
        "uint16",
        ">u2",
        "int32",
        "uint32",
        "int64",
        "uint64",
        "float16",
        "float32",
        "float64",
        "complex64",
    ],
)
def test_every_dtype_is_shown(rig: Any, dtype: str) -> None:
    plane = np.zeros((16, 16), dtype)
    plane[:, 8:] = 1
    image = rig.send(plane, contrast=None)
    rig.show()
    assert (image.outcome, image.reason) == ("displayed", "")
    picture = rig.canvas()
    height, width = picture.shape[:2]
    assert tuple(picture[height // 2, width // 2 - 60]) == (0, 0, 0)
    assert tuple(picture[height // 2, width // 2 + 60]) == (255, 255, 255)


def test_colour_pictures(rig: Any) -> None:
    red, blue = np.zeros((2, 16, 16, 3), np.uint8)
    red[..., 0] = blue[..., 2] = 255
    rig.send(red, site=1)
    rig.send(blue, site=2)
    rig.show()
    assert rig.layer().rgb
    assert rig.middle() == (255, 0, 0)
    rig.move(field=1)
    assert rig.middle() == (0, 0, 255)


def test_smaller_planes_are_padded_when_they_are_shown(rig: Any) -> None:
    context = BatchContext(run="run", display=DisplaySpec(variable_size="pad_to_max"))
    rig.send(100, z=1, shape=(8, 8), context=context)
    rig.show()
    rig.send(100, z=2, shape=(16, 32), context=context)
    rig.show()
    shown = rig.layer()._slice.image.raw
    assert shown.shape == (16, 32)
    assert shown[:8, :8].min() == 100
    assert shown[8:].max() == shown[:, 8:].max() == 0
    kept = rig.scene.store.get("layer-1", (1,))
    assert kept is not None
    assert kept.shape == (8, 8)


def test_another_size_is_a_layer_of_its_well(rig: Any) -> None:
    rig.send(100, well="A01")
    rig.send(50, well="B02", shape=(8, 8))
    rig.show()
    assert [layer.name for layer in rig.model.layers] == ["Step_01_blur", "Step_01_blur_Well_B02"]
    rig.move(well=1)
    assert rig.layer(0)._slice.image.raw.max() == 0
    assert rig.layer(1)._slice.image.raw.shape == (8, 8)


def test_an_unknown_colour_map_is_gray_with_a_warning(rig: Any, caplog: pytest.LogCaptureFixture) -> None:
    for colormap, channel in (("no such map", 1), ("Magma", 2), ("no such map", 3)):
        rig.send(1, channel=channel, context=BatchContext(run="run", display=DisplaySpec(colormap=colormap)))
    rig.show()
    assert [layer.colormap.name for layer in rig.model.layers] == ["gray", "magma", "gray"]
    assert len([record for record in caplog.records if "unknown colour map" in record.message]) == 1


def test_pixels_have_a_size(rig: Any) -> None:
    context = BatchContext(run="run", display=DisplaySpec(scale=(0.5, 0.25)))
    rig.send(1, z=1, context=context)
    rig.show()
    rig.send(1, z=2, context=context)
    rig.show()
    assert tuple(rig.layer().scale) == (1.0, 0.5, 0.25)


def test_contrast_is_the_users_once_he_touched_it(rig: Any) -> None:
    rig.send(1, z=1, contrast=(0.0, 10.0))
    rig.show()
    rig.send(1, z=1, contrast=(0.0, 50.0))
    rig.show()
    assert tuple(rig.layer().contrast_limits) == (0.0, 50.0)
    rig.layer().contrast_limits = (5, 6)
    rig.send(1, z=1, contrast=(0.0, 500.0))
    rig.show()
    assert tuple(rig.layer().contrast_limits) == (5.0, 6.0)


def test_camera_visibility_and_selection_are_the_users(rig: Any) -> None:
    rig.send(1, channel=1, z=1)
    rig.show()
    camera = rig.model.scene.camera
    camera.zoom, camera.center = 33.0, (1.0, 2.0)
    rig.layer().visible = False
    rig.model.layers.selection.active = rig.layer()
    for channel in (2, 3):
        for z in (1, 2, 3):
            rig.send(1, channel=channel, z=z)
    rig.send(2, channel=1, z=1)
    rig.show()
    assert camera.zoom == 33.0
    assert tuple(camera.center)[-2:] == (1.0, 2.0)
    assert not rig.layer().visible
    assert rig.model.layers.selection.active is rig.layer()
    rig.layer().visible = True
    assert rig.layer()._slice.image.raw[0, 0] == 2


def test_the_view_is_fitted_to_the_canvas_until_the_user_moves_the_camera(
    rig: Any, until: Callable[..., None]
) -> None:
    camera = rig.model.scene.camera
    rig.send(1, z=1, shape=(64, 64))
    rig.show()
    alone = camera.zoom
    for site in (1, 2):
        for z in (1, 2):
            rig.send(1, well="A01", site=site, z=z, shape=(64, 64))
    rig.show()
    until(lambda: camera.zoom < alone)  # the sliders took their place from the canvas
    assert rig.middle() != (255, 255, 255)
    picture = rig.canvas()
    assert picture[0].max() == 0  # nothing is cut off at the top


def test_a_deleted_layer_stays_deleted_and_the_sliders_stay_right(rig: Any) -> None:
    for z in (1, 2, 3):
        for channel in (1, 2):
            rig.send(1, channel=channel, z=z)
    rig.show()
    for z in (4, 5):
        rig.send(1, channel=2, z=z)
    rig.show()
    rig.model.layers.remove(rig.layer(0))
    assert rig.model.dims.nsteps[0] == 5
    late = rig.send(1, channel=1, z=1)
    assert (late.outcome, late.reason) == ("dropped", "its layer was deleted in the viewer")
    rig.model.layers.clear()
    rig.send(1, channel=2, z=1, context=BatchContext(run="second", step_index=1, step_name="blur"))
    rig.show()
    assert [layer.name for layer in rig.model.layers] == ["Step_01_blur_Channel_2"]
    assert rig.model.dims.nsteps[0] == 5


def test_a_later_run_takes_a_layer_over_in_place(rig: Any) -> None:
    for z in (1, 2):
        rig.send(100, z=z)
    rig.show()
    layer = rig.layer()
    layer.opacity = 0.9
    spec = DisplaySpec(replace_layers=True)
    second = BatchContext(run="second", step_index=1, step_name="blur", display=spec)
    rig.send(0.5, z=1, shape=(16, 12), dtype=np.float32, context=second, contrast=(0.0, 1.0))
    rig.show()
    assert list(rig.model.layers) == [layer]
    assert layer.opacity == 0.9
    assert layer.dtype == np.float32
    assert 100 <= rig.middle()[0] <= 135
    rig.move(z=1)
    assert rig.middle() == (0, 0, 0)  # not a word of the old run


def test_following_the_newest(rig: Any) -> None:
    context = BatchContext(run="run", display=DisplaySpec(follow=True))
    for well in ("A01", "B02"):
        for z in (1, 2, 3):
            rig.send(z, well=well, z=z, context=context)
            rig.show()
            assert rig.where == {
                **({"z": z} if z > 1 or well == "B02" else {}),
                **({"well": well} if well == "B02" else {}),
            }
    rig.send(1, well="A01", z=2, context=context)
    rig.show()
    assert rig.where == {"well": "A01", "z": 2}


def test_the_whole_stack_in_3d(rig: Any) -> None:
    for z in (1, 2, 3):
        rig.send(z, well="A01", z=z)
    rig.send(9, well="B02", z=2)
    rig.show()
    rig.model.dims.ndisplay = 3
    rig.process()
    assert rig.where == {"well": "A01"}
    volume = rig.layer()._slice.image.raw
    assert volume.shape == (3, 16, 16)
    assert list(volume[:, 0, 0]) == [1, 2, 3]
    again = rig.send(7, well="A01", z=3)
    assert not again.outcome
    rig.show()
    assert rig.layer()._slice.image.raw[2, 0, 0] == 7
    rig.model.dims.ndisplay = 2
    rig.process()
    assert rig.where["well"] == "A01"


def test_a_users_own_layer_with_more_axes_does_not_confuse_the_sliders(rig: Any) -> None:
    for z in (1, 2):
        rig.send(z, z=z)
    rig.show()
    rig.model.add_image(np.zeros((4, 2, 16, 16)), name="mine")
    rig.send(3, z=3)
    rig.show()
    rig.model.dims.set_current_step(0, 2)
    rig.model.dims.set_current_step(1, 2)
    rig.process()
    assert rig.where == {"z": 3}
    assert rig.layer(0)._slice.image.raw[0, 0] == 3


def test_an_array_of_all_planes_for_plugins_and_saving(rig: Any, tmp_path: Path) -> None:
    for z in (1, 2, 3):
        rig.send(z, z=z)
    rig.show()
    whole = np.asarray(rig.layer().data)
    assert whole.shape == (3, 16, 16)
    assert list(whole[:, 0, 0]) == [1, 2, 3]
    assert rig.layer().data[1:].shape == (2, 16, 16)


def test_pictures_are_written_whole(rig: Any, tmp_path: Path) -> None:
    rig.send(100)
    rig.show()
    window = rig.viewer.screenshot(tmp_path / "window.png")
    canvas = rig.viewer.screenshot(tmp_path / "canvas.png", canvas_only=True)
    assert window.shape[0] > canvas.shape[0]
    assert window.shape[1] > canvas.shape[1]
    assert canvas.max() == 255
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["canvas.png", "window.png"]


def test_state_tells_what_the_user_sees(rig: Any) -> None:
    for z in (1, 2):
        rig.send(1, z=z)
    rig.show()
    rig.layer().visible = False
    rig.layer().name = "renamed"
    state = rig.viewer.state()
    (layer,) = state["layers"]
    assert (layer["name"], layer["visible"], layer["planes"], layer["contrast"]) == (
        "renamed",
        False,
        2,
        [0.0, 100.0],
    )
    assert (state["viewer"], state["title"], state["where"]) == ("napari", "test window", "z 1")


def test_a_layer_napari_cannot_show_does_not_take_the_others_with_it(
    rig: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from openhcs_viewers.napari import _layers

    make = _layers.make_layer

    def picky(plan: Any, planes: Any) -> Any:
        if plan.name.endswith("1"):
            raise ValueError("no such thing")
        return make(plan, planes)

    monkeypatch.setattr(_layers, "make_layer", picky)
    bad, good = rig.send(1, channel=1), rig.send(1, channel=2)
    rig.show()
    assert (bad.outcome, good.outcome) == ("dropped", "displayed")
    assert bad.reason == "ValueError: no such thing"


def test_without_a_display_no_window_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    from openhcs_viewers.napari import NapariViewer
    from openhcs_viewers.scene import Scene
    from openhcs_viewers.store import PlaneStore

    monkeypatch.delenv("DISPLAY")
    with pytest.raises(DisplayError, match="no display"):
        NapariViewer(Scene(PlaneStore(2**20))).open("never")


def test_the_users_own_window_stays_when_streaming_ends(rig: Any) -> None:
    rig.send(100)
    rig.show()
    rig.viewer.close()
    assert len(rig.model.layers) == 1
    rig.model.dims.set_point(0, 5)  # nobody listens any more
    assert rig.model.window._qt_window.isVisible()
