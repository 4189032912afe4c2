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
    cp.add_argument("--version", choices=["0.4", "0.5"], help="of OME-Zarr (default: 0.5, or that of TARGET)")
    cp.add_argument(
        "--workers",
        type=_count,
        default=min(4, os.cpu_count() or 1),
        metavar="N",
        help="threads (default: %(default)s)",
    )
    cp.add_argument(
        "--overwrite", action="store_true", help="replace images in TARGET; another plate's copy is removed"
    )
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
    beside = _beside(index, fm)
    index = select(index, arguments.wells, arguments.channels)
    target, backend = _target(arguments, fm)
    if "zarr" in (index.backend, backend.partition(" ")[0]):
        from polystore.omezarr.engines import choose, engine

        engine(choose("auto"))  # says which extra is missing before anything is made
    plan = plan_copy(index, target, filemanager=fm, backend=backend, overwrite=arguments.overwrite)
    if not plan.removes:
        _check_version(arguments, target, backend)
    if beside:
        print(f"polystore: note: {beside} in {index.root} and not copied", file=sys.stderr)
    if arguments.dry_run:
        _print_plan(plan, arguments.json)
        return
    with _interruptible(arguments):
        with ProgressBar("copying", len(plan.missing)) as bar:
            report = copy_plate(plan, filemanager=fm, workers=arguments.workers, progress=bar)
        failures = report.failures
        different: tuple[Failure, ...] = ()
        if arguments.verify:
            with ProgressBar("verifying", len(plan.index.planes) - len(failures)) as bar:
                different = verify_copy(
                    plan, filemanager=fm, workers=arguments.workers, progress=bar, skip=failures
                )
    result: dict[str, Any] = {
        "target": plan.target,
        "copied": report.copied,
        "present": report.present,
        "bytes": report.nbytes,
        "verified": arguments.verify,
        "failed": [
            {"source": one.source, "target": one.target, "reason": one.reason} for one in failures + different
        ],
    }
    if arguments.json:
        print(json.dumps(result, indent=2))
    else:
        there = f", {report.present:,} were there already" if report.present else ""
        verified = ", all compared" if arguments.verify and not failures + different else ""
        planes = "plane" if report.copied == 1 else "planes"
        print(f"{report.copied:,} {planes} copied to {plan.target}{there}{verified}")
    _tell_of_gaps(index)
    if failures or different:
        raise _failed(failures, different, len(plan.index.planes))


def _check_pair(plate: str, target: str) -> None:
    from polystore.errors import StorageError

    if not target.strip():
        raise StorageError("TARGET is empty; give plate.zarr, or a folder")
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
        fm.mount("zarr target", make(version=arguments.version or "0.5"))
        return target, "zarr target"
    return target, backend


def _check_version(arguments: argparse.Namespace, target: str, backend: str) -> None:
    """Refuse a version that is asked for where another one is there: a plate keeps its own."""
    if arguments.version is None or backend != "zarr target":
        return
    from polystore.errors import UnsupportedFormatError
    from polystore.omezarr.files import Files
    from polystore.omezarr.grouping import open_group

    group = open_group(Files(None, durable=False, options={}).tree(target))
    there = None if group is None else {2: "0.4", 3: "0.5"}[group.format]
    if there is not None and there != arguments.version:
        raise UnsupportedFormatError(
            f"{target} is OME-Zarr {there} already and keeps it; leave out --version {arguments.version}, or "
            "choose another TARGET"
        )


def _beside(index: PlateIndex, fm: FileManager) -> str:
    """What an OME-Zarr plate holds beside its images: ``"4 labels images and 1 other file are"``; else empty."""
    if index.backend != "zarr":
        return ""
    from polystore._paths import join
    from polystore.omezarr.names import Plane, locate

    images = {index.path_of(plane) for plane in index.planes}
    walked = fm.walk(index.root, index.backend)
    paths = {join(folder, name) for folder, _, names in walked for name in names} - images
    places = [locate(path) for path in paths]
    labels = sum(isinstance(place, Plane) and place.labels is not None for place in places)
    counts = {"labels image": labels, "other file": len(paths) - labels}
    told = [f"{count:,} {what}{'' if count == 1 else 's'}" for what, count in counts.items() if count]
    return f"{' and '.join(told)} {'is' if len(paths) == 1 else 'are'}" if told else ""


def _print_plan(plan: CopyPlan, as_json: bool) -> None:
    summary = plan.index.summary()
    if as_json:
        print(
            json.dumps(
                {
                    "target": plan.target,
                    "to_copy": len(plan.missing),
                    "present": plan.present,
                    "to_remove": len(plan.removes),
                    **summary,
                },
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
    if plan.removes:
        print(f"  before that, {len(plan.removes):,} images of another plate are removed there")
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
        planes = "plane" if len(missing) == 1 else "planes"
        shown = "; ".join(str(key) for key in missing[:3])
        print(
            f"polystore: the plate lacks {len(missing):,} {planes} that it should have: {shown}{more}",
            file=sys.stderr,
        )


def _failed(failures: tuple[Failure, ...], different: tuple[Failure, ...], count: int) -> Exception:
    from polystore.errors import StorageError

    parts = []
    for found, one, many in (
        (failures, "was not copied", "were not copied"),
        (different, "is not the same in the copy", "are not the same in the copy"),
    ):
        if not found:
            continue
        lines = [f"{len(found):,} of {count:,} planes {one if len(found) == 1 else many}:"]
        lines += [f"  {failure.source}: {failure.reason}" for failure in found[:LISTED]]
        if len(found) > LISTED:
            lines.append(f"  ... and {len(found) - LISTED:,} more (--json lists all)")
        parts.append("\n".join(lines))
    return StorageError("\n".join(parts))
