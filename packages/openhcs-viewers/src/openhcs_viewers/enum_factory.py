"""Enums of the names a program knows, made without importing that program."""

from __future__ import annotations

from enum import StrEnum


class NapariColormap(StrEnum):
    """The colormaps of napari 0.9, spelled as in ``napari.utils.colormaps.AVAILABLE_COLORMAPS``.

    A table, because asking napari takes 1.5 s and imports some 600 modules, and a pipeline never imports
    napari. A test compares it with the napari that is installed. A viewer that does not know a name shows
    gray and says so.
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


def create_colormap_enum(*, enable_cache: bool = True, lazy: bool = False) -> type[NapariColormap]:
    """Return the enum of napari's colormaps; ``GRAY`` is always a member.

    Parameters
    ----------
    enable_cache, lazy : bool
        Accepted because scripts pass them. The names stand in a table: there is nothing to cache or to put
        off, and every call returns the same class.
    """
    del enable_cache, lazy
    return NapariColormap
