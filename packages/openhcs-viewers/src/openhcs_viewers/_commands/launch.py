"""``openhcs-viewers launch``: open a viewer."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from openhcs_viewers._commands._common import OK, add_fiji_dir, command, describe, fiji_options, say
from openhcs_viewers.errors import LaunchError

if TYPE_CHECKING:
    from openhcs_viewers._cli import Commands


def add(commands: Commands) -> None:
    """Add the command to the parser."""
    launch = command(commands, "launch", _launch, "open a viewer, or find the one that is open")
    launch.add_argument("kind", nargs="?", default="napari", metavar="KIND", help="viewer (default: napari)")
    launch.add_argument(
        "--port", type=int, metavar="N", help="data port; without it the kind's, or the next free pair"
    )
    launch.add_argument("--title", metavar="T", help="title of the window")
    launch.add_argument("--transport", choices=("ipc", "tcp"), help="default: ipc on this machine")
    launch.add_argument(
        "--display",
        default="auto",
        metavar="D",
        help="auto, virtual (no screen needed), headless (fiji: no window at all), or an X display (:1)",
    )
    launch.add_argument(
        "--listen", metavar="ADDRESS", help="listen for other machines, too ('*'); needs --key"
    )
    launch.add_argument("--key", type=Path, metavar="FILE", help="CURVE key pair of the viewer")
    launch.add_argument(
        "--budget",
        type=int,
        metavar="MB",
        help="memory for images; the rest goes to disk (default: half of all)",
    )
    launch.add_argument(
        "--timeout", type=float, default=60.0, metavar="S", help="wait for its window (default: %(default)g)"
    )
    launch.add_argument("--no-wait", action="store_true", help="let it start in the background")
    add_fiji_dir(launch)
    launch.add_argument("--new", action="store_true", help="open a new one in any case")


def _launch(options: argparse.Namespace) -> int:
    from openhcs_viewers.launcher import launch

    if options.fiji_dir is not None and options.kind != "fiji":
        raise LaunchError(
            f"--fiji-dir says which ImageJ a fiji viewer starts, and {options.kind} starts none: leave it out, or "
            "run 'openhcs-viewers launch fiji --fiji-dir DIR'"
        )
    handle = launch(
        options.kind,
        port=options.port,
        title=options.title,
        transport=options.transport,
        display=options.display,
        listen=options.listen,
        key=options.key,
        budget=None if options.budget is None else options.budget * 1024 * 1024,
        timeout=options.timeout,
        wait=not options.no_wait,
        reuse=not options.new,
        options=fiji_options(options),
    )
    done = "starting" if options.no_wait else "opened" if handle.started else "already open"
    text = (
        f"{handle.kind} on port {handle.port} {done}: {handle.endpoint}, pid {handle.pid}, log {handle.log}"
    )
    say(options, {**describe(handle), "started": handle.started}, text)
    return OK
