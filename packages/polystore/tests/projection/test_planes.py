"""Which planes an image holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from polystore.components import ImageKey
from polystore.errors import ProjectionError
from polystore.projection import split_planes

U16, U8 = np.dtype(np.uint16), np.dtype(np.uint8)


@pytest.mark.parametrize(
    ("shape", "dtype", "key", "expected"),
    [
        ((4, 5), U16, {"well": "A01"}, [((), {})]),
        ((4, 5, 3), U8, {}, [((), {})]),
        ((4, 5, 4), U8, {}, [((), {})]),
        ((2, 4, 3), U16, {}, [((0,), {"z": 0}), ((1,), {"z": 1})]),
        ((2, 4, 5), U16, {}, [((0,), {"z": 0}), ((1,), {"z": 1})]),
        ((2, 4, 5), U16, {"z": 7}, [((0,), {"channel": 0}), ((1,), {"channel": 1})]),
        ((2, 4, 5), U16, {"z": 7, "channel": "DAPI"}, [((0,), {"t": 0}), ((1,), {"t": 1})]),
        ((1, 2, 4, 5), U16, {}, [((0, 0), {"channel": 0, "z": 0}), ((0, 1), {"channel": 0, "z": 1})]),
        ((1, 1, 1, 4, 5), U16, {}, [((0, 0, 0), {"t": 0, "channel": 0, "z": 0})]),
    ],
)
def test_planes(shape: Any, dtype: Any, key: dict[str, Any], expected: list[Any]) -> None:
    base = ImageKey.of(**key)
    assert split_planes(base, shape, dtype) == [(index, base.replace(**more)) for index, more in expected]


@pytest.mark.parametrize(
    ("shape", "key", "text"),
    [
        ((), {}, "no image"),
        ((5,), {}, "no image"),
        ((0, 5), {}, "no pixels"),
        ((3, 0, 5), {}, "no pixels"),
        ((1, 1, 1, 1, 4, 5), {}, "send one plane per image"),
        ((2, 4, 5), {"z": 1, "channel": 1, "t": 1}, "only 0 of z, channel, t are free"),
        ((10**6, 4, 5), {}, "more than 100000"),
        ((2**40, 2**40, 4, 5), {}, "more than 100000"),
    ],
)
def test_what_has_no_planes(shape: Any, key: dict[str, Any], text: str) -> None:
    with pytest.raises(ProjectionError, match=text):
        split_planes(ImageKey.of(**key), shape, U16)
