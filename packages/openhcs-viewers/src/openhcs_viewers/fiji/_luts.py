"""Lookup tables of ImageJ: its own by name, our words for colours, and one for labels."""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import Any

import jpype
import numpy as np

from openhcs_viewers.fiji._java import java

__all__ = ["glasbey", "lut", "lut_name"]

logger = logging.getLogger(__name__)

_WORDS = {"gray": "grays", "grey": "grays", "greys": "grays", "red/green": "redgreen", "bop blue": "blue"}
"""Other names of ImageJ's own tables, in lower case."""

BUILT_IN = (
    "grays",
    "fire",
    "ice",
    "spectrum",
    "3-3-2 rgb",
    "red",
    "green",
    "blue",
    "cyan",
    "magenta",
    "yellow",
    "redgreen",
)
"""Those every ImageJ has, without any file."""

LABELS = "glasbey"
"""Ours: black for 0, then colours that are told apart."""

_warned: set[str] = set()


def lut_name(name: str) -> str:
    """Return the name under which ImageJ has that table, or ``"grays"`` with one warning per unknown name.

    Any case will do. Names ImageJ itself does not know are looked for in its ``luts`` folder, which a Fiji has;
    ``viridis`` is ``mpl-viridis`` there.
    """
    wanted = _WORDS.get(name.strip().lower(), name.strip().lower())
    if wanted in BUILT_IN or wanted == LABELS:
        return wanted
    for candidate in (name.strip(), f"mpl-{wanted}"):
        if _from_folder(candidate) is not None:
            return candidate
    if wanted not in _warned:
        _warned.add(wanted)
        logger.warning("unknown lookup table %r, grays is used (known: %s)", name, ", ".join(BUILT_IN))
    return "grays"


def lut(name: str, limits: tuple[float, float]) -> Any:
    """Return a new ``ij.process.LUT`` of that name (see `lut_name`) over a display range."""
    known = lut_name(name)
    if known == LABELS:
        colours = glasbey()
        found = java("ij.process.LUT")(*(_bytes(colours[:, part]) for part in range(3)))
    else:
        found = java("ij.process.LUT")(_from_folder(known), *limits)
    found.min, found.max = limits
    return found


@lru_cache(maxsize=64)
def _from_folder(name: str) -> Any:
    # Whatever it does not know itself it looks for in its folder.
    return java("ij.plugin.LutLoader").getLut(name)


def _bytes(values: np.ndarray[Any, Any]) -> Any:
    return jpype.JArray(jpype.JByte)(np.ascontiguousarray(values).view(np.int8))


# -- colours for labels

_LEVELS = 14
"""Steps of red, green and blue that candidates are made of: 2,744 colours, tried in some 15 ms."""

_DARKEST = 35.0
"""Least lightness of a label: darker ones are not told from the black around."""


@lru_cache(maxsize=1)
def glasbey() -> np.ndarray[Any, Any]:
    """256 colours (256, 3) uint8: black, then each as far as can be from all before, as an eye sees it.

    The idea is Glasbey's (2007): greedily, by distance in CIE L*a*b*. Always the same.
    """
    steps = np.linspace(0, 255, _LEVELS).round().astype(np.uint8)
    candidates = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    lab = _lab(candidates)
    bright = lab[:, 0] >= _DARKEST
    candidates, lab = candidates[bright], lab[bright]
    colours = np.zeros((256, 3), np.uint8)
    nearest = np.linalg.norm(lab - _lab(colours[:1]), axis=1)
    for at in range(1, 256):
        best = int(nearest.argmax())
        colours[at] = candidates[best]
        np.minimum(nearest, np.linalg.norm(lab - lab[best], axis=1), out=nearest)
    colours.setflags(write=False)
    return colours


def _lab(rgb: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """CIE L*a*b* of sRGB colours, white D65."""
    part = rgb / 255.0
    linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    ) / np.array([[0.9505], [1.0], [1.089]])
    xyz = linear @ to_xyz.T
    root = np.where(xyz > 216 / 24389, np.cbrt(xyz), (xyz * 24389 / 27 + 16) / 116)
    x, y, z = root.T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)
