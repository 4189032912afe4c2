"""A viewer of one's own, of any kind: started, filled through a file manager, stopped."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from openhcs_viewers.config import STREAMING_CONFIGS, StreamingConfig
from openhcs_viewers.handle import START_TIMEOUT, ViewerHandle
from openhcs_viewers.launcher import launch
from openhcs_viewers.registry import asked_port
from polystore.backends import BACKENDS
from polystore.backends.napari_stream import display_spec
from polystore.config_sources import effective
from polystore.inheritance import Lazy

if TYPE_CHECKING:
    from polystore.filemanager import FileManager


class StreamVisualizer:
    """What `NapariStreamVisualizer` and `FijiStreamVisualizer` share: all but their names.

    Parameters
    ----------
    filemanager, visualizer_config, viewer_title, persistent, replace_layers, display
        As theirs.
    port : int, optional
        Data port; that of the configuration when not given.

    Attributes
    ----------
    handle : ViewerHandle or None
        The viewer, once it was started.
    """

    kind: ClassVar[str]
    """Of its viewer: a key of `openhcs_viewers.config.STREAMING_CONFIGS`."""

    display_config: ClassVar[type[Any]]
    """Class of a configuration that says how and not where."""

    def __init__(
        self,
        filemanager: FileManager,
        visualizer_config: Any,
        viewer_title: str,
        persistent: bool,
        port: int | None,
        replace_layers: bool,
        display: str = "auto",
    ) -> None:
        self.filemanager = filemanager
        self.visualizer_config = visualizer_config
        self.viewer_title = viewer_title
        self.persistent = persistent
        self.replace_layers = replace_layers
        self.handle: ViewerHandle | None = None
        self.display = display
        self._asked_port = port

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
        inherits = config is None or isinstance(config, (self.display_config, StreamingConfig, Lazy))
        streaming = effective(
            STREAMING_CONFIGS[self.kind],
            pipeline=config if inherits else None,
            call={f"{self.kind}_port": self._asked_port},
        ).value
        place = streaming.endpoint()
        self.handle = launch(
            self.kind,
            port=asked_port(self.kind, place.data_port),
            host=place.host,
            title=self.viewer_title,
            detached=self.persistent,
            wait=not async_mode,
            display=self.display,
        )
        name = f"{self.kind}_stream"
        backend: Any = BACKENDS.get(name)
        self.filemanager.mount(
            name,
            backend(
                self.handle.endpoint,
                config=streaming
                if inherits
                else replace(display_spec(config), replace_layers=self.replace_layers),
                replace_layers=self.replace_layers,
                starting=async_mode,
                server_key=self.handle.server_key,
            ),
        )

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
