"""The file that makes a folder a virtual workspace: which name stands for which image, and where that lies."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

import msgspec

from polystore._paths import check_key
from polystore.components import ImageKey, Value
from polystore.errors import (
    ComponentError,
    CorruptFileError,
    StorageError,
    UnsafePathError,
    UnsupportedFormatError,
)
from polystore.plate import ChannelInfo, PlateInfo

__all__ = ["FileRef", "Mapped", "Source", "check_mapped", "check_relative", "decode", "encode"]

VERSION = 1
"""Of the format. A newer one is refused; what an older reader may ignore does not raise it."""


class Source(msgspec.Struct, frozen=True, omit_defaults=True):
    """A place images are read from.

    Parameters
    ----------
    path
        The folder; one on disk may be relative to the workspace's.
    backend
        Name of the backend it is read with.
    """

    path: str
    backend: str = "disk"


class FileRef(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one virtual name stands for.

    Parameters
    ----------
    source
        Name of the source.
    path
        The file, relative to the source's folder, ``/`` separates.
    page
        Index of the plane in a file of several; None: the file is the plane.
    """

    source: str
    path: str
    page: int | None = None


class _Channel(msgspec.Struct, frozen=True, omit_defaults=True):
    channel: int | str
    name: str | None = None
    excitation_nm: float | None = None
    emission_nm: float | None = None
    exposure_ms: float | None = None
    color: str | None = None


class _Position(msgspec.Struct, frozen=True):
    well: int | str
    field: int | str
    y_um: float
    x_um: float


class _Plate(msgspec.Struct, frozen=True, omit_defaults=True):
    microscope: str = ""
    name: str | None = None
    rows: int | None = None
    columns: int | None = None
    pixel_size_um: tuple[float, float] | None = None
    z_step_um: float | None = None
    t_step_s: float | None = None
    channels: tuple[_Channel, ...] = ()
    positions: tuple[_Position, ...] = ()
    acquired: str | None = None
    instrument: str | None = None


class _Document(msgspec.Struct, frozen=True, omit_defaults=True):
    format: str
    version: int
    sources: dict[str, Source] = {}
    plate: _Plate = _Plate()
    files: dict[str, FileRef] = {}


# Made here, once: msgspec makes its tables of a class when they are first used, and two threads at once crash it.
_decode = msgspec.json.Decoder(_Document).decode


_FORMAT = "polystore.workspace"
_PLAIN = ("name", "rows", "columns", "pixel_size_um", "z_step_um", "t_step_s", "acquired", "instrument")
_CHANNEL = ("name", "excitation_nm", "emission_nm", "exposure_ms", "color")


class Mapped:
    """What a workspace's file says. Never changed: `changed` makes another.

    Parameters
    ----------
    sources
        Sources by name.
    files
        What each virtual path stands for; relative to the workspace, ``/`` separates.
    microscope, info
        What is known about the plate.
    """

    def __init__(
        self,
        sources: Mapping[str, Source] | None = None,
        files: Mapping[str, FileRef] | None = None,
        microscope: str = "",
        info: PlateInfo | None = None,
    ) -> None:
        self.sources = dict(sources or {})
        self.files = dict(files or {})
        self.microscope = microscope
        self.info = info or PlateInfo()

    def changed(
        self,
        *,
        add: Mapping[str, FileRef] | None = None,
        remove: Iterable[str] = (),
        info: PlateInfo | None = None,
    ) -> Mapped:
        """The same without some virtual paths, and with others."""
        gone = frozenset(remove)
        files = {path: ref for path, ref in self.files.items() if path not in gone}
        files.update(add or {})
        return Mapped(self.sources, files, self.microscope, info or self.info)

    @cached_property
    def folders(self) -> Mapping[str, Mapping[str, bool]]:
        """Each folder (``""`` is the workspace itself) to the names in it and whether they are folders."""
        found: dict[str, dict[str, bool]] = {"": {}}
        for path in self.files:
            folder, name = posixpath.split(path)
            found.setdefault(folder, {})[name] = False
        for folder in list(found):
            while folder:
                folder, name = posixpath.split(folder)
                found.setdefault(folder, {})[name] = True
        return found

    @cached_property
    def inside(self) -> frozenset[str]:
        """Files of sources that are the workspace's own folder: shown by their virtual names only."""
        own = {
            name
            for name, source in self.sources.items()
            if source.backend == "disk" and posixpath.normpath(source.path) == "."
        }
        return frozenset(ref.path for ref in self.files.values() if ref.source in own) if own else frozenset()

    def below(self, path: str) -> dict[str, FileRef]:
        """The virtual paths that are ``path`` or in it."""
        if path in self.files:
            return {path: self.files[path]}
        prefix = path + "/" if path else ""
        return {name: ref for name, ref in self.files.items() if name.startswith(prefix)}


def check_relative(path: str) -> str:
    """The path, if it is one below a root in its only spelling.

    Raises
    ------
    UnsafePathError
        As `check_key`, or with a doubled ``/`` or a ``.``.
    """
    if check_key(path) != path:
        raise UnsafePathError(f"{path!r} is no path below a root: no '.', and one '/' between names")
    return path


def check_mapped(mapped: Mapped) -> None:
    """Return if no name is a file and a folder; else raise `CorruptFileError`."""
    both = mapped.files.keys() & mapped.folders.keys()
    if both:
        raise CorruptFileError(f"{min(both)!r} is a file and a folder")


def decode(data: bytes, where: str) -> Mapped:
    """The mapping in a file's bytes, every path in it checked.

    Raises
    ------
    CorruptFileError, UnsupportedFormatError, UnsafePathError
        No such file, one of a newer version, or one with a path that leaves its root; the text names ``where``.
    """
    try:
        document = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise CorruptFileError(f"{where} is no workspace: {exc}") from exc
    if document.format != _FORMAT:
        raise CorruptFileError(f"{where} is no workspace: its format is {document.format!r}, not {_FORMAT!r}")
    if document.version > VERSION:
        raise UnsupportedFormatError(
            f"{where} has version {document.version}, this polystore reads up to {VERSION}: upgrade it"
        )
    try:
        for path, ref in document.files.items():
            check_relative(path)
            check_relative(ref.path)
            if ref.source not in document.sources:
                raise CorruptFileError(f"{path!r} is in source {ref.source!r}, which is not listed")
            if ref.page is not None and ref.page < 0:
                raise CorruptFileError(f"{path!r} is page {ref.page}; pages count from 0")
        mapped = Mapped(document.sources, document.files, document.plate.microscope, _info(document.plate))
        check_mapped(mapped)
    except ComponentError as exc:
        raise CorruptFileError(f"{where}: {exc}") from exc
    except StorageError as exc:
        raise type(exc)(f"{where}: {exc}") from exc
    return mapped


def encode(mapped: Mapped) -> bytes:
    """The bytes of the file, readable, in the order of the paths."""
    info = mapped.info
    plate: dict[str, Any] = {name: getattr(info, name) for name in _PLAIN}
    document = _Document(
        format=_FORMAT,
        version=VERSION,
        sources=mapped.sources,
        plate=_Plate(
            microscope=mapped.microscope,
            channels=tuple(
                _Channel(value, **{name: getattr(channel, name) for name in _CHANNEL})
                for value, channel in info.channels.items()
            ),
            positions=tuple(
                _Position(well, field, y, x) for (well, field), (y, x) in info.positions_um.items()
            ),
            **plate,
        ),
        files=dict(sorted(mapped.files.items())),
    )
    return msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"


def _info(plate: _Plate) -> PlateInfo:
    channels: dict[Value, ChannelInfo] = {}
    for channel in plate.channels:
        value = ImageKey.of(channel=channel.channel).channel
        assert value is not None
        channels[value] = ChannelInfo(**{name: getattr(channel, name) for name in _CHANNEL})
    positions: dict[tuple[Value, Value], tuple[float, float]] = {}
    for position in plate.positions:
        key = ImageKey.of(well=position.well, field=position.field)
        assert key.well is not None
        assert key.field is not None
        positions[key.well, key.field] = (position.y_um, position.x_um)
    plain: dict[str, Any] = {name: getattr(plate, name) for name in _PLAIN}
    return PlateInfo(channels=channels, positions_um=positions, **plain)
