"""Door: the server of an ImageJ viewer under the name the original documents use; `launch` runs it in a process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openhcs_viewers.registry import DEFAULT_PORTS, viewer_class
from openhcs_viewers.server import ViewerServer
from zmqruntime.config import Endpoint

if TYPE_CHECKING:
    from openhcs_viewers.abc import ViewerSettings

__all__ = ["FijiViewerServer"]


class FijiViewerServer(ViewerServer):
    """A `ViewerServer` that shows what arrives in ImageJ: ``start()``, then ``serve()`` on the main thread, ``stop()``.

    One per process, because there is one Java machine per process, which never starts twice.

    Parameters
    ----------
    port : int
        Data port on this machine; the control port is 1000 higher.
    viewer_title : str
        Of the main window.
    settings : ViewerSettings, optional
        Display, memory, Fiji's directory.
    """

    def __init__(
        self,
        port: int = DEFAULT_PORTS["fiji"],
        viewer_title: str = "OpenHCS Fiji Viewer",
        *,
        settings: ViewerSettings | None = None,
    ) -> None:
        super().__init__(
            Endpoint(data_port=port),
            viewer_class("fiji"),
            kind="fiji",
            title=viewer_title,
            settings=settings,
        )
