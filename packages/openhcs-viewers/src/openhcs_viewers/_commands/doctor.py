"""``openhcs-viewers doctor``: what is missing."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from openhcs_viewers._commands._common import FAILED, OK, add_fiji_dir, command, fiji_options, say

if TYPE_CHECKING:
    from openhcs_viewers._cli import Commands


def add(commands: Commands) -> None:
    """Add the command to the parser."""
    doctor = command(
        commands, "doctor", _doctor, "say what is missing for each viewer, and the command that installs it"
    )
    doctor.add_argument("kinds", nargs="*", metavar="KIND", help="viewers to look at (default: all)")
    doctor.add_argument("--deep", action="store_true", help="also open each of them, and close it again")
    doctor.add_argument(
        "--install", action="store_true", help="first fetch what is missing and can be: ImageJ for fiji"
    )
    add_fiji_dir(doctor)


def _doctor(options: argparse.Namespace) -> int:
    from openhcs_viewers.doctor import examine, installed_viewers
    from openhcs_viewers.registry import viewer_names

    fiji = fiji_options(options)
    if options.install and "fiji" in (options.kinds or viewer_names()):
        from openhcs_viewers.fiji.doctor import install

        install(fiji, lambda line: print(line, file=sys.stderr, flush=True))
    elif options.deep and "fiji" in (options.kinds or installed_viewers()):
        from openhcs_viewers.fiji.doctor import fetch_what_opening_would

        fetch_what_opening_would(fiji, lambda line: print(line, file=sys.stderr, flush=True))
    report = examine(options.kinds, deep=options.deep, options={"fiji": fiji})
    say(options, report.as_json(), str(report))
    return OK if report.healthy else FAILED
