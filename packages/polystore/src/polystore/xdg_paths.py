"""Where the user's files of this project lie, by the XDG base directory specification."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from polystore._discovery import cache_dir

__all__ = ["get_openhcs_cache_dir"]


def get_openhcs_cache_dir() -> Path:
    """The folder of all caches, made when it is not there and can be made; only this user may look into it.

    ``$XDG_CACHE_HOME/openhcs``, by default ``~/.cache/openhcs`` (macOS ``~/Library/Caches``, Windows
    ``%LOCALAPPDATA%``). Everything in it is made again when it is gone: remove it at any time.
    """
    folder = cache_dir()
    if not folder:  # a user without a home: nothing is kept, so this is never read
        import tempfile

        return Path(tempfile.gettempdir(), "openhcs-no-cache")
    path = Path(folder)
    with suppress(OSError):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path
