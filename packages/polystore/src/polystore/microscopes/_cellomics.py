"""What a Cellomics plate's images say: the size of a pixel, from as few headers as will do."""

from __future__ import annotations

from collections.abc import Sequence

from polystore.backends._dib import read_header
from polystore.components import value_order
from polystore.microscopes._files import PlateFiles
from polystore.plate import ChannelInfo, PlaneRef, PlateInfo

__all__ = ["read_info"]

TRIES = 3
"""Headers tried before the size of a pixel is given up."""


def read_info(files: PlateFiles, planes: Sequence[PlaneRef]) -> PlateInfo:
    """The size of a pixel from the first header that can be read, and the channels by number."""
    size = None
    native = (plane.path for plane in planes if plane.path.lower().endswith((".c01", ".dib")))
    for _, path in zip(range(TRIES), native, strict=False):
        header = files.read(path, read_header)
        if header is not None:
            size = header.pixel_um
            break
    channels = {plane.key.channel for plane in planes}
    return PlateInfo(
        name=files.plate_name,
        pixel_size_um=size,
        channels={
            channel: ChannelInfo() for channel in sorted(channels, key=value_order) if channel is not None
        },
        instrument="Cellomics",
    )
