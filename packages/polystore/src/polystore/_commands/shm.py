"""``polystore shm``: shared memory of ours, and what dead processes left of it."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from polystore._commands._table import print_table

if TYPE_CHECKING:
    from polystore._cli import Commands

__all__ = ["add"]


def add(commands: Commands) -> None:
    """Add the command to the parser."""
    shm = commands.add_parser("shm", help="shared memory of ours in /dev/shm")
    actions = shm.add_subparsers(title="actions", required=True, metavar="ACTION")
    listed = actions.add_parser("list", help="list it, with whether its owner lives")
    listed.add_argument("--json", action="store_true", help="for programs")
    listed.set_defaults(run=_shm_list)
    collected = actions.add_parser("gc", help="remove what dead processes left; that of living ones stays")
    collected.set_defaults(run=_shm_gc)


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
        print_table(["name", "bytes", "owner"], rows)


def _shm_gc(arguments: argparse.Namespace) -> None:
    from polystore.payload.shm import janitor

    removed = janitor()
    for name in removed:
        print(name)
    print(f"removed {len(removed)}")
