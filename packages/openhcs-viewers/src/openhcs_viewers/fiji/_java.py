"""Small words for talking to Java: classes by name, and tasks on the thread that draws its windows.

Java's windows belong to its event thread (EDT). Rules that keep us from locking up: nothing on it ever waits for a
lock of ours, and nobody waits for it while holding one it may want.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import jpype

from openhcs_viewers.errors import ViewerClosedError

__all__ = ["PATIENCE", "java", "later", "let_go", "on_edt"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

PATIENCE = 1.0
"""Seconds the EDT gets for a task once the process is to end."""

_LOOK = 0.25
"""Seconds between two looks at whether the process is to end, while somebody waits for the EDT."""

_leaving = threading.Event()


@cache
def java(name: str) -> Any:
    """Return the Java class of that name, such as ``"ij.ImagePlus"``; kept, for looking one up costs 10 us."""
    return jpype.JClass(name)


def on_edt(task: Callable[[], T]) -> T:
    """Call `task` on the EDT, wait, and return what it returns or raise what it raises.

    In a Java without windows, and on the EDT itself, it is called here and now.

    Raises
    ------
    ViewerClosedError
        The process is to end (`let_go`) and the EDT is held by something else; `task` is not called any more if it
        was not yet.
    """
    if java("java.awt.GraphicsEnvironment").isHeadless() or java("java.awt.EventQueue").isDispatchThread():
        return task()
    results: list[T] = []
    errors: list[BaseException] = []
    done = threading.Event()

    def call(task: Callable[[], T]) -> None:
        try:
            results.append(task())
        except BaseException as error:
            # To whoever waits; Java would print it and go on.
            errors.append(error)
        finally:
            done.set()

    box = _post(call, task)
    while not done.wait(_LOOK):
        if _leaving.is_set() and not done.wait(PATIENCE):
            box.clear()
            raise ViewerClosedError(
                f"ImageJ's event thread was held for {PATIENCE:g} s when the viewer was to end: what was to be done "
                "there is left; see which plugin or macro is busy"
            )
    if errors:
        raise errors.pop()
    return results.pop()


def later(task: Callable[[], Any]) -> None:
    """Have `task` called on the EDT soon; what it raises goes to the log. Called here in a Java without windows."""

    def call(task: Callable[[], Any]) -> None:
        try:
            task()
        except Exception:
            # The boundary to Java's event loop, which would only print it.
            logger.exception("a task for ImageJ's windows failed")

    if java("java.awt.GraphicsEnvironment").isHeadless():
        call(task)
    else:
        _post(call, task)


def let_go() -> None:
    """Have nobody wait longer than `PATIENCE` for the EDT from now on: the process ends. Any thread."""
    _leaving.set()


def _post(call: Callable[[Any], None], task: Callable[[], Any]) -> list[Callable[[], Any]]:
    """Have the EDT `call` a task; return the box it lies in until then.

    What Java gets holds nothing of the task once that was done: Java forgets a `JProxy` when it next collects, which
    may be never, and the pixels of a sender that is long gone would stay in memory until then.
    """
    box = [task]

    def run() -> None:
        try:
            task = box.pop()
        except IndexError:
            return  # nobody waits for it any more
        call(task)

    del task
    java("java.awt.EventQueue").invokeLater(jpype.JProxy("java.lang.Runnable", dict={"run": run}))
    return box
