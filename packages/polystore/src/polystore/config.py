"""What can be set: where results are kept (`VFSConfig`), limits and defaults of this process (`Settings`)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from polystore.config_sources import effective, section
from polystore.constants import Backend
from polystore.errors import SettingsError
from polystore.inheritance import lazy

__all__ = [
    "LazySettings",
    "LazyVFSConfig",
    "Settings",
    "SettingsError",
    "VFSConfig",
    "format_size",
    "parse_size",
]


@section("vfs", "POLYSTORE_VFS")
@dataclass(frozen=True, slots=True)
class VFSConfig:
    """Where a pipeline keeps its images.

    Parameters
    ----------
    materialization_backend
        The store results are written to for good.
    """

    materialization_backend: Backend = Backend.DISK

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "materialization_backend", Backend(self.materialization_backend))
        except ValueError:
            known = ", ".join(Backend)
            raise SettingsError(
                f"materialization_backend={self.materialization_backend!r} is unknown (known: {known})"
            ) from None


LazyVFSConfig = lazy(VFSConfig)
"""`VFSConfig` whose unset fields inherit."""


_SIZE = re.compile(r"([0-9]+)\s*([kmgt]?)(i?)b?", re.IGNORECASE | re.ASCII)


def parse_size(text: str) -> int:
    """A number of bytes from ``'65536'``, ``'64 MiB'``, ``'64M'`` (1024) or ``'64MB'`` (1000).

    Raises
    ------
    SettingsError
        Any other text.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise SettingsError(f"{text!r} is no size; write a number of bytes such as 67108864 or 64MiB")
    decimal = text.strip().lower().endswith("b") and not match[3]
    factor: int = (1000 if decimal else 1024) ** " kmgt".index(match[2].lower() or " ")
    return int(match[1]) * factor


def format_size(size: int) -> str:
    """A number of bytes as `parse_size` reads it: ``'64MiB'``, ``'1000'``."""
    for power, unit in ((4, "TiB"), (3, "GiB"), (2, "MiB"), (1, "KiB")):
        if size and size % 1024**power == 0:
            return f"{size // 1024**power}{unit}"
    return str(size)


_SIZE_FIELD = {"parse": parse_size, "show": format_size}


@section("polystore", "POLYSTORE")
@dataclass(frozen=True, slots=True)
class Settings:
    """Limits and defaults of a process. Each is read from ``POLYSTORE_<NAME>``
    (``POLYSTORE_ARENA_BYTES=16MiB``) or the table ``[polystore]`` of a configuration file.

    Parameters
    ----------
    max_image_bytes
        Largest single image that is sent or accepted, 1 GiB: a 23,000 x 23,000 uint16 plane.
    arena_bytes
        Shared memory per sender and viewer, 64 MiB: what a container has by default.
    queue_bytes
        Memory in which images wait while a viewer starts, 256 MiB.
    run
        What all workers of one pipeline run share, so that they share layers; empty: each process by
        itself.
    durable
        Whether a file on disk is flushed to the medium before its name changes: it then survives a power
        failure and not only a crash of the program, at the cost of waiting for the medium.
    """

    max_image_bytes: int = field(default=1 << 30, metadata=_SIZE_FIELD)
    arena_bytes: int = field(default=64 << 20, metadata=_SIZE_FIELD)
    queue_bytes: int = field(default=256 << 20, metadata=_SIZE_FIELD)
    run: str = ""
    durable: bool = False

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """The settings of an environment (by default this process's) and of the files it leads to; what they
        are silent about keeps its default.

        Raises
        ------
        SettingsError
            A value that cannot be understood; the text names the variable or the file.
        """
        return effective(cls, environ=environ).value


LazySettings = lazy(Settings)
"""`Settings` whose unset fields inherit."""
