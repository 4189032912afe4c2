from __future__ import annotations

import json
import pickle  # noqa: TID251
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from polystore.components import ImageKey
from polystore.errors import RoiError
from polystore.rois import MAX_MASK_PIXELS, MAX_POINTS, ROI, RoiKind, rois_from_wire, rois_to_wire

SQUARE = [[0.0, 0.0], [0.0, 8.0], [8.0, 8.0], [8.0, 0.0]]
HOLE = [[2.0, 2.0], [2.0, 4.0], [4.0, 4.0], [4.0, 2.0]]
COORDINATES = st.floats(-1e6, 1e6)
PROPERTIES = st.dictionaries(
    st.text(st.characters(codec="utf-8"), max_size=4),
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8")),
    max_size=3,
)  # fmt: skip


def points(low: int, high: int) -> st.SearchStrategy[Any]:
    return st.integers(low, high).flatmap(lambda n: hnp.arrays("f8", (n, 2), elements=COORDINATES))


PLACES = st.builds(
    ImageKey, well=st.none() | st.just("B02"), z=st.none() | st.integers(0, 9), t=st.none() | st.integers(0, 9),
    channel=st.none() | st.sampled_from([1, "DAPI"]),
)  # fmt: skip


SHAPES = st.one_of(
    st.builds(
        lambda outline, properties, rings, place: ROI("polygon", outline, properties, None, rings, place),
        points(3, 9), PROPERTIES, st.lists(points(3, 5), max_size=2), PLACES,
    ),
    st.builds(ROI, st.just("polyline"), points(2, 9), PROPERTIES),
    st.builds(ROI, st.sampled_from(["rectangle", "ellipse"]), points(2, 2) | points(4, 4), PROPERTIES),
    st.builds(ROI, st.just("point"), points(1, 9), PROPERTIES),
    st.builds(
        lambda mask, place, properties: ROI("mask", place, properties, mask),
        hnp.arrays("bool", hnp.array_shapes(min_dims=2, max_dims=2, max_side=8)), points(1, 1), PROPERTIES,
    ),
)  # fmt: skip


@given(st.lists(SHAPES, max_size=4))
def test_the_plain_form_crosses_every_wire(rois: list[ROI]) -> None:
    wire = rois_to_wire(rois)
    assert rois_from_wire(wire) == rois
    assert rois_from_wire(msgspec.msgpack.decode(msgspec.msgpack.encode(wire))) == rois
    assert rois_from_wire(json.loads(json.dumps(wire))) == rois
    assert pickle.loads(pickle.dumps(rois)) == rois


def test_the_plain_form_is_documented_by_example() -> None:
    mask = np.array([[0, 1, 1], [1, 0, 0]], bool)
    assert ROI("polygon", [[0, 0], [0, 2], [2, 2]], {"label": 3}).to_wire() == {
        "kind": "polygon",
        "points": [[0.0, 0.0], [0.0, 2.0], [2.0, 2.0]],
        "properties": {"label": 3},
    }
    assert ROI("mask", [[5, 7]], mask=mask).to_wire() == {
        "kind": "mask",
        "points": [[5.0, 7.0]],
        "shape": [2, 3],
        "runs": [1, 3, 2],
    }
    assert ROI("mask", [[0, 0]], mask=np.array([[1]])).to_wire()["runs"] == [0, 1]
    assert ROI("polygon", SQUARE, rings=[HOLE], place={"z_index": "z003", "channel": "DAPI"}).to_wire() == {
        "kind": "polygon",
        "points": SQUARE,
        "rings": [HOLE],
        "place": {"channel": "DAPI", "z": 3},
    }


def test_a_mask_is_cut_to_its_pixels() -> None:
    mask = np.zeros((10, 12), bool)
    mask[3:5, 4:9] = True
    roi = ROI.from_mask(mask, origin=(100, 200), properties={"label": np.int32(3)})
    assert roi.kind is RoiKind.MASK
    assert roi.points.tolist() == [[103.0, 204.0]]
    assert roi.mask is not None
    assert roi.mask.shape == (2, 5)
    assert roi.bounds == (103.0, 204.0, 104.0, 208.0)
    assert roi.properties == {"label": 3}
    for bad in (np.zeros((3, 3)), np.ones(3), np.ones((2, 2, 2))):
        with pytest.raises(RoiError):
            ROI.from_mask(bad)


def test_corners_and_bounds() -> None:
    box = ROI("rectangle", [[5, 1], [2, 8]])
    assert box.bounds == (2.0, 1.0, 5.0, 8.0)
    assert box.corners().tolist() == [[2, 1], [2, 8], [5, 8], [5, 1]]
    turned = ROI("ellipse", [[0, 1], [1, 2], [2, 1], [1, 0]])
    assert turned.corners().tolist() == turned.points.tolist()


def test_regions_keep_copies_and_do_not_change() -> None:
    given_points = np.array([[0.0, 0.0], [1.0, 1.0]])
    given_properties = {"n": 1}
    roi = ROI("polyline", given_points, given_properties)
    given_points += 5
    given_properties["n"] = 2
    assert roi == ROI("polyline", [[0, 0], [1, 1]], {"n": 1})
    assert roi != ROI("polyline", [[0, 0], [1, 1]], {"n": 2})
    assert roi != "roi"
    with pytest.raises(ValueError, match="read-only"):
        roi.points[0, 0] = 1
    with pytest.raises(TypeError):
        roi.properties["n"] = 3  # type: ignore[index]
    with pytest.raises(TypeError):
        hash(roi)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("circle", [[0, 0]]), "known: polygon"), (("polygon", [[0, 0], [1, 1]]), "3 to"),
        (("rectangle", [[0, 0]] * 3), "two opposite corners"), (("point", []), "shape"),
        (("point", [[1, 2, 3]]), "rows"), (("point", [["a", "b"]]), "numbers"),
        (("point", [[np.nan, 0]]), "finite"), (("point", [[1e10, 0]]), "within"),
        (("point", [[0, 0]], {"a": [1]}), "property 'a'"), (("point", [[0, 0]], {1: "a"}), "property 1"),
        (("point", [[0, 0]], []), "must be a map"), (("mask", [[0, 0]]), "needs a mask"),
        (("point", [[0, 0]], {}, [[True]]), "has no mask"), (("mask", [[0, 0]], {}, np.zeros((0, 3))), "pixels"),
        (("ellipse", [[0, 0]] * 5), "2 to 4"), (("polyline", [[0, 0], [1, 1]], {}, None, [SQUARE]), "only a polygon"),
        (("polygon", SQUARE, {}, None, [[[0, 0]]]), "3 to"), (("polygon", SQUARE, {}, None, "abc"), "list of outlines"),
        (("polygon", SQUARE, {}, None, 3), "list of outlines"), (("polygon", SQUARE, {}, None, (), 3), "ImageKey"),
        (("polygon", SQUARE, {}, None, (), {"depth": 3}), "depth"),
        (("polygon", SQUARE, {}, None, (), {"z": -3}), "indices are from 0"),
        (("polygon", SQUARE, {}, None, (), {1: 1}), "ImageKey"),
    ],
)  # fmt: skip
def test_impossible_regions_say_why(arguments: tuple[Any, ...], text: str) -> None:
    with pytest.raises(RoiError, match=text):
        ROI(*arguments)


@pytest.mark.parametrize(
    "wire",
    [
        3, {}, {"kind": "point"}, {"kind": "point", "points": [[0, 0]], "colour": 1},
        {"kind": "mask", "points": [[0, 0]], "shape": [1 << 30, 1 << 30], "runs": [1 << 60]},
        {"kind": "mask", "points": [[0, 0]], "shape": [2, 2], "runs": [3]},
        {"kind": "mask", "points": [[0, 0]], "shape": [2, 2], "runs": [-1, 5]},
        {"kind": "mask", "points": [[0, 0]], "shape": [2, 2], "runs": [True, 3]},
        {"kind": "mask", "points": [[0, 0]], "shape": [2, 2], "runs": "abcd"},
        {"kind": "mask", "points": [[0, 0]], "shape": [2], "runs": [2]},
        {"kind": "mask", "points": [[0, 0]], "shape": [0, 2], "runs": []},
        {"kind": "mask", "points": [[0, 0]], "shape": [2, 2]},
        {"kind": "mask", "points": [[0, 0]], "shape": [2, 2], "runs": [0] * 6},
        {"kind": "polygon", "points": SQUARE, "rings": 1}, {"kind": "polygon", "points": SQUARE, "place": [1]},
        {"kind": "polygon", "points": SQUARE, "place": {"z": []}},
        {"kind": "point", "points": [[0, 0]], "rings": [SQUARE]},
        {"kind": ["point"], "points": [[0, 0]]}, {"kind": "point", "points": {"a": 1}},
    ],
)  # fmt: skip
def test_other_wire_forms_are_refused(wire: Any) -> None:
    with pytest.raises(RoiError):
        ROI.from_wire(wire)


def test_the_largest_mask_is_stated() -> None:
    side = int(MAX_MASK_PIXELS**0.5)
    assert side * side == MAX_MASK_PIXELS
    with pytest.raises(RoiError, match=str(MAX_MASK_PIXELS)):
        ROI.from_wire({"kind": "mask", "points": [[0, 0]], "shape": [side, side + 1], "runs": []})


def test_all_outlines_of_a_polygon_count() -> None:
    ring = np.zeros((MAX_POINTS // 2, 2))
    with pytest.raises(RoiError, match="in all"):
        ROI("polygon", ring, rings=[ring, SQUARE])
    with pytest.raises(RoiError, match="rings"):
        ROI("polygon", SQUARE, rings=[SQUARE] * (MAX_POINTS // 3 + 1))


def test_a_copy_with_changes() -> None:
    roi = ROI("polygon", SQUARE, {"n": 1}, rings=[HOLE], place=ImageKey(z=3))
    assert roi.replace() == roi
    assert roi.replace(place=ImageKey(z=4)) != roi
    assert roi.replace(rings=()) != roi
    assert roi.replace(properties={}).properties == {}
    assert roi.place.z == 3
    with pytest.raises(RoiError, match="'colour'"):
        roi.replace(colour=1)
