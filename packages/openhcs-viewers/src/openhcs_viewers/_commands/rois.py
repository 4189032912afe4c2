"""``openhcs-viewers rois``: what the user drew, as a file."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from openhcs_viewers._commands._common import OK, command, describe, say, selects, table
from openhcs_viewers.errors import ViewerFilesError

if TYPE_CHECKING:
    from openhcs_viewers._cli import Commands
    from openhcs_viewers.drawn import DrawnRoi

FORMATS = (".zip", ".geojson", ".rois.json")
"""Endings of files that hold regions."""


def add(commands: Commands) -> None:
    """Add the command to the parser."""
    rois = command(commands, "rois", _rois, "list the regions drawn in a viewer, or write them to a file")
    rois.epilog = (
        "Regions drawn by hand, and streamed ones that were changed: from ImageJ's ROI Manager, selections and "
        "overlays, and from napari's shapes and points layers. The suffix of FILE chooses the format: .zip opens "
        "in ImageJ, .geojson in QuPath, .rois.json keeps everything. Each region keeps its well, z, t ... as its "
        "place."
    )
    selects(rois)
    rois.add_argument("--out", metavar="FILE", help="write them there: .zip, .geojson or .rois.json")
    rois.add_argument("--all", action="store_true", help="the streamed ones, too")


def _rois(options: argparse.Namespace) -> int:
    from openhcs_viewers.launcher import find_viewer

    if options.out is not None and not options.out.lower().endswith(FORMATS):
        raise ViewerFilesError(f"{options.out} names no format: its ending is one of {', '.join(FORMATS)}")
    handle = find_viewer(options.port, options.kind)
    found = handle.rois("all" if options.all else "user")
    if options.out is not None:
        from polystore.backends.disk import DiskBackend

        DiskBackend().save([one.roi for one in found], options.out)
    value = {**describe(handle), "out": options.out, "rois": [one.to_wire() for one in found]}
    say(options, value, _text(found, options.out))
    return OK


def _text(found: list[DrawnRoi], out: str | None) -> str:
    if out is not None:
        return f"{len(found)} regions are in {out}"
    if not found:
        return "nothing was drawn there; --all lists the streamed regions, too"
    rows = [("KIND", "NAME", "PLACE", "LAYER", "CAME")]
    for one in found:
        name = str(one.roi.properties.get("name", ""))
        rows.append(
            (one.roi.kind.value, name, str(one.key), one.layer, "by stream" if one.streamed else "by hand")
        )
    return table(rows)
