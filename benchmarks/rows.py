"""What a measurement returns: rows with a name, a value, and the goal it has to reach."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_GOAL = re.compile(r"(<=|>=) *([0-9.]+)")


class BenchmarkError(Exception):
    """A measurement could not be made; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for on the command line.

    Attributes
    ----------
    out : pathlib.Path
        Folder of the results; exists.
    peers : bool
        Also measure other people's software, installing it.
    quick : bool
        One short round: shows that everything runs, says nothing about speed.
    """

    out: Path
    peers: bool = False
    quick: bool = False


@dataclass(frozen=True, slots=True)
class Goal:
    """A limit and the side of it on which values are good.

    Attributes
    ----------
    at_least : bool
        Whether larger is better.
    limit : float
        In the row's unit.
    """

    at_least: bool
    limit: float

    @classmethod
    def parse(cls, text: str) -> Goal:
        """Return the goal that ``">= 0.90"`` or ``"<= 100"`` states.

        Raises
        ------
        ValueError
            The text states none.
        """
        match = _GOAL.fullmatch(text.strip())
        if match is None:
            raise ValueError(f"{text!r} is no goal: write '>= 0.9' or '<= 100'")
        return cls(match[1] == ">=", float(match[2]))

    def met(self, value: float) -> bool:
        """Return whether `value` is good enough."""
        return value >= self.limit if self.at_least else value <= self.limit

    def margin(self, value: float) -> float:
        """Return how many times better than the limit `value` is; below 1 the goal is missed."""
        better, worse = (value, self.limit) if self.at_least else (self.limit, value)
        if worse > 0:
            return better / worse
        return 1.0 if better == 0 else float("inf")  # nothing where nothing is asked for


@dataclass(frozen=True, slots=True)
class Row:
    """One measured number.

    Attributes
    ----------
    name : str
        ``group.case.quantity``, the same from release to release.
    value : float
        Usually the median of `runs`.
    unit : str
        ``x`` for a ratio, else ``us``, ``ms``, ``GB/s``, ``1/s`` or what is counted.
    goal : str or None
        Such as ``"<= 1.1"``; None for a row that informs only.
    runs : tuple of float
        The value of each repetition, in the order measured.
    """

    name: str
    value: float
    unit: str
    goal: str | None = None
    runs: tuple[float, ...] = ()

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None without a goal."""
        return None if self.goal is None else Goal.parse(self.goal).met(self.value)

    def to_json(self) -> dict[str, Any]:
        """Return the row as it stands in ``bench.json``."""
        return {
            "name": self.name,
            "value": rounded(self.value),
            "unit": self.unit,
            "goal": self.goal,
            "runs": [rounded(value) for value in self.runs],
        }


def median_row(name: str, unit: str, runs: Iterable[float], goals: Mapping[str, str] | None = None) -> Row:
    """Return the row whose value is the median of `runs`; its goal is looked up in `goals` by name.

    Raises
    ------
    BenchmarkError
        There are no runs.
    """
    values = tuple(runs)
    if not values:
        raise BenchmarkError(f"{name}: nothing was measured")
    return Row(name, statistics.median(values), unit, (goals or {}).get(name), values)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest of `values` that at least `share` (0 to 1) of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def rounded(value: float) -> float:
    """Return `value` to four significant digits: more would be noise."""
    return float(f"{value:.4g}")


def table(rows: Sequence[Row]) -> str:
    """Return the rows that have a goal as text, and how many only inform."""
    lines = []
    goals = [row for row in rows if row.goal is not None]
    width = max((len(row.name) for row in goals), default=0)
    for row in goals:
        value = f"{rounded(row.value):>10g} {row.unit:<5}"
        spread = f"{rounded(min(row.runs)):g} to {rounded(max(row.runs)):g}" if len(row.runs) > 1 else ""
        verdict = "" if row.met is None else ("met" if row.met else "MISSED")
        lines.append(f"{row.name:<{width}} {value} {row.goal or '':<9} {verdict:<7} {spread}".rstrip())
    if more := len(rows) - len(goals):
        lines.append(f"({more} rows more, without a goal, are in bench.json)")
    return "\n".join(lines)


def write_json(path: Path, machine: Mapping[str, Any], rows: Sequence[Row]) -> None:
    """Write ``{"machine": ..., "rows": [...]}``."""
    result = {"machine": dict(machine), "rows": [row.to_json() for row in rows]}
    path.write_text(json.dumps(result, indent=1) + "\n")
