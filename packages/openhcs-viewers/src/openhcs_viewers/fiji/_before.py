"""What the process that launches a fiji viewer says before it starts it. Imports no Java."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from openhcs_viewers.errors import ImageJError
from openhcs_viewers.fiji import _maven
from openhcs_viewers.fiji._settings import EngineSettings
from polystore.errors import SettingsError

__all__ = ["announce"]

logger = logging.getLogger(__name__)


def announce(options: Mapping[str, str]) -> None:
    """Say that an ImageJ will be fetched, if so: the viewer itself says it to its log, which nobody sees."""
    try:
        wanted = EngineSettings.of(options).wanted()
        if wanted.fiji_dir or wanted.endpoint or wanted.jar or _maven.cached_jars(wanted.ij):
            return
    except (SettingsError, ImageJError):
        return  # the viewer does not start for the same reason, and its start error has it
    logger.warning(
        "the fiji viewer fetches %s from Maven Central into %s, once", wanted.ij, _maven.repository()
    )
