"""Group ``registry``: what it costs to list the backends by name, against a registry that imports them to list them.

Everything is timed inside fresh processes that have imported polystore, as a program has by then, and in processor
time, which a busy neighbour does not change. The cache of entry points lies in a folder of its own and is warm; the
working directory is ``/``, which nobody changes meanwhile. ``registry.names_cold_over_python_start`` is over all that
an interpreter that does nothing takes, as the operating system counted it, in the same round.
``registry.scan_over_ours`` is over a registry as the original documents describe it: it imports every module of the
package and collects the classes in them. Colormaps are measured where napari is installed.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time

from benchmarks.rows import BenchmarkError, Options, Row, median_row

ROUNDS = 41
SLOW_ROUNDS = 7
"""Of what takes a tenth of a second or more."""

SETTLING = 10.0
"""Longest wait in seconds for the cache to become warm: what has just changed is not kept at once."""

GOALS = {
    "registry.names_cold_over_python_start": "<= 0.1",
    "registry.scan_over_ours": ">= 20",
    "registry.names_again": "<= 5",
}

_TIMED = """
import sys, time
{before}
begin = time.process_time_ns()
{statement}
print(time.process_time_ns() - begin, "polystore._scan" in sys.modules)
"""

NAMES = ("import polystore", "polystore.available_backends()")

CASES = {
    "names_cold": NAMES,
    "mapping_cold": (
        "import polystore",
        "from polystore.backends import STORAGE_BACKENDS; list(STORAGE_BACKENDS)",
    ),
    "import_polystore": ("", "import polystore"),
}
"""What is timed with a warm cache: a statement and what comes before it."""

AGAIN = (
    "import polystore; polystore.available_backends()",
    "for _ in range(1000): polystore.available_backends()",
)

# The registry of the documents: every module is imported, the classes found are asked for their names.
SCAN = (
    "import polystore",
    """
import importlib, inspect, pkgutil
import polystore.backends
from polystore.abc import DataSink, DataSource
found = {}
for info in pkgutil.iter_modules(polystore.backends.__path__, "polystore.backends."):
    try:
        module = importlib.import_module(info.name)
    except ImportError:
        continue
    for _, value in inspect.getmembers(module, inspect.isclass):
        if issubclass(value, (DataSource, DataSink)) and not inspect.isabstract(value):
            found[value.__name__] = value
assert found
""",
)

ENTRY_POINTS = (
    "import polystore",
    "from importlib.metadata import entry_points; list(entry_points(group='polystore.backends'))",
)

COLORMAPS = ("", "from openhcs_viewers.enum_factory import create_colormap_enum; create_colormap_enum()")
INTROSPECTION = ("", "from napari.utils.colormaps import AVAILABLE_COLORMAPS; list(AVAILABLE_COLORMAPS)")


def run(options: Options) -> list[Row]:
    """Measure all."""
    rounds, slow_rounds = (2, 1) if options.quick else (ROUNDS, SLOW_ROUNDS)
    with tempfile.TemporaryDirectory(prefix="bench-registry-") as folder:
        environment = {
            **os.environ,
            "XDG_CACHE_HOME": folder,
            "PYTHONPYCACHEPREFIX": f"{folder}/pyc",
        }
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # compiling is no part of anybody's listing
        environment.pop("OPENHCS_DISABLE_REGISTRY_CACHE", None)
        bench = _Bench(environment)
        bench.warm()
        return [*bench.listing(rounds, slow_rounds), *bench.colormaps(slow_rounds)]


class _Bench:
    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment

    def warm(self) -> None:
        """Return when the cache is warm and everything is compiled."""
        for case in (*CASES.values(), AGAIN, SCAN, ENTRY_POINTS):
            self._inside(case)
        deadline = time.monotonic() + SETTLING
        while self._inside(NAMES)[1]:
            if time.monotonic() > deadline:
                raise BenchmarkError("the cache does not get warm: something on the import path changes")
            time.sleep(0.5)

    def listing(self, rounds: int, slow_rounds: int) -> list[Row]:
        start, again = [], []
        times: dict[str, list[float]] = {name: [] for name in CASES}
        for number in range(rounds):
            start.append(self._start_us())
            for name in CASES if number % 2 == 0 else reversed(CASES):
                times[name].append(self._warm_us(CASES[name]))
            again.append(self._warm_us(AGAIN) / 1000)
        scan, entries = [], []
        for _ in range(slow_rounds):
            scan.append(self._inside(SCAN)[0])
            entries.append(self._inside(ENTRY_POINTS)[0])
        names = times["names_cold"]
        print(
            f"registry: {rounds} rounds; names {statistics.median(names):.0f} us, again "
            f"{statistics.median(again):.2f} us, start of Python {statistics.median(start) / 1e3:.1f} ms, "
            f"scan {statistics.median(scan) / 1e3:.0f} ms",
            flush=True,
        )
        ratios = [a / b for a, b in zip(names, start, strict=True)]
        ours = statistics.median(names)
        return [
            median_row("registry.names_cold_over_python_start", "x", ratios, GOALS),
            median_row("registry.scan_over_ours", "x", [value / ours for value in scan], GOALS),
            median_row("registry.names_again", "us", again, GOALS),
            *(median_row(f"registry.{name}", "us", values) for name, values in times.items()),
            median_row("registry.python_start", "ms", [value / 1e3 for value in start]),
            median_row("registry.scan", "ms", [value / 1e3 for value in scan]),
            median_row("registry.importlib_metadata", "ms", [value / 1e3 for value in entries]),
        ]

    def colormaps(self, rounds: int) -> list[Row]:
        try:
            self._inside(INTROSPECTION)
        except BenchmarkError:
            print("registry: napari is not installed, so colormaps are not measured", flush=True)
            return []
        self._inside(COLORMAPS)  # asks napari, and keeps what it says
        warm, asked = [], []
        for _ in range(rounds):
            warm.append(self._inside(COLORMAPS)[0] / 1e3)
            asked.append(self._inside(INTROSPECTION)[0] / 1e3)
        return [
            median_row(
                "registry.introspection_over_colormaps",
                "x",
                [a / b for a, b in zip(asked, warm, strict=True)],
            ),
            median_row("registry.colormaps", "ms", warm),
            median_row("registry.colormaps_introspection", "ms", asked),
        ]

    def _start_us(self) -> float:
        process = subprocess.Popen([sys.executable, "-c", "pass"], env=self._environment, cwd="/")
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise BenchmarkError("an interpreter that does nothing failed")
        return (used.ru_utime + used.ru_stime) * 1e6

    def _warm_us(self, case: tuple[str, str]) -> float:
        value, scanned = self._inside(case)
        if scanned:
            raise BenchmarkError("something on the import path changed while it was measured; measure again")
        return value

    def _inside(self, case: tuple[str, str]) -> tuple[float, bool]:
        """Microseconds a statement takes in a fresh process, and whether entry points were read anew."""
        code = _TIMED.format(before=case[0], statement=case[1])
        process = subprocess.Popen(
            [sys.executable, "-c", code], env=self._environment, cwd="/",
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        out, errors = process.communicate()
        if process.returncode:
            raise BenchmarkError(f"{case[1]!r} failed:\n{errors[-1000:]}")
        nanoseconds, scanned = out.split()[-2:]
        return int(nanoseconds) / 1e3, scanned == "True"
