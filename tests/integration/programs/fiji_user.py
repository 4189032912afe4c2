"""ImageJ with somebody at its windows: a viewer that does as a user what a test asks for."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from openhcs_viewers.abc import Command
from openhcs_viewers.fiji._java import java, later
from openhcs_viewers.fiji.viewer import FijiViewer


class FijiWithUser(FijiViewer):
    """Answers ``user`` (macro): runs it on a thread of its own, as a menu would, and does not wait.

    And ``hold`` (seconds): holds ImageJ's event thread, as a plugin may.
    """

    def commands(self) -> Mapping[str, Command]:
        return {
            **super().commands(),
            "user": Command(self._user, gui=False),
            "hold": Command(self._hold, gui=False),
        }

    def _hold(self, params: Mapping[str, Any]) -> None:
        later(lambda: java("java.lang.Thread").sleep(int(1000 * params["seconds"])))

    def _user(self, params: Mapping[str, Any]) -> None:
        macro = params["macro"]
        thread = threading.Thread(target=lambda: java("ij.IJ").runMacro(macro), daemon=True)
        thread.start()
        if params.get("wait"):
            thread.join()
