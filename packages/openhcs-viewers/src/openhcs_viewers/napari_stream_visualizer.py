"""A napari of one's own: started, filled through a file manager, stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from openhcs_viewers._stream_visualizer import StreamVisualizer
from openhcs_viewers.config import NapariDisplayConfig

if TYPE_CHECKING:
    from polystore.filemanager import FileManager

__all__ = ["NapariStreamVisualizer"]


class NapariStreamVisualizer(StreamVisualizer):
    """Starts a napari, or reuses the one there, and makes a file manager stream to it.

    Two of them with a file manager, a port and a configuration each work side by side.

    Parameters
    ----------
    filemanager : polystore.FileManager
        Its backend ``napari_stream`` goes to this viewer once `start_viewer` was called; that of no other file
        manager does.
    visualizer_config : NapariStreamingConfig or NapariDisplayConfig or polystore.projection.DisplaySpec, optional
        How images are shown, and on which port of which machine. Of a lazy variant, and without a configuration,
        what is not said comes from the configuration files; environment variables (``OPENHCS_NAPARI_PORT``) outrank
        both, see `polystore.config_sources.effective`.
    viewer_title : str
        Of a window that is opened.
    persistent : bool
        True: the viewer outlives this process.
    napari_port : int, optional
        Data port; that of the configuration when not given. The default port counts as not given: when it is
        taken the next free pair is used, see `port`.
    replace_layers : bool
        True: a later run takes over the layers of the one before; False: it gets layers of its own.
    display : str
        Of a viewer that is opened, see `openhcs_viewers.launch`: ``"virtual"`` needs no desktop.

    Attributes
    ----------
    handle : ViewerHandle or None
        The viewer, once it was started.
    """

    kind = "napari"
    display_config = NapariDisplayConfig

    def __init__(
        self,
        filemanager: FileManager,
        visualizer_config: Any = None,
        viewer_title: str = "OpenHCS Pipeline Visualization",
        persistent: bool = True,
        napari_port: int | None = None,
        replace_layers: bool = False,
        *,
        display: str = "auto",
    ) -> None:
        super().__init__(
            filemanager, visualizer_config, viewer_title, persistent, napari_port, replace_layers, display
        )
        self.napari_port = napari_port
