"""What can be set: where results are kept (`VFSConfig`), limits and defaults of this process (`Settings`)."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

from polystore.constants import Backend
from polystore.errors import PolystoreError

__all__ = ["Settings", "SettingsError", "VFSConfig", "parse_size"]


class SettingsError(PolystoreError, ValueError):
    """An environment variable or a configured value that cannot be understood."""


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


@dataclass(frozen=True, slots=True)
class Settings:
    """Limits and defaults of a process. Each is read from ``POLYSTORE_<NAME>``:
    ``POLYSTORE_ARENA_BYTES=16MiB``.

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

    max_image_bytes: int = 1 << 30
    arena_bytes: int = 64 << 20
    queue_bytes: int = 256 << 20
    run: str = ""
    durable: bool = False

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """The settings of an environment (by default this process's); what it is silent about keeps its
        default.

        Raises
        ------
        SettingsError
            A value that cannot be understood; the text names the variable.
        """
        environ = os.environ if environ is None else environ
        values: dict[str, int | str | bool] = {}
        for field in fields(cls):
            name = f"POLYSTORE_{field.name.upper()}"
            text = environ.get(name, "")
            if not text:
                continue
            try:
                values[field.name] = _PARSERS[str(field.type)](text)
            except SettingsError as exc:
                raise SettingsError(f"{name}: {exc}") from None
        return cls(**values)  # type: ignore[arg-type]  # each was parsed by the type of its own field


def _parse_bool(text: str) -> bool:
    try:
        return {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}[text.lower()]
    except KeyError:
        raise SettingsError(f"{text!r} is neither 1 nor 0") from None


_PARSERS: dict[str, Callable[[str], int | str | bool]] = {"int": parse_size, "str": str, "bool": _parse_bool}
