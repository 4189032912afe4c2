"""Enums of the names a program knows, made without importing that program."""

from __future__ import annotations

import json
import logging
import re
import sys
from enum import StrEnum
from functools import lru_cache
from typing import Any

from polystore.registry_cache import CacheConfig, RegistryCacheManager, days, version_of

__all__ = ["FijiLUT", "NapariColormap", "create_colormap_enum"]

logger = logging.getLogger(__name__)

CACHE_DAYS = 30.0
"""How long the names that napari gave are believed unless ``POLYSTORE_COLORMAP_CACHE_DAYS`` says otherwise."""

ASK_SECONDS = 120.0
"""Longest that napari may take to name its colormaps; 1.5 s is usual, and a loaded file server is slow."""

_ASK = """
import json, sys
from napari.utils.colormaps import AVAILABLE_COLORMAPS
print(json.dumps(list(AVAILABLE_COLORMAPS)))
"""


class NapariColormap(StrEnum):
    """The colormaps of napari 0.9, spelled as in ``napari.utils.colormaps.AVAILABLE_COLORMAPS``.

    A table, because asking napari takes 1.5 s and imports some 600 modules, and a pipeline never imports
    napari. A test compares it with the napari that is installed; `create_colormap_enum` has the names of any
    other. A viewer that does not know a name shows gray and says so.
    """

    BLUE = "blue"
    BOP_BLUE = "bop blue"
    BOP_ORANGE = "bop orange"
    BOP_PURPLE = "bop purple"
    CYAN = "cyan"
    FIRE = "fire"
    GIST_EARTH = "gist_earth"
    GRAY = "gray"
    GRAY_R = "gray_r"
    GREEN = "green"
    HILO = "HiLo"
    HSV = "hsv"
    I_BLUE = "I Blue"
    I_BORDEAUX = "I Bordeaux"
    I_FOREST = "I Forest"
    I_ORANGE = "I Orange"
    I_PURPLE = "I Purple"
    ICE = "ice"
    INFERNO = "inferno"
    MAGENTA = "magenta"
    MAGMA = "magma"
    NAN = "nan"
    PIYG = "PiYG"
    PLASMA = "plasma"
    RED = "red"
    TURBO = "turbo"
    TWILIGHT = "twilight"
    TWILIGHT_SHIFTED = "twilight_shifted"
    VIRIDIS = "viridis"
    YELLOW = "yellow"


class FijiLUT(StrEnum):
    """The lookup tables of ImageJ 1.54p, as its menu Image > Lookup Tables calls them, and those for labels.

    A table, because a pipeline starts no Java; a test compares it with the real ImageJ. Any other name a Fiji
    directory has can be given as text. A viewer that does not know a name shows gray and says so.
    """

    FIRE = "Fire"
    GRAYS = "Grays"
    ICE = "Ice"
    SPECTRUM = "Spectrum"
    RGB_332 = "3-3-2 RGB"
    RED = "Red"
    GREEN = "Green"
    BLUE = "Blue"
    CYAN = "Cyan"
    MAGENTA = "Magenta"
    YELLOW = "Yellow"
    RED_GREEN = "Red/Green"
    GLASBEY = "glasbey"
    """Neighbouring numbers in colours far apart, black for 0: what labels are shown in. Ours, so always there."""
    GLASBEY_INVERTED = "glasbey_inverted"
    """Of a Fiji directory, as the next."""
    GLASBEY_ON_DARK = "glasbey_on_dark"


def create_colormap_enum(*, enable_cache: bool = True, lazy: bool = False) -> type[StrEnum]:
    """The enum of the installed napari's colormaps, `NapariColormap` when it has just these; GRAY is always there.

    A process of its own asks napari once; then the names come from the cache, until napari is another or 30
    days are over. Without napari, or when it cannot be asked, the table of `NapariColormap` holds. This
    process never imports napari.

    Parameters
    ----------
    enable_cache : bool
        False: ask napari again, and keep nothing.
    lazy : bool
        True: neither ask nor look for a cache now; the table holds.
    """
    if lazy:
        return NapariColormap
    version = version_of("napari")
    if not version:
        return NapariColormap
    if not enable_cache:
        return _enum_of(_ask_napari() or ())
    return _enum_of(_kept_or_asked(version))


def _kept_or_asked(version: str) -> tuple[str, ...]:
    cache = RegistryCacheManager(
        "colormap_enum",
        lambda: version,
        config=CacheConfig(max_age_days=days("POLYSTORE_COLORMAP_CACHE_DAYS", CACHE_DAYS)),
    )
    kept = cache.load_cache()
    if kept is not None and isinstance(kept.get("colormaps"), list):
        return tuple(map(str, kept["colormaps"]))
    names = _ask_napari()
    if names:
        cache.save_cache({"colormaps": names})
    return names


def _ask_napari() -> tuple[str, ...]:
    """The names of napari's colormaps, asked in another process; none when it does not answer."""
    import subprocess  # here: with a cache nothing is started

    command = [sys.executable, "-c", _ASK]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ASK_SECONDS, check=True)
        return tuple(map(str, json.loads(done.stdout.splitlines()[-1])))
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as exc:
        told = str(getattr(exc, "stderr", "") or exc).strip()
        reason = told.splitlines()[-1] if told else "no answer"
        logger.warning("napari cannot name its colormaps (%s); those of napari 0.9 are used", reason)
        return ()


@lru_cache(maxsize=8)
def _enum_of(names: tuple[str, ...]) -> type[StrEnum]:
    """The enum of these names, spelled as in Python; `NapariColormap` for its own, and for none."""
    if not names or set(names) == {member.value for member in NapariColormap}:
        return NapariColormap
    members = {"GRAY": "gray"}
    for name in names:
        key = re.sub(r"\W+", "_", name).strip("_").upper()
        members.setdefault(key if key[:1].isalpha() else f"C_{key}", name)
    base: Any = _OtherColormap  # called with members, an enum without any makes another enum
    made: type[StrEnum] = base("NapariColormap", members)
    return made


class _OtherColormap(StrEnum):
    """Of a napari whose colormaps are not those of the table."""

    def __reduce_ex__(self, protocol: object) -> tuple[type[str], tuple[str]]:
        return str, (self.value,)  # another process may have another napari: the name travels
