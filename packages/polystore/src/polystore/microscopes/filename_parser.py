"""What a file name says: the interface a microscope's parser implements."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from polystore.components import ImageKey, Value

__all__ = ["IMAGE_SUFFIXES", "FilenameParser", "ParsedName", "split_suffix"]

IMAGE_SUFFIXES = (
    ".ome.tiff", ".ome.tif", ".tiff", ".tif", ".npy", ".png", ".jpeg", ".jpg", ".ome.zarr", ".zarr",
)  # fmt: skip
"""Endings a file name of an image may have, the longer ones first."""


@dataclass(frozen=True, slots=True)
class ParsedName:
    """What one file name says. Immutable, so it can be cached and shared between threads.

    Parameters
    ----------
    key
        Where the image belongs.
    parser
        Name of the parser that understood it: ``"imagexpress"``.
    extra
        What the name adds behind the components: ``"labels"`` of ``A01_s001_w1_labels.tif``.
    thumbnail
        A small preview the instrument wrote beside the image; not data, to be left out.
    """

    key: ImageKey
    parser: str
    extra: str = ""
    thumbnail: bool = False

    def with_components(self, components: Mapping[str, Value]) -> ParsedName:
        """The same with components the name is silent about filled in; what the name says stays."""
        missing = {name: value for name, value in components.items() if self.key.get(name) is None}
        return replace(self, key=self.key.replace(**missing)) if missing else self


class FilenameParser(ABC):
    """Understands the file names of one microscope. Stateless: one object serves all threads.

    A third party adds one by entry point ``polystore.filename_parsers``.
    """

    name: str
    """Short name of the format, e.g. ``"imagexpress"``; `ParsedName.parser` carries it."""

    @abstractmethod
    def parse_filename(self, name: str) -> ParsedName | None:
        """What the name of one file (no folders) says, or None when it is not of this format."""

    def parse_folders(self, folders: Sequence[str]) -> Mapping[str, Value]:
        """What the folders above the file (outermost first) say, component to value. By default nothing."""
        return {}


_SUFFIX = re.compile("|".join(re.escape(suffix) for suffix in IMAGE_SUFFIXES), re.IGNORECASE)


def split_suffix(name: str) -> tuple[str, str]:
    """A file name as stem and suffix, where ``.ome.tif`` and the like count as one suffix.

    Names of other files (``.json``, ``.csv``) split at their last dot; a leading dot begins no suffix.
    """
    dot = name.lower().rfind(".ome.")
    if dot > 0 and _SUFFIX.fullmatch(name, dot):
        return name[:dot], name[dot:]
    dot = name.rfind(".")
    return (name[:dot], name[dot:]) if dot > 0 else (name, "")
