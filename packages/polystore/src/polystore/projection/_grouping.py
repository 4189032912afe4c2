"""Names, orders and colours of layers: small pure functions the projection is made of."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any

from polystore.components import Component, ImageKey, Value

__all__ = [
    "AXIS_ORDER",
    "NAME_ORDER",
    "OrderedValues",
    "channel_colormap",
    "channel_colormaps",
    "difference",
    "entry_key",
    "layer_name",
    "printable",
    "title",
    "token",
    "value_key",
    "values_of",
]

AXIS_ORDER = (
    Component.PLATE,
    Component.ACQUISITION,
    Component.WELL,
    Component.FIELD,
    Component.CHANNEL,
    Component.T,
    Component.Z,
)
"""Sliders from the outermost to the one next to the image."""

NAME_ORDER = (
    Component.WELL,
    Component.CHANNEL,
    Component.FIELD,
    Component.Z,
    Component.T,
    Component.PLATE,
    Component.ACQUISITION,
)
"""Components in a layer's name: ``Step_02_gaussian_blur_Well_A01_Channel_DAPI_Site_001``."""

_WORDS = {
    Component.PLATE: "Plate",
    Component.ACQUISITION: "Acquisition",
    Component.WELL: "Well",
    Component.FIELD: "Site",
    Component.CHANNEL: "Channel",
    Component.Z: "Z",
    Component.T: "T",
}
_PADDED = frozenset({Component.FIELD, Component.Z, Component.T})
_WELL = re.compile(r"([A-Za-z]{1,2})0*([0-9]+)", re.ASCII)
_DIGITS = re.compile(r"([0-9]+)", re.ASCII)
_AS_TEXT = (-1,)


@lru_cache(maxsize=65536)
def value_key(which: Component, value: Value) -> tuple[Any, ...]:
    """A sort key for the values of a component: numbers, then names as a person would sort them.

    Wells go by row and column (``B02`` before ``B10`` before ``AA01``), other names with the numbers in them
    by size (``plate 2`` before ``plate 10``).
    """
    if isinstance(value, int):
        return (0, value)
    if which is Component.WELL and (match := _WELL.fullmatch(value)):
        return (1, len(match[1]), match[1].upper(), int(match[2]), value)
    parts = _DIGITS.split(value)
    # Text and numbers alternate, text first, so keys compare part by part without mixing types.
    return (2, tuple(int(part) if at % 2 else part.lower() for at, part in enumerate(parts)), value)


def entry_key(which: Component, value: Value) -> tuple[Any, ...]:
    """The sort key of a value along a dimension of a hyperstack: `value_key`, but channels go by their light.

    Numbers as everywhere; then names whose dye or wavelength is known, from blue to far red; then transmitted
    light; then all other names. So ``DAPI, GFP, Cy5, Brightfield`` stand as a microscope has them, whatever comes
    first, and a name that comes later moves none of the others past each other.
    """
    key = value_key(which, value)
    if which is not Component.CHANNEL or isinstance(value, int):
        return key
    return (2, _light(value), key)


@lru_cache(maxsize=1024)
def _light(channel: str) -> int:
    """About the wavelength, in nanometres, that excites what a channel is named after; more for all others."""
    if (match := _NANOMETRES.search(channel)) is not None:
        return int(match[1])
    for pattern, nanometres in _SPECTRUM:
        if pattern.search(channel):
            return nanometres
    return 1000 if _BRIGHT.search(channel) else 2000


def values_of(key: ImageKey, components: tuple[Component, ...]) -> tuple[Value | None, ...]:
    """The values of some components of a key, in that order."""
    return _getter(components)(key)


@lru_cache(maxsize=1024)
def _getter(components: tuple[Component, ...]) -> Callable[[ImageKey], tuple[Value | None, ...]]:
    # attrgetter reads all attributes in C; with one name it returns no tuple and with none it cannot be made.
    names = [which.value for which in components]
    if len(names) > 1:
        return attrgetter(*names)
    return (lambda key: (getattr(key, names[0]),)) if names else (lambda key: ())


class OrderedValues:
    """The distinct values of one component, always sorted; adding one costs O(log n) comparisons.

    Sorted as `entry_key` has it where they are those of a hyperstack, else by `value_key`.
    """

    __slots__ = ("_frozen", "_hyperstack", "_keys", "_known", "_values", "_which")

    def __init__(self, which: Component, *, hyperstack: bool = False) -> None:
        self._which = which
        self._hyperstack = hyperstack
        self._known: set[Value] = set()
        self._keys: list[tuple[Any, ...]] = []
        self._values: list[Value] = []
        self._frozen: tuple[Value, ...] | None = ()

    def add(self, value: Value) -> bool:
        """Insert at its place; False when it was there."""
        if value in self._known:
            return False
        key = (entry_key if self._hyperstack else value_key)(self._which, value)
        at = bisect_left(self._keys, key)
        self._known.add(value)
        self._keys.insert(at, key)
        self._values.insert(at, value)
        self._frozen = None
        return True

    def __contains__(self, value: object) -> bool:
        return value in self._known

    def __len__(self) -> int:
        return len(self._values)

    def as_tuple(self) -> tuple[Value, ...]:
        """All values in order; the same object until one is added."""
        if self._frozen is None:
            self._frozen = tuple(self._values)
        return self._frozen


def token(which: Component, value: Value) -> str:
    """One part of a layer's name: ``Well_A01``, ``Channel_DAPI``, ``Site_001``."""
    shown = f"{value:03d}" if which in _PADDED and isinstance(value, int) else str(value)
    return f"{_WORDS[which]}_{shown}"


def title(step_index: int | None, step_name: str, part: str, kind: str) -> str:
    """The beginning of a layer's name: ``Step_02_gaussian_blur``; without any step the kind of data.

    Parameters
    ----------
    part
        Stem of a file no parser understands; it stands after the step, or alone.
    """
    words = []
    if step_index is not None:
        words.append(f"Step_{step_index:02d}")
    if step_name:
        words.append(step_name)
    if part:
        words.append(part)
    return "_".join(words) or kind


def layer_name(head: str, tokens: Iterable[str], kind: str) -> str:
    """The whole name. Labels, shapes and points say so at the end: a step may send an image and its
    labels.
    """
    ending = () if kind in ("image", head) else (kind,)
    return "_".join((head, *tokens, *ending))


_NANOMETRES = re.compile(r"(?<![0-9])([3-8][0-9]{2})(?![0-9])", re.ASCII)
_SPECTRUM = tuple(
    (re.compile(names, re.IGNORECASE), nanometres)
    for names, nanometres in (
        (r"cy7|near.?ir|\bnir", 750),
        (r"cy5\.5", 690),
        (r"cy5|far.?red|apc\b", 647),
        (r"texas|mcherry|\btxred", 590),
        (r"rfp|tomato|dsred", 561),
        (r"tritc|cy3|rhodamine|orange", 550),
        (r"yfp|venus", 514),
        (r"gfp|fitc", 488),
        (r"cfp|cerulean", 445),
        (r"dapi|hoechst|bfp|nuc", 405),
    )
)
_BRIGHT = re.compile(r"bright|bf$|tl|phase|dic", re.IGNORECASE)
_COLOURS = (
    (re.compile(r"dapi|hoechst|bfp|405|nuc", re.IGNORECASE), "blue"),
    (re.compile(r"gfp|fitc|488|venus|yfp", re.IGNORECASE), "green"),
    (re.compile(r"rfp|tritc|cy3|mcherry|tomato|561|568|594", re.IGNORECASE), "magenta"),
    (re.compile(r"cy5|647|640|far.?red", re.IGNORECASE), "cyan"),
    (_BRIGHT, "gray"),
)
_GRAYS = frozenset({"gray", "grays", "grey", "greys"})
_CYCLE = ("blue", "green", "magenta", "yellow", "cyan", "red")


def channel_colormap(colormap: str, channel: Value | None) -> str:
    """The colour map of a channel: `colormap` itself unless it is ``"auto"``.

    ``"auto"`` knows the usual names (DAPI blue, GFP green, RFP magenta, Cy5 cyan) and gives numbered channels
    blue, green, magenta, yellow, cyan, red in turn: green and magenta are told apart by everybody.
    """
    if colormap != "auto":
        return colormap
    if isinstance(channel, int):
        return _CYCLE[max(channel - 1, 0) % len(_CYCLE)]
    if channel is not None:
        for pattern, colour in _COLOURS:
            if pattern.search(channel):
                return colour
    return "gray"


def channel_colormaps(given: Sequence[str], channels: Sequence[Value | None]) -> tuple[str, ...]:
    """The colour map of each channel of a hyperstack, as `channel_colormap` has it for what was given for each.

    All gray means ``"auto"`` for several channels shown in colour: the sum of those would be gray, with no channel
    to be seen. There ``"auto"`` gives a channel whose name it does not know a colour that no other one has.
    """
    several = len(channels) > 1
    if several and all(colormap.lower() in _GRAYS for colormap in given):
        given = ["auto"] * len(channels)
    found = [channel_colormap(*each) for each in zip(given, channels, strict=True)]
    if several:
        free = [colour for colour in _CYCLE if colour not in found]
        for at, channel in enumerate(channels):
            unknown = given[at] == "auto" and found[at] == "gray"
            if unknown and free and not (channel and _BRIGHT.search(str(channel))):
                found[at] = free.pop(0)
    return tuple(found)


def difference(first: tuple[Component, ...], mine: tuple[Component, ...]) -> str:
    """What tells a layer from the first of its name that has other sliders: ``projection``, ``Z_stack``,
    ...
    """
    words = []
    for which in AXIS_ORDER:
        if which in mine and which not in first:
            words.append("Z_stack" if which is Component.Z else f"by_{which.value}")
        elif which in first and which not in mine:
            words.append("projection" if which is Component.Z else f"without_{which.value}")
    return "_".join(words)


def printable(text: str) -> str:
    """A name fit for a list: one line, 120 characters."""
    clean = "".join(letter if letter.isprintable() else " " for letter in text)
    return clean.strip()[:120]
