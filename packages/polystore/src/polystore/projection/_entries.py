"""The entries along one dimension of a hyperstack: sorted as they come, and found by value."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, TypeAlias

from polystore.components import Component, Value
from polystore.projection import _grouping
from polystore.projection.plan import Position

__all__ = ["Entries", "Entry", "EntryIndex", "mask_of", "picker", "values_at"]

Entry: TypeAlias = tuple[Value | None, ...]
"""One value for each component that shares a dimension, outermost first. None where only planes without that
component are there.
"""

_ONE_ENTRY: tuple[Entry, ...] = ((),)
_NO_VALUE = (-1,)


def picker(indices: Sequence[int]) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
    """A function that gives the items at those indices, always as a tuple."""
    if len(indices) > 1:
        return itemgetter(*indices)
    if indices:
        (only,) = indices
        return lambda items: (items[only],)
    return lambda items: ()


def mask_of(entry: Sequence[Value | None]) -> tuple[int, ...]:
    """Where an entry has values."""
    return tuple([at for at, value in enumerate(entry) if value is not None])


class Entries:
    """What was seen along one dimension; adding costs O(log n) comparisons, and nothing when it is known.

    A plane may lack a component that others have: a projection beside z stacks. What it lacks makes no entry of
    its own as long as there is an entry it can be shown at.
    """

    __slots__ = ("_components", "_frozen", "_keys", "_known", "_partial", "_seen")

    def __init__(self, components: tuple[Component, ...]) -> None:
        self._components = components
        self._known: set[Entry] = set()
        self._keys: list[tuple[Any, ...]] = []
        self._seen: list[Entry] = []
        self._partial = False
        self._frozen: tuple[tuple[Component, ...], tuple[Entry, ...]] | None = None

    def add(self, entry: Entry) -> bool:
        """Insert at its place; False when it was there."""
        if entry in self._known:
            return False
        key = tuple(
            [
                _NO_VALUE if value is None else _grouping.entry_key(which, value)
                for which, value in zip(self._components, entry, strict=True)
            ]
        )
        at = bisect_left(self._keys, key)
        self._known.add(entry)
        self._keys.insert(at, key)
        self._seen.insert(at, entry)
        self._partial = self._partial or None in entry
        self._frozen = None
        return True

    def view(self) -> tuple[tuple[Component, ...], tuple[Entry, ...]]:
        """The components that have any value, and the entries of those, sorted; the same object until one is
        added.
        """
        if self._frozen is None:
            if self._partial:
                self._frozen = self._without_covered()
            else:
                self._frozen = self._components, tuple(self._seen) or _ONE_ENTRY
        return self._frozen

    def _without_covered(self) -> tuple[tuple[Component, ...], tuple[Entry, ...]]:
        """Leave out what is shown at entries that say more than it does."""
        by_mask: dict[tuple[int, ...], list[Entry]] = {}
        for entry in self._seen:
            by_mask.setdefault(mask_of(entry), []).append(entry)
        covered: set[Entry] = set()
        for mask, some in by_mask.items():
            pick = picker(mask)
            shown = {
                pick(entry) for other, more in by_mask.items() if set(mask) < set(other) for entry in more
            }
            covered.update(entry for entry in some if pick(entry) in shown)
        present = sorted({at for mask in by_mask for at in mask})
        pick = picker(present)
        kept = tuple(pick(entry) for entry in self._seen if entry not in covered)
        return pick(self._components), kept


class EntryIndex:
    """Finds entries by value. Its tables are made when first asked for."""

    __slots__ = ("_components", "_entries", "_tables")

    def __init__(self, components: tuple[Component, ...], entries: tuple[Entry, ...]) -> None:
        self._components = components
        self._entries = entries
        self._tables: dict[tuple[int, ...], Mapping[Entry, tuple[int, ...]]] = {}

    def is_of(self, components: tuple[Component, ...], entries: tuple[Entry, ...]) -> bool:
        """Whether it was made for exactly these."""
        return self._components is components and self._entries is entries

    def at(self, wanted: Iterable[Value | None]) -> tuple[int, ...]:
        """The indices, from 0, of all entries with those values; a value that is None may be any."""
        values = tuple(wanted)
        mask = mask_of(values)
        pick = picker(mask)
        table = self._tables.get(mask)
        if table is None:
            lists: dict[Entry, list[int]] = {}
            for at, entry in enumerate(self._entries):
                lists.setdefault(pick(entry), []).append(at)
            table = self._tables[mask] = {entry: tuple(some) for entry, some in lists.items()}
        return table.get(pick(values), ())

    def nearest(self, wanted: Iterable[Value | None]) -> int:
        """The index, from 0, of the entry next to those values, the outermost component first; of equally near
        ones the first.
        """
        values = tuple(wanted)
        exact = self.at(values)
        if exact:
            return exact[0]
        left = list(range(len(self._entries)))
        for column, (which, value) in enumerate(zip(self._components, values, strict=True)):
            if value is not None:
                left = _nearest(which, value, [(at, self._entries[at][column]) for at in left])
        return left[0]


def _nearest(which: Component, wanted: Value, some: list[tuple[int, Value | None]]) -> list[int]:
    """Those of the numbered values that are next to the one wanted: by distance where both are numbers, else the
    last before it in their order.
    """
    equal = [at for at, value in some if value == wanted]
    if equal:
        return equal
    numbers = [value for _, value in some if isinstance(value, int)]
    if isinstance(wanted, int) and numbers:
        best: Value | None = min(numbers, key=lambda value: (abs(value - wanted), value))
    else:
        key = _grouping.entry_key(which, wanted)
        given = sorted(
            (value for _, value in some if value is not None),
            key=lambda value: _grouping.entry_key(which, value),
        )
        before = [value for value in given if _grouping.entry_key(which, value) < key]
        best = before[-1] if before else given[0] if given else None
    return [at for at, value in some if value == best]


def values_at(components: tuple[Component, ...], position: Position) -> dict[Component, Value]:
    """The values of a position that it has."""
    return {which: value for which, value in zip(components, position, strict=True) if value is not None}
