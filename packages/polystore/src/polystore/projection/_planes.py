"""One image may hold several planes: which key each of them has."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

from polystore.components import Component, ImageKey
from polystore.errors import ProjectionError

__all__ = ["MAX_PLANES", "check_plane", "is_rgb", "split_planes"]

MAX_PLANES = 100_000
"""Most planes one image may be split into: more is a shape gone wrong, and each costs a layer position."""

_LEADING = (Component.Z, Component.CHANNEL, Component.T)  # from the axis next to (y, x) outwards: TCZYX


def is_rgb(shape: Sequence[int], dtype: np.dtype[np.generic]) -> bool:
    """Whether an array is one colour picture (y, x, 3 or 4) of bytes, rather than a stack of very narrow
    planes.
    """
    return len(shape) == 3 and shape[2] in (3, 4) and dtype == np.uint8


def split_planes(
    key: ImageKey, shape: Sequence[int], dtype: np.dtype[np.generic]
) -> list[tuple[tuple[int, ...], ImageKey]]:
    """The planes of an image: the index of each into the array, and its key.

    A plane (y, x) or a colour picture (y, x, 3|4) is itself. In a stack the axes before (y, x) become z,
    channel and t, from the inside out, skipping what the key already says; their values are the array's
    indices from 0.

    Raises
    ------
    ProjectionError
        Fewer than two axes, no pixels, or more axes than there are components left for.
    """
    if len(shape) < 2:
        raise ProjectionError(
            f"an array of shape {tuple(shape)} is no image: at least two axes (y, x) are needed"
        )
    if 0 in shape:
        raise ProjectionError(f"an array of shape {tuple(shape)} has no pixels to show")
    if len(shape) == 2 or is_rgb(shape, dtype):
        return [((), key)]
    leading = tuple(shape[:-2])
    free = [which for which in _LEADING if key.get(which) is None]
    if len(leading) > len(free):
        raise ProjectionError(
            f"an image of shape {tuple(shape)} with {key} has {len(leading)} axes before (y, x) and only "
            f"{len(free)} of z, channel, t are free for them: send one plane per image"
        )
    count = int(np.prod(leading, dtype=object))
    if count > MAX_PLANES:
        raise ProjectionError(
            f"an image of shape {tuple(shape)} holds {count} planes, more than {MAX_PLANES}"
        )
    names = [which.value for which in free[: len(leading)]][::-1]
    return [
        (index, key.replace(**dict(zip(names, index, strict=True))))
        for index in product(*map(range, leading))
    ]


def check_plane(
    kind: str, shape: Sequence[int], dtype: np.dtype[np.generic], label_kinds: str = "bui"
) -> None:
    """Refuse what cannot be a plane of a layer.

    Parameters
    ----------
    label_kinds
        The kinds of dtype labels may have. With ``"f"`` where a viewer keeps whole numbers as floats: whether they
        are whole is then to be asked of what arrived.

    Raises
    ------
    ProjectionError
        Not (y, x) nor (y, x, 3|4) of bytes, no pixels, not numeric, or labels that are no whole numbers.
    """
    if len(shape) != 2 and not is_rgb(shape, dtype):
        raise ProjectionError(f"a plane has two axes (y, x), not shape {tuple(shape)}: split it first")
    if 0 in shape:
        raise ProjectionError(f"a plane of shape {tuple(shape)} has no pixels to show")
    if dtype.kind not in "buifc":
        raise ProjectionError(f"pixels of dtype {dtype} cannot be shown: bool, integer, float or complex can")
    if kind == "labels" and (dtype.kind not in label_kinds or len(shape) != 2):
        raise ProjectionError(
            f"labels of dtype {dtype} and shape {tuple(shape)}: whole numbers (y, x) are needed"
        )
