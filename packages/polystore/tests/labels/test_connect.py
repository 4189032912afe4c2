"""Connected areas, against flooding pixel by pixel."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from polystore.errors import UnsupportedArrayError
from polystore.labels import label_connected

IMAGES = hnp.arrays(
    st.sampled_from(["bool", "u1", "i8"]),
    hnp.array_shapes(min_dims=2, max_dims=4, max_side=6),
    elements=st.integers(0, 1),
) | hnp.arrays("u2", hnp.array_shapes(min_dims=2, max_dims=3, max_side=6), elements=st.integers(0, 2))


@given(IMAGES, st.booleans())
def test_areas_are_those_of_flooding(image: Any, corners: bool) -> None:
    found = label_connected(image, corners=corners)
    np.testing.assert_array_equal(found, flooded(image, corners))
    assert found.dtype == "uint16"


def flooded(image: Any, corners: bool) -> Any:
    steps = [step for step in product((-1, 0, 1), repeat=image.ndim) if corners or sum(map(abs, step)) == 1]
    found = np.zeros(image.shape, int)
    count = 0
    for start in np.ndindex(image.shape):
        if image[start] == 0 or found[start]:
            continue
        count += 1
        found[start] = count
        edge = [start]
        while edge:
            place = edge.pop()
            for step in steps:
                near = tuple(a + b for a, b in zip(place, step, strict=True))
                inside = all(0 <= at < size for at, size in zip(near, image.shape, strict=True))
                if inside and image[near] == image[start] and not found[near]:
                    found[near] = count
                    edge.append(near)
    return found


def test_a_spiral_is_one_area_and_a_board_has_as_many_as_fields() -> None:
    side = 401
    spiral = np.zeros((side, side), bool)
    top, left, bottom, right = 0, 0, side - 1, side - 1
    while top <= bottom:
        spiral[top, max(left - 2, 0) : right + 1] = spiral[top : bottom + 1, right] = True
        spiral[bottom, left : right + 1] = spiral[top + 2 : bottom + 1, left] = True
        top, left, bottom, right = top + 2, left + 2, bottom - 2, right - 2
    assert label_connected(spiral).max() == 1
    board = np.indices((300, 300)).sum(axis=0) % 2
    assert label_connected(board).max() == 300 * 300 // 2
    assert label_connected(board, corners=True).max() == 1
    assert label_connected(np.indices((400, 400)).sum(axis=0) % 2).dtype == "uint32"


def test_nothing_and_no_labels() -> None:
    assert label_connected(np.zeros((3, 4), bool)).sum() == 0
    assert label_connected(np.zeros((0, 4), bool)).shape == (0, 4)
    with pytest.raises(UnsupportedArrayError):
        label_connected(np.ones((3, 3)))
