"""A child that ends when its parent does, however the parent dies.

The parent holds the writing end of a pipe, the child the reading end. The kernel closes the writing end
when the parent ends, ``kill -9`` included, and the child reads the end of the file. Nothing else may hold
a writing end: it is not inherited by other programs (close-on-exec), and a forked copy of the parent
closes it at once.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import threading
import time
from collections.abc import Callable, MutableMapping

from zmqruntime._identity import same_process

logger = logging.getLogger(__name__)

LIFELINE_VARIABLE = "ZMQRUNTIME_LIFELINE"
"""Environment variable that names the descriptor of the pipe's reading end."""

PARENT_VARIABLE = "ZMQRUNTIME_PARENT"
"""Environment variable with the parent's ``pid:start_time``, watched where no descriptor can be passed."""

GRACE = 3.0
"""Seconds a child has to end itself after its parent died, before it is ended."""

_PARENT_INTERVAL = 1.0
"""Seconds between two looks at the parent where there is no pipe."""

_lock = threading.Lock()
"""Held while an end is made or closed, and by this process while it forks: a fork sees neither half done."""

_open_ends: set[Lifeline] = set()


class Lifeline:
    """The parent's end of a child's lifeline.

    Attributes
    ----------
    read_end : int
        Descriptor to pass to the child; `hand_over` closes it here.
    """

    def __init__(self) -> None:
        with _lock:
            self.read_end, self._write_end = os.pipe()
            _open_ends.add(self)

    def hand_over(self) -> None:
        """Close the reading end here: the child has its own, or was never started. Idempotent."""
        with _lock:
            if self.read_end >= 0:
                os.close(self.read_end)
                self.read_end = -1

    def close(self) -> None:
        """Let go of the child: it ends as if this process had died. Idempotent, any thread."""
        with _lock:
            if self._write_end >= 0:
                os.close(self._write_end)
                self._write_end = -1
            _open_ends.discard(self)


def _after_fork_in_child() -> None:
    for end in _open_ends:
        for descriptor in (end.read_end, end._write_end):
            if descriptor >= 0:
                os.close(descriptor)
        end.read_end = end._write_end = -1
    _open_ends.clear()
    _lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_lock.acquire,
        after_in_parent=_lock.release,
        after_in_child=_after_fork_in_child,
    )


def watch_lifeline(
    on_parent_death: Callable[[], None],
    *,
    grace: float = GRACE,
    environ: MutableMapping[str, str] | None = None,
) -> bool:
    """Call `on_parent_death` once the process that started this one as its child has died.

    To be called early, from the main thread. If this process still lives `grace` seconds after the call it is
    ended on the spot, with the stacks of all its threads on standard error: also when
    it hangs in code that never lets another Python thread run.

    Parameters
    ----------
    on_parent_death : callable
        Called on a thread of its own; asks the application to end, and returns.
    grace : float
        Seconds.
    environ : mapping, optional
        Where to find the lifeline, `os.environ` when not given. Its entry is taken out, so that programs
        started by this process do not take it for theirs.

    Returns
    -------
    bool
        False when this process was not started as a child and nothing is watched.
    """
    environ = os.environ if environ is None else environ
    lifeline, parent = environ.pop(LIFELINE_VARIABLE, ""), environ.pop(PARENT_VARIABLE, "")
    wait: Callable[[], None]
    if lifeline.isdigit():
        descriptor = int(lifeline)
        os.set_inheritable(descriptor, False)
        wait = lambda: _read_to_end(descriptor)  # noqa: E731
    elif parent:
        pid, _, start_time = parent.partition(":")
        wait = lambda: _poll_parent(int(pid), int(start_time))  # noqa: E731
    else:
        return False

    def watch() -> None:
        wait()
        # faulthandler's clock runs on a thread that needs no interpreter lock.
        faulthandler.dump_traceback_later(grace, exit=True, file=2)
        logger.warning("the parent process has died: ending within %g s", grace)
        on_parent_death()

    threading.Thread(target=watch, name="lifeline", daemon=True).start()
    return True


def _read_to_end(descriptor: int) -> None:
    while os.read(descriptor, 4096):
        pass


def _poll_parent(pid: int, start_time: int) -> None:
    while same_process(pid, start_time):
        time.sleep(_PARENT_INTERVAL)
