"""Group ``napari``: what the images of a running pipeline cost napari's window, against napari by itself.

Each part runs in a fresh process with an empty configuration, on this desktop or, without one, on a virtual display.
See `benchmarks.napari_worker` for how GUI work and frames are measured.
"""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks import desktop
from benchmarks.rows import Options, Row, median_row

STARTS = 7
"""Viewers started for the first image each gets."""

REPEATS = 7
MANY = 1000
STREAM_SECONDS = 30

GOALS = {
    "napari.plane_cost_1000_over_10": "<= 1.5",
    "napari.restack_1000_over_ours": ">= 100",
    "napari.displayed_1024_over_native": "<= 1.0",
    "napari.first_image_over_native": "<= 1.5",
    "napari.gui_stall_p99_ms": "<= 100",
    "napari.stream_rate": ">= 195",
    "napari.stream_uncounted": "<= 0",
    "napari.unseen_plane_gui_updates": "<= 0",
}


def run(options: Options) -> list[Row]:
    """Measure the four parts.

    Raises
    ------
    BenchmarkError
        There is no display and none can be started, or a process failed.
    """
    with desktop.display("napari") as environment:
        rows = _first_images(environment, 1 if options.quick else STARTS)
        rows += _planes(environment, 2 if options.quick else REPEATS, 30 if options.quick else MANY)
        rows += _stream(environment, 3 if options.quick else STREAM_SECONDS)
    order = list(GOALS)
    return sorted(rows, key=lambda row: order.index(row.name) if row.name in GOALS else len(order))


def _part(environment: dict[str, str], name: str, repeats: int, count: int = 0) -> dict[str, Any]:
    """Return what a fresh process measured."""
    return desktop.part("napari", "benchmarks.napari_worker", environment, name, repeats, count)


def _first_images(environment: dict[str, str], starts: int) -> list[Row]:
    ratios, firsts, later, native = [], [], [], []
    for _ in range(starts):
        found = _part(environment, "first", 2)
        native += found["native_ms"]
        later += found["later_ms"]
        firsts.append(found["first_ms"])
        ratios.append(found["first_ms"] / statistics.median(found["native_ms"]))
    return [
        median_row("napari.first_image_over_native", "x", ratios, GOALS),
        median_row("napari.first_image", "ms", firsts),
        median_row("napari.first_image_again", "ms", later),
        median_row("napari.native_add_image", "ms", native),
    ]


def _planes(environment: dict[str, str], repeats: int, many: int) -> list[Row]:
    found = _part(environment, "planes", repeats, many) | _part(environment, "restack", repeats, many)
    rows = [median_row("napari.unseen_plane_gui_updates", "n", [float(found["unseen_pumps"])], GOALS)]
    for suffix in ("", "_painted"):
        few, at_many = (statistics.median(found[f"{name}{suffix}"]) for name in ("grow_10", "grow_many"))
        again = zip(found[f"again{suffix}"], found[f"native{suffix}"], strict=True)
        rows += [
            median_row(
                f"napari.plane_cost_1000_over_10{suffix}",
                "x",
                (v / few for v in found[f"grow_many{suffix}"]),
                GOALS,
            ),
            median_row(
                f"napari.restack_1000_over_ours{suffix}",
                "x",
                (v / at_many for v in found[f"restack{suffix}"]),
                GOALS,
            ),
            median_row(f"napari.displayed_1024_over_native{suffix}", "x", (a / b for a, b in again), GOALS),
        ]
        rows += [
            median_row(f"napari.{title}{suffix}", "ms", found[f"{name}{suffix}"])
            for name, title in (
                ("grow_10", "plane_cost_10"),
                ("grow_many", "plane_cost_1000"),
                ("restack", "restack_1000"),
                ("again", "displayed_1024"),
                ("native", "native_data"),
                ("unseen", "unseen_plane"),
            )
            if found[f"{name}{suffix}"]
        ]
    return rows


def _stream(environment: dict[str, str], seconds: int) -> list[Row]:
    found = _part(environment, "stream", 0, seconds)
    counts = found["counts"]
    shown = counts["displayed"] + counts["superseded"]
    outcomes = shown + counts["dropped"] + counts["lost_in_flight"] + counts["in_flight"] + counts["queued"]
    # A server that counted other than the sender would lose images as surely as one that dropped them.
    differ = abs(
        found["server"]["images"]["received"] - counts["sent"] + counts["dropped"] - found["warmup_images"]
    )
    uncounted = abs(counts["sent"] - outcomes) + counts["in_flight"] + counts["queued"] + differ
    print(f"napari: streamed {counts}", flush=True)
    values = {
        "napari.gui_stall_p99_ms": (found["gap_p99_ms"], "ms"),
        "napari.stream_rate": (shown / counts["sending_s"], "1/s"),
        "napari.stream_uncounted": (float(uncounted), "n"),
        "napari.stream_dropped": (float(counts["dropped"] + counts["lost_in_flight"]), "n"),
        "napari.stream_superseded": (float(counts["superseded"]), "n"),
        "napari.gui_stall_p50_ms": (found["gap_p50_ms"], "ms"),
        "napari.gui_stall_max_ms": (found["gap_max_ms"], "ms"),
        "napari.gui_cpu_share": (found["gui_cpu_share"], "x"),
        "napari.frames": (found["frames_per_s"], "1/s"),
        "napari.stream_block_p50": (counts["block_ms_p50"], "ms"),
        "napari.stream_block_p99": (counts["block_ms_p99"], "ms"),
    }
    return [median_row(name, unit, [value], GOALS) for name, (value, unit) in values.items()]
