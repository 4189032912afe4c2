"""``polystore cp``: a microscope's plate to an OME-Zarr plate, or to a folder of tidy TIFFs."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import TYPE_CHECKING, Any

from polystore._commands._progress import ProgressBar

if TYPE_CHECKING:
    from polystore._cli import Commands
    from polystore.filemanager import FileManager
    from polystore.plate import PlateIndex
    from polystore.plate_copy import CopyPlan, Failure

__all__ = ["add"]

LISTED = 20
"""Broken planes that are named; the rest are counted."""

_TOLD = ("unreadable", "duplicate")
"""Kinds of notes of a plate that somebody who keeps the copy only has to know."""

_ABOUT = """\
Copy a plate. TARGET is an OME-Zarr plate when it ends in .zarr (also in a bucket: s3://bucket/p.zarr), else a
folder of TIFFs named A01_s001_w1_z001_t001.tif. Pixels are copied exactly.

A copy that was stopped goes on where it was: run the same command again. A source file that cannot be read is
reported at the end, with exit status 1; all the others are copied.
"""

_EXAMPLES = """\
examples:
  polystore cp /data/2023-02-21/1334 plate.zarr
  polystore cp /data/plate plate.zarr --wells A01,B02 --channels DAPI --verify
  polystore cp /data/plate tidy/ --dry-run
"""


def add(commands: Commands) -> None:
    """Add the command to the parser."""
    cp = commands.add_parser(
        "cp",
        help="copy a plate to OME-Zarr, or to a folder of tidy TIFFs",
        description=_ABOUT,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    cp.add_argument("plate", metavar="PLATE", help="the plate's folder, or an OME-Zarr plate")
    cp.add_argument("target", metavar="TARGET", help="plate.zarr, or a folder")
    cp.add_argument("--wells", type=_names, metavar="A01,B02", help="only these wells")
    cp.add_argument(
        "--channels", type=_names, metavar="1,DAPI", help="only these channels, by number or name"
    )
    cp.add_argument("--microscope", metavar="NAME", help="which handler reads PLATE (default: found out)")
    cp.add_argument("--backend", metavar="NAME", help="where PLATE lies (default: found out)")
    cp.add_argument(
        "--version", choices=["0.4", "0.5"], default="0.5", help="of OME-Zarr (default: %(default)s)"
    )
    cp.add_argument(
        "--workers",
        type=_count,
        default=min(4, os.cpu_count() or 1),
        metavar="N",
        help="threads (default: %(default)s)",
    )
    cp.add_argument("--overwrite", action="store_true", help="replace images that are in TARGET")
    cp.add_argument("--verify", action="store_true", help="afterwards read every plane back and compare")
    cp.add_argument("--dry-run", action="store_true", help="say what would be copied, and write nothing")
    cp.add_argument("--json", action="store_true", help="the result for programs, on stdout")
    cp.set_defaults(run=_run)


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise argparse.ArgumentTypeError("give at least one, separated by commas")
    return names


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of threads: 1 or more")
    return int(text)


def _run(arguments: argparse.Namespace) -> None:
    from polystore.filemanager import FileManager
    from polystore.microscopes import open_plate
    from polystore.plate_copy import copy_plate, plan_copy, select, verify_copy

    fm = FileManager()
    _check_pair(arguments.plate, arguments.target)
    index = open_plate(arguments.plate, fm, backend=arguments.backend, microscope=arguments.microscope)
    index = select(index, arguments.wells, arguments.channels)
    target, backend = _target(arguments, fm)
    plan = plan_copy(index, target, filemanager=fm, backend=backend, overwrite=arguments.overwrite)
    if arguments.dry_run:
        _print_plan(plan, arguments.json)
        return
    with _interruptible(arguments):
        with ProgressBar("copying", len(plan.missing)) as bar:
            report = copy_plate(plan, filemanager=fm, workers=arguments.workers, progress=bar)
        failures = report.failures
        if arguments.verify:
            with ProgressBar("verifying", len(plan.index.planes) - len(failures)) as bar:
                failures += verify_copy(
                    plan, filemanager=fm, workers=arguments.workers, progress=bar, skip=failures
                )
    result: dict[str, Any] = {
        "target": plan.target,
        "copied": report.copied,
        "present": report.present,
        "bytes": report.nbytes,
        "verified": arguments.verify,
        "failed": [{"source": one.source, "target": one.target, "reason": one.reason} for one in failures],
    }
    if arguments.json:
        print(json.dumps(result, indent=2))
    else:
        there = f", {report.present:,} were there already" if report.present else ""
        verified = ", all compared" if arguments.verify and not failures else ""
        planes = "plane" if report.copied == 1 else "planes"
        print(f"{report.copied:,} {planes} copied to {plan.target}{there}{verified}")
    _tell_of_gaps(index)
    if failures:
        raise _failed(failures, len(plan.index.planes))


def _check_pair(plate: str, target: str) -> None:
    from polystore.errors import StorageError

    if "://" in plate or "://" in target:
        return
    first, second = os.path.realpath(plate), os.path.realpath(target)
    if first == second or first.startswith(second.rstrip(os.sep) + os.sep):
        raise StorageError(f"{target} is {plate} or holds it; choose another TARGET")


def _target(arguments: argparse.Namespace, fm: FileManager) -> tuple[str, str]:
    """The path of the target and the name of its backend, which is made here for what it is to write."""
    from polystore._auto import backend_for
    from polystore.backends import BACKENDS
    from polystore.errors import UnsupportedFormatError

    target = arguments.target.rstrip("/\\") or arguments.target
    backend = backend_for(target)
    if backend == "zarr":
        if not target.lower().endswith(".zarr"):
            raise UnsupportedFormatError(
                f"{target} is inside an OME-Zarr plate; TARGET is the plate itself: x.zarr"
            )
        make: Any = BACKENDS.get("zarr")  # says which extra is missing
        fm.mount("zarr target", make(version=arguments.version))
        return target, "zarr target"
    return target, backend


def _print_plan(plan: CopyPlan, as_json: bool) -> None:
    summary = plan.index.summary()
    if as_json:
        print(
            json.dumps(
                {"target": plan.target, "to_copy": len(plan.missing), "present": plan.present, **summary},
                indent=2,
            )
        )
        return
    print(f"{plan.index.root}: {plan.index.microscope}")
    for name in ("wells", "fields", "channels", "z", "t"):
        values = summary[name]
        shown = ", ".join(str(value) for value in values[:12]) + (", ..." if len(values) > 12 else "")
        print(f"  {name:<9}{len(values):>6,}  {shown}")
    print(f"{len(plan.missing):,} planes to copy to {plan.target}, {plan.present:,} are there already")
    for plane in plan.missing[:3]:
        print(f"  {plane.path} -> {plan.name(plane)}")
    if len(plan.missing) > 3:
        print("  ...")


class _interruptible:  # reads as a word
    """A copy that is stopped by Ctrl-C says how to go on."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._target = arguments.target

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: object) -> None:
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            print(f"stopped; run the same command again to complete {self._target}", file=sys.stderr)
            raise SystemExit(130) from None


def _tell_of_gaps(index: PlateIndex) -> None:
    for note in index.notes:
        if note.kind in _TOLD:
            print(f"polystore: {note.text}", file=sys.stderr)
    missing = index.missing
    if missing:
        more = f" and {len(missing) - 3:,} more" if len(missing) > 3 else ""
        shown = "; ".join(str(key) for key in missing[:3])
        print(
            f"polystore: the plate lacks {len(missing):,} planes that it should have: {shown}{more}",
            file=sys.stderr,
        )


def _failed(failures: tuple[Failure, ...], count: int) -> Exception:
    from polystore.errors import StorageError

    lines = [f"  {failure.source}: {failure.reason}" for failure in failures[:LISTED]]
    if len(failures) > LISTED:
        lines.append(f"  ... and {len(failures) - LISTED:,} more (--json lists all)")
    return StorageError(f"{len(failures):,} of {count:,} planes were not copied:\n" + "\n".join(lines))
