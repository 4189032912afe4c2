"""Outlines of labelled pixels along their edges, all labels of a plane at once.

Every side of a pixel that is not shared with one of the same label is a piece of an outline. Pieces in a row
are joined to straight edges, edges to closed rings with the region on their right hand: outer outlines go
clockwise on the screen, holes the other way. Two passes over the pixels find the sides, whatever the number
of labels; the rest is work per corner.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polystore.rois._checks import Points

__all__ = ["Rings", "trace"]

Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Rings:
    """Closed outlines of a plane, sorted by label and, within one, by their first pixel in reading order.

    Parameters
    ----------
    labels
        The label of each ring (K,).
    offsets
        Where each ring starts among the points (K + 1,).
    points
        Corners of all rings (N, 2), y and x; the centre of the first pixel is (0, 0), so they end in ``.5``.
    """

    labels: NDArray[Any]
    offsets: Indices
    points: Points

    def split(self, start: int = 0, stop: int | None = None) -> list[Points]:
        """The points of each ring from one to another."""
        edges = self.offsets[start : None if stop is None else stop + 1].tolist()
        return [self.points[low:high] for low, high in pairwise(edges)]


def trace(plane: NDArray[Any]) -> Rings:
    """The outlines of every label of a plane (h, w); 0 or False is background.

    Pixels that only touch at a corner are apart, and no ring passes a corner twice: what an odd number of a
    label's rings goes around are exactly its pixels.
    """
    height, width = plane.shape
    stride = width + 2
    # A margin of background: every label is surrounded. A pixel's index is also that of its upper left corner.
    padded = np.zeros((height + 2, stride), plane.dtype)
    padded[1:-1, 1:-1] = plane
    flat = padded.reshape(-1)
    east, west = _horizontal(flat, stride)
    north, south = _vertical(flat, stride)
    starts = np.concatenate([east[0], west[0]])
    ends = np.concatenate([east[1], west[1]])
    if not len(starts):
        return Rings(flat[:0], np.zeros(1, np.int64), np.zeros((0, 2)))
    pixels = np.concatenate([east[0], west[0] - stride - 1])
    upright = _after_horizontal(flat, stride, east[1], west[1], north[0], south[0])
    successors = _after_vertical(flat, stride, north[1], south[1], east[0], west[0])[upright]
    corners, offsets, firsts = _cycles(starts, ends, successors)
    corners, offsets, firsts = _split_at_touching(corners, offsets, firsts)
    labels = flat[pixels[firsts]]
    order = np.lexsort((_lowest(corners, offsets), labels))
    corners, offsets = _reordered(corners, offsets, order)
    y, x = np.divmod(corners, stride)
    return Rings(labels[order], offsets, np.stack([y - 1.5, x - 1.5], axis=1))


def _horizontal(flat: NDArray[Any], stride: int) -> tuple[tuple[Indices, Indices], tuple[Indices, Indices]]:
    """Start and end corners of the edges that go east (above their pixels) and west (below them)."""
    above = np.flatnonzero(flat[stride:] != flat[:-stride])
    top = above + stride
    top = top[flat[top] != 0]
    bottom = above[flat[above] != 0]
    east = (top[~_goes_on(flat, top, -1, -stride)], top[~_goes_on(flat, top, 1, -stride)] + 1)
    west = (
        bottom[~_goes_on(flat, bottom, 1, stride)] + stride + 1,
        bottom[~_goes_on(flat, bottom, -1, stride)] + stride,
    )
    return east, west


def _vertical(flat: NDArray[Any], stride: int) -> tuple[tuple[Indices, Indices], tuple[Indices, Indices]]:
    """Start and end corners of the edges that go north (left of their pixels) and south (right of them)."""
    before = np.flatnonzero(flat[1:] != flat[:-1])
    left = before + 1
    left = left[flat[left] != 0]
    right = before[flat[before] != 0]
    north = (
        left[~_goes_on(flat, left, stride, -1)] + stride,
        left[~_goes_on(flat, left, -stride, -1)],
    )
    south = (
        right[~_goes_on(flat, right, -stride, 1)] + 1,
        right[~_goes_on(flat, right, stride, 1)] + stride + 1,
    )
    return _paired(north, stride), _paired(south, stride)


def _goes_on(flat: NDArray[Any], pixels: Indices, along: int, outside: int) -> NDArray[np.bool_]:
    """Whether the next pixel along an edge has the same label and the same edge."""
    labels = flat[pixels]
    going: NDArray[np.bool_] = (flat[pixels + along] == labels) & (flat[pixels + along + outside] != labels)
    return going


def _paired(edges: tuple[Indices, Indices], stride: int) -> tuple[Indices, Indices]:
    """Upright edges with each start's own end: within a column both come in the same order."""
    starts, ends = edges
    matched = np.empty_like(ends)
    matched[np.argsort(starts % stride, kind="stable")] = ends[np.argsort(ends % stride, kind="stable")]
    return starts, matched


def _after_horizontal(
    flat: NDArray[Any], stride: int, east: Indices, west: Indices, north: Indices, south: Indices
) -> Indices:
    """The upright edge (north, then south) that goes on from the end of each level one (east, then west)."""
    # Turn right where the pixel ahead is not ours, so that pixels touching at a corner are apart; else left.
    right = flat[east] != flat[east - 1]
    after_east = np.where(right, np.searchsorted(south, east) + len(north), np.searchsorted(north, east))
    right = flat[west - stride - 1] != flat[west - stride]
    after_west = np.where(right, np.searchsorted(north, west), np.searchsorted(south, west) + len(north))
    return np.concatenate([after_east, after_west])


def _after_vertical(
    flat: NDArray[Any], stride: int, north: Indices, south: Indices, east: Indices, west: Indices
) -> Indices:
    """The level edge (east, then west) that goes on from the end of each upright one (north, then south)."""
    right = flat[north - stride] != flat[north]
    after_north = np.where(right, np.searchsorted(east, north), np.searchsorted(west, north) + len(east))
    right = flat[south - 1] != flat[south - stride - 1]
    after_south = np.where(right, np.searchsorted(west, south) + len(east), np.searchsorted(east, south))
    return np.concatenate([after_north, after_south])


def _cycles(starts: Indices, ends: Indices, successors: Indices) -> tuple[Indices, Indices, Indices]:
    """Corners ring after ring, where each ring starts among them, and the first edge of each ring."""
    following = successors.tolist()
    seen = bytearray(len(following))
    order: list[int] = []
    offsets = [0]
    for first in range(len(following)):
        edge = first
        while not seen[edge]:
            seen[edge] = 1
            order.append(edge)
            edge = following[edge]
        if len(order) > offsets[-1]:
            offsets.append(len(order))
    edges = np.array(order, np.int64)
    where = np.array(offsets, np.int64)
    return np.stack([starts[edges], ends[edges]], axis=1).reshape(-1), where * 2, edges[where[:-1]]


def _split_at_touching(
    corners: Indices, offsets: Indices, firsts: Indices
) -> tuple[Indices, Indices, Indices]:
    """The same with every ring that passes a corner twice cut there into two."""
    lengths = np.diff(offsets)
    ring_of = np.repeat(np.arange(len(lengths)), lengths)
    order = np.lexsort((corners, ring_of))
    same = (np.diff(corners[order]) == 0) & (np.diff(ring_of[order]) == 0)
    touching = set(ring_of[order][1:][same].tolist())
    if not touching:
        return corners, offsets, firsts
    edges = offsets.tolist()
    pieces: list[Indices] = []
    first_edges: list[int] = []
    for ring, first in enumerate(firsts.tolist()):
        part = corners[edges[ring] : edges[ring + 1]]
        found = _simple(part.tolist()) if ring in touching else [part]
        pieces += [np.asarray(piece, np.int64) for piece in found]
        first_edges += [first] * len(found)
    sizes = np.array([len(piece) for piece in pieces])
    return np.concatenate(pieces), np.concatenate([[0], np.cumsum(sizes)]), np.array(first_edges)


def _simple(ring: list[int]) -> list[list[int]]:
    """A closed walk as closed walks that pass every corner once."""
    found: list[list[int]] = []
    path: list[int] = []
    place: dict[int, int] = {}
    for corner in ring:
        if corner in place:
            cut = place[corner]
            found.append(path[cut:])
            for left in path[cut:]:
                del place[left]
            del path[cut:]
        place[corner] = len(path)
        path.append(corner)
    return [path, *found]


def _lowest(corners: Indices, offsets: Indices) -> Indices:
    lowest: Indices = np.minimum.reduceat(corners, offsets[:-1])
    return lowest


def _reordered(corners: Indices, offsets: Indices, order: Indices) -> tuple[Indices, Indices]:
    lengths = np.diff(offsets)[order]
    new_offsets = np.concatenate([[0], np.cumsum(lengths)])
    steps = np.arange(new_offsets[-1]) - np.repeat(new_offsets[:-1], lengths)
    return corners[np.repeat(offsets[:-1][order], lengths) + steps], new_offsets
