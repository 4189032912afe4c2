"""What a plate is, whatever stores it: its planes, where each of them lies, and what its files say about it.

Pure values: a microscope's reader makes them, a store's writer and the command line use them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from polystore.components import Component, ImageKey, Value, component, value_order

__all__ = ["ChannelInfo", "PlaneRef", "PlateIndex", "PlateInfo", "PlateNote"]


@dataclass(frozen=True, slots=True)
class ChannelInfo:
    """What the files say about one channel; None where they are silent.

    Parameters
    ----------
    name
        As the operator called it: ``"DAPI"``.
    excitation_nm, emission_nm
        Wavelengths in nanometres.
    exposure_ms
        Exposure time in milliseconds.
    color
        Display colour as ``"RRGGBB"``.
    """

    name: str | None = None
    excitation_nm: float | None = None
    emission_nm: float | None = None
    exposure_ms: float | None = None
    color: str | None = None


@dataclass(frozen=True, slots=True)
class PlateInfo:
    """What the files of a plate say beyond its pixels; empty or None where they are silent.

    Parameters
    ----------
    name
        The plate's name.
    rows, columns
        Size of the whole plate in wells (8, 12), not of the part that was imaged.
    pixel_size_um
        Height and width of a pixel in micrometres.
    z_step_um
        Distance of neighbouring planes in micrometres.
    t_step_s
        Time between time points in seconds.
    channels
        Canonical channel value (of an `ImageKey`) to what is known of it.
    positions_um
        (well, field) to the y, x of the field's stage position in micrometres.
    acquired
        Start of the acquisition in ISO 8601.
    instrument
        Name of the instrument or its software.
    """

    name: str | None = None
    rows: int | None = None
    columns: int | None = None
    pixel_size_um: tuple[float, float] | None = None
    z_step_um: float | None = None
    t_step_s: float | None = None
    channels: Mapping[Value, ChannelInfo] = field(default_factory=dict)
    positions_um: Mapping[tuple[Value, Value], tuple[float, float]] = field(default_factory=dict)
    acquired: str | None = None
    instrument: str | None = None


@dataclass(frozen=True, slots=True)
class PlaneRef:
    """One plane of a plate and where it lies.

    Parameters
    ----------
    key
        Where the plane belongs.
    path
        The file, relative to the plate's folder, ``/`` separates.
    page
        Index of the plane within a file of several pages; None: the file is the plane.
    """

    key: ImageKey
    path: str
    page: int | None = None


@dataclass(frozen=True, slots=True)
class PlateNote:
    """Something about a plate's files that did not stop it from being read, and that one should know.

    Parameters
    ----------
    kind
        ``"duplicate"`` (several files for one plane), ``"unreadable"``, ``"unknown"`` (an image whose name is not
        understood), ``"thumbnail"``, ``"derived"`` (made from the images) or ``"folders"``.
    text
        A sentence for people.
    paths
        The files it is about, relative to the plate; of many, the first ones.
    """

    kind: str
    text: str
    paths: tuple[str, ...] = ()


@dataclass(frozen=True)
class PlateIndex:
    """Every plane of a plate, sorted by key, and what is known about the plate.

    Parameters
    ----------
    root
        Path of the plate as the caller gave it.
    backend
        Name of the backend it is read from.
    microscope
        Name of the handler that understood it: ``"imagexpress"``.
    planes
        In the order of `ImageKey.sort_key`; each key once.
    info
        What the files say beyond the pixels.
    missing
        Planes that should be there by what the plate's own files say, or by what its other fields have.
    notes
        What was found beside the planes: files left out, broken or double.
    """

    root: str
    backend: str
    microscope: str
    planes: tuple[PlaneRef, ...]
    info: PlateInfo = PlateInfo()
    missing: tuple[ImageKey, ...] = ()
    notes: tuple[PlateNote, ...] = ()

    def values(self, which: Component | str) -> tuple[Value, ...]:
        """The values one component takes in this plate, numbers first, each once; empty when it plays no part."""
        name = component(which).value
        found: set[Value | None] = {getattr(plane.key, name) for plane in self.planes}
        return tuple(sorted((value for value in found if value is not None), key=value_order))

    @cached_property
    def wells(self) -> tuple[Value, ...]:
        """Names of the wells with images."""
        return self.values(Component.WELL)

    @cached_property
    def fields(self) -> tuple[Value, ...]:
        """Fields that any well has."""
        return self.values(Component.FIELD)

    @cached_property
    def channels(self) -> tuple[Value, ...]:
        """Channels that any field has."""
        return self.values(Component.CHANNEL)

    @cached_property
    def z(self) -> tuple[Value, ...]:
        """z steps that any stack has; a projection or a single plane has none."""
        return self.values(Component.Z)

    @cached_property
    def t(self) -> tuple[Value, ...]:
        """Time points; empty for a plate taken once."""
        return self.values(Component.T)

    @cached_property
    def by_key(self) -> Mapping[ImageKey, PlaneRef]:
        """Each plane by where it belongs."""
        return {plane.key: plane for plane in self.planes}

    def __iter__(self) -> Iterator[PlaneRef]:
        return iter(self.planes)

    def __len__(self) -> int:
        return len(self.planes)

    def path_of(self, plane: PlaneRef) -> str:
        """The path a backend loads the plane's file from."""
        root = self.root.rstrip("/")
        return f"{root}/{plane.path}" if root else plane.path

    def summary(self) -> dict[str, Any]:
        """Wells, fields, channels, z and t by value and the number of planes: what ``polystore ls --json`` prints."""
        return {
            "wells": list(self.wells),
            "fields": list(self.fields),
            "channels": list(self.channels),
            "z": list(self.z),
            "t": list(self.t),
            "planes": len(self.planes),
        }
