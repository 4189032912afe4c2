"""ImageJ macros run for a trusted client: one at a time, none of them holds anybody up for ever.

A macro's own dialogs would wait for somebody at the screen. ImageJ's report of an error is closed at once and becomes
the error of whoever asked; a message (``showMessage``) is closed, too. A question (``Dialog.create``, ``waitForUser``,
a choice of files) is for the user; it is closed when the time is over, and the macro aborted. One that does not notice
is left behind: it ends when what it is doing is done, and the next one need not wait for that.
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import jpype

from openhcs_viewers.errors import MacroError
from openhcs_viewers.fiji._dialogs import MacroDialogs
from openhcs_viewers.fiji._java import java
from openhcs_viewers.handle import MAX_MACRO_SECONDS
from zmqruntime.errors import RemoteError

__all__ = ["MAX_RESULT", "Macros"]

logger = logging.getLogger(__name__)

MAX_RESULT = 1 << 20
"""Most characters a macro may return: four bytes each at worst, and a control message holds 4 MiB."""

DEFAULT_TIMEOUT = 30.0
"""Seconds a macro gets when nobody says."""

GRACE = 1.0
"""Seconds an aborted macro gets to notice: it looks between two statements."""

STUBBORN = 60.0
"""Seconds for which one that was left behind is told again."""

TICK = 0.02
"""Seconds between two looks at a macro's dialogs."""

_CANCELLED = "Macro canceled"
_ABORTED = "[aborted]"
_THREAD = "remote_Macro$"
"""ImageJ ends a macro at an error only on a thread whose name ends like this."""

_HEADLESS = (
    "this viewer is headless, where ImageJ has no windows, and bare ImageJ no menus either: launch with "
    "display='virtual' for macros that need them"
)
_FOR_WANT_OF_WINDOWS = (
    "Headless",
    "no images open",
    "no image",
    "Unrecognized command",
    "NullPointer",
    " is null",
)


class Macros:
    """Runs macros; every method on any thread but ImageJ's event thread.

    Parameters
    ----------
    headless
        There are no windows in this Java.
    images
        Returns the images a macro is to find where there are no windows to find them in, the current one last.
    """

    def __init__(self, *, headless: bool, images: Callable[[], Sequence[Any]] = tuple) -> None:
        self._headless = headless
        self._images = images
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
        if not (math.isfinite(timeout) and 0 < timeout <= MAX_MACRO_SECONDS):
            raise RemoteError(
                "bad-request",
                f"run_macro takes more than 0 and at most {MAX_MACRO_SECONDS:g} seconds, not {timeout!r}",
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
                f"another macro has been running for {timeout:g} s, and one runs at a time: wait until its own time "
                "is over, or end the viewer with 'openhcs-viewers stop'"
            )
        run = _Run(macro, argument, self._turn, headless=self._headless, images=self._images)
        run.start()
        while not run.done.wait(max(0.0, min(TICK, end - time.monotonic()))):
            run.tend()
            if time.monotonic() >= end:
                ended = run.abort(GRACE)
                raise MacroError(f"the macro took longer than {timeout:g} s{run.asks()}: it {ended}")
        if run.error is not None:
            raise run.error
        if len(run.result) > MAX_RESULT:
            raise MacroError(
                f"the macro returned {len(run.result)} characters, at most {MAX_RESULT} go back: write a file instead"
            )
        return run.result


class _Run(threading.Thread):
    """One macro on a thread of its own; gives the turn back when it ends, or when it is left behind."""

    def __init__(
        self,
        macro: str,
        argument: str,
        turn: threading.Lock,
        *,
        headless: bool,
        images: Callable[[], Sequence[Any]],
    ) -> None:
        super().__init__(name="macro", daemon=True)
        self._macro, self._argument, self._turn, self._headless = macro, argument, turn, headless
        self._images = images
        self._turn_given = threading.Lock()
        self._left = False
        self._thread: Any = None
        self._interpreter: Any = None
        self._dialogs: MacroDialogs | None = None
        self.result = ""
        self.error: MacroError | None = None
        self.done = threading.Event()

    def run(self) -> None:
        try:
            thread = java("java.lang.Thread").currentThread()
            thread.setName(_THREAD)
            self._interpreter, self._thread = java("ij.macro.Interpreter")(), thread
            with self._images_known(), self._dialogs_watched():
                self._interpret()
        except Exception as error:
            # The boundary to ImageJ: what goes wrong here is an answer, too.
            logger.exception("a macro could not be run")
            self.error = MacroError(f"the macro could not be run: {error}")
        finally:
            if self._left:
                logger.warning("the macro that was left behind has ended")
            java("java.lang.Thread").detach()
            self.done.set()
            self._give_turn()

    def tend(self) -> None:
        """Close the messages it shows; now and then, by whoever waits for it."""
        if self._dialogs is not None:
            self._dialogs.tend()

    def asks(self) -> str:
        """Return what it waits for, as a part of a sentence."""
        questions = [] if self._dialogs is None else self._dialogs.questions
        return f" while it waited for an answer ({', '.join(questions)})" if questions else ""

    def abort(self, patience: float) -> str:
        """Have it end at its next statement, and close what it asks; return how that went."""
        begin = time.monotonic()
        # More than once: ImageJ's interpreter forgets that it was aborted when it is just putting a token back.
        while not self.done.is_set() and time.monotonic() < begin + patience:
            self._urge(interrupt=time.monotonic() > begin + patience / 5)
            self.done.wait(TICK)
        if self.done.is_set():
            if self._dialogs is not None:
                self._dialogs.dispose()
            return "was aborted"
        self._left = True
        self._give_turn()
        logger.warning("a macro does not end when it is aborted: it is left behind")
        threading.Thread(target=self._insist, name="macro's end", daemon=True).start()
        return "is busy with one statement and was left behind: it ends after that one"

    def _insist(self) -> None:
        end = time.monotonic() + STUBBORN
        while not self.done.wait(10 * TICK) and time.monotonic() < end:
            self._urge(interrupt=True)

    def _urge(self, *, interrupt: bool) -> None:
        """Tell it to end, and close its dialogs; wake it where it sleeps, or waits for a dialog that is gone."""
        if self._interpreter is not None:
            _shut_down(self._interpreter)
        if self._dialogs is not None:
            self._dialogs.close()
        if interrupt and self._thread is not None:
            self._thread.interrupt()

    def _give_turn(self) -> None:
        if self._turn_given.acquire(blocking=False):
            self._turn.release()

    def _interpret(self) -> None:
        java("ij.IJ").getErrorMessage()  # an older one is forgotten by it
        try:
            found = self._interpreter.run(self._macro, self._argument)
        except jpype.JException as exception:
            _shut_down(self._interpreter)
            _forget(self._interpreter)
            self._clean_up()
            self.error = self._explained(exception)
            return
        self.result = "" if found is None else str(found)
        if self.result == _ABORTED or self._interpreter.wasError():
            self._clean_up()
            self.error = self._explained(None)
            return
        said = _said(java("ij.IJ").getErrorMessage())
        if said:  # an error after which ImageJ went on
            after = f" (the macro went on and returned {self.result[:200]!r})" if self.result else ""
            self.error = MacroError(self._with_reason(f"{said}{after}"))

    def _explained(self, exception: Any) -> MacroError:
        said, line = _said(self._interpreter.getErrorMessage()), int(self._interpreter.getLineNumber())
        other = _said(java("ij.IJ").getErrorMessage())
        text = "" if exception is None else str(exception.getMessage() or exception)
        messages = [] if self._dialogs is None else self._dialogs.messages
        if said:
            return MacroError(self._with_reason(f"{said} in line {line}"))
        if other:
            return MacroError(self._with_reason(f"{other} (in line {line})"))
        if text and text != _CANCELLED:
            return MacroError(self._with_reason(f"{text} (in line {line})"))
        if messages:  # of exit("..."), which is a cancelled macro, too
            return MacroError(f"{messages[-1]} (in line {line})")
        return MacroError(f"the macro was cancelled in line {line}")

    def _with_reason(self, text: str) -> str:
        if self._headless and any(one.lower() in text.lower() for one in _FOR_WANT_OF_WINDOWS):
            return f"{_HEADLESS}. ImageJ says: {text}"
        return text

    def _clean_up(self) -> None:
        """As ImageJ does when a macro has failed."""
        java("ij.IJ").showStatus("")
        java("ij.IJ").showProgress(1.0)
        image = java("ij.WindowManager").getCurrentImage()
        if image is not None and not self._left:
            image.unlock()

    @contextlib.contextmanager
    def _dialogs_watched(self) -> Iterator[None]:
        if self._headless:
            yield
            return
        self._dialogs = MacroDialogs()
        with self._dialogs.watched():
            yield

    @contextlib.contextmanager
    def _images_known(self) -> Iterator[None]:
        """Where there are no windows ImageJ knows the images of its batch mode alone."""
        if not self._headless:
            yield
            return
        _menus_missed()
        interpreter, images = java("ij.macro.Interpreter"), list(self._images())
        interpreter.batchMode = True
        for image in images:
            interpreter.addBatchModeImage(image)
        try:
            yield
        finally:
            for image in images:
                interpreter.removeBatchModeImage(image)


def _said(message: Any) -> str:
    """Return a message of ImageJ's in one piece; empty for none, and for one that says nothing."""
    text = "" if message is None else " ".join(str(message).split())
    return "" if text.endswith(_CANCELLED) else text


def _shut_down(interpreter: Any) -> None:
    """Have an interpreter stop at its next statement.

    The public ``abortMacro`` does that, too; then it waits for up to two seconds, and if the macro has not ended it
    stops every thread that runs any macro, whatever it is doing.
    """
    _private("shutdown").invoke(interpreter)


def _forget(interpreter: Any) -> None:
    """Have ImageJ know that a macro has ended: it does not notice when that was by an exception."""
    macros = java("ij.macro.Interpreter")
    if macros.getInstance() is not None and macros.getInstance() == interpreter:
        _private("setInstance", macros.class_).invoke(None, jpype.JObject(None, macros))


@cache
def _menus_missed() -> None:
    """Have ImageJ try once to make its menus: it does at the first command, which then fails for that reason alone."""
    try:
        java("ij.IJ").run("")
    except jpype.JException as error:
        logger.info("ImageJ has no menus here: %s", error)


@cache
def _private(name: str, *parameters: Any) -> Any:
    found = java("ij.macro.Interpreter").class_.getDeclaredMethod(name, *parameters)
    found.setAccessible(True)
    return found
