"""Group ``fiji``: what planes cost on their way into ImageJ, against memcpy and against ImageJ by itself.

Each part runs in a fresh process with an empty configuration, on this desktop or, without one, on a virtual display.
See `benchmarks.fiji_worker` for what exactly is measured.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks import desktop
from benchmarks.rows import BenchmarkError, Options, Row, median_row

ROUNDS = {512: 60, 2048: 40}
STACKS = 7
SHOWS = 15
REBUILDS = 7

GOALS = {
    "fiji.2048.plane_memcpy_ratio": "<= 2",
    "fiji.512.plane_memcpy_ratio": "<= 4",
    "fiji.plane_cost_300_over_10": "<= 1.5",
    "fiji.build_show_30x512_over_native": "<= 2",
    "fiji.rebuild_over_ours": ">= 20",
}


def run(options: Options) -> list[Row]:
    """Measure the parts.

    Raises
    ------
    BenchmarkError
        There is no ImageJ, no display and none can be started, or a process failed.
    """
    rows = []
    with desktop.display("fiji") as environment:

        def part(name: str, rounds: int, size: int = 512) -> dict[str, Any]:
            rounds = 2 if options.quick else rounds
            return desktop.part("fiji", "benchmarks.fiji_worker", environment, name, rounds, size)

        for size in (2048, 512):
            rows += _planes(size, part("planes", ROUNDS[size], size))
        found = part("growth", STACKS)
        rows += [
            _ratio("fiji.plane_cost_300_over_10", found["many"], found["few"]),
            median_row("fiji.plane_cost_10", "us", found["few"]),
            median_row("fiji.plane_cost_300", "us", found["many"]),
            median_row("fiji.plane_cost_mean", "us", found["all"]),
        ]
        found = part("show", SHOWS)
        rows += [
            _ratio("fiji.build_show_30x512_over_native", found["ours"], found["native"]),
            median_row("fiji.build_show_30x512", "ms", found["ours"]),
            median_row("fiji.native_build_show_30x512", "ms", found["native"]),
        ]
        found = part("rebuild", REBUILDS)
        rows += [
            _ratio("fiji.rebuild_over_ours", found["rebuild"], found["ours"]),
            _ratio("fiji.rebuild_over_singly", found["rebuild"], found["singly"]),
            _ratio("fiji.rebuild_bulk_over_ours", found["bulk"], found["ours"]),
            *(median_row(f"fiji.24_batches.{name}", "ms", values) for name, values in found.items()),
        ]
    order = list(GOALS)
    return sorted(rows, key=lambda row: order.index(row.name) if row.name in GOALS else len(order))


def _planes(size: int, found: dict[str, Any]) -> list[Row]:
    return [
        _ratio(f"fiji.{size}.plane_memcpy_ratio", found["ours"], found["memcpy"]),
        median_row(f"fiji.{size}.plane", "us", found["ours"]),
        median_row(f"fiji.{size}.memcpy", "us", found["memcpy"]),
        _ratio(f"fiji.{size}.plane_memcpy_ratio_of_means", found["ours_mean"], found["memcpy_mean"]),
    ]


def _ratio(name: str, over: Iterable[float], under: Iterable[float]) -> Row:
    """A ratio per round, of two that took turns in it."""
    pairs = list(zip(over, under, strict=True))
    if any(below <= 0 for _, below in pairs):
        raise BenchmarkError(f"{name}: a time of nothing was measured")
    return median_row(name, "x", (above / below for above, below in pairs), GOALS)
