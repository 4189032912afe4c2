"""What a pipeline says about its viewers: whether to stream, where to, and how to show it.

Everything here is a frozen value that can be pickled to workers; nothing imports a viewer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from openhcs_viewers.enum_factory import NapariColormap
from polystore.components import Component
from polystore.projection.spec import DimensionMode as NapariDimensionMode
from polystore.projection.spec import DisplaySpec
from polystore.projection.spec import VariableSize as NapariVariableSizeHandling

if TYPE_CHECKING:
    from zmqruntime.config import Endpoint

__all__ = [
    "NapariColormap",
    "NapariDimensionMode",
    "NapariDisplayConfig",
    "NapariStreamingConfig",
    "NapariVariableSizeHandling",
    "PipelineConfig",
    "StreamingConfig",
]


@dataclass(frozen=True)
class StreamingConfig:
    """Whether to stream.

    Parameters
    ----------
    enabled : bool
        False switches streaming off and keeps the other settings.
    persistent : bool
        True: the viewer outlives the pipeline. False: it ends with the process that launched it.
    """

    enabled: bool = True
    persistent: bool = True


@dataclass(frozen=True)
class NapariDisplayConfig:
    """How napari shows a plate.

    Parameters
    ----------
    colormap : NapariColormap or str
        Of image layers. A name that napari does not know is shown gray, with a warning in the viewer's log.
    variable_size_handling : NapariVariableSizeHandling
        What to do with images of different sizes.
    site_mode, channel_mode, z_index_mode, timepoint_mode, well_mode : NapariDimensionMode
        SLICE: a layer per value. STACK: one layer with a slider over the values.

    Raises
    ------
    polystore.errors.ProjectionError
        A value is none of those known. Strings such as ``"stack"`` are understood too.
    """

    colormap: NapariColormap | str = NapariColormap.GRAY
    variable_size_handling: NapariVariableSizeHandling = NapariVariableSizeHandling.SEPARATE_LAYERS
    site_mode: NapariDimensionMode = NapariDimensionMode.STACK
    channel_mode: NapariDimensionMode = NapariDimensionMode.SLICE
    z_index_mode: NapariDimensionMode = NapariDimensionMode.STACK
    timepoint_mode: NapariDimensionMode = NapariDimensionMode.STACK
    well_mode: NapariDimensionMode = NapariDimensionMode.STACK

    def __post_init__(self) -> None:
        self.display_spec()  # refuses now what would be refused at the first image

    def display_spec(self, *, replace_layers: bool = False) -> DisplaySpec:
        """Return the same in the words of the projection, which knows no napari.

        Parameters
        ----------
        replace_layers : bool
            Whether a later run takes over the layers of the one before.
        """
        modes = {
            Component.FIELD: self.site_mode,
            Component.CHANNEL: self.channel_mode,
            Component.Z: self.z_index_mode,
            Component.T: self.timepoint_mode,
            Component.WELL: self.well_mode,
        }
        return DisplaySpec(
            colormap=self.colormap if not isinstance(self.colormap, NapariColormap) else self.colormap.value,
            variable_size=self.variable_size_handling,
            modes=modes,
            replace_layers=replace_layers,
        )


@dataclass(frozen=True)
class NapariStreamingConfig(StreamingConfig, NapariDisplayConfig):
    """Stream to a napari at a port of a machine, shown in a certain way.

    Parameters
    ----------
    napari_port : int
        Data port; the control port is 1000 higher.
    napari_host : str
        ``"localhost"``, or the name of the machine the viewer runs on. A viewer is never started on another
        machine.
    """

    napari_port: int = 5555
    napari_host: str = "localhost"

    def endpoint(self) -> Endpoint:
        """Return where the viewer listens."""
        from zmqruntime.config import Endpoint

        return Endpoint(host=self.napari_host, data_port=self.napari_port)


@dataclass(frozen=True)
class PipelineConfig:
    """What holds for all steps of a pipeline.

    Parameters
    ----------
    napari_streaming : NapariStreamingConfig, optional
        Where and how steps are shown in napari; None for not at all.
    """

    napari_streaming: NapariStreamingConfig | None = None
