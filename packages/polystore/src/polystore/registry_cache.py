"""Results that take long to find out, kept in a file until something says that they may have changed.

For enums and registries made of something slow; the entry points of plugins have a faster cache of their own
(`polystore._discovery`). A cache is never needed: where the folder cannot be written, or the file is
damaged, the result is found out again.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polystore._discovery import cache_dir, cache_disabled, days, version_of
from polystore.xdg_paths import get_openhcs_cache_dir

__all__ = ["CacheConfig", "RegistryCacheManager", "days", "version_of"]

logger = logging.getLogger(__name__)

MAX_SIZE = 16 << 20
"""A larger file is not one of ours."""


@dataclass(frozen=True, slots=True)
class CacheConfig:
    """When a cache is believed.

    Parameters
    ----------
    max_age_days
        Not when it is older.
    check_mtimes
        Not when a file it was made from has changed since.
    cache_version
        Not when it was written in another format.
    """

    max_age_days: float = 7.0
    check_mtimes: bool = True
    cache_version: str = "1.0"


def _same(value: Any) -> Any:
    return value


def _own_version() -> str:
    return version_of("polystore")


class RegistryCacheManager:
    """One cache: a mapping of names to values in the file ``<name>.json`` of the cache folder.

    It is invalid when it was written by another Python or for another version, is too old, was made from
    files that have changed, or cannot be read; then `load_cache` says None. Safe with any number of threads
    and processes.

    Parameters
    ----------
    cache_name
        ``"colormap_enum"``.
    version_getter
        The version the values depend on; by default that of polystore.
    serializer, deserializer
        From a value to what JSON can hold and back; by default values are such already.
    config
        When it is believed.
    """

    def __init__(
        self,
        cache_name: str,
        version_getter: Callable[[], str] = _own_version,
        serializer: Callable[[Any], Any] = _same,
        deserializer: Callable[[Any], Any] = _same,
        config: CacheConfig | None = None,
    ) -> None:
        if not cache_name or os.sep in cache_name or cache_name.startswith("."):
            raise ValueError(f"{cache_name!r} cannot name a cache; give a word such as 'colormap_enum'")
        self.cache_name = cache_name
        self.config = config or CacheConfig()
        self._version = version_getter
        self._serialize = serializer
        self._deserialize = deserializer

    @property
    def cache_path(self) -> Path:
        """The file, which need not be there."""
        return get_openhcs_cache_dir() / f"{self.cache_name}.json"

    def load_cache(self) -> dict[str, Any] | None:
        """The values, or None when there are none to believe."""
        if cache_disabled():
            return None
        content, reason = self._read()
        if reason:
            logger.debug("cache %s: %s", self.cache_path, reason)
            return None
        try:
            return {name: self._deserialize(value) for name, value in content["items"].items()}
        except Exception:  # the caller's own function, given what an older program wrote
            logger.debug("cache %s cannot be read", self.cache_path, exc_info=True)
            return None

    def why_invalid(self) -> str:
        """Why `load_cache` would say None, or nothing when it would not."""
        if cache_disabled():
            return "switched off by OPENHCS_DISABLE_REGISTRY_CACHE"
        return self._read()[1]

    def save_cache(self, items: Mapping[str, Any], file_mtimes: Mapping[Any, float] | None = None) -> bool:
        """Keep these values; whether they could be kept.

        Parameters
        ----------
        items
            The values by name.
        file_mtimes
            Paths of the files they were made from, with the times they had when they were read.
        """
        if cache_disabled() or not cache_dir():
            return False
        content = {
            "cache_version": self.config.cache_version,
            "version": self._version(),
            "python": _python(),
            "timestamp": time.time(),
            "file_mtimes": {os.fspath(path): mtime for path, mtime in (file_mtimes or {}).items()},
            "items": {name: self._serialize(value) for name, value in items.items()},
        }
        data = json.dumps(content, indent=1).encode()
        from polystore._atomic import atomic_write  # takes longer to import than a cache to read

        try:
            with atomic_write(str(self.cache_path)) as stream:
                if os.name == "posix":
                    os.fchmod(stream.fileno(), 0o600)
                stream.write(data)
        except OSError as exc:
            logger.debug("cache %s is not written: %s", self.cache_path, exc)
            return False
        return True

    def clear_cache(self) -> None:
        """Forget the values."""
        self.cache_path.unlink(missing_ok=True)

    def _read(self) -> tuple[dict[str, Any], str]:
        """What the file holds, and why it is not to be believed."""
        if not cache_dir():
            return {}, "this user has no cache folder"
        try:
            if self.cache_path.stat().st_size > MAX_SIZE:
                return {}, "not one of ours"
            content = json.loads(self.cache_path.read_bytes())
        except FileNotFoundError:
            return {}, "not there"
        except (OSError, ValueError, RecursionError):
            return {}, "damaged"
        try:
            return content, self._outdated(content)
        except (KeyError, TypeError, AttributeError, ValueError):
            return {}, "damaged"

    def _outdated(self, content: dict[str, Any]) -> str:
        if content["cache_version"] != self.config.cache_version or not isinstance(content["items"], dict):
            return "in another format"
        if content["python"] != _python():
            return "of another Python"
        if content["version"] != self._version():
            return f"of version {content['version']}"
        if not 0 <= time.time() - content["timestamp"] <= self.config.max_age_days * 86400:
            return "too old"
        if self.config.check_mtimes:
            for path, mtime in content["file_mtimes"].items():
                try:
                    if os.stat(path).st_mtime != mtime:
                        return f"{path} has changed"
                except OSError:
                    return f"{path} has gone"
        return ""


def _python() -> str:
    return f"{sys.version} {sys.prefix}"
