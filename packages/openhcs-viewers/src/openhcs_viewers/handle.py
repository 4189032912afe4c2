"""A running viewer, as seen from the processes that use it."""

from __future__ import annotations

import base64
import logging
import os
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import msgspec

from openhcs_viewers import errors
from openhcs_viewers._start import STARTING
from openhcs_viewers._start_errors import hung_error, start_error, stop_command, unreachable_error
from openhcs_viewers.errors import (
    MacroError,
    ScreenshotError,
    ViewerHungError,
    ViewerStartError,
    ViewerStopError,
)
from zmqruntime.client import ControlClient
from zmqruntime.discovery import list_connections
from zmqruntime.errors import PeerError, ProcessError, RemoteError, RequestTimeout
from zmqruntime.handshake import check_protocol
from zmqruntime.process import ServerProcess

if TYPE_CHECKING:
    from openhcs_viewers.drawn import DrawnRoi
    from polystore.streaming.sender import ImageSender
    from zmqruntime.config import Endpoint
    from zmqruntime.discovery import ConnectionInfo
    from zmqruntime.messages import Pong

logger = logging.getLogger(__name__)

START_TIMEOUT = 60.0
"""Seconds a viewer gets to open its window. napari takes 4 on an idle machine, some 20 on a loaded one."""

HUNG_AFTER = 8.0
"""Seconds without a pong, or without the window moving, until a viewer counts as hung.

Making or removing layers holds napari's window for up to some seconds; a pong comes from a thread of its
own within milliseconds."""

GUI_TIMEOUT = 30.0
"""Seconds a request that needs the window may take: a picture of many layers drawn in software takes some."""

SAVE_TIMEOUT = 300.0
"""Seconds that saving everything may take: some gigabytes go to the disk."""

MAX_MACRO = 500_000
"""Most characters of a macro with its argument: up to six bytes each on the wire, and a control message has 4 MiB."""

MAX_MACRO_SECONDS = 86_400.0
"""Most seconds a macro may be given: a day."""

MACRO_MARGIN = 10.0
"""Seconds a viewer gets beyond a macro's own time to abort it and to say so."""

REJOIN_TIMEOUT = 2.0
"""Seconds a viewer that is ready gets to take this process's sender; it takes some milliseconds."""

_POLL = 0.05


class ViewerHandle:
    """One running viewer; made by `launch`, `find_viewer` and `list_viewers`.

    Parameters
    ----------
    kind : str
        Its kind.
    endpoint : Endpoint
        Where it listens.
    title, log : str
        Its title; its log file, empty for a viewer of another machine.
    process : ServerProcess, optional
        Its process, None when it is on another machine.
    started : bool
        Whether this handle's `launch` started it.
    server_key : bytes, optional
        Its public CURVE key.

    Notes
    -----
    Thread-safe. Leaving a ``with`` block ends a viewer that was started here as a child, and leaves every
    other one open.
    """

    def __init__(
        self,
        kind: str,
        endpoint: Endpoint,
        *,
        title: str = "",
        log: str = "",
        process: ServerProcess | None = None,
        started: bool = False,
        server_key: bytes | None = None,
    ) -> None:
        self.kind = kind
        self.endpoint = endpoint
        self.title = title
        self.log = Path(log) if log else None
        self.started = started
        self.server_key = server_key
        self._process = process
        self._watching = threading.Lock()

    @classmethod
    def of(cls, info: ConnectionInfo) -> ViewerHandle:
        """Return a handle of the viewer that wrote this connection file."""
        return cls(
            info.kind,
            info.endpoint,
            title=info.title,
            log=info.log,
            process=ServerProcess(info.pid, info.start_time),
            server_key=info.public_key.encode() or None,
        )

    def __repr__(self) -> str:
        return f"ViewerHandle({self.kind!r}, {str(self.endpoint)!r}, pid={self.pid}, log={str(self.log or '')!r})"

    def __enter__(self) -> ViewerHandle:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.started and self._process is not None and not self._process.detached:
            self.stop()

    # ------------------------------------------------------------------ what it is
    @property
    def port(self) -> int:
        """Its data port; not the one asked for when that was taken and none was given."""
        return self.endpoint.data_port

    @property
    def pid(self) -> int | None:
        """Its process; None when it is on another machine."""
        return None if self._process is None else self._process.pid

    def is_alive(self) -> bool:
        """Return whether its process lives; for a viewer of another machine, whether it answers."""
        if self._process is not None:
            return self._process.is_alive()
        try:
            self.ping()
        except PeerError:
            return False
        return True

    def ping(self, timeout: float = 2.0) -> Pong:
        """Return its pong: versions, pid, ready or not, for how long its window has not moved.

        Raises
        ------
        zmqruntime.errors.RequestTimeout
            It did not answer in time.
        zmqruntime.errors.VersionMismatchError
            It speaks another protocol.
        """
        with self._client(timeout) as client:
            return check_protocol(client.ping())

    def status(self) -> dict[str, Any]:
        """Return its counters: images, memory, senders; ``queued_here`` are images this process still holds.

        Raises
        ------
        zmqruntime.errors.RequestTimeout
            It did not answer.
        """
        with self._client(2.0) as client:
            found = client.status()
        sender = self._existing_sender()
        found["queued_here"] = 0 if sender is None else sender.stats.queued
        return found

    def state(self) -> dict[str, Any]:
        """Return what it shows: layers, sliders, position. Asks the window; see `GUI_TIMEOUT`."""
        found: dict[str, Any] = self._command("state")
        return found

    def settle(self, timeout: float = GUI_TIMEOUT) -> None:
        """Wait until everything this process has sent, and all that has arrived from others, is shown.

        Raises
        ------
        zmqruntime.errors.RequestTimeout
            It was not in time.
        """
        begin = time.monotonic()
        sender = self._existing_sender()
        if sender is not None:
            sender.flush(timeout)
        self._command("settle", max(0.1, timeout - (time.monotonic() - begin)))

    def screenshot(self, path: str | os.PathLike[str] | None = None, *, canvas_only: bool = False) -> bytes:
        """Return a picture of the window as PNG.

        Parameters
        ----------
        path : path, optional
            Also write it there.
        canvas_only : bool
            Only the images, without the lists and buttons around.

        Raises
        ------
        ScreenshotError
            No picture can be taken or written.
        """
        if self._process is not None and self.endpoint.transport == "ipc":
            return self._local_screenshot(path, canvas_only)
        data = base64.b64decode(self._command("screenshot", canvas_only=canvas_only)["png"])
        if path is not None:
            try:
                Path(path).write_bytes(data)
            except OSError as error:
                raise ScreenshotError(f"the picture cannot be written to {path}: {error.strerror}") from error
        return data

    def rois(self, include: str = "user") -> list[DrawnRoi]:
        """Return the regions of interest in it, each with the well, z, t ... of the planes it lies on.

        Parameters
        ----------
        include : str
            ``"user"``: those the user drew, and streamed ones he changed. ``"all"``: the streamed ones, too.

        Raises
        ------
        AnswerTooLargeError
            More of them than fit into an answer over tcp.
        """
        from openhcs_viewers.drawn import DrawnRoi

        if self._process is None or self.endpoint.transport != "ipc":
            found = self._command("rois", include=include)["rois"]
        else:  # through a file: a control message has a limit
            import tempfile

            with tempfile.TemporaryDirectory(prefix="openhcs-rois-") as folder:
                target = Path(folder) / "rois.msgpack"
                self._command("rois", include=include, path=str(target))
                found = msgspec.msgpack.decode(target.read_bytes())
        return [DrawnRoi.from_wire(one) for one in found]

    def run_macro(self, macro: str, argument: str = "", timeout: float = GUI_TIMEOUT) -> str:
        """Run an ImageJ macro in it and return what the macro returns, or an empty text.

        Only where the viewer is ImageJ or Fiji, and over ipc: a macro may do anything its user may. One runs at a
        time; the window goes on meanwhile.

        Parameters
        ----------
        macro : str
            In ImageJ's macro language; at most `MAX_MACRO` characters.
        argument : str
            What its ``getArgument()`` returns.
        timeout : float
            Seconds after which it is aborted; more than 0, at most `MAX_MACRO_SECONDS`.

        Raises
        ------
        MacroError
            ImageJ's message and the line; or it took too long.
        zmqruntime.errors.RemoteError
            ``refused`` over tcp; ``unknown-command`` by another kind of viewer.
        """
        if len(macro) + len(argument) > MAX_MACRO:
            raise MacroError(
                f"a macro of {len(macro)} characters with an argument of {len(argument)}: at most {MAX_MACRO} in all; "
                "let it read files"
            )
        if not 0 < timeout <= MAX_MACRO_SECONDS:
            raise MacroError(
                f"a macro gets more than 0 and at most {MAX_MACRO_SECONDS:g} seconds, not {timeout!r}"
            )
        # Longer than the macro's own time: who says that it was too long, and what became of it, is the viewer.
        wait = timeout + MACRO_MARGIN
        found = self._command("run_macro", wait, macro=macro, argument=argument, seconds=timeout)
        return str(found)

    def _local_screenshot(self, path: str | os.PathLike[str] | None, canvas_only: bool) -> bytes:
        # Through a file: a control message has a limit, and a window full of noise is over it.
        import tempfile

        with tempfile.TemporaryDirectory(prefix="openhcs-picture-") as folder:
            target = Path(folder) / "picture.png" if path is None else Path(path).absolute()
            self._command("screenshot", path=str(target), canvas_only=canvas_only)
            return target.read_bytes()

    def save(self, path: str | os.PathLike[str], *, layer: str | None = None) -> list[Path]:
        """Save what it shows as TIFF files and return their paths; only where the viewer is ImageJ or Fiji.

        Parameters
        ----------
        path : path
            A folder, which gets a file for each hyperstack; or a file that ends in ``.tif``, for one.
        layer : str, optional
            The name of the one to save; all of them when not given.

        Raises
        ------
        ViewerError
            There is none of that name, or it cannot be written.
        zmqruntime.errors.RemoteError
            ``refused`` over tcp; ``unknown-command`` by another kind of viewer.
        """
        written = self._command("save", SAVE_TIMEOUT, path=str(Path(path).absolute()), layer=layer)
        return [Path(one) for one in written]

    # ------------------------------------------------------------------ what goes to it
    def sender(self, **options: Any) -> ImageSender:
        """Return this process's one sender to it; see `polystore.streaming.ImageSender` for the options.

        While the viewer still starts, images wait in this process within the sender's ``queue_bytes``.
        """
        from polystore.streaming.sender import sender_for

        if self.server_key is not None:
            options.setdefault("server_key", self.server_key)
        return sender_for(self.endpoint, **options)

    def queue_while_starting(self) -> None:
        """Keep what this process sends from now on until the viewer is there; called by `launch`."""
        sender = self.sender(starting=True)
        sender.stream.expect()
        threading.Thread(
            target=self._watch_start, args=(sender,), name=f"start of {self.endpoint}", daemon=True
        ).start()

    def _watch_start(self, sender: ImageSender) -> None:
        try:
            self.wait_ready()
        except (ViewerStartError, ViewerHungError, PeerError) as error:
            logger.error("images for it are dropped: %s", error)
            sender.stream.started(ok=False)

    def _existing_sender(self) -> ImageSender | None:
        from polystore.streaming.sender import existing_sender

        return existing_sender(self.endpoint)

    # ------------------------------------------------------------------ its start
    def wait_ready(self, timeout: float = START_TIMEOUT) -> Pong:
        """Wait until its window is up; return its pong.

        Raises
        ------
        ViewerStartError
            Its process ended (with the reason it reported), or the window was not up in time.
        ViewerHungError
            It listened already, and does not answer any more.
        """
        begin = heard = moved = time.monotonic()
        listening = False
        with self._client(0.5) as client:
            while True:
                now = time.monotonic()
                try:
                    pong = check_protocol(client.ping())
                except RequestTimeout:
                    pong = None
                if pong is not None:
                    heard, listening = time.monotonic(), True
                    if not pong.ready or pong.app_idle_ms < HUNG_AFTER * 1000:
                        moved = heard
                    if pong.ready and moved == heard:
                        self._rejoin()
                        return pong
                if self._process is not None and not self._process.is_alive():
                    raise start_error(self, "ended before its window was up")
                quiet = time.monotonic() - min(heard, moved)
                if quiet > HUNG_AFTER and (listening or self._listens()):
                    raise hung_error(
                        self, quiet if pong is None else (pong.app_idle_ms / 1000), answers=pong is not None
                    )
                left = begin + timeout - time.monotonic()
                if left <= 0:
                    if self._process is None:
                        raise unreachable_error(self, timeout)
                    raise start_error(self, f"was not ready within {timeout:g} s", waiting=True)
                time.sleep(max(0.0, min(_POLL - (time.monotonic() - now), left)))

    def _rejoin(self) -> None:
        """Have this process's sender, which may have lost an earlier viewer there, taken by the one that is ready."""
        # Nothing was sent where the module is not there, and NumPy need not be imported.
        if "polystore.streaming.sender" not in sys.modules:
            return
        sender = self._existing_sender()
        if sender is not None and sender.stream.error is None and not sender.wait_attached(REJOIN_TIMEOUT):
            logger.warning("%s is ready, and has not taken this process's images yet", self.endpoint)

    def is_starting(self) -> bool:
        """Return whether its process was started and does not listen yet."""
        return any(info.pid == self.pid and info.created == STARTING for info in list_connections(self.kind))

    def _listens(self) -> bool:
        """Return whether its own connection file says that it listens: from then on it has to answer."""
        return any(info.pid == self.pid and info.created != STARTING for info in list_connections(self.kind))

    # ------------------------------------------------------------------ its end
    def stop(self, *, force: bool = False, timeout: float = 10.0) -> str:
        """End it: done when its process is gone.

        Parameters
        ----------
        force : bool
            When it does not end as asked: SIGTERM, then SIGKILL, to exactly the process of its connection file,
            whoever launched it. A viewer that was started by this handle is ended that way in any case.
        timeout : float
            Seconds it gets for each step.

        Returns
        -------
        str
            ``"gone"`` (it had ended already), ``"asked"``, ``"terminated"`` or ``"killed"``.

        Raises
        ------
        ViewerStopError
            It did not end; the text holds the command that forces it.
        """
        if self._process is None:
            return self._stop_remote()
        if not self._process.is_alive():
            return "gone"
        if force or self.started:
            patience = min(timeout, 3.0) if force else timeout
            try:
                return self._process.stop(patience, self._ask_to_end)
            except ProcessError as error:
                raise ViewerStopError(
                    f"the {self.kind} on {self.endpoint} cannot be ended: {error}"
                ) from error
        try:
            self._ask_to_end()
        except PeerError as error:
            raise ViewerStopError(f"{error}; end it with '{stop_command(self.port)}'") from error
        if not self._process.wait(timeout):
            raise ViewerStopError(
                f"the {self.kind} on {self.endpoint} (pid {self.pid}) still runs {timeout:g} s after it was asked to: "
                f"'{stop_command(self.port)}'"
            )
        return "asked"

    def _stop_remote(self) -> str:
        try:
            self._ask_to_end()
        except PeerError as error:
            raise ViewerStopError(
                f"the {self.kind} on {self.endpoint} cannot be asked to end: {error}"
            ) from error
        return "asked"

    def _ask_to_end(self) -> None:
        with self._client(1.0) as client:
            client.shutdown()

    def _client(self, timeout: float) -> ControlClient:
        return ControlClient(self.endpoint, timeout=timeout, server_key=self.server_key)

    def _command(self, name: str, timeout: float = GUI_TIMEOUT, **params: Any) -> Any:
        with self._client(timeout) as client:
            try:
                return client.command(name, timeout, **params)
            except RemoteError as error:
                kind = getattr(errors, error.code, None)
                if isinstance(kind, type) and issubclass(kind, errors.ViewerError):
                    raise kind(str(error)) from error
                raise
