"""The command ``polystore``: what is installed, and what lies in shared memory."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments (by default the process's) and return its exit status.

    0: done; 1: it failed, with one line on stderr; 2: wrong usage.
    """
    from polystore.errors import PolystoreError

    arguments = _parser().parse_args(argv)
    try:
        arguments.run(arguments)
    except PolystoreError as exc:
        print(f"polystore: {exc}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="polystore", description="One FileManager over many backends.")
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    backends = commands.add_parser("backends", help="list the backends by name")
    backends.add_argument("--explain", action="store_true", help="import each and say whether it can be used")
    backends.add_argument("--json", action="store_true", help="for programs")
    backends.set_defaults(run=_backends)

    shm = commands.add_parser("shm", help="shared memory of ours in /dev/shm")
    actions = shm.add_subparsers(title="actions", required=True, metavar="ACTION")
    listed = actions.add_parser("list", help="list it, with whether its owner lives")
    listed.add_argument("--json", action="store_true", help="for programs")
    listed.set_defaults(run=_shm_list)
    collected = actions.add_parser("gc", help="remove what dead processes left; that of living ones stays")
    collected.set_defaults(run=_shm_gc)
    return parser


def _version() -> str:
    from importlib.metadata import version

    return f"polystore {version('polystore')}"


def _backends(arguments: argparse.Namespace) -> None:
    from polystore.backends import BACKENDS

    rows = []
    for name in BACKENDS.names():
        plugin = BACKENDS.plugin(name)
        row: dict[str, Any] = {"name": name, "origin": plugin.origin, "target": str(plugin.target)}
        if arguments.explain:
            row["problem"] = _problem(name)
        rows.append(row)
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return
    headings = ["name", "origin", "target", *(["problem"] if arguments.explain else [])]
    _print_table(headings, [[row[heading] or "none" for heading in headings] for row in rows])
    for clash in BACKENDS.clashes().values() if arguments.explain else ():
        print(f"ignored: {clash}")


def _problem(name: str) -> str:
    """Why a backend cannot be used, or nothing."""
    from polystore.backends import BACKENDS
    from polystore.errors import PolystoreError

    try:
        BACKENDS.get(name)
    except PolystoreError as exc:
        return str(exc)
    return ""


def _shm_list(arguments: argparse.Namespace) -> None:
    from polystore.payload.shm import names

    found = [{"name": name, "bytes": size, "owner_alive": alive} for name, size, alive in names()]
    if arguments.json:
        print(json.dumps(found, indent=2))
    elif not found:
        print("no shared memory of ours")
    else:
        rows = [
            [row["name"], f"{row['bytes']:,}", "alive" if row["owner_alive"] else "dead"] for row in found
        ]
        _print_table(["name", "bytes", "owner"], rows)


def _shm_gc(arguments: argparse.Namespace) -> None:
    from polystore.payload.shm import janitor

    removed = janitor()
    for name in removed:
        print(name)
    print(f"removed {len(removed)}")


def _print_table(headings: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    table = [headings, *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(headings))]
    for row in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
