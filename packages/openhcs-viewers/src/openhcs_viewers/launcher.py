"""Start a viewer, or find the one that runs."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from openhcs_viewers._start import HEADLESS, STARTING, ServeOptions, launch_lock, new_log
from openhcs_viewers.display import check_display
from openhcs_viewers.errors import (
    DisplayError,
    LaunchError,
    PortTakenError,
    ViewerNotFoundError,
    ViewerStartError,
)
from openhcs_viewers.handle import HUNG_AFTER, START_TIMEOUT, ViewerHandle
from openhcs_viewers.registry import (
    WINDOWLESS,
    announce_start,
    default_port,
    viewer_names,
    viewer_plugin,
)
from openhcs_viewers.system import needs_display
from zmqruntime.config import CONTROL_OFFSET, Endpoint
from zmqruntime.discovery import ConnectionInfo, holder_of, is_free, list_connections, write_connection
from zmqruntime.errors import PeerError
from zmqruntime.handshake import ping
from zmqruntime.process import ServerProcess, same_process

if TYPE_CHECKING:
    from zmqruntime.messages import Pong

logger = logging.getLogger(__name__)

DISPLAY_VARIABLE = "OPENHCS_DISPLAY"
"""Environment variable that says what ``display="auto"`` means here: ``virtual``, ``headless``, ``:1``."""

ENDING = 0.5
"""Seconds a viewer that was found gets to answer before it is looked at whether it has just ended."""

PORTS_TRIED = 200
"""Pairs of ports that are looked at, from the default one upwards, when none is given."""


def launch(
    kind: str = "napari",
    *,
    port: int | None = None,
    host: str = "localhost",
    transport: str | None = None,
    title: str | None = None,
    detached: bool = True,
    wait: bool = True,
    timeout: float = START_TIMEOUT,
    display: str = "auto",
    reuse: bool = True,
    listen: str | None = None,
    key: str | Path | None = None,
    budget: int | None = None,
    options: Mapping[str, str] | None = None,
) -> ViewerHandle:
    """Return a viewer: the one that runs there, else a new one in a process of its own.

    However many threads and processes call this at once, one viewer is started and all get it.

    Parameters
    ----------
    kind : str
        ``"napari"``, or another registered viewer.
    port : int, optional
        Data port. Without one the kind's default, or the next pair of ports that is free or a viewer of this
        kind and user; the handle and ``openhcs-viewers list`` say which.
    host : str
        Machine the viewer runs on. On another one a viewer is only looked for, never started.
    transport : {"ipc", "tcp"}, optional
        ipc on this machine when not given.
    title : str, optional
        Of the window.
    detached : bool
        True: the viewer goes on when this process ends. False: it ends with it, ``kill -9`` included.
    wait : bool
        False: return at once and let it start in the background. What this process sends to it meanwhile
        waits and is then shown.
    timeout : float
        Seconds to wait for its window.
    display : str
        ``"auto"``: what the environment variable ``OPENHCS_DISPLAY`` says, else this desktop. ``"virtual"``: a
        display in memory, for machines without one. ``"headless"``: no window at all, for kinds that can do
        without (fiji). Else the name of an X display, such as ``":1"``.
    reuse : bool
        False: start a new viewer in any case.
    listen : str, optional
        Address a new viewer listens on, such as ``"*"``, for pipelines on other machines; needs a `key`.
    key : path, optional
        A new viewer's CURVE key pair (`zmqruntime.KeyPair.save`), or for a viewer on another machine the file
        with its public key.
    budget : int, optional
        Bytes of images a new viewer keeps in memory, half of the machine's when not given; the rest goes to disk.
    options : mapping, optional
        What a new viewer of this kind alone understands, such as ``{"fiji_dir": "/opt/Fiji.app"}``.

    Raises
    ------
    ViewerNotFoundError
        No such kind.
    DisplayError
        There is no display to open a window on.
    PortTakenError
        The port given belongs to somebody else: the text says to whom, and which pair is free.
    ViewerStartError
        The viewer ended, or its window was not up in time; the text has the reason and the log.
    ViewerHungError
        The viewer there hangs; the text has the command that ends it.
    ViewerUnreachableError
        No viewer answers on the other machine.
    """
    target = viewer_plugin(kind).target
    if not isinstance(target, str):
        raise ViewerNotFoundError(
            f"viewer {kind!r} was registered as {target!r}: register it as 'module:Class', so that its process finds it"
        )
    if not Endpoint(host, port or default_port(kind), transport=transport or "").is_local:
        return _connect(kind, host, port, transport, key, wait, timeout)
    if transport is None and listen is not None:
        transport = "tcp"
    if display == "auto":
        display = os.environ.get(DISPLAY_VARIABLE) or "auto"

    def find_or_start() -> ViewerHandle:
        with launch_lock():
            found = _find(kind, port, transport, listen or host, reuse)
            if isinstance(found, ViewerHandle):
                return found
            serve = ServeOptions(
                kind=kind,
                target=target,
                endpoint=found,
                title=title or f"{kind} {found.data_port}",
                log=str(new_log(kind, found.data_port)),
                display=display,
                key="" if key is None else str(Path(key).absolute()),
                budget=budget,
                options=dict(options or {}),
            )
            return _spawn(serve, detached)

    handle = find_or_start()
    if not handle.started and _is_ending(handle):
        handle = find_or_start()
    if wait:
        try:
            handle.wait_ready(timeout)
        except ViewerStartError:
            if handle.started or handle.is_alive():
                raise
            # Found as it ended, by itself or by somebody's hand: the next one is ours.
            handle = find_or_start()
            handle.wait_ready(timeout)
    elif handle.started or handle.is_starting():
        handle.queue_while_starting()
    return handle


def _is_ending(handle: ViewerHandle) -> bool:
    """Return whether a viewer that was found has been killed, and is gone by now: that takes some milliseconds."""
    if handle.pid is None or handle.is_starting():
        return False
    try:
        handle.ping(ENDING)
    except PeerError:
        return not handle.is_alive()
    return False


def list_viewers(kind: str | None = None) -> list[ViewerHandle]:
    """Return the viewers of this user that run on this machine, by kind and port; hung ones included."""
    return [ViewerHandle.of(info) for info in list_connections(kind) if _is_viewer(info)]


def find_viewer(port: int | None = None, kind: str | None = None) -> ViewerHandle:
    """Return the running viewer on `port`; without one the only viewer there is.

    Raises
    ------
    LaunchError
        There is none, or more than one fits.
    """
    found = [handle for handle in list_viewers(kind) if port in (None, handle.port)]
    if len(found) == 1:
        return found[0]
    what = f"{kind or 'viewer'}{'' if port is None else f' on port {port}'}"
    if not found:
        others = ", ".join(f"{handle.kind} on {handle.port}" for handle in list_viewers()) or "none"
        raise LaunchError(f"there is no {what} (running: {others}); 'openhcs-viewers launch' starts one")
    raise LaunchError(
        f"more than one {what} runs: give a port ({', '.join(str(handle.port) for handle in found)})"
    )


# --------------------------------------------------------------------------- inside


def _connect(
    kind: str,
    host: str,
    port: int | None,
    transport: str | None,
    key: str | Path | None,
    wait: bool,
    timeout: float,
) -> ViewerHandle:
    """Return a handle of a viewer on another machine."""
    server_key = None
    if key is not None:
        from zmqruntime.security import read_public_key

        server_key = read_public_key(str(key))
    endpoint = Endpoint(host, port or default_port(kind), transport=transport or "tcp")
    handle = ViewerHandle(kind, endpoint, server_key=server_key)
    if wait:
        pong = handle.wait_ready(min(timeout, HUNG_AFTER))
        handle.title = pong.title
    return handle


def _find(
    kind: str, port: int | None, transport: str | None, host: str, reuse: bool
) -> ViewerHandle | Endpoint:
    """Return the viewer to use, or where to start one. Called with the launch lock."""
    running = list_connections()
    for candidate in _candidates(kind, port):
        endpoint = Endpoint(host, candidate, transport=transport or "")
        own = next((info for info in running if _same_place(info, endpoint)), None)
        if own is not None:
            if own.kind == kind and reuse:
                return ViewerHandle.of(own)
            holder = f"a {own.kind} of yours (pid {own.pid}, {own.title!r})"
        elif any(_overlaps(info, endpoint) for info in running):
            holder = "a viewer of yours that has its control channel there"
        elif other := next((info for info in running if info.data_port == candidate), None):
            # Two of one number could not be told apart where a port is all that is given.
            holder = f"a {other.kind} of yours that listens there by {other.transport} (pid {other.pid})"
        elif is_free(endpoint):
            return endpoint
        else:
            pong = _answers(endpoint, kind) if reuse else None
            if pong is not None:
                return _handle_without_file(endpoint, pong)
            holder = holder_of(endpoint)
        if port is not None:
            raise PortTakenError(
                f"port {port} (or {port + CONTROL_OFFSET}, for control) on {endpoint.transport} is taken by {holder}; "
                f"the next free pair is {_next_free(endpoint, running)}: give that port, or none"
            )
        logger.info("port %d is taken by %s: trying the next pair", candidate, holder)
    raise PortTakenError(
        f"no free pair of ports from {default_port(kind)} to {candidate}: give one with port="
    )


def _candidates(kind: str, port: int | None) -> Iterator[int]:
    first = default_port(kind) if port is None else port
    return iter(range(first, first + (PORTS_TRIED if port is None else 1)))


def _same_place(info: ConnectionInfo, endpoint: Endpoint) -> bool:
    return (info.transport, info.data_port) == (endpoint.transport, endpoint.data_port)


def _overlaps(info: ConnectionInfo, endpoint: Endpoint) -> bool:
    """Return whether a server that may not listen yet has one of the endpoint's two ports."""
    return info.transport == endpoint.transport and bool(
        {info.data_port, info.control_port} & {endpoint.data_port, endpoint.control_port}
    )


def _next_free(endpoint: Endpoint, running: list[ConnectionInfo]) -> str:
    for port in range(endpoint.data_port + 1, endpoint.data_port + PORTS_TRIED):
        other = Endpoint(endpoint.host, port, transport=endpoint.transport)
        if is_free(other) and not any(_overlaps(info, other) or info.data_port == port for info in running):
            return f"{port} and {port + CONTROL_OFFSET}"
    return "far away"


def _answers(endpoint: Endpoint, kind: str) -> Pong | None:
    """Return the pong of a viewer of this kind without a connection file: behind a tunnel, or its file was lost."""
    try:
        pong = ping(endpoint, timeout=1.0)
    except PeerError:
        return None
    return pong if pong.kind == kind else None


def _handle_without_file(endpoint: Endpoint, pong: Pong) -> ViewerHandle:
    here = same_process(pong.pid, pong.start_time)
    process = ServerProcess(pong.pid, pong.start_time) if here else None
    return ViewerHandle(pong.kind, endpoint, title=pong.title, log=pong.log if here else "", process=process)


def _spawn(options: ServeOptions, detached: bool) -> ViewerHandle:
    """Start the viewer's process and enter it. Called with the launch lock."""
    environment: dict[str, str | None] = {}
    if options.display not in ("auto", "virtual", HEADLESS):
        environment = {"DISPLAY": options.display, "WAYLAND_DISPLAY": None}
    if needs_display(options.kind) and options.display not in ("virtual", HEADLESS):
        try:
            check_display({**os.environ, **{name: value or "" for name, value in environment.items()}})
        except DisplayError as error:
            if options.kind not in WINDOWLESS:
                raise
            hint = f"{options.kind} also runs without any: display='headless'"
            raise DisplayError(f"{error}; {hint}") from error
    public = b""
    if options.key:
        from zmqruntime.security import KeyPair

        public = KeyPair.load(options.key).public
    announce_start(options.kind, options.options)
    # -P: a file called napari.py in the working directory must not be taken for napari.
    argv = [sys.executable, "-P", "-m", "openhcs_viewers._serve", options.encode()]
    process = ServerProcess.spawn(argv, detached=detached, env=environment, log=options.log)
    if process.start_time:
        endpoint = options.endpoint
        write_connection(
            ConnectionInfo(
                kind=options.kind,
                title=options.title,
                pid=process.pid,
                start_time=process.start_time,
                host=endpoint.host,
                data_port=endpoint.data_port,
                control_port=endpoint.control_port,
                transport=endpoint.transport,
                directory=endpoint.directory,
                log=options.log,
                public_key=public.decode(),
                created=STARTING,
            )
        )
    return ViewerHandle(
        options.kind,
        _as_client(options.endpoint),
        title=options.title,
        log=options.log,
        process=process,
        started=True,
        server_key=public or None,
    )


def _as_client(endpoint: Endpoint) -> Endpoint:
    if endpoint.host != "*":
        return endpoint
    return Endpoint("localhost", endpoint.data_port, endpoint.control_port, endpoint.transport)


def _is_viewer(info: ConnectionInfo) -> bool:
    return info.kind in viewer_names()
