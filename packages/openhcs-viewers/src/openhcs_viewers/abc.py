"""What every viewer does, and what it is told."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from openhcs_viewers.drawn import DrawnRoi, rois_of_scene
from openhcs_viewers.errors import DisplayError
from polystore.components import Component, Value
from polystore.projection import Axis, LayerPlan, Limits, Position

if TYPE_CHECKING:
    from openhcs_viewers.scene import Scene

__all__ = ["Changes", "Command", "Viewer", "ViewerSettings"]


@dataclass(frozen=True, slots=True)
class Changes:
    """What the GUI thread has to do now. False when nothing.

    Parameters
    ----------
    axes
        The viewer's sliders, all of them, when they changed; else None. Planes do not move by it: they are
        found by value. Layers without a slider's component show the same at each of its values.
    created
        Layers to make. Their planes are in the store.
    updated
        Layers to change in place: larger planes, or a later run took the layer over and its old planes are
        gone.
    planes
        Layer id to the positions whose plane is new or another one, as far as they are shown now (of all of
        them for a viewer that asked for every plane). Layers just made are left out.
    rois
        The same for regions of interest.
    contrast
        Layer id to the ranges to show, unless the user chose one: of the whole layer under None, of the parts of a
        layer that have their own under theirs (`polystore.projection.Placement.part`).
    follow
        Layer id to where its newest image is that wants to be looked at; the newest of all comes last.
    """

    axes: tuple[Axis, ...] | None = None
    created: tuple[LayerPlan, ...] = ()
    updated: tuple[LayerPlan, ...] = ()
    planes: Mapping[str, tuple[Position, ...]] = field(default_factory=dict)
    rois: Mapping[str, tuple[Position, ...]] = field(default_factory=dict)
    contrast: Mapping[str, Mapping[Value | None, Limits]] = field(default_factory=dict)
    follow: Mapping[str, Mapping[Component, Value]] = field(default_factory=dict)
    tickets: tuple[Any, ...] = ()
    """The scene's own: the images these changes show."""
    axes_version: int = 0
    """The scene's own."""

    def __bool__(self) -> bool:
        return bool(
            self.axes is not None
            or self.created
            or self.updated
            or self.planes
            or self.rois
            or self.contrast
            or self.follow
            or self.tickets
        )


@dataclass(frozen=True, slots=True)
class ViewerSettings:
    """What a viewer's process was told about its viewer.

    Parameters
    ----------
    budget
        Bytes of planes to keep in memory; None for the viewer's default.
    display
        ``"auto"``, ``"virtual"``, ``"headless"`` (no window at all, where a viewer can do without) or an X display.
    options
        What this kind of viewer alone understands, as given to `openhcs_viewers.launch`.
    """

    budget: int | None = None
    display: str = "auto"
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Command:
    """A request this kind of viewer alone answers.

    Parameters
    ----------
    run
        Gets the request's parameters, as sent: checks them, returns plain values.
    trusted
        It may do anything this user may: answered for clients over ipc only, whose socket belongs to the user.
    gui
        True: called on the GUI thread. False: on a thread of its own, because it may take long.
    """

    run: Callable[[Mapping[str, Any]], Any]
    trusted: bool = False
    gui: bool = True


class Viewer(ABC):
    """A window that shows a scene. Every method belongs to the GUI thread, the one that called `open`.

    Parameters
    ----------
    scene
        What to show. The viewer reads planes from ``scene.store`` and regions from ``scene.rois``, tells
        the scene what is looked at (`Scene.look_at`) and is woken by it (`Scene.on_wake`).
    """

    kind: ClassVar[str] = ""
    """The name it is registered under."""

    every_plane: ClassVar[bool] = False
    """False: `Changes.planes` names only planes that are shown, and the others cost the GUI nothing."""

    end_grace: ClassVar[float] = 8.0
    """Seconds its process gets to end in good order once it was asked to; then it is ended."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.title = ""

    @classmethod
    def create(cls, settings: ViewerSettings) -> Self:
        """Return a viewer with a scene of its own, before its process listens; on the GUI thread.

        Raises
        ------
        ViewerError
            It cannot be, with these settings or on this machine.
        """
        from openhcs_viewers.scene import Scene
        from openhcs_viewers.store import PlaneStore

        if settings.display == "headless":
            raise DisplayError(
                f"a {cls.kind} is nothing without a window: use display='virtual' where there is no screen"
            )
        return cls(Scene(PlaneStore(settings.budget), every_plane=cls.every_plane))

    @abstractmethod
    def open(self, title: str) -> None:
        """Open the window and make it ready: the first image must not wait for anything to be loaded.

        Raises
        ------
        DisplayError
            There is no display to open it on.
        """

    @abstractmethod
    def apply(self, changes: Changes) -> Mapping[str, str]:
        """Do what the changes say. Returns the layers that could not be made or changed, with the reason."""

    @abstractmethod
    def run(self, pump: Callable[[], None], heartbeat: Callable[[], None] | None = None) -> None:
        """Run the event loop until the window is closed or the process is asked to end.

        Parameters
        ----------
        pump
            Called on this thread soon after `Scene.wake`, at most once per frame. Usually `Viewer.pump`.
        heartbeat
            Called after each pump and about four times a second: the loop turns.
        """

    def end_soon(self) -> None:
        """Take note that the viewer is to end; from any thread.

        `run` hears of it by `pump` or `heartbeat`, where it is to close the window. For viewers whose loop calls
        neither while something else holds it.
        """

    @abstractmethod
    def screenshot(self, path: Path | None = None, *, canvas_only: bool = False) -> np.ndarray[Any, Any]:
        """A picture of the window, or of the canvas without anything around: (y, x, 4) uint8, RGBA.

        Written to `path` as PNG when one is given.

        Raises
        ------
        ScreenshotError
            No picture can be taken or written.
        """

    @abstractmethod
    def close(self) -> None:
        """Close the window; `run` returns. Idempotent."""

    def pump(self) -> None:
        """Apply what changed since the last time, and let the senders know."""
        changes = self.scene.take_changes()
        if changes:
            self.scene.applied(changes, self.apply(changes))

    def rois(self, include: str = "user") -> list[DrawnRoi]:
        """Return the regions the user drew or changed; with ``include="all"`` the streamed ones, too."""
        return rois_of_scene(self.scene, include)

    def commands(self) -> Mapping[str, Command]:
        """Return what this kind of viewer answers beside what all do, by name."""
        return {}

    def state(self) -> dict[str, Any]:
        """What is shown, as plain values: title, sliders, position, layers from the bottom to the top."""
        return {"viewer": self.kind, "title": self.title, **self.scene.state()}
