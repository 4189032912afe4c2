"""What ImageJ is started with. Imports no Java."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from openhcs_viewers.fiji._routes import Wanted
from openhcs_viewers.fiji_engine_config import PINNED_IJ

__all__ = ["EngineSettings"]

MB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What to start.

    Parameters
    ----------
    fiji_dir
        Folder of the user's Fiji; empty for none.
    endpoint
        Maven coordinates or a version for `imagej.init`; empty for none.
    ij
        Coordinates of the ImageJ 1 of Maven Central.
    jar
        An ``ij.jar`` in its place; empty for none.
    headless
        No window at all.
    heap
        Bytes of planes the heap has room for, beside ImageJ's own work; None for half of this machine's memory.
    least
        Bytes of heap at least, for plugins that need more.
    """

    fiji_dir: str = ""
    endpoint: str = ""
    ij: str = PINNED_IJ
    jar: str = ""
    headless: bool = False
    heap: int | None = None
    least: int = 0

    @classmethod
    def of(
        cls, options: Mapping[str, str], *, headless: bool = False, heap: int | None = None
    ) -> EngineSettings:
        """Return what holds: options of the launch over the environment over configuration files.

        Parameters
        ----------
        options
            ``fiji_dir``, ``endpoint``, ``ij``, ``jar`` and ``heap`` (megabytes), as far as they are given.
        headless
            No window at all.
        heap
            Bytes of planes the viewer keeps.

        Raises
        ------
        polystore.errors.SettingsError
            An option or a setting that cannot be understood.
        """
        from openhcs_viewers.config import FijiEngineConfig
        from polystore.config import SettingsError
        from polystore.config_sources import effective

        names = {"fiji_dir", "endpoint", "ij", "jar", "heap"}
        if unknown := options.keys() - names:
            raise SettingsError(f"fiji has no option {min(unknown)!r} (known: {', '.join(sorted(names))})")
        call: dict[str, Any] = {f"fiji_{name.removeprefix('fiji_')}": text for name, text in options.items()}
        if "fiji_heap" in call:
            try:
                call["fiji_heap"] = int(call["fiji_heap"])
            except ValueError:
                raise SettingsError(f"heap={call['fiji_heap']!r} is no number of megabytes") from None
        config = effective(FijiEngineConfig, call=call).value
        return cls(
            config.fiji_dir,
            config.fiji_endpoint,
            config.fiji_ij,
            config.fiji_jar,
            headless=headless,
            heap=heap,
            least=config.fiji_heap * MB,
        )

    def wanted(self) -> Wanted:
        """Return what of it decides the route."""
        return Wanted(self.fiji_dir, self.endpoint, self.ij, self.jar)
