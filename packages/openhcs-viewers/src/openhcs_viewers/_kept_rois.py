"""The regions of interest of a scene's layers, as they came and as the user made them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from polystore.projection import Position

__all__ = ["KeptRois"]


class KeptRois:
    """Regions by layer and position. Changed under its scene's lock; any thread may read."""

    def __init__(self) -> None:
        self._all: dict[str, dict[Position, tuple[Any, ...]]] = {}
        self._drawn: dict[str, dict[Position, tuple[Any, ...]]] = {}

    def __iter__(self) -> Iterator[str]:
        """The ids of layers that have, or had, any."""
        return iter(list(self._all))

    def of(self, layer_id: str) -> Mapping[Position, tuple[Any, ...]]:
        """All of a layer, by position; positions whose regions are gone have none."""
        return self._all.get(layer_id, {})

    def drawn(self, layer_id: str, position: Position) -> tuple[Any, ...]:
        """Those at a position that the user drew or changed."""
        return self._drawn.get(layer_id, {}).get(position, ())

    def put(self, layer_id: str, position: Position, rois: Sequence[Any]) -> None:
        """Take in what arrived: nothing there is the user's any more."""
        self._all.setdefault(layer_id, {})[position] = tuple(rois)
        self._drawn.get(layer_id, {}).pop(position, None)

    def keep(self, layer_id: str, position: Position, rois: Sequence[Any], drawn: Sequence[Any]) -> None:
        """Replace those at a position by what the user made of them; `drawn` are his own."""
        self._all.setdefault(layer_id, {})[position] = tuple(rois)
        self._drawn.setdefault(layer_id, {})[position] = tuple(drawn)

    def forget(self, layer_id: str) -> None:
        """Have none for a layer."""
        self._all.pop(layer_id, None)
        self._drawn.pop(layer_id, None)
