"""The rules of hyperstacks, as tables: what arrives, and which windows, channels, slices and frames come of it."""

from __future__ import annotations

import copy
import random
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polystore.components import Component, ImageKey
from polystore.errors import ComponentError, ProjectionError
from polystore.projection import (
    ChannelDisplay,
    DisplaySpec,
    HyperstackPlan,
    HyperstackProjection,
    Placement,
    host_of,
    place_roi,
    project_hyperstacks,
)
from polystore.projection import _grouping as grouping

U16 = np.dtype(np.uint16)
SIZE = (64, 64)
SITES_ON_T = {"site": "frame"}
C, Z, T, WELL, FIELD = Component.CHANNEL, Component.Z, Component.T, Component.WELL, Component.FIELD


@dataclass(frozen=True)
class Context:
    run: str = "run"
    step_index: int | None = 2
    step_name: str = "s"
    producer: str = ""
    display: DisplaySpec = field(default_factory=DisplaySpec)


def key(**components: Any) -> ImageKey:
    return ImageKey.of(**components)


def spec(**dimensions: str) -> Context:
    return Context(display=DisplaySpec(dimensions=dimensions))


def names(projection: HyperstackProjection) -> list[str]:
    return [plan.name for plan in projection.layers()]


def place(projection: HyperstackProjection, context: Context = Context(), **options: Any) -> Placement:
    shape, dtype = options.pop("shape", SIZE), options.pop("dtype", U16)
    kind, name, path = options.pop("kind", "image"), options.pop("name", ""), options.pop("path", "")
    return projection.place(context, key(**options), shape, dtype, kind, name=name, path=path)


def one_plan(context: Context, *keys: dict[str, Any], **options: Any) -> HyperstackPlan:
    projection = HyperstackProjection()
    for one in keys:
        place(projection, context, **one, **options)
    (plan,) = projection.layers()
    return plan


def grid(**values: Any) -> list[dict[str, Any]]:
    return [dict(zip(values, some, strict=True)) for some in product(*values.values())]


# -- windows and dimensions


def test_the_seeds_configuration_gives_one_channel_n_slices_and_m_frames() -> None:
    items = [
        (key(well="A01", site="s1", channel="DAPI", z=f"z{z:03d}", timepoint=f"t{t:03d}"), SIZE, U16)
        for z in range(1, 6)
        for t in range(3)
    ]
    display = DisplaySpec(
        dimensions={"channel": "channel", "z_index": "z", "timepoint": "frame", "site": "window"}
    )
    (plan,) = project_hyperstacks(items, display, step_index=2, step_name="gaussian_blur")
    assert plan.name == "Step_02_gaussian_blur_Well_A01_Site_001"
    assert plan.size == (1, 5, 3)
    assert (plan.kind, plan.plane_shape, plan.dtype, plan.rgb) == ("image", SIZE, "uint16", False)
    assert plan.window == {WELL: "A01", FIELD: 1}


def test_a_window_per_step_well_and_site_is_the_default() -> None:
    projection = HyperstackProjection()
    for step, name in ((1, "flat"), (2, "blur")):
        for one in grid(well=("A01", "B02"), site=(1, 2), channel=("DAPI", "GFP"), z=(1, 2)):
            place(projection, Context(step_index=step, step_name=name), **one)
    assert names(projection) == [
        f"Step_{step}_Well_{well}_Site_{site:03d}"
        for step in ("01_flat", "02_blur")
        for well in ("A01", "B02")
        for site in (1, 2)
    ]
    assert {plan.size for plan in projection.layers()} == {(2, 2, 1)}
    assert len({plan.order for plan in projection.layers()}) == 8
    assert sorted(projection.layers(), key=lambda plan: plan.order) == list(projection.layers())


LAYOUTS = [
    # dimensions, keys -> channels, slices, frames, name
    ({}, [{}], ((),), ((),), ((),), "Step_02_s"),
    ({}, grid(channel=(1,)), ((1,),), ((),), ((),), "Step_02_s"),
    (
        SITES_ON_T,
        grid(well=("A01",), site=(1, 2), t=(0, 1)),
        ((),),
        ((),),
        ((1, 0), (1, 1), (2, 0), (2, 1)),
        "Step_02_s_Well_A01",
    ),
    (  # entries are what was seen, not all combinations
        {"site": "frame", "well": "frame"},
        [{"well": "B02", "site": 1}, {"well": "A01", "site": 2}, {"well": "A01", "site": 1}],
        ((),),
        ((),),
        (("A01", 1), ("A01", 2), ("B02", 1)),
        "Step_02_s",
    ),
    (
        {"well": "z"},
        grid(well=("B10", "B2"), z=(2, 1)),
        ((),),
        (("B02", 1), ("B02", 2), ("B10", 1), ("B10", 2)),
        ((),),
        "Step_02_s",
    ),
    (
        {"channel": "window"},
        grid(channel=("DAPI",), z=(1,)),
        ((),),
        ((1,),),
        ((),),
        "Step_02_s_Channel_DAPI",
    ),
    (
        {"t": "channel", "channel": "z"},
        grid(channel=(2, 1), t=(0,)),
        ((0,),),
        ((1,), (2,)),
        ((),),
        "Step_02_s",
    ),
]


@pytest.mark.parametrize(("dimensions", "keys", "channels", "slices", "frames", "name"), LAYOUTS)
def test_layouts(
    dimensions: dict[str, str], keys: list[dict[str, Any]], channels: Any, slices: Any, frames: Any, name: str
) -> None:
    plan = one_plan(spec(**dimensions), *keys)
    assert (plan.channels, plan.slices, plan.frames, plan.name) == (channels, slices, frames, name)


def test_values_are_sorted_however_they_come_and_nothing_moves() -> None:
    projection = HyperstackProjection()
    keys = [{"channel": c, "z": z} for c, z in (("GFP", 10), (2, 9), ("DAPI", 2), (10, 1), (1, 9))]
    before = [place(projection, **one) for one in keys]
    (plan,) = projection.layers()
    assert plan.channels == ((1,), (2,), (10,), ("DAPI",), ("GFP",))
    assert plan.slices == ((1,), (2,), (9,), (10,))
    assert plan.axes == ((C, (1, 2, 10, "DAPI", "GFP")), (Z, (1, 2, 9, 10)))
    again = [place(projection, **one) for one in keys]
    assert [one.position for one in again] == [one.position for one in before]
    assert not any(one.changed for one in again)


# -- growth


@pytest.mark.parametrize(
    "ordered",
    [
        ("DAPI", "GFP", "Cy5"),
        ("Hoechst", "FITC", "TRITC", "Cy5", "Brightfield"),
        ("405 nm", "488 nm", "ex561", "640 nm"),
        ("BFP", "CFP", "eGFP", "YFP", "Cy3", "RFP", "mCherry", "Cy5", "Cy5.5", "Cy7"),
        ("Alexa 405", "Alexa 488", "Alexa 568", "Far-red", "TL DIC"),
        (2, 10, "GFP", "BF", "actin", "tubulin 2", "tubulin 10"),
        ("DAPI", "Hoechst", "Phase", "marker 1"),
    ],
)
def test_channels_stand_by_their_light_in_whatever_order_they_come(ordered: tuple[Any, ...]) -> None:
    for some in (ordered, ordered[::-1], sorted(ordered, key=str)):
        plan = one_plan(Context(), *[{"channel": one} for one in some])
        assert plan.channels == tuple((one,) for one in ordered)


def test_growth_is_told_once_and_the_plan_is_the_same_object_until_then() -> None:
    projection = HyperstackProjection()
    first = place(projection, channel=1, z=5)
    assert first == Placement("layer-1", (1, None, 5), frozenset({"new_layer"}), part=1)
    plan = projection.layer("layer-1")
    assert place(projection, channel=2, z=5).changed == {"shape"}
    assert place(projection, channel=1, z=3).changed == {"shape"}
    grown = projection.layer("layer-1")
    assert grown is not plan
    assert place(projection, channel=2, z=3).changed == frozenset()  # fills a hole
    assert place(projection, channel=3).changed == {"shape"}
    wider = projection.layer("layer-1")
    assert place(projection, channel=1, z=3).changed == frozenset()
    assert projection.layer("layer-1") is wider
    assert projection.layers() == (wider,)
    assert (projection.axes(), projection.axes_version) == ((), 0)
    assert grown is not None
    assert grown.slots(first.position) == (3,)
    assert grown.slots((3, None, 5)) == ()  # not yet there


def test_slots_count_channels_first_then_slices_then_frames() -> None:
    plan = one_plan(Context(), *grid(channel=(1, 2), z=(1, 2, 3), t=(0, 1)))
    positions = [(c, t, z) for t in (0, 1) for z in (1, 2, 3) for c in (1, 2)]
    assert [plan.slots(position) for position in positions] == [(index,) for index in range(1, 13)]
    assert plan.components == (Component.CHANNEL, Component.T, Component.Z)


def test_every_place_is_found_again_after_growth() -> None:
    small = one_plan(Context(), *grid(channel=(1, 3), z=(2, 4), t=(1,)))
    large = one_plan(Context(), *grid(channel=(1, 2, 3), z=(1, 2, 3, 4), t=(0, 1)))
    assert large.nearest(small.position(2, 1, 1)) == (3, 2, 2)
    for at in product((1, 2, 3), (1, 2, 3, 4), (1, 2)):
        assert large.nearest(large.position(*at)) == at


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, (1, 1, 1)),
        ({Z: 11}, (1, 3, 1)),
        ({Z: 4}, (1, 1, 1)),  # 1 and 7 are as near
        ({C: "E"}, (2, 1, 1)),  # the last before it
        ({C: "A"}, (1, 1, 1)),
        ({C: 3}, (1, 1, 1)),
        ({FIELD: 2, T: 9}, (1, 1, 4)),
        ({FIELD: 9, T: 0}, (1, 1, 3)),  # the outermost component decides first
        ({T: 1}, (1, 1, 2)),
        ({WELL: "A01"}, (1, 1, 1)),
    ],
)
def test_nearest(values: Any, expected: Any) -> None:
    plan = one_plan(spec(site="frame"), *grid(channel=("D", "DAPI"), z=(1, 7, 12), site=(1, 2), t=(0, 1)))
    assert plan.nearest(values) == expected


@pytest.mark.parametrize("at", [(0, 1, 1), (3, 1, 1), (1, 2, 1), (1, 1, 0)])
def test_positions_beyond_the_hyperstack(at: tuple[int, int, int]) -> None:
    plan = one_plan(Context(), *grid(channel=(1, 2)))
    with pytest.raises(ProjectionError, match="count from 1"):
        plan.position(*at)


# -- planes that lack a component


def test_projections_of_some_channels_stand_beside_the_z_stacks_of_others() -> None:
    projection = HyperstackProjection()
    for well in ("A01", "B02"):
        place(projection, well=well, channel=3)
        for one in grid(channel=(1, 2), z=range(1, 12)):
            place(projection, well=well, **one)
        found = place(projection, well=well, channel=4)
        assert found.position == (4, None, None)
    assert names(projection) == ["Step_02_s_Well_A01", "Step_02_s_Well_B02"]
    (plan, _) = projection.layers()
    assert plan.size == (4, 11, 1)
    assert plan.slots((1, None, 2)) == (5,)
    assert plan.slots((4, None, None)) == tuple(range(4, 45, 4))


@pytest.mark.parametrize(
    ("dimensions", "first", "second", "expected"),
    [
        ({}, {"channel": 1, "z": 1}, {"channel": 1}, "Step_02_s_projection"),
        ({}, {"channel": 1}, {"channel": 1, "z": 1}, "Step_02_s_Z_stack"),
        ({}, {"z": 1}, {}, "Step_02_s_projection"),
        ({}, {"channel": 1, "t": 1}, {"channel": 1}, "Step_02_s_without_t"),
        ({}, {"channel": 1, "z": 1}, {"z": 1}, "Step_02_s_without_channel"),
        ({}, {"z": 1}, {"channel": 1, "z": 1}, "Step_02_s_by_channel"),
        ({"channel": "frame"}, {"channel": 1, "z": 1}, {"channel": 1}, "Step_02_s_projection"),
        ({"channel": "window"}, {"channel": 1, "z": 1}, {"channel": 1}, "Step_02_s_Channel_1_projection"),
        ({"channel": "window", "z": "channel"}, {"z": 1}, {}, "Step_02_s_projection"),
    ],
)
def test_what_comes_later_in_two_forms_of_one_channel_gets_a_window_beside(
    dimensions: dict[str, str], first: dict[str, int], second: dict[str, int], expected: str
) -> None:
    projection = HyperstackProjection()
    context = spec(**dimensions)
    kept = place(projection, context, **first)
    beside = place(projection, context, **second)
    assert names(projection)[1:] == [expected]
    assert place(projection, context, **first).layer_id == kept.layer_id
    assert place(projection, context, **second).layer_id == beside.layer_id
    for placed in (kept, beside):
        plan = projection.layer(placed.layer_id)
        assert plan is not None
        assert plan.slots(placed.position) == (1,)


def test_all_channels_of_the_later_form_share_the_window_beside() -> None:
    projection = HyperstackProjection()
    for one in (*grid(channel=(1, 2), z=(1, 2)), *grid(channel=(1, 2, 3))):
        place(projection, **one)
    assert [(plan.name, plan.size) for plan in projection.layers()] == [
        ("Step_02_s", (3, 2, 1)),
        ("Step_02_s_projection", (2, 1, 1)),
    ]


def test_an_entry_of_its_own_for_what_no_other_plane_says_more_of() -> None:
    keys = [*grid(channel=(1,), site=(1, 2), t=(0, 1)), *grid(channel=(2,), t=(1, 7))]
    plan = one_plan(spec(**SITES_ON_T), *keys)
    assert plan.frames == ((None, 7), (1, 0), (1, 1), (2, 0), (2, 1))
    assert plan.slots((None, 2, 1, None)) == (6, 10)  # at both sites
    assert plan.slots((None, 2, 7, None)) == (2,)
    assert plan.position(1, 1, 1) == {C: 1, T: 7}


# -- sizes, dtypes, colours


def test_another_size_or_dtype_gets_a_window_of_its_own() -> None:
    projection = HyperstackProjection()
    place(projection, well="A01", z=1)
    place(projection, well="A01", z=2, shape=(10, 20))
    place(projection, well="A01", z=3, dtype="float32")
    place(projection, well="A01", z=4, dtype=">u2")
    context = spec(well="frame")
    place(projection, replace(context, step_index=3), well="A01", z=1)
    place(projection, replace(context, step_index=3), well="B02", z=1, shape=(10, 20))
    assert [(plan.name, plan.size, plan.plane_shape, plan.dtype) for plan in projection.layers()] == [
        ("Step_02_s_Well_A01", (1, 2, 1), SIZE, "uint16"),
        ("Step_02_s_Well_A01_10x20", (1, 1, 1), (10, 20), "uint16"),
        ("Step_02_s_Well_A01_float32", (1, 1, 1), SIZE, "float32"),
        ("Step_03_s", (1, 1, 1), SIZE, "uint16"),
        ("Step_03_s_Well_B02", (1, 1, 1), (10, 20), "uint16"),
    ]


def test_padding_keeps_one_window_that_grows_to_the_largest() -> None:
    projection = HyperstackProjection()
    context = Context(display=DisplaySpec(variable_size="pad_to_max"))
    place(projection, context, z=1, shape=(64, 32))
    plan = projection.layers()[0]
    assert place(projection, context, z=1, shape=(32, 64)).changed == {"shape"}
    (grown,) = projection.layers()
    assert (plan.plane_shape, grown.plane_shape) == ((64, 32), (64, 64))


def test_colour_pictures_have_windows_of_their_own_and_are_no_composite() -> None:
    projection = HyperstackProjection()
    for channel in (1, 2):
        place(projection, channel=channel, dtype="uint8")
        place(projection, channel=channel, dtype="uint8", shape=(*SIZE, 3))
        place(projection, channel=channel, dtype="uint8", kind="labels")
    assert [(plan.rgb, plan.kind, plan.composite, plan.size) for plan in projection.layers()] == [
        (False, "image", True, (2, 1, 1)),
        (True, "image", False, (2, 1, 1)),
        (False, "labels", False, (2, 1, 1)),
    ]


def test_a_plane_that_comes_back_in_another_size_replaces_its_older_self() -> None:
    projection = HyperstackProjection()
    old = place(projection, z=1)
    place(projection, z=2, shape=(8, 8))
    new = place(projection, z=1, shape=(8, 8))
    assert (new.replaces, new.changed) == ((old.layer_id, (None, None, 1)), {"shape"})
    plan = projection.layer(new.layer_id)
    assert plan is not None
    assert plan.slots(new.position) == (1,)


@pytest.mark.parametrize(
    ("colormap", "display", "channels", "expected"),
    [
        ("gray", "composite", ("DAPI", "GFP", "Brightfield"), ("blue", "green", "gray")),
        ("Grays", "composite", (1, 2), ("blue", "green")),
        ("gray", "composite", (1,), ("gray",)),
        ("gray", "color", (1, 2), ("blue", "green")),
        ("gray", "color", (1,), ("gray",)),
        ("gray", "grayscale", (1, 2), ("gray", "gray")),
        ("magma", "composite", (1, 2), ("magma", "magma")),
        ("auto", "composite", (1, 2), ("blue", "green")),
        ("auto", "color", ("Cy5",), ("cyan",)),
        ("auto", "grayscale", (1, 2), ("gray", "gray")),
        ("auto", "composite", (None,), ("gray",)),
        ("auto", "composite", ("BF", "DAPI", "Foo", "Bar"), ("blue", "gray", "green", "magenta")),
        ("gray", "composite", ("Foo", "GFP"), ("green", "blue")),
    ],
)
def test_colours_of_channels(colormap: str, display: str, channels: Any, expected: Any) -> None:
    context = Context(display=DisplaySpec(colormap=colormap, channel_display=display))
    plan = one_plan(context, *[{} if one is None else {"channel": one} for one in channels])
    assert plan.colormaps == expected
    assert plan.colormap == expected[0]


def test_a_channel_keeps_the_colour_its_first_plane_came_with() -> None:
    projection = HyperstackProjection()
    for colormap, channel in (
        ("magenta", "Cy5"),
        ("blue", "DAPI"),
        ("gray", "BF"),
        ("red", "DAPI"),
        ("auto", "GFP"),
    ):
        place(projection, Context(display=DisplaySpec(colormap=colormap)), channel=channel)
    (plan,) = projection.layers()
    assert dict(zip(plan.channels, plan.colormaps, strict=True)) == {
        ("BF",): "gray", ("Cy5",): "magenta", ("DAPI",): "blue", ("GFP",): "green",
    }  # fmt: skip


def test_colours_without_channels_along_c() -> None:
    auto = DisplaySpec(colormap="auto", dimensions={"channel": "window"})
    assert one_plan(Context(display=auto), {"channel": "GFP"}).colormaps == ("green",)
    sites = DisplaySpec(dimensions={"channel": "window", "site": "channel"})
    assert one_plan(Context(display=sites), {"site": 4}, {"site": 9}).colormaps == ("blue", "green")


def test_display_ranges_belong_to_channels() -> None:
    projection = HyperstackProjection()
    parts = [place(projection, channel=channel, z=1).part for channel in ("GFP", "DAPI")]
    assert parts == ["GFP", "DAPI"]
    (plan,) = projection.layers()
    assert plan.contrasts == (None, None)
    shown = plan.with_contrast({"GFP": (1.0, 2.0), "gone": (0.0, 9.0)})
    assert (shown.contrasts, shown.contrast) == ((None, (1.0, 2.0)), (1.0, 2.0))
    more = shown.with_contrast({"DAPI": (3.0, 4.0)})
    assert (more.contrasts, more.contrast) == (((3.0, 4.0), (1.0, 2.0)), (3.0, 4.0))
    assert more.slots(("GFP", None, 1)) == (2,)


def test_parts_where_there_is_no_channel_or_several_components_make_one() -> None:
    projection = HyperstackProjection()
    assert place(projection, z=1).part is None
    (plan,) = projection.layers()
    assert plan.with_contrast({None: (1.0, 2.0)}).contrasts == ((1.0, 2.0),)
    context = Context(step_index=3, display=DisplaySpec(dimensions={"site": "channel"}))
    part = place(projection, context, site=2, channel="DAPI").part
    assert part == "2 DAPI"
    joined = projection.layers()[1].with_contrast({part: (1.0, 2.0)})
    assert (joined.channels, joined.contrasts) == (((2, "DAPI"),), ((1.0, 2.0),))


def test_what_a_viewer_is_told_besides() -> None:
    display = DisplaySpec(scale=(0.5, 0.25), z_step=2.0, frame_interval=30.0, channel_display="color")
    plan = one_plan(Context(display=display), {"channel": 1})
    assert (plan.scale, plan.z_step, plan.frame_interval) == ((0.5, 0.25), 2.0, 30.0)
    assert plan.channel_display is ChannelDisplay.COLOR
    assert (plan.run, plan.step_index, plan.step_name) == ("run", 2, "s")
    twin = copy.deepcopy(plan)
    assert (twin, hash(twin), twin.slots((1, None, None))) == (plan, hash(plan), (1,))


@pytest.mark.parametrize(
    ("dimensions", "keys", "expected"),
    [
        ({}, [{}], [""]),
        ({}, grid(channel=("DAPI",), z=(3,)), ["DAPI"]),
        ({}, grid(channel=(1, 2), z=(3,)), ["channel 1", "channel 2"]),
        ({}, grid(z=(3, 4), t=(0,)), ["z 3", "z 4"]),
        (
            {"site": "frame", "well": "frame"},
            grid(channel=("DAPI",), z=(3,), t=(1, 2), site=(2, 3), well=("A01",)),
            [f"site {site}; DAPI; t {t}" for site in (2, 3) for t in (1, 2)],
        ),
        (
            {"well": "frame"},
            grid(channel=("GFP", "DAPI"), z=(1, 2), well=("A01", "A02")),
            [f"{w}; {c}; z {z}" for w in ("A01", "A02") for z in (1, 2) for c in ("DAPI", "GFP")],
        ),
    ],
)
def test_labels_of_planes(dimensions: dict[str, str], keys: Any, expected: list[str]) -> None:
    plan = one_plan(spec(**dimensions), *keys)
    assert [plan.label(index) for index in range(1, len(expected) + 1)] == expected
    for beyond in (0, len(expected) + 1):
        with pytest.raises(ProjectionError, match="count from 1"):
            plan.label(beyond)


def test_labels_without_what_is_said_elsewhere() -> None:
    plan = one_plan(spec(well="frame"), *grid(channel=("GFP", "DAPI"), z=(1, 2), well=("A01", "A02")))
    assert plan.label(8, without=plan.along[0]) == "A02; z 2"


# -- runs, producers, removal


def test_runs_have_windows_of_their_own_or_take_them_over() -> None:
    projection = HyperstackProjection()
    old = place(projection, Context(run="first"), well="A01", z=1)
    place(projection, Context(run="first"), well="A01", z=2)
    place(projection, Context(run="second"), well="A01", z=1)
    spec = DisplaySpec(replace_layers=True)
    new = place(projection, Context(run="third", display=spec), well="A01", z=1, dtype="float32")
    assert (new.layer_id, new.changed) == (old.layer_id, {"replaced"})
    assert names(projection) == ["Step_02_s_Well_A01", "Step_02_s_Well_A01_run_2"]
    assert [(plan.run, plan.size, plan.dtype) for plan in projection.layers()] == [
        ("third", (1, 1, 1), "float32"),
        ("second", (1, 1, 1), "uint16"),
    ]
    assert "later run" in place(projection, Context(run="first"), well="A01", z=3).refused


def test_workers_of_one_run_share_a_window_and_two_producers_no_place() -> None:
    projection = HyperstackProjection()
    one = place(projection, Context(producer="worker 1"), z=1)
    two = place(projection, Context(producer="worker 2"), z=2)
    assert one.layer_id == two.layer_id
    with pytest.raises(ProjectionError, match="two producers"):
        place(projection, Context(producer="worker 2"), z=1)
    place(projection, z=3, path="/plate/x.tif")
    with pytest.raises(ProjectionError, match="two images"):
        place(projection, z=3, path="/plate/y.tif")
    assert not place(projection, z=3, path="/plate/x.tif").changed


def test_a_removed_window_stays_away_until_another_run() -> None:
    projection = HyperstackProjection()
    gone = place(projection, z=1)
    projection.remove(gone.layer_id, "closed")
    assert projection.layer(gone.layer_id) is None
    assert [place(projection, z=z).refused for z in (1, 2)] == ["closed", "closed"]
    again = place(projection, Context(run="second"), z=1)
    assert (again.changed, names(projection)) == ({"new_layer"}, ["Step_02_s"])


def test_a_plane_of_a_removed_window_can_come_back_in_another_size() -> None:
    projection = HyperstackProjection()
    place(projection, z=2, shape=(8, 8))
    gone = place(projection, z=1)
    projection.remove(gone.layer_id, "closed")
    back = place(projection, z=1, shape=(8, 8))
    assert (back.replaces, back.changed) == (None, {"shape"})
    assert projection.layers()[0].slots(back.position) == (1,)


def test_regions_are_found_again_and_nothing_is_made_by_looking() -> None:
    projection = HyperstackProjection()
    assert projection.find(Context(), key(well="A01"), "shapes") is None
    place(projection, well="A01", z=1, kind="shapes", path="a")
    place(projection, well="A01", kind="shapes")
    place(projection, well="A01", channel=1, kind="points")
    found = projection.find(Context(), key(well="A01", z=1), "shapes", path="a")
    assert found == Placement("layer-1", (None, None, 1))
    assert projection.find(Context(), key(well="A01"), "shapes") == Placement("layer-2", (None, None, None))
    found = projection.find(Context(), key(well="A01", channel=1), "points")
    assert found == Placement("layer-3", (1, None, None), part=1)
    assert projection.find(Context(), key(well="A01", z=2), "shapes") is None
    assert projection.find(Context(), key(well="A01", t=2), "shapes") is None
    assert projection.find(Context(), key(well="A01", z=1), "shapes", path="b") is None
    projection.remove("layer-1", "closed")
    assert projection.find(Context(), key(well="A01", z=1), "shapes", path="a") is None
    assert len(projection.layers()) == 2


def test_announced_values_are_checked_and_make_nothing() -> None:
    projection = HyperstackProjection()
    assert not projection.declare({"well": ["A1"], "z": [1, 2]})
    assert projection.layers() == ()
    with pytest.raises(ComponentError, match="unknown component"):
        projection.declare({"colour": [1]})
    with pytest.raises(ComponentError):
        projection.declare({"z": [-1]})


def test_what_is_no_plane_is_refused_and_changes_nothing() -> None:
    projection = HyperstackProjection()
    with pytest.raises(ProjectionError, match="two axes"):
        place(projection, z=1, shape=(3, 4, 4))
    with pytest.raises(ProjectionError, match="known: image, labels"):
        place(projection, z=1, kind="movie")
    assert projection.layers() == ()


# -- regions of interest


def hosts(*some: tuple[Context, str, dict[str, Any]]) -> list[HyperstackPlan]:
    projection = HyperstackProjection()
    for context, kind, one in some:
        place(projection, context, kind=kind, **one, dtype="uint8")
    return list(projection.layers())


RAW, BLUR = Context(step_index=1, step_name="raw"), Context()
LATER = Context(step_index=3, step_name="count")
A1 = {"well": "A01", "channel": 1, "z": 1}
HOSTS = [
    # images, regions -> number of the image
    ([(BLUR, "image", A1)], (BLUR, {"well": "A01"}), 0),
    ([(BLUR, "image", A1)], (BLUR, {"well": "B02"}), None),
    ([(BLUR, "image", A1)], (replace(BLUR, run="another"), A1), None),
    ([(RAW, "image", A1), (BLUR, "image", A1)], (BLUR, A1), 1),
    ([(RAW, "image", A1), (BLUR, "image", A1)], (LATER, A1), 1),
    ([(LATER, "image", A1), (RAW, "image", A1)], (BLUR, A1), 1),
    ([(LATER, "image", A1)], (BLUR, A1), 0),
    ([(BLUR, "labels", A1), (BLUR, "image", A1)], (BLUR, A1), 1),
    ([(BLUR, "labels", A1), (RAW, "image", A1)], (BLUR, A1), 0),
    ([(BLUR, "shapes", A1)], (BLUR, A1), None),
    ([(BLUR, "image", {"well": w}) for w in ("A01", "B02", "C03")], (BLUR, {"well": "B02"}), 1),
    ([(BLUR, "image", {"site": s}) for s in (1, 2)], (BLUR, {"site": 2, "z": 3}), 1),
    ([(BLUR, "image", {"well": "B02", "site": s}) for s in (1, 2)], (BLUR, {"well": "B02"}), 0),
    ([(BLUR, "image", {"channel": 1, "z": 1}), (BLUR, "image", {"channel": 1})], (BLUR, {"channel": 1}), 1),
    ([(BLUR, "image", {"channel": 1}), (BLUR, "image", {"channel": 1, "z": 1})], (BLUR, {"channel": 1, "z": 1}), 1),
    ([(spec(well="frame"), "image", {"well": "A01"})], (BLUR, {"well": "A01"}), 0),
    ([(spec(well="frame"), "image", {"well": "A01"})], (BLUR, {"well": "B02"}), None),
]  # fmt: skip


@pytest.mark.parametrize(("images", "regions", "expected"), HOSTS)
def test_hosts_of_regions(images: Any, regions: tuple[Context, dict[str, Any]], expected: int | None) -> None:
    plans = hosts(*images)
    (roi_plan,) = hosts((regions[0], "shapes", regions[1]))
    assert host_of(roi_plan, plans) is (None if expected is None else plans[expected])


@pytest.mark.parametrize(
    ("dimensions", "keys", "region", "expected"),
    [
        ({}, grid(channel=(1, 2), z=(1, 2), t=(0, 1)), {"channel": 2, "z": 1, "t": 1}, (2, 1, 2)),
        ({}, grid(channel=(1, 2), z=(1, 2), t=(0, 1)), {"z": 2}, (0, 2, 0)),
        ({}, grid(channel=(1, 2), z=(1, 2)), {}, (0, 0, 0)),
        ({}, grid(channel=(1,)), {"channel": 1, "z": 4}, (1, 0, 0)),
        ({}, grid(channel=(1,)), {}, (0, 0, 0)),
        ({}, grid(channel=(1, 2)), {"channel": 3}, (0, 0, 0)),
        ({"well": "frame"}, grid(well=("A01", "B02")), {"well": "B02"}, (0, 0, 2)),
        ({"site": "frame"}, grid(site=(1, 2), t=(0, 1)), {"site": 2}, (0, 0, 3)),
        ({"site": "frame"}, grid(site=(2,), t=(0, 1)), {"site": 2}, (0, 0, 0)),
    ],
)
def test_places_of_regions(dimensions: Any, keys: Any, region: dict[str, Any], expected: Any) -> None:
    host = one_plan(spec(**dimensions), *keys)
    projection = HyperstackProjection()
    placed = place(projection, kind="shapes", **region)
    assert place_roi(host, projection.layers()[0], placed.position) == expected


# -- properties

SPECS = [
    DisplaySpec(),
    DisplaySpec(dimensions={"site": "frame"}),
    DisplaySpec(dimensions={"site": "frame", "well": "frame"}),
    DisplaySpec(dimensions={"well": "z", "t": "window", "site": "channel"}),
    DisplaySpec(dimensions={"channel": "frame", "z": "channel"}),
    DisplaySpec(dimensions={"channel": "window", "site": "z"}),
]
KEYS = st.lists(
    st.builds(
        ImageKey,
        well=st.sampled_from(["A01", "B02"]),
        field=st.sampled_from([None, 1, 2]),
        channel=st.sampled_from([1, 2, "DAPI"]),
        z=st.sampled_from([None, 1, 2, 10]),
        t=st.sampled_from([None, 0, 1]),
    ),
    min_size=1,
    max_size=40,
    unique=True,
)


def check_slots(projection: HyperstackProjection, placed: dict[ImageKey, Placement]) -> None:
    """Every plane has exactly the slots that its values say, and no slot has two planes."""
    taken: dict[tuple[str, int], ImageKey] = {}
    for one, placement in placed.items():
        plan = projection.layer(placement.layer_id)
        assert plan is not None
        c, z, t = plan.size
        assert (c, z, t) == (len(plan.channels), len(plan.slices), len(plan.frames))
        wanted = {which: one.get(which) for which in plan.components if one.get(which) is not None}
        everywhere = [(k + 1, j + 1, i + 1) for i in range(t) for j in range(z) for k in range(c)]
        slots = [
            number
            for number, at in enumerate(everywhere, 1)
            if wanted.items() <= dict(plan.position(*at)).items()
        ]
        assert slots
        assert plan.slots(placement.position) == tuple(slots)
        for slot in slots:
            assert taken.setdefault((plan.layer_id, slot), one) is one


def arrange(keys: list[ImageKey], display: DisplaySpec) -> dict[str, HyperstackPlan]:
    projection = HyperstackProjection()
    context = Context(display=display)
    placed = {one: projection.place(context, one, SIZE, U16) for one in keys}
    check_slots(projection, placed)
    return {plan.name: replace(plan, layer_id="", order=()) for plan in projection.layers()}


@settings(max_examples=80, deadline=None)
@given(keys=KEYS, display=st.sampled_from(SPECS))
def test_no_two_planes_share_a_slot_whatever_they_lack(keys: list[ImageKey], display: DisplaySpec) -> None:
    assert arrange(keys, display)  # which checks every slot


@settings(max_examples=80, deadline=None)
@given(
    keys=KEYS,
    display=st.sampled_from(SPECS),
    flat=st.sets(st.sampled_from([1, 2, "DAPI"])),
    seed=st.integers(0, 99),
)
def test_order_of_arrival_changes_nothing(
    keys: list[ImageKey], display: DisplaySpec, flat: set[Any], seed: int
) -> None:
    # One form for each channel: which of two comes later is what the order does decide.
    fixed = {
        replace(one, field=one.field or 1, t=one.t or 0, z=None if one.channel in flat else one.z or 1)
        for one in keys
    }
    ordered = sorted(fixed, key=str)
    shuffled = ordered.copy()
    random.Random(seed).shuffle(shuffled)
    assert arrange(ordered, display) == arrange(shuffled, display)


class CountingInt(int):
    """An index that counts how often it is compared with another."""

    compared = 0

    def __lt__(self, other: Any) -> bool:
        CountingInt.compared += 1
        return int.__lt__(self, other)


def test_the_thousandth_plane_costs_what_the_tenth_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouping, "value_key", lambda which, value: (0, CountingInt(value)))
    built = []
    monkeypatch.setattr(HyperstackPlan, "__post_init__", lambda plan: built.append(plan))
    projection = HyperstackProjection()
    context = Context()

    def cost(t: int) -> int:
        CountingInt.compared = 0
        projection.place(context, key(t=t), SIZE, U16)
        return CountingInt.compared

    costs = [cost(t) for t in range(1000)]
    assert max(costs) <= 2 * 10  # log2(1000) in the values and in the entries
    assert {cost(t) for t in range(1000)} == {0}
    assert len(built) == 1  # the first one; the others when they are asked for
    plan = projection.layer("layer-1")
    assert plan is not None
    assert plan.size == (1, 1, 1000)
