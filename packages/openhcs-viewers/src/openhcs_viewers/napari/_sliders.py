"""The sliders under the canvas: growing them, keeping the user's place by value, saying in words where he is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from openhcs_viewers.napari._layers import ShownLayer, layer_scale
from openhcs_viewers.scene import Scene
from polystore.components import Component, Value
from polystore.projection import Axis

__all__ = ["WORDS", "Sliders"]

WORDS = {which: which.value for which in Component} | {Component.FIELD: "site"}
"""What components are called on screen."""


_EVENTS = ("point", "ndisplay", "order", "current_step")
"""Those on which napari reads planes."""


class Sliders:
    """The part of napari's dims that is ours: one axis per component, outermost first, before y and x.

    The user may have layers of his own with more axes; ours are then the ones next to the image.

    Parameters
    ----------
    model
        napari's viewer.
    scene
        Is told where the user looks, before napari reads the planes there.
    moved
        Called after each move with the position shown.
    """

    def __init__(self, model: Any, scene: Scene, moved: Callable[[], None]) -> None:
        self.axes: tuple[Axis, ...] = ()
        self.position: Mapping[Component, Value] = {}
        """The value each slider stands at; without those whose axis is drawn as a whole."""
        self._model = model
        self._dims = model.dims
        self._scene = scene
        self._moved = moved
        self._remembered: dict[Component, Value] = {}
        self._busy = False
        self._emitters = [getattr(self._dims.events, name) for name in _EVENTS]
        for emitter in self._emitters:
            # First, so that the scene knows before napari's own callback reads the planes: see
            # Scene.look_at.
            emitter.connect(self._before, position="first")
            emitter.connect(self._after, position="last")

    def stop(self) -> None:
        """Watch the sliders no longer."""
        for emitter in self._emitters:
            emitter.disconnect(self._before)
            emitter.disconnect(self._after)
        self._emitters = []

    def remember(self, position: Mapping[Component, Value]) -> None:
        """Where the first image is, for the time when there will be sliders to stand there."""
        for which, value in position.items():
            self._remembered.setdefault(which, value)

    def is_other(self, axes: tuple[Axis, ...]) -> bool:
        """Whether there will be another number or order of sliders, and not only more values."""
        return [which for which, _ in axes] != [which for which, _ in self.axes]

    def grow(self, axes: tuple[Axis, ...], shown: Iterable[ShownLayer]) -> None:
        """Take on other sliders or more values. The user keeps his place, which is a value and not an index."""
        same = not self.is_other(axes)
        old, self.axes = self.axes, axes
        place = [self._index(which, values) for which, values in axes]
        images = [(one, one.planes) for one in shown if one.planes is not None]
        self._busy = True
        try:
            self._look({which: values[at] for at, (which, values) in zip(place, axes, strict=True)})
            for one, planes in images:
                planes.change(one.plan, axes)
            if same:
                # napari works out the sliders from all layers' sizes, which it remembers: one up to date
                # will do.
                for one, _ in images[:1]:
                    one.stretch()
                self._lengthen(old, place)
            else:
                # All layers get their new axes before napari looks at any: it compares them with each
                # other.
                for one, planes in images:
                    with one.layer.events.data.blocker():
                        one.layer.data = planes
                    one.stretch()  # napari leaves out hidden layers
                for one, planes in images:
                    one.layer.events.data(value=planes)
                    if one.plan.scale:
                        one.layer.scale = layer_scale(one.plan, planes)
                self._label()
                self._go(place)
        finally:
            self._busy = False
        self._before()
        self._after()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep the user's place while napari moves the sliders by itself, as it does for a first layer."""
        self._busy = True
        try:
            yield
            self._label()
            self._set_lengths()
            self._go([self._index(which, values) for which, values in self.axes])
        finally:
            self._busy = False
        self._before()
        self._after()

    def stretch(self, shown: Iterable[ShownLayer]) -> None:
        """Set the sliders' lengths right after napari worked them out from what it remembered of layers."""
        for one in shown:
            one.stretch()
        self._set_lengths()

    def go(self, position: Mapping[Component, Value]) -> None:
        """Move sliders to values; those not named, or whose value is not there yet, stay."""
        place = [
            values.index(position[which]) if position.get(which) in values else self._index(which, values)
            for which, values in self.axes
        ]
        self._go(place)

    def text(self) -> str:
        """Where the user is: ``well E07 · site 1 · z 5``."""
        return " \u00b7 ".join(f"{WORDS[which]} {value}" for which, value in self.position.items())

    # -- inside

    def _index(self, which: Component, values: tuple[Value, ...]) -> int:
        wanted = self._remembered.get(which)
        return values.index(wanted) if wanted in values else 0

    def _shift(self) -> int:
        """How many axes of the user's come before ours."""
        return int(self._dims.ndim) - 2 - len(self.axes)

    def _lengthen(self, old: tuple[Axis, ...], place: list[int]) -> None:
        self._set_lengths()
        moved = [
            at
            for at, ((_, before), (_, after)) in enumerate(zip(old, self.axes, strict=True))
            if before != after and self._current(at) != place[at]
        ]
        if moved:
            self._go(place)

    def _current(self, at: int) -> int:
        index: int = round(self._dims.point[at + self._shift()])
        return index

    def _set_lengths(self) -> None:
        shift = self._shift()
        if shift < 0:
            return
        ranges = list(self._dims.range)
        for at, (_, values) in enumerate(self.axes):
            start, stop, step = ranges[at + shift]
            ranges[at + shift] = (min(start, 0.0), max(stop, len(values) - 1.0), step)
        if tuple(ranges) != tuple(self._dims.range):
            self._dims.range = ranges

    def _go(self, place: list[int]) -> None:
        shift = self._shift()
        if shift < 0:
            return
        point = list(self._dims.point)
        point[shift : shift + len(place)] = [float(index) for index in place]
        if tuple(point) != tuple(self._dims.point):
            self._dims.point = point

    def _label(self) -> None:
        if self._shift() < 0:  # there is no layer yet
            return
        labels = list(self._dims.axis_labels)
        ours = [WORDS[which] for which, _ in self.axes] + ["y", "x"]
        labels[-len(ours) :] = ours
        self._dims.axis_labels = labels

    def _look(self, position: Mapping[Component, Value]) -> None:
        self.position = position
        self._remembered.update(position)
        self._scene.look_at(position)

    def _before(self, _event: Any = None) -> None:
        shift = self._shift()
        if self._busy or shift < 0:
            return
        hidden, point = self._dims.not_displayed, self._dims.point
        self._look(
            {
                which: values[min(max(round(point[at + shift]), 0), len(values) - 1)]
                for at, (which, values) in enumerate(self.axes)
                if at + shift in hidden
            }
        )

    def _after(self, _event: Any = None) -> None:
        if not self._busy:
            self._moved()
