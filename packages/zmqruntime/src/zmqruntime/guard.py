"""Programs that are not ours and must not outlive us, such as a virtual display."""

from __future__ import annotations

import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from zmqruntime import _spawn
from zmqruntime._identity import same_process, send_signal, wait_for_end
from zmqruntime.errors import ProcessStartError
from zmqruntime.lifeline import Lifeline

GUARD = Path(__file__).with_name("_guard.py")
"""The guard's program; run by its path, so that it need not find this package."""


class GuardedProcess:
    """A command that ends within 2 s of this process, also when this process is killed with SIGKILL.

    A small guard process holds one end of a pipe, we the other; the guard ends the command, with everything
    in its process group, when the pipe closes. If the guard itself is killed the Linux kernel kills the
    command. POSIX only. `close` (or leaving the ``with``) ends the command; so does the end of this process, but not
    the mere loss of the object.

    Parameters
    ----------
    argv : sequence of str
        The command; never read by a shell. Its standard input is empty.
    pass_fds : sequence of int, optional
        Descriptors the command inherits under the same numbers, in no other process kept open.
    env : mapping, optional
        Changes to this process's environment; None as a value takes the variable out.
    log : path, optional
        Its output is appended there, mode 0600; thrown away when not given.
    cwd : path, optional
        Its working directory.

    Attributes
    ----------
    pid, start_time : int
        Identity of the guard.

    Raises
    ------
    ProcessStartError
        The command is not installed, or the log cannot be written.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        pass_fds: Sequence[int] = (),
        env: Mapping[str, str | None] | None = None,
        log: Path | str | None = None,
        cwd: Path | str | None = None,
    ) -> None:
        if sys.platform == "win32":
            raise ProcessStartError(f"{argv[0]!r} cannot be guarded on Windows: start it yourself")
        whole = _spawn.environment(env)
        if shutil.which(argv[0], path=whole.get("PATH")) is None:
            raise ProcessStartError(f"there is no program {argv[0]!r}: install it, or put it on PATH")
        self._lifeline = Lifeline()
        options = ["--fds", ",".join(map(str, pass_fds))] if pass_fds else []
        self._guard = _spawn.start(
            [sys.executable, "-I", "-S", str(GUARD), *options, "--", *argv],
            env=whole,
            log=log,
            cwd=cwd,
            lifeline=self._lifeline,
            stdin=self._lifeline.read_end,
            pass_fds=pass_fds,
        )
        self.pid, self.start_time = self._guard.pid, self._guard.start_time

    def __enter__(self) -> GuardedProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def is_alive(self) -> bool:
        """Return whether the command runs: its guard lives exactly as long."""
        return same_process(self.pid, self.start_time)

    @property
    def returncode(self) -> int | None:
        """The command's exit code, 128 plus the number for a signal; None while it runs."""
        return self._guard.code

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the command has ended; return whether it has. Uses no processor time meanwhile."""
        return wait_for_end(self.pid, self.start_time, timeout) and self._guard.ended.wait(1.0)

    def close(self, timeout: float = 5.0) -> None:
        """End the command and wait for its end; idempotent.

        Parameters
        ----------
        timeout : float
            Seconds after which the guard is killed, and the command with it.
        """
        self._lifeline.close()
        if not self.wait(timeout):
            send_signal(self.pid, self.start_time, signal.SIGKILL)
            self.wait(timeout)
