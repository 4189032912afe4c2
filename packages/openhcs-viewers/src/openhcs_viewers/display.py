"""A display to open windows on: checked before use, or a virtual one of our own.

napari is never started without `check_display`: Qt ends the process when there is no display, with no
chance to say why.
"""

from __future__ import annotations

import itertools
import os
import select
import shutil
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from openhcs_viewers import _x11
from openhcs_viewers.errors import DisplayError
from openhcs_viewers.system import install_command
from zmqruntime.config import runtime_dir
from zmqruntime.errors import ProcessStartError
from zmqruntime.handshake import self_identity
from zmqruntime.process import GuardedProcess, same_process

BLIND_PLATFORMS = frozenset({"offscreen", "minimal", "minimalegl", "eglfs", "linuxfb", "vnc"})
"""Qt platforms on which an OpenGL canvas draws nothing or the process aborts (measured with Qt 6.11)."""

DEFAULT_SIZE = (1600, 1000)
"""Width and height in pixels of a virtual display: room for napari with its docks."""

START_TIMEOUT = 20.0
"""Seconds Xvfb gets to open its display; it takes 0.1 to 0.5, a loaded machine more."""


def check_display(env: Mapping[str, str] | None = None) -> str:
    """Return a description of the display a window would open on, having connected to it.

    Parameters
    ----------
    env : mapping of str to str, optional
        Environment to look at; this process's when not given.

    Raises
    ------
    DisplayError
        There is none, it cannot be opened, or Qt is told to use a platform that draws nothing. The text
        says what to do.
    """
    env = os.environ if env is None else env
    platform = env.get("QT_QPA_PLATFORM", "").partition(":")[0].partition(";")[0]
    if platform in BLIND_PLATFORMS:
        raise DisplayError(f"QT_QPA_PLATFORM={platform!r} draws no canvas: unset it, {_VIRTUAL}")
    if sys.platform in ("win32", "darwin"):
        return f"the desktop of {sys.platform}"
    wayland, x11 = env.get("WAYLAND_DISPLAY", ""), env.get("DISPLAY", "")
    if wayland and platform != "xcb":
        problem = _wayland_problem(wayland, env)
        if not problem:
            return f"Wayland {wayland}"
        if not x11:
            raise DisplayError(
                f"WAYLAND_DISPLAY={wayland!r} cannot be opened: {problem}; log in to a desktop, {_VIRTUAL}"
            )
    if not x11:
        raise DisplayError(
            "there is no display to open a window on (neither DISPLAY nor WAYLAND_DISPLAY is set): "
            f"log in to a desktop, use 'ssh -X', {_VIRTUAL}"
        )
    try:
        vendor = _x11.handshake(x11, env)
    except _x11.X11Refused as error:
        raise DisplayError(
            f"DISPLAY={x11!r} cannot be opened: {error}; correct DISPLAY or XAUTHORITY, {_VIRTUAL}"
        ) from error
    return f"X11 {x11} ({vendor})"


_VIRTUAL = (
    "or use a virtual display: display='virtual' in Python, --display virtual on the command line, "
    "OPENHCS_DISPLAY=virtual in the environment"
)


def _wayland_problem(name: str, env: Mapping[str, str]) -> str:
    path = Path(name) if name.startswith("/") else Path(env.get("XDG_RUNTIME_DIR") or "/nowhere") / name
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(_x11.ANSWER_TIMEOUT)
        sock.connect(str(path))
    except OSError as error:
        return f"nobody listens on {path} ({error})"
    finally:
        sock.close()
    return ""


class VirtualDisplay:
    """A display in memory (Xvfb), for machines without one. A context manager.

    Only this user's programs can open it: it listens on a Unix socket, and asks for a random cookie. It ends
    with this process, also when this process is killed with SIGKILL.

    Parameters
    ----------
    size : (int, int)
        Width and height in pixels.
    depth : int
        Bits per pixel.

    Attributes
    ----------
    name : str
        The display, such as ``":1"``.
    env : dict of str to str
        What a program needs in its environment to open windows there.

    Raises
    ------
    DisplayError
        Xvfb is not installed (with the command that installs it), or did not start (with what it said).
    """

    def __init__(self, size: tuple[int, int] = DEFAULT_SIZE, depth: int = 24) -> None:
        if shutil.which("Xvfb") is None:
            raise DisplayError(
                f"a virtual display needs Xvfb, which is not installed: run '{install_command(('xvfb',))}' as root"
            )
        self._folder = _own_folder()
        self._process: GuardedProcess | None = None
        try:
            self.name = self._start(f"{size[0]}x{size[1]}x{depth}")
        except BaseException:
            self.close()
            raise
        self.env = {"DISPLAY": self.name, "XAUTHORITY": str(self._folder / "authority")}

    def __enter__(self) -> VirtualDisplay:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def is_alive(self) -> bool:
        """Return whether the display is there."""
        return self._process is not None and self._process.is_alive()

    def use(self) -> None:
        """Make it the display of this process and of those it starts from now on."""
        os.environ.pop("WAYLAND_DISPLAY", None)
        os.environ.update(self.env)

    def close(self) -> None:
        """End the display, and with it every program that has a window there; idempotent."""
        if self._process is not None:
            self._process.close()
            self._process = None
        shutil.rmtree(self._folder, ignore_errors=True)

    def leave(self) -> None:
        """Remove its files as the last thing before this process ends, which ends the display.

        For a process whose windows must not lose their display before it ends. Nobody else can open it from now on.
        """
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self, screen: str) -> str:
        authority, log = self._folder / "authority", self._folder / "log"
        _x11.write_authority(authority)
        read, write = os.pipe()
        command = [
            "Xvfb",
            "-displayfd",
            str(write),
            "-screen",
            "0",
            screen,
            "-nolisten",
            "tcp",
            # Else it starts anew whenever its last client leaves, and hangs up on those that come meanwhile.
            "-noreset",
            "-auth",
            str(authority),
        ]
        try:
            # The server chooses a free number itself, so that two of them never fight for one.
            self._process = GuardedProcess(command, pass_fds=(write,), log=log)
        except ProcessStartError as error:
            os.close(read)
            raise DisplayError(f"a virtual display cannot be started: {error}") from error
        finally:
            os.close(write)
        try:
            number = _read_line(read, START_TIMEOUT)
        finally:
            os.close(read)
        if not number.isdigit():
            said = log.read_text(errors="replace").strip()[-500:] or "it said nothing"
            raise DisplayError(f"Xvfb opened no display within {START_TIMEOUT:g} s: {said}")
        return f":{number}"


_numbers = itertools.count(1)


def _own_folder() -> Path:
    """Return a new folder for one display, having removed those whose owner was killed."""
    base = runtime_dir()
    for old in base.glob("display-*-*-*"):
        pid, start_time, _ = old.name.removeprefix("display-").split("-")
        if not (pid.isdigit() and start_time.isdigit() and same_process(int(pid), int(start_time))):
            shutil.rmtree(old, ignore_errors=True)
    pid, start_time = map(str, self_identity())
    folder = base / f"display-{pid}-{start_time}-{next(_numbers)}"
    folder.mkdir(mode=0o700)
    return folder


def _read_line(descriptor: int, timeout: float) -> str:
    """Return the first line of a pipe; what came until then when it ends or time is up."""
    end = time.monotonic() + timeout
    data = b""
    while b"\n" not in data:
        ready, _, _ = select.select([descriptor], [], [], max(0.0, end - time.monotonic()))
        more = os.read(descriptor, 64) if ready else b""
        if not more:
            break
        data += more
    return data.decode("ascii", "replace").partition("\n")[0].strip()
