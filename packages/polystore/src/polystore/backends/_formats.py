"""File formats by suffix: which module reads and writes what. Imports none of them until one is used.

A format module has two functions, both on open binary streams so that any store can use them:

* ``write(stream, suffix, value, **options)``
* ``read(stream, suffix, **options)``

They raise `polystore.errors.UnsupportedFormatError` for a value the format cannot hold exactly; everything
a reader trips over in a damaged file becomes `polystore.errors.CorruptFileError` here.
"""

from __future__ import annotations

import inspect
import os
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any, BinaryIO

from polystore.errors import CorruptFileError, MissingExtraError, PolystoreError, UnsupportedFormatError

__all__ = ["DEFAULT_IMAGE_SUFFIX", "has_suffix", "read", "suffix_of", "write"]

DEFAULT_IMAGE_SUFFIX = ".tif"
"""What an image saved on disk under a name without a suffix gets."""

_MODULES = {
    ".ome.tiff": "_tiff", ".ome.tif": "_tiff", ".tiff": "_tiff", ".tif": "_tiff",
    ".npy": "_numpy", ".npz": "_numpy",
    ".png": "_pillow", ".jpg": "_pillow", ".jpeg": "_pillow",
    ".rois.json": "_regions", ".geojson": "_geojson", ".roi": "_roi", ".zip": "_roi",
    ".csv": "_text", ".tsv": "_text", ".json": "_text", ".txt": "_text",
}  # fmt: skip

_EXTRAS = {"PIL": "png", "imagecodecs": "tiff", "roifile": "roi"}


@dataclass(frozen=True, slots=True)
class _Format:
    module: ModuleType
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
    for suffix in _MODULES:  # the longer ones stand first
        if name.endswith(suffix) and len(name) > len(suffix):
            return suffix
    known = ", ".join(sorted(_MODULES))
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
    chosen = _format(_MODULES[suffix])
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
    chosen = _format(_MODULES[suffix])
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
def _format(module: str) -> _Format:
    try:
        loaded = import_module(f"polystore.backends.{module}")
    except ModuleNotFoundError as exc:
        extra = _EXTRAS.get((exc.name or "").partition(".")[0])
        if extra is None:
            raise
        raise MissingExtraError(f"this format needs {exc.name}: pip install 'polystore[{extra}]'") from exc
    return _Format(loaded, _keywords(loaded.read), _keywords(loaded.write))


def _keywords(function: Any) -> frozenset[str]:
    parameters = inspect.signature(function).parameters.values()
    return frozenset(parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY)
