"""Where an image lies by the name it would have on disk, and its name by where it lies.

In a folder whose name ends in ``.zarr``, images whose names a microscope's parser understands are planes of
the plate that the folder is: ``p.zarr/A01_s001_w1_z001_t001.tif``. In any other folder they are planes of
the plate ``images.zarr`` in it. Folders that say a component (``TimePoint_1``, ``ZStep_3``) are part of the
name. All other images are OME-Zarr images of their own: ``mean.tif`` is kept in ``mean.tif.zarr``, ``mean``
in ``mean.zarr``. What is no image is a plain file.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from polystore.components import Component, ImageKey, Value
from polystore.microscopes import FILENAME_PARSERS, identify, parse_filename
from polystore.microscopes.filename_parser import IMAGE_SUFFIXES

__all__ = [
    "IMAGES",
    "Place",
    "Plain",
    "Plane",
    "Single",
    "escaped",
    "expand",
    "field_path",
    "is_name_folder",
    "locate",
    "pattern_of",
    "plate_folder",
    "row_and_column",
    "single_name",
]

IMAGES = "images.zarr"
"""The plate that holds the planes saved in an ordinary folder."""

SUFFIX = ".zarr"

_PLAIN = frozenset({".npy", ".npz", ".csv", ".tsv", ".json", ".txt", ".roi", ".zip", ".geojson"})
"""Endings of what is stored as a plain file."""

_IMAGES = tuple(suffix for suffix in IMAGE_SUFFIXES if suffix not in _PLAIN)

_LABELS = re.compile(r"(?:[A-Za-z0-9]+[._-])*labels", re.ASCII)


@dataclass(frozen=True, slots=True)
class Plane:
    """A plane of a plate.

    Parameters
    ----------
    plate
        Folder of the plate.
    name
        The image's path as saved, relative to the folder it was saved to.
    key
        Where it belongs.
    labels
        Name of the labels it is of, or None for an image.
    """

    plate: str
    name: str
    key: ImageKey
    labels: str | None = None


@dataclass(frozen=True, slots=True)
class Single:
    """An image of its own, in the group at a path."""

    path: str


@dataclass(frozen=True, slots=True)
class Plain:
    """A plain file."""

    path: str


Place: TypeAlias = Plane | Single | Plain


@lru_cache(maxsize=65536)
def locate(path: str, labels: str | None = None) -> Place:
    """Where what is saved under a path lies; ``labels`` says that it is labels although its name does not.

    Nothing is looked up.
    """
    folder, name = posixpath.split(path)
    lower = name.lower()
    if posixpath.splitext(lower)[1] in _PLAIN:
        return Plain(path)
    if lower.endswith(SUFFIX):
        return Single(path if not _is_image(name[: -len(SUFFIX)]) else path + SUFFIX)
    parsed = parse_filename(name) if lower.endswith(_IMAGES) else None
    if parsed is None or parsed.key.well is None or parsed.thumbnail:
        return Single(path + SUFFIX)
    kind = labels
    if parsed.extra:
        if not _LABELS.fullmatch(parsed.extra):
            return Single(path + SUFFIX)
        kind = parsed.extra
    while (last := posixpath.basename(folder)) and _says_something(parsed.parser, last):
        folder, name = posixpath.dirname(folder), f"{last}/{name}"
    whole = identify(name)
    assert whole is not None
    return Plane(plate_folder(folder), name, whole.key, kind)


def plate_folder(folder: str) -> str:
    """The plate that holds the planes saved in a folder."""
    if folder.lower().endswith(SUFFIX):
        return folder
    return posixpath.join(folder, IMAGES)


def single_name(entry: str) -> str:
    """The name of an image of its own, by the name of its group: ``mean.tif.zarr`` to ``mean.tif``."""
    stem = entry[: -len(SUFFIX)] if entry.lower().endswith(SUFFIX) else entry
    return stem if _is_image(stem) else entry


def _is_image(name: str) -> bool:
    return any(name.lower().endswith(suffix) and len(name) > len(suffix) for suffix in IMAGE_SUFFIXES)


def is_name_folder(name: str) -> bool:
    """Whether a folder's name says a component to any parser, so that it may be part of images' names."""
    return any(_says_something(parser, name) for parser in FILENAME_PARSERS.names())


def _says_something(parser: str, folder: str) -> bool:
    return _folder_says(parser, folder, FILENAME_PARSERS.version)


@lru_cache(maxsize=8192)
def _folder_says(parser: str, folder: str, version: int) -> bool:
    return bool(FILENAME_PARSERS.get(parser)().parse_folders([folder]))


# -- wells and fields

_WELL = re.compile(r"([A-Z]{1,2})0*([0-9]{1,3})", re.ASCII)
_ESCAPED = re.compile(r"x(?:[0-9a-f]{2})+", re.ASCII)
_ALNUM = re.compile(r"[A-Za-z0-9]+", re.ASCII)


def escaped(text: str) -> str:
    """Letters and digits that stand for any text and for no other."""
    if _ALNUM.fullmatch(text) and not _ESCAPED.fullmatch(text):
        return text
    return "x" + text.encode("utf-8", "surrogatepass").hex()


def row_and_column(well: Value) -> tuple[str, str]:
    """Names of the row and the column of a well: ``A01`` is A, 1. A well that is called otherwise is a row."""
    match = _WELL.fullmatch(str(well))
    if match:
        return match[1], match[2] or "0"
    return "x" + str(well).encode("utf-8", "surrogatepass").hex(), "1"


def is_row(name: str) -> bool:
    """Whether a folder's name is one that a row of a plate may have."""
    return _ROW.fullmatch(name) is not None


_ROW = re.compile(r"[A-Z]{1,2}|x(?:[0-9a-f]{2})+", re.ASCII)


def field_path(key: ImageKey) -> str:
    """Name of a field's group in its well."""
    field = "image" if key.field is None else _field(key.field)
    if key.acquisition is None:
        return field
    return f"acquisition{escaped(str(key.acquisition))}field{field}"


def _field(field: Value) -> str:
    if isinstance(field, int):
        return str(field)
    text = escaped(field)
    return (
        text
        if not (text == "image" or text.isdigit() or text.startswith("acquisition"))
        else "x" + field.encode().hex()
    )


# -- names of the planes of a field

_PREFIXES: Mapping[str, tuple[str, ...]] = {
    "t": ("timepoint_", "timepoint", "sk", "t"),
    "c": ("channel", "ch", "w", "c"),
    "z": ("zstep_", "zstep", "p", "z"),
}
_PLACEHOLDER = re.compile(r"\{([tcz])([0-9])\}", re.ASCII)


def pattern_of(name: str, key: ImageKey) -> str:
    """The name with placeholders for the numbers of t, channel and z, so that it may fit other planes, too.

    ``A01_s001_w1_z003.tif`` becomes ``A01_s001_w{c1}_z{z3}.tif``: the digit says how many there are at least.
    """
    if "{" in name or "}" in name:
        return ""
    pattern = name
    for letter, value in (("t", key.t), ("c", key.channel), ("z", key.z)):
        if isinstance(value, int):
            pattern = _with_placeholder(pattern, letter, value)
    return pattern if expand(pattern, key.t, key.channel, key.z) == name else ""


def _with_placeholder(pattern: str, letter: str, value: int) -> str:
    for prefix in _PREFIXES[letter]:
        matches = list(re.finditer(rf"(?i:(?<![A-Za-z]){prefix})(0*{value})(?![0-9])", pattern))
        if len(matches) == 1:
            digits = matches[0][1]
            width = len(digits) if digits.startswith("0") and len(digits) < 10 else 1
            start, end = matches[0].span(1)
            return f"{pattern[:start]}{{{letter}{width}}}{pattern[end:]}"
    return pattern


def expand(pattern: str, t: Value | None, c: Value | None, z: Value | None) -> str:
    """The name of a plane by its field's pattern."""
    values = {"t": t, "c": c, "z": z}

    def number(match: re.Match[str]) -> str:
        value = values[match[1]]
        return f"{value:0{match[2]}d}" if isinstance(value, int) else str(value)

    return _PLACEHOLDER.sub(number, pattern)


def components_of(key: ImageKey) -> tuple[Value | None, Value | None, Value | None]:
    """t, channel and z of a key."""
    return key.get(Component.T), key.get(Component.CHANNEL), key.get(Component.Z)
