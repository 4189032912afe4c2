"""What all stores agree on about paths: natural order, matching, joining, refusing what is no path."""

from __future__ import annotations

import os
import posixpath
import re
import stat
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING, TypeAlias

from polystore.errors import UnsafePathError

if TYPE_CHECKING:
    from zipfile import ZipFile, ZipInfo

__all__ = [
    "StrPath", "below", "check_key", "check_path", "check_windows_name", "endings", "join", "matches",
    "natural_key", "natural_path_key", "places_of_members", "virtual_path",
]  # fmt: skip

StrPath: TypeAlias = "str | os.PathLike[str]"
"""A path as callers give it. Stores answer in `str`."""

_DIGITS = re.compile(r"([0-9]+)", re.ASCII)

NaturalKey: TypeAlias = tuple[tuple[tuple[int, int, str], ...], str]


def natural_key(name: str) -> NaturalKey:
    """A sort key that puts ``s2`` before ``s10`` and ``a`` beside ``A``, the same on every machine."""
    parts = _DIGITS.split(name)
    # re.split puts the digits at odd positions. Numbers sort before letters, as they do in ASCII.
    return tuple(
        (0, int(part), "") if index % 2 else (1, 0, part.casefold())
        for index, part in enumerate(parts)
        if part
    ), name


def natural_path_key(path: str) -> tuple[NaturalKey, ...]:
    """As `natural_key`, folder by folder, so that a folder's files stay together."""
    return tuple(natural_key(part) for part in path.split("/"))


def check_path(path: StrPath) -> str:
    """The path as text, if it can name something.

    Raises
    ------
    UnsafePathError
        Empty, bytes, or with a NUL.
    """
    text: object = os.fspath(path)
    if not isinstance(text, str) or not text or "\0" in text:
        raise UnsafePathError(f"{path!r} is no path: give a non-empty text without NUL")
    return text


def virtual_path(path: StrPath) -> str:
    """The one spelling of a path in a store without a file system: ``/`` separates, ``.`` and ``..``
    resolved.

    Raises
    ------
    UnsafePathError
        As `check_path`.
    """
    text = check_path(path)
    if os.sep != "/":
        text = text.replace(os.sep, "/")
    text = posixpath.normpath(text)
    return text[1:] if text.startswith("//") else text  # POSIX keeps exactly two slashes apart; no store does


def check_key(path: StrPath) -> str:
    """The one spelling of a path below a root: ``/`` separates, ``.`` and doubled ``/`` resolved, ``""`` for
    the root.

    What leaves the root on any system is refused on all, as is on Windows what is no name of a file there.

    Raises
    ------
    UnsafePathError
        As `check_path`, or it is absolute or has ``..``.
    """
    text = check_path(path)
    windows = PureWindowsPath(text)
    if text.startswith("/") or windows.drive or windows.root or ".." in windows.parts:
        raise UnsafePathError(
            f"{text!r} leaves its root: give a path below it, without '..' and not absolute"
        )
    if os.sep != "/":
        text = text.replace(os.sep, "/")
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if os.name == "nt":
        for part in parts:
            check_windows_name(part)
    return "/".join(parts)


_DEVICES = frozenset(
    [
        "con",
        "prn",
        "aux",
        "nul",
        "conin$",
        "conout$",
        *(f"{port}{n}" for port in ("com", "lpt") for n in range(10)),
    ]
    + [f"{port}{n}" for port in ("com", "lpt") for n in "\u00b9\u00b2\u00b3"]
)


def check_windows_name(name: str) -> None:
    """Return if a name is that of an ordinary file on Windows.

    Raises
    ------
    UnsafePathError
        A device (``nul``, ``com1.txt``), a stream of another file (``a:b``), or an end Windows drops.
    """
    # "nul .txt" is the device, too: blanks before the dot do not count.
    if name.partition(".")[0].rstrip(" ").lower() in _DEVICES or ":" in name or name[-1:] in (".", " "):
        raise UnsafePathError(f"{name!r} is no name of a file on Windows; choose another")


def below(root: str, path: StrPath) -> str:
    """The place of a relative path below a folder, in the folder's own spelling.

    Raises
    ------
    UnsafePathError
        As `check_key`, or it leads out of the folder through a link.
    """
    key = check_key(path)
    joined = os.path.join(root, *key.split("/")) if key else root
    real_root, real = os.path.realpath(root), os.path.realpath(joined)
    if real != real_root and not real.startswith(real_root.rstrip(os.sep) + os.sep):
        raise UnsafePathError(f"{path!s} leads out of {root} through a link, to {real}")
    return joined


def places_of_members(archive: ZipFile, root: str) -> list[tuple[ZipInfo, str]]:
    """Where each file of an archive belongs below a folder; nothing is unpacked.

    All members are looked at before the first is returned, so an archive with one bad name does nothing.

    Raises
    ------
    UnsafePathError
        A member that leaves the folder, is a link, or has a name that is no file's on some system; or two
        members with one place.
    """
    places: dict[str, tuple[ZipInfo, str]] = {}
    for member in archive.infolist():
        key = check_key(member.filename)
        for part in key.split("/"):
            check_windows_name(part)
        if stat.S_ISLNK(member.external_attr >> 16):
            raise UnsafePathError(f"{member.filename!r} in {archive.filename} is a link; unpack it by hand")
        if member.is_dir():
            continue
        if key.casefold() in places:
            raise UnsafePathError(f"{member.filename!r} is in {archive.filename} twice; unpack it by hand")
        places[key.casefold()] = member, below(root, key)
    return list(places.values())


def join(folder: StrPath, name: str) -> str:
    """The path of something in a folder, in the folder's own spelling."""
    text = os.fspath(folder)
    if text in ("", "."):
        return name
    return text + name if text.endswith(("/", os.sep)) else f"{text}/{name}"


def endings(extensions: Iterable[str] | None) -> tuple[str, ...] | None:
    """Extensions as callers give them, for `matches`; a text is one extension and not many letters."""
    if extensions is None:
        return None
    return (extensions,) if isinstance(extensions, str) else tuple(extensions)


def matches(name: str, pattern: str | None, extensions: Iterable[str] | None) -> bool:
    """Whether a file name fits a shell pattern (``*``, ``?``, ``[]``; case counts) and ends in an
    extension.

    Extensions are given with or without their dot and in any case: ``"tif"`` fits ``x.TIF``.
    """
    if pattern is not None and not fnmatchcase(name, pattern):
        return False
    if extensions is None:
        return True
    lower = name.lower()
    return any(lower.endswith(f".{extension.lower().lstrip('.')}") for extension in extensions)
