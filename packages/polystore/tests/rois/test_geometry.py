"""Areas, centres, masks and outlines, against counting pixels and against formulas."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from polystore.errors import RoiError
from polystore.rois import ROI, RoiKind, _nesting
from polystore.rois._geometry import ellipse_axes
from polystore.rois._nesting import depths, nested

MASKS = hnp.arrays("bool", hnp.array_shapes(min_dims=2, max_dims=2, max_side=9)).filter(
    lambda mask: mask.any()
)
SQUARE = [[-0.5, -0.5], [-0.5, 7.5], [7.5, 7.5], [7.5, -0.5]]
HOLE = [[1.5, 1.5], [1.5, 3.5], [3.5, 3.5], [3.5, 1.5]]
BESIDE = [[20.5, 20.5], [20.5, 22.5], [22.5, 22.5], [22.5, 20.5]]
ISLAND = [[2, 2], [2, 3], [3, 3], [3, 2]]


@given(MASKS, st.integers(-3, 9), st.integers(-3, 9))
def test_the_outline_of_a_mask_filled_is_the_mask(mask: Any, y: int, x: int) -> None:
    roi = ROI("mask", [[y, x]], {"n": 1}, mask, (), {"z": 2})
    polygon = roi.as_polygon()
    assert (polygon.kind, polygon.properties, polygon.place) == (RoiKind.POLYGON, {"n": 1}, roi.place)
    assert polygon.as_mask() == ROI.from_mask(mask, (y, x), {"n": 1}, {"z": 2})
    whole = np.zeros((25, 25), bool)
    whole[y + 5 : y + 5 + mask.shape[0], x + 5 : x + 5 + mask.shape[1]] = mask
    for shape in (roi, polygon):
        np.testing.assert_array_equal(shape.to_mask((25, 25), (-5, -5)), whole)
        assert shape.area == mask.sum()
        np.testing.assert_allclose(shape.centroid, np.argwhere(whole).mean(axis=0) - 5)


@given(MASKS)
def test_outlines_are_closed_along_pixel_edges_and_pass_no_corner_twice(mask: Any) -> None:
    sides = np.pad(mask, 1)
    edges = (sides[1:] != sides[:-1]).sum() + (sides[:, 1:] != sides[:, :-1]).sum()
    walked = 0.0
    for ring in ROI("mask", [[0, 0]], mask=mask).outlines():
        assert len({tuple(point) for point in ring.tolist()}) == len(ring) >= 4
        steps = np.abs(np.diff(np.concatenate([ring, ring[:1]]), axis=0))
        assert ((steps > 0).sum(axis=1) == 1).all()  # upright or level
        assert (np.diff(steps[:, 0] > 0) != 0).all()  # and a corner at each point
        walked += steps.sum()
    assert walked == edges


@given(MASKS)
def test_parts_and_holes_are_told_apart(mask: Any) -> None:
    """Parts are what touches along sides; holes what of the rest touches along sides or corners."""
    parts = nested(ROI("mask", [[0, 0]], mask=mask).outlines())
    outside = np.pad(~mask, 1, constant_values=True)
    assert len(parts) == components(mask, corners=False)
    assert sum(len(part) - 1 for part in parts) >= components(outside, corners=True) - 1
    filled = np.zeros(mask.shape, int)
    for part in parts:
        one = ROI("polygon", part[0], rings=part[1:]).to_mask(mask.shape)
        assert components(one, corners=False) == 1
        filled += one
    np.testing.assert_array_equal(filled, mask)


def components(mask: Any, *, corners: bool) -> int:
    """How many there are, by flooding."""
    left = {(int(y), int(x)) for y, x in np.argwhere(mask)}
    found = 0
    while left:
        found += 1
        edge = [left.pop()]
        while edge:
            y, x = edge.pop()
            for dy in (-1, 0, 1):
                for dx in (-1, 0, 1):
                    near = (y + dy, x + dx)
                    if (corners or dy * dx == 0) and near in left:
                        left.remove(near)
                        edge.append(near)
    return found


@given(
    st.lists(st.tuples(st.floats(-3, 12), st.floats(-3, 12)), min_size=3, max_size=7),
    st.lists(st.tuples(st.floats(-3, 12), st.floats(-3, 12)), min_size=3, max_size=4),
)
def test_filling_is_the_rule_of_odd_and_even(outline: Any, ring: Any) -> None:
    roi = ROI("polygon", outline, rings=[ring])
    expected = np.zeros((9, 9), bool)
    for y in range(9):
        for x in range(9):
            crossings = sum(crossed_before(points, y, x) for points in (outline, ring))
            expected[y, x] = crossings % 2
    np.testing.assert_array_equal(roi.to_mask((9, 9)), expected)
    np.testing.assert_array_equal(roi.to_mask((4, 5), (3, 2)), expected[3:7, 2:7])


def crossed_before(points: Any, y: int, x: int) -> int:
    """Sides crossed by a level ray from the left up to a pixel's centre, that included."""
    count = 0
    for (y0, x0), (y1, x1) in zip(points, [*points[1:], points[0]], strict=True):
        (low, at_low), (high, at_high) = sorted([(y0, x0), (y1, x1)], key=lambda point: point[0])
        if low <= y < high:
            count += at_low + (y - low) / (high - low) * (at_high - at_low) <= x
    return count


def test_areas_and_centres_of_shapes() -> None:
    with_hole = ROI("polygon", SQUARE, rings=[HOLE])
    assert ROI("polygon", SQUARE).area == 64
    assert ROI("polygon", SQUARE[::-1]).area == 64
    assert with_hole.area == 60
    assert ROI("polygon", HOLE, rings=[SQUARE]).area == 60
    assert ROI("polygon", SQUARE, rings=[HOLE, BESIDE]).area == 64
    assert ROI("polygon", SQUARE, rings=[HOLE, ISLAND]).area == 61
    np.testing.assert_allclose(with_hole.centroid, (64 * 3.5 - 4 * 2.5) / 60)
    assert ROI("polygon", SQUARE, rings=[SQUARE]).area == 0
    assert ROI("rectangle", [[5, 1], [2, 8]]).area == 21
    assert ROI("rectangle", [[5, 1], [2, 8]]).centroid == (3.5, 4.5)
    assert ROI("rectangle", [[0, 1], [1, 2], [2, 1], [1, 0]]).area == pytest.approx(2)
    assert ROI("ellipse", [[0, 0], [4, 6]]).area == pytest.approx(math.pi * 6)
    assert ROI("ellipse", [[0, 0], [4, 6]]).centroid == (2, 3)
    assert ROI("polyline", [[0, 0], [0, 4], [3, 4]]).area == 0
    assert ROI("polyline", [[0, 0], [0, 4], [4, 4]]).centroid == (1, 3)
    assert ROI("polyline", [[2, 3], [2, 3]]).centroid == (2, 3)
    assert ROI("point", [[0, 0], [4, 2]]).centroid == (2, 1)
    assert ROI("polygon", [[1, 1], [1, 1], [1, 4]]).centroid == (1, 2)
    assert ROI("mask", [[3, 4]], mask=np.zeros((3, 5))).centroid == (4, 6)


def test_a_shape_far_out_loses_no_digits() -> None:
    far = 1e8
    roi = ROI("polygon", np.add(SQUARE, far))
    assert roi.area == 64
    np.testing.assert_allclose(np.subtract(roi.centroid, far), 3.5)


def test_parts_of_a_polygon() -> None:
    parts = nested([np.array(ring, float) for ring in (HOLE, BESIDE, SQUARE, ISLAND)])
    assert [[ring.tolist() for ring in part] for part in parts] == [[BESIDE], [SQUARE, HOLE], [ISLAND]]


def test_what_shapes_cover() -> None:
    assert picture(ROI("rectangle", [[0.5, 0.5], [3.5, 2.5]])) == [
        ".....",
        ".##..",
        ".##..",
        ".##..",
        ".....",
    ]
    assert picture(ROI("rectangle", [[1, 1], [3, 3]])) == [".....", ".##..", ".##..", ".....", "....."]
    assert picture(ROI("ellipse", [[-0.5, -0.5], [4.5, 4.5]])) == [
        ".###.",
        "#####",
        "#####",
        "#####",
        ".###.",
    ]
    assert picture(ROI("ellipse", [[0, 2], [2, 4], [4, 2], [2, 0]])) == [
        ".....",
        ".###.",
        ".###.",
        ".###.",
        ".....",
    ]
    assert picture(ROI("ellipse", [[2, 0], [2, 4]])) == ["....."] * 5
    assert picture(ROI("point", [[0, 0], [1.4, 3.5], [9, 9]])) == [
        "#....",
        "....#",
        ".....",
        ".....",
        ".....",
    ]
    assert picture(ROI("polyline", [[0, 0], [0, 2], [4, 4]])) == ["###..", "...#.", "...#.", "....#", "....#"]
    assert picture(ROI("polyline", [[-9, 2], [99, 2]])) == ["..#.."] * 5
    assert picture(ROI("mask", [[3.4, -1]], mask=np.ones((3, 3)))) == [
        ".....",
        ".....",
        ".....",
        "##...",
        "##...",
    ]
    assert picture(ROI("mask", [[8, 8]], mask=np.ones((3, 3)))) == ["....."] * 5
    assert picture(ROI("polygon", [[9, 9], [9, 12], [12, 12]])) == ["....."] * 5


def picture(roi: ROI) -> list[str]:
    return ["".join(".#"[pixel] for pixel in row) for row in roi.to_mask((5, 5)).astype(int)]


def test_conversions_that_cannot_be() -> None:
    for roi in (ROI("point", [[0, 0]]), ROI("polyline", [[0, 0], [1, 1]])):
        with pytest.raises(RoiError, match="encloses nothing"):
            roi.as_polygon()
    with pytest.raises(RoiError, match="without a true pixel"):
        ROI("mask", [[0, 0]], mask=np.zeros((2, 2))).as_polygon()
    with pytest.raises(RoiError, match="marks no region"):
        ROI("rectangle", [[0.1, 0.1], [0.2, 0.2]]).as_mask()
    with pytest.raises(RoiError, match="at most"):
        ROI("rectangle", [[0, 0], [1e8, 1e8]]).as_mask()
    with pytest.raises(RoiError, match="cannot be drawn"):
        ROI("polyline", [[0, 0], [1e8, 1e8]]).to_mask((5, 5))
    assert ROI("rectangle", [[0, 0], [1e8, 1e8]]).to_mask((5, 5)).all()


def test_conversions_of_other_shapes() -> None:
    box = ROI("rectangle", [[0, 0], [4, 6]], {"n": 1})
    assert box.as_polygon() == ROI("polygon", [[0, 0], [0, 6], [4, 6], [4, 0]], {"n": 1})
    assert box.as_polygon().as_polygon() == box.as_polygon()
    round_one = ROI("ellipse", [[-10, -10], [10, 20]]).as_polygon()
    assert round_one.bounds == (-10, -10, 10, 20)
    assert round_one.area == pytest.approx(math.pi * 150, rel=0.002)
    assert ROI("point", [[3, 4], [5, 4]]).as_mask() == ROI("mask", [[3, 4]], mask=[[1], [0], [1]])
    assert ROI("mask", [[0, 0]], mask=[[1]]).as_mask() == ROI("mask", [[0, 0]], mask=[[1]])


@given(hnp.arrays("f8", (3, 2), elements=st.floats(-50, 50)))
def test_the_axes_of_an_ellipse_are_at_right_angles_and_on_it(box: Any) -> None:
    """In any parallelogram: the ellipse through the ends of its axes is the one in the box."""
    corners = np.array([box[0], box[1], box[1] + box[2], box[0] + box[2]])
    centre, axes = ellipse_axes(corners)
    np.testing.assert_allclose(axes[0] @ axes[1], 0, atol=1e-6)
    sides = np.array([corners[1] - corners[0], corners[3] - corners[0]]) / 2
    np.testing.assert_allclose(axes.T @ axes, sides.T @ sides, atol=1e-6)  # the same quadratic form
    np.testing.assert_allclose(centre, corners.mean(axis=0))


def test_a_line_of_very_many_corners_is_drawn_in_one_go() -> None:
    zigzag = np.stack([np.arange(200_000) % 5, np.arange(200_000) % 4], axis=1)
    assert ROI("polyline", zigzag).to_mask((5, 4)).all()


def test_a_polygon_of_many_crossings_is_filled_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    from polystore.rois import _raster

    rng = np.random.default_rng(3)
    roi = ROI("polygon", rng.uniform(0, 64, (500, 2)))
    whole = roi.to_mask((64, 64))
    monkeypatch.setattr(_raster, "BLOCK", 50)
    np.testing.assert_array_equal(roi.to_mask((64, 64)), whole)
    line = ROI("polyline", rng.uniform(0, 64, (50, 2)))
    parts = line.to_mask((64, 64))
    monkeypatch.undo()
    np.testing.assert_array_equal(line.to_mask((64, 64)), parts)


@given(st.lists(st.tuples(*[st.integers(0, 12)] * 4), min_size=1, max_size=8))
def test_nesting_is_what_boxes_within_boxes_say(sizes: Any) -> None:
    boxes: list[tuple[int, ...]] = []
    for y, x, height, width in sizes:
        box = (y * 3, x * 3, y * 3 + height * 5 + 1, x * 3 + width * 5 + 1)
        if all(apart(box, other) or within(box, other) or within(other, box) for other in boxes):
            boxes.append(box)
    rings = [ROI("rectangle", [box[:2], box[2:]]).outlines()[0] for box in boxes]
    deep, around = depths(rings)
    for index, box in enumerate(boxes):
        outer = [other for other in boxes if within(box, other)]
        nearest = min(outer, key=lambda other: (other[2] - other[0]) * (other[3] - other[1]), default=None)
        assert deep[index] == len(outer)
        assert around[index] == (-1 if nearest is None else boxes.index(nearest))


def apart(box: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return box[2] < other[0] or other[2] < box[0] or box[3] < other[1] or other[3] < box[1]


def within(box: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return box[0] > other[0] and box[1] > other[1] and box[2] < other[2] and box[3] < other[3]


def test_a_mask_of_very_many_holes_is_nested_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = np.ones((301, 301), bool)
    mask[1::2, 1::2] = False
    mask[100:200, 100:200] = False
    mask[110:120, 110:120] = True
    rings = ROI("mask", [[0, 0]], mask=mask).outlines()
    deep, around = depths(rings)
    assert len(rings) > 19_000
    assert np.bincount(deep).tolist() == [1, len(rings) - 2, 1]
    assert set(around.tolist()) == {-1, 0, around[deep == 2][0]}
    monkeypatch.setattr(_nesting, "BLOCK", 1000)
    for first, second in zip(depths(rings), (deep, around), strict=True):
        np.testing.assert_array_equal(first, second)
