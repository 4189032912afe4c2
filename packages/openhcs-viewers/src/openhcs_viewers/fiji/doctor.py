"""What the fiji viewer needs: its packages, a Java, an ImageJ, a display. Starts no Java of its own in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from openhcs_viewers._findings import FAIL, OK, WARN, Finding, distributions
from openhcs_viewers.errors import ImageJError, JavaError
from openhcs_viewers.fiji import _maven
from openhcs_viewers.fiji._java_home import find_java
from openhcs_viewers.fiji._routes import explain
from openhcs_viewers.fiji._settings import EngineSettings
from polystore.errors import SettingsError

__all__ = ["FIJI_PACKAGES", "check", "fetch_what_opening_would", "install", "look"]

FIJI_PACKAGES = ("pyimagej", "scyjava", "jgo", "jpype1", "roifile")
"""Distributions of the extra: the stack that starts ImageJ, from the top, and what reads its regions."""


def look(topic: str, options: Mapping[str, str]) -> Iterator[Finding]:
    """Yield what there is to say: packages, Java, each route to an ImageJ and which of them is taken."""
    yield from distributions(topic, FIJI_PACKAGES, "pip install 'openhcs-viewers[fiji]'")
    yield _java(topic)
    try:
        wanted = EngineSettings.of(options).wanted()
    except SettingsError as error:
        yield Finding(topic, "settings", FAIL, str(error), "openhcs-viewers config")
        return
    taken = False
    for name, is_taken, text in explain(wanted):
        taken = taken or is_taken
        # What is not taken is no fault by itself: one way is enough. A wrong setting is.
        yield Finding(
            topic, f"ImageJ: {name}", FAIL if name == "settings" else OK if is_taken else WARN, text
        )
        if name == "settings":
            return
    if not taken:
        text = "none of these can be taken without a network"
        yield Finding(topic, "ImageJ", FAIL, text, "openhcs-viewers doctor fiji --install")


def install(options: Mapping[str, str], say: Callable[[str], object]) -> tuple[Path, ...]:
    """Fetch the ImageJ 1 of Maven Central that is configured, unless it is there; return its jars.

    Raises
    ------
    ImageJError
        It cannot be had.
    """
    coordinates = EngineSettings.of(options).ij
    found = _maven.cached_jars(coordinates)
    if found:
        say(f"{coordinates} is there: {', '.join(map(str, found))}")
        return found
    return _maven.fetch(coordinates, say)


def fetch_what_opening_would(options: Mapping[str, str], say: Callable[[str], object]) -> None:
    """Fetch the ImageJ 1 that opening a viewer would fetch, if it would; what goes wrong is said, and no more."""
    try:
        ways = list(explain(EngineSettings.of(options).wanted()))
        if not any(is_taken or name == "settings" for name, is_taken, _ in ways):
            install(options, say)
    except (ImageJError, SettingsError) as error:
        say(str(error))


def check(options: Mapping[str, str]) -> None:
    """Raise what a viewer would after some seconds: there is no Java, or no Fiji where a setting says.

    Raises
    ------
    JavaError, ImageJError, polystore.errors.SettingsError
        See `openhcs_viewers.fiji.engine.start_engine`.
    """
    find_java(windows=True)
    for name, _, text in explain(EngineSettings.of(options).wanted()):
        if name == "settings":
            raise ImageJError(text)


def _java(topic: str) -> Finding:
    try:
        java = find_java()
    except JavaError as error:
        return Finding(topic, "Java", FAIL, str(error))
    try:
        find_java(windows=True)
    except JavaError as error:
        return Finding(topic, "Java", WARN, str(error))
    return Finding(topic, "Java", OK, f"{java.version} in {java.home}")
