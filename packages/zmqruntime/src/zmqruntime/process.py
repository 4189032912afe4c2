"""Server processes: started as a child or detached, known by pid and start time, ended in good order.

A process is only ever ended by its identity, never by the port it holds: whoever listens there may be
a stranger, and a pid may be somebody else's by now.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from zmqruntime import _spawn
from zmqruntime._identity import (
    open_pidfd,
    process_start_time,
    same_process,
    send_signal,
    wait_for_end,
)
from zmqruntime.errors import NotOursError, PeerError, ProcessError, ProtocolError
from zmqruntime.guard import GuardedProcess
from zmqruntime.lifeline import LIFELINE_VARIABLE, PARENT_VARIABLE, Lifeline, watch_lifeline

__all__ = [
    "GuardedProcess",
    "ServerProcess",
    "open_pidfd",
    "process_start_time",
    "same_process",
    "watch_lifeline",
]

logger = logging.getLogger(__name__)

KILL_WAIT = 5.0
"""Seconds a process gets to vanish after SIGKILL; longer only when the kernel itself holds it."""


class ServerProcess:
    """A process, and the right to end exactly that one.

    Made by `spawn` or `attach`. Holds no file descriptor and needs no closing: letting go of the object
    leaves the process as it is (a child still ends with this process).

    Attributes
    ----------
    pid, start_time : int
        Its identity, see `process_start_time`.
    log : pathlib.Path or None
        Where its output goes, as far as known.
    detached : bool
        Whether it goes on when this process ends.
    """

    def __init__(
        self,
        pid: int,
        start_time: int,
        *,
        log: Path | None = None,
        detached: bool = True,
        spawned: _spawn.Spawned | None = None,
    ) -> None:
        self.pid = pid
        self.start_time = start_time
        self.log = log
        self.detached = detached
        self._spawned = spawned

    def __repr__(self) -> str:
        return f"ServerProcess(pid={self.pid}, start_time={self.start_time}, detached={self.detached})"

    @classmethod
    def spawn(
        cls,
        argv: Sequence[str],
        *,
        detached: bool,
        env: Mapping[str, str | None] | None = None,
        log: Path | str | None = None,
        cwd: Path | str | None = None,
    ) -> ServerProcess:
        """Return a new process running `argv`.

        Either way it gets a session of its own (no Ctrl-C, no hang-up of our terminal), an empty standard
        input, and no descriptor of ours.

        Parameters
        ----------
        argv : sequence of str
            Program and arguments; never read by a shell.
        detached : bool
            True: it goes on when this process ends. False: it gets a lifeline and must call `watch_lifeline`
            early; it ends when this process does, ``kill -9`` included.
        env : mapping, optional
            Changes to this process's environment; None as a value takes the variable out.
        log : path, optional
            Its output is appended there, mode 0600; thrown away when not given.
        cwd : path, optional
            Its working directory.

        Raises
        ------
        ProcessStartError
            The program cannot be executed, or the log not be written.
        """
        changes: dict[str, str | None] = {LIFELINE_VARIABLE: None, PARENT_VARIABLE: None, **(env or {})}
        lifeline = None
        if not detached and sys.platform == "win32":
            changes[PARENT_VARIABLE] = f"{os.getpid()}:{process_start_time(os.getpid())}"
        elif not detached:
            lifeline = Lifeline()
            changes[LIFELINE_VARIABLE] = str(lifeline.read_end)
        spawned = _spawn.start(
            argv,
            env=_spawn.environment(changes),
            log=log,
            cwd=cwd,
            lifeline=lifeline,
            pass_fds=() if lifeline is None else (lifeline.read_end,),
        )
        path = None if log is None else Path(log)
        return cls(spawned.pid, spawned.start_time, log=path, detached=detached, spawned=spawned)

    @classmethod
    def attach(cls, pid: int, start_time: int, *, log: Path | str | None = None) -> ServerProcess:
        """Return a handle of a process that somebody else started, as its connection file names it.

        Raises
        ------
        NotOursError
            The pid belongs to a process that started at another time.
        ProcessError
            No process has this pid.
        """
        found = process_start_time(pid)
        if found is None:
            raise ProcessError(f"process {pid} has ended: there is nothing to stop")
        if found != start_time:
            raise NotOursError(
                f"pid {pid} now belongs to another process (started {found}, not {start_time}): "
                "the one you mean has ended"
            )
        return cls(pid, start_time, log=None if log is None else Path(log))

    @property
    def returncode(self) -> int | None:
        """Its exit code, negative for a signal; None while it lives, or when it was not started here."""
        if self._spawned is None or same_process(self.pid, self.start_time):
            return None
        self._spawned.ended.wait(1.0)  # dead already; the thread that waits for it only has to be scheduled
        return self._spawned.code

    def is_alive(self) -> bool:
        """Return whether exactly this process still runs; a zombie does not."""
        return same_process(self.pid, self.start_time)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it has ended; return whether it has. Uses no processor time meanwhile.

        Parameters
        ----------
        timeout : float or None
            Seconds; None waits as long as it takes.
        """
        return wait_for_end(self.pid, self.start_time, timeout)

    def stop(self, timeout: float = 5.0, control: Callable[[], object] | None = None) -> str:
        """End it: asked, then SIGTERM, then SIGKILL; nothing is sent to any other process.

        Parameters
        ----------
        timeout : float
            Seconds each of the first two steps may take.
        control : callable, optional
            Asks the process to end itself, such as `ControlClient.shutdown`. When it raises because nobody
            answers, the next step follows at once.

        Returns
        -------
        str
            What ended it: ``"gone"`` (before we did anything), ``"asked"``, ``"terminated"`` or ``"killed"``.

        Raises
        ------
        NotOursError
            It belongs to another user.
        ProcessError
            Even SIGKILL did not end it: the kernel holds it.
        """
        if not self.is_alive():
            return "gone"
        if control is not None and self._asked(control) and self.wait(timeout):
            return "asked"
        if not send_signal(self.pid, self.start_time, signal.SIGTERM):
            return "gone" if control is None else "asked"
        if self.wait(timeout):
            return "terminated"
        logger.warning("process %d did not end within %g s of SIGTERM: killing it", self.pid, timeout)
        send_signal(self.pid, self.start_time, getattr(signal, "SIGKILL", signal.SIGTERM))
        if not self.wait(KILL_WAIT):
            raise ProcessError(f"process {self.pid} lives {KILL_WAIT:g} s after SIGKILL: the kernel holds it")
        return "killed"

    def _asked(self, control: Callable[[], object]) -> bool:
        try:
            control()
        except (PeerError, ProtocolError, OSError) as error:
            logger.info("process %d could not be asked to end: %s", self.pid, error)
            return False
        return True
