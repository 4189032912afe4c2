"""Waiting in tests: for a condition, with a deadline."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_POLL = 0.01


def wait_until(predicate: Callable[[], T], timeout: float = 5.0, message: str = "") -> T:
    """Return the first true value of `predicate`, asked every 10 ms.

    Raises
    ------
    AssertionError
        There was none within `timeout` seconds; the text holds `message` and the last value.
    """
    end = time.monotonic() + timeout
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{message or predicate} not within {timeout:g} s; last value {value!r}")
        time.sleep(_POLL)


def start_port() -> int:
    """Return where to look for free ports from: far apart in test runs that go on side by side."""
    return 10_000 + os.getpid() % 500 * 40
