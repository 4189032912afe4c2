"""A plate on disk: which images there are, what they are called, and how large a pixel is.

Where an image belongs is told from its name and its folders by polystore's parsers; what a channel is called and how
large a pixel is, from the properties MetaXpress writes into its TIFF files. Nothing is guessed and no file is changed.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openhcs_viewers.demo._errors import PlateError
from polystore.components import Component, ImageKey, Value, value_order
from polystore.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from polystore.filemanager import FileManager

SUFFIXES = (".tif", ".tiff")
"""Files that can be images of a plate."""

NUCLEI = re.compile(r"dapi|hoechst|draq|nuclei|405|461", re.IGNORECASE)
"""Channels that show nuclei, which are what gets counted; without one the first channel is."""

_PROPERTY = re.compile(rb'<prop id="([A-Za-z_-]+)"[^>]*? value="([^"]*)"')
_RGB = {
    "green": "00FF00",
    "magenta": "FF00FF",
    "blue": "0000FF",
    "yellow": "FFFF00",
    "cyan": "00FFFF",
    "red": "FF0000",
}
_COLOURS = tuple(_RGB)


@dataclass(frozen=True, slots=True)
class PlateImage:
    """One image of a plate: where its file is and where it belongs."""

    path: str
    key: ImageKey


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel.

    Attributes
    ----------
    value
        As in the keys: its name where the files tell it, else its number.
    emission
        Wavelength in nm, or None.
    colormap
        To show it in; every channel of a plate has another.
    """

    value: Value | None
    emission: int | None = None
    colormap: str = "gray"

    @property
    def rgb(self) -> str:
        """The brightest colour of its colour map, as OME-Zarr writes it: ``"00FF00"``."""
        return _RGB.get(self.colormap, "FFFFFF")


@dataclass(frozen=True, slots=True)
class FieldImages:
    """All images of one field at one time: what one worker takes at a time.

    Microscopes store stacks and projections of one field side by side: a projection is an image without z.
    """

    plate: str
    root: str
    well: Value | None
    field: Value | None
    t: Value | None
    images: tuple[PlateImage, ...]

    @property
    def place(self) -> tuple[Value | None, ...]:
        """Plate, well, field and t."""
        return (self.plate, self.well, self.field, self.t)

    @property
    def title(self) -> str:
        """Where this is, for people: ``E07, field 2, t 1``."""
        parts = [str(self.well)] if self.well is not None else [self.plate]
        parts += [f"field {self.field}"] if self.field is not None else []
        parts += [f"t {self.t}"] if self.t is not None else []
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Plate:
    """The images of one plate.

    Attributes
    ----------
    name, root
        Of its folder.
    images
        Sorted by well, field, channel, z and t.
    channels
        In the order of their numbers.
    scale
        Pixel size (y, x) in um, or None when the files do not tell.
    thumbnails, unknown
        Files left out: small previews, and names no parser knows.
    """

    name: str
    root: Path
    images: tuple[PlateImage, ...]
    channels: tuple[Channel, ...]
    scale: tuple[float, float] | None = None
    thumbnails: int = 0
    unknown: tuple[str, ...] = field(default=(), repr=False)

    def values(self, which: Component | str) -> tuple[Value, ...]:
        """The distinct values of one component, sorted."""
        found = {value for image in self.images if (value := image.key.get(which)) is not None}
        return tuple(sorted(found, key=value_order))

    @property
    def counted(self) -> Value | None:
        """The channel cells are counted in: the one that shows nuclei, else the first."""
        named = (channel.value for channel in self.channels if NUCLEI.search(str(channel.value)))
        return next(named, self.channels[0].value)

    def fields(self) -> list[FieldImages]:
        """The images grouped by well, field and t, in that order."""
        groups: dict[tuple[Value | None, Value | None, Value | None], list[PlateImage]] = {}
        for image in self.images:
            groups.setdefault((image.key.well, image.key.field, image.key.t), []).append(image)
        return [
            FieldImages(self.name, str(self.root), *place, tuple(images)) for place, images in groups.items()
        ]

    def describe(self) -> str:
        """What was found, in one paragraph for people."""
        wells = self.values("well")
        shown = " ".join(map(str, wells[:12])) + (" ..." if len(wells) > 12 else "")
        parts = [f"{_many(len(wells), 'well')} ({shown})" if wells else "no wells"]
        parts.append(_many(max(1, len(self.values("field"))), "field") + " each")
        names = ", ".join(str(channel.value) for channel in self.channels)
        parts.append(f"{_many(len(self.channels), 'channel')} ({names})")
        if depth := len(self.values("z")):
            flat = sum(image.key.z is None for image in self.images)
            parts.append(f"{_many(depth, 'z plane')}" + (f" and {_many(flat, 'projection')}" if flat else ""))
        if len(self.values("t")) > 1:
            parts.append(_many(len(self.values("t")), "time point"))
        parts.append(f"{_many(len(self.images), 'image')} in all")
        if self.scale is not None:
            parts.append(f"{self.scale[1]:g} um per pixel")
        left_out = [_many(self.thumbnails, "thumbnail")] if self.thumbnails else []
        left_out += (
            [f"{_many(len(self.unknown), 'file')} with a name no parser knows"] if self.unknown else []
        )
        tail = f"; left out: {', '.join(left_out)}" if left_out else ""
        return f"{self.name}: {', '.join(parts)}{tail}"


def read_plate(folder: str | os.PathLike[str], filemanager: FileManager | None = None) -> Plate:
    """Return what images the folder of an acquisition holds; reads names, and one file per channel.

    Parameters
    ----------
    folder
        The plate's folder, as a microscope wrote it, or any folder above its images.
    filemanager
        Lists the files through its ``disk`` backend; a fresh one by default.

    Raises
    ------
    PlateError
        The folder is missing or empty, or holds no image whose name says where it belongs.
    """
    from polystore import FileManager
    from polystore.microscopes import identify

    if not isinstance(folder, str | os.PathLike):
        raise PlateError(f"plate {folder!r} is no path: give that of an acquisition's folder")
    root = Path(folder).expanduser().resolve()
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise PlateError(
            f"plate folder {str(root)!r} {what}; give the folder an ImageXpress or Opera Phenix wrote"
        )
    try:
        files = [
            str(path) for path in (filemanager or FileManager()).list_files(root, "disk", recursive=True)
        ]
    except StorageError as error:
        raise PlateError(f"plate folder {str(root)!r} cannot be read: {error}") from error
    images, unknown, thumbnails = [], [], 0
    for path in sorted(files):
        if not path.lower().endswith(SUFFIXES):
            continue
        found = identify(path)
        if found is None or found.key.well is None:
            unknown.append(path)
        elif found.thumbnail:
            thumbnails += 1
        else:
            images.append(PlateImage(path, found.key))
    if not images:
        raise PlateError(_nothing(root, files, unknown))
    _refuse_twins(images)
    return _named(Plate(root.name, root, tuple(images), (), None, thumbnails, tuple(unknown)))


def _named(plate: Plate) -> Plate:
    """The plate with channels under their names, if the files tell names that are all different."""
    firsts: dict[Value | None, PlateImage] = {}
    for image in plate.images:
        firsts.setdefault(image.key.channel, image)
    told = {number: _properties(firsts[number].path) for number in sorted(firsts, key=value_order)}
    names = {
        number: properties.get("image-name", "").removeprefix("Copy of ")
        for number, properties in told.items()
    }
    known = [name for name in names.values() if name]
    if len(set(known)) < len(names):
        names = dict.fromkeys(names, "")
    scale = _scale(next(iter(told.values())))
    channels = _coloured(
        [Channel(names[number] or number, _emission(properties)) for number, properties in told.items()]
    )
    images = [
        PlateImage(image.path, image.key.replace(channel=names[image.key.channel] or image.key.channel))
        for image in plate.images
    ]
    order: dict[Value | None, int] = {channel.value: at for at, channel in enumerate(channels)}

    def rank(image: PlateImage) -> tuple[Any, ...]:
        key = image.key
        return (*map(value_order, (key.well, key.field, key.t)), order[key.channel], value_order(key.z))

    return replace(plate, images=tuple(sorted(images, key=rank)), channels=channels, scale=scale)


def _coloured(channels: list[Channel]) -> tuple[Channel, ...]:
    """Channels in the colour of their light where each has another, else in colours that are easy to tell apart."""
    if len(channels) == 1:
        return (replace(channels[0], colormap="gray"),)
    bands = [_band(channel.emission) for channel in channels]
    if None in bands or len(set(bands)) < len(bands):
        bands = [_COLOURS[at % len(_COLOURS)] for at in range(len(channels))]
    return tuple(
        replace(channel, colormap=band or "gray") for channel, band in zip(channels, bands, strict=True)
    )


def _band(emission: int | None) -> str | None:
    """A colour for a wavelength. Not the true one: pure red and far red are dim on screens and look alike."""
    if emission is None:
        return None
    for limit, colour in ((480, "blue"), (545, "green"), (600, "yellow"), (640, "red")):
        if emission < limit:
            return colour
    return "magenta"


def _properties(path: str) -> dict[str, str]:
    """The properties MetaXpress wrote into a file; none for a file of another origin."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise PlateError(f"image {path!r} cannot be read: {error}") from error
    found = {
        name.decode(): value.decode("utf-8", "replace").strip() for name, value in _PROPERTY.findall(data)
    }
    if found.get("spatial-calibration-state") == "off":
        found.pop("spatial-calibration-x", None)
    return found


def _scale(properties: dict[str, str]) -> tuple[float, float] | None:
    try:
        x = float(properties["spatial-calibration-x"])
        y = float(properties.get("spatial-calibration-y", x))
    except (KeyError, ValueError):
        return None
    return (y, x) if 0 < x < 1e6 and 0 < y < 1e6 else None


def _emission(properties: dict[str, str]) -> int | None:
    text = properties.get("wavelength", "")
    return round(float(text)) if re.fullmatch(r"[0-9]+(\.[0-9]*)?", text) and float(text) > 0 else None


def _refuse_twins(images: Iterable[PlateImage]) -> None:
    """Two files for one place would replace each other on screen and in the results."""
    counts = Counter(image.key for image in images)
    twins = [key for key, count in counts.items() if count > 1]
    if twins:
        paths = ", ".join(repr(image.path) for image in images if image.key == twins[0])
        raise PlateError(
            f"{_many(len(twins), 'place')} of the plate with more than one image, first {twins[0]}: {paths}; "
            "give the folder of one acquisition"
        )


def _nothing(root: Path, files: list[str], unknown: list[str]) -> str:
    if not files:
        return f"plate folder {str(root)!r} is empty; give the folder an ImageXpress or Opera Phenix wrote"
    example = Path((unknown or files)[0]).name
    return (
        f"no image of a plate in {str(root)!r}: {_many(len(files), 'file')}, such as {example!r}, but no TIFF named "
        "like 'Plate_A01_s1_w1.tif' or 'r01c01f01p01-ch1sk1fk1fl1.tiff'; give the folder of an acquisition"
    )


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
