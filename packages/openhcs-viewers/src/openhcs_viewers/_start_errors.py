"""What to say when a viewer does not start, hangs or is not there: the value, and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openhcs_viewers import errors
from openhcs_viewers._start import log_tail, read_report
from openhcs_viewers.errors import ViewerHungError, ViewerStartError, ViewerUnreachableError

if TYPE_CHECKING:
    from openhcs_viewers.handle import ViewerHandle

_LAST_WORDS = {
    "Could not reserve enough space": "there is not as much memory as it was to take; give a smaller budget "
    "(--budget, in megabytes; budget=, in bytes)",
}
"""What it means when a log ends with a line of somebody else's, for programs that end the process themselves."""


def stop_command(port: int) -> str:
    """Return the command that ends the viewer on `port` whatever it does."""
    return f"openhcs-viewers stop --force --port {port}"


def start_error(handle: ViewerHandle, what: str, *, waiting: bool = False) -> ViewerStartError:
    """Return the error of a viewer that did not start.

    Its cause is the error the viewer's process reported, when it did.

    Parameters
    ----------
    what : str
        What happened to it.
    waiting : bool
        Its process lives and may still come up.
    """
    text = f"the {handle.kind} on {handle.endpoint} (pid {handle.pid}) {what}"
    reason = ""
    cause: BaseException | None = None
    report = read_report(handle.log) if handle.log is not None else None
    if report is not None:
        reason = report.error
        text = f"{text}: {report.error}: {report.message}"
        kind = getattr(errors, report.error, None)
        cause = kind(report.message) if isinstance(kind, type) and issubclass(kind, Exception) else None
    elif waiting:
        text += f"; wait longer (timeout=), or end it: {stop_command(handle.port)}"
    if handle.log is not None and report is None:
        said = log_tail(handle.log)
        text += "".join(f": {what}" for sign, what in _LAST_WORDS.items() if sign in said)
    if handle.log is not None:
        text += f"; its log is {handle.log}"
        tail = log_tail(handle.log) if report is None else ""
        text += f", which ends with:\n{tail}" if tail else ""
    error = ViewerStartError(text, reason=reason, log=handle.log)
    error.__cause__ = cause
    return error


def hung_error(handle: ViewerHandle, seconds: float, *, answers: bool) -> ViewerHungError:
    """Return the error of a viewer whose process lives, and nothing else of it."""
    what = "its window has not moved" if answers else "it has not answered"
    return ViewerHungError(
        f"the {handle.kind} on {handle.endpoint} (pid {handle.pid}) hangs: {what} for {seconds:.0f} s; end it with "
        f"'{stop_command(handle.port)}' and launch again (its log is {handle.log})"
    )


def unreachable_error(handle: ViewerHandle, timeout: float) -> ViewerUnreachableError:
    """Return the error of a viewer on another machine that does not answer."""
    endpoint = handle.endpoint
    port, control = endpoint.data_port, endpoint.control_port
    return ViewerUnreachableError(
        f"no {handle.kind} answers on {endpoint} within {timeout:g} s, and none is started on another machine: "
        f"run 'openhcs-viewers launch {handle.kind} --port {port}' there and open a tunnel with "
        f"'ssh -L {port}:localhost:{port} -L {control}:localhost:{control} {endpoint.host}'"
    )
