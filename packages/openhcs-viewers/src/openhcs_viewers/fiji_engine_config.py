"""Which ImageJ the fiji viewer starts: what a configuration file or the environment says. Imports no Java."""

from __future__ import annotations

from dataclasses import dataclass

from polystore.config_sources import section
from polystore.errors import SettingsError

__all__ = ["PINNED_IJ", "FijiEngineConfig"]

PINNED_IJ = "net.imagej:ij:1.54p"
"""The ImageJ that is fetched where nobody named another: the newest on Maven Central, and what the tests run."""


@section("fiji", "OPENHCS_FIJI")
@dataclass(frozen=True)
class FijiEngineConfig:
    """Which ImageJ to start. The first of these that is set counts, then what is found; see `fiji._routes`.

    Parameters
    ----------
    fiji_dir : str
        Folder of a Fiji or ImageJ2: it has ``jars`` and ``plugins`` (``OPENHCS_FIJI_DIR``).
    fiji_endpoint : str
        Maven coordinates or a version, as `imagej.init` takes them: ``"sc.fiji:fiji"``, ``"2.16.0"``. They are
        resolved in the SciJava repository (``OPENHCS_FIJI_ENDPOINT``).
    fiji_ij : str
        Maven coordinates of an ImageJ 1, resolved in Maven Central (``OPENHCS_FIJI_IJ``).
    fiji_jar : str
        An ``ij.jar`` to use in place of the one of Maven Central (``OPENHCS_FIJI_JAR``).
    fiji_heap : int
        Megabytes of Java's heap at least, for plugins that need more than the viewer's budget brings
        (``OPENHCS_FIJI_HEAP``).

    Raises
    ------
    SettingsError
        The heap is negative.
    """

    fiji_dir: str = ""
    fiji_endpoint: str = ""
    fiji_ij: str = PINNED_IJ
    fiji_jar: str = ""
    fiji_heap: int = 0

    def __post_init__(self) -> None:
        if self.fiji_heap < 0:
            raise SettingsError(f"fiji_heap={self.fiji_heap}: a number of megabytes, 0 or more")
