"""The dialogs a macro opens, told from those of the user, and how they are closed.

Java says which thread shows a dialog: events of the window hierarchy are delivered on that thread, not on the event
thread. What the event thread shows counts as the macro's only while the macro's thread waits for that thread
with a choice of files (``JFileChooser``).

A dialog that is closed before the thread that shows it waits for its end leaves that thread waiting for ever. So it is
closed only once that thread waits.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import jpype

from openhcs_viewers.fiji._java import java, later

__all__ = ["MacroDialogs"]

logger = logging.getLogger(__name__)

_OPENED = 200  # java.awt.event.WindowEvent.WINDOW_OPENED
_CLOSING = 201  # java.awt.event.WindowEvent.WINDOW_CLOSING
_WINDOW_EVENTS = 64  # java.awt.AWTEvent.WINDOW_EVENT_MASK
_HIERARCHY_EVENTS = 32768  # java.awt.AWTEvent.HIERARCHY_EVENT_MASK
_REPORTS = ("Macro Error", "No Image")


class MacroDialogs:
    """What one macro has opened; made on the macro's thread.

    Attributes
    ----------
    messages
        The texts of messages it showed.
    questions
        The titles of dialogs that wait for the user.
    """

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.questions: list[str] = []
        self._ident = threading.get_ident()
        self._thread = java("java.lang.Thread").currentThread()
        self._shown: list[Any] = []
        self._known: list[Any] = []
        self._asked: list[Any] = []

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Take note of the dialogs that are opened meanwhile."""
        toolkit = java("java.awt.Toolkit").getDefaultToolkit()
        listener = jpype.JProxy("java.awt.event.AWTEventListener", dict={"eventDispatched": self._on_event})
        toolkit.addAWTEventListener(listener, _WINDOW_EVENTS | _HIERARCHY_EVENTS)
        try:
            yield
        finally:
            toolkit.removeAWTEventListener(listener)

    def _on_event(self, event: Any) -> None:
        """On the thread that shows something, or on ImageJ's event thread."""
        own = threading.get_ident() == self._ident
        if not own and int(event.getID()) != _OPENED:
            return
        window = event.getSource()
        if not isinstance(window, java("java.awt.Dialog")) or window in self._shown:
            return
        if own or (self._waits_in("java.awt.EventQueue") and self._waits_in("ij.io.")):
            self._shown.append(window)

    def tend(self) -> None:
        """Close what only tells something, and take note of questions; now and then, on any other thread."""
        for window in list(self._shown):
            if not window.isShowing() or not self._is_waited_for(window):
                continue
            if window not in self._known:
                self._known.append(window)
                self._take_note(window)
            if _only_tells(window):
                later(window.dispose)

    def dispose(self) -> None:
        """Take what is left of them off the screen; on any other thread, once nobody waits for them."""
        for window in list(self._shown):
            later(window.dispose)

    def close(self) -> None:
        """Close all of them, as the user would; those that do not mind that, without asking. On any other thread."""
        for window in list(self._shown):
            later(partial(self._close, window))

    def _close(self, window: Any) -> None:
        if not window.isDisplayable():
            return
        if window in self._asked or isinstance(window, java("java.awt.FileDialog")):
            window.dispose()
        else:  # a dialog that is only taken off the screen goes on waiting
            self._asked.append(window)
            window.dispatchEvent(java("java.awt.event.WindowEvent")(window, _CLOSING))

    def _take_note(self, window: Any) -> None:
        title = str(window.getTitle() or "")
        if isinstance(window, java("ij.gui.MessageDialog")):
            self.messages.append(_text(window) or title)
            logger.info("a macro says: %s", self.messages[-1])
        elif not _only_tells(window):
            self.questions.append(title or type(window).__name__)

    def _is_waited_for(self, window: Any) -> bool:
        if str(self._thread.getState()) not in ("WAITING", "TIMED_WAITING"):
            return False
        # A modal dialog's own loop; any other dialog, such as waitForUser's, waits in a method of its own.
        return self._waits_in("java.awt.WaitDispatchSupport" if _only_tells(window) else "Dialog")

    def _waits_in(self, name: str) -> bool:
        return any(name in str(frame.getClassName()) for frame in self._thread.getStackTrace())


def _only_tells(window: Any) -> bool:
    if isinstance(window, java("ij.gui.MessageDialog")):
        return True
    return isinstance(window, java("ij.gui.GenericDialog")) and str(window.getTitle() or "") in _REPORTS


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
