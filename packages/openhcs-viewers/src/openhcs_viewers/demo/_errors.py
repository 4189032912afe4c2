"""Errors of the demo.

* openhcs_viewers.errors.ViewerError
  + PlateError (also ValueError)        a folder that is no plate, or one without images
  + StepError (also ValueError)         a step that cannot be run as it is written
  + WorkerStartError (also RuntimeError)
"""

from __future__ import annotations

from openhcs_viewers.errors import ViewerError


class PlateError(ViewerError, ValueError):
    """A folder is not a plate, or holds no image."""


class StepError(ViewerError, ValueError):
    """A step of a pipeline cannot be run as it is written."""


class WorkerStartError(ViewerError, RuntimeError):
    """A worker process ended before it could take a task."""
