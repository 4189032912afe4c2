"""A display to open windows on: checked before use, or a virtual one of our own.

napari is never started without `check_display`: Qt ends the process when there is no display, with no
chance to say why.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from openhcs_viewers import _x11
from openhcs_viewers.errors import DisplayError
from openhcs_viewers.system import install_command

BLIND_PLATFORMS = frozenset({"offscreen", "minimal", "minimalegl", "eglfs", "linuxfb", "vnc"})
"""Qt platforms on which an OpenGL canvas draws nothing or the process aborts (measured with Qt 6.11)."""

DEFAULT_SIZE = (1600, 1000)
"""Width and height in pixels of a virtual display: room for napari with its docks."""


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
            raise DisplayError(f"WAYLAND_DISPLAY={wayland!r} cannot be opened: {problem}; log in to a desktop, {_VIRTUAL}")
    if not x11:
        raise DisplayError(
            "there is no display to open a window on (neither DISPLAY nor WAYLAND_DISPLAY is set): "
            f"log in to a desktop, use 'ssh -X', {_VIRTUAL}"
        )
    try:
        vendor = _x11.handshake(x11, env)
    except _x11.X11Refused as error:
        raise DisplayError(f"DISPLAY={x11!r} cannot be opened: {error}; correct DISPLAY or XAUTHORITY, {_VIRTUAL}") from error
    return f"X11 {x11} ({vendor})"


_VIRTUAL = "or use a virtual display: display='virtual' in Python, --display virtual on the command line"


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
