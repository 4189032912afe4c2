"""The distance of neighbouring planes or time points, from what records say in any order."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

from polystore.components import Value

__all__ = ["Steps"]

SERIES = 256
"""Series kept: a plate whose first wells were taken without a stack shows its step in a later one."""


@dataclass(slots=True)
class Steps:
    """Values of some series (a stack, a time course) by their index."""

    _series: dict[Hashable, dict[int, float]] = field(default_factory=dict)

    def add(self, series: Hashable, index: Value | None, value: float | None) -> None:
        """One plane of a series."""
        if not isinstance(index, int) or value is None:
            return
        known = self._series.get(series)
        if known is not None:
            known.setdefault(index, value)
        elif len(self._series) < SERIES:
            self._series[series] = {index: value}

    def step(self) -> float | None:
        """The mean distance of neighbours in the first series that has two; None when it cannot be told."""
        for values in self._series.values():
            low, high = min(values), max(values)
            if high > low:
                return round(abs(values[high] - values[low]) / (high - low), 6) or None
        return None
