"""The rules of layers, as tables: what arrives, and which layers and sliders come of it."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polystore.components import Component, ImageKey
from polystore.errors import ProjectionError
from polystore.projection import DisplaySpec, LayerProjection, Placement, project_layers
from polystore.projection import _grouping as grouping

U16 = np.dtype(np.uint16)
SIZE = (64, 64)


@dataclass(frozen=True)
class Context:
    run: str = "run"
    step_index: int | None = 2
    step_name: str = "gaussian_blur"
    producer: str = ""
    display: DisplaySpec = field(default_factory=DisplaySpec)


def key(**components: Any) -> ImageKey:
    return ImageKey.of(**components)


def names(projection: LayerProjection) -> list[str]:
    return [plan.name for plan in projection.layers()]


def place(projection: LayerProjection, context: Context = Context(), **options: Any) -> Placement:
    shape, dtype = options.pop("shape", SIZE), options.pop("dtype", U16)
    kind, name, path = options.pop("kind", "image"), options.pop("name", ""), options.pop("path", "")
    return projection.place(context, key(**options), shape, dtype, kind, name=name, path=path)


NAMES = [
    # modes, key, index, step, part, kind -> name
    (
        {},
        {"well": "A01", "site": 1, "channel": "DAPI"},
        2,
        "gaussian_blur",
        "",
        "image",
        "Step_02_gaussian_blur_Channel_DAPI",
    ),
    (
        {"well": "slice", "site": "layer"},
        {"well": "A01", "site": 1, "channel": "DAPI", "z": 4},
        2,
        "gaussian_blur",
        "",
        "image",
        "Step_02_gaussian_blur_Well_A01_Channel_DAPI_Site_001",
    ),
    ({"well": "layer"}, {"well": "A01"}, 2, "gaussian_blur", "", "image", "Step_02_gaussian_blur_Well_A01"),
    ({}, {"well": "A01"}, 2, "gaussian_blur", "", "image", "Step_02_gaussian_blur"),
    ({"z": "layer", "t": "layer"}, {"z": 5, "t": 12}, 0, "raw", "", "image", "Step_00_raw_Z_005_T_012"),
    (
        {"plate": "layer"},
        {"plate": "P 1", "channel": 3},
        117,
        "x",
        "",
        "image",
        "Step_117_x_Channel_3_Plate_P 1",
    ),
    ({}, {"channel": 1}, None, "", "", "image", "image_Channel_1"),
    ({}, {}, None, "", "", "image", "image"),
    ({}, {}, None, "", "", "labels", "labels"),
    ({}, {}, None, "segment", "", "image", "segment"),
    ({}, {}, 3, "", "", "image", "Step_03"),
    ({}, {}, 3, "segment", "overview", "image", "Step_03_segment_overview"),
    ({}, {}, None, "", "overview", "image", "overview"),
    ({}, {"channel": 1}, 3, "segment", "", "labels", "Step_03_segment_Channel_1_labels"),
    ({}, {}, 3, "segment", "", "shapes", "Step_03_segment_shapes"),
    ({}, {}, 3, "a\nname\x00 of two lines", "", "image", "Step_03_a name  of two lines"),
]


@pytest.mark.parametrize(("modes", "components", "index", "step", "part", "kind", "expected"), NAMES)
def test_names(
    modes: dict[str, str],
    components: dict[str, Any],
    index: int | None,
    step: str,
    part: str,
    kind: str,
    expected: str,
) -> None:
    projection = LayerProjection()
    context = Context(step_index=index, step_name=step, display=DisplaySpec(modes=modes))
    place(projection, context, kind=kind, name=part, **components)
    assert names(projection) == [expected]


def test_the_seeds_defaults_make_a_layer_per_channel_with_sliders_for_the_rest() -> None:
    items = [
        (key(well=well, site=site, channel=channel, z=z, t=t), SIZE, U16)
        for well in ("A01", "B02")
        for site in (1, 2)
        for channel in ("DAPI", "GFP")
        for z in (1, 2, 3)
        for t in (0, 1)
    ]
    plans = project_layers(items, step_index=2, step_name="gaussian_blur")
    assert [plan.name for plan in plans] == [
        "Step_02_gaussian_blur_Channel_DAPI",
        "Step_02_gaussian_blur_Channel_GFP",
    ]
    assert plans[0].axes == (
        (Component.WELL, ("A01", "B02")),
        (Component.FIELD, (1, 2)),
        (Component.T, (0, 1)),
        (Component.Z, (1, 2, 3)),
    )
    assert (plans[0].plane_shape, plans[0].dtype, plans[0].rgb) == (SIZE, "uint16", False)


def test_a_single_image_has_no_slider_and_its_sibling_makes_one() -> None:
    projection = LayerProjection()
    first = place(projection, well="A01", z=5)
    assert projection.axes() == ()
    assert first == Placement("layer-1", ("A01", 5), frozenset({"new_layer"}))
    second = place(projection, well="A01", z=3)
    assert second == Placement("layer-1", ("A01", 3), frozenset({"axis"}))
    assert projection.axes() == ((Component.Z, (3, 5)),)
    assert place(projection, well="A01", z=5) == Placement("layer-1", ("A01", 5))


def test_values_are_sorted_however_they_come_and_nothing_moves() -> None:
    wells = ["B10", "A02", "AA01", "B2", "A11", "A1"]
    projection = LayerProjection()
    before = [place(projection, well=well) for well in wells]
    assert projection.axes() == ((Component.WELL, ("A01", "A02", "A11", "B02", "B10", "AA01")),)
    again = [place(projection, well=well) for well in wells]
    assert [one.position for one in again] == [one.position for one in before]
    assert not any(one.changed for one in again)


@pytest.mark.parametrize(
    ("which", "given_values", "expected"),
    [
        (Component.CHANNEL, ["GFP", 2, "DAPI", 10, 1], [1, 2, 10, "DAPI", "GFP"]),
        (Component.PLATE, ["plate 10", "plate 2", "Plate 1"], ["Plate 1", "plate 2", "plate 10"]),
        (Component.WELL, ["sample b", "B01", "sample a"], ["B01", "sample a", "sample b"]),
        (Component.FIELD, [12, 3, "left"], [3, 12, "left"]),
    ],
)
def test_orders(which: Component, given_values: list[Any], expected: list[Any]) -> None:
    values = grouping.OrderedValues(which)
    for value in given_values:
        assert values.add(value)
        assert not values.add(value)
    assert list(values.as_tuple()) == expected


def test_a_component_that_a_layer_lacks_is_no_axis_of_it() -> None:
    projection = LayerProjection()
    for z in (1, 2):
        place(projection, channel=1, well="E07", z=z)
    place(projection, channel=4, well="E07")
    assert projection.axes() == ((Component.Z, (1, 2)),)
    assert [plan.components for plan in projection.layers()] == [
        (Component.WELL, Component.Z),
        (Component.WELL,),
    ]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ({"z": 1}, {}, ["s", "s_projection"]),
        ({}, {"z": 1}, ["s", "s_Z_stack"]),
        ({"t": 1}, {}, ["s", "s_without_t"]),
        ({"z": 1}, {"t": 1}, ["s", "s_by_t_projection"]),
    ],
)
def test_stacks_and_projections_of_one_channel_are_two_layers(
    first: dict[str, int], second: dict[str, int], expected: list[str]
) -> None:
    projection = LayerProjection()
    context = Context(step_index=None, step_name="s")
    place(projection, context, **first)
    place(projection, context, **second)
    assert names(projection) == expected


def test_a_stack_hides_the_projection_of_its_channel_whichever_came_first() -> None:
    projection = LayerProjection()
    place(projection, channel=1)
    place(projection, channel=2, z=1)
    place(projection, channel=1, z=1)
    place(projection, channel=2)
    place(projection, channel=3)
    assert [(plan.visible, plan.hides, plan.base) for plan in projection.layers()] == [
        (True, (), True),
        (True, (), False),
        (True, ("layer-1",), True),
        (False, (), False),
        (True, (), False),
    ]


def test_declared_values_are_sliders_from_the_start() -> None:
    projection = LayerProjection()
    assert projection.declare({"well": ["B2", "A1"], "site": [1]})
    assert projection.axes() == ((Component.WELL, ("A01", "B02")),)
    assert not projection.declare({"well": ["A01"]})
    assert place(projection, well="B02", site=1).changed == {"new_layer"}


def test_another_size_gets_a_layer_for_its_well_and_the_first_keeps_its_name() -> None:
    projection = LayerProjection()
    kept = place(projection, well="A01", channel=1)
    other = place(projection, well="B02", channel=1, shape=(32, 32))
    third = place(projection, well="B02", channel=1, site=2, shape=(32, 32))
    assert kept.layer_id != other.layer_id != third.layer_id
    place(projection, well="B02", channel=1, z=1)
    plain = place(projection, well="C03", channel=1)
    assert plain.layer_id == kept.layer_id
    assert names(projection)[:2] == [
        "Step_02_gaussian_blur_Channel_1",
        "Step_02_gaussian_blur_Well_B02_Channel_1",
    ]
    assert projection.axes()[0] == (Component.WELL, ("A01", "B02", "C03"))


def test_sizes_without_a_well_to_name_are_told_by_their_size() -> None:
    projection = LayerProjection()
    context = Context(step_name="s", display=DisplaySpec(modes={"well": "layer"}))
    place(projection, context, well="A01", site=1)
    place(projection, context, well="A01", site=2, shape=(10, 20))
    place(projection, Context(step_name="s"), site=1)
    place(projection, Context(step_name="s"), site=2, shape=(10, 20))
    place(projection, Context(step_name="s"), site=2, well="A01")
    place(projection, Context(step_name="s"), site=3, well="A01", shape=(10, 20))
    place(projection, Context(step_name="s"), site=4, well="A01", shape=(30, 20))
    assert names(projection) == [
        "Step_02_s_Well_A01",
        "Step_02_s_Well_A01_10x20",
        "Step_02_s",
        "Step_02_s_10x20",
        "Step_02_s_by_well",
        "Step_02_s_Well_A01_by_well",
        "Step_02_s_Well_A01_by_well_30x20",
    ]


def test_padding_keeps_one_layer_that_grows_to_the_largest() -> None:
    projection = LayerProjection()
    context = Context(display=DisplaySpec(variable_size="pad_to_max"))
    place(projection, context, well="A01", shape=(64, 32))
    assert place(projection, context, well="A02", shape=(32, 64)).changed == {"axis", "shape"}
    assert place(projection, context, well="A03", shape=(10, 10)).changed == {"axis"}
    (plan,) = projection.layers()
    assert plan.plane_shape == (64, 64)


def test_another_dtype_gets_a_layer_of_its_own() -> None:
    projection = LayerProjection()
    context = Context(step_name="s", display=DisplaySpec(variable_size="pad_to_max"))
    place(projection, context, z=1)
    place(projection, context, z=2, dtype=np.dtype(">u2"))
    place(projection, context, z=3, dtype=np.dtype(np.float32), shape=(80, 80))
    assert [(plan.name, plan.plane_shape) for plan in projection.layers()] == [
        ("Step_02_s", SIZE),
        ("Step_02_s_float32", (80, 80)),
    ]


def test_an_image_that_comes_back_in_another_size_replaces_its_older_self() -> None:
    projection = LayerProjection()
    old = place(projection, well="A01")
    new = place(projection, well="A01", shape=(8, 8))
    assert new.replaces == (old.layer_id, ("A01",))
    assert place(projection, well="A01").replaces == (new.layer_id, ("A01",))


def test_a_second_run_gets_layers_of_its_own() -> None:
    projection = LayerProjection()
    for run in ("first", "second", "third"):
        place(projection, Context(run=run), well="A01", channel=1)
    place(projection, Context(run="third", step_index=3, step_name="new"))
    assert names(projection) == [
        "Step_02_gaussian_blur_Channel_1",
        "Step_02_gaussian_blur_Channel_1_run_2",
        "Step_02_gaussian_blur_Channel_1_run_3",
        "Step_03_new",
    ]


def test_workers_of_one_run_share_layers() -> None:
    projection = LayerProjection()
    one = place(projection, Context(producer="worker 1"), well="A01")
    two = place(projection, Context(producer="worker 2"), well="A02")
    assert one.layer_id == two.layer_id


def test_replace_layers_takes_over_the_layer_of_the_name() -> None:
    projection = LayerProjection()
    spec = DisplaySpec(replace_layers=True)
    old = place(projection, Context(run="first"), well="A01")
    place(projection, Context(run="first"), well="A02")
    new = place(projection, Context(run="second", display=spec), well="A01", shape=(8, 8), dtype="float32")
    assert (new.layer_id, new.changed) == (old.layer_id, {"replaced"})
    (plan,) = projection.layers()
    assert (plan.run, plan.plane_shape, plan.axes) == ("second", (8, 8), ((Component.WELL, ("A01",)),))
    late = place(projection, Context(run="first"), well="A03")
    assert "later run" in late.refused
    labels = place(projection, Context(run="second", display=spec), well="A01", kind="labels")
    assert labels.changed == {"new_layer"}


def test_a_removed_layer_stays_away_until_another_run() -> None:
    projection = LayerProjection()
    gone = place(projection, well="A01")
    projection.remove(gone.layer_id, "deleted")
    assert place(projection, well="A01").refused == "deleted"
    assert place(projection, well="A02").refused == "deleted"
    again = place(projection, Context(run="second"), well="A01")
    assert again.changed == {"new_layer"}
    assert again.layer_id != gone.layer_id
    assert names(projection) == ["Step_02_gaussian_blur"]


CONFLICTS = [
    # first (producer, path), second -> refused?
    (("a", "/plate/x.tif"), ("a", "/plate/x.tif"), False),
    (
        ("worker 1", "/plate/x.tif"),
        ("worker 2", "/plate/x.tif"),
        False,
    ),  # a task done again by another worker
    (("a", "/plate/x.tif"), ("a", "/plate/x_thumb.tif"), True),
    (("a", ""), ("b", ""), True),
    (("a", ""), ("a", "/plate/x.tif"), False),
    (("a", ""), ("b", "/plate/x.tif"), True),
    (("", ""), ("b", ""), False),
    (("", ""), ("", ""), False),
]


@pytest.mark.parametrize(("first", "second", "refused"), CONFLICTS)
def test_two_producers_on_one_coordinate(
    first: tuple[str, str], second: tuple[str, str], refused: bool
) -> None:
    projection = LayerProjection()
    place(projection, Context(producer=first[0]), well="A01", path=first[1])
    if refused:
        with pytest.raises(ProjectionError, match="is refused; give each"):
            place(projection, Context(producer=second[0]), well="A01", path=second[1])
    else:
        assert not place(projection, Context(producer=second[0]), well="A01", path=second[1]).refused
    assert place(projection, Context(producer=second[0]), well="A02", path=second[1]).layer_id == "layer-1"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"shape": (4,)}, "two axes"),
        ({"shape": (0, 4)}, "no pixels"),
        ({"shape": (3, 4, 4)}, "two axes"),
        ({"dtype": "U3"}, "cannot be shown"),
        ({"kind": "labels", "dtype": "float32"}, "whole numbers"),
        ({"kind": "labels", "shape": (4, 4, 3), "dtype": "uint8"}, "whole numbers"),
        ({"kind": "movie"}, "known: image, labels"),
    ],
)
def test_what_is_no_plane_is_refused_and_changes_nothing(options: dict[str, Any], text: str) -> None:
    projection = LayerProjection()
    with pytest.raises(ProjectionError, match=text):
        place(projection, well="A01", **options)
    assert projection.layers() == ()
    assert projection.axes() == ()


def test_the_first_image_layer_of_a_group_covers_what_is_below_and_the_others_add_to_it() -> None:
    projection = LayerProjection()
    for step, name in ((0, "raw"), (1, "flat")):
        for channel in (1, 2, 3):
            place(projection, Context(step_index=step, step_name=name), channel=channel)
    place(projection, Context(step_index=1, step_name="flat"), kind="labels")
    plans = projection.layers()
    assert [plan.base for plan in plans] == [True, False, False, True, False, False, False]
    assert sorted(plans, key=lambda plan: plan.order) == list(plans)


def test_layers_of_wells_do_not_add_up() -> None:
    projection = LayerProjection()
    context = Context(display=DisplaySpec(modes={"well": "layer"}))
    for well in ("A01", "A02"):
        for channel in (1, 2):
            place(projection, context, well=well, channel=channel)
    assert [plan.base for plan in projection.layers()] == [True, False, True, False]


@pytest.mark.parametrize(
    ("colormap", "channel", "expected"),
    [
        ("gray", "DAPI", "gray"),
        ("magma", 1, "magma"),
        ("auto", "DAPI", "blue"),
        ("auto", "Hoechst 33342", "blue"),
        ("auto", "GFP", "green"),
        ("auto", "mCherry", "magenta"),
        ("auto", "Cy5", "cyan"),
        ("auto", "Brightfield", "gray"),
        ("auto", 1, "blue"),
        ("auto", 2, "green"),
        ("auto", 7, "blue"),
        ("auto", None, "gray"),
    ],
)
def test_colours(colormap: str, channel: Any, expected: str) -> None:
    assert grouping.channel_colormap(colormap, channel) == expected


def test_regions_have_layers_without_size_or_dtype() -> None:
    projection = LayerProjection()
    for well in ("A01", "A02"):
        place(projection, well=well, kind="shapes")
    place(projection, well="A01", kind="points")
    assert [(plan.kind, plan.plane_shape, plan.dtype) for plan in projection.layers()] == [
        ("shapes", (), ""),
        ("points", (), ""),
    ]
    assert projection.find(Context(), key(well="A01"), "shapes") == Placement("layer-1", ("A01",))
    assert projection.find(Context(), key(well="A02"), "points") is None
    assert projection.find(Context(run="other"), key(well="A01"), "shapes") is None
    assert projection.find(Context(), key(well="A01"), "shapes", path="another") is None


KEYS = st.builds(
    ImageKey,
    well=st.sampled_from([None, "A01", "B02"]),
    field=st.sampled_from([None, 1, 2]),
    channel=st.sampled_from([1, "DAPI"]),
    z=st.sampled_from([None, 1, 2, 3]),
)


@settings(max_examples=60, deadline=None)
@given(keys=st.lists(KEYS, min_size=1, max_size=30), seed=st.integers(0, 99))
def test_order_of_arrival_changes_no_slider_and_no_layers_content(keys: list[ImageKey], seed: int) -> None:
    def result(some: list[ImageKey]) -> Any:
        projection = LayerProjection()
        for one in some:
            projection.place(Context(), one, SIZE, U16)
        content = {(plan.components, plan.axes) for plan in projection.layers()}
        return projection.axes(), content, len(projection.layers())

    shuffled = keys.copy()
    random.Random(seed).shuffle(shuffled)
    assert result(keys) == result(shuffled)
    assert len(set(names_of(keys))) == len(names_of(keys))


def names_of(keys: list[ImageKey]) -> list[str]:
    return [plan.name for plan in project_layers([(one, SIZE, U16) for one in keys])]


class CountingInt(int):
    """An index that counts how often it is compared with another."""

    compared = 0

    def __lt__(self, other: Any) -> bool:
        CountingInt.compared += 1
        return int.__lt__(self, other)


def test_the_thousandth_value_costs_what_the_tenth_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouping, "value_key", lambda which, value: (0, CountingInt(value)))
    values = grouping.OrderedValues(Component.T)
    costs = []
    for value in range(1000):
        CountingInt.compared = 0
        values.add(value)
        costs.append(CountingInt.compared)
    assert max(costs) <= 10  # log2(1000), with the tuple's own comparison short-cut
    assert values.as_tuple() == tuple(range(1000))
