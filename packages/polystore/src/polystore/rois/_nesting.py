"""Which outlines lie within which, for outlines that do not cross: all at once, along level lines.

Each outline gets a line that crosses it. On a line every outline opens and closes like brackets, so what is
open where an outline first opens is what goes around it. The work is one sort of the crossings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from polystore.rois._checks import Points

__all__ = ["depths", "nested"]

Indices = NDArray[np.int64]

BLOCK = 1 << 22
"""About how many crossings are sorted at a time."""


def nested(rings: Sequence[Points]) -> list[list[Points]]:
    """Outlines that do not cross, sorted into parts: each its outer outline, then the holes in it."""
    if len(rings) == 1:
        return [[rings[0]]]
    deep, around = (values.tolist() for values in depths(rings))
    parts = {index: [ring] for index, ring in enumerate(rings) if deep[index] % 2 == 0}
    for index, ring in enumerate(rings):
        if deep[index] % 2:
            parts[around[index]].append(ring)
    return list(parts.values())


def depths(rings: Sequence[Points]) -> tuple[Indices, Indices]:
    """How many other outlines go around each, and which of them is the nearest (-1: none)."""
    edges = _Edges.of(rings)
    lines, line_of = np.unique([_line(ring) for ring in rings], return_inverse=True)
    # Of the lines from the upper end of an edge (included) to its lower end.
    first = np.searchsorted(lines, np.minimum(edges.y0, edges.y1))
    last = np.searchsorted(lines, np.maximum(edges.y0, edges.y1))
    found = np.zeros(len(rings), np.int64), np.full(len(rings), -1)
    per_line = np.cumsum(
        np.bincount(first, minlength=len(lines) + 1) - np.bincount(last, minlength=len(lines) + 1)
    )
    blocks = np.cumsum(per_line[:-1]) // BLOCK
    bounds = [0, *(np.flatnonzero(np.diff(blocks)) + 1).tolist(), len(lines)]
    for low, high in pairwise(bounds):
        own = np.flatnonzero((line_of >= low) & (line_of < high))
        crossings = edges.crossings(lines, np.clip(first, low, high), np.clip(last, low, high))
        if len(crossings[0]):
            _look_left(*crossings, own, line_of[own], found)
    return found


@dataclass(frozen=True, slots=True)
class _Edges:
    """The sides of all outlines, and whose each is."""

    y0: NDArray[np.float64]
    x0: NDArray[np.float64]
    y1: NDArray[np.float64]
    x1: NDArray[np.float64]
    ring: Indices

    @classmethod
    def of(cls, rings: Sequence[Points]) -> _Edges:
        starts = np.concatenate(rings)
        ends = np.concatenate([np.roll(ring, -1, axis=0) for ring in rings])
        ring = np.repeat(np.arange(len(rings)), [len(each) for each in rings])
        return cls(starts[:, 0], starts[:, 1], ends[:, 0], ends[:, 1], ring)

    def crossings(
        self, lines: NDArray[np.float64], first: Indices, last: Indices
    ) -> tuple[Indices, NDArray[np.float64], Indices]:
        """Line, x and ring of each crossing."""
        counts = last - first
        edge = np.repeat(np.arange(len(counts)), counts)
        line = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts - first, counts)
        share = (lines[line] - self.y0[edge]) / (self.y1[edge] - self.y0[edge])
        return line, self.x0[edge] + share * (self.x1[edge] - self.x0[edge]), self.ring[edge]


def _line(ring: Points) -> float:
    """A level near the top of an outline, not one of its corners'; of outlines along pixel edges, of no one's."""
    levels = np.unique(ring[:, 0])
    if len(levels) < 2:
        return float(levels[0])
    return float(levels[0] + min(0.5, (levels[1] - levels[0]) / 2))


def _look_left(
    line: Indices,
    x: NDArray[np.float64],
    ring: Indices,
    own: Indices,
    own_line: Indices,
    found: tuple[Indices, Indices],
) -> None:
    """Note for these outlines what is open where each opens first on its line."""
    count = int(max(ring.max(), own.max(initial=0))) + 1
    order = np.lexsort((ring, x, line))
    line, ring = line[order], ring[order]
    key = line * count + ring
    together = np.argsort(key, kind="stable")
    starts = np.flatnonzero(np.diff(key[together], prepend=-1))
    rank = np.arange(len(key)) - np.repeat(starts, np.diff(np.append(starts, len(key))))
    opens = np.empty(len(key), bool)
    opens[together] = rank % 2 == 0
    depth = np.cumsum(np.where(opens, 1, -1))  # of brackets; each line ends with none open

    wanted = own_line * count + own
    at = np.minimum(np.searchsorted(key[together], wanted), len(key) - 1)
    crossed = key[together][at] == wanted  # flat outlines cross no line
    own, own_line, at = own[crossed], own_line[crossed], together[at[crossed]]
    outside = depth[at] - 1
    found[0][own] = outside

    # The nearest around it: the last bracket before it that opened to just that depth.
    brackets = np.flatnonzero(opens)
    span = int(depth.max()) + 1
    opened = np.sort((line[brackets] * span + depth[brackets]) * len(key) + brackets)
    last = np.searchsorted(opened, (own_line * span + outside) * len(key) + at) - 1
    around = ring[opened[np.maximum(last, 0)] % len(key)]
    found[1][own] = np.where(outside > 0, around, -1)
