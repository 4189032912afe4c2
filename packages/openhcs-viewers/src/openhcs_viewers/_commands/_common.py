"""What the commands share: their options, what they say of a viewer, tables."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zmqruntime.errors import ZMQRuntimeError

if TYPE_CHECKING:
    from openhcs_viewers._cli import Commands
    from openhcs_viewers.handle import ViewerHandle

OK, FAILED = 0, 1
"""Exit codes; 2 is argparse's, for a wrong command line."""

NO_WINDOW_MOVE = 5.0
"""Seconds after which `list` calls a window that does not move not responding."""


def command(
    commands: Commands, name: str, run: Callable[[argparse.Namespace], int], text: str
) -> argparse.ArgumentParser:
    """Add a command with ``--json`` and return its parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=f"{text[0].upper()}{text[1:]}."
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)
    return parser


def selects(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose among viewers."""
    parser.add_argument(
        "--port", type=int, metavar="N", help="its data port; not needed when there is only one"
    )
    parser.add_argument("--kind", metavar="KIND", help="only viewers of this kind")


def add_fiji_dir(parser: argparse.ArgumentParser) -> None:
    """Add the option that names a Fiji."""
    parser.add_argument(
        "--fiji-dir", type=Path, metavar="DIR", help="fiji: the Fiji to start, the folder that holds 'jars'"
    )


def fiji_options(options: argparse.Namespace) -> dict[str, str]:
    """Return what `add_fiji_dir` was told, as options of a launch."""
    return {} if options.fiji_dir is None else {"fiji_dir": str(options.fiji_dir.expanduser().absolute())}


def say(options: argparse.Namespace, value: Any, text: str) -> None:
    """Print `value` as JSON when that was asked for, else `text`."""
    print(json.dumps(value, indent=1) if options.json else text)


def describe(handle: ViewerHandle) -> dict[str, Any]:
    """Return what a connection file says of a viewer."""
    return {
        "kind": handle.kind,
        "port": handle.port,
        "endpoint": str(handle.endpoint),
        "title": handle.title,
        "pid": handle.pid,
        "log": str(handle.log or ""),
    }


def survey(handle: ViewerHandle) -> dict[str, Any]:
    """Return what `list` says of a viewer: its ``state`` is ready, starting, busy or silent."""
    found: dict[str, Any] = {**describe(handle), "state": "silent", "responsive": False, "queued": None}
    starting = handle.is_starting()  # asked first: it may begin to listen while we wait for its answer
    try:
        pong = handle.ping(timeout=1.0)
        found["queued"] = handle.status()["queued"]
    except ZMQRuntimeError:
        if starting:
            found["state"] = "starting"
        return found
    busy = pong.ready and pong.app_idle_ms > NO_WINDOW_MOVE * 1000
    found["state"] = "busy" if busy else "ready" if pong.ready else "starting"
    found["responsive"] = pong.ready and not busy
    return found


def table(rows: list[tuple[Any, ...]]) -> str:
    """Return rows in columns as wide as their widest cell."""
    widths = [max(len(str(row[at])) for row in rows) for at in range(len(rows[0]))]
    return "\n".join(
        "  ".join(f"{cell!s:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
