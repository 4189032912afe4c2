"""The command ``openhcs-viewers``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openhcs_viewers.errors import LaunchError, ViewerError
from polystore.errors import PolystoreError
from zmqruntime.errors import ZMQRuntimeError

if TYPE_CHECKING:
    from openhcs_viewers.handle import ViewerHandle

OK, FAILED = 0, 1
"""Exit codes; 2 is argparse's, for a wrong command line."""

NO_WINDOW_MOVE = 5.0
"""Seconds after which `list` calls a window that does not move not responding."""

EPILOG = """\
examples:
  openhcs-viewers launch                        open napari, or say where the one that is open listens
  openhcs-viewers launch --port 5600 --title B  a second one beside it
  openhcs-viewers list                          all viewers of yours, responsive or not
  openhcs-viewers stream plate/ --port 5600     show the images of a folder
  openhcs-viewers status --port 5600 --json     its counters, for a script
  openhcs-viewers stop --port 5600              close it; --force when it hangs (by its pid and start
                                                time, never by its port)
  openhcs-viewers demo                          watch a plate appear while a small pipeline computes it
  openhcs-viewers doctor                        what is missing here, and the command that installs it

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

    launch = _command(commands, "launch", _launch, "open a viewer, or find the one that is open")
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
        help="auto, virtual (no screen needed), or an X display (:1)",
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
    launch.add_argument("--new", action="store_true", help="open a new one in any case")

    _command(commands, "list", _list, "show your viewers: port, title, responsive or not, queued images")

    status = _command(commands, "status", _status, "show a viewer's counters")
    _selects(status)

    stop = _command(commands, "stop", _stop, "close a viewer")
    _selects(stop)
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

    stream = _command(commands, "stream", _stream, "show image files or folders of them")
    stream.add_argument("paths", nargs="+", metavar="FILE", help="image files, or folders with images")
    stream.add_argument(
        "--to", default="napari", metavar="KIND", help="viewer, launched if there is none (default: napari)"
    )
    stream.add_argument("--port", type=int, metavar="N", help="its data port")
    stream.add_argument("--display", default="auto", metavar="D", help="for a new viewer; see launch")
    stream.add_argument("--step", default="", metavar="NAME", help="name of the layers")
    stream.add_argument("--labels", action="store_true", help="they are label images")
    stream.add_argument(
        "--colormap", default="gray", metavar="C", help="napari's name of it, or auto (default: %(default)s)"
    )
    stream.add_argument("--thumbnails", action="store_true", help="the instrument's thumbnails, too")

    doctor = _command(
        commands, "doctor", _doctor, "say what is missing for each viewer, and the command that installs it"
    )
    doctor.add_argument("kinds", nargs="*", metavar="KIND", help="viewers to look at (default: all)")
    doctor.add_argument("--deep", action="store_true", help="also open each of them, and close it again")

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
    except (ViewerError, PolystoreError, ZMQRuntimeError) as error:
        if options.json:
            print(json.dumps({"error": type(error).__name__, "message": str(error)}))
        print(f"openhcs-viewers {options.command}: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return 130
    return code


def _command(commands: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=f"{text[0].upper()}{text[1:]}."
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)
    return parser


def _selects(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--port", type=int, metavar="N", help="its data port; not needed when there is only one"
    )
    parser.add_argument("--kind", metavar="KIND", help="only viewers of this kind")


def _print(options: argparse.Namespace, value: Any, text: str) -> None:
    print(json.dumps(value, indent=1) if options.json else text)


# --------------------------------------------------------------------------- commands


def _launch(options: argparse.Namespace) -> int:
    from openhcs_viewers.launcher import launch

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
    )
    done = "starting" if options.no_wait else "opened" if handle.started else "already open"
    text = (
        f"{handle.kind} on port {handle.port} {done}: {handle.endpoint}, pid {handle.pid}, log {handle.log}"
    )
    _print(options, {**_describe(handle), "started": handle.started}, text)
    return OK


def _describe(handle: ViewerHandle) -> dict[str, Any]:
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
    found: dict[str, Any] = {**_describe(handle), "state": "silent", "responsive": False, "queued": None}
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
    _print(
        options,
        found,
        _table(rows) if found else "no viewer of yours runs; 'openhcs-viewers launch' opens one",
    )
    return OK


def _table(rows: list[tuple[Any, ...]]) -> str:
    widths = [max(len(str(row[at])) for row in rows) for at in range(len(rows[0]))]
    return "\n".join(
        "  ".join(f"{cell!s:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


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
    _print(options, found, "\n\n".join("\n".join(_lines(one)) for one in found))
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


def _stop(options: argparse.Namespace) -> int:
    from openhcs_viewers.launcher import find_viewer, list_viewers

    handles = list_viewers(options.kind) if options.all else [find_viewer(options.port, options.kind)]
    ended, failures = [], []
    for handle in handles:
        try:
            ended.append(
                {**_describe(handle), "ended": handle.stop(force=options.force, timeout=options.timeout)}
            )
        except ViewerError as error:
            failures.append(str(error))
    _print(
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


def _stream(options: argparse.Namespace) -> int:
    from openhcs_viewers._files import find_images, stream_files
    from openhcs_viewers.launcher import launch

    files = find_images(options.paths, thumbnails=options.thumbnails)
    handle = launch(options.to, port=options.port, display=options.display, wait=False)
    counts = stream_files(
        files,
        handle,
        step_name=options.step,
        kind="labels" if options.labels else "image",
        colormap=options.colormap,
        progress=not options.json,
    )
    text = (
        f"{counts['displayed']} of {counts['sent']} images are shown by {handle.kind} on port {handle.port}"
    )
    _print(options, {**_describe(handle), **counts}, text)
    return OK if counts["displayed"] + counts["superseded"] == counts["sent"] else FAILED


def _doctor(options: argparse.Namespace) -> int:
    from openhcs_viewers.doctor import examine

    report = examine(options.kinds, deep=options.deep)
    _print(options, report.as_json(), str(report))
    return OK if report.healthy else FAILED


def _demo(arguments: Sequence[str]) -> int:
    from openhcs_viewers.demo.run import main as demo

    return demo(list(arguments))


if __name__ == "__main__":
    sys.exit(main())
