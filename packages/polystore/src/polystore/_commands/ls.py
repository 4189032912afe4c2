"""``polystore ls PLATE``: what a plate holds, as a map and tables, or as JSON."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from polystore._commands._table import print_table

if TYPE_CHECKING:
    from polystore._cli import Commands
    from polystore.components import Value
    from polystore.plate import PlateIndex, PlateInfo, PlateNote

__all__ = ["add", "as_json", "ranges"]

SHOWN = 6
"""Lines of what is missing, unless all are asked for."""


def add(commands: Commands) -> None:
    """Add the command to the parser."""
    ls = commands.add_parser(
        "ls",
        help="what a plate holds: wells, fields, channels, z, t, and what is missing",
        description="Show a plate: a map of its wells, its channels with their names and wavelengths, the size of its "
        "pixels, z and t, how many planes there are and which are missing. The microscope is recognised by looking. "
        "No pixel is read.",
        epilog="examples: polystore ls /data/plate1; polystore ls plate1.zarr --json; polystore ls plate1 --check",
    )
    ls.add_argument("plate", metavar="PLATE", help="the plate's folder, or /omero/plate_123")
    ls.add_argument(
        "--json", action="store_true", help="for programs: {wells, fields, channels, z, t, planes, ...}"
    )
    ls.add_argument(
        "--microscope", metavar="NAME", help="whose files they are; by default recognised by looking"
    )
    ls.add_argument("--backend", metavar="NAME", help="where the plate lies; by default found by looking")
    ls.add_argument("--missing", action="store_true", help="list every missing plane, not only the first few")
    ls.add_argument(
        "--check", action="store_true", help="open every file and say which are empty, cut off or no image"
    )
    ls.set_defaults(run=_ls)


def _ls(arguments: argparse.Namespace) -> None:
    from polystore.errors import CorruptFileError
    from polystore.microscopes import open_plate

    index = open_plate(arguments.plate, backend=arguments.backend, microscope=arguments.microscope)
    damaged: tuple[PlateNote, ...] = ()
    if arguments.check:
        from polystore.microscopes._check import check_plate

        damaged = check_plate(index, progress=_progress if sys.stderr.isatty() else None)
    if arguments.json:
        print(json.dumps(as_json(index, damaged if arguments.check else None), indent=2, ensure_ascii=False))
    else:
        _print_plate(index, every_missing=arguments.missing)
        for note in damaged:
            print(f"damaged: {note.text}")
        if arguments.check and not damaged:
            print(f"all {len({plane.path for plane in index}):,} files are whole")
    if damaged:
        raise CorruptFileError(f"{len(damaged)} of the plate's files are damaged")


def as_json(index: PlateIndex, damaged: Sequence[PlateNote] | None = None) -> dict[str, Any]:
    """`PlateIndex.summary`, then what else is known of the plate."""
    info = index.info
    found = {
        **index.summary(),
        "missing": [key.as_dict() for key in index.missing],
        "root": index.root,
        "backend": index.backend,
        "microscope": index.microscope,
        "name": info.name,
        "rows": info.rows,
        "columns": info.columns,
        "pixel_size_um": info.pixel_size_um,
        "z_step_um": info.z_step_um,
        "t_step_s": info.t_step_s,
        "acquired": info.acquired,
        "instrument": info.instrument,
        "channel_info": [
            {
                "channel": channel,
                "name": known.name,
                "excitation_nm": known.excitation_nm,
                "emission_nm": known.emission_nm,
                "exposure_ms": known.exposure_ms,
            }
            for channel, known in info.channels.items()
        ],
        "notes": [{"kind": note.kind, "text": note.text, "paths": note.paths} for note in index.notes],
    }
    if damaged is not None:
        found["damaged"] = [{"text": note.text, "paths": note.paths} for note in damaged]
    return found


def _print_plate(index: PlateIndex, *, every_missing: bool) -> None:
    from polystore._commands._plate_map import Marks, plate_map, plate_size

    info = index.info
    title = info.name or os.path.basename(index.root.rstrip("/\\")) or index.root
    print(f"{title}   {index.microscope}, on {index.backend}")
    print(index.root)
    if info.instrument or info.acquired:
        print(", ".join(text for text in (info.instrument, _acquired(info)) if text))
    marks = Marks.for_encoding(sys.stdout.encoding)
    if sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        marks = marks.coloured()
    lines = plate_map(index, marks)
    if lines:
        print()
        print("\n".join(lines))
        size = plate_size(index)
        if size is not None and not size[2]:
            print(f"   the plate's files do not say its size: drawn as one of {size[0] * size[1]} wells")
        if index.missing:
            print(f"   {marks.full} complete   {marks.partial} planes missing   {marks.lost} all missing")
    print()
    for name, text in _facts(index, marks.um):
        print(f"{name:<13}{text}")
    if index.channels or info.channels:
        print()
        _print_channels(index)
    if index.missing:
        print()
        _print_missing(index, every_missing)
    if index.notes:
        print()
        _print_notes(index.notes)


def _print_notes(notes: Sequence[PlateNote]) -> None:
    shown: dict[str, int] = {}
    for note in notes:
        shown[note.kind] = shown.get(note.kind, 0) + 1
        if shown[note.kind] <= _NOTES:
            print(f"note: {note.text}")
    for kind, count in shown.items():
        if count > _NOTES:
            print(f"note: and {count - _NOTES} more of the kind {kind!r}; --json has them all")


_NOTES = 3


def _facts(index: PlateIndex, um: str) -> Iterable[tuple[str, str]]:
    info = index.info
    yield "wells", f"{len(index.wells)}   {ranges(index.wells)}"
    yield "fields", _fields(index)
    if acquisitions := index.values("acquisition"):
        yield "acquisitions", f"{len(acquisitions)}   {ranges(acquisitions)}"
    if index.z:
        step = f"; {info.z_step_um:g} {um} apart" if info.z_step_um else ""
        yield "z", f"{len(index.z)}   {ranges(index.z)}{step}"
    if index.t:
        step = f"; {info.t_step_s:g} s apart" if info.t_step_s and len(index.t) > 1 else ""
        yield "t", f"{len(index.t)}   {ranges(index.t)}{step}"
    if info.pixel_size_um:
        height, width = info.pixel_size_um
        yield (
            "pixel",
            f"{height:g} {um}" if height == width else f"{height:g} x {width:g} {um} (height x width)",
        )
    missing = f"{len(index.missing):,} missing" if index.missing else "none missing"
    yield "planes", f"{len(index):,}   {missing}"


def _fields(index: PlateIndex) -> str:
    if not index.fields:
        return "1 in each well, without a number"
    by_well: dict[Value | None, set[Value | None]] = {}
    for plane in index:
        by_well.setdefault(plane.key.well, set()).add(plane.key.field)
    counts = sorted({len(fields) for fields in by_well.values()})
    if counts == [len(index.fields)]:
        each = "in each well"
    else:
        each = f"{counts[0]} to {counts[-1]} in a well" if len(counts) > 1 else f"{counts[0]} in each well"
    return f"{len(index.fields)}   {ranges(index.fields)}; {each}"


def _print_channels(index: PlateIndex) -> None:
    from polystore.plate import ChannelInfo

    planes: dict[Value | None, list[Any]] = {channel: [] for channel in index.channels}
    for plane in index:
        planes.setdefault(plane.key.channel, []).append(plane.key)
    rows = []
    for channel, keys in planes.items():
        known = index.info.channels.get(channel, ChannelInfo()) if channel is not None else ChannelInfo()
        z = {key.z for key in keys}
        stack = ranges(sorted(value for value in z if value is not None)) if z != {None} else ""
        single = ("one without" if not stack else "and one without") if None in z and index.z else ""
        rows.append(
            [
                "" if channel is None else channel,
                known.name or "",
                _unit(known.excitation_nm, "nm"),
                _unit(known.emission_nm, "nm"),
                _unit(known.exposure_ms, "ms"),
                " ".join(part for part in (stack, single) if part),
                f"{len(keys):,}",
            ]
        )
    headings = ["channel", "name", "excitation", "emission", "exposure", "z", "planes"]
    empty = [column for column in range(len(headings)) if not any(row[column] for row in rows)]
    kept = [column for column in range(len(headings)) if column not in empty]
    print_table([headings[column] for column in kept], [[row[column] for column in kept] for row in rows])


def _print_missing(index: PlateIndex, every: bool) -> None:
    there = set(index.wells)
    lost = Counter(key.well for key in index.missing if key.well not in there)
    lines = [f"all {count:,} planes of well {well}" for well, count in lost.items()]
    lines += [str(key) for key in index.missing if key.well in there]
    shown = lines if every else lines[:SHOWN]
    for line in shown:
        print(f"missing: {line}")
    if len(shown) < len(lines):
        print(f"missing: and {len(lines) - len(shown):,} more lines; --missing has them")


def ranges(values: Iterable[Value]) -> str:
    """Values in short: ``1-10, 12``; names as they are, of many the first and the last."""
    parts: list[str] = []
    run: list[int] = []
    names: list[str] = []
    for value in values:
        if not isinstance(value, int):
            names.append(str(value))
            continue
        if run and value == run[-1] + 1:
            run.append(value)
            continue
        parts += _run(run)
        run = [value]
    parts += _run(run)
    if len(names) > _NAMES:
        names = [*names[:3], "...", names[-1]]
    return ", ".join([*parts, *([" ".join(names)] if names else [])])


_NAMES = 8


def _run(run: Sequence[int]) -> list[str]:
    if len(run) < 3:
        return [str(value) for value in run]
    return [f"{run[0]}-{run[-1]}"]


def _unit(value: float | None, unit: str) -> str:
    return f"{value:g} {unit}" if value is not None else ""


def _acquired(info: PlateInfo) -> str:
    return f"acquired {info.acquired[:19].replace('T', ' ')}" if info.acquired else ""


def _progress(done: int, count: int) -> None:
    if done == count or done % 64 == 0:
        filled = 30 * done // count
        end = "\n" if done == count else ""
        print(
            f"\rchecking [{'#' * filled}{'.' * (30 - filled)}] {done:,} of {count:,}",
            end=end,
            file=sys.stderr,
        )
        sys.stderr.flush()
