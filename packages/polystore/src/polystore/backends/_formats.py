"""File formats by suffix: which module reads and writes what. Imports none of them until one is used.

A format module has two functions, both on open binary streams so that any store can use them:

* ``write(stream, suffix, value, **options)``
* ``read(stream, suffix, **options)``

They raise `polystore.errors.UnsupportedFormatError` for a value the format cannot hold exactly; everything
a reader trips over in a damaged file becomes `polystore.errors.CorruptFileError` here.

Other distributions add formats by entry point: the suffix as the name, such a module (or an object with the two
functions) as the value::

    [project.entry-points."polystore.formats"]
    ".mine" = "my_package.mine"
"""

from __future__ import annotations

import inspect
import os
from dataclasses import dataclass
from functools import cache
from typing import Any, BinaryIO

from polystore.errors import (
    BackendLoadError,
    CorruptFileError,
    MissingExtraError,
    PolystoreError,
    UnsupportedFormatError,
)  # fmt: skip
from polystore.registry import Registry

__all__ = ["DEFAULT_IMAGE_SUFFIX", "FORMATS", "has_suffix", "read", "suffix_of", "write"]

DEFAULT_IMAGE_SUFFIX = ".tif"
"""What an image saved on disk under a name without a suffix gets."""

_MODULES = {
    ".ome.tiff": "_tiff", ".ome.tif": "_tiff", ".tiff": "_tiff", ".tif": "_tiff",
    ".npy": "_numpy", ".npz": "_numpy",
    ".png": "_pillow", ".jpg": "_pillow", ".jpeg": "_pillow",
    ".rois.json": "_regions", ".geojson": "_geojson", ".roi": "_roi", ".zip": "_roi",
    ".c01": "_dib", ".dib": "_dib",
    ".csv": "_text", ".tsv": "_text", ".json": "_text", ".txt": "_text",
}  # fmt: skip

_EXTRAS = {"_pillow": "png", "_roi": "roi"}

FORMATS: Registry[Any] = Registry(
    "file format",
    group="polystore.formats",
    builtins={suffix: f"polystore.backends.{module}" for suffix, module in _MODULES.items()},
    extras={suffix: _EXTRAS[module] for suffix, module in _MODULES.items() if module in _EXTRAS},
)
"""Format modules by suffix."""


@dataclass(frozen=True, slots=True)
class _Format:
    module: Any
    read_options: frozenset[str]
    write_options: frozenset[str]


def has_suffix(path: str) -> bool:
    """Whether the file name has a suffix at all."""
    return os.path.splitext(os.path.basename(path))[1] != ""


def suffix_of(path: str) -> str:
    """The suffix of a path in lower case, ``.ome.tif`` before ``.tif``.

    Raises
    ------
    UnsupportedFormatError
        There is no format for it; the text lists the known ones.
    """
    name = os.path.basename(path).lower()
    for suffix in _longest_first(FORMATS.version):
        if name.endswith(suffix) and len(name) > len(suffix):
            return suffix
    known = ", ".join(FORMATS.names())
    raise UnsupportedFormatError(f"no format for {path!r}: its suffix is none of {known}")


def write(stream: BinaryIO, path: str, value: Any, **options: Any) -> None:
    """Write a value in the format of the path's suffix.

    Raises
    ------
    UnsupportedFormatError
        No such format, an option it does not have, or a value it cannot hold.
    UnsupportedArrayError
        No plain numeric array.
    MissingExtraError
        The format needs an optional dependency.
    """
    suffix = suffix_of(path)
    chosen = _format(suffix, FORMATS.version)
    _check_options(path, options, chosen.write_options)
    try:
        chosen.module.write(stream, suffix, value, **options)
    except (UnsupportedFormatError, UnicodeEncodeError) as exc:
        raise UnsupportedFormatError(f"cannot write {path!r}: {exc}") from exc


def read(stream: BinaryIO, path: str, **options: Any) -> Any:
    """The value in a stream, in the format of the path's suffix.

    Raises
    ------
    UnsupportedFormatError
        No such format, or an option it does not have.
    CorruptFileError
        The bytes are not of that format.
    MissingExtraError
        The format needs an optional dependency.
    """
    suffix = suffix_of(path)
    chosen = _format(suffix, FORMATS.version)
    _check_options(path, options, chosen.read_options)
    try:
        return chosen.module.read(stream, suffix, **options)
    except (CorruptFileError, UnsupportedFormatError) as exc:
        raise type(exc)(f"cannot read {path!r}: {exc}") from exc
    except (PolystoreError, MemoryError):
        raise
    except Exception as exc:
        if isinstance(exc, OSError) and exc.errno is not None:
            raise  # the medium's trouble, not the file's
        # The boundary to other people's parsers, which meet damaged files with every error there is.
        if "imagecodecs" in str(exc):
            raise MissingExtraError(f"{path!r} is compressed ({exc}): pip install 'polystore[tiff]'") from exc
        raise CorruptFileError(f"{path!r} cannot be read as {suffix}: {type(exc).__name__}: {exc}") from exc


def _check_options(path: str, options: dict[str, Any], known: frozenset[str]) -> None:
    unknown = options.keys() - known
    if unknown:
        listed = ", ".join(sorted(known)) or "none"
        raise UnsupportedFormatError(f"unknown option {sorted(unknown)[0]!r} for {path!r} (known: {listed})")


@cache
def _longest_first(version: int) -> tuple[str, ...]:
    return tuple(sorted(FORMATS.names(), key=len, reverse=True))


@cache
def _format(suffix: str, version: int) -> _Format:
    loaded = FORMATS.get(suffix)
    try:
        return _Format(loaded, _keywords(loaded.read), _keywords(loaded.write))
    except (AttributeError, TypeError) as exc:
        target = FORMATS.plugin(suffix).target
        raise BackendLoadError(f"file format {suffix!r} ({target}) has no functions read and write") from exc


def _keywords(function: Any) -> frozenset[str]:
    parameters = inspect.signature(function).parameters.values()
    return frozenset(parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY)
