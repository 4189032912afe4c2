"""``openhcs-viewers config``: the settings that hold, and who said so."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from openhcs_viewers._commands._common import OK, command

if TYPE_CHECKING:
    from openhcs_viewers._cli import Commands


def add(commands: Commands) -> None:
    """Add the command to the parser."""
    from polystore.config_report import add_options

    config = command(commands, "config", _config, "show the settings that hold, and where they come from")
    config.epilog = (
        "From the weakest to the strongest: defaults, the machine's configuration file, the user's, the global "
        "configuration of a program, its pipeline's, a step's, environment variables, arguments of a call."
    )
    add_options(config)


def _config(options: argparse.Namespace) -> int:
    import openhcs_viewers.config  # noqa: F401  # its sections, and those of polystore
    from polystore.config_report import print_report, report

    print_report(report(complete=True), options)
    return OK
