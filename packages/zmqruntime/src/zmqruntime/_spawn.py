"""Start a program apart from this process: own session, own log, no zombie left behind.

`subprocess` only. A `multiprocessing` child runs its parent's main module once more, and a script without
the ``if __name__ == "__main__"`` guard would then do everything twice. Never `preexec_fn` either: it is
unsafe in a process with threads, and we are called from such.

The new process stays a child of this one until this one ends, and a daemon thread waits for it: that keeps
its exit code for the error text ("ended with code 1 before it was ready"), leaves no zombie, and costs one
sleeping thread. A double fork would need one more interpreter start, lose the exit code, and leave zombies
where pid 1 does not reap (most containers).
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from zmqruntime._identity import process_start_time
from zmqruntime.errors import ProcessStartError
from zmqruntime.lifeline import Lifeline

logger = logging.getLogger(__name__)


class Spawned:
    """A process that was started here.

    Attributes
    ----------
    pid, start_time : int
        Its identity.
    ended : threading.Event
        Set once it has been waited for.
    code : int or None
        Its exit code (negative: the signal that ended it), None until then.
    """

    def __init__(self, process: subprocess.Popen[bytes], lifeline: Lifeline | None) -> None:
        self.pid = process.pid
        # It is not yet waited for, so the pid is its own; None when it is a zombie already.
        self.start_time = process_start_time(process.pid) or 0
        self.ended = threading.Event()
        self.code: int | None = None
        # Only the thread knows the Popen: one that is collected while its process lives would warn.
        threading.Thread(
            target=self._reap, args=(process, lifeline), name=f"reap {process.pid}", daemon=True
        ).start()

    def _reap(self, process: subprocess.Popen[bytes], lifeline: Lifeline | None) -> None:
        self.code = process.wait()
        if lifeline is not None:
            lifeline.close()
        self.ended.set()


def environment(changes: Mapping[str, str | None] | None) -> dict[str, str]:
    """Return this process's environment with `changes` made; None takes a variable out."""
    merged: dict[str, str | None] = {**os.environ, **(changes or {})}
    return {name: value for name, value in merged.items() if value is not None}


def open_log(log: Path | str | None) -> int:
    """Return a descriptor to append to `log` with, the file being readable by its owner only.

    Raises
    ------
    ProcessStartError
        The file cannot be opened for writing.
    """
    if log is None:
        return os.open(os.devnull, os.O_WRONLY)
    try:
        Path(log).parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
        descriptor = os.open(log, flags, 0o600)
    except OSError as error:
        reason = f"cannot write the log {str(log)!r}: {error.strerror}"
        raise ProcessStartError(f"{reason}; give another path") from error
    if hasattr(os, "fchmod"):
        os.fchmod(descriptor, 0o600)
    return descriptor


def start(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    log: Path | str | None,
    cwd: Path | str | None,
    lifeline: Lifeline | None,
    stdin: int = subprocess.DEVNULL,
    pass_fds: Sequence[int] = (),
) -> Spawned:
    """Start `argv` in a session of its own, its output going to `log`.

    Parameters
    ----------
    lifeline : Lifeline, optional
        Closed once the process has ended, or when it cannot be started.

    Raises
    ------
    ProcessStartError
        The program or the working directory does not exist, or may not be executed.
    """
    output = -1
    process: subprocess.Popen[bytes] | None = None
    try:
        output = open_log(log)
        if sys.platform == "win32":
            flags = subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP
            process = subprocess.Popen(
                list(argv),
                stdin=stdin,
                stdout=output,
                stderr=output,
                env=dict(env),
                cwd=cwd,
                creationflags=flags,
            )
        else:
            process = subprocess.Popen(
                list(argv),
                stdin=stdin,
                stdout=output,
                stderr=output,
                env=dict(env),
                cwd=cwd,
                start_new_session=True,
                pass_fds=pass_fds,
            )
    except OSError as error:
        raise ProcessStartError(
            f"cannot start {argv[0]!r}: {error.strerror or error} ({error.filename}): "
            "is it installed and on PATH, and does the working directory exist?"
        ) from error
    finally:
        if lifeline is not None:
            lifeline.hand_over()
            if process is None:
                lifeline.close()
        if output >= 0:
            os.close(output)
    return Spawned(process, lifeline)
