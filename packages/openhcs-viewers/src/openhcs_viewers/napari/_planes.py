"""The N-d array a napari layer shows: planes of the store, found by value and handed out by reference.

Nothing is stacked and nothing copied: a layer of a thousand planes is this object and a thousand entries of
the store, and napari draws the very memory the plane arrived in. A plane that grows the array changes a
tuple.
"""

from __future__ import annotations

from itertools import product
from typing import Any, TypeAlias

import numpy as np

from openhcs_viewers.store import Store
from polystore.projection import Axis, LayerPlan, Position

__all__ = ["Planes"]

Array: TypeAlias = np.ndarray[Any, Any]


class Planes:
    """A layer's planes as one array: the viewer's sliders first, then (y, x) or (y, x, colour).

    What numpy functions need (`__array__`) is there, but stacks every plane; napari only asks for those it
    shows. Used by the GUI thread, and by napari's slicing thread where that is switched on.

    Parameters
    ----------
    store
        Where the planes are.
    plan
        The layer.
    axes
        The viewer's sliders. Those the layer has no component for show the same plane at each value.
    """

    def __init__(self, store: Store, plan: LayerPlan, axes: tuple[Axis, ...]) -> None:
        self._store = store
        self.reads = 0
        """Planes handed out so far."""
        self.change(plan, axes)

    def change(self, plan: LayerPlan, axes: tuple[Axis, ...]) -> None:
        """Take on a new plan or new sliders. Whoever shows the array has to be told."""
        where = {which: at for at, (which, _) in enumerate(axes)}
        self.plan = plan
        self.axes = axes
        # For each component: which slider, or else the one value it has (None is never a value).
        self._picks = tuple((where.get(which), values[0] if values else 0) for which, values in plan.axes)
        self._labels = plan.kind == "labels"
        self._stored = np.dtype(plan.dtype)
        self.dtype = _shown_dtype(self._stored, labels=self._labels)
        self.shape = (*(len(values) for _, values in axes), *plan.plane_shape)
        self.ndim = len(self.shape)
        self._blank = np.broadcast_to(np.zeros((), self.dtype), plan.plane_shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=object))

    @property
    def nbytes(self) -> int:
        """Bytes the array would have if it were stacked."""
        return self.size * self.dtype.itemsize

    def position(self, index: tuple[int, ...]) -> Position:
        """The position in the layer that a slider index stands for."""
        return tuple([only if at is None else self.axes[at][1][index[at]] for at, only in self._picks])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Any:
        lead, rest = self._split(key)
        if any(isinstance(one, np.ndarray) for one in (*lead, *rest)):
            return self._fancy(lead, rest)
        if all(isinstance(one, int) for one in lead):
            plane = self._plane(lead)
            return plane[rest] if any(one != _ALL for one in rest) else plane
        ranges = [range(*one.indices(n)) if isinstance(one, slice) else (one,) for one, n in self._each(lead)]
        planes = [self._plane(index)[rest] for index in product(*ranges)]
        shape = [len(some) for some, one in zip(ranges, lead, strict=True) if isinstance(one, slice)]
        if len(planes) == 1:
            return planes[0].reshape((*shape, *planes[0].shape))  # a view: no copy for one thin slice
        if not planes:
            return np.empty((*shape, *self._blank[rest].shape), self.dtype)
        return np.stack(planes).reshape((*shape, *planes[0].shape))

    def __setitem__(self, key: Any, value: Any) -> None:
        """Paint: into the stored plane, or into a new one where there was none yet."""
        lead, rest = self._split(key)
        if any(isinstance(one, np.ndarray) for one in (*lead, *rest)):
            flat, columns, shape = self._flatten(lead, rest)
            values = np.broadcast_to(np.asarray(value), shape).ravel()
            for index, where in flat:
                self._paint(index, tuple(column[where] for column in columns), values[where])
            return
        ranges = [range(*one.indices(n)) if isinstance(one, slice) else (one,) for one, n in self._each(lead)]
        kept = [len(some) for some, one in zip(ranges, lead, strict=True) if isinstance(one, slice)]
        values = np.asarray(value)
        spread = np.broadcast_to(values, (*kept, *self._blank[rest].shape)) if kept else values
        spread = spread.reshape((-1, *spread.shape[len(kept) :])) if kept else spread[None]
        for index, one in zip(product(*ranges), spread, strict=True):
            self._paint(index, rest, one)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if copy is False:
            raise ValueError("planes are kept apart: an array of all of them is a copy")
        whole = self[(slice(None),) * self.ndim]
        return np.array(whole, dtype=dtype)

    # -- inside

    def _plane(self, index: tuple[int, ...]) -> Array:
        self.reads += 1
        plane = self._store.get(self.plan.layer_id, self.position(index))
        if plane is None:
            # Labels are painted on what is read here, so theirs has to be memory.
            return np.zeros(self.plan.plane_shape, self.dtype) if self._labels else self._blank
        if plane.dtype != self.dtype:
            plane = plane.view(self.dtype) if self._stored.kind == "b" else _real(plane, self.dtype)
        if plane.shape != self.plan.plane_shape:
            padded = np.zeros(self.plan.plane_shape, self.dtype)
            padded[tuple(map(slice, plane.shape))] = plane
            return padded
        return plane

    def _paint(self, index: tuple[int, ...], rest: tuple[Any, ...], value: Any) -> None:
        layer_id, position = self.plan.layer_id, self.position(index)
        plane = self._store.get(layer_id, position)
        if plane is None or plane.shape != self.plan.plane_shape or not plane.flags.writeable:
            self._store.put(layer_id, position, self._plane(index).astype(self._stored, copy=False))
            plane = self._store.get(layer_id, position)
            assert plane is not None
        plane.view(self.dtype)[rest] = value
        self._store.touched(layer_id, position)

    def _split(self, key: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """An index for each axis, as int, slice or array; the sliders' apart from the plane's."""
        parts = list(key) if isinstance(key, tuple) else [key]
        if any(part is Ellipsis for part in parts):
            at = next(at for at, part in enumerate(parts) if part is Ellipsis)
            parts[at : at + 1] = [_ALL] * (self.ndim - len(parts) + 1)
        parts += [_ALL] * (self.ndim - len(parts))
        if len(parts) != self.ndim:
            raise IndexError(f"{len(parts)} indices for an array of {self.ndim} axes")
        sliders = len(self.axes)
        for at, part in enumerate(parts):
            if isinstance(part, slice):
                continue
            if isinstance(part, (int, np.integer)) and not isinstance(part, bool):
                number, length = int(part), self.shape[at]
                if not -length <= number < length:
                    raise IndexError(f"index {number} is out of bounds for axis {at} of length {length}")
                parts[at] = number % length
            else:
                parts[at] = np.asarray(part)
        return tuple(parts[:sliders]), tuple(parts[sliders:])

    def _each(self, lead: tuple[Any, ...]) -> Any:
        return zip(lead, self.shape, strict=False)

    def _flatten(self, lead: tuple[Any, ...], rest: tuple[Any, ...]) -> Any:
        """Fancy indices as: the planes they touch with a mask each, flat indices into the plane, and the shape."""
        if any(isinstance(one, slice) for one in (*lead, *rest)):
            raise IndexError("index arrays and slices cannot be mixed here; convert with numpy.asarray first")
        arrays = np.broadcast_arrays(*lead, *rest)
        shape = arrays[0].shape
        flat = [one.ravel() for one in arrays]
        sliders, columns = flat[: len(lead)], flat[len(lead) :]
        if not sliders:
            return [((), np.ones(columns[0].size, bool))], columns, shape
        rows = np.stack(sliders, axis=1)
        found = [(tuple(int(n) for n in row), (rows == row).all(axis=1)) for row in np.unique(rows, axis=0)]
        return found, columns, shape

    def _fancy(self, lead: tuple[Any, ...], rest: tuple[Any, ...]) -> Array:
        flat, columns, shape = self._flatten(lead, rest)
        out = np.zeros(columns[0].size, self.dtype)
        for index, where in flat:
            out[where] = self._plane(index)[tuple(column[where] for column in columns)]
        return out.reshape(shape)


_ALL = slice(None)


def _shown_dtype(stored: np.dtype[Any], *, labels: bool) -> np.dtype[Any]:
    """What napari is shown: complex numbers as their magnitude, masks as labels 0 and 1; the rest as it is."""
    if stored.kind == "c":
        return np.dtype(np.float32 if stored.itemsize <= 8 else np.float64)
    if stored.kind == "b" and labels:
        return np.dtype(np.uint8)
    return stored


def _real(plane: Array, dtype: np.dtype[Any]) -> Array:
    return np.abs(plane).astype(dtype, copy=False) if plane.dtype.kind == "c" else plane.astype(dtype)
