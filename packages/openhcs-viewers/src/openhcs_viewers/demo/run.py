"""The command ``openhcs-viewers demo``: a plate appears in a viewer while a pipeline computes it."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from openhcs_viewers.demo._progress import progress_bar
from openhcs_viewers.demo.analysis import cell_counting_cpu, subtract_background
from openhcs_viewers.demo.orchestrator import PipelineOrchestrator, RunResult
from openhcs_viewers.demo.pipeline import Step, StepKind, ViewerTarget
from openhcs_viewers.demo.plate import read_plate
from openhcs_viewers.demo.summary import (
    leaked_segments,
    make_summary,
    viewer_table,
    well_table,
    write_summary,
)
from openhcs_viewers.demo.synth import PlateDesign, write_plate
from openhcs_viewers.display import check_display
from openhcs_viewers.errors import DisplayError, ViewerError
from polystore.errors import PolystoreError
from zmqruntime.errors import ZMQRuntimeError

if TYPE_CHECKING:
    from rich.console import Console

    from openhcs_viewers.handle import ViewerHandle

DEFAULT_OUT = Path("out") / "demo"
"""Where results go without ``--out``."""

STEPS = (
    Step("load"),
    Step("background", subtract_background),
    Step("cells", cell_counting_cpu, StepKind.COUNT, backend="disk"),
)
"""The demo's pipeline."""

START_SECONDS = 90.0
"""How long a viewer may take to open its window; a cold napari on a busy machine took 20 s."""

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""


def make_parser() -> argparse.ArgumentParser:
    """Return the command line of the demo."""
    parser = argparse.ArgumentParser(
        prog="openhcs-viewers demo",
        description="Run a small pipeline on a plate in worker processes and watch every step in a viewer.",
    )
    parser.add_argument("--plate", type=Path, metavar="DIR", help="an ImageXpress folder (default: a synthetic plate)")
    parser.add_argument(
        "--viewer", action="append", metavar="KIND", help="show the plate in this viewer; repeatable (default: napari)"
    )
    parser.add_argument("--workers", type=int, metavar="N", help="worker processes (default: one per processor)")
    parser.add_argument("--headless", action="store_true", help="use a virtual display and close everything at the end")
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, metavar="DIR", help="results (default: %(default)s)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; return 0 when every image arrived, 1 otherwise, 2 for a wrong argument, 130 after Ctrl-C."""
    from rich.console import Console

    options = make_parser().parse_args(argv)
    logging.basicConfig(format="%(levelname)s: %(message)s")
    console = Console()
    errors = Console(stderr=True)
    if options.workers is not None and options.workers < 1:
        errors.print(f"demo: --workers {options.workers}: give 1 or more", style="red", highlight=False)
        return 2
    try:
        with _terminate_as_interrupt():
            return run_demo(
                console,
                plate=options.plate,
                viewers=list(dict.fromkeys(options.viewer or ["napari"])),
                workers=options.workers,
                headless=options.headless,
                out=options.out,
            )
    except KeyboardInterrupt:
        errors.print("demo: interrupted", style="red")
        return INTERRUPTED
    except (ViewerError, PolystoreError, ZMQRuntimeError, OSError) as error:
        errors.print(f"demo: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
        return 1


def run_demo(
    console: Console,
    *,
    plate: Path | None,
    viewers: Sequence[str],
    workers: int | None,
    headless: bool,
    out: Path,
) -> int:
    """Run the demo and return its exit code; see `make_parser` for the arguments.

    Raises
    ------
    ViewerError, PolystoreError, ZMQRuntimeError
        A viewer cannot be started, or the plate cannot be read. Viewers already started are ended.
    """
    begin = time.perf_counter()
    out = out.resolve()
    virtual = headless or not _has_display(console)
    if plate is not None:
        read_plate(plate)  # a wrong folder is said at once, not after a window has opened
    with ExitStack() as stack:
        # All at once and in the background: a window takes seconds to come up, and there is a plate to prepare.
        handles = {kind: stack.enter_context(_viewer(kind, virtual)) for kind in viewers}
        if plate is None:
            plate = _synthesise(console, out / "plate")
        for kind, handle in handles.items():
            with console.status(f"waiting for {kind} to open its window"):
                handle.ready(START_SECONDS)
        result = _run(console, plate, handles, workers, out)
        pictures, failures = _look(handles, out)
        pids = [os.getpid(), *result.workers, *(handle.pid for handle in handles.values())]
        leaked = leaked_segments(pids)
        seconds = time.perf_counter() - begin
        write_summary(out / "summary.json", make_summary(result.viewers, leaked, seconds))
        problems = [*result.failures, *failures, *(f"left in shared memory: {name}" for name in leaked)]
        _report(console, result, handles, pictures, problems, out, seconds, stays=not virtual)
        stack.pop_all() if not virtual else None
    complete = all(counts.complete for counts in result.viewers.values())
    return 0 if complete and not problems else 1


@contextmanager
def _terminate_as_interrupt() -> Iterator[None]:
    """Make SIGTERM end the demo as Ctrl-C does, so that viewers and workers are ended too."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
