"""The command ``openhcs-viewers demo``: a plate appears in a viewer while a pipeline computes it."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from openhcs_viewers.demo._progress import progress_bar
from openhcs_viewers.demo._targets import read_policies, starting, target_of
from openhcs_viewers.demo.analysis import cell_counting_cpu, subtract_background
from openhcs_viewers.demo.orchestrator import PipelineOrchestrator, RunResult
from openhcs_viewers.demo.pipeline import Step, StepKind
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
from zmqruntime.errors import PolicyError, ZMQRuntimeError

if TYPE_CHECKING:
    from rich.console import Console

    from openhcs_viewers.demo.pipeline import FieldResult
    from openhcs_viewers.demo.plate import FieldImages
    from openhcs_viewers.handle import ViewerHandle

DEFAULT_OUT = Path("out") / "demo"
"""Where results go without ``--out``."""

STEPS = (
    Step("load"),
    Step("clean", subtract_background, backend="zarr"),
    Step("cells", cell_counting_cpu, StepKind.COUNT, backend="disk"),
)
"""The demo's pipeline."""

START_SECONDS = 90.0
"""How long a viewer may take to open its window; a cold napari on a busy machine took 20 s."""

SETTLE_SECONDS = 30.0
"""How long a viewer may take to draw what has arrived before its picture is taken."""

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""


def make_parser() -> argparse.ArgumentParser:
    """Return the command line of the demo."""
    parser = argparse.ArgumentParser(
        prog="openhcs-viewers demo",
        description="Run a small pipeline on a plate in worker processes and watch every step in one or more viewers.",
    )
    parser.add_argument(
        "--plate", type=Path, metavar="DIR", help="an ImageXpress folder (default: a synthetic plate)"
    )
    parser.add_argument(
        "--viewer",
        action="extend",
        nargs="+",
        metavar="KIND",
        help="show the plate in these viewers, all at once; repeatable (default: napari)",
    )
    parser.add_argument(
        "--policy",
        action="append",
        default=[],
        metavar="KIND=POLICY",
        help="what becomes of images a viewer cannot take in time: block (the pipeline waits), drop, latest; "
        "repeatable (default: fiji=drop, block for the others)",
    )
    parser.add_argument(
        "--fiji-dir", type=Path, metavar="DIR", help="your Fiji's directory (default: the plain ImageJ)"
    )
    parser.add_argument(
        "--workers", type=int, metavar="N", help="worker processes (default: one per processor)"
    )
    parser.add_argument(
        "--headless", action="store_true", help="use a virtual display and close everything at the end"
    )
    parser.add_argument(
        "--out", type=Path, default=DEFAULT_OUT, metavar="DIR", help="results (default: %(default)s)"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo and return its exit code.

    0: all went well, and every image got to each viewer whose policy is ``block``. What others dropped is told. 1: it
    did not. 2: a wrong argument. 130: Ctrl-C.
    """
    from rich.console import Console

    options = make_parser().parse_args(argv)
    logging.basicConfig(format="%(levelname)s: %(message)s")
    console = Console()
    errors = Console(stderr=True)
    if options.workers is not None and options.workers < 1:
        errors.print(f"demo: --workers {options.workers}: give 1 or more", style="red", highlight=False)
        return 2
    try:
        policies = read_policies(options.policy, dict.fromkeys(options.viewer or ["napari"]))
    except PolicyError as error:
        errors.print(f"demo: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
        return 2
    launch_options = {}
    if options.fiji_dir is not None:
        launch_options["fiji"] = {"fiji_dir": str(options.fiji_dir.expanduser().resolve())}
    try:
        with _terminate_as_interrupt():
            return run_demo(
                console,
                plate=options.plate,
                policies=policies,
                launch_options=launch_options,
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
    policies: Mapping[str, str],
    launch_options: Mapping[str, Mapping[str, str]],
    workers: int | None,
    headless: bool,
    out: Path,
) -> int:
    """Run the demo and return its exit code; see `make_parser` for the arguments.

    Parameters
    ----------
    policies, launch_options
        By kind, the viewers to show the plate in.

    Raises
    ------
    ViewerError, PolystoreError, ZMQRuntimeError
        A viewer cannot be started, or the plate cannot be read. Viewers already started are ended.
    """
    begin = time.perf_counter()
    out = out.resolve()
    if "fiji" in policies:
        from openhcs_viewers.fiji.doctor import check

        check(launch_options.get("fiji", {}))  # before anything is drawn
    virtual = headless or not _has_display(console)
    if plate is not None:
        console.print(
            read_plate(plate).describe(), highlight=False
        )  # a wrong folder is said before a window opens
    with ExitStack() as stack:
        # All at once and in the background: a window takes seconds to come up, and there is a plate to prepare.
        handles = {
            kind: stack.enter_context(starting(kind, launch_options.get(kind, {}), virtual=virtual))
            for kind in policies
        }
        if plate is None:
            plate = _synthesise(console, out / "plate")
        for kind, handle in handles.items():
            with console.status(f"waiting for {kind} to open its window"):
                handle.wait_ready(START_SECONDS)
        targets = [target_of(kind, handle, policies[kind]) for kind, handle in handles.items()]
        orchestrator = PipelineOrchestrator([plate], STEPS, viewers=targets, output=out, workers=workers)
        result = _run(console, orchestrator, plate)
        seen, engines = _look(handles, result, out, fresh=virtual)
        problems = [*result.failures, *seen]
        pids = [
            os.getpid(),
            *result.workers,
            *(handle.pid for handle in handles.values() if handle.pid is not None),
        ]
    leaked = leaked_segments(pids)
    problems += [f"left in shared memory: {name}" for name in leaked]
    seconds = time.perf_counter() - begin
    write_summary(out / "summary.json", make_summary(result.viewers, leaked, seconds, engines))
    _report(console, result, problems, out, seconds)
    if not virtual:
        for kind, handle in handles.items():
            stop = f"openhcs-viewers stop --port {handle.port}"
            console.print(f"{kind} stays open on port {handle.port}; end it with: {stop}", highlight=False)
    return 1 if problems or not result.ok else 0


def _has_display(console: Console) -> bool:
    try:
        check_display()
    except DisplayError as error:
        console.print(
            f"{error}\nso the viewers open on a virtual one", highlight=False, markup=False, soft_wrap=True
        )
        return False
    return True


def _synthesise(console: Console, folder: Path) -> Path:
    design = PlateDesign()
    with progress_bar(console, "drawing", design.images) as advance:
        root = write_plate(folder, design, progress=lambda done, total: advance(done, "a synthetic plate"))
    console.print(read_plate(root).describe(), highlight=False)
    return root


def _run(console: Console, orchestrator: PipelineOrchestrator, plate: Path) -> RunResult:
    total = len(read_plate(plate).fields())
    with progress_bar(console, "fields", total) as advance:
        done = 0

        def progress(field: FieldImages, result: FieldResult | None) -> None:
            nonlocal done
            done += 1
            advance(done, field.title if result is not None else f"{field.title} failed")

        return orchestrator.run(progress)


def _look(
    handles: Mapping[str, ViewerHandle], result: RunResult, out: Path, *, fresh: bool
) -> tuple[list[str], dict[str, str]]:
    """Take the pictures, and compare our counts with what each viewer says itself.

    Returns what is wrong, and which program each viewer says it is.
    """
    problems, engines = [], {}
    for kind, handle in handles.items():
        if result.viewers[kind].failure:
            continue
        if not handle.is_alive():
            problems.append(f"{kind} was closed before it was finished: there is no picture of it")
            continue
        try:
            handle.settle(SETTLE_SECONDS)
            handle.screenshot(out / f"{kind}.png")
            handle.screenshot(out / f"{kind}-canvas.png", canvas_only=True)
            images = handle.status()["images"]
            engine = handle.state().get("engine")
        except (ViewerError, ZMQRuntimeError) as error:
            problems.append(f"{kind}: {error}")
            continue
        if engine is not None:
            engines[kind] = str(engine)
        ours = result.viewers[kind].displayed
        most = ours + result.viewers[kind].lost_in_flight  # of those the senders do not know
        # A viewer that was there before us has images of others, too.
        if images["displayed"] < ours or (fresh and images["displayed"] > most):
            problems.append(f"{kind} says it displays {images['displayed']} images, its senders say {ours}")
    return problems, engines


def _report(console: Console, result: RunResult, problems: Sequence[str], out: Path, seconds: float) -> None:
    console.print(well_table(result))
    console.print(viewer_table(result.viewers))
    for kind, counts in result.viewers.items():
        if counts.remark:
            console.print(f"{kind}: {counts.remark}", style="yellow", highlight=False, soft_wrap=True)
    for problem in problems:
        console.print(problem, style="red", highlight=False, markup=False, soft_wrap=True)
    pictures = ", ".join(path.name for kind in result.viewers for path in sorted(out.glob(f"{kind}*.png")))
    console.print(
        f"{seconds:.1f} s; results in {out}: counts.csv, summary.json, {pictures}",
        highlight=False,
        soft_wrap=True,
    )
    for store in sorted(out.glob("*/*.zarr")):
        console.print(f"kept as an OME-Zarr plate: {store}", highlight=False, soft_wrap=True)


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
