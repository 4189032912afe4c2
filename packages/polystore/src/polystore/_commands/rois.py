"""``polystore rois``: the objects of a labels image as regions in a file that ImageJ, QuPath or napari opens."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from polystore._cli import Commands

__all__ = ["add"]

SUFFIXES = (".zip", ".roi", ".geojson", ".rois.json")
"""Formats of regions."""

_ABOUT = """\
Outline the objects of a labels image. 0 is background, every other value one object; each object becomes a
region with its label and area, one for every plane it is in.

OUT ending in .zip is for ImageJ and Fiji (ROI Manager > More > Open), .geojson for QuPath, .rois.json keeps
everything. What the file name says (well, field, z ...) goes with the regions.
"""

_EXAMPLES = """\
examples:
  polystore rois A01_s001_w1_labels.tif A01_s001_w1.zip
  polystore rois cells.npy cells.geojson --object-type detection
  polystore rois movie.tif movie.zip --axes tyx
  polystore rois nuclei.tif centres.zip --kind point
  polystore rois mask.png cells.zip --split
  polystore rois plate.zarr/A01_s001_w1_labels.tif A01_s001_w1.zip
"""


def add(commands: Commands) -> None:
    """Add the command to the parser."""
    rois = commands.add_parser(
        "rois",
        help="objects of a labels image as regions for ImageJ or QuPath",
        description=_ABOUT,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    rois.add_argument(
        "labels", metavar="LABELS", help="labels image: .tif, .npy, .png ..., also in a plate.zarr"
    )
    rois.add_argument("out", metavar="OUT", help=f"file of regions: {', '.join(SUFFIXES)}")
    rois.add_argument(
        "--kind",
        choices=["polygon", "mask", "rectangle", "point"],
        default="polygon",
        help="outlines along pixel edges (default), the pixels themselves, boxes, or centres",
    )
    rois.add_argument(
        "--axes",
        metavar="AXES",
        help="a letter for each axis, of t, c, z, y, x; by default what the TIFF says, else zyx, tzyx, tczyx",
    )
    rois.add_argument(
        "--split",
        action="store_true",
        help="number the connected areas first: for a mask, where all objects have the same value",
    )
    rois.add_argument(
        "--object-type",
        metavar="TYPE",
        help="what QuPath makes of them: annotation (default), detection, cell",
    )
    rois.add_argument("--overwrite", action="store_true", help="replace OUT if it is there")
    rois.set_defaults(run=_rois)


def _rois(arguments: argparse.Namespace) -> None:
    from polystore.backends.disk import DiskBackend
    from polystore.errors import AlreadyExistsError, UnsupportedFormatError
    from polystore.filemanager import FileManager
    from polystore.labels import label_connected, labels_to_rois
    from polystore.microscopes import parse_path

    out = arguments.out.lower()
    if not out.endswith(SUFFIXES):
        raise UnsupportedFormatError(
            f"no format of regions for {arguments.out!r}: end it in {', '.join(SUFFIXES)}"
        )
    options = {}
    if arguments.object_type:
        if not out.endswith(".geojson"):
            raise UnsupportedFormatError("--object-type is for QuPath: give an OUT that ends in .geojson")
        options["object_type"] = arguments.object_type
    labels = FileManager().load(arguments.labels, backend="auto")
    if arguments.split:
        labels = label_connected(labels)
    axes = arguments.axes or _axes_of(arguments.labels)
    rois = labels_to_rois(labels, kind=arguments.kind, axes=axes, place=parse_path(arguments.labels))
    try:
        DiskBackend().save(rois, arguments.out, overwrite=arguments.overwrite, **options)
    except AlreadyExistsError as exc:
        raise AlreadyExistsError(f"{arguments.out} exists already; --overwrite replaces it") from exc
    objects = len({roi.properties["label"] for roi in rois})
    planes = len({roi.place for roi in rois})
    print(f"{len(rois)} regions of {objects} labels in {planes} planes: {arguments.out}")


def _axes_of(path: str) -> str | None:
    """The axes a TIFF names, if all of them are ones a labels image may have."""
    if not path.lower().endswith((".tif", ".tiff")) or not os.path.isfile(
        path
    ):  # in an OME-Zarr there is none
        return None
    import tifffile

    with tifffile.TiffFile(path) as file:
        axes = str(file.series[0].axes).lower()
    return axes if axes.endswith("yx") and set(axes) <= set("tczyx") else None
