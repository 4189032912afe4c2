"""The command ``polystore``: what a plate holds, what is installed, and what lies in shared memory."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

__all__ = ["main"]

COMMANDS = ("ls", "cp", "rois", "backends", "config", "cache", "shm")
"""Modules of `polystore._commands`, in the order of ``--help``; each has ``add(commands)``."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments (by default the process's) and return its exit status.

    0: done; 1: it failed, with one line on stderr; 2: wrong usage.
    """
    from polystore.errors import PolystoreError

    arguments = _parser().parse_args(argv)
    try:
        arguments.run(arguments)
        sys.stdout.flush()
    except PolystoreError as exc:
        print(f"polystore: {exc}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        _drop_output()  # whoever read it (head, less) has seen enough
        return 1
    except OSError as exc:
        if _can_write():
            raise
        _drop_output()
        print(f"polystore: cannot write the output: {exc.strerror or exc}", file=sys.stderr)
        return 1
    return 0


def _can_write() -> bool:
    try:
        print(flush=True)  # an output without a buffer has nothing left to flush
    except OSError:
        return False
    return True


def _drop_output() -> None:
    # What is still buffered has nowhere to go; Python would try once more at its end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="polystore", description="One FileManager over many backends.")
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name in COMMANDS:
        import_module(f"polystore._commands.{name}").add(commands)
    return parser


def _version() -> str:
    from importlib.metadata import version

    return f"polystore {version('polystore')}"
