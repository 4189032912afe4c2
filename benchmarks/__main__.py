"""Run the measurements; see the package's docstring."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from pathlib import Path

from benchmarks import chart, machine
from benchmarks.rows import BenchmarkError, Options, Row, table, write_json

GROUPS = {
    "transport": "benchmarks.transport",
    "protocol": "benchmarks.protocol",
    "napari": "benchmarks.napari_group",
    "fiji": "benchmarks.fiji_group",
    "registry": "benchmarks.registry_group",
    "storage": "benchmarks.storage_group",
}
"""Every group's name and its module, which has ``run(options) -> list[Row]``."""


def main(arguments: list[str] | None = None) -> int:
    """Measure the groups asked for, write ``bench.json`` and ``bench.png``, print the table.

    Returns 1 when something could not be measured. A goal that was missed is marked in the table and is no
    failure: how fast a machine is that day is for people to judge.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "groups", nargs="*", metavar="GROUP", help=f"one of {', '.join(GROUPS)}; all by default"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("bench-out"), metavar="DIR", help="folder of the results"
    )
    parser.add_argument(
        "--peers", action="store_true", help="also zenoh, imagezmq, ray and rerun, in their own environments"
    )
    parser.add_argument("--quick", action="store_true", help="one short round: does everything run?")
    given = parser.parse_args(arguments)
    groups = given.groups or list(GROUPS)
    if unknown := [name for name in groups if name not in GROUPS]:
        parser.error(f"unknown group {unknown[0]!r} (known: {', '.join(GROUPS)})")
    given.out.mkdir(parents=True, exist_ok=True)
    options = Options(given.out, peers=given.peers, quick=given.quick)

    about = {**machine.describe(), "quick": options.quick}
    print(f"{about['cpu']}, {about['usable_cores']} cores, load {about['load_average']}", flush=True)
    rows: list[Row] = []
    failed = []
    busy: dict[str, float | None] = {}
    for name in groups:
        start, neighbours = time.monotonic(), machine.Neighbours()
        try:
            rows += importlib.import_module(GROUPS[name]).run(options)
        except BenchmarkError as error:
            failed.append(f"{name}: {error}")
            print(f"{name}: {error}", file=sys.stderr, flush=True)
        busy[name] = neighbours.share()
        print(f"{name}: {time.monotonic() - start:.0f} s, {_said(busy[name])}", flush=True)
    about |= {"load_average_after": machine.load(), "others_cpu": busy}
    write_json(options.out / "bench.json", about, rows)
    print(f"\n{table(rows)}\n")
    written = [str(options.out / "bench.json")]
    try:
        chart.draw(options.out / "bench.png", about, rows)
        written.append(str(options.out / "bench.png"))
    except BenchmarkError as error:
        print(f"no chart: {error}", flush=True)
    print(f"written: {', '.join(written)}")
    with_goal = [row for row in rows if row.met is not None]
    missed = [row.name for row in with_goal if not row.met]
    print(
        f"{len(with_goal) - len(missed)} of {len(with_goal)} goals met"
        + (f"; missed: {', '.join(missed)}" if missed else "")
    )
    for line in failed:
        print(f"NOT MEASURED: {line}")
    return 1 if failed else 0


def _said(share: float | None) -> str:
    if share is None:
        return "nobody knows how busy the machine was"
    doubt = "; measure again when it is idle" if share > machine.DOUBTFUL else ""
    return f"others used {share:.0%} of the processors{doubt}"


if __name__ == "__main__":
    sys.exit(main())
