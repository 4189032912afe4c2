"""``polystore backends``: what can be read and written, and why something cannot."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from polystore._commands._table import print_table

if TYPE_CHECKING:
    from polystore._cli import Commands

__all__ = ["add"]

DESCRIPTION = """\
Every backend by name, and where it comes from. Listing imports none of them; --explain imports each and says
why one cannot be used: an import error, a missing extra with the command that installs it, an abstract class,
a class without a name, two that claim one name.
"""


def add(commands: Commands) -> None:
    """Add the command to the parser."""
    backends = commands.add_parser("backends", help="list the backends by name", description=DESCRIPTION)
    backends.add_argument("--explain", action="store_true", help="import each and say whether it can be used")
    backends.add_argument("--json", action="store_true", help="for programs")
    backends.set_defaults(run=_backends)


def _backends(arguments: argparse.Namespace) -> None:
    if arguments.explain:
        _explain(arguments)
        return
    from polystore.backends import BACKENDS

    plugins = [BACKENDS.plugin(name) for name in BACKENDS.names()]
    rows = [{"name": each.name, "origin": each.origin, "target": str(each.target)} for each in plugins]
    if arguments.json:
        print(json.dumps(rows, indent=2))
    else:
        print_table(["name", "origin", "target"], [list(row.values()) for row in rows])


def _explain(arguments: argparse.Namespace) -> None:
    from polystore._explain import explain
    from polystore.abc import DataSink, DataSource, VirtualBackend
    from polystore.backends import BACKENDS

    found = explain(BACKENDS, (DataSource, DataSink, VirtualBackend), "_backend_type")
    if arguments.json:
        print(json.dumps([asdict(each) for each in found], indent=2))
        return
    rows = [[each.name or "(none)", each.state, each.origin or "-", each.target or "-"] for each in found]
    print_table(["name", "state", "origin", "target"], rows)
    for each in found:
        if each.problem:
            print(f"\n{each.name or each.target}: {each.problem}")
