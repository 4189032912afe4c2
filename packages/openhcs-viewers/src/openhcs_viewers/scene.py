"""What a viewer shows, between the thread that receives and the thread that draws.

The I/O thread calls `Scene.receive`: the image is copied, placed and kept, and its memory given back to the
sender. When nobody looks at its position the image is *displayed* at once, because it will be seen as soon
as the slider is moved there, and the GUI thread never hears of it. Otherwise it waits for the next
`Scene.take_changes`, and `Scene.applied` says that it is on screen. An image sent again before that
replaces the waiting one, which is *superseded*. Every image gets exactly one outcome.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from openhcs_viewers._contrast import Contrasts
from openhcs_viewers._describe import describe
from openhcs_viewers._kept_rois import KeptRois
from openhcs_viewers._tickets import Arrival, Ticket
from openhcs_viewers.abc import Changes
from openhcs_viewers.errors import StoreFullError
from openhcs_viewers.store import Filled, Store
from polystore.components import Component, ImageKey, Value
from polystore.errors import PolystoreError, ProjectionError
from polystore.projection import (
    LayerPlan,
    LayerProjection,
    Placement,
    Position,
    Projection,
    check_plane,
    split_planes,
)

__all__ = ["Arrival", "Scene"]

logger = logging.getLogger(__name__)

_Key = tuple[str, Position]


class Scene:
    """Layers, planes and what is looked at. `receive` belongs to one thread, the rest as each says.

    Parameters
    ----------
    store
        Keeps the planes.
    projection
        Decides where they belong; used under this scene's lock only.
    every_plane
        The viewer wants to be told of every plane, shown or not (`Viewer.every_plane`).
    every_roi
        The same for regions of interest alone.
    """

    def __init__(
        self,
        store: Store,
        projection: Projection | None = None,
        *,
        every_plane: bool = False,
        every_roi: bool = False,
    ) -> None:
        self.store = store
        self._projection: Projection = projection or LayerProjection()
        self._every = every_plane
        self._every_roi = every_plane or every_roi
        self._lock = threading.Lock()
        self._wake: Callable[[], None] = _nothing
        self._looking: Mapping[Component, Value] = {}
        self._looking_into: dict[str, Mapping[Component, Value]] = {}
        self._live: dict[str, LayerPlan] = {}
        self._applied_axes = 0
        self._new: dict[str, None] = {}
        self._updated: dict[str, None] = {}
        self._waiting: dict[_Key, Ticket] = {}
        self._contrasts = Contrasts()
        self._rois = KeptRois()
        self._follow: dict[str, Mapping[Component, Value]] = {}
        self._received = 0
        self._counts = {"displayed": 0, "superseded": 0, "dropped": 0}
        self._reasons: dict[str, int] = {}
        self._gone: dict[str, str] = {}

    # -- waking the GUI thread

    def on_wake(self, callback: Callable[[], None]) -> None:
        """Have `callback` called, from any thread, whenever there is something to take. Set once by the viewer."""
        self._wake = callback
        callback()

    def wake(self) -> None:
        """Ask for the GUI thread's attention; any thread."""
        self._wake()

    # -- the I/O thread

    def receive(self, images: Iterable[Arrival]) -> None:
        """Take images in. Each is credited as soon as it is copied, and resolved now or by `applied`."""
        for image in images:
            self._received += 1
            try:
                self._receive(image)
            except (PolystoreError, StoreFullError, MemoryError) as error:
                self._refuse(image, str(error) or type(error).__name__)
            except Exception as error:
                # The boundary to what others send: a bug here must not cost a sender its credit, or its
                # neighbours.
                logger.exception("an image (%s) could not be taken in", image.key)
                self._refuse(image, f"internal error: {error!r}")
        if self._waiting or self._follow:
            self._wake()

    def declare(self, extents: Mapping[Component | str, Iterable[Value]]) -> None:
        """Announce values of components before their images: the sliders are there from the start; any
        thread.

        Raises
        ------
        ComponentError
            A component or value nobody understands.
        """
        with self._lock:
            moved = self._projection.declare(extents)
        if moved:
            self._wake()

    # -- the GUI thread

    def look_at(self, position: Mapping[Component, Value], layer_id: str | None = None) -> None:
        """Say where the sliders are, **before** the planes there are read.

        With `layer_id` those of that layer alone, in a viewer whose layers have sliders of their own.

        Components that are drawn as a whole (a stack seen in 3-D) are left out: all their planes are looked
        at. The order matters: an image that arrives after this call is known to be on screen, one that
        arrived before it is there to be read. No lock is needed for that.
        """
        if layer_id is None:
            self._looking = dict(position)
        else:
            self._looking_into[layer_id] = dict(position)
        if self._contrasts.have_moved:  # of planes nobody looked at until now
            self._wake()

    def take_changes(self, *, new_layers: int = 1) -> Changes:
        """What to do now. Follow it by `applied`.

        Parameters
        ----------
        new_layers
            How many layers may be made at most; making one takes a viewer longer than everything else here,
            and the window must move meanwhile. The others come next time, with their images.
        """
        with self._lock:
            news = self._waiting or self._new or self._updated or self._follow
            idle = not (news or self._contrasts.have_moved)
            if idle and self._applied_axes == self._projection.axes_version:
                return _NO_CHANGES
            return self._collect(new_layers)

    def applied(
        self,
        changes: Changes,
        failed: Mapping[str, str] | None = None,
        lost: Mapping[tuple[str, Position], str] | None = None,
    ) -> None:
        """Say that the changes are made: their images are displayed.

        Parameters
        ----------
        failed
            Layers that could not be made or changed, with the reason: they are given up, and their images
            dropped.
        lost
            Single planes that could not be shown, by layer and position, with the reason.
        """
        done: list[Ticket] = []
        with self._lock:
            if changes.axes is not None:
                self._applied_axes = changes.axes_version
            for plan in (*changes.created, *changes.updated):
                if plan.layer_id not in self._gone and plan.layer_id not in self._new:
                    self._live[plan.layer_id] = plan
            for key, ticket in changes.tickets:
                layer_id = key[0]
                if layer_id in self._new:  # removed meanwhile, and to be made once more: see layer_deleted
                    if key in self._waiting:
                        self._end(ticket, "superseded", "", done)
                    else:
                        self._waiting[key] = ticket
                    continue
                reason = (failed or {}).get(layer_id) or (lost or {}).get(key) or self._gone.get(layer_id)
                self._end(ticket, "dropped" if reason else "displayed", reason or "", done)
            for layer_id, reason in (failed or {}).items():
                self._give_up(layer_id, f"its layer could not be shown: {reason}", done)
            more = bool(self._waiting or self._new)
        self._send(done)
        if more:
            self._wake()

    def layer_deleted(self, layer_id: str, reason: str = "its layer was deleted in the viewer") -> None:
        """Say that a layer is gone, or left to the user: its planes are forgotten and it stays away until another run.

        When a later run has taken it over and was not shown yet, that is the other run: its layer is made anew.
        """
        done: list[Ticket] = []
        with self._lock:
            shown, plan = self._live.get(layer_id), self._projection.layer(layer_id)
            again = shown is not None and plan is not None and plan.run != shown.run
            if again:
                for some in (self._live, self._updated, self._looking_into):
                    some.pop(layer_id, None)
                self._new[layer_id] = None
            else:
                self._give_up(layer_id, reason, done)
        self._send(done)
        if again:
            self._wake()

    def rois(self, layer_id: str, position: Position) -> tuple[Any, ...]:
        """The regions of interest at a position of a layer; any thread."""
        return self._rois.of(layer_id).get(position, ())

    def roi_positions(self, layer_id: str) -> tuple[Position, ...]:
        """The positions of a layer that have, or had, regions of interest; any thread."""
        return tuple(self._rois.of(layer_id))

    def keep_rois(
        self, layer_id: str, position: Position, rois: Sequence[Any], drawn: Sequence[Any] | None = None
    ) -> None:
        """Replace the regions at a position by what the user made of them.

        Parameters
        ----------
        drawn
            Those of them that he drew or changed; all when not given.
        """
        with self._lock:
            self._rois.keep(layer_id, position, rois, rois if drawn is None else drawn)

    def drawn_rois(self, layer_id: str, position: Position) -> tuple[Any, ...]:
        """Those of the regions at a position that the user drew or changed; any thread."""
        return self._rois.drawn(layer_id, position)

    def roi_plans(self) -> list[LayerPlan]:
        """The plans of all layers that have regions of interest, from the bottom to the top; any thread."""
        with self._lock:
            plans = [self._projection.layer(layer_id) for layer_id in self._rois]
        return sorted((plan for plan in plans if plan is not None), key=lambda plan: plan.order)

    # -- any thread

    def close(self, reason: str = "the viewer was closed") -> None:
        """Drop what is still waiting, for that reason. The store is its owner's to close."""
        done: list[Ticket] = []
        with self._lock:
            for ticket in self._waiting.values():
                self._end(ticket, "dropped", reason, done)
            self._waiting.clear()
        self._send(done)

    def state(self) -> dict[str, Any]:
        """What is shown, as plain values."""
        with self._lock:
            axes = self._projection.axes()
            plans = [self._plan(plan) for plan in self._projection.layers() if plan.layer_id in self._live]
            counts, looking = {"received": self._received, **self._counts}, dict(self._looking)
            waiting, reasons = len(self._waiting), dict(self._reasons)
        layers = []
        for plan in sorted(plans, key=lambda plan: plan.order):
            regions = self._rois.of(plan.layer_id) if plan.kind in ("shapes", "points") else None
            layers.append(describe(plan, self.store.count(plan.layer_id), regions))
        status = self.store.status()
        return {
            "axes": [{"component": which.value, "values": list(values)} for which, values in axes],
            "position": {which.value: value for which, value in looking.items()},
            "layers": layers,
            "images": {**counts, "waiting": waiting, "drop_reasons": reasons},
            "memory": {name: getattr(status, name) for name in status.__dataclass_fields__},
        }

    def status(self) -> dict[str, Any]:
        """The counters alone: images and memory."""
        state = self.state()
        return {"images": state["images"], "memory": state["memory"], "layers": len(state["layers"])}

    # -- inside: receiving

    def _receive(self, image: Arrival) -> None:
        if image.kind == "rois":
            self._receive_rois(image)
            return
        array = image.array
        if array is None:
            raise ProjectionError(f"an image of kind {image.kind!r} came without pixels")
        parts: list[tuple[tuple[int, ...], ImageKey]] = [((), image.key)]
        if array.ndim != 2 or not array.size:
            parts = split_planes(image.key, array.shape, array.dtype)
        filled: list[Filled] = []
        try:
            for index, _ in parts:
                # Labels are painted on, so theirs is memory of our own.
                owned = image.owned and image.kind != "labels"
                part = array[index] if index else array
                check_plane(image.kind, part.shape, part.dtype)  # as it came: the store may convert it
                filled.append(self.store.fill(part, owned=owned, kind=image.kind))
            whole = image.intact()
        except BaseException:
            self._discard(filled)
            raise
        if not whole:
            self._discard(filled)
            self._refuse(image, "its memory was rewritten while it was copied")
            return
        ticket = Ticket(image, len(parts))
        done: list[Ticket] = []
        with self._lock:
            for (_, key), one in zip(parts, filled, strict=True):
                self._settle(ticket, key, one, done)
        if ticket not in done:
            ticket.credit()
        self._send(done)

    def _settle(self, ticket: Ticket, key: ImageKey, filled: Filled, done: list[Ticket]) -> None:
        """Place and keep one plane, and decide whether the GUI has to know. Called with the lock."""
        image, plane = ticket.image, filled.plane
        try:
            placement = self._projection.place(
                image.context, key, plane.shape, plane.dtype, image.kind, name=image.name, path=image.path
            )
        except ProjectionError as error:
            self.store.discard(filled)
            self._end(ticket, "dropped", str(error), done)
            return
        if placement.refused:
            self.store.discard(filled)
            taken_over = self._projection.layer(placement.layer_id) is not None
            self._end(ticket, "superseded" if taken_over else "dropped", placement.refused, done)
            return
        self._note(placement, done)
        self.store.commit(placement.layer_id, placement.position, filled)
        if placement.replaces:
            self.store.drop(*placement.replaces)
        if image.kind == "image" and plane.ndim == 2:
            self._contrasts.feed(placement.layer_id, placement.part, plane, image.contrast)
        plan = self._live.get(placement.layer_id)
        # One smaller than its layer has to be laid out anew, which may fail.
        whole = plan is None or plane.shape[:2] == plan.plane_shape[:2]
        self._show(ticket, placement, done, whole=whole)

    def _note(self, placement: Placement, done: list[Ticket]) -> None:
        """Remember what a placement changed besides its plane. Called with the lock."""
        changed, layer_id = placement.changed, placement.layer_id
        if not changed:
            return
        if "new_layer" in changed:
            self._new[layer_id] = None
        elif "replaced" in changed:
            self._contrasts.forget(layer_id)
            self._rois.forget(layer_id)
            self.store.drop(layer_id)
            self._forget_waiting(layer_id, "superseded", "a later run took over its layer", done)
            if layer_id not in self._new:
                self._updated[layer_id] = None
        elif "shape" in changed and layer_id not in self._new:
            self._updated[layer_id] = None

    def _show(self, ticket: Ticket, placement: Placement, done: list[Ticket], *, whole: bool = True) -> None:
        """Resolve a kept plane, or let it wait for the GUI. Called with the lock."""
        key = (placement.layer_id, placement.position)
        if ticket.image.context.display.follow:
            plan = self._projection.layer(placement.layer_id)
            if plan is not None:
                where = zip(plan.components, placement.position, strict=True)
                self._follow.pop(plan.layer_id, None)  # the newest of all is the last
                self._follow[plan.layer_id] = {which: value for which, value in where if value is not None}
        older = self._waiting.get(key)
        if older is not None:
            # The dict keeps its place: what is sent over and over must not wait for ever behind the others.
            self._end(older, "superseded", "", done)
        plan = self._live.get(placement.layer_id)
        if (
            plan is None
            or not whole
            or self._wants_all(plan)
            or self._applied_axes != self._projection.axes_version
            or placement.layer_id in self._updated
            or self._is_shown(plan, placement.position)
        ):
            self._waiting[key] = ticket
        else:
            self._waiting.pop(key, None)
            self._end(ticket, "displayed", "", done)

    def _wants_all(self, plan: LayerPlan) -> bool:
        return self._every_roi if plan.kind in ("shapes", "points") else self._every

    def _is_shown(self, plan: LayerPlan, position: Position) -> bool:
        get = self._looking_into.get(plan.layer_id, self._looking).get
        return all(
            value is None or get(which, value) == value
            for which, value in zip(plan.components, position, strict=True)
        )

    def _receive_rois(self, image: Arrival) -> None:
        from polystore.rois import rois_from_wire

        rois = rois_from_wire(image.rois or [])
        points = tuple(roi for roi in rois if roi.kind == "point")
        shapes = tuple(roi for roi in rois if roi.kind != "point")
        done: list[Ticket] = []
        with self._lock:
            placed = []
            for kind, some in (("shapes", shapes), ("points", points)):
                if some:
                    args = (image.context, image.key, (), "", kind)
                    placement = self._projection.place(*args, name=image.name, path=image.path)
                else:  # none of that kind any more: clear what this file's older self left
                    found = self._projection.find(
                        image.context, image.key, kind, name=image.name, path=image.path
                    )
                    if found is None:
                        continue
                    placement = found
                placed.append((placement, some))
            ticket = Ticket(image, max(1, len(placed)))
            if not placed:
                self._end(ticket, "displayed", "", done)
            for placement, some in placed:
                if placement.refused:
                    self._end(ticket, "dropped", placement.refused, done)
                    continue
                self._note(placement, done)
                self._rois.put(placement.layer_id, placement.position, some)
                self._show(ticket, placement, done)
        if ticket not in done:
            ticket.credit()
        self._send(done)

    def _refuse(self, image: Arrival, reason: str) -> None:
        done: list[Ticket] = []
        with self._lock:
            self._end(Ticket(image, 1), "dropped", reason, done)
        self._send(done)

    def _discard(self, filled: list[Filled]) -> None:
        for one in filled:
            self.store.discard(one)

    # -- inside: handing over

    def _collect(self, new_layers: int) -> Changes:
        """Build the changes. Called with the lock."""
        projection = self._projection
        created = []
        for layer_id in list(self._new)[:new_layers]:
            del self._new[layer_id]
            plan = projection.layer(layer_id)
            if plan is not None:
                created.append(self._plan(plan))
        updated = []
        for layer_id in [one for one in self._updated if one in self._live]:
            del self._updated[layer_id]
            plan = projection.layer(layer_id)
            if plan is not None:
                updated.append(self._plan(plan))
        fresh = {plan.layer_id for plan in (*created, *updated)}
        planes: dict[str, list[Position]] = {}
        rois: dict[str, list[Position]] = {}
        tickets = []
        for key in [key for key in self._waiting if key[0] in self._live or key[0] in fresh]:
            layer_id, position = key
            tickets.append((key, self._waiting.pop(key)))
            plan = self._live.get(layer_id)
            if (
                plan is not None
                and layer_id not in fresh
                and (self._wants_all(plan) or self._is_shown(plan, position))
            ):
                where = rois if plan.kind in ("shapes", "points") else planes
                where.setdefault(layer_id, []).append(position)
        shown = [layer_id for layer_id in self._follow if layer_id in self._live or layer_id in fresh]
        follow = {layer_id: self._follow.pop(layer_id) for layer_id in shown}
        moved = self._applied_axes != projection.axes_version
        return Changes(
            axes=projection.axes() if moved else None,
            created=tuple(created),
            updated=tuple(updated),
            planes={layer_id: tuple(some) for layer_id, some in planes.items()},
            rois={layer_id: tuple(some) for layer_id, some in rois.items()},
            contrast=self._contrasts.take(self._live, fresh),
            follow=follow,
            tickets=tuple(tickets),
            axes_version=projection.axes_version,
        )

    def _plan(self, plan: LayerPlan) -> LayerPlan:
        known = self._contrasts.known(plan.layer_id)
        return plan.with_contrast(known) if known else plan

    def _give_up(self, layer_id: str, reason: str, done: list[Ticket]) -> None:
        """Forget a layer. Called with the lock."""
        self._projection.remove(layer_id, reason)
        self._gone[layer_id] = reason
        self._live.pop(layer_id, None)
        for some in (self._new, self._updated, self._follow, self._looking_into):
            some.pop(layer_id, None)
        self._contrasts.forget(layer_id)
        self._rois.forget(layer_id)
        self.store.drop(layer_id)
        self._forget_waiting(layer_id, "dropped", reason, done)

    def _forget_waiting(self, layer_id: str, outcome: str, reason: str, done: list[Ticket]) -> None:
        for key in [key for key in self._waiting if key[0] == layer_id]:
            self._end(self._waiting.pop(key), outcome, reason, done)

    def _end(self, ticket: Ticket, outcome: str, reason: str, done: list[Ticket]) -> None:
        """Settle one part of an image; the image is counted with its last. Called with the lock."""
        if not ticket.part(outcome, reason):
            return
        done.append(ticket)
        self._counts[ticket.outcome] += 1
        if ticket.outcome == "dropped":
            reason = ticket.reason if len(self._reasons) < _MAX_REASONS else "other"
            if reason not in self._reasons:  # once per reason: a plate has thousands of images
                logger.warning("an image (%s) is not shown: %s", ticket.image.key, ticket.reason)
            self._reasons[reason] = self._reasons.get(reason, 0) + 1

    def _send(self, done: Sequence[Ticket]) -> None:
        """Tell the senders. Called without the lock: it may have to wait for a socket's own."""
        for ticket in done:
            ticket.send()


_NO_CHANGES = Changes()

_MAX_REASONS = 100
"""Different reasons counted one by one: they may name files."""


def _nothing() -> None:
    """Stand in until a viewer wants to be woken."""
