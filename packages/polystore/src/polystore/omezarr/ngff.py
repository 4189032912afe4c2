"""What OME-NGFF puts into the attributes of plates, wells and images, in versions 0.4 to 0.6."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from polystore.errors import CorruptFileError
from polystore.plate import ChannelInfo, PlateInfo

__all__ = [
    "Axis",
    "Channel",
    "Dataset",
    "Multiscale",
    "PlateWell",
    "axes_of",
    "multiscale",
    "multiscales_of",
    "omero_channel",
    "scale_of",
]

AXES = ("t", "c", "z", "y", "x")
"""Dimensions of an image of a plate."""

_TYPES = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}

PALETTE = ("0000FF", "00FF00", "FF0000", "00FFFF", "FF00FF", "FFFF00", "FFFFFF", "FF8000")
"""Colours of channels whose own the files do not say, in the order of the channels."""


class Axis(msgspec.Struct, frozen=True, omit_defaults=True):
    """One dimension."""

    name: str
    type: str | None = None
    unit: str | None = None


class Dataset(msgspec.Struct, frozen=True):
    """One resolution of an image."""

    path: str
    coordinateTransformations: list[dict[str, Any]] = []


class CoordinateSystem(msgspec.Struct, frozen=True):
    """Axes by name, since 0.6."""

    axes: list[Axis]
    name: str = ""


class Multiscale(msgspec.Struct, frozen=True):
    """An image at several resolutions, largest first."""

    datasets: list[Dataset]
    axes: list[Axis | str] | None = None
    coordinateSystems: list[CoordinateSystem] | None = None
    coordinateTransformations: list[dict[str, Any]] = []
    name: str | None = None


class Channel(msgspec.Struct, frozen=True):
    """What a viewer is told of a channel."""

    label: str | None = None
    color: str | None = None


class PlateWell(msgspec.Struct, frozen=True):
    """A well as a plate lists it."""

    path: str
    rowIndex: int | None = None
    columnIndex: int | None = None


_TABLES = msgspec.json.Decoder(tuple[Multiscale, Channel, PlateWell])
"""msgspec makes its tables of a class when they are first used, and two threads at once crash it: here, once."""


def multiscales_of(ome: Mapping[str, Any], place: str) -> list[Multiscale]:
    """The images that a group's metadata describes; none when it is no image.

    Raises
    ------
    CorruptFileError
        It says that it is one and cannot be understood.
    """
    found = ome.get("multiscales")
    if not found:
        return []
    try:
        return msgspec.convert(found, list[Multiscale], strict=False)
    except msgspec.ValidationError as exc:
        raise CorruptFileError(f"the metadata of {place} is no OME-Zarr image: {exc}") from exc


def axes_of(image: Multiscale, dimensions: int) -> tuple[str, ...]:
    """Names of the axes; those of an image that does not say are the last of t, c, z, y, x."""
    names = tuple(axis.name for axis in axes_with_units(image))
    return names if len(names) == dimensions else AXES[5 - dimensions :] if dimensions <= 5 else ()


def axes_with_units(image: Multiscale) -> list[Axis]:
    """The axes as they are described."""
    axes: Sequence[Axis | str] = image.axes or ()
    if not axes and image.coordinateSystems:
        axes = image.coordinateSystems[0].axes
    return [Axis(axis) if isinstance(axis, str) else axis for axis in axes]


def scale_of(image: Multiscale) -> list[float] | None:
    """Scale of the largest resolution, one number per axis, or None. A sequence of transformations counts."""
    steps = [*image.datasets[0].coordinateTransformations, *image.coordinateTransformations]
    total: list[float] | None = None
    while steps:
        step = steps.pop(0)
        if step.get("type") == "sequence":
            steps = [*step.get("transformations", ()), *steps]
        elif step.get("type") == "scale" and isinstance(step.get("scale"), list):
            scale = [float(value) for value in step["scale"]]
            total = scale if total is None else [a * b for a, b in zip(total, scale, strict=False)]
    return total


def multiscale(
    paths: Sequence[str],
    shapes: Sequence[Sequence[int]],
    axes: Sequence[str],
    *,
    version: str,
    name: str | None = None,
    info: PlateInfo | None = None,
    position_um: tuple[float, float] | None = None,
    nearest: bool = False,
) -> dict[str, Any]:
    """An entry of ``multiscales``.

    Parameters
    ----------
    paths, shapes
        Of the resolutions, largest first.
    axes
        Names of the axes.
    version
        ``"0.4"`` or ``"0.5"``.
    name
        Of the image.
    info
        Where the sizes of pixels and steps come from.
    position_um
        y, x of the image on the stage.
    nearest
        Smaller copies hold some of the pixels (labels), not means.
    """
    known = info or PlateInfo()
    height, width = known.pixel_size_um or (1.0, 1.0)
    sizes = {"t": known.t_step_s or 1.0, "z": known.z_step_um or 1.0, "y": height, "x": width}
    units = {"t": "second" if known.t_step_s else None, "z": "micrometer" if known.z_step_um else None}
    units["y"] = units["x"] = "micrometer" if known.pixel_size_um else None
    place = dict(zip("yx", position_um, strict=True)) if position_um and known.pixel_size_um else {}
    datasets = []
    for path, shape in zip(paths, shapes, strict=True):
        steps = [first / size if size else 1.0 for first, size in zip(shapes[0], shape, strict=True)]
        scale = [sizes.get(axis, 1.0) * step for axis, step in zip(axes, steps, strict=True)]
        shift = [
            place.get(axis, 0.0) + (0.0 if nearest else sizes.get(axis, 1.0) * (step - 1) / 2)
            for axis, step in zip(axes, steps, strict=True)
        ]
        transformations: list[dict[str, Any]] = [{"type": "scale", "scale": scale}]
        if any(shift):
            transformations.append({"type": "translation", "translation": shift})
        datasets.append({"path": path, "coordinateTransformations": transformations})
    described: list[dict[str, str]] = []
    for axis in axes:
        entry = {"name": axis, "type": _TYPES[axis]}
        if unit := units.get(axis):
            entry["unit"] = unit
        described.append(entry)
    result: dict[str, Any] = {"axes": described, "datasets": datasets}
    if version == "0.4":
        result["version"] = "0.4"
    if name:
        result["name"] = name
    if len(paths) > 1:
        result["type"] = "nearest" if nearest else "mean"
    return result


def omero_channel(
    number: int,
    label: str,
    known: ChannelInfo | None,
    dtype: np.dtype[Any],
    shown: tuple[float, float] | None,
) -> dict[str, Any]:
    """An entry of ``omero.channels``: name, colour and the window of values to show.

    Parameters
    ----------
    number
        Position of the channel.
    label
        Its name where the files say none.
    known
        What the files say.
    dtype
        Of its pixels.
    shown
        Lowest and highest value to show; None: all there are.
    """
    known = known or ChannelInfo()
    if dtype.kind in "iu":
        low, high = float(np.iinfo(dtype).min), float(np.iinfo(dtype).max)
    else:
        low, high = 0.0, 1.0
    start, end = shown or (low, high)
    if dtype.kind not in "iu":
        low, high = min(low, start), max(high, end)
    color = known.color or _by_wavelength(known.emission_nm) or PALETTE[number % len(PALETTE)]
    return {
        "label": known.name or label,
        "color": color,
        "active": True,
        "coefficient": 1,
        "family": "linear",
        "inverted": False,
        "window": {"min": low, "max": high, "start": start, "end": end},
    }


def _by_wavelength(emission_nm: float | None) -> str | None:
    if emission_nm is None:
        return None
    for limit, color in ((485, "0000FF"), (560, "00FF00"), (610, "FFFF00"), (680, "FF0000")):
        if emission_nm < limit:
            return color
    return "FF00FF"
