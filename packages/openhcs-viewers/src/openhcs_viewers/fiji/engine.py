"""ImageJ in this process: Java is started once, by pyimagej and the stack it stands on, and never joined.

Rules that were learnt the hard way, each of them a test:

* The route is chosen before any class of ``ij`` is touched (`openhcs_viewers.fiji._routes`).
* With a gateway the main window belongs to it: an ``ij.ImageJ`` of our own would replace and hide it.
* pyimagej does not notice that there is no display; we look ourselves.
* After File > Quit Python must live on, to end in good order.
* Java is not joined at the end: the pool of a threaded filter holds it for more than 80 s.
"""

from __future__ import annotations

import atexit
import faulthandler
import logging
import os
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jpype
import jpype.config

from openhcs_viewers.errors import DisplayError, ImageJError, JavaError
from openhcs_viewers.fiji._java import java, on_edt
from openhcs_viewers.fiji._java_home import Java, find_java
from openhcs_viewers.fiji._routes import Route, Wanted, choose
from openhcs_viewers.fiji_engine_config import PINNED_IJ

__all__ = ["Engine", "EngineSettings", "engine", "start_engine"]

logger = logging.getLogger(__name__)

MB = 1024 * 1024

HEADROOM = 512 * MB
"""Least heap beside the planes: ImageJ itself, what it draws, and the results of the user's filters."""

CLOSE_TIMEOUT = 2.0
"""Seconds Java's windows get to close and preferences to be written."""


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
        Bytes of Java's heap; None for what half of this machine's memory in planes needs.
    """

    fiji_dir: str = ""
    endpoint: str = ""
    ij: str = PINNED_IJ
    jar: str = ""
    headless: bool = False
    heap: int | None = None

    @classmethod
    def of(
        cls, options: Mapping[str, str], *, headless: bool = False, budget: int | None = None
    ) -> EngineSettings:
        """Return what holds: options of the launch over the environment over configuration files.

        Parameters
        ----------
        options
            ``fiji_dir``, ``endpoint``, ``ij``, ``jar`` and ``heap`` (megabytes), as far as they are given.
        headless
            No window at all.
        budget
            Bytes of planes the viewer keeps; Java's heap has room for them and for ImageJ's own work.

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
        heap = config.fiji_heap * MB or (None if budget is None else heap_for(budget))
        return cls(
            config.fiji_dir,
            config.fiji_endpoint,
            config.fiji_ij,
            config.fiji_jar,
            headless=headless,
            heap=heap,
        )

    def wanted(self) -> Wanted:
        """Return what of it decides the route."""
        return Wanted(self.fiji_dir, self.endpoint, self.ij, self.jar)


def heap_for(budget: int) -> int:
    """Return the bytes of heap for `budget` bytes of planes: a quarter more, and at least `HEADROOM`."""
    return budget + max(HEADROOM, budget // 4)


class Engine:
    """The ImageJ that runs in this process; made by `start_engine`.

    Attributes
    ----------
    route
        ``"fiji-dir"``, ``"endpoint"``, ``"maven"`` or ``"system"``.
    version
        Of ImageJ 1, such as ``"1.54p"``.
    description
        ImageJ, where it came from, and Java, in a line.
    headless
        Whether there are no windows.
    gateway
        ImageJ2's ``ij`` with the first two routes, else None. Kept as long as the engine, so that plugins and
        macros have it.
    """

    def __init__(self, route: Route, machine: Java, headless: bool, gateway: Any) -> None:
        self.route = route.name
        self.headless = headless
        self.gateway = gateway
        full = str(java("ij.IJ").getVersion())
        # "2.17.0/1.54p" under a gateway, "1.54p" without.
        self.version = full.rpartition("/")[2]
        self.description = f"ImageJ {full} ({route.name}: {route.source}), {machine}"
        self._shown = False
        self._closed = False

    def show_window(self, title: str = "") -> None:
        """Show ImageJ's main window; from the main thread. Nothing happens in a headless engine.

        Raises
        ------
        DisplayError
            There is no window to show: Java found no display.
        """
        if self.headless:
            return
        if self.gateway is not None:
            self.gateway.ui().showUI()
        elif java("ij.IJ").getInstance() is None:
            java("ij.ImageJ")(0)
        frame = java("ij.IJ").getInstance()
        if frame is None:
            raise DisplayError("ImageJ opened no main window, though Java has a display: see its log")
        # Else File > Quit ends the process at once, with a status of 0 and everything it holds left behind.
        frame.exitWhenQuitting(False)
        if title:
            on_edt(lambda: frame.setTitle(title))
        self._shown = True

    def has_quit(self) -> bool:
        """Return whether the user chose File > Quit; a few microseconds, any thread."""
        return self._shown and java("ij.IJ").getInstance() is None

    def close(self) -> None:
        """Close all windows and keep the user's preferences; at most `CLOSE_TIMEOUT` seconds. Idempotent.

        Java goes on: the process is to end by `os._exit`, or by itself when Python ends.
        """
        if self._closed:
            return
        self._closed = True
        # On a thread that may be left behind: a window of a plugin can ask something and wait for ever.
        closing = threading.Thread(target=self._close, name="close-imagej", daemon=True)
        closing.start()
        closing.join(CLOSE_TIMEOUT)
        if closing.is_alive():
            logger.warning("ImageJ did not close its windows within %g s", CLOSE_TIMEOUT)

    def _close(self) -> None:
        try:
            if java("ij.IJ").getInstance() is not None:  # without it they were never read
                java("ij.Prefs").savePreferences()
            if self.gateway is not None:
                self.gateway.dispose()
            if not self.headless:
                on_edt(_dispose_windows)
        except Exception:
            # The boundary to Java at the end of everything: whatever it is, the process ends now.
            logger.exception("ImageJ could not be closed in good order")


_engine: Engine | None = None
_starting = threading.Lock()


def engine() -> Engine:
    """Return the engine of this process.

    Raises
    ------
    ImageJError
        It was not started.
    """
    if _engine is None:
        raise ImageJError("ImageJ was not started in this process: call start_engine first")
    return _engine


def start_engine(settings: EngineSettings) -> Engine:
    """Start Java and ImageJ in this process; from its main thread, once. The same engine is returned again.

    Raises
    ------
    JavaError
        No Java, one that is too old, or one that does not start.
    ImageJError
        No ImageJ, or not where a setting says; another one runs already.
    DisplayError
        There is no display, and not headless.
    """
    global _engine
    with _starting:
        if _engine is not None:
            if _engine.headless != settings.headless:
                raise ImageJError("ImageJ runs in this process already: one is headless, and one is not")
            return _engine
        if jpype.isJVMStarted():
            raise ImageJError(
                "a Java that is not ours runs in this process: start the viewer in one of its own (launch)"
            )
        machine = find_java(windows=not settings.headless)
        if not settings.headless:
            _check_display()
        route = choose(settings.wanted())
        for name, reason in route.skipped:
            logger.info("%s not taken: %s", name, reason)
        gateway = _start(route, machine, settings)
        _engine = Engine(route, machine, settings.headless, gateway)
        logger.info("%s", _engine.description)
        return _engine


def _start(route: Route, machine: Java, settings: EngineSettings) -> Any:
    """Start Java, and the gateway if the route has one; return that."""
    import scyjava

    # Java needs SIGSEGV for itself. Python's handlers would not survive its start, and a later faulthandler.disable()
    # (pytest's, at its end) would take Java's away: the next null pointer in Java would then end the process.
    faulthandler.disable()
    os.environ["JAVA_HOME"] = str(machine.home)
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
        if route is None or (not jpype.isJVMStarted() and "JVM" in text and "environment" not in text):
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
    """Return how Java is started, but for its class path."""
    from openhcs_viewers.store import default_budget

    heap = heap_for(default_budget()) if settings.heap is None else settings.heap
    return [
        f"-Xmx{max(heap, 128 * MB) // MB}m",
        "-XX:+UseSerialGC",
        "-XX:PretenureSizeThreshold=256k",
        "-XX:MaxHeapFreeRatio=100",
        # Signals stay Python's: else Java takes them over when it starts, and ends the process by itself.
        "-Xrs",
        "--add-opens=java.base/java.lang=ALL-UNNAMED",
    ]


def _check_display() -> None:
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
    atexit.register(_let_go_of_python)


def _let_go_of_python() -> None:
    """Stop what Java does in Python: a thread of it that is there when Python ends aborts the process.

    It does so with "exception not rethrown", in two of three runs: the thread that drops Python's references when
    Java's collector let go of theirs always, others when a window told a listener of ours something.
    """
    if _engine is not None:
        _engine.close()
    jpype.JClass("org.jpype.ref.JPypeReferenceQueue").getInstance().stop()


def _dispose_windows() -> None:
    for window in java("java.awt.Window").getWindows():
        window.dispose()
