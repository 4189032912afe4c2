"""What viewers need outside Python, as listed in ``system_packages.json``, and whether it is there."""

from __future__ import annotations

import ctypes
import glob
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

LIST = "system_packages.json"
"""The one list; noxfile and CI read the same file."""


@dataclass(frozen=True, slots=True)
class Need:
    """One need and its Debian packages.

    Attributes
    ----------
    name, title : str
        Short name, and what it is for people.
    viewers : tuple of str
        Kinds of viewer that have this need.
    packages : tuple of (str, dict)
        Debian package, and the proof that what it holds is there.
    display : bool
        Whether it is about a display: these viewers open a window.
    """

    name: str
    title: str
    viewers: tuple[str, ...]
    packages: tuple[tuple[str, dict[str, Any]], ...]
    display: bool = False

    def missing(self) -> tuple[str, ...]:
        """Return the Debian packages whose proof fails here, in the order of the list."""
        return tuple(package for package, proof in self.packages if not _holds(proof))


@lru_cache(maxsize=1)
def _listed() -> dict[str, Any]:
    text = resources.files("openhcs_viewers").joinpath(LIST).read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def needs(viewer: str | None = None) -> tuple[Need, ...]:
    """Return the needs that count on this platform, of all viewers or of one kind."""
    found = []
    for name, entry in _listed()["needs"].items():
        viewers = tuple(entry["viewers"])
        if sys.platform in entry.get("platforms", [sys.platform]) and (viewer is None or viewer in viewers):
            packages = tuple((package["debian"], dict(package["proof"])) for package in entry["packages"])
            found.append(Need(name, entry["title"], viewers, packages, bool(entry.get("display", False))))
    return tuple(found)


def needs_display(viewer: str) -> bool:
    """Return whether viewers of this kind open a window, as far as the list knows."""
    return any(need.display for need in needs(viewer))


def install_command(packages: tuple[str, ...]) -> str:
    """Return the one command that installs these Debian packages, to be run as root."""
    text: str = _listed()["remedy"]
    return text.format(packages=" ".join(packages))


def _holds(proof: dict[str, Any]) -> bool:
    return all(_CHECKS[kind](wanted) for kind, wanted in proof.items())


def _library(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def _java(oldest: int) -> bool:
    from openhcs_viewers.errors import JavaError
    from openhcs_viewers.fiji._java_home import find_java

    try:
        return find_java(windows=True).major >= oldest
    except JavaError:
        return False


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "command": lambda name: shutil.which(name) is not None,
    "library": _library,
    "java": _java,
    "file": lambda patterns: any(glob.glob(pattern) for pattern in patterns),
}
