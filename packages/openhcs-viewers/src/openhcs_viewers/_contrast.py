"""The display range of a layer, from what senders say or from a few thousand pixels of its first planes."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping
from typing import Any

import numpy as np

from polystore.components import Value
from polystore.projection import Limits

__all__ = ["Contrast", "Contrasts"]

SAMPLE = 4096
"""Pixels looked at per plane, on a regular grid: about 0.1 ms, whatever the plane's size."""

PLANES = 64
"""Planes looked at per layer: enough to meet the bright wells, and then the cost of a plane is nothing."""

LOW, HIGH = 0.005, 0.998
"""Quantiles of a plane taken for its darkest and brightest: hot pixels do not turn the picture black."""

TOLERANCE = 0.05
"""A new extreme moves the range only when it is this part of it outside: the picture must not flicker."""


class Contrast:
    """Lowest and highest value to show of one layer, widening as planes arrive. Used by one thread."""

    __slots__ = ("_given", "_seen", "limits")

    def __init__(self) -> None:
        self.limits: tuple[float, float] | None = None
        self._given = False
        self._seen = 0

    @property
    def wants_pixels(self) -> bool:
        """Whether another plane would still be looked at."""
        return not self._given and self._seen < PLANES

    def feed(self, plane: np.ndarray[Any, Any] | None, given: tuple[float, float] | None) -> bool:
        """Take a plane into account, and what its sender says of its range; return whether the limits
        moved.

        What senders say beats what pixels say. A plane without any contrast (all one value) says nothing.
        """
        if given is not None and math.isfinite(given[0]) and given[0] < given[1] and math.isfinite(given[1]):
            if not self._given:
                self._given, self.limits = True, (float(given[0]), float(given[1]))
                return True
            return self._widen((float(given[0]), float(given[1])), 0.0)
        if plane is None or not self.wants_pixels:
            return False
        found = sample_range(plane)
        if found is None:
            return False
        self._seen += 1
        if self.limits is None:
            self.limits = found
            return True
        return self._widen(found, TOLERANCE)

    def _widen(self, found: tuple[float, float], tolerance: float) -> bool:
        assert self.limits is not None
        low, high = self.limits
        margin = (high - low) * tolerance
        if found[0] >= low - margin and found[1] <= high + margin:
            return False
        self.limits = (min(low, found[0]), max(high, found[1]))
        return True


def sample_range(plane: np.ndarray[Any, Any]) -> tuple[float, float] | None:
    """Low and high quantile of a plane's pixels on a grid; None when they are all the same or none is finite."""
    if plane.dtype.kind == "b":
        return (0.0, 1.0)
    step = max(1, math.isqrt(plane.size // SAMPLE))
    sample = plane[::step, ::step].ravel()
    if sample.dtype.kind == "c":
        sample = np.abs(sample)
    if sample.dtype.kind == "f":
        sample = sample[np.isfinite(sample)].astype(np.float64, copy=False)
    if not sample.size:
        return None
    last = sample.size - 1
    ranks = (0, math.floor(last * LOW), math.ceil(last * HIGH), last)
    low, first, second, high = (float(np.partition(sample, ranks)[rank]) for rank in ranks)
    if first < second:
        return (first, second)
    return (low, high) if low < high else None


class Contrasts:
    """The display ranges of all layers and their parts, and which of them moved. Used under its scene's lock."""

    def __init__(self) -> None:
        self._layers: dict[str, dict[Value | None, Contrast]] = {}
        self._moved: dict[tuple[str, Value | None], None] = {}

    @property
    def have_moved(self) -> bool:
        """Whether there is something to take; any thread may ask."""
        return bool(self._moved)

    def feed(
        self,
        layer_id: str,
        part: Value | None,
        plane: np.ndarray[Any, Any],
        given: tuple[float, float] | None,
    ) -> None:
        """Take a plane of a part of a layer into account; see `Contrast.feed`."""
        parts = self._layers.setdefault(layer_id, {})
        contrast = parts.get(part)
        if contrast is None:
            contrast = parts[part] = Contrast()
        if (given or contrast.wants_pixels) and contrast.feed(plane, given):
            self._moved[layer_id, part] = None

    def known(self, layer_id: str) -> dict[Value | None, Limits]:
        """The ranges of a layer's parts, as far as there are any."""
        parts = self._layers.get(layer_id, {})
        return {part: one.limits for part, one in parts.items() if one.limits is not None}

    def take(self, live: Container[str], fresh: Container[str]) -> Mapping[str, dict[Value | None, Limits]]:
        """The ranges of live layers that moved since; of fresh ones nothing, for their plans have them."""
        taken: dict[str, dict[Value | None, Limits]] = {}
        for layer_id, part in [one for one in self._moved if one[0] in live or one[0] in fresh]:
            del self._moved[layer_id, part]
            limits = self._layers[layer_id][part].limits
            if layer_id not in fresh and limits is not None:
                taken.setdefault(layer_id, {})[part] = limits
        return taken

    def forget(self, layer_id: str) -> None:
        """Know nothing of a layer."""
        self._layers.pop(layer_id, None)
        for moved in [one for one in self._moved if one[0] == layer_id]:
            del self._moved[moved]
