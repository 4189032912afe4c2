"""An ImageJ of one's own: started, filled through a file manager, stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from openhcs_viewers._stream_visualizer import StreamVisualizer
from openhcs_viewers.config import FijiDisplayConfig

if TYPE_CHECKING:
    from polystore.filemanager import FileManager

__all__ = ["FijiStreamVisualizer"]


class FijiStreamVisualizer(StreamVisualizer):
    """Starts an ImageJ, or reuses the one there, and makes a file manager stream to it.

    Parameters
    ----------
    filemanager : polystore.FileManager
        Its backend ``fiji_stream`` goes to this viewer once `start_viewer` was called; that of no other file
        manager does.
    visualizer_config : FijiStreamingConfig or FijiDisplayConfig or polystore.projection.DisplaySpec, optional
        How images are shown, and on which port of which machine; lazy variants, files and variables as with
        `NapariStreamVisualizer` (``OPENHCS_FIJI_PORT``).
    viewer_title : str
        Of the main window that is opened.
    persistent : bool
        True: the viewer outlives this process.
    fiji_port : int, optional
        Data port; that of the configuration, 5556, when not given. The default port counts as not given: when it is
        taken the next free pair is used, see `port`.
    replace_layers : bool
        True: a later run takes over the hyperstacks of the one before; False: it gets windows of its own.
    display : str
        Of a viewer that is opened, see `openhcs_viewers.launch`: ``"virtual"`` needs no desktop, ``"headless"`` no
        window at all.

    Attributes
    ----------
    handle : ViewerHandle or None
        The viewer, once it was started.
    """

    kind = "fiji"
    display_config = FijiDisplayConfig

    def __init__(
        self,
        filemanager: FileManager,
        visualizer_config: Any = None,
        viewer_title: str = "OpenHCS Pipeline Visualization",
        persistent: bool = True,
        fiji_port: int | None = None,
        replace_layers: bool = False,
        *,
        display: str = "auto",
    ) -> None:
        super().__init__(
            filemanager, visualizer_config, viewer_title, persistent, fiji_port, replace_layers, display
        )
        self.fiji_port = fiji_port
