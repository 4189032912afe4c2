"""Where an ImageJ that is a jar alone finds the user's plugins, macros and lookup tables. Starts no Java."""

from __future__ import annotations

import logging
import os
from pathlib import Path

__all__ = ["imagej_home", "make_imagej_home"]

logger = logging.getLogger(__name__)

FOLDERS = ("plugins", "macros", "luts")
"""What ImageJ looks for in its folder."""


def imagej_home() -> Path:
    """Return ImageJ's own folder: ``openhcs/imagej`` in the user's XDG data folder."""
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data).absolute() / "openhcs" / "imagej"


def make_imagej_home() -> Path:
    """Return `imagej_home`, made with its folders where they are not there, so that people see where things go."""
    home = imagej_home()
    try:
        for name in FOLDERS:
            (home / name).mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        logger.warning(
            "ImageJ starts without plugins and macros of yours: %s cannot be made (%s)", home, error
        )
    return home
