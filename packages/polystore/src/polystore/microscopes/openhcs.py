"""OpenHCS names: ``A01_s001_z000_c000_t000.tif``, ``A01_s001_w1_z003_t001.tif``."""

from __future__ import annotations

import re

from polystore.components import ImageKey
from polystore.microscopes.filename_parser import FilenameParser, ParsedName, split_suffix
from polystore.microscopes.microscope_base import MicroscopeHandler

__all__ = ["OpenHCSHandler", "OpenHCSParser"]

_NAME = re.compile(
    r"(?P<well>[A-Z]{1,2}[0-9]{1,3})"
    r"(?P<components>(?:_(?:s|z|t|w|ch|c)[0-9]{1,9})+)"
    r"(?:_(?P<extra>[A-Za-z][A-Za-z0-9_.-]*))?",
    re.ASCII,
)
_COMPONENT = re.compile(r"_(s|z|t|w|ch|c)([0-9]+)", re.ASCII)
_MEANS = {"s": "field", "z": "z", "t": "t", "w": "channel", "ch": "channel", "c": "channel"}


class OpenHCSParser(FilenameParser):
    """A well, then site, channel (w or c), z and t in any order, then perhaps a word.

    The word is what a pipeline adds to what it makes of an image: ``A01_s001_w1_labels.tif``,
    ``A01_s001_w1_rois.json``.
    """

    name = "openhcs"

    def parse_filename(self, name: str) -> ParsedName | None:
        """The components of such a name, else None (also when one stands twice)."""
        match = _NAME.fullmatch(split_suffix(name)[0])
        if match is None:
            return None
        components: dict[str, str | int] = {"well": match["well"]}
        for letter, digits in _COMPONENT.findall(match["components"]):
            if components.setdefault(_MEANS[letter], int(digits)) != int(digits):
                return None
        extra = match["extra"] or ""
        return ParsedName(ImageKey.of(**components), self.name, extra, thumbnail=extra.startswith("thumb"))


class OpenHCSHandler(MicroscopeHandler):
    """Plates an OpenHCS pipeline wrote or prepared."""

    _microscope_type = "openhcs"
    parser = OpenHCSParser
    looks_for = "images such as A01_s001_w1_z001_t001.tif, or openhcs_metadata.json"
    markers = ("openhcs_metadata.json",)

    _names = OpenHCSParser()

    def parse_filename(self, filename: str) -> ParsedName | None:
        """As `OpenHCSParser.parse_filename`."""
        return self._names.parse_filename(filename)
