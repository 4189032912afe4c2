"""The one place where all parts of a viewer process meet: receiver, scene, window, control channel."""

from __future__ import annotations

import base64
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from openhcs_viewers._png import encode_png
from openhcs_viewers.abc import Command, ViewerSettings
from openhcs_viewers.drawn import INCLUDE
from openhcs_viewers.errors import AnswerTooLargeError, ViewerClosedError, ViewerError
from polystore.streaming.receiver import ImageReceiver
from zmqruntime.errors import RemoteError
from zmqruntime.server import ZMQServer

if TYPE_CHECKING:
    from openhcs_viewers.abc import Viewer
    from zmqruntime.config import Endpoint
    from zmqruntime.security import KeyPair
    from zmqruntime.stream_receiver import Peer

logger = logging.getLogger(__name__)

T = TypeVar("T")

COMMANDS = ("layers", "rois", "screenshot", "settle", "state")
"""What `zmqruntime.ControlClient.command` can ask for by name."""

MAX_ROIS_BYTES = 3 * 1024 * 1024
"""Most bytes of regions in an answer: a control message holds 4 MiB. More go through a file."""

RATE_SECONDS = 5.0
"""Images per second are counted over this long."""


class ViewerServer(ZMQServer):
    """A viewer that can be streamed to.

    `start` answers pings, `serve` opens the window and runs it. The I/O thread copies what arrives into the
    scene's store; the thread that calls `serve` is the GUI thread.

    Parameters
    ----------
    endpoint : Endpoint
        Where to listen.
    viewer : type of Viewer
        What to show it in.
    kind, title, log, keys
        See `ZMQServer`. `title` is the window's.
    settings : ViewerSettings, optional
        What the viewer is told.

    Attributes
    ----------
    scene : Scene
        What is shown.
    viewer : Viewer
        The window; only the GUI thread may touch it.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        viewer: type[Viewer],
        *,
        kind: str = "",
        title: str = "",
        log: str = "",
        keys: KeyPair | None = None,
        settings: ViewerSettings | None = None,
    ) -> None:
        super().__init__(endpoint, kind=kind or viewer.kind, title=title, log=log, keys=keys)
        self.viewer = viewer.create(settings or ViewerSettings())
        self.scene = self.viewer.scene
        self._own_commands = dict(self.viewer.commands())
        self._images = ImageReceiver(self.scene.receive)
        self._tasks: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._settling: deque[Future[Any]] = deque()
        self._open = False
        self._closed = False
        self._pump_errors = 0
        self._received = 0
        self._samples: deque[tuple[float, int]] = deque(maxlen=64)

    # ------------------------------------------------------------------ the GUI thread
    def serve(self) -> None:
        """Open the window and run it until it is closed or `request_shutdown` is called; then close everything.

        The server itself goes on answering pings until `stop`.

        Raises
        ------
        DisplayError
            There is no display.
        """
        try:
            if not self.shutdown_requested:
                self.viewer.open(self.title)
                self._open = True
                self.touch()
                self.set_ready()
                logger.info("%s %r is ready on %s", self.kind, self.title, self.endpoint)
                self.viewer.run(self._pump, self._heartbeat)
        finally:
            self.set_ready(False)
            self._closed = True
            self.scene.close()
            self._refuse_tasks()
            self.viewer.close()
            self.request_shutdown()

    def request_shutdown(self) -> None:
        """See `ZMQServer.request_shutdown`; the window is closed soon after. Any thread."""
        super().request_shutdown()
        self.viewer.end_soon()
        self.scene.wake()

    def stop(self, timeout: float = 5.0) -> None:
        """End the I/O thread, then forget all planes; idempotent. Not from the I/O thread."""
        super().stop(timeout)
        self.scene.store.close()

    def _pump(self) -> None:
        if self.shutdown_requested:
            self.viewer.close()
            return
        while self._tasks:
            task, future = self._tasks.popleft()
            _run(task, future)
        try:
            self.viewer.pump()
        except Exception:
            # The boundary to what draws: one layer that cannot be drawn must not end the window.
            self._pump_errors += 1
            logger.exception("the window could not be brought up to date")
        if self._settling:
            self._settle()

    def _heartbeat(self) -> None:
        self.touch()
        self._samples.append((time.monotonic(), self._received))
        if self.shutdown_requested:
            self.viewer.close()

    def _settle(self) -> None:
        if self.scene.status()["images"]["waiting"] == 0:
            while self._settling:
                self._settling.popleft().set_result(True)

    def on_gui(self, task: Callable[[], T]) -> Future[T]:
        """Have `task` called on the GUI thread; any thread.

        The future holds what it returned or raised: a `ViewerClosedError` when the window was closed first.
        """
        future: Future[T] = Future()
        self._tasks.append((task, future))
        if self._closed:
            self._refuse_tasks()
        self.scene.wake()
        return future

    def _refuse_tasks(self) -> None:
        error = ViewerClosedError(f"the {self.kind} on {self.endpoint} was closed: launch it again")
        while self._tasks:
            self._tasks.popleft()[1].set_exception(error)
        while self._settling:
            self._settling.popleft().set_exception(error)

    # ------------------------------------------------------------------ hooks, on the I/O thread
    def attach(self, peer: Peer, body: bytes) -> bytes:
        """See `ImageReceiver.attach`."""
        return self._images.attach(peer, body)

    def note(self, peer: Peer, body: bytes) -> bytes:
        """See `ImageReceiver.note`."""
        return self._images.note(peer, body)

    def items(self, peer: Peer, seq: int, count: int, body: bytes, frames: list[Any]) -> None:
        """See `ImageReceiver.items`."""
        self._received += count
        self._images.items(peer, seq, count, body, frames)

    def detach(self, peer: Peer) -> None:
        """See `ImageReceiver.detach`."""
        self._images.detach(peer)

    def capabilities(self) -> dict[str, Any]:
        """Return what the pong says beside the data channel."""
        return {"viewer": self.kind, "commands": sorted((*COMMANDS, *self._own_commands))}

    def versions(self) -> dict[str, str]:
        """Return the versions of the three packages."""
        from openhcs_viewers import __version__
        from polystore import __version__ as polystore_version

        return {**super().versions(), "polystore": polystore_version, "openhcs-viewers": __version__}

    def status(self) -> dict[str, Any]:
        """Return counters of images and memory; ``queued`` are those that wait for the window."""
        status = self.scene.status()
        return {
            **status,
            "queued": status["images"]["waiting"],
            "images_per_second": self._rate(),
            "ready": self._open and not self._closed,
            "log": self.log,
            "window_errors": self._pump_errors,
        }

    def _rate(self) -> float:
        samples = [sample for sample in list(self._samples) if sample[0] > time.monotonic() - RATE_SECONDS]
        if len(samples) < 2:
            return 0.0
        (begin, before), (end, after) = samples[0], samples[-1]
        return round((after - before) / max(end - begin, 1e-3), 1)

    def command(self, name: str, params: dict[str, Any]) -> Any | Future[Any]:
        """Answer one of `COMMANDS`, or of the viewer's own (`Viewer.commands`).

        ``state``
            What is shown, see `Viewer.state`.
        ``layers``
            The layers alone, without asking the GUI thread.
        ``screenshot`` (path, canvas_only)
            A PNG: written to `path`, else returned in base64.
        ``rois`` (include, path)
            The regions the user drew or changed (``"user"``) or all of them (``"all"``), see `DrawnRoi.to_wire`:
            written to `path` as msgpack, else returned in a list.
        ``settle``
            True, once everything that has arrived so far is shown.

        Raises
        ------
        RemoteError
            There is no such command.
        """
        if name == "state":
            return self.on_gui(self.viewer.state)
        if name == "layers":
            return self.scene.state()["layers"]
        if name == "rois":
            include, path = _roi_params(params)
            self._check_writing(path)
            return self.on_gui(lambda: self._rois(include, path))
        if name == "screenshot":
            path, canvas_only = _picture_params(params)
            self._check_writing(path)
            return self.on_gui(lambda: self._screenshot(path, canvas_only))
        if name == "settle":
            return self._settled()
        if name in self._own_commands:
            return self._own_command(name, self._own_commands[name], params)
        known = ", ".join(sorted((*COMMANDS, *self._own_commands)))
        raise RemoteError("unknown-command", f"this viewer has no command {name!r} (known: {known})")

    def _check_writing(self, path: str | None) -> None:
        if path is not None and self.endpoint.transport != "ipc":
            # Over tcp the asker may be another user of this machine, who must not choose where we write.
            raise RemoteError(
                "refused", "files are written for ipc clients only", "leave path out and write it yourself"
            )

    def _own_command(self, name: str, command: Command, params: dict[str, Any]) -> Future[Any]:
        if command.trusted and self.endpoint.transport != "ipc":
            # Over tcp the asker may be another user of this machine, or of another one.
            raise RemoteError(
                "refused",
                f"{name} may do anything the viewer's user may: it is answered over ipc only",
                "launch the viewer without transport='tcp' and ask from this machine, as the same user",
            )
        if command.gui:
            return self.on_gui(lambda: command.run(params))
        future: Future[Any] = Future()
        thread = threading.Thread(
            target=_run, args=(lambda: command.run(params), future), name=name, daemon=True
        )
        thread.start()
        return future

    def _settled(self) -> Future[Any]:
        future: Future[Any] = Future()
        self._settling.append(future)
        if self._closed:
            self._refuse_tasks()
        self.scene.wake()
        return future

    def _rois(self, include: str, path: str | None) -> dict[str, Any]:
        found = [one.to_wire() for one in self.viewer.rois(include)]
        if path is not None:
            try:
                Path(path).write_bytes(msgspec.msgpack.encode(found))
            except OSError as error:
                raise ViewerError(f"the regions cannot be written to {path}: {error.strerror}") from error
            return {"count": len(found), "path": path}
        size = len(msgspec.json.encode(found))
        if size > MAX_ROIS_BYTES:
            raise AnswerTooLargeError(
                f"{len(found)} regions are {size} bytes, at most {MAX_ROIS_BYTES} fit into an answer over tcp: "
                "ask on the viewer's own machine (ipc), or for include='user' only"
            )
        return {"count": len(found), "path": None, "rois": found}

    def _screenshot(self, path: str | None, canvas_only: bool) -> dict[str, Any]:
        target = None if path is None else Path(path)
        picture = self.viewer.screenshot(target, canvas_only=canvas_only)
        found: dict[str, Any] = {"shape": list(picture.shape), "path": path}
        if target is None:
            found["png"] = base64.b64encode(encode_png(picture)).decode()
        return found


def _run(task: Callable[[], Any], future: Future[Any]) -> None:
    try:
        result = task()
    except Exception as error:
        # The boundary to whoever asked: the error is theirs, the window goes on.
        logger.warning("a request to the window failed: %s", error)
        future.set_exception(error)
    else:
        future.set_result(result)


def _picture_params(params: dict[str, Any]) -> tuple[str | None, bool]:
    path, canvas_only = params.get("path"), params.get("canvas_only", False)
    if not (path is None or isinstance(path, str)) or not isinstance(canvas_only, bool):
        raise RemoteError(
            "bad-request",
            f"screenshot takes path (text or null) and canvas_only (true or false), not {params!r}",
        )
    _check_absolute(path)
    return path, canvas_only


def _roi_params(params: dict[str, Any]) -> tuple[str, str | None]:
    include, path = params.get("include", "user"), params.get("path")
    if include not in INCLUDE or not (path is None or isinstance(path, str)):
        raise RemoteError(
            "bad-request",
            f"rois takes include ({' or '.join(INCLUDE)}) and path (text or null), not {params!r}",
        )
    _check_absolute(path)
    return include, path


def _check_absolute(path: str | None) -> None:
    if path is not None and not Path(path).is_absolute():
        raise RemoteError("bad-request", f"path {path!r} is relative to nothing: give an absolute one")
