"""ImageXpress (MetaXpress): ``Plate_E07_s1_w1<UUID>.tif`` in ``TimePoint_N`` and ``ZStep_N``, and what the TIFFs and
the ``.HTD`` say.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from polystore.components import ImageKey, Value
from polystore.microscopes.filename_parser import FilenameParser, ParsedName
from polystore.microscopes.microscope_base import MetadataHandler, ParsedNamesHandler

if TYPE_CHECKING:
    from polystore.microscopes._files import PlateFiles
    from polystore.plate import PlaneRef, PlateInfo

__all__ = ["ImageXpressHandler", "ImageXpressMetadata", "ImageXpressParser"]

# The UUID follows the channel's number without a separator and may begin with a digit itself
# (w117654C10-... is channel 1): what tells them apart is that it ends the name and has a fixed length.
# Plates with one site have no _s, those with one channel no _w; exported plates no UUID.
_NAME = re.compile(
    r"(?P<plate>.+)_(?P<well>[A-Z]{1,2}[0-9]{2})"
    r"(?:_s(?P<field>[0-9]{1,5}?))?"
    r"(?:_w(?P<channel>[0-9]{1,2}?))?"
    r"(?:_z(?P<z>[0-9]{1,5}))?"
    r"(?:_t(?P<t>[0-9]{1,6}))?"
    r"(?P<thumbnail>_thumb)?"
    r"(?P<uuid>[0-9A-F]{8}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{12}"
    r"|_\[[0-9A-F]{8}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{12}\])?"
    r"\.(?i:tiff?)",
    re.ASCII,
)
_FOLDER = re.compile(r"(?P<what>TimePoint|ZStep)_(?P<number>[0-9]{1,6})", re.ASCII | re.IGNORECASE)
_MEANS = {"timepoint": "t", "zstep": "z"}


class ImageXpressParser(FilenameParser):
    """Names as MetaXpress stores and exports them.

    A file outside any ``ZStep_N`` folder has no z: it is a projection, or the plane of a channel taken
    without a stack. Both may stand beside z steps of other channels in one acquisition.
    """

    name = "imagexpress"

    def parse_filename(self, name: str) -> ParsedName | None:
        """The components of such a name, else None."""
        match = _NAME.fullmatch(name)
        if match is None:
            return None
        field, channel = match["field"], match["channel"]
        if field is None and channel is None and match["uuid"] is None:
            return None  # some_name_A01.tif: nothing in it is typical of a microscope
        key = ImageKey.of(
            plate=match["plate"], well=match["well"], field=field, channel=channel, z=match["z"], t=match["t"]
        )
        return ParsedName(key, self.name, thumbnail=match["thumbnail"] is not None)

    def parse_folders(self, folders: Sequence[str]) -> Mapping[str, Value]:
        """The t of ``TimePoint_N`` and the z of ``ZStep_N``, the innermost of each."""
        found: dict[str, Value] = {}
        for folder in folders:
            match = _FOLDER.fullmatch(folder)
            if match is not None:
                found[_MEANS[match["what"].lower()]] = int(match["number"])
        return found


class ImageXpressMetadata(MetadataHandler):
    """Reads the ``.HTD`` where there is one, and the headers of a few TIFFs."""

    def read(self, files: PlateFiles, planes: Sequence[PlaneRef]) -> PlateInfo:
        """What they say: names of channels from the HTD, all else from the TIFFs."""
        from polystore.microscopes._imagexpress import read_info

        return read_info(files, planes)


class ImageXpressHandler(ParsedNamesHandler):
    """Plates of ImageXpress, as MetaXpress stores or exports them."""

    _microscope_type = "imagexpress"
    metadata_handler = ImageXpressMetadata
    parser = ImageXpressParser()
    looks_for = "images such as Plate_A01_s1_w1<UUID>.tif, also in TimePoint_N and ZStep_N, or a .HTD file"
    markers = ("*.htd",)

    def expected_keys(self, files: PlateFiles, planes: Sequence[PlaneRef]) -> Sequence[ImageKey] | None:
        """With an HTD what was to be acquired in the selected wells; without one it is not known."""
        from polystore.microscopes._imagexpress import expected_keys

        return expected_keys(files, planes)

    def choose(self, files: PlateFiles, paths: Sequence[str]) -> str:
        """The one acquired last, by the TIFFs themselves; the first by name when they do not say."""
        from polystore.microscopes._imagexpress import latest

        return latest(files, paths)
