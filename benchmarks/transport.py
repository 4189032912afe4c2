"""Group ``transport``: pixels from one process to another, against memcpy, iceoryx2 and the original scheme.

Names: ``transport.CASE.QUANTITY`` is this project's ``send`` with a receiver that uses the image where it lies;
``transport.VARIANT.CASE.QUANTITY`` is another way of ours (``copy``, ``empty``) or somebody else's.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from benchmarks import machine, peers
from benchmarks.harness import Result, run_pair
from benchmarks.rows import BenchmarkError, Options, Row, median_row
from benchmarks.schemes import Case

ROUNDS = 9
"""Repetitions of everything; the order is turned round each time."""

BUDGET_SECONDS = 240.0
"""No further round is begun after this."""

CASES = {
    "512": Case("512", size=512, batch=1, lockstep=300, burst=300),
    "2048": Case("2048", size=2048, batch=1, lockstep=80, burst=40),
    "10x1024": Case("10x1024", size=1024, batch=10, lockstep=30, burst=12, warmup=4),
}

GOALS = {
    "transport.2048.sustained_memcpy_ratio": ">= 0.90",
    "transport.2048.block_memcpy_ratio": "<= 1.10",
    "transport.2048.latency_p50_memcpy_ratio": "<= 1.25",
    "transport.2048.baseline_block_over_ours": ">= 4.0",
    "transport.512.block_over_iceoryx2": "<= 1.40",
    "transport.512.latency_p50_over_iceoryx2": "<= 1.25",
    "transport.2048.sustained_copy_memcpy_ratio": ">= 0.50",
    "transport.10x1024.sustained_memcpy_ratio": ">= 0.65",
    "transport.empty.2048.block_memcpy_ratio": "<= 0.10",
    "transport.empty.2048_over_512": "<= 1.50",
}


@dataclass(frozen=True, slots=True)
class Variant:
    """A way to send images: the two classes of `benchmarks.harness`, and the cases worth measuring."""

    name: str
    publisher: str
    receiver: str
    cases: tuple[str, ...] = ("512", "2048", "10x1024")
    python: str = ""
    rounds: int = ROUNDS


VARIANTS = (
    Variant("ours", "benchmarks.ours:SendCopying", "benchmarks.ours:ReceiveView"),
    Variant("iceoryx2", "benchmarks.iceoryx:IceoryxPublisher", "benchmarks.iceoryx:IceoryxReceiver"),
    Variant("empty", "benchmarks.ours:SendBorn", "benchmarks.ours:ReceiveView", ("512", "2048")),
    Variant("copy", "benchmarks.ours:SendCopying", "benchmarks.ours:ReceiveCopy", ("2048",)),
    Variant("baseline", "benchmarks.seed_baseline:SeedPublisher", "benchmarks.seed_baseline:SeedReceiver"),
)

Results = dict[tuple[str, str], list[Result]]


def run(options: Options) -> list[Row]:
    """Measure every variant and case in turn, in rounds.

    Raises
    ------
    BenchmarkError
        One of ours or iceoryx2 could not be measured. Peers that cannot are left out, and said so.
    """
    variants = list(VARIANTS)
    if options.peers:
        variants += [
            Variant(p.name, p.publisher, p.receiver, python=p.python, rounds=p.rounds)
            for p in peers.available()
        ]
    results: Results = defaultdict(list)
    start = time.monotonic()
    rounds = 1 if options.quick else ROUNDS
    for number in range(rounds):
        if number and time.monotonic() - start > BUDGET_SECONDS:
            print(f"transport: {BUDGET_SECONDS:g} s are over after {number} rounds", flush=True)
            break
        plan = [
            (variant, CASES[case])
            for variant in variants
            if number < variant.rounds
            for case in variant.cases
        ]
        for variant, case in plan if number % 2 == 0 else reversed(plan):
            if options.quick:
                case = replace(case, lockstep=case.lockstep // 5, burst=case.burst // 4)
            _measure(variant, case, results)
        _progress(number + 1, rounds, results, time.monotonic() - start)
    _print(results)
    return _rows(results)


def _measure(variant: Variant, case: Case, results: Results) -> None:
    given = {"python": variant.python} if variant.python else {}
    try:
        results[variant.name, case.name].append(run_pair(variant.publisher, variant.receiver, case, **given))
    except BenchmarkError as error:
        if not variant.python:
            raise
        print(f"transport: SKIPPED {variant.name} {case.name}: {error}", flush=True)


def _progress(number: int, rounds: int, results: Results, seconds: float) -> None:
    large, small = results["ours", "2048"][-1], results["ours", "512"][-1]
    load = machine.load()
    print(
        f"transport: round {number}/{rounds}, {seconds:.0f} s, load {load[0] if load else '?'}; "
        f"2048: sustained {large.sustained_ratio:.2f}, block {large.block_ratio:.2f}, latency {large.latency_ratio:.2f}"
        f" of memcpy {large.memcpy:.0f} us; 512: block {small.block:.0f} us, latency {small.latency:.0f} us",
        flush=True,
    )


COLUMNS: tuple[tuple[str, str, Callable[[Result], float]], ...] = (
    ("memcpy us", "9.1f", lambda r: r.memcpy),
    ("block us", "9.1f", lambda r: r.block),
    ("p99", "8.0f", lambda r: r.block_p99),
    ("x", "6.2f", lambda r: r.block_ratio),
    ("latency us", "10.1f", lambda r: r.latency),
    ("p99", "8.0f", lambda r: r.latency_p99),
    ("x", "7.2f", lambda r: r.latency_ratio),
    ("sustained x", "11.2f", lambda r: r.sustained_ratio),
    ("sender CPU us", "13.1f", lambda r: r.publisher_cpu),
    ("receiver CPU us", "15.1f", lambda r: r.receiver_cpu),
)
"""Heading, format and value of the columns of the table of everything."""


def _print(results: Results) -> None:
    """Print medians of everything, in absolute numbers too."""
    print(f"\n{'':<18}" + " ".join(f"{title:>{form.partition('.')[0]}}" for title, form, _ in COLUMNS))
    for case in CASES:
        for (variant, name), runs in results.items():
            if name == case:
                values = [f"{statistics.median(map(value, runs)):{form}}" for _, form, value in COLUMNS]
                print(f"{case:<8}{variant:<10}" + " ".join(values))
    print(flush=True)


def _rows(results: Results) -> list[Row]:
    def pairs(one: tuple[str, str], other: tuple[str, str]) -> Iterable[tuple[Result, Result]]:
        return zip(results[one], results[other], strict=True)

    ours, small = ("ours", "2048"), ("ours", "512")
    rows = [
        median_row(name, "x", values, GOALS)
        for name, values in {
            "transport.2048.baseline_block_over_ours": [
                b.block / a.block for a, b in pairs(ours, ("baseline", "2048"))
            ],
            "transport.512.block_over_iceoryx2": [
                a.block / b.block for a, b in pairs(small, ("iceoryx2", "512"))
            ],
            "transport.512.latency_p50_over_iceoryx2": [
                a.latency / b.latency for a, b in pairs(small, ("iceoryx2", "512"))
            ],
            "transport.2048.sustained_copy_memcpy_ratio": [
                r.sustained_ratio for r in results["copy", "2048"]
            ],
            "transport.empty.2048_over_512": [
                a.block / b.block for a, b in pairs(("empty", "2048"), ("empty", "512"))
            ],
        }.items()
    ]
    for (variant, case), runs in results.items():
        name = f"transport.{case}" if variant == "ours" else f"transport.{variant}.{case}"
        nbytes = CASES[case].nbytes
        rows += [
            median_row(f"{name}.sustained_memcpy_ratio", "x", (r.sustained_ratio for r in runs), GOALS),
            median_row(f"{name}.block_memcpy_ratio", "x", (r.block_ratio for r in runs), GOALS),
            median_row(f"{name}.latency_p50_memcpy_ratio", "x", (r.latency_ratio for r in runs), GOALS),
            median_row(f"{name}.memcpy", "us", (r.memcpy for r in runs)),
            median_row(f"{name}.block", "us", (r.block for r in runs)),
            median_row(f"{name}.latency_p50", "us", (r.latency for r in runs)),
            median_row(f"{name}.latency_p99", "us", (r.latency_p99 for r in runs)),
            median_row(f"{name}.sustained", "GB/s", (nbytes / r.sustained / 1e3 for r in runs)),
        ]
    order = list(GOALS)
    return sorted(rows, key=lambda row: order.index(row.name) if row.name in GOALS else len(order))
