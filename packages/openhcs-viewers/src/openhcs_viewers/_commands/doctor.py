"""``openhcs-viewers doctor``: what is missing."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from openhcs_viewers._commands._common import FAILED, OK, command, say

if TYPE_CHECKING:
    from openhcs_viewers._cli import Commands


def add(commands: Commands) -> None:
    """Add the command to the parser."""
    doctor = command(
        commands, "doctor", _doctor, "say what is missing for each viewer, and the command that installs it"
    )
    doctor.add_argument("kinds", nargs="*", metavar="KIND", help="viewers to look at (default: all)")
    doctor.add_argument("--deep", action="store_true", help="also open each of them, and close it again")


def _doctor(options: argparse.Namespace) -> int:
    from openhcs_viewers.doctor import examine

    report = examine(options.kinds, deep=options.deep)
    say(options, report.as_json(), str(report))
    return OK if report.healthy else FAILED
