"""``polystore backends``: what can be read and written, and why something cannot."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from polystore._commands._table import print_table

if TYPE_CHECKING:
    from polystore._cli import Commands

__all__ = ["add"]


def add(commands: Commands) -> None:
    """Add the command to the parser."""
    backends = commands.add_parser("backends", help="list the backends by name")
    backends.add_argument("--explain", action="store_true", help="import each and say whether it can be used")
    backends.add_argument("--json", action="store_true", help="for programs")
    backends.set_defaults(run=_backends)


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
    print_table(headings, [[row[heading] or "none" for heading in headings] for row in rows])
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
