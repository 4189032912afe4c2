"""Named points at which a test can kill the process, as ``kill -9`` would.

``ZMQRUNTIME_FAULT="stream.sent:3"`` ends the process at the third passage of the point ``stream.sent``.
Without the variable `armed` is False and the points cost one test of a module constant.
"""

from __future__ import annotations

import os
import signal

_spec = os.environ.get("ZMQRUNTIME_FAULT", "")
_name, _, _count = _spec.partition(":")
_left = int(_count or 1) if _spec else 0

armed = bool(_spec)
"""Whether any point is armed in this process."""


def fault_point(name: str) -> None:
    """Kill this process at the n-th passage of the armed point; do nothing at any other."""
    global _left
    if name == _name:
        _left -= 1
        if _left == 0:
            os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
