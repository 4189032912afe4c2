"""Every error this package raises.

* ViewerError
  + ViewerNotFoundError (also LookupError)
  + MissingExtraError (also ImportError)
  + DisplayError (also RuntimeError)
  + JavaError (also RuntimeError)
  + ImageJError (also RuntimeError)
  + LaunchError
    - ViewerStartError
    - ViewerUnreachableError (also ConnectionError)
    - ViewerHungError (also TimeoutError)
    - PortTakenError (also OSError)
    - UnguardedScriptError (also RuntimeError)
  + ViewerStopError (also TimeoutError)
  + ViewerClosedError (also RuntimeError)
  + ScreenshotError (also RuntimeError)
  + MacroError (also RuntimeError)
  + AnswerTooLargeError (also ValueError)
  + ViewerFilesError (also FileNotFoundError)
  + StoreFullError (also OSError)

A message says what failed, with which value, and what to do about it.
"""

from __future__ import annotations

from pathlib import Path

__all__ = [
    "AnswerTooLargeError",
    "DisplayError",
    "ImageJError",
    "JavaError",
    "LaunchError",
    "MacroError",
    "MissingExtraError",
    "PortTakenError",
    "ScreenshotError",
    "StoreFullError",
    "UnguardedScriptError",
    "ViewerClosedError",
    "ViewerError",
    "ViewerFilesError",
    "ViewerHungError",
    "ViewerNotFoundError",
    "ViewerStartError",
    "ViewerStopError",
    "ViewerUnreachableError",
]


class ViewerError(Exception):
    """Root of this package's errors."""


class ViewerNotFoundError(ViewerError, LookupError):
    """No viewer is registered under a name."""


class MissingExtraError(ViewerError, ImportError):
    """A viewer needs packages that are not installed."""


class DisplayError(ViewerError, RuntimeError):
    """There is no display a window could be opened on."""


class JavaError(ViewerError, RuntimeError):
    """There is no Java, one that is too old or lacks a part, or it did not start."""


class ImageJError(ViewerError, RuntimeError):
    """There is no ImageJ, not where a setting says there is, or it did not start."""


class LaunchError(ViewerError):
    """A viewer could not be started or reached."""


class ViewerStartError(LaunchError):
    """A viewer process ended, or stayed silent, before its window was up.

    Parameters
    ----------
    message : str
        What failed and what to do.
    reason : str
        Name of the error the viewer process reported, such as ``"DisplayError"``; empty when it
        reported none.
    log : pathlib.Path, optional
        The viewer's log file. Its last lines are part of the message.
    """

    def __init__(self, message: str, *, reason: str = "", log: Path | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.log = log


class ViewerUnreachableError(LaunchError, ConnectionError):
    """No viewer answers on another machine; viewers are never started there."""


class ViewerHungError(LaunchError, TimeoutError):
    """A viewer's process lives but does not answer, or its window does not move."""


class PortTakenError(LaunchError, OSError):
    """The port that was asked for belongs to a program that is not a viewer of this user."""


class UnguardedScriptError(LaunchError, RuntimeError):
    """A process pool was started from a script without an ``if __name__ == "__main__"`` guard."""


class ViewerStopError(ViewerError, TimeoutError):
    """A viewer did not end when asked to."""


class ViewerClosedError(ViewerError, RuntimeError):
    """The viewer was closed and cannot do what it was asked."""


class ScreenshotError(ViewerError, RuntimeError):
    """No picture of the viewer could be taken or written."""


class MacroError(ViewerError, RuntimeError):
    """A macro failed, was aborted or took too long; the message is ImageJ's, with the line."""


class AnswerTooLargeError(ViewerError, ValueError):
    """What was asked for does not fit into the message it would come back in."""


class StoreFullError(ViewerError, OSError):
    """A viewer's memory budget is used up and the disk takes no more planes."""


class ViewerFilesError(ViewerError, FileNotFoundError):
    """There is nothing to show where somebody said there was."""
