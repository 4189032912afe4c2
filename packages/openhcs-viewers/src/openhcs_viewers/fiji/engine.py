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
import logging
import threading
from typing import Any

import jpype

from openhcs_viewers.errors import DisplayError, ImageJError, ViewerClosedError
from openhcs_viewers.fiji._boot import boot, check_display_for_java
from openhcs_viewers.fiji._java import java, on_edt
from openhcs_viewers.fiji._java_home import Java, find_java
from openhcs_viewers.fiji._maven import cache_folder
from openhcs_viewers.fiji._routes import Route, choose
from openhcs_viewers.fiji._settings import EngineSettings

__all__ = ["Engine", "EngineSettings", "start_engine"]

logger = logging.getLogger(__name__)

CLOSE_TIMEOUT = 2.0
"""Seconds Java's windows get to close and preferences to be written."""


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

    def keep_preferences_apart(self) -> None:
        """Have preferences that were read from the user's written elsewhere: this is not his screen.

        Else the places of windows on a virtual display are where his next ImageJ opens them. After `show_window`,
        which reads them.
        """
        folder = cache_folder() / "preferences-without-screen"
        folder.mkdir(parents=True, exist_ok=True)
        field = java("ij.Prefs").class_.getDeclaredField("prefsDir")  # nothing public sets it
        field.setAccessible(True)
        field.set(None, str(folder))

    def has_quit(self) -> bool:
        """Return whether the user chose File > Quit; a few microseconds, any thread."""
        return self._shown and java("ij.IJ").getInstance() is None

    def close(self, timeout: float = CLOSE_TIMEOUT) -> None:
        """Close all windows and keep the user's preferences; in at most `timeout` seconds. Idempotent.

        Java goes on: the process is to end by `os._exit`, or by itself when Python ends.
        """
        if self._closed:
            return
        self._closed = True
        # On a thread that may be left behind: a window of a plugin can ask something and wait for ever.
        closing = threading.Thread(target=self._close, name="close-imagej", daemon=True)
        try:
            closing.start()
        except RuntimeError:  # Python 3.12 starts none while it ends
            self._close()
            return
        closing.join(timeout)
        if closing.is_alive():
            logger.warning("ImageJ did not close its windows within %g s", timeout)

    def _close(self) -> None:
        try:
            if java("ij.IJ").getInstance() is not None:  # without it they were never read
                java("ij.Prefs").savePreferences()
            if self.gateway is not None and not self.has_quit():  # which ends it, too
                self.gateway.dispose()
            if not self.headless:
                on_edt(_dispose_windows)
        except ViewerClosedError as error:
            logger.warning("%s", error)
        except Exception:
            # The boundary to Java at the end of everything: whatever it is, the process ends now.
            logger.exception("ImageJ could not be closed in good order")


_engine: Engine | None = None
_starting = threading.Lock()


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
            check_display_for_java()
        route = choose(settings.wanted())
        for name, reason in route.skipped:
            logger.info("%s not taken: %s", name, reason)
        gateway = boot(route, machine, settings)
        _engine = Engine(route, machine, settings.headless, gateway)
        # A listener of ours that a window calls while Python ends would abort the process.
        atexit.register(_engine.close)
        logger.info("%s", _engine.description)
        return _engine


def _dispose_windows() -> None:
    for window in java("java.awt.Window").getWindows():
        window.dispose()
