"""Which ImageJ is started, decided before Java is: four routes, tried in a fixed order. Starts no Java.

==============  ==========================================================================================
fiji-dir        the user's Fiji folder, when one is named
endpoint        Maven coordinates for `imagej.init`, when they are named
maven           ``net.imagej:ij`` of a pinned version from Maven Central, or an ``ij.jar`` that is named
system          the ``ij.jar`` of a Debian package
==============  ==========================================================================================

The first two give the whole ImageJ2 with its gateway, the others ImageJ 1 alone. It cannot be decided later: no
gateway can be made once a class of ``ij`` was touched. What is named and is not there is an error, never the next
route: the user would work in another program than the one they asked for.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from openhcs_viewers.errors import ImageJError
from openhcs_viewers.fiji import _maven
from openhcs_viewers.fiji_engine_config import PINNED_IJ
from openhcs_viewers.system import install_command

__all__ = ["GATEWAY_ROUTES", "ROUTES", "SYSTEM_JARS", "Route", "Wanted", "choose", "explain"]

logger = logging.getLogger(__name__)

ROUTES = ("fiji-dir", "endpoint", "maven", "system")
"""In the order in which they are tried."""

GATEWAY_ROUTES = frozenset({"fiji-dir", "endpoint"})
"""Those that pyimagej starts, with ImageJ2's gateway."""

SYSTEM_JARS = (
    Path("/usr/share/java/ij.jar"),
    Path("/usr/share/imagej/jars/ij.jar"),
    Path("/usr/share/imagej/ij.jar"),
)
"""Where Linux distributions put ImageJ 1; the first is Debian's ``libij-java``."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the user named; an empty text is nothing."""

    fiji_dir: str = ""
    endpoint: str = ""
    ij: str = PINNED_IJ
    jar: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """The way that is taken.

    Parameters
    ----------
    name
        One of `ROUTES`.
    source
        What `imagej.init` is told on the first two, else what the jar is called.
    jars
        Class path of the others.
    skipped
        The routes before it, and why each was not taken.
    """

    name: str
    source: str
    jars: tuple[Path, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()

    @property
    def gateway(self) -> bool:
        """Whether pyimagej starts it, with ImageJ2's gateway."""
        return self.name in GATEWAY_ROUTES


def choose(wanted: Wanted, *, say: Callable[[str], object] = logger.warning, fetch: bool = True) -> Route:
    """Return the route to take.

    Parameters
    ----------
    wanted
        What was named.
    say
        Gets a line before a jar is fetched.
    fetch
        Whether a jar may be fetched; without, the cache alone counts.

    Raises
    ------
    ImageJError
        What was named is not there, or there is no ImageJ at all; the text says why for each route.
    """
    skipped: list[tuple[str, str]] = []
    for name, route in zip(ROUTES, _ways(wanted, say, fetch), strict=True):
        if isinstance(route, Route):
            return Route(route.name, route.source, route.jars, tuple(skipped))
        skipped.append((name, route))
    reasons = "; ".join(f"{name}: {reason}" for name, reason in skipped)
    raise ImageJError(
        f"there is no ImageJ: fetch it with 'openhcs-viewers doctor fiji --install', name a Fiji folder "
        f"(--fiji-dir DIR, OPENHCS_FIJI_DIR), or run '{install_command(('libij-java',))}' as root ({reasons})"
    )


def explain(wanted: Wanted) -> Iterator[tuple[str, bool, str]]:
    """Yield name, whether it is the one taken, and what is to be said, for each route; fetches nothing."""
    taken = False
    try:
        for name, route in zip(ROUTES, _ways(wanted, logger.debug, False), strict=True):
            if isinstance(route, str):
                yield name, False, f"not taken: {route}"
            elif taken:
                yield name, False, f"not needed: {route.source} is there, too"
            else:
                taken = True
                yield name, True, f"taken: {route.source}"
    except ImageJError as error:
        yield "settings", False, str(error)


def _ways(wanted: Wanted, say: Callable[[str], object], fetch: bool) -> Iterator[Route | str]:
    """Yield for each route itself, or the reason why it cannot be taken."""
    yield _fiji_dir(wanted.fiji_dir)
    yield (
        Route("endpoint", wanted.endpoint)
        if wanted.endpoint.strip()
        else ("no endpoint is named (OPENHCS_FIJI_ENDPOINT)")
    )
    yield _jar_file(wanted.jar) if wanted.jar else _central(wanted.ij, say, fetch)
    yield _system()


def _fiji_dir(text: str) -> Route | str:
    if not text:
        return "no Fiji folder is named (--fiji-dir, OPENHCS_FIJI_DIR)"
    folder = Path(text).expanduser().absolute()
    if not folder.is_dir():
        raise ImageJError(f"the Fiji folder {folder} is not there: correct --fiji-dir or OPENHCS_FIJI_DIR")
    if next((folder / "jars").rglob("*.jar"), None) is None:
        raise ImageJError(
            f"{folder} is no Fiji: it has no jars in {folder / 'jars'}; name the folder that holds 'jars' and "
            "'plugins' (Fiji.app, Fiji)"
        )
    return Route("fiji-dir", str(folder))


def _jar_file(text: str) -> Route:
    jar = Path(text).expanduser().absolute()
    if not jar.is_file():
        raise ImageJError(f"the jar {jar} is not there: correct OPENHCS_FIJI_JAR")
    return Route("maven", str(jar), (jar,))


def _central(coordinates: str, say: Callable[[str], object], fetch: bool) -> Route | str:
    jars = _maven.cached_jars(coordinates)
    if not jars and not fetch:
        return f"{coordinates} is not fetched yet (openhcs-viewers doctor fiji --install)"
    try:
        jars = jars or _maven.resolve(coordinates, say)
    except ImageJError as error:
        if coordinates != PINNED_IJ:  # somebody asked for just this one
            raise
        logger.warning("%s", error)
        return str(error)
    return Route("maven", coordinates, jars)


def _system() -> Route | str:
    found = [jar for jar in SYSTEM_JARS if jar.is_file()]
    if not found:
        return f"none of {', '.join(map(str, SYSTEM_JARS))} is there (Debian's libij-java)"
    return Route("system", str(found[0]), (found[0],))
