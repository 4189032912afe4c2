"""Java, started once by the stack below pyimagej: bare with ImageJ 1, or by `imagej.init` with ImageJ2's gateway."""

from __future__ import annotations

import atexit
import faulthandler
import logging
import os
import sys
from collections.abc import Callable
from typing import Any

import jpype
import jpype.config

from openhcs_viewers._start import log_dir
from openhcs_viewers.errors import DisplayError, ImageJError, JavaError
from openhcs_viewers.fiji._imagej_home import make_imagej_home
from openhcs_viewers.fiji._java import java
from openhcs_viewers.fiji._java_home import Java
from openhcs_viewers.fiji._maven import cache_folder
from openhcs_viewers.fiji._routes import Route
from openhcs_viewers.fiji._settings import EngineSettings

__all__ = ["boot", "check_display_for_java", "java_options"]

logger = logging.getLogger(__name__)

MB = 1024 * 1024

HEADROOM = 512 * MB
"""Least heap beside the planes: ImageJ itself, what it draws, and the results of the user's filters."""

YOUNG = 128 * MB
"""Java's young generation: what is small and short-lived."""


def boot(route: Route, machine: Java, settings: EngineSettings) -> Any:
    """Start Java, and the gateway if the route has one; return that. Once per process, from its main thread.

    Raises
    ------
    JavaError, ImageJError, DisplayError
        See `openhcs_viewers.fiji.engine.start_engine`.
    """
    import scyjava

    # Java needs SIGSEGV for itself. Python's handlers would not survive its start, and a later faulthandler.disable()
    # (pytest's, at its end) would take Java's away: the next null pointer in Java would then end the process.
    faulthandler.disable()
    os.environ["JAVA_HOME"] = str(machine.home)
    # It says "Fetching zulu-jre:11..." before it takes the Java of JAVA_HOME, which is there: nothing is fetched.
    logging.getLogger("scyjava._jdk_fetch").setLevel(logging.WARNING)
    options = [*java_options(settings), *(["-Djava.awt.headless=true"] if settings.headless else [])]
    scyjava.config.add_options(options)
    gateway = None
    try:
        if route.gateway:
            gateway = _start_gateway(route, settings.headless)
        else:
            _start_bare(route)
    finally:
        if jpype.isJVMStarted():
            _never_joined(scyjava.shutdown_jvm)
    _check_windows(settings.headless, gateway is not None)
    return gateway


def _start_bare(route: Route) -> None:
    """Start Java with the jars of the route. Imports no `imagej`: its start-up needs ImageJ2's classes."""
    import scyjava

    scyjava.config.endpoints.clear()
    scyjava.config.set_java_constraints(fetch="never")
    scyjava.config.add_classpath(*map(str, route.jars))
    _java_started(scyjava.start_jvm)
    # ImageJ takes the folder Java was started in for its own: it would run the macros/StartupMacros.txt of whatever
    # folder somebody happens to be in, and take its plugins, tables and preferences. It asks for this property once,
    # later; files are still found from the real one, which Java has looked up already.
    java("java.lang.System").setProperty("user.dir", str(make_imagej_home()))
    _checked_class("ij.IJ", route)


def _start_gateway(route: Route, headless: bool) -> Any:
    """Start Java through `imagej.init` and return the gateway."""
    # Python's imglyb asks for a Java half of a fixed, old version unless it is told to take that of the ImageJ2.
    os.environ.setdefault("IMGLIB2_IMGLYB_VERSION", "MANAGED")
    import imagej
    import scyjava

    if route.name == "fiji-dir":
        # What imports have put there is looked up in a repository on the network; a folder needs nothing of it.
        scyjava.config.endpoints.clear()
    # Not "never": pyimagej 1.8 then fails on a variable it did not set. We have looked: a good Java is in JAVA_HOME.
    scyjava.config.set_java_constraints(fetch="auto")
    scyjava.config.set_cache_dir(cache_folder() / "jgo")
    _imglyb_where_it_can()
    mode = "headless" if headless else "interactive"
    gateway = _java_started(lambda: imagej.init(route.source, mode=mode), route)
    # pyimagej makes the gateway without ImageJ 1, too; without it there are no windows.
    if gateway.legacy is None or not gateway.legacy.isActive():
        raise ImageJError(
            f"{route.source} came up without ImageJ 1 (net.imagej:imagej-legacy): use a complete Fiji or ImageJ2"
        )
    return gateway


def _java_started(start: Callable[[], Any], route: Route | None = None) -> Any:
    """Call `start`, with what it raises in words of ours."""
    try:
        return start()
    except Exception as error:
        # scyjava, jgo, JPype, pyimagej and Java itself each raise their own; nobody can list them.
        text = str(error).strip() or type(error).__name__
        if route is None:
            raise JavaError(
                f"Java did not start: {text}; 'openhcs-viewers doctor fiji' says what is missing"
            ) from error
        raise ImageJError(
            f"ImageJ2 did not start from {route.source!r} ({route.name}): {text}; see the viewer's log"
        ) from error


def _imglyb_where_it_can() -> None:
    """Let the start-up functions of imglyb run only where its Java half is there: without, they fail the start.

    Then arrays cannot be shared with ImageJ2 (``ij.py.to_java``), which we do not need.
    """
    from scyjava import _jvm

    callbacks: list[Any] | None = getattr(_jvm, "_startup_callbacks", None)
    if callbacks is None:
        logger.warning(
            "this scyjava keeps its start-up functions elsewhere: a Fiji without imglyb may not start"
        )
        return

    def guarded(callback: Callable[[], None]) -> Callable[[], None]:
        return lambda: callback() if _has_class("net.imglib2.python.Helpers") else None

    callbacks[:] = [
        guarded(one) if getattr(one, "__module__", "").startswith("imglyb") else one for one in callbacks
    ]


def java_options(settings: EngineSettings) -> list[str]:
    """Return how Java is started, but for its class path.

    The collector was chosen by filling 2 GB of a heap of 3 GB with planes of 2048x2048 uint16 (Java 17, two cores at a
    load of 4 to 7; three runs each, milliseconds):

    ======================  ============  ==============  =============  =====================
    collector               heap wasted   a new plane     slowest plane  copying young planes
    ======================  ============  ==============  =============  =====================
    G1 (Java's own choice)  25 %          10-13 (median)  57-142         (not told apart)
    parallel                under 1 %     0.7-0.8         197-1015       954-2447 in all
    serial                  under 1 %     0.7-0.8         180-345        567-1233 in all
    serial, as here         under 1 %     3.6-3.9         68-86          0
    ======================  ============  ==============  =============  =====================

    G1's waste is of the heap's limit; memory in use was 5 % more. The 4 ms of ours are probably the first touch of new
    memory; into an array that was used before a plane takes the same with each (0.35 ms). Without a limit for the
    young generation the last one ran out of memory at 2 of 3 GB (seen once, as garbage of 16 MB came on top).

    So arrays above 256 KiB are made in the old generation, where nothing moves as long as there are no holes; the young
    one is small, for what remains of the heap is what planes can have; and memory once taken is not given back, to
    be touched anew.
    """
    from openhcs_viewers.store import default_budget

    planes = default_budget() if settings.heap is None else settings.heap
    heap = max(planes + max(HEADROOM, planes // 4), settings.least)
    return [
        f"-Xmx{heap // MB}m",
        f"-XX:MaxNewSize={YOUNG // MB}m",
        "-XX:+UseSerialGC",
        "-XX:PretenureSizeThreshold=256k",
        "-XX:MaxHeapFreeRatio=100",
        # A Java that has not one of these does without.
        "-XX:+IgnoreUnrecognizedVMOptions",
        # Signals stay Python's: else Java takes them over when it starts, and ends the process by itself.
        "-Xrs",
        # ImageJ2 looks into Java's own classes; pyimagej adds it, but only for a Java it starts itself.
        "--add-opens=java.base/java.lang=ALL-UNNAMED",
        # What a crash of Java has to say goes to the logs, and not into the folder somebody happens to be in.
        f"-XX:ErrorFile={log_dir()}/java-crash-%p.log",
        # Java 24 and newer warn of JPype's library without.
        "--enable-native-access=ALL-UNNAMED",
    ]


def check_display_for_java() -> None:
    """Raise a DisplayError unless Java will find a display: it knows X only, and pyimagej goes on without."""
    if sys.platform == "linux":
        from openhcs_viewers.display import check_display

        check_display({**os.environ, "WAYLAND_DISPLAY": "", "QT_QPA_PLATFORM": ""})


def _check_windows(headless: bool, gateway: bool) -> None:
    if headless:
        return
    if java("java.awt.GraphicsEnvironment").isHeadless():
        raise DisplayError(
            f"Java found no display (DISPLAY={os.environ.get('DISPLAY', '')!r}): use display='virtual', or "
            "display='headless' for no window at all"
        )
    if gateway and java("ij.IJ").getInstance() is None:
        raise DisplayError("ImageJ2 has no main window, though Java has a display: see the viewer's log")


def _has_class(name: str) -> bool:
    try:
        jpype.JClass(name)
    except TypeError:
        return False
    return True


def _checked_class(name: str, route: Route) -> None:
    if not _has_class(name):
        raise ImageJError(f"{route.source} holds no ImageJ (no class {name}): remove it, or name another jar")


def _never_joined(shutdown: Callable[[], None]) -> None:
    """Have Python end without waiting for Java, whose threads do not end."""
    jpype.config.onexit = False
    jpype.config.destroy_jvm = False
    jpype.config.free_resources = False
    atexit.unregister(shutdown)
    atexit.register(_stop_dropping_references)


def _stop_dropping_references() -> None:
    """Stop the thread that tells Python what Java's collector let go of.

    Else it is in Python while that ends, and takes the process down ("exception not rethrown", in two of three runs).
    """
    jpype.JClass("org.jpype.ref.JPypeReferenceQueue").getInstance().stop()
