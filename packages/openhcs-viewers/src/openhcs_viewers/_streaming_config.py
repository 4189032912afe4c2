"""What every streaming configuration says: whether to stream, and where its viewer listens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from polystore.config import SettingsError

if TYPE_CHECKING:
    from zmqruntime.config import Endpoint

__all__ = ["StreamingConfig", "check_place", "place"]

HIGHEST_PORT = 64535
"""The control port is 1000 higher, and the last port is 65535."""


@dataclass(frozen=True)
class StreamingConfig:
    """Whether to stream.

    Parameters
    ----------
    enabled : bool
        False switches streaming off and keeps the other settings.
    persistent : bool
        True: the viewer outlives the pipeline. False: it ends with the process that launched it.
    """

    enabled: bool = True
    persistent: bool = True

    def __post_init__(self) -> None:
        for name in ("enabled", "persistent"):
            if not isinstance(getattr(self, name), bool):
                raise SettingsError(f"{name}={getattr(self, name)!r}: True or False")


def check_place(config: Any, kind: str) -> None:
    """Refuse a port or host of a configuration (``napari_port``, ``napari_host``) that is none.

    Raises
    ------
    SettingsError
        The text names the field, and what it takes.
    """
    port, host = getattr(config, f"{kind}_port"), getattr(config, f"{kind}_host")
    if type(port) is not int or not 1 <= port <= HIGHEST_PORT:
        raise SettingsError(f"{kind}_port={port!r} is not a port: give 1 to {HIGHEST_PORT}")
    if not isinstance(host, str) or not host:
        raise SettingsError(f"{kind}_host={host!r} is not a host: give its name or address")


def place(config: Any, kind: str) -> Endpoint:
    """Return where the viewer of a configuration listens."""
    from zmqruntime.config import Endpoint

    return Endpoint(host=getattr(config, f"{kind}_host"), data_port=getattr(config, f"{kind}_port"))
