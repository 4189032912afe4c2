"""Viewers that misbehave, for the launcher's tests; loaded by a viewer's own process."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from openhcs_viewers.abc import Changes
from openhcs_viewers.errors import DisplayError
from openhcs_viewers.testing import RecordingViewer


class NoDisplay(RecordingViewer):
    def open(self, title: str) -> None:
        raise DisplayError("there is no display ':77': correct DISPLAY")


class Dying(RecordingViewer):
    def open(self, title: str) -> None:
        print("the last words", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)


class Slow(RecordingViewer):
    """Opens when the file named by $SLOW_VIEWER exists."""

    def open(self, title: str) -> None:
        pause = threading.Event()
        while not Path(os.environ["SLOW_VIEWER"]).exists():
            pause.wait(0.01)
        super().open(title)


class Stuck(RecordingViewer):
    """Its loop stops turning at the first image, for ever."""

    def apply(self, changes: Changes) -> Mapping[str, str]:
        threading.Event().wait()
        return {}


class Deaf(RecordingViewer):
    """Does not end when it is closed."""

    def run(self, pump: Callable[[], None], heartbeat: Callable[[], None] | None = None) -> None:
        while True:
            threading.Event().wait(0.1)
            pump()

    def close(self) -> None:
        pass


class ClosedByUser(RecordingViewer):
    """Its window is closed as soon as it shows something."""

    def apply(self, changes: Changes) -> Mapping[str, Any]:
        failed = super().apply(changes)
        self.close()
        return failed


class Faulty(RecordingViewer):
    """Cannot bring its window up to date the first time."""

    tries = 0

    def pump(self) -> None:
        self.tries += 1
        if self.tries == 1:
            raise ValueError("a fault of the window")
        super().pump()
