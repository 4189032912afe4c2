"""Regions of every kind, for hypothesis."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from polystore.components import ImageKey
from polystore.rois import ROI

TEXT = st.text(max_size=8) | st.sampled_from(
    [
        "3",
        "3.0",
        "true",
        "null",
        "NaN",
        '"a"',
        '"',
        " x",
        "x ",
        "a: b",
        "a=b",
        "#c",
        "\\",
        "\\n",
        "µm",
        "🔬",
        "1e5",
        "-",
    ]
)
PROPERTIES = st.dictionaries(
    st.sampled_from(["name", "color", "group", "classification", "object_type", "label", "area", "mean µ", ""]) | TEXT,
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT
    | st.sampled_from(["#ff0080", "#ff008040", "#FF0080", "0001-0002-0003", "annotation", "detection", 7, 300]),
    max_size=5,
).filter(lambda properties: not any(name.startswith("polystore.") for name in properties))  # fmt: skip
PLACES = st.builds(
    ImageKey, well=st.none() | st.just("B02"), z=st.none() | st.integers(0, 9), t=st.none() | st.integers(0, 9),
    channel=st.none() | st.sampled_from([0, 1, 2, "DAPI"]),
)  # fmt: skip

HALVES = st.integers(-2000, 40000).map(lambda number: number / 2)
FLOATS = st.floats(-1e4, 1e5, width=32)
FAR = st.floats(-8e6, 8e6)
FARTHEST = st.floats(-1e9, 1e9)


def points(low: int, high: int, numbers: st.SearchStrategy[float]) -> st.SearchStrategy[Any]:
    return st.integers(low, high).flatmap(lambda count: hnp.arrays("f8", (count, 2), elements=numbers))


def upright(numbers: st.SearchStrategy[float]) -> st.SearchStrategy[Any]:
    """Boxes from upper left to lower right, the one order of two corners that files keep."""
    return points(2, 2, numbers).map(lambda corners: np.sort(corners, axis=0))


def shapes(numbers: st.SearchStrategy[float]) -> st.SearchStrategy[ROI]:
    """All but turned ellipses and polygons of several outlines, which come back as the same area only."""
    masks = hnp.arrays("bool", hnp.array_shapes(min_dims=2, max_dims=2, max_side=8)).filter(np.any)
    return st.one_of(
        st.builds(ROI, st.just("polygon"), points(3, 9, numbers)),
        st.builds(ROI, st.just("polyline"), points(2, 9, numbers)),
        st.builds(ROI, st.sampled_from(["rectangle", "ellipse"]), upright(numbers)),
        st.builds(ROI, st.just("rectangle"), points(4, 4, numbers)),
        st.builds(ROI, st.just("point"), points(1, 9, numbers)),
        st.builds(
            lambda place, mask: ROI("mask", place, mask=mask), points(1, 1, numbers).map(np.floor), masks
        ),
    )


def regions(numbers: st.SearchStrategy[float]) -> st.SearchStrategy[ROI]:
    return st.builds(
        lambda roi, properties, place: roi.replace(properties=properties, place=place),
        shapes(numbers), PROPERTIES, PLACES,
    )  # fmt: skip
