"""``openhcs-viewers macro``: run an ImageJ macro in a viewer."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from openhcs_viewers._commands._common import OK, command, describe, say, selects
from openhcs_viewers.errors import ViewerFilesError

if TYPE_CHECKING:
    from openhcs_viewers._cli import Commands


def add(commands: Commands) -> None:
    """Add the command to the parser."""
    macro = command(commands, "macro", _macro, "run an ImageJ macro in a viewer and print what it returns")
    macro.epilog = (
        "The macro sees the images on the viewer's screen. ImageJ's own message is printed when it fails, and no "
        "dialog waits for anybody. Only over ipc: a macro may do anything its user may. In a viewer with "
        "display='headless' a macro finds the streamed images, but bare ImageJ has no menus and no windows there: "
        "run(...), roiManager(...) and dialogs need a display, a virtual one will do."
    )
    macro.add_argument(
        "file", metavar="FILE", help="a file with the macro (.ijm); - reads it from standard input"
    )
    macro.add_argument("--argument", default="", metavar="S", help="what the macro's getArgument() returns")
    selects(macro)
    macro.add_argument(
        "--timeout",
        type=float,
        default=30.0,
        metavar="S",
        help="abort it after S seconds, at most a day (default: %(default)g)",
    )


def _macro(options: argparse.Namespace) -> int:
    from openhcs_viewers.launcher import find_viewer

    text = _read(options.file)
    handle = find_viewer(options.port, options.kind)
    result = handle.run_macro(text, options.argument, options.timeout)
    say(options, {**describe(handle), "result": result}, result)
    return OK


def _read(name: str) -> str:
    if name == "-":
        return sys.stdin.read()
    try:
        return Path(name).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ViewerFilesError(f"the macro {name} cannot be read: {error}") from error
