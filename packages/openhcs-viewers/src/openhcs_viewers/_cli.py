"""The command ``openhcs-viewers``."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, TypeAlias

from openhcs_viewers._commands._common import FAILED
from openhcs_viewers.errors import ViewerError
from polystore.errors import PolystoreError
from zmqruntime.errors import ZMQRuntimeError

if TYPE_CHECKING:
    Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

COMMANDS = ("launch", "list", "status", "stop", "stream", "rois", "macro", "doctor", "config")
"""Modules of `openhcs_viewers._commands`, in the order of ``--help``; each has ``add(commands)``."""

EPILOG = """\
examples:
  openhcs-viewers launch                        open napari, or say where the one that is open listens
  openhcs-viewers launch --port 5600 --title B  a second one beside it
  openhcs-viewers list                          all viewers of yours, responsive or not
  openhcs-viewers stream plate/ --port 5600     show the images of a folder
  openhcs-viewers rois --out drawn.zip          keep what you drew in ImageJ or napari
  openhcs-viewers macro measure.ijm             run a macro in the ImageJ that is open
  openhcs-viewers status --port 5600 --json     its counters, for a script
  openhcs-viewers stop --port 5600              close it; --force when it hangs (by its pid and start
                                                time, never by its port)
  openhcs-viewers demo                          watch a plate appear while a small pipeline computes it
  openhcs-viewers doctor                        what is missing here, and the command that installs it
  openhcs-viewers config --explain              the settings that hold here, and where each comes from

'openhcs-viewers COMMAND --help' explains each. Exit codes: 0 done, 1 failed, 2 wrong command line.
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    from openhcs_viewers import __version__

    parser = argparse.ArgumentParser(
        prog="openhcs-viewers",
        description="Image viewers as processes: open them, stream to them, look after them.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"openhcs-viewers {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    for name in COMMANDS:
        import_module(f"openhcs_viewers._commands.{name}").add(commands)
    demo = commands.add_parser(
        "demo", help="watch a plate appear while a small pipeline computes it", add_help=False
    )
    demo.add_argument("rest", nargs=argparse.REMAINDER)
    demo.set_defaults(run=_demo)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["demo"]:  # it has a parser of its own, and argparse would take its options for ours
        return _demo(arguments[1:])
    options = build_parser().parse_args(arguments)
    try:
        code: int = options.run(options)
        sys.stdout.flush()  # here, where it is known what to do when nobody reads it any more
    except BrokenPipeError:
        # As programs that know nothing of SIGPIPE do: Python would complain once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + getattr(signal, "SIGPIPE", 13)
    except (ViewerError, PolystoreError, ZMQRuntimeError) as error:
        if options.json:
            print(json.dumps({"error": type(error).__name__, "message": str(error)}))
        print(f"openhcs-viewers {options.command}: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return 130
    return code


def _demo(arguments: Sequence[str]) -> int:
    from openhcs_viewers.demo.run import main as demo

    return demo(list(arguments))


if __name__ == "__main__":
    sys.exit(main())
