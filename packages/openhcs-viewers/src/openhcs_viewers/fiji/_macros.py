"""ImageJ macros run for a trusted client: one at a time, none of them holds anybody up for ever.

A macro's own dialogs would wait for somebody at the screen. ImageJ's report of an error is closed at once and becomes
the error of whoever asked; a message (``showMessage``) is closed, too. A question (``Dialog.create``, ``waitForUser``)
is for the user; it is closed when the time is over, and the macro aborted.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jpype

from openhcs_viewers.errors import MacroError
from openhcs_viewers.fiji._java import java, later
from zmqruntime.errors import RemoteError

__all__ = ["MAX_RESULT", "Macros"]

logger = logging.getLogger(__name__)

MAX_RESULT = 1 << 20
"""Most characters a macro may return: four bytes each at worst, and a control message holds 4 MiB."""

DEFAULT_TIMEOUT = 30.0
"""Seconds a macro gets when nobody says."""

GRACE = 5.0
"""Seconds an aborted macro gets to notice: it looks between two statements."""

_CANCELLED = "Macro canceled"
_ABORTED = "[aborted]"
_OPENED = 200  # java.awt.event.WindowEvent.WINDOW_OPENED
_CLOSING = 201  # java.awt.event.WindowEvent.WINDOW_CLOSING
_WINDOW_EVENTS = 64  # java.awt.AWTEvent.WINDOW_EVENT_MASK
_REPORTS = ("Macro Error", "No Image")


class Macros:
    """Runs macros; every method on any thread but ImageJ's event thread.

    Parameters
    ----------
    headless
        There are no windows in this Java.
    """

    def __init__(self, *, headless: bool) -> None:
        self._headless = headless
        self._turn = threading.Lock()

    def command(self, params: Mapping[str, Any]) -> str:
        """Answer the command ``run_macro`` (macro, argument, seconds).

        Raises
        ------
        RemoteError
            Parameters it does not take.
        MacroError
            See `run`.
        """
        macro, argument = params.get("macro"), params.get("argument", "")
        timeout = params.get("seconds", DEFAULT_TIMEOUT)
        unknown = params.keys() - {"macro", "argument", "seconds"}
        fine = isinstance(macro, str) and isinstance(argument, str)
        if unknown or not fine or isinstance(timeout, bool) or not isinstance(timeout, int | float):
            raise RemoteError(
                "bad-request",
                f"run_macro takes macro and argument (text) and seconds (a number), not {sorted(params)}",
            )
        return self.run(str(macro), str(argument), float(timeout))

    def run(self, macro: str, argument: str = "", timeout: float = DEFAULT_TIMEOUT) -> str:
        """Run a macro and return what it returns, or an empty text.

        Raises
        ------
        MacroError
            ImageJ's message and the line; it was aborted; it or the one before took longer than `timeout` seconds; it
            returned more than `MAX_RESULT` characters.
        """
        end = time.monotonic() + timeout
        if not self._turn.acquire(timeout=timeout):
            raise MacroError(
                f"another macro has been running for {timeout:g} s, and one runs at a time: "
                "wait, or press Escape in ImageJ"
            )
        run = _Run(macro, argument, self._turn, headless=self._headless)
        run.start()
        if not run.done.wait(max(0.0, end - time.monotonic())):
            ended = "was aborted" if run.abort(GRACE) else "does not let itself be aborted and goes on"
            asked = f" while it waited for an answer ({', '.join(run.questions)})" if run.questions else ""
            raise MacroError(f"the macro took longer than {timeout:g} s{asked}: it {ended}")
        if run.error is not None:
            raise run.error
        if len(run.result) > MAX_RESULT:
            raise MacroError(
                f"the macro returned {len(run.result)} characters, at most {MAX_RESULT} go back: write a file instead"
            )
        return run.result


class _Run(threading.Thread):
    """One macro on a thread of its own; gives the turn back when it ends, however late that is."""

    def __init__(self, macro: str, argument: str, turn: threading.Lock, *, headless: bool) -> None:
        super().__init__(name="macro", daemon=True)
        self._macro, self._argument, self._turn, self._headless = macro, argument, turn, headless
        self._interpreter: Any = None
        self._dialogs: list[Any] = []
        self.questions: list[str] = []
        self.messages: list[str] = []
        self.result = ""
        self.error: MacroError | None = None
        self.done = threading.Event()

    def run(self) -> None:
        try:
            self._interpreter = java("ij.macro.Interpreter")()
            with self._dialogs_watched():
                self._interpret()
        except Exception as error:
            # The boundary to ImageJ: what goes wrong here is an answer, too.
            logger.exception("a macro could not be run")
            self.error = MacroError(f"the macro could not be run: {error}")
        finally:
            java("java.lang.Thread").detach()
            self._turn.release()
            self.done.set()

    def abort(self, patience: float) -> bool:
        """Have it end at its next statement, and close what it asks; return whether it did in time."""
        end = time.monotonic() + patience
        # More than once: ImageJ's interpreter forgets that it was aborted when it is just putting a token back.
        while not self.done.is_set() and time.monotonic() < end:
            later(self._close_dialogs)
            if self._interpreter is not None:
                self._interpreter.abortMacro()  # waits up to two seconds the first time
            self.done.wait(0.02)
        return self.done.is_set()

    def _close_dialogs(self) -> None:
        """As the user would: a dialog that is only taken off the screen goes on waiting."""
        for dialog in self._dialogs:
            if dialog.isShowing():
                dialog.dispatchEvent(java("java.awt.event.WindowEvent")(dialog, _CLOSING))

    def _interpret(self) -> None:
        java("ij.IJ").getErrorMessage()  # an older one is forgotten by it
        try:
            found = self._interpreter.run(self._macro, self._argument)
        except jpype.JException as exception:
            self._interpreter.abortMacro()
            self._clean_up()
            self.error = self._explained(exception)
            return
        self.result = "" if found is None else str(found)
        if self.result == _ABORTED or self._interpreter.wasError():
            self._clean_up()
            self.error = self._explained(None)

    def _explained(self, exception: Any) -> MacroError:
        said, line = self._interpreter.getErrorMessage(), int(self._interpreter.getLineNumber())
        other = java("ij.IJ").getErrorMessage()
        text = "" if exception is None else str(exception.getMessage() or exception)
        if said is not None and str(said):
            return MacroError(f"{str(said).strip()} in line {line}")
        if other is not None and str(other) and not str(other).endswith(_CANCELLED):
            return MacroError(f"{str(other).strip()} (in line {line})")
        if text and text != _CANCELLED:
            return MacroError(f"{text} (in line {line})")
        if self.messages:  # of exit("..."), which is a cancelled macro, too
            return MacroError(f"{self.messages[-1]} (in line {line})")
        return MacroError(f"the macro was cancelled in line {line}")

    @staticmethod
    def _clean_up() -> None:
        """As ImageJ does when a macro has failed."""
        java("ij.IJ").showStatus("")
        java("ij.IJ").showProgress(1.0)
        image = java("ij.WindowManager").getCurrentImage()
        if image is not None:
            image.unlock()

    @contextlib.contextmanager
    def _dialogs_watched(self) -> Iterator[None]:
        if self._headless:
            yield
            return
        toolkit = java("java.awt.Toolkit").getDefaultToolkit()
        listener = jpype.JProxy("java.awt.event.AWTEventListener", dict={"eventDispatched": self._on_window})
        toolkit.addAWTEventListener(listener, _WINDOW_EVENTS)
        try:
            yield
        finally:
            toolkit.removeAWTEventListener(listener)

    def _on_window(self, event: Any) -> None:
        """On ImageJ's event thread, for every window there is: the macro may have opened it."""
        if event.getID() != _OPENED:
            return
        window = event.getWindow()
        if not isinstance(window, java("java.awt.Dialog")):
            return
        title = str(window.getTitle() or "")
        if isinstance(window, java("ij.gui.MessageDialog")):
            self.messages.append(_text(window) or title)
            logger.info("a macro says: %s", self.messages[-1])
            window.dispose()
        elif isinstance(window, java("ij.gui.GenericDialog")) and title in _REPORTS:
            window.dispose()
        else:
            self.questions.append(title or type(window).__name__)
            self._dialogs.append(window)


def _text(window: Any) -> str:
    """What a message says; empty where this ImageJ keeps it elsewhere. Nothing public tells it."""
    try:
        for component in window.getComponents():
            for part in (
                component.getComponents() if isinstance(component, java("java.awt.Container")) else ()
            ):
                if isinstance(part, java("ij.gui.MultiLineLabel")):
                    lines = part.getClass().getDeclaredField("lines")
                    lines.setAccessible(True)
                    return " ".join(str(line) for line in lines.get(part)).strip()
    except jpype.JException as error:
        logger.info("the text of ImageJ's message cannot be read: %s", error)
    return ""
