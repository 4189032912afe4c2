"""Between threads, signals and Qt's event loop."""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QObject, QSocketNotifier, Qt, QTimer, Signal

__all__ = ["FIRST_SIZE", "FRAME", "FramePump", "TerminationWatch", "give_room"]

logger = logging.getLogger(__name__)

FRAME = 1 / 30
"""Seconds between two updates: what arrives meanwhile is shown together, and the user's clicks come between."""


FIRST_SIZE = (1200, 800)
"""Width and height of a window whose user has not chosen: the layers of a few steps and channels are all in view."""


def give_room(model: Any) -> None:
    """Make a new window large enough for a plate's layers, unless napari remembers the size its user chose."""
    from napari.settings import get_settings
    from qtpy.QtWidgets import QApplication

    if get_settings().application.window_size is None:
        free = QApplication.primaryScreen().availableGeometry()
        width, height = FIRST_SIZE
        model.window.resize(min(width, round(free.width() * 0.9)), min(height, round(free.height() * 0.9)))


class FramePump(QObject):
    """Calls a function on the GUI thread soon after it is asked to, at most once per frame.

    However often it is asked, from whatever thread, one call is pending at most.

    Parameters
    ----------
    callback
        Called on the GUI thread. What it raises is logged: one bad update must not end the loop.
    interval
        Least seconds between the end of one call and the next.
    """

    asked = Signal()

    def __init__(self, callback: Callable[[], None], interval: float = FRAME) -> None:
        super().__init__()
        self._callback = callback
        self._interval = interval
        self._pending = False
        self._last = 0.0
        self.calls = 0
        """How often the function was called."""
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._call)
        self.asked.connect(self._on_asked, Qt.ConnectionType.QueuedConnection)

    def request(self) -> None:
        """Ask for a call; any thread, microseconds."""
        if not self._pending:  # two threads at once may both pass: then one call finds nothing to do
            self._pending = True
            # RuntimeError: Qt's side of this object is gone, at the very end of the process
            with contextlib.suppress(RuntimeError):
                self.asked.emit()

    def _on_asked(self) -> None:
        wait = self._last + self._interval - time.monotonic()
        if wait <= 0:
            self._call()
        elif not self._timer.isActive():
            self._timer.start(max(1, round(wait * 1000)))

    def _call(self) -> None:
        self._pending = False  # before the call: what arrives from now on needs another
        self.calls += 1
        try:
            self._callback()
        except Exception:
            logger.exception("an update of the window failed")
        self._last = time.monotonic()

    def stop(self) -> None:
        """Call nothing any more."""
        self._pending = True
        self._timer.stop()
        self._callback = _nothing


class TerminationWatch:
    """Calls a function on the GUI thread when the process is asked to end (SIGTERM, SIGINT).

    Python runs signal handlers between bytecodes, and an idle Qt loop runs none; the byte the interpreter
    writes to a socket wakes it.

    Parameters
    ----------
    callback
        Called on the GUI thread.
    """

    SIGNALS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback = callback
        self._notifier: Any = None
        self._previous: dict[signal.Signals, Any] = {}
        self._wakeup = -1
        self._sockets: tuple[socket.socket, ...] = ()
        if threading.current_thread() is not threading.main_thread():
            return  # signals belong to the main thread; whoever runs Qt elsewhere looks after them
        read, write = socket.socketpair()
        for one in (read, write):
            one.setblocking(False)
        self._sockets = (read, write)
        self._notifier = QSocketNotifier(read.fileno(), QSocketNotifier.Type.Read)
        self._notifier.activated.connect(self._on_byte)
        self._previous = {one: signal.signal(one, self._on_signal) for one in self.SIGNALS}
        self._wakeup = signal.set_wakeup_fd(write.fileno(), warn_on_full_buffer=False)
        self._asked = False

    def close(self) -> None:
        """Give the signals back."""
        if not self._sockets:
            return
        signal.set_wakeup_fd(self._wakeup)
        for one, handler in self._previous.items():
            signal.signal(one, handler)
        self._notifier.setEnabled(False)
        self._notifier = None
        for sock in self._sockets:
            sock.close()
        self._sockets = ()

    def _on_signal(self, number: int, _frame: Any) -> None:
        self._asked = True
        # napari's loop puts a socket of its own in place of ours: then this handler is all that is called.
        QTimer.singleShot(0, self._callback)

    def _on_byte(self, *_: Any) -> None:
        with contextlib.suppress(OSError):
            self._sockets[0].recv(64)
        if self._asked:
            self._callback()


def _nothing() -> None:
    """Stand in for a stopped callback."""
