"""``openhcs-viewers list``: which viewers there are."""

from __future__ import annotations

import argparse
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from openhcs_viewers._commands._common import OK, command, say, survey, table

if TYPE_CHECKING:
    from openhcs_viewers._cli import Commands


def add(commands: Commands) -> None:
    """Add the command to the parser."""
    command(commands, "list", _list, "show your viewers: port, title, responsive or not, queued images")


def _list(options: argparse.Namespace) -> int:
    from openhcs_viewers.launcher import list_viewers

    handles = list_viewers()
    with ThreadPoolExecutor(max_workers=16) as pool:
        found = list(pool.map(survey, handles))
    shown = {
        "ready": "responsive",
        "starting": "starting",
        "busy": "not responding: its window does not move",
    }
    rows = [("PORT", "KIND", "STATE", "QUEUED", "PID", "TITLE", "LOG")]
    for one in found:
        state = shown.get(one["state"], "not responding")
        queued = "-" if one["queued"] is None else one["queued"]
        rows.append((one["port"], one["kind"], state, queued, one["pid"], one["title"], one["log"]))
    say(
        options,
        found,
        table(rows) if found else "no viewer of yours runs; 'openhcs-viewers launch' opens one",
    )
    return OK
