"""``polystore config``: the settings that hold here, and where each comes from."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from polystore._cli import Commands

__all__ = ["add"]

DESCRIPTION = """\
The settings that hold for this user and this environment. From the weakest to the strongest:
defaults, the machine's configuration file, the user's, what a program says, environment variables.
"""


def add(commands: Commands) -> None:
    """Add the command to the parser."""
    from polystore.config_report import add_options

    config = commands.add_parser(
        "config", help="the settings that hold, and where they come from", description=DESCRIPTION
    )
    add_options(config)
    config.add_argument("--json", action="store_true", help="for programs")
    config.set_defaults(run=_config)


def _config(arguments: argparse.Namespace) -> None:
    import polystore.config  # noqa: F401  # its sections are those of this command
    from polystore.config_report import print_report, report

    print_report(report(), arguments)
