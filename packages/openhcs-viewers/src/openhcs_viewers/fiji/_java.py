"""Small words for talking to Java: classes by name, and tasks on the thread that draws its windows.

Java's windows belong to its event thread (EDT). Rules that keep us from locking up: nothing on it ever waits for a
lock of ours, and nobody waits for it while holding one it may want.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import jpype

__all__ = ["java", "later", "on_edt"]

logger = logging.getLogger(__name__)

T = TypeVar("T")


@cache
def java(name: str) -> Any:
    """Return the Java class of that name, such as ``"ij.ImagePlus"``; kept, for looking one up costs 10 us."""
    return jpype.JClass(name)


def on_edt(task: Callable[[], T]) -> T:
    """Call `task` on the EDT, wait, and return what it returns or raise what it raises.

    In a Java without windows, and on the EDT itself, it is called here and now.
    """
    if java("java.awt.GraphicsEnvironment").isHeadless() or java("java.awt.EventQueue").isDispatchThread():
        return task()
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(task())
        except BaseException as error:
            # To whoever waits; Java would print it and go on.
            errors.append(error)

    java("java.awt.EventQueue").invokeAndWait(jpype.JProxy("java.lang.Runnable", dict={"run": run}))
    if errors:
        raise errors[0]
    return results[0]


def later(task: Callable[[], Any]) -> None:
    """Have `task` called on the EDT soon; what it raises goes to the log. Called here in a Java without windows."""

    def run() -> None:
        try:
            task()
        except Exception:
            # The boundary to Java's event loop, which would only print it.
            logger.exception("a task for ImageJ's windows failed")

    if java("java.awt.GraphicsEnvironment").isHeadless():
        run()
    else:
        java("java.awt.EventQueue").invokeLater(jpype.JProxy("java.lang.Runnable", dict={"run": run}))
