"""Smaller copies of a plane, for viewers that zoom out."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Pyramid", "halved", "level_shape", "levels_of"]

Pyramid = Literal["auto"] | bool

SMALL = 2048
"""Planes up to this side have no smaller copies by default: a viewer shows them at once."""

TOP = 1024
"""The smallest copy is no larger than this."""


def levels_of(height: int, width: int, pyramid: Pyramid = "auto") -> int:
    """Number of resolutions of a plane: 1 where it has no smaller copies.

    Parameters
    ----------
    height, width
        Of the plane.
    pyramid
        ``"auto"``: none up to 2048 x 2048; True: down to 1024 pixels (at least one smaller copy), also of
        small planes; False: none.
    """
    side = max(height, width)
    if pyramid is False or min(height, width) < 2 or (pyramid == "auto" and side <= SMALL):
        return 1
    levels = 2 if pyramid is True else 1
    while side > TOP * 2 ** (levels - 1):
        levels += 1
    return levels


def level_shape(height: int, width: int, level: int) -> tuple[int, int]:
    """Height and width of a resolution; odd sizes are rounded up."""
    for _ in range(level):
        height, width = -(-height // 2), -(-width // 2)
    return height, width


def halved(plane: NDArray[Any], *, nearest: bool) -> NDArray[Any]:
    """A plane of half the size in y and x, of the same dtype: means of 2 x 2 pixels, or some of the pixels.

    Integers are rounded to the nearest; bool and labels are never mixed. An odd last row or column is the
    mean of what is there.
    """
    if nearest or plane.dtype.kind == "b":
        return np.ascontiguousarray(plane[..., ::2, ::2])
    height, width = plane.shape[-2:]
    if height % 2 or width % 2:
        pad = [(0, 0)] * (plane.ndim - 2) + [(0, height % 2), (0, width % 2)]
        plane = np.pad(plane, pad, mode="edge")
    corners = plane[..., ::2, ::2], plane[..., 1::2, ::2], plane[..., ::2, 1::2], plane[..., 1::2, 1::2]
    if plane.dtype.kind not in "iu":
        wide = np.promote_types(plane.dtype, np.float32)
        total = sum((corner.astype(wide) for corner in corners[1:]), corners[0].astype(wide))
        floating: NDArray[Any] = (total * np.float32(0.25)).astype(plane.dtype)
        return floating
    if plane.dtype.itemsize < 8:
        wide = np.dtype(np.int32 if plane.dtype.itemsize < 4 else np.int64)
        mean = corners[0].astype(wide)
        for corner in corners[1:]:
            mean += corner
        mean += 2
        mean >>= 2
        return mean.astype(plane.dtype)
    # 64 bits have nothing wider: quarter each first, then what was cut off.
    whole = corners[0] >> 2
    rest = corners[0] & 3
    for corner in corners[1:]:
        whole = whole + (corner >> 2)
        rest = rest + (corner & 3)
    return (whole + ((rest + 2) >> 2)).astype(plane.dtype)
