"""The end of the demo: what was counted, what became of every image, and whether anything was left behind."""

from __future__ import annotations

import json
import platform
from collections.abc import Collection, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

    from openhcs_viewers.demo._counts import ViewerCounts
    from openhcs_viewers.demo.orchestrator import RunResult
    from openhcs_viewers.demo.pipeline import FieldResult

PACKAGES = ("openhcs-viewers", "polystore", "zmqruntime", "numpy", "scipy", "pyzmq", "msgspec")
"""Distributions whose versions stand in every summary."""

VIEWER_PACKAGES: Mapping[str, tuple[str, ...]] = {
    "fiji": ("pyimagej", "scyjava", "jgo", "jpype1"),
    "napari": ("napari", "PySide6-Essentials", "qtpy"),
}
"""Those of a viewer, for the summary of a run that used it."""


def make_summary(
    viewers: Mapping[str, ViewerCounts],
    leaked: Sequence[str],
    seconds: float,
    engines: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return what goes into ``summary.json``; `engines` are the programs that viewers say they show with."""
    return {
        "viewers": {kind: counts.as_dict() for kind, counts in viewers.items()},
        "leaked_segments": len(leaked),
        "seconds": round(seconds, 3),
        "versions": {**versions(viewers), **(engines or {})},
    }


def write_summary(path: Path, summary: Mapping[str, Any]) -> None:
    """Write the summary as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")


def versions(kinds: Collection[str]) -> dict[str, str]:
    """Return the versions of Python and of everything that took part and is installed."""
    found = {"python": platform.python_version()}
    for name in (*PACKAGES, *(name for kind in kinds for name in VIEWER_PACKAGES.get(kind, ()))):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def leaked_segments(pids: Collection[int]) -> list[str]:
    """Return the names in shared memory that belong to these processes, dead or alive."""
    from polystore.payload import shm

    owners = {str(pid) for pid in pids}
    return [name for name, _, _ in shm.names() if name.split("-")[1] in owners]


def well_table(result: RunResult) -> Table:
    """Return a table of the wells: cells counted, and the mean of every channel where there are cells."""
    from rich.table import Table

    channels = list(dict.fromkeys(str(c.value) for plate in result.plates for c in plate.channels))
    several = len(result.plates) > 1
    table = Table(title="Cells", title_justify="left", header_style="bold")
    for name in ["plate"] if several else []:
        table.add_column(name)
    table.add_column("well")
    for name in ("fields", "cells", "mean area", *channels):
        table.add_column(name, justify="right", overflow="fold")
    wells: dict[tuple[str, str], list[FieldResult]] = {}
    for field in result.fields:
        wells.setdefault((field.images.plate, str(field.images.well)), []).append(field)
    for (plate, well), fields in wells.items():
        counted = [found for field in fields for found in field.results.values()]
        cells = sum(found.get("count", 0) for found in counted)
        area = sum((found.get("area_mean") or 0.0) * found.get("count", 0) for found in counted)
        row = [plate] if several else []
        row += [well, str(len(fields)), str(cells), f"{area / cells:.0f} px" if cells else "-"]
        for channel in channels:
            known = [field.intensities[channel] for field in fields if channel in field.intensities]
            row.append(f"{sum(known) / len(known):.0f}" if known else "-")
        table.add_row(*row)
    return table


def viewer_table(viewers: Mapping[str, ViewerCounts]) -> Table:
    """Return a table of the viewers: what became of every image."""
    from rich.table import Table

    table = Table(title="Viewers", title_justify="left", header_style="bold")
    table.add_column("viewer")
    for name in ("sent", "displayed", "superseded", "dropped", "lost in flight", "batch held the pipeline"):
        table.add_column(name, justify="right")
    for kind, counts in viewers.items():
        held = counts.publish_block_ms_p50
        table.add_row(
            kind,
            *(str(value) for value in list(counts.as_dict().values())[:5]),
            "-" if held is None else f"{held:.2f} ms (median)",
            style="" if counts.complete else "yellow" if counts.ok else "red",
        )
    return table
