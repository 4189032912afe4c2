"""Labels to regions and back: exactly, in any number of planes, whatever the labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from polystore.components import Component, ImageKey
from polystore.errors import RoiError, UnsupportedArrayError
from polystore.labels import _extract as extract
from polystore.labels import (
    labels_to_rois,
    measure_labels,
    merge_labels,
    relabel_sequential,
    rois_to_labels,
)
from polystore.rois import MAX_POINTS, ROI

LABELS = st.sampled_from(["u1", "u2", "i4", "i8", "u8", ">u2"]).flatmap(
    lambda dtype: hnp.arrays(
        np.dtype(dtype),
        hnp.array_shapes(min_dims=2, max_dims=4, max_side=6),
        elements=st.sampled_from([0, 0, 1, 2, 100, int(np.iinfo(dtype).max)]),
    )
)


@given(LABELS, st.sampled_from(["polygon", "mask"]))
def test_painting_the_regions_gives_the_labels_back(labels: Any, kind: str) -> None:
    rois = labels_to_rois(labels, kind=kind)
    np.testing.assert_array_equal(rois_to_labels(rois, labels.shape, dtype="u8"), labels)


@given(LABELS)
def test_regions_are_what_counting_pixels_says(labels: Any) -> None:
    planes = labels.reshape(-1, *labels.shape[-2:])
    expected = [
        (index, int(label)) for index, plane in enumerate(planes) for label in np.unique(plane) if label
    ]
    keys = list(np.ndindex(labels.shape[:-2]))
    found = {kind: labels_to_rois(labels, kind=kind) for kind in ("polygon", "mask", "rectangle", "point")}
    for rois in found.values():
        assert len(rois) == len(expected)
    for position, (index, label) in enumerate(expected):
        pixels = np.argwhere(planes[index] == label)
        for rois in found.values():
            roi = rois[position]
            assert roi.properties == {"label": label, "area": len(pixels)}
            assert place_of(roi.place) == tuple(value + 1 for value in keys[index])
        assert found["polygon"][position].area == found["mask"][position].area == len(pixels)
        np.testing.assert_allclose(found["point"][position].centroid, pixels.mean(axis=0))
        low, high = pixels.min(axis=0), pixels.max(axis=0)
        np.testing.assert_array_equal(found["rectangle"][position].points, [low - 0.5, high + 0.5])
        assert found["mask"][position] == ROI.from_mask(
            planes[index] == label, properties=found["mask"][position].properties, place=roi.place
        )


def place_of(key: ImageKey) -> tuple[Any, ...]:
    return tuple(value for value in (key.t, key.channel, key.z) if value is not None)


@given(LABELS)
def test_measures_are_what_counting_pixels_says(labels: Any) -> None:
    image = np.arange(labels.size, dtype="f4").reshape(labels.shape)[::-1]
    table = measure_labels(labels, image)
    known = [label for label in np.unique(labels) if label]
    assert table.labels.tolist() == known
    assert len(table) == len(known)
    for index, label in enumerate(known):
        pixels = np.argwhere(labels == label)
        assert table.areas[index] == len(pixels)
        np.testing.assert_allclose(table.centroids[index], pixels.mean(axis=0))
        np.testing.assert_array_equal(table.lows[index], pixels.min(axis=0))
        np.testing.assert_array_equal(table.highs[index], pixels.max(axis=0))
        inside = image[labels == label].astype(float)
        np.testing.assert_allclose(table.means[index], inside.mean())
        assert (table.minima[index], table.maxima[index]) == (inside.min(), inside.max())


def test_rows_of_a_table() -> None:
    labels = np.array([[0, 5, 5], [0, 0, 5]])
    assert measure_labels(labels, labels * 2).rows() == [
        {
            "label": 5, "area": 3, "centroid_y": pytest.approx(1 / 3), "centroid_x": pytest.approx(5 / 3),
            "min_y": 0, "max_y": 1, "min_x": 1, "max_x": 2,
            "intensity_mean": 10.0, "intensity_min": 10, "intensity_max": 10,
        }
    ]  # fmt: skip
    assert measure_labels(labels > 0).rows()[0]["label"] == 1
    assert measure_labels(np.zeros((3, 3), "u1"), np.zeros((3, 3))).rows() == []
    assert measure_labels(np.zeros((0, 3), "u1")).rows() == []
    with pytest.raises(RoiError, match="same shape"):
        measure_labels(labels, labels[:1])
    with pytest.raises(RoiError, match="real numbers"):
        measure_labels(labels, labels * 1j)


def test_a_stack_of_planes() -> None:
    labels = np.zeros((2, 3, 8, 8), "u2")
    labels[0, 1, 2:4, 2:4] = 7
    labels[1, 1:, 2:4, 2:4] = 7
    well = ImageKey(well="A01", field=2)
    rois = labels_to_rois(labels, axes="tzyx", place=well, properties={7: {"class": "cell", "area": 1.5}})
    assert [str(roi.place) for roi in rois] == [
        "well=A01, field=2, z=2, t=1",
        "well=A01, field=2, z=2, t=2",
        "well=A01, field=2, z=3, t=2",
    ]
    assert rois[0].properties == {"label": 7, "area": 1.5, "class": "cell"}
    named = labels_to_rois(labels, axes="czyx", values={"c": ["DAPI", "w2"], "z": [0, 5, 10]})
    assert [(roi.place.channel, roi.place.z) for roi in named] == [("DAPI", 5), (2, 5), (2, 10)]
    again = rois_to_labels(named, labels.shape, axes="czyx", values={"c": ["DAPI", "w2"], "z": [0, 5, 10]})
    np.testing.assert_array_equal(again, labels)


def test_a_region_without_a_plane_is_in_all() -> None:
    square = ROI("rectangle", [[0.5, 0.5], [2.5, 2.5]])
    assert rois_to_labels([square], (4, 3, 5, 5)).sum() == 4 * 3 * 4
    assert rois_to_labels([square.replace(place=ImageKey(z=2))], (4, 3, 5, 5))[:, 1].sum() == 4 * 4
    assert rois_to_labels([square.replace(place=ImageKey(z=2))], (5, 5)).sum() == 4
    with pytest.raises(RoiError, match="z=9, but the image has z 1, 2, 3"):
        rois_to_labels([square.replace(place=ImageKey(z=9))], (3, 5, 5))


def test_numbers_of_painted_regions() -> None:
    boxes = [ROI("rectangle", [[0, n], [1, n + 1]], {"label": 9} if n == 1 else {}) for n in range(3)]
    painted = rois_to_labels(boxes, (1, 3))
    assert painted.tolist() == [[10, 9, 11]]
    assert painted.dtype == "uint16"
    assert rois_to_labels([boxes[0].replace(properties={"label": 2**16})], (1, 3)).dtype == "uint32"
    assert rois_to_labels([boxes[0].replace(properties={"label": 2**32})], (1, 3)).dtype == "uint64"
    assert rois_to_labels([], (2, 2)).sum() == 0
    for label in (0, -1, True, 1.0, "7", 2**64):
        with pytest.raises(RoiError, match="label"):
            rois_to_labels([boxes[0].replace(properties={"label": label})], (1, 3))
    for dtype in ("u1", "f4"):
        with pytest.raises(RoiError, match="larger integer"):
            rois_to_labels([boxes[0].replace(properties={"label": 300})], (1, 3), dtype=dtype)


def test_who_gets_a_pixel_that_two_want() -> None:
    pair = [ROI("rectangle", [[0, n], [1, n + 2]]) for n in range(2)]
    assert rois_to_labels(pair, (1, 3)).tolist() == [[1, 2, 2]]
    assert rois_to_labels(pair, (1, 3), overlap="earlier").tolist() == [[1, 1, 2]]
    with pytest.raises(RoiError, match="label 2 lies over label 1"):
        rois_to_labels(pair, (1, 3), overlap="refuse")
    assert rois_to_labels(pair[:1] * 2, (1, 3), overlap="later").max() == 2
    with pytest.raises(RoiError, match="known: later"):
        rois_to_labels(pair, (1, 3), overlap="last")  # type: ignore[arg-type]


def test_bool_images_are_one_object() -> None:
    mask = np.array([[1, 0, 1], [0, 0, 0]], bool)
    (roi,) = labels_to_rois(mask)
    assert roi.properties == {"label": 1, "area": 2}
    assert type(roi.properties["label"]) is int
    assert len(roi.rings) == 1


def test_what_are_no_labels() -> None:
    for bad, error, text in (
        (np.ones((3, 3)), UnsupportedArrayError, "astype"), (np.array([[-3, 1]]), RoiError, "-3"),
        (np.zeros(3, int), RoiError, "shape"), (np.zeros((1,) * 6, int), RoiError, "name them"),
    ):  # fmt: skip
        for function in (labels_to_rois, measure_labels, relabel_sequential):
            if np.ndim(bad) == 6 and function is relabel_sequential:
                continue
            with pytest.raises(error, match=text):
                function(bad)
    image = np.zeros((2, 3, 4), int)
    for axes in ("yx", "zxy", "syx", "zzyx", "tzyx", "yyx"):
        with pytest.raises(RoiError, match="axes"):
            labels_to_rois(image, axes=axes)
    for values in ({"z": [1]}, {"z": [1, 1]}, {"c": [1, 2]}):
        with pytest.raises(RoiError, match="values for axis"):
            labels_to_rois(image, values=values)
    with pytest.raises(RoiError, match="known: polygon"):
        labels_to_rois(image, kind="ellipse")
    with pytest.raises(RoiError, match="known: polygon"):
        labels_to_rois(image, kind="blob")
    assert labels_to_rois(np.zeros((0, 4), int)) == labels_to_rois(np.zeros((4, 4), int)) == []


def test_an_outline_too_long_is_told_with_its_label() -> None:
    noise = np.zeros((1024, 1024), "u1")
    noise[::2, ::2] = 3
    assert noise.sum() // 3 * 4 > MAX_POINTS
    with pytest.raises(RoiError, match="label 3: .* one label"):
        labels_to_rois(noise)
    assert labels_to_rois(noise, kind="mask")[0].area == 512 * 512


def test_masks_that_would_not_fit_in_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extract, "MAX_MASKS_PIXELS", 30)
    labels = np.zeros((8, 8), int)
    labels[0, 0] = labels[7, 7] = 1
    with pytest.raises(RoiError, match="64 pixels"):
        labels_to_rois(labels, kind="mask")


# -- merged and renumbered


@given(LABELS, st.integers(1, 5))
def test_numbers_without_gaps(labels: Any, start: int) -> None:
    new, old = relabel_sequential(labels, start)
    assert old.tolist() == [label for label in np.unique(labels) if label]
    assert np.unique(new[new > 0]).tolist() == list(range(start, start + len(old)))
    back = np.zeros(labels.shape, "u8")
    back[new > 0] = old[new[new > 0].astype(int) - start]
    np.testing.assert_array_equal(back, labels)
    assert new.dtype == "uint16"


def test_merging() -> None:
    labels = np.array([[[1, 2], [3, 0]], [[4, 5], [1, 7]]], "u1")
    assert merge_labels(labels, [[3, 1], (7, 4, 5)]).tolist() == [[[1, 2], [1, 0]], [[4, 4], [1, 4]]]
    assert merge_labels(labels, [[3, 1]]).dtype == labels.dtype
    assert labels[0, 1, 0] == 3
    with pytest.raises(RoiError, match="9 is not in the image"):
        merge_labels(labels, [[1, 9]])
    with pytest.raises(RoiError, match="0 is not in the image"):
        merge_labels(labels, [[1, 0]])
    with pytest.raises(RoiError, match="two groups"):
        merge_labels(labels, [[1, 2], [2, 3]])
    with pytest.raises(RoiError, match="start"):
        relabel_sequential(labels, 0)


# -- cost


class Counting(np.ndarray):
    """An array that counts the NumPy calls that touch as many elements as an image has pixels."""

    limit = 1 << 60
    calls = 0

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        plain = [np.asarray(item) if isinstance(item, Counting) else item for item in inputs]
        Counting.calls += any(getattr(item, "size", 1) >= Counting.limit for item in plain)
        out = kwargs.get("out")
        if out:
            kwargs["out"] = tuple(np.asarray(item) for item in out)
        result = getattr(ufunc, method)(*plain, **kwargs)
        return result.view(Counting) if isinstance(result, np.ndarray) else result

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        Counting.calls += any(item.size >= Counting.limit for item in args if isinstance(item, np.ndarray))
        return super().__array_function__(func, types, args, kwargs)


def spots(side: int, count: int) -> Any:
    """Squares of 8 pixels, always as many of them, in ``count`` labels."""
    labels = np.full((side, side), 0, "i8")
    places = [(y, x) for y in range(0, side, 16) for x in range(0, side, 16)]
    for index, (y, x) in enumerate(places):
        labels[y : y + 8, x : x + 8] = 1 + (index % count) * (2**62 // count)
    return labels


@pytest.mark.parametrize("kind", ["polygon", "mask", "rectangle", "point"])
def test_the_image_is_passed_over_as_often_for_a_thousand_objects_as_for_two(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Counting, "limit", 512 * 512 // 2)
    monkeypatch.setattr(extract, "checked_labels", lambda labels: labels)
    zeros = np.zeros
    monkeypatch.setattr(
        np, "zeros", lambda *shape: zeros(*shape).view(Counting)
    )  # the padded copy of a plane
    passes = []
    for count in (2, 1024):
        Counting.calls = 0
        rois = labels_to_rois(spots(512, count).view(Counting), kind=kind)
        assert len(rois) == count
        passes.append(Counting.calls)
    assert passes[0] == passes[1]
    assert 0 < passes[0] <= 12


def test_ten_thousand_objects() -> None:
    labels = np.zeros((1600, 1600), "u4")
    for index in range(10_000):
        y, x = divmod(index, 100)
        labels[y * 16 + 2 : y * 16 + 12, x * 16 + 2 : x * 16 + 12] = index + 1
        labels[y * 16 + 5, x * 16 + 5] = 0
    rois = labels_to_rois(labels)
    assert len(rois) == 10_000
    assert {len(roi.rings) for roi in rois} == {1}
    assert {roi.properties["area"] for roi in rois} == {99}
    np.testing.assert_array_equal(rois_to_labels(rois, labels.shape), labels)


def test_every_axis_has_its_component() -> None:
    from polystore.labels._runs import AXES

    assert set(AXES.values()) == {Component.T, Component.CHANNEL, Component.Z}
