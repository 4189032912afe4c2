"""What a launcher tells a viewer's process, and what that process reports when it cannot start."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from filelock import FileLock, Timeout

from openhcs_viewers.errors import LaunchError
from zmqruntime.config import Endpoint, runtime_dir
from zmqruntime.discovery import list_connections

logger = logging.getLogger(__name__)

LOCK_TIMEOUT = 30.0
"""Seconds to wait for other launches of this user; each holds the lock for some milliseconds."""

LOGS_KEPT = 50
"""Log files that are kept; each launch removes older ones."""

LOG_TAIL_LINES = 15
"""Lines of a viewer's log that a start error shows."""

HEADLESS = "headless"
"""``display`` of a viewer without any window."""

STARTING = 0.0
"""``ConnectionInfo.created`` of a viewer whose process was started and does not listen yet.

Written by the launcher, replaced by the viewer itself; both hold the launch lock, so the order is certain.
"""


class ServeOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a viewer's process is to do.

    Attributes
    ----------
    kind, target : str
        The viewer, and its class as ``"module:Class"``.
    endpoint : Endpoint
        Where to listen.
    title, log : str
        The window's title; the file its output goes to.
    display : str
        ``"auto"``, ``"virtual"``, ``"headless"`` or an X display such as ``":1"``.
    key : str
        File of its CURVE key pair; empty for none.
    budget : int or None
        Bytes of planes to keep in memory.
    options : dict
        What this kind of viewer alone understands.
    """

    kind: str
    target: str
    endpoint: Endpoint
    title: str = ""
    log: str = ""
    display: str = "auto"
    key: str = ""
    budget: int | None = None
    options: dict[str, str] = {}

    def encode(self) -> str:
        """Return the options as the text a process gets as its argument."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def decode(cls, text: str) -> ServeOptions:
        """Return the options in `text`; a `msgspec.DecodeError` when it holds none."""
        return _decode_options(text)


class StartReport(msgspec.Struct, frozen=True):
    """Why a viewer did not start: the error's name and its text."""

    error: str
    message: str


# Made here, once: msgspec makes its tables of a class when they are first used, and two threads at once crash it.
_decode_options = msgspec.json.Decoder(ServeOptions).decode
_decode_report = msgspec.json.Decoder(StartReport).decode


@contextmanager
def launch_lock() -> Iterator[None]:
    """Hold the lock under which this user's viewers are looked for, started and entered.

    Raises
    ------
    LaunchError
        Somebody else held it for `LOCK_TIMEOUT` seconds.
    """
    path = runtime_dir() / "launch.lock"
    try:
        with FileLock(path, timeout=LOCK_TIMEOUT, mode=0o600):
            yield
    except Timeout as error:
        raise LaunchError(
            f"another launch has held {path} for {LOCK_TIMEOUT:g} s: end that process, or try again"
        ) from error


def log_dir() -> Path:
    """Return the folder of the viewers' logs: ``openhcs-viewers/log`` in the user's XDG state folder."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "openhcs-viewers" / "log"


def new_log(kind: str, port: int) -> Path:
    """Return the path of a new log file, having removed old ones. The name is not used twice."""
    folder = log_dir()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    in_use = {info.log for info in list_connections()}
    old = [log for log in sorted(folder.glob("*.log"), key=_age)[: -LOGS_KEPT + 1] if str(log) not in in_use]
    for path in [each for log in old for each in (log, report_path(log))]:
        path.unlink(missing_ok=True)
    stamp = f"{time.strftime('%Y%m%d-%H%M%S')}-{time.time_ns() % 1_000_000_000:09d}"
    return folder / f"{kind}-{port}-{stamp}.log"


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0  # removed by another launch meanwhile


def report_path(log: Path) -> Path:
    """Return where the process with this log says why it did not start."""
    return log.with_suffix(".error.json")


def write_report(log: str, error: BaseException) -> None:
    """Tell the launcher why this process does not start."""
    if not log:
        return
    report = StartReport(type(error).__name__, str(error))
    try:
        report_path(Path(log)).write_bytes(msgspec.json.encode(report))
    except OSError as problem:
        logger.error("cannot write %s: %s", report_path(Path(log)), problem)


def read_report(log: Path) -> StartReport | None:
    """Return why the process with this log did not start, None when it left no report."""
    try:
        return _decode_report(report_path(log).read_bytes())
    except (OSError, msgspec.DecodeError):
        return None


def log_tail(log: Path) -> str:
    """Return the last lines of a log, empty when there are none."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join(lines[-LOG_TAIL_LINES:])
