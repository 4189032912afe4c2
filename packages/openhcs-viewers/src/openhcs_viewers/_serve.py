"""A viewer's own process: ``python -m openhcs_viewers._serve OPTIONS``, started by `launch`.

Always a program of its own, never a `multiprocessing` child: that would run the caller's script once more.
"""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, NoReturn

from openhcs_viewers._start import HEADLESS, ServeOptions, launch_lock, write_report
from openhcs_viewers.abc import ViewerSettings
from openhcs_viewers.display import VirtualDisplay, check_display
from openhcs_viewers.registry import VIEWERS, viewer_class
from openhcs_viewers.system import needs_display
from zmqruntime.discovery import ConnectionInfo, remove_connection, write_connection
from zmqruntime.process import watch_lifeline

if TYPE_CHECKING:
    from openhcs_viewers.server import ViewerServer

logger = logging.getLogger(__name__)

ORPHAN_GRACE = 3.0
"""The same when the parent of a child viewer has died: viewer and virtual display end within 5 s of it."""


def main(argv: list[str] | None = None) -> NoReturn:
    """Run the viewer that `argv` describes until its end, and end the process."""
    (text,) = sys.argv[1:] if argv is None else argv
    options = ServeOptions.decode(text)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.captureWarnings(True)
    faulthandler.enable()
    display = None
    code = 0
    try:
        if options.display == "virtual":
            display = VirtualDisplay()
            display.use()
        if display is not None or (needs_display(options.kind) and options.display != HEADLESS):
            # Qt would abort the process without.
            logger.info("display: %s", check_display())
        _run(options)
    except Exception as error:
        # The boundary of the process: whoever launched it learns why from the report, people from the log.
        logger.exception("the viewer ended")
        write_report(options.log, error)
        code = 1
    if display is not None:
        display.leave()
    _leave(code)


def _leave(code: int) -> NoReturn:
    """End the process now that all that is ours is closed: threads of a viewer's libraries may hold it for ever.

    Those of a Java machine do: the pool of a filter keeps it for more than 80 s, its window thread for good. A virtual
    display is there until the very end: Java ends the process, with a code of its own, when its display goes first.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _run(options: ServeOptions) -> None:
    VIEWERS.register(options.kind, options.target, replace=True)
    viewer = viewer_class(options.kind)
    from openhcs_viewers.server import ViewerServer

    keys = None
    if options.key:
        from zmqruntime.security import KeyPair

        keys = KeyPair.load(options.key)
    server = ViewerServer(
        options.endpoint,
        viewer,
        kind=options.kind,
        title=options.title,
        log=options.log,
        keys=keys,
        settings=ViewerSettings(options.budget, options.display, options.options),
    )
    public = "" if keys is None else keys.public
    info = ConnectionInfo.of(
        server.endpoint, kind=options.kind, title=options.title, log=options.log, public_key=public
    )
    orphaned = threading.Event()

    def parent_died() -> None:
        orphaned.set()
        server.request_shutdown()

    watch_lifeline(parent_died, grace=ORPHAN_GRACE)
    with _stopped_by_signals(server), server:
        with launch_lock():
            write_connection(info)
        threading.Thread(
            target=_end_in_time, args=(server, orphaned), name="end-in-time", daemon=True
        ).start()
        try:
            server.serve()
        finally:
            remove_connection(info)
    logger.info("the viewer ended in good order")


def _end_in_time(server: ViewerServer, orphaned: threading.Event) -> None:
    """Wait for somebody to ask for the end; from then on the window has `Viewer.end_grace` seconds to close.

    Then the process is ended with the stacks of its threads in the log: nobody must have to wait for a window that
    hangs.
    """
    server.wait()
    if not orphaned.is_set():  # then the lifeline's shorter clock runs already, and there is only one
        # faulthandler's clock runs on a thread that needs no interpreter lock.
        faulthandler.dump_traceback_later(server.viewer.end_grace, exit=True)


@contextlib.contextmanager
def _stopped_by_signals(server: ViewerServer) -> Iterator[None]:
    """Make SIGTERM and SIGINT ask the server to end, also while Qt's loop is idle and runs no Python."""
    read, write = socket.socketpair()
    write.setblocking(False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(write.fileno(), warn_on_full_buffer=False)

    def wait() -> None:
        if read.recv(1):
            logger.info("asked to end by a signal")
            server.request_shutdown()

    threading.Thread(target=wait, name="signals", daemon=True).start()
    yield


if __name__ == "__main__":
    main()
