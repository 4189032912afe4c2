"""A bar on the terminal; lines where stderr is none."""

from __future__ import annotations

import shutil
import sys
import time
from types import TracebackType
from typing import TextIO

__all__ = ["ProgressBar"]

WIDTH = 30
_LEAST_WIDTH = 5
_BETWEEN_DRAWS = 0.1
_BETWEEN_LINES = 10.0


class ProgressBar:
    """How much of some long work is done, on stderr.

    On a terminal one line that is drawn over and over; else (a log, a batch system) a line for each tenth of the
    work, or when the last one is some seconds old.

    Parameters
    ----------
    label
        What is being done: ``"copying"``.
    total
        How many steps there are.
    stream
        Where to; by default stderr.
    """

    def __init__(self, label: str, total: int, stream: TextIO | None = None) -> None:
        self._label = label
        self._total = total
        self._stream = sys.stderr if stream is None else stream
        self._tty = self._stream.isatty()
        self._started = time.monotonic()
        self._drawn = self._started if not self._tty else 0.0
        self._tenth = 0
        self._done = 0
        self._nbytes = 0

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._total:
            self._draw(time.monotonic())
            if self._tty:
                self._stream.write("\n")
                self._stream.flush()

    def __call__(self, done: int, nbytes: int) -> None:
        """Note the state, and show it when it is time."""
        self._done, self._nbytes = done, nbytes
        now = time.monotonic()
        tenth = 10 * done // self._total if self._total else 10
        if self._tty:
            due = now - self._drawn >= _BETWEEN_DRAWS
        else:
            due = (tenth > self._tenth or now - self._drawn >= _BETWEEN_LINES) and done < self._total
        if due:
            self._drawn, self._tenth = now, tenth
            self._draw(now)

    def _draw(self, now: float) -> None:
        elapsed = max(now - self._started, 1e-9)
        part = self._done / self._total if self._total else 1.0
        rate = f"{self._nbytes / elapsed / 1e6:,.1f} MB/s"
        left = f", {_span(elapsed * (1 - part) / part)} left" if 0 < part < 1 else ""
        counts = f"{self._done:,} of {self._total:,} planes, {rate}{left}"
        if not self._tty:
            self._stream.write(f"{self._label}: {counts}\n")
        else:
            room = shutil.get_terminal_size().columns - len(self._label) - len(counts) - 5
            width = min(WIDTH, room)
            filled = int(part * width)
            bar = f"[{'#' * filled}{'-' * (width - filled)}] " if width >= _LEAST_WIDTH else ""
            self._stream.write(f"\r{self._label} {bar}{counts}\x1b[K")
        self._stream.flush()


def _span(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
