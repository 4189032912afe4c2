"""``openhcs-viewers status``: a viewer's counters."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from openhcs_viewers._commands._common import FAILED, OK, command, say, selects, survey
from zmqruntime.errors import ZMQRuntimeError

if TYPE_CHECKING:
    from openhcs_viewers._cli import Commands


def add(commands: Commands) -> None:
    """Add the command to the parser."""
    status = command(commands, "status", _status, "show a viewer's counters")
    selects(status)


def _status(options: argparse.Namespace) -> int:
    from openhcs_viewers.launcher import find_viewer, list_viewers

    handles = [handle for handle in list_viewers(options.kind) if options.port in (None, handle.port)]
    if not handles:
        find_viewer(options.port, options.kind)  # raises, with those there are
    found = []
    for handle in handles:
        one = survey(handle)
        try:
            one.update(handle.status())
        except ZMQRuntimeError as error:
            one["error"] = str(error)
        found.append(one)
    say(options, found, "\n\n".join("\n".join(_lines(one)) for one in found))
    return OK if all("error" not in one for one in found) else FAILED


def _lines(values: dict[str, Any], indent: str = "") -> list[str]:
    lines = []
    for name, value in values.items():
        if isinstance(value, dict):
            lines += [f"{indent}{name}:", *_lines(value, indent + "  ")]
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            lines.append(f"{indent}{name}:")
            for each in value:
                lines.append(f"{indent}  - " + ", ".join(f"{key} {one}" for key, one in each.items()))
        else:
            lines.append(f"{indent}{name}: {value}")
    return lines
