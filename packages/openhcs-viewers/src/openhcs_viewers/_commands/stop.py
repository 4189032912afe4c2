"""``openhcs-viewers stop``: close a viewer."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from openhcs_viewers._commands._common import OK, command, describe, say, selects
from openhcs_viewers.errors import LaunchError, ViewerError

if TYPE_CHECKING:
    from openhcs_viewers._cli import Commands


def add(commands: Commands) -> None:
    """Add the command to the parser."""
    stop = command(commands, "stop", _stop, "close a viewer")
    selects(stop)
    stop.add_argument("--all", action="store_true", help="all viewers of yours")
    stop.add_argument(
        "--force",
        action="store_true",
        help="end its process when it does not close itself, whoever launched it",
    )
    stop.add_argument(
        "--timeout",
        type=float,
        default=10.0,
        metavar="S",
        help="seconds it gets to close (default: %(default)g)",
    )


def _stop(options: argparse.Namespace) -> int:
    from openhcs_viewers.launcher import find_viewer, list_viewers

    handles = list_viewers(options.kind) if options.all else [find_viewer(options.port, options.kind)]
    ended, failures = [], []
    for handle in handles:
        try:
            ended.append(
                {**describe(handle), "ended": handle.stop(force=options.force, timeout=options.timeout)}
            )
        except ViewerError as error:
            failures.append(str(error))
    say(
        options,
        ended,
        "\n".join(f"{one['kind']} on port {one['port']} {_ENDINGS[one['ended']]}" for one in ended),
    )
    if failures:
        raise LaunchError("; ".join(failures))
    return OK


_ENDINGS = {
    "gone": "had ended already",
    "asked": "closed",
    "terminated": "was ended by SIGTERM",
    "killed": "did not react and was killed",
}
