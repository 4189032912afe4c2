"""Regions as GeoJSON: by the rules of RFC 7946, as QuPath has them, and back."""

from __future__ import annotations

import io
import json
import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from roi_strategies import HALVES, regions

from polystore.backends import _formats
from polystore.errors import CorruptFileError, UnsupportedFormatError
from polystore.labels import labels_to_rois
from polystore.rois import ROI, RoiKind

FAR = st.floats(-9.9e8, 9.9e8)
SQUARE = [[1.5, 1.5], [1.5, 6.5], [6.5, 6.5], [6.5, 1.5]]
HOLE = [[2.5, 2.5], [3.5, 2.5], [3.5, 3.5], [2.5, 3.5]]
LABELS = hnp.arrays("u1", hnp.array_shapes(min_dims=2, max_dims=3, max_side=8), elements=st.integers(0, 2))


def written(value: Any, **options: Any) -> dict[str, Any]:
    stream = io.BytesIO()
    _formats.write(stream, "a.geojson", value, **options)
    found: dict[str, Any] = json.loads(stream.getvalue())
    return found


def loaded(content: Any) -> list[ROI]:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    rois: list[ROI] = _formats.read(io.BytesIO(text), "a.geojson")
    return rois


def surrogates(rois: list[ROI]) -> bool:
    return any(
        "\ud800" <= sign <= "\udfff"
        for roi in rois
        for item in (*roi.properties, *roi.properties.values())
        for sign in str(item)
    )


# -- the rules of the RFC


def check_rfc7946(content: dict[str, Any]) -> None:
    """Sections 3.1 to 3.3 for what we write."""
    assert content["type"] == "FeatureCollection"
    for feature in content["features"]:
        assert feature["type"] == "Feature"
        assert isinstance(feature["properties"], dict)
        assert not {"coordinates", "geometries", "features"} & feature.keys()
        check_geometry(feature["geometry"])


def check_geometry(geometry: dict[str, Any]) -> None:
    assert not {"geometry", "properties", "features"} & geometry.keys()
    coordinates = geometry["coordinates"]
    match geometry["type"]:
        case "Point":
            check_positions([coordinates])
        case "MultiPoint":
            check_positions(coordinates)
        case "LineString":
            assert len(coordinates) >= 2
            check_positions(coordinates)
        case "Polygon":
            check_polygon(coordinates)
        case "MultiPolygon":
            assert len(coordinates) > 1
            for polygon in coordinates:
                check_polygon(polygon)
        case other:
            raise AssertionError(other)


def check_positions(positions: list[Any]) -> None:
    for position in positions:
        assert len(position) == 2
        assert all(isinstance(number, int | float) and math.isfinite(number) for number in position)


def check_polygon(rings: list[Any]) -> None:
    for index, ring in enumerate(rings):
        check_positions(ring)
        assert len(ring) >= 4
        assert ring[0] == ring[-1]
        shifted = [(x - ring[0][0], y - ring[0][1]) for x, y in ring]
        area = sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairwise(shifted))
        slack = 1e-9 * max(abs(number) for point in shifted for number in point) ** 2
        assert area >= -slack if index == 0 else area <= slack


@given(st.lists(regions(HALVES) | regions(FAR), max_size=3))
def test_regions_come_back_and_the_file_is_by_the_rules(rois: list[ROI]) -> None:
    if surrogates(rois):
        with pytest.raises(UnsupportedFormatError, match="surrogates"):
            written(rois)
        return
    content = written(rois)
    check_rfc7946(content)
    again = loaded(content)
    assert len(again) == len(rois)
    for roi, back in zip(rois, again, strict=True):
        assert (back.kind, back.place) == (roi.kind, roi.place)
        assert {name: repr(value) for name, value in back.properties.items()} == {
            name: repr(value) for name, value in roi.properties.items()
        }
        assert back.mask is None or np.array_equal(back.mask, roi.mask)
        np.testing.assert_allclose(forward(back), forward(roi), rtol=1e-12, atol=1e-6)


def forward(roi: ROI) -> Any:
    """The points in the order in which the RFC wants them."""
    points = roi.points
    if roi.kind is not RoiKind.POLYGON:
        return points
    y, x = (points - points[0]).T
    backward = np.dot(x, np.roll(y, -1)) - np.dot(np.roll(x, -1), y) < 0
    return np.concatenate([points[:1], points[:0:-1]]) if backward else points


@given(LABELS)
def test_labels_with_holes_and_parts_are_the_same_pixels(labels: Any) -> None:
    rois = labels_to_rois(labels)
    content = written(rois)
    check_rfc7946(content)
    for roi, back in zip(rois, loaded(content), strict=True):
        np.testing.assert_array_equal(back.to_mask(labels.shape[-2:]), roi.to_mask(labels.shape[-2:]))
        assert (back.properties, back.place, len(back.rings)) == (roi.properties, roi.place, len(roi.rings))
    masks = labels_to_rois(labels, kind="mask")
    assert loaded(written(masks)) == masks


def test_the_file_is_documented_by_example() -> None:
    roi = ROI(
        "polygon", SQUARE,
        {"name": "cell 3", "classification": "Tumor", "color": "#ff8000", "area": 24, "mean": 0.5, "note": "x",
         "ok": True},
        rings=[HOLE], place={"channel": 2, "z": 3},
    )  # fmt: skip
    assert written(roi) == {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "geometry": {
                    "type": "Polygon",
                    "coordinates": [
                        [[2, 2], [7, 2], [7, 7], [2, 7], [2, 2]],
                        [[3, 3], [3, 4], [4, 4], [4, 3], [3, 3]],
                    ],
                    "plane": {"c": 1, "z": 2, "t": 0},
                },
                "properties": {
                    "objectType": "annotation",
                    "name": "cell 3",
                    "classification": {"name": "Tumor"},
                    "color": [255, 128, 0],
                    "measurements": {"area": 24, "mean": 0.5},
                    "metadata": {"note": "x"},
                    "polystore": {"place": {"channel": 2, "z": 3}, "properties": {"ok": True}},
                },
            }
        ],
    }
    assert loaded(written(roi)) == [roi]


def test_parts_holes_and_islands() -> None:
    beside, island = np.add(SQUARE, 20), [[2.75, 2.75], [2.75, 3.25], [3.25, 3.25], [3.25, 2.75]]
    roi = ROI("polygon", HOLE, rings=[SQUARE, beside, island])
    geometry = written(roi)["features"][0]["geometry"]
    assert geometry["type"] == "MultiPolygon"
    assert [len(polygon) for polygon in geometry["coordinates"]] == [2, 1, 1]
    assert loaded(written(roi))[0].area == roi.area


def test_ellipses_are_ellipses_in_qupath() -> None:
    upright, turned = ROI("ellipse", [[0, 1], [4, 9]]), ROI("ellipse", [[0, 10], [20, 30], [30, 20], [10, 0]])
    features = written([upright, turned])["features"]
    assert features[0]["geometry"]["isEllipse"] is True
    assert "isEllipse" not in features[1]["geometry"]
    xs, ys = np.array(features[0]["geometry"]["coordinates"][0]).T
    assert (xs.min(), ys.min(), xs.max(), ys.max()) == (1.5, 0.5, 9.5, 4.5)
    assert loaded(written([upright, turned])) == [upright, turned]
    del features[0]["properties"]["polystore"]
    assert loaded(features[0]) == [upright]


def test_what_was_edited_elsewhere_wins_over_our_notes() -> None:
    rois = [
        ROI("rectangle", [[1.5, 1.5], [6.5, 6.5]], place={"z": 3, "well": "A01"}),
        ROI("mask", [[2, 3]], mask=np.ones((2, 3))),
        ROI("ellipse", [[1.5, 1.5], [6.5, 6.5]]),
    ]
    content = written(rois)
    for feature in content["features"]:
        ring = feature["geometry"]["coordinates"][0]
        feature["geometry"]["coordinates"][0] = [[x + 10, y] for x, y in ring]
    content["features"][0]["geometry"]["plane"] = {"c": -1, "z": 4, "t": 0}
    box, mask, ellipse = loaded(content)
    assert box.kind is RoiKind.POLYGON
    assert box.bounds == (1.5, 11.5, 6.5, 16.5)
    assert str(box.place) == "well=A01, z=5, t=1"
    assert mask == ROI("mask", [[2, 13]], mask=np.ones((2, 3)))
    assert ellipse == ROI("ellipse", [[1.5, 11.5], [6.5, 16.5]])
    del content["features"][0]["geometry"]["plane"]
    assert str(loaded(content)[0].place) == "well=A01"


def test_a_region_at_the_very_edge_is_refused() -> None:
    for roi in (ROI("point", [[0, 1e9]]), ROI("mask", [[-1e9, 0]], mask=[[1]])):
        with pytest.raises(UnsupportedFormatError, match=r"use \.rois\.json"):
            written(roi)


def test_object_types() -> None:
    rois = [ROI("point", [[0, 0]]), ROI("point", [[0, 0]], {"object_type": "cell"})]
    features = written(rois, object_type="detection")["features"]
    assert [feature["properties"]["objectType"] for feature in features] == ["detection", "cell"]
    assert loaded({"type": "FeatureCollection", "features": features}) == rois


# -- files of others


def test_files_of_qupath_are_read() -> None:
    def feature(**properties: Any) -> dict[str, Any]:
        return {
            "type": "Feature", "id": "c0ffee00-0000-4000-8000-000000000000",
            "geometry": {"type": "Point", "coordinates": [4.5, 2.5], "plane": {"c": -1, "z": 0, "t": 2}},
            "properties": properties,
        }  # fmt: skip

    features = [
        feature(objectType="detection", isLocked=True, classification={"name": "A", "color": [1, 2, 3]}),
        feature(
            object_type="annotation", classification={"names": ["A", "B"], "colorRGB": -1}, color=-3670016
        ),
        feature(measurements=[{"name": "area", "value": 3.5}, {"name": "mean", "value": "NaN"}]),
        feature(
            measurements={"area": 3, "mean": "NaN", "none": None}, metadata={"a": "b"}, color=[1, 2, 300]
        ),
        feature(population=7, place={"x": [1]}, ok=None),
    ]
    found = [dict(roi.properties) for roi in loaded(features)]
    assert found[0] == {"object_type": "detection", "isLocked": True, "classification": "A"}
    assert found[1] == {"object_type": "annotation", "classification": "A: B", "color": "#c80000"}
    assert repr(found[2]) == "{'area': 3.5, 'mean': nan}"
    assert repr(found[3]) == "{'area': 3, 'mean': nan, 'a': 'b', 'color': None}"
    assert found[4] == {"population": 7, "place": '{"x":[1]}', "ok": None}
    assert {str(roi.place) for roi in loaded(features)} == {"z=1, t=3"}
    assert loaded(features)[0].points.tolist() == [[2, 4]]


def test_geometries_of_all_kinds_are_read() -> None:
    ring = [[0, 0], [4, 0], [4, 4], [0, 0]]
    collection = {
        "type": "GeometryCollection",
        "geometries": [
            {"type": "MultiLineString", "coordinates": [[[0, 0], [1, 1, 99]], [[2, 2], [3, 3]]]},
            {"type": "MultiPolygon", "coordinates": [[ring], [[[9, 9], [12, 9], [12, 12], [9, 9]]]]},
        ],
    }
    found = loaded({"type": "Feature", "geometry": collection, "properties": {"n": 1}})
    assert [roi.kind.value for roi in found] == ["polyline", "polyline", "polygon"]
    assert [roi.properties for roi in found] == [{"n": 1}] * 3
    assert found[0].points.tolist() == [[-0.5, -0.5], [0.5, 0.5]]
    assert found[2].area == 8 + 4.5
    assert loaded(collection) == [roi.replace(properties={}) for roi in found]
    assert loaded({"type": "Polygon", "coordinates": [ring]})[0].area == 8


@pytest.mark.parametrize(
    ("content", "error", "text"),
    [
        (3, CorruptFileError, "begins with"), ({"type": "Topology"}, CorruptFileError, "Topology"),
        ({"type": "FeatureCollection"}, CorruptFileError, "list of features"), (b"{", CorruptFileError, "geojson"),
        ([{"type": "Feature", "geometry": None}], UnsupportedFormatError, "feature 0: it has no geometry"),
        ([{"geometry": {"type": "Circle", "coordinates": []}}], CorruptFileError, "Circle"),
        ([{"geometry": {"type": "Point"}}], CorruptFileError, "without coordinates"),
        ([{"geometry": {"type": "Point", "coordinates": [1]}}], CorruptFileError, "feature 0"),
        ([{"geometry": {"type": "Polygon", "coordinates": []}}], CorruptFileError, "feature 0"),
        ([{"geometry": {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [0, 0]]]}}], CorruptFileError, "feature 0"),
        ([{"geometry": {"type": "Point", "coordinates": ["a", "b"]}}], CorruptFileError, "feature 0"),
        ([{"geometry": {"type": "Point", "coordinates": [1e300, 0]}}], CorruptFileError, "within"),
        ([{"geometry": {}}], CorruptFileError, "feature 0"), ([3], CorruptFileError, "feature 0"),
        ([{"geometry": {"type": "Point", "coordinates": [0, 0], "plane": {"z": -9}}}], CorruptFileError, "feature 0"),
        (b"[" * 100_000, CorruptFileError, "geojson"),
    ],
)  # fmt: skip
def test_what_is_no_geojson_is_told(content: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        loaded(content)


def test_notes_that_are_no_notes_are_left_alone() -> None:
    (feature,) = written(ROI("mask", [[0, 0]], mask=np.ones((2, 2))))["features"]
    for frame in ([10**9, 10**9, 0, 0], [1, 1, 5, 5], ["a"], [-1, 2, 0, 0], [2.0, 2, 0, 0]):
        feature["properties"]["polystore"]["frame"] = frame
        assert loaded(feature) == [ROI("mask", [[0, 0]], mask=np.ones((2, 2)))]
    feature["properties"]["polystore"] = [1]
    assert loaded(feature)[0].kind is RoiKind.POLYGON
