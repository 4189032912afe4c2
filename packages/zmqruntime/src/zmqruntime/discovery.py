"""Which servers run here: connection files, free ports, and who holds a port.

A server writes one file ``<runtime_dir>/connections/<kind>-<port>-<pid>.json`` (0600, in a folder of the
user's own, 0700) once it listens, and removes it when it ends in good order. Nobody else ever writes that
name, so a stale file (its process is dead) can be removed by whoever finds it, without any lock.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import stat
import struct
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from zmqruntime._identity import same_process
from zmqruntime.config import CONTROL_OFFSET, DEFAULT_DATA_PORT, Endpoint, runtime_dir
from zmqruntime.errors import AddressInUseError, ConnectionFileError
from zmqruntime.handshake import self_identity
from zmqruntime.sockets import ipc_path_is_live

logger = logging.getLogger(__name__)

MAX_CONNECTION_FILE = 64 * 1024
"""A larger file is not one of ours; a real one has some 400 bytes."""

PORTS_TRIED = 1000
"""Pairs that `free_endpoint` looks at before it gives up."""

_KIND = re.compile(r"^[a-z0-9][a-z0-9_]{0,31}$")


class ConnectionInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A running server, as its connection file tells.

    Attributes
    ----------
    kind : str
        What it is: lower-case letters, digits and underscores.
    title, log : str
        Its name for people, and its log file.
    pid, start_time : int
        Its process, see `zmqruntime.process.process_start_time`.
    host, transport, directory : str
        With the ports, its `Endpoint`.
    data_port, control_port : int
        Its ports.
    public_key : str
        Its public CURVE key (Z85), empty when it has none.
    created : float
        When it was written, seconds since 1970; for people only.
    """

    kind: str
    title: str = ""
    pid: int
    start_time: int
    host: str = "localhost"
    data_port: int
    control_port: int
    transport: str
    directory: str = ""
    log: str = ""
    public_key: str = ""
    created: float = 0.0

    @classmethod
    def of(
        cls, endpoint: Endpoint, *, kind: str, title: str = "", log: str = "", public_key: bytes | str = ""
    ) -> ConnectionInfo:
        """Return what to write for a server of this process that listens on `endpoint`."""
        pid, start_time = self_identity()
        return cls(
            kind=kind,
            title=title,
            pid=pid,
            start_time=start_time,
            host=endpoint.host,
            data_port=endpoint.data_port,
            control_port=endpoint.control_port,
            transport=endpoint.transport,
            directory=endpoint.directory if endpoint.transport == "ipc" else "",
            log=log,
            public_key=public_key if isinstance(public_key, str) else public_key.decode(),
            created=time.time(),
        )

    @property
    def endpoint(self) -> Endpoint:
        """Where a client of this machine finds it."""
        host = "localhost" if self.host == "*" else self.host
        return Endpoint(host, self.data_port, self.control_port, self.transport, self.directory)

    def is_alive(self) -> bool:
        """Return whether its process lives."""
        return same_process(self.pid, self.start_time)


_decode = msgspec.json.Decoder(ConnectionInfo).decode


def connections_dir() -> Path:
    """Return the folder of the connection files, made 0700 when missing.

    Raises
    ------
    ConnectionFileError
        It belongs to another user, is a link, or others may write to it.
    """
    path = runtime_dir() / "connections"
    path.mkdir(mode=0o700, exist_ok=True)
    info = path.lstat()
    if not stat.S_ISDIR(info.st_mode):
        raise ConnectionFileError(f"{path} is not a folder: remove it, or set ZMQRUNTIME_DIR")
    if hasattr(os, "getuid"):
        if info.st_uid != os.getuid():
            raise ConnectionFileError(
                f"{path} belongs to user {info.st_uid}: set ZMQRUNTIME_DIR to a folder of yours"
            )
        if stat.S_IMODE(info.st_mode) & 0o077:
            path.chmod(0o700)
    return path


def connection_path(info: ConnectionInfo) -> Path:
    """Return where `info` is kept.

    Raises
    ------
    ConnectionFileError
        Its kind cannot stand in a file name.
    """
    if not _KIND.match(info.kind):
        raise ConnectionFileError(
            f"kind {info.kind!r} cannot be used: lower-case letters, digits and '_', at most 32, starting with no '_'"
        )
    return connections_dir() / f"{info.kind}-{info.data_port}-{info.pid}.json"


def write_connection(info: ConnectionInfo) -> Path:
    """Tell other processes of this server; return the file, which appears whole or not at all.

    Raises
    ------
    ConnectionFileError
        The kind or the folder cannot be used, or the file not be written.
    """
    path = connection_path(info)
    try:
        # mkstemp makes the file 0600; the name ends so that no reader takes it for a connection.
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=".tmp")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(msgspec.json.format(msgspec.json.encode(info), indent=1))
            Path(temporary).replace(path)
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ConnectionFileError(
            f"cannot write {path}: {error.strerror}; free some space, or set ZMQRUNTIME_DIR"
        ) from error
    return path


def remove_connection(info: ConnectionInfo) -> bool:
    """Remove a server's connection file; return whether there was one.

    The name holds the pid and the content the start time: a file of another process is left alone.
    """
    path = connection_path(info)
    found = _read(path)
    if found is None or (found.pid, found.start_time) != (info.pid, info.start_time):
        return False
    path.unlink(missing_ok=True)
    return True


def list_connections(kind: str | None = None) -> list[ConnectionInfo]:
    """Return the running servers of this user that wrote a connection file, by kind and port.

    A file whose process is dead is removed; one that cannot be read is left out, with a line in the log.

    Parameters
    ----------
    kind : str, optional
        Only this kind.
    """
    found = []
    for path in sorted(connections_dir().glob("*.json")):
        info = _read(path)
        if info is None:
            continue
        if not info.is_alive():
            path.unlink(missing_ok=True)
        elif kind is None or info.kind == kind:
            found.append(info)
    return sorted(found, key=lambda info: (info.kind, info.data_port, info.created))


def read_connection(kind: str | None, port: int, transport: str | None = None) -> ConnectionInfo | None:
    """Return the running server of this kind and data port, None when there is none.

    Parameters
    ----------
    kind : str or None
        None: any kind.
    transport : {"ipc", "tcp"}, optional
        Needed only where one port number is used under both.
    """
    for info in list_connections(kind):
        if info.data_port == port and transport in (None, info.transport):
            return info
    return None


def _read(path: Path) -> ConnectionInfo | None:
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        with os.fdopen(os.open(path, flags), "rb") as file:
            info = os.fstat(file.fileno())
            if not stat.S_ISREG(info.st_mode) or (hasattr(os, "getuid") and info.st_uid != os.getuid()):
                logger.warning("%s is not a file of ours: left out", path)
                return None
            data = file.read(MAX_CONNECTION_FILE + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        logger.warning("%s cannot be read (%s): left out", path, error.strerror)
        return None
    try:
        if len(data) > MAX_CONNECTION_FILE:
            raise msgspec.ValidationError(f"{len(data)} bytes")
        return _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        logger.warning("%s is not a connection file (%s): left out; remove it", path, error)
        return None


# --------------------------------------------------------------------------- ports


def port_is_free(port: int, host: str = "localhost") -> bool:
    """Return whether a server could listen on tcp `port` of this machine now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    address = {"localhost": "127.0.0.1", "*": ""}.get(host, host.strip("[]"))
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        if sys.platform == "win32":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            # As libzmq does: connections of the past that linger in TIME_WAIT do not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
            probe.listen(1)  # two may bind with SO_REUSEADDR, only one may listen
        except OSError:
            return False
    return True


def is_free(endpoint: Endpoint) -> bool:
    """Return whether both channels of `endpoint` could be bound now."""
    if endpoint.transport == "ipc":
        urls = (endpoint.data_url, endpoint.control_url)
        return not any(ipc_path_is_live(url.removeprefix("ipc://")) for url in urls)
    return port_is_free(endpoint.data_port, endpoint.host) and port_is_free(
        endpoint.control_port, endpoint.host
    )


def free_endpoint(
    start_port: int = DEFAULT_DATA_PORT,
    transport: str | None = None,
    directory: str | None = None,
    host: str = "localhost",
) -> Endpoint:
    """Return the first endpoint from `start_port` upwards whose data and control channel are both free.

    Whoever binds it may still be beaten to it by another process: on `AddressInUseError` ask again.

    Raises
    ------
    AddressInUseError
        `PORTS_TRIED` pairs were all in use.
    """
    last = min(start_port + PORTS_TRIED, 65535 - CONTROL_OFFSET + 1)
    for port in range(start_port, last):
        endpoint = Endpoint(host, port, transport=transport or "", directory=directory or "")
        if is_free(endpoint):
            return endpoint
    raise AddressInUseError(
        f"no free pair of ports from {start_port} to {last - 1} on {host}: give another start_port"
    )


def holder_of(where: Endpoint | int) -> str:
    """Return who holds a data or control port, in words, as far as this user may know.

    Parameters
    ----------
    where : Endpoint or int
        An endpoint (its data channel, else its control channel), or a tcp port.

    Returns
    -------
    str
        Such as ``"python3 (pid 1234, user jane)"``, ``"a process of another user"`` or ``"nobody"``.
    """
    if isinstance(where, int):
        return _tcp_holder(where) or ("nobody" if port_is_free(where) else "a process of another user")
    for port, url in ((where.data_port, where.data_url), (where.control_port, where.control_url)):
        if where.transport == "tcp":
            if not port_is_free(port, where.host):
                return _tcp_holder(port) or "a process of another user"
        elif ipc_path_is_live(path := url.removeprefix("ipc://")):
            return _ipc_holder(path) or "an unknown process"
    return "nobody"


def _tcp_holder(port: int) -> str:
    import psutil

    try:
        connections = psutil.net_connections(kind="tcp")
    except (psutil.Error, OSError):
        return ""
    for connection in connections:
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
            return _describe(connection.pid)
    return ""


def _ipc_holder(path: str) -> str:
    if not hasattr(socket, "SO_PEERCRED"):
        return ""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(0.5)
        try:
            probe.connect(path)
            pid, _, _ = struct.unpack("3i", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        except OSError:
            return ""
    return _describe(pid)


def _describe(pid: int) -> str:
    import psutil

    try:
        process = psutil.Process(pid)
        with process.oneshot():
            return f"{process.name()} (pid {pid}, user {process.username()})"
    except (psutil.Error, KeyError):
        return f"pid {pid}"
