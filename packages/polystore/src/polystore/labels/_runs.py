"""Labels images as runs of equal pixels along the rows, and what their axes mean."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polystore.components import Component, ImageKey, Value, canonical
from polystore.errors import RoiError, UnsupportedArrayError
from polystore.payload.arrays import as_host_array

__all__ = ["Planes", "Runs", "checked_labels", "runs_of"]

AXES: Mapping[str, Component] = {"t": Component.T, "c": Component.CHANNEL, "z": Component.Z}
"""Axes a labels image may have before y and x."""

_USUAL_AXES = {2: "yx", 3: "zyx", 4: "tzyx", 5: "tczyx"}


def checked_labels(labels: Any) -> NDArray[Any]:
    """The labels in host memory: integers that are not negative, or bool, with two dimensions or more.

    Raises
    ------
    UnsupportedArrayError
        Not integers.
    RoiError
        Negative, or fewer dimensions.
    """
    array = as_host_array(labels)
    if array.dtype.kind not in "uib":
        raise UnsupportedArrayError(
            f"labels are integers, not {array.dtype}: convert them, e.g. labels.astype('uint32')"
        )
    if array.ndim < 2:
        raise RoiError(f"a labels image has the axes y and x at least; this one has the shape {array.shape}")
    if array.dtype.kind == "i" and array.size and (lowest := int(array.min())) < 0:
        raise RoiError(f"labels count from 1 and 0 is background, but {lowest} is there: set it to 0")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


@dataclass(frozen=True, slots=True)
class Planes:
    """The planes of an image by their place.

    Parameters
    ----------
    axes
        A letter for each axis: ``"tczyx"``.
    values
        For each axis before y and x the component and its value at every index.
    """

    axes: str
    values: tuple[tuple[Component, tuple[Value, ...]], ...]

    @classmethod
    def of(
        cls, shape: Sequence[int], axes: str | None, values: Mapping[str, Sequence[Value]] | None
    ) -> Planes:
        """The planes of an image of that shape.

        Raises
        ------
        RoiError
            Axes or values that do not fit it.
        """
        known = "".join(AXES)
        if axes is None:
            axes = _USUAL_AXES.get(len(shape))
            if axes is None:
                raise RoiError(f"{len(shape)} dimensions: name them, e.g. axes='tczyx'")
        axes = axes.lower()
        leading = axes[:-2]
        if not axes.endswith("yx") or len(set(axes)) != len(axes) or set(leading) - set(known):
            raise RoiError(f"axes={axes!r}: the last are 'yx', before them each of {known!r} at most once")
        if len(axes) != len(shape):
            raise RoiError(f"axes={axes!r} for an image of {len(shape)} dimensions, shape {tuple(shape)}")
        given = dict(values or {})
        found = []
        for letter, size in zip(leading, shape, strict=False):
            some: Sequence[Value] = given.pop(letter, range(1, size + 1))
            if len(some) != size or len(set(some)) != size:
                raise RoiError(
                    f"{len(some)} values for axis {letter!r}, which has {size} planes: one for each"
                )
            found.append((AXES[letter], tuple(canonical(AXES[letter], value) for value in some)))
        if given:
            raise RoiError(f"values for axis {sorted(given)[0]!r}, but axes={axes!r}")
        return cls(axes, tuple(found))

    def keys(self, place: ImageKey) -> Iterator[ImageKey]:
        """The place of each plane, in the order of the array, within a place they share."""
        names = [which.value for which, _ in self.values]
        for values in product(*(some for _, some in self.values)):
            yield place.replace(**dict(zip(names, values, strict=True)))

    def indices(self, place: ImageKey) -> list[tuple[int, ...]]:
        """Which planes a region lies in: all along an axis whose component it leaves open.

        Raises
        ------
        RoiError
            None of these planes is its place.
        """
        choices: list[Sequence[int]] = []
        for which, some in self.values:
            value = place.get(which)
            if value is not None and value not in some:
                shown = ", ".join(map(str, some[:3])) + (f" ... {some[-1]}" if len(some) > 3 else "")
                raise RoiError(f"a region at {which}={value}, but the image has {which} {shown}")
            choices.append(range(len(some)) if value is None else (some.index(value),))
        return list(product(*choices))


@dataclass(frozen=True, slots=True)
class Runs:
    """Neighbouring pixels of one value in a row, all rows of an image one after the other.

    Parameters
    ----------
    values, starts, lengths
        The value of each run, the index of its first pixel in the flat image, how many it has.
    width
        Of the image.
    """

    values: NDArray[Any]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    width: int

    @property
    def rows(self) -> NDArray[np.int64]:
        """The row of each run, counted through all planes."""
        return self.starts // self.width

    @property
    def columns(self) -> NDArray[np.int64]:
        """The column each run starts in."""
        return self.starts % self.width

    def objects(self) -> Runs:
        """Without the background."""
        kept = np.flatnonzero(self.values)
        return Runs(self.values[kept], self.starts[kept], self.lengths[kept], self.width)


def runs_of(labels: NDArray[Any]) -> Runs:
    """The runs of an image, background included: one pass over its pixels."""
    width = labels.shape[-1]
    if not labels.size:
        nothing = np.zeros(0, np.int64)
        return Runs(labels.reshape(-1)[:0], nothing, nothing, max(width, 1))
    flat = labels.reshape(-1)
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    rows = np.arange(0, flat.size, width)
    # Two sorted runs: a stable sort merges them in linear time.
    starts = np.sort(np.concatenate([rows, changes]), kind="stable")
    starts = starts[np.concatenate([[True], starts[1:] != starts[:-1]])]
    lengths = np.diff(np.append(starts, math.prod(labels.shape)))
    return Runs(flat[starts], starts, lengths, width)
