"""Microscopes: what file names say (`parse_filename`, `identify`, `parse_path`) and what a plate holds
(`open_plate`).

Built-in parsers and those other distributions declare under the entry-point group
``polystore.filename_parsers`` are asked in turn, built-in ones first; the first that understands a name
decides. Answers are cached, so asking for every image of a plate costs a dictionary look-up each.

`MICROSCOPE_HANDLERS` and `METADATA_HANDLERS` are mappings from a microscope's name to its classes; others declare
theirs under the entry-point group ``polystore.microscopes``.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from polystore.components import ImageKey
from polystore.errors import BackendClashError, BackendLoadError
from polystore.microscopes.filename_parser import FilenameParser, ParsedName, split_suffix
from polystore.registry import LazyDiscoveryDict, Registry, SecondaryRegistryDict

if TYPE_CHECKING:
    from polystore.microscopes._open import find_handler, open_plate
    from polystore.microscopes.microscope_base import MetadataHandler, MicroscopeHandler

__all__ = [
    "FILENAME_PARSERS",
    "HANDLERS",
    "METADATA_HANDLERS",
    "MICROSCOPE_HANDLERS",
    "FilenameParser",
    "MetadataHandler",
    "MicroscopeHandler",
    "ParsedName",
    "find_handler",
    "identify",
    "open_plate",
    "parse_filename",
    "parse_path",
    "split_suffix",
]

logger = logging.getLogger(__name__)

# In the order in which they are asked: the strictest first.
_BUILT_IN = {
    "opera_phenix": "polystore.microscopes.opera_phenix:OperaPhenixParser",
    "imagexpress": "polystore.microscopes.imagexpress:ImageXpressParser",
    "cellvoyager": "polystore.microscopes.cellvoyager:CellVoyagerParser",
    "openhcs": "polystore.microscopes.openhcs:OpenHCSParser",
    "cellomics": "polystore.microscopes.cellomics:CellomicsParser",
}

FILENAME_PARSERS: Registry[type[FilenameParser]] = Registry(
    "file-name parser", group="polystore.filename_parsers", builtins=_BUILT_IN
)
"""Classes of `FilenameParser` by name."""

HANDLERS: Registry[type[MicroscopeHandler]] = Registry(
    "microscope",
    group="polystore.microscopes",
    builtins={
        "cellomics": "polystore.microscopes.cellomics:CellomicsHandler",
        "cellvoyager": "polystore.microscopes.cellvoyager:CellVoyagerHandler",
        "imagexpress": "polystore.microscopes.imagexpress:ImageXpressHandler",
        "omero": "polystore.microscopes.omero:OMEROHandler",
        "openhcs": "polystore.microscopes.openhcs:OpenHCSHandler",
        "opera_phenix": "polystore.microscopes.opera_phenix:OperaPhenixHandler",
    },
    aliases={
        "metaxpress": "imagexpress",
        "harmony": "opera_phenix",
        "operetta": "opera_phenix",
        "operaphenix": "opera_phenix",
        "yokogawa": "cellvoyager",
        "arrayscan": "cellomics",
        "openhcsdata": "openhcs",
    },
)
"""Classes of `MicroscopeHandler` by name."""

MICROSCOPE_HANDLERS: Mapping[str, type[MicroscopeHandler]] = LazyDiscoveryDict(HANDLERS)
"""`HANDLERS` as a mapping: its keys import nothing, an item imports one handler."""

METADATA_HANDLERS: Mapping[str, type[MetadataHandler]] = SecondaryRegistryDict(HANDLERS, "metadata_handler")
"""The class that reads a microscope's metadata by the microscope's name, of those that have one."""

_LAZY = {
    "MetadataHandler": "microscope_base",
    "MicroscopeHandler": "microscope_base",
    "find_handler": "_open",
    "open_plate": "_open",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'polystore.microscopes' has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(f"polystore.microscopes.{_LAZY[name]}"), name)
    return value


CACHED_NAMES = 65536
"""Answers kept: more files than an acquisition of a 384-well plate has; about 20 MB when full."""


def parse_filename(name: str) -> ParsedName | None:
    """What a file name (without folders) says, or None when no parser knows it. Cached, thread-safe."""
    return _parse(name, FILENAME_PARSERS.version)


def identify(path: str | os.PathLike[str]) -> ParsedName | None:
    """What the name of a file and the folders above it say, or None when no parser knows the name.

    The name wins where both speak. Nothing is looked up on any disk; ``/`` and ``\\`` both separate
    folders. Cached, thread-safe.
    """
    return _identify(os.fspath(path), FILENAME_PARSERS.version)


def parse_path(path: str | os.PathLike[str]) -> ImageKey:
    """The key of the image at that path; empty when no parser knows its name (`identify` says which)."""
    found = identify(path)
    return found.key if found is not None else _EMPTY


_EMPTY = ImageKey()
_SEPARATORS = re.compile(r"[/\\]+")


@lru_cache(maxsize=CACHED_NAMES)
def _parse(name: str, version: int) -> ParsedName | None:
    found = _ask(name, version)
    return found[1] if found is not None else None


@lru_cache(maxsize=CACHED_NAMES)
def _identify(path: str, version: int) -> ParsedName | None:
    *folders, name = _SEPARATORS.split(path)
    found = _ask(name, version)
    if found is None:
        return None
    parser, parsed = found
    return parsed.with_components(parser.parse_folders(folders))


def _ask(name: str, version: int) -> tuple[FilenameParser, ParsedName] | None:
    for parser in _parsers(version):
        parsed = parser.parse_filename(name)
        if parsed is not None:
            return parser, parsed
    return None


@lru_cache(maxsize=1)
def _parsers(version: int) -> tuple[FilenameParser, ...]:
    """Every parser that can be had; a broken one is logged and left out."""
    names = FILENAME_PARSERS.names()
    parsers = []
    for name in [*_BUILT_IN, *(name for name in names if name not in _BUILT_IN)]:
        try:
            parsers.append(FILENAME_PARSERS.get(name)())
        except (BackendLoadError, BackendClashError, TypeError):  # TypeError: an abstract class
            logger.exception("file-name parser %r is left out", name)
    return tuple(parsers)
