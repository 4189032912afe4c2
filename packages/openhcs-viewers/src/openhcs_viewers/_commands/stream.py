"""``openhcs-viewers stream``: show files."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from openhcs_viewers._commands._common import FAILED, OK, command, describe, say

if TYPE_CHECKING:
    from openhcs_viewers._cli import Commands


def add(commands: Commands) -> None:
    """Add the command to the parser."""
    stream = command(commands, "stream", _stream, "show image files or folders of them")
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
    say(options, {**describe(handle), **counts}, text)
    return OK if counts["displayed"] + counts["superseded"] == counts["sent"] else FAILED
