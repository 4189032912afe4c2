"""Who a process is: its pid together with the moment it started, because pids are used again."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from pathlib import Path

from zmqruntime.errors import NotOursError

POLL_INTERVAL = 0.05
"""Seconds between two looks at a process where the kernel cannot tell us of its end (no pidfd)."""

_LINUX = sys.platform == "linux"

_STATE, _THREADS, _START = 0, 17, 19
"""Indices of fields 3, 20 and 22 of proc(5)'s stat after the name's closing bracket."""


def process_start_time(pid: int) -> int | None:
    """Return when process `pid` started, None when no such process lives.

    Returns
    -------
    int or None
        On Linux clock ticks since boot (field 22 of ``/proc/<pid>/stat``), elsewhere milliseconds since
        1970: only good for comparing with another value from the same machine. A zombie does not live.
    """
    if pid <= 0:
        return None
    if _LINUX:
        try:
            data = Path(f"/proc/{pid}/stat").read_bytes()
        except OSError:
            return None
        # The name is in brackets and may itself hold brackets and blanks.
        fields = data[data.rfind(b")") + 1 :].split()
        if len(fields) <= _START:
            return None
        # While a killed process's threads end one by one the first may be a zombie already, with the
        # sockets, files and memory that all share still open: it lives until the last has gone.
        if fields[_STATE] in (b"Z", b"X") and int(fields[_THREADS]) <= 1:
            return None
        return int(fields[_START])
    return _start_time_elsewhere(pid)


def _start_time_elsewhere(pid: int) -> int | None:
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        created: float = process.create_time()
    except psutil.Error:
        return None
    return round(created * 1000)


def same_process(pid: int, start_time: int) -> bool:
    """Return whether the process that is `pid` now is the one that started at `start_time`, and lives."""
    return process_start_time(pid) == start_time


def open_pidfd(pid: int, start_time: int) -> int:
    """Return a file descriptor of exactly this process; -1 where the system has none.

    It is opened first and the start time compared after: once both agree the descriptor can never mean
    another process, whatever happens to the pid.

    Raises
    ------
    ProcessLookupError
        The process does not live any more.
    """
    descriptor = -1
    if sys.platform == "linux" and hasattr(os, "pidfd_open"):
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            raise
        except OSError:
            descriptor = -1  # old kernel, sandbox, or no descriptor left: the caller polls instead
    if not same_process(pid, start_time):
        if descriptor >= 0:
            os.close(descriptor)
        raise ProcessLookupError(f"process {pid} (started {start_time}) has ended")
    return descriptor


def send_signal(pid: int, start_time: int, number: int) -> bool:
    """Send a signal to exactly this process; return False when it does not live any more.

    Raises
    ------
    NotOursError
        The process belongs to another user.
    """
    try:
        descriptor = open_pidfd(pid, start_time)
    except ProcessLookupError:
        return False
    try:
        if descriptor >= 0:
            signal.pidfd_send_signal(descriptor, number)
        else:
            os.kill(pid, number)
    except ProcessLookupError:
        return False
    except PermissionError as error:
        raise NotOursError(f"process {pid} belongs to another user: only that user can end it") from error
    finally:
        if descriptor >= 0:
            os.close(descriptor)
    return True


def wait_for_end(pid: int, start_time: int, timeout: float | None) -> bool:
    """Wait until exactly this process has ended; return whether it has.

    Parameters
    ----------
    timeout : float or None
        Seconds; None waits as long as it takes. No processor time is used meanwhile where there are pidfds.
    """
    try:
        descriptor = open_pidfd(pid, start_time)
    except ProcessLookupError:
        return True
    if descriptor >= 0:
        try:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            return bool(poll.poll(None if timeout is None else max(0.0, timeout * 1000)))
        finally:
            os.close(descriptor)
    end = None if timeout is None else time.monotonic() + timeout
    while same_process(pid, start_time):
        left = POLL_INTERVAL if end is None else end - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(POLL_INTERVAL, left))
    return True
