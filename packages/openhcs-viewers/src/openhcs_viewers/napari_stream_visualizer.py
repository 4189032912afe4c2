"""A napari of one's own: started, filled through a file manager, stopped."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from openhcs_viewers.config import NapariDisplayConfig, NapariStreamingConfig, StreamingConfig
from openhcs_viewers.handle import START_TIMEOUT, ViewerHandle
from openhcs_viewers.launcher import launch
from openhcs_viewers.registry import asked_port
from polystore.backends.napari_stream import NapariStreamingBackend, display_spec
from polystore.config_sources import effective
from polystore.inheritance import Lazy

if TYPE_CHECKING:
    from polystore.filemanager import FileManager

BACKEND = "napari_stream"
"""The backend that a visualizer points at its viewer, in its own file manager only."""


class NapariStreamVisualizer:
    """Starts a napari, or reuses the one there, and makes a file manager stream to it.

    Two of them with a file manager, a port and a configuration each work side by side.

    Parameters
    ----------
    filemanager : polystore.FileManager
        Its backend ``napari_stream`` goes to this viewer once `start_viewer` was called.
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

    Attributes
    ----------
    handle : ViewerHandle or None
        The viewer, once it was started.
    """

    def __init__(
        self,
        filemanager: FileManager,
        visualizer_config: Any = None,
        viewer_title: str = "OpenHCS Pipeline Visualization",
        persistent: bool = True,
        napari_port: int | None = None,
        replace_layers: bool = False,
    ) -> None:
        self.filemanager = filemanager
        self.visualizer_config = visualizer_config
        self.viewer_title = viewer_title
        self.persistent = persistent
        self.napari_port = napari_port
        self.replace_layers = replace_layers
        self.handle: ViewerHandle | None = None

    @property
    def port(self) -> int | None:
        """The viewer's data port; None before it was started."""
        return None if self.handle is None else self.handle.port

    @property
    def is_running(self) -> bool:
        """Whether the viewer was started and lives."""
        return self.handle is not None and self.handle.is_alive()

    def start_viewer(self, async_mode: bool = False) -> None:
        """Start or reuse the viewer, and point the file manager at it.

        Parameters
        ----------
        async_mode : bool
            True: return at once. What is saved meanwhile waits and is shown when the window is up.

        Raises
        ------
        LaunchError
            See `launch`. With `async_mode` only what is known at once; the rest stands in the log.
        """
        config = self.visualizer_config
        inherits = config is None or isinstance(config, NapariDisplayConfig | StreamingConfig | Lazy)
        streaming = effective(
            NapariStreamingConfig,
            pipeline=config if inherits else None,
            call={"napari_port": self.napari_port},
        ).value
        self.handle = launch(
            "napari",
            port=asked_port("napari", streaming.napari_port),
            host=streaming.napari_host,
            title=self.viewer_title,
            detached=self.persistent,
            wait=not async_mode,
        )
        backend = NapariStreamingBackend(
            self.handle.endpoint,
            config=streaming
            if inherits
            else replace(display_spec(config), replace_layers=self.replace_layers),
            replace_layers=self.replace_layers,
            starting=async_mode,
            server_key=self.handle.server_key,
        )
        self.filemanager.mount(BACKEND, backend)

    def wait_for_ready(self, timeout: float = START_TIMEOUT) -> None:
        """Wait until the window is up; see `ViewerHandle.wait_ready` for the errors."""
        if self.handle is None:
            self.start_viewer(async_mode=True)
        assert self.handle is not None
        self.handle.wait_ready(timeout)

    def stop_viewer(self, force: bool = False) -> None:
        """End the viewer, a persistent one too; see `ViewerHandle.stop`. Does nothing before `start_viewer`."""
        if self.handle is not None:
            self.handle.stop(force=force)
