"""Where a server is: hosts, ports, transports and the directory of its socket files."""

from __future__ import annotations

import os
import re
import socket
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

from zmqruntime.errors import EndpointFormatError, IpcPathError

CONTROL_OFFSET = 1000
"""The control port is the data port plus this, as the original documents say."""

DEFAULT_DATA_PORT = 5555
"""The data port when none is given."""

IPC_PATH_LIMIT = 107
"""Longest ipc path in bytes: ``sun_path`` of Linux has 108 with its closing NUL."""

_LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1", "[::1]"})
_LOOPBACK_NUMBER = re.compile(r"127(\.[0-9]{1,3}){3}")
_HOST = re.compile(
    r"^(?:[A-Za-z0-9]([A-Za-z0-9.\-_]*[A-Za-z0-9])?|\*|\[[0-9A-Fa-f:.]+\]|[0-9A-Fa-f]*:[0-9A-Fa-f:.]+)$"
)


def runtime_dir() -> Path:
    """Return the directory of socket files, connection files and locks; created 0700 if missing.

    Returns
    -------
    pathlib.Path
        ``$ZMQRUNTIME_DIR``, else ``zmqruntime`` in the user's XDG runtime directory, else
        ``zmqruntime-<uid>`` in the temporary directory.

    Raises
    ------
    EndpointFormatError
        The directory belongs to another user, or others may write to it: somebody else could then
        plant a socket there.
    """
    given = os.environ.get("ZMQRUNTIME_DIR")
    if given:
        path = Path(given)
    else:
        xdg = os.environ.get("XDG_RUNTIME_DIR")
        if xdg and os.path.isdir(xdg) and os.access(xdg, os.W_OK):
            path = Path(xdg) / "zmqruntime"
        else:
            import tempfile

            uid = os.getuid() if hasattr(os, "getuid") else 0
            path = Path(tempfile.gettempdir()) / f"zmqruntime-{uid}"
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if hasattr(os, "getuid"):
        info = path.stat()
        if info.st_uid != os.getuid():
            raise EndpointFormatError(
                f"{path} belongs to user {info.st_uid}, not to you: set ZMQRUNTIME_DIR to a folder of yours"
            )
        if stat.S_IMODE(info.st_mode) & 0o022:
            raise EndpointFormatError(
                f"{path} can be written by others: run 'chmod 700 {path}' or set ZMQRUNTIME_DIR"
            )
    return path


def default_transport(host: str) -> str:
    """Return ``"ipc"`` for this machine where Unix sockets exist, else ``"tcp"``."""
    return "ipc" if is_loopback(host) and sys.platform != "win32" else "tcp"


def is_loopback(host: str) -> bool:
    """Return whether `host` names the loopback interface."""
    # Numbers only: "127.0.0.1.example.org" is anybody's name.
    return host in _LOOPBACK_HOSTS or _LOOPBACK_NUMBER.fullmatch(host) is not None


def is_this_machine(host: str) -> bool:
    """Return whether `host` is loopback or this machine's own name."""
    # No look-up of full names: without a network that can take many seconds.
    return is_loopback(host) or host.lower() == socket.gethostname().lower()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server's two channels.

    Parameters
    ----------
    host : str
        Host name or address. ``"*"`` means every interface, for binding only.
    data_port : int
        1 to 64535 when the control port follows from it.
    control_port : int, optional
        ``data_port + 1000`` when not given.
    transport : {"ipc", "tcp"}, optional
        ``ipc`` on this machine when not given. Under ipc the ports name the socket files.
    directory : str, optional
        Folder of the ipc socket files; `runtime_dir` when not given.

    Raises
    ------
    EndpointFormatError
        A value is not a host, a port or a transport.
    IpcPathError
        The ipc path would be longer than 107 bytes.
    """

    host: str = "localhost"
    data_port: int = DEFAULT_DATA_PORT
    control_port: int = 0
    transport: str = ""
    directory: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.host, str) or not _HOST.fullmatch(self.host):
            raise EndpointFormatError(f"host {self.host!r} is not a host name or address")
        if not self.control_port and isinstance(self.data_port, int):
            object.__setattr__(self, "control_port", self.data_port + CONTROL_OFFSET)
        for name in ("data_port", "control_port"):
            port = getattr(self, name)
            if isinstance(port, bool) or not isinstance(port, int) or not 1 <= port <= 65535:
                raise EndpointFormatError(
                    f"{name} {port!r} is not a port: give 1 to 65535 (control = data + {CONTROL_OFFSET})"
                )
        if self.data_port == self.control_port:
            raise EndpointFormatError(f"data and control port are both {self.data_port}: they must differ")
        if not self.transport:
            object.__setattr__(self, "transport", default_transport(self.host))
        if self.transport not in ("ipc", "tcp"):
            raise EndpointFormatError(f"transport {self.transport!r} is not known (known: ipc, tcp)")
        if self.transport == "ipc":
            if not is_this_machine(self.host):
                raise EndpointFormatError(
                    f"ipc reaches only this machine, not {self.host!r}: use transport='tcp'"
                )
            if not self.directory:
                object.__setattr__(self, "directory", str(runtime_dir()))
            longest = len(os.fsencode(self._socket_file(65535)))
            if longest > IPC_PATH_LIMIT:
                raise IpcPathError(
                    f"ipc path {self._socket_file(self.data_port)!r} is {longest} bytes long, "
                    f"the limit is {IPC_PATH_LIMIT}: set ZMQRUNTIME_DIR to a shorter folder or use transport='tcp'"
                )

    def _socket_file(self, port: int) -> str:
        return os.path.join(self.directory, f"{port}.sock")

    def _url(self, port: int) -> str:
        if self.transport == "ipc":
            return f"ipc://{self._socket_file(port)}"
        host = "127.0.0.1" if self.host == "localhost" else self.host
        return (
            f"tcp://[{host}]:{port}" if ":" in host and not host.startswith("[") else f"tcp://{host}:{port}"
        )

    @property
    def data_url(self) -> str:
        """ZeroMQ address of the data channel."""
        return self._url(self.data_port)

    @property
    def control_url(self) -> str:
        """ZeroMQ address of the control channel."""
        return self._url(self.control_port)

    @property
    def is_local(self) -> bool:
        """Whether the server is on this machine."""
        return is_this_machine(self.host)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it: ipc, or tcp on the loopback interface."""
        return self.transport == "ipc" or is_loopback(self.host)

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """Return the endpoint that ``tcp://host:5555``, ``host:5555``, ``ipc://5555`` or ``5555`` names.

        Raises
        ------
        EndpointFormatError
            The text names no endpoint.
        """
        match = re.match(r"^(?:(tcp|ipc)://)?(?:(.*):)?(\d{1,5})$", text.strip())
        if not match:
            raise EndpointFormatError(
                f"{text!r} is not an endpoint: write 5555, host:5555 or tcp://host:5555"
            )
        transport, host, port = match.groups()
        return cls(host=host or "localhost", data_port=int(port), transport=transport or "")

    def __str__(self) -> str:
        return f"{self.transport}://{self.host}:{self.data_port}"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait, in seconds.

    Attributes
    ----------
    request : float
        A control request's answer.
    ping_interval : float
        A sender asks a silent server for a sign of life this often.
    silence : float
        A server that gave none for this long counts as silent (stopped, hung or cut off). Below 3 s,
        so that a stopped process is noticed within 3 s.
    gone : float
        After this long a silent server on another machine counts as gone, and what it had not yet
        acknowledged as lost. On this machine the process table says so at once.
    """

    request: float = 2.0
    ping_interval: float = 0.5
    silence: float = 2.0
    gone: float = 20.0


DEFAULT_TIMEOUTS = Timeouts()
