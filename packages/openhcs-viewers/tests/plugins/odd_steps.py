"""Steps that fail on one field: workers import them by name."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np

MARKED = 65535
"""A pixel of this value at (0, 0) marks the image on which a step fails."""


def die_on_mark(image: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if image[0, 0] == MARKED:
        os.kill(os.getpid(), signal.SIGKILL)
    return image


def fail_on_mark(image: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if image[0, 0] == MARKED:
        raise ValueError("this image is marked")
    return image


def never_end(image: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    Path(os.environ["ODD_STEPS"], str(os.getpid())).touch()
    threading.Event().wait()
    return image
