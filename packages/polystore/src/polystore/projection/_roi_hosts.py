"""Where regions of interest go in a viewer of hyperstacks, which draws them upon images only."""

from __future__ import annotations

from collections.abc import Iterable

from polystore.components import Component, Value
from polystore.projection._entries import EntryIndex, values_at
from polystore.projection._hyperstack_plan import HyperstackPlan
from polystore.projection.plan import Position

__all__ = ["host_of", "place_roi"]


def host_of(roi_plan: HyperstackPlan, plans: Iterable[HyperstackPlan]) -> HyperstackPlan | None:
    """The hyperstack that regions of interest are drawn upon, or None while there is none.

    It is of the same run and shows nothing of another well (or whatever else has windows of its own). Preferred
    are, in this order: the same step, else the step next before it, else the first after it; images to labels;
    the window of exactly the same values; one that has the regions' channels, z and t, and no component that they
    lack (of a stack and its projection, the projection for regions without z); the one made first.
    """
    hosts = [
        plan
        for plan in plans
        if plan.kind in ("image", "labels") and plan.run == roi_plan.run and not _apart(roi_plan, plan)
    ]
    return min(hosts, key=lambda plan: _distance(roi_plan, plan), default=None)


def place_roi(host: HyperstackPlan, roi_plan: HyperstackPlan, position: Position) -> tuple[int, int, int]:
    """The channel, slice and frame, counted from 1, of regions at a position of their plan; 0 is all of them.

    All where the regions have no value, the host has none, or the host does not have theirs. Where several entries
    fit but not all (a site without a time point among the frames of several sites) it is the first: ImageJ can
    tie a region to one entry or to all.
    """
    values = {**roi_plan.window, **values_at(roi_plan.components, position)}
    c, z, t = (
        _only(index, [values.get(which) for which in components], len(entries))
        for index, components, entries in zip(
            host.index, host.along, (host.channels, host.slices, host.frames), strict=True
        )
    )
    return c, z, t


def _only(index: EntryIndex, wanted: list[Value | None], entries: int) -> int:
    if all(value is None for value in wanted):
        return 0
    found = index.at(wanted)
    return found[0] + 1 if found and (len(found) < entries or entries == 1) else 0


def _values(plan: HyperstackPlan) -> dict[Component, frozenset[Value]]:
    """Everything a hyperstack shows, by component."""
    known = {which: frozenset(values) for which, values in plan.axes}
    return known | {which: frozenset({value}) for which, value in plan.window.items()}


def _apart(roi_plan: HyperstackPlan, plan: HyperstackPlan) -> bool:
    """Whether one says what has a window in the other, and they do not agree on it."""
    mine, theirs = _values(roi_plan), _values(plan)
    both = (set(roi_plan.window) | set(plan.window)) & set(mine) & set(theirs)
    return any(not mine[which] & theirs[which] for which in both)


def _distance(roi_plan: HyperstackPlan, plan: HyperstackPlan) -> tuple[object, ...]:
    mine, theirs = _values(roi_plan), _values(plan)
    missing = sum(not mine[which] & theirs.get(which, frozenset()) for which in mine)
    return (
        _steps_between(roi_plan, plan),
        plan.kind != "image",
        plan.window != roi_plan.window,
        missing,
        len(set(theirs) - set(mine)),
        plan.order,
    )


def _steps_between(roi_plan: HyperstackPlan, plan: HyperstackPlan) -> tuple[int, int]:
    mine, other = roi_plan.step_index, plan.step_index
    if mine == other:
        return (0, 0) if roi_plan.step_name == plan.step_name else (1, 0)
    if mine is None or other is None:
        return (4, 0)
    return (2, mine - other) if other < mine else (3, other - mine)
