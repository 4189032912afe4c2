"""Run a command that must not outlive whoever started it: ``python _guard.py [--fds 5,6] -- COMMAND...``.

The guard's standard input is a pipe whose other end its owner holds. When that closes (the owner died, or
let go), or the guard is told to end, the command and everything in its process group gets SIGTERM and,
`TERM_GRACE` later, SIGKILL. When the command ends, the guard ends with its exit code. Should the guard
itself be killed, the Linux kernel kills the command.

Only the standard library, run by its path with ``-I -S``: it starts in some 20 ms and needs nothing
installed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable

TERM_GRACE = 1.0
"""Seconds between SIGTERM and SIGKILL: the command is to be gone 2 s after its owner."""

POLL_INTERVAL = 0.1
"""Seconds between two looks at the command on systems without pidfds."""

NOT_FOUND = 127
"""Exit code when the command cannot be started, as in a shell."""

_PR_SET_PDEATHSIG = 1


def _die_with_me() -> Callable[[], None] | None:
    """Return what the command's process does first: ask the kernel to be killed when the guard dies."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up before the fork: afterwards only system calls are safe
    guard = os.getpid()

    def prepare() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != guard:  # it died in between
            os._exit(1)

    return prepare


def _ended(process: subprocess.Popen[bytes], streams: list[int], timeout: float | None) -> bool:
    """Wait until the command has ended or one of `streams` has something; return whether it has ended."""
    try:
        watched = os.pidfd_open(process.pid)  # type: ignore[attr-defined, unused-ignore]
    except (AttributeError, OSError):
        watched = -1
    poll = select.poll()
    for descriptor in [*streams, watched]:
        if descriptor >= 0:
            poll.register(descriptor, select.POLLIN | select.POLLHUP)
    try:
        if watched >= 0:
            poll.poll(None if timeout is None else timeout * 1000)
            return process.poll() is not None
        left = timeout
        while process.poll() is None:
            if poll.poll(POLL_INTERVAL * 1000):
                return process.poll() is not None
            if left is not None:
                left -= POLL_INTERVAL
                if left <= 0:
                    return False
        return True
    finally:
        if watched >= 0:
            os.close(watched)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    # The command is our child and not yet waited for, so neither its pid nor its group can be anybody else's.
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        except PermissionError:
            pass  # macOS says so of a group of zombies
        if _ended(process, [], TERM_GRACE):
            break
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)  # what the command left behind in its group


def run(argv: list[str]) -> int:
    """Guard the command of `argv` (``[--fds N,N] -- COMMAND...``) and return its exit code."""
    split = argv.index("--")
    options, command = argv[:split], argv[split + 1 :]
    fds = [int(fd) for fd in options[1].split(",")] if options[:1] == ["--fds"] else []
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    try:
        # preexec_fn is safe here, this process has one thread.
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, pass_fds=fds, process_group=0, preexec_fn=_die_with_me()
        )
    except OSError as error:
        print(f"cannot start {command[0]!r}: {error}", file=sys.stderr)
        return NOT_FOUND
    for fd in fds:
        os.close(fd)  # so that the owner reads the end of the file when the command ends
    if not _ended(process, [0, wake_read], None):
        _end_group(process)
    code = process.wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
