"""How napari shows a plate, and where it listens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from openhcs_viewers._component_modes import modes_of, settle_modes, with_component_modes
from openhcs_viewers._streaming_config import StreamingConfig, check_place, place
from openhcs_viewers.enum_factory import NapariColormap
from polystore.config_sources import section
from polystore.projection.spec import DimensionMode as NapariDimensionMode
from polystore.projection.spec import DisplaySpec, member
from polystore.projection.spec import VariableSize as NapariVariableSizeHandling

if TYPE_CHECKING:
    from zmqruntime.config import Endpoint

__all__ = [
    "NapariDimensionMode",
    "NapariDisplayConfig",
    "NapariStreamingConfig",
    "NapariVariableSizeHandling",
]


@section("napari", "OPENHCS_NAPARI")
@dataclass(frozen=True)
@with_component_modes(NapariDimensionMode.STACK)
class NapariDisplayConfig:
    """How napari shows a plate. A component added in the configuration has its ``<component>_mode`` here, too.

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
        # Refuses now what would be refused at the first image; 'slice' and SLICE are one value from here on.
        handling = member(NapariVariableSizeHandling, "variable_size_handling", self.variable_size_handling)
        object.__setattr__(self, "variable_size_handling", handling)
        settle_modes(self, NapariDimensionMode)
        self.display_spec()

    def display_spec(self, *, replace_layers: bool = False) -> DisplaySpec:
        """Return the same in the words of the projection, which knows no napari.

        Parameters
        ----------
        replace_layers : bool
            Whether a later run takes over the layers of the one before.
        """
        return DisplaySpec(
            colormap=self.colormap if not isinstance(self.colormap, NapariColormap) else self.colormap.value,
            variable_size=self.variable_size_handling,
            modes=modes_of(self),
            replace_layers=replace_layers,
        )


@section("napari", "OPENHCS_NAPARI")
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

    Raises
    ------
    SettingsError
        That is no port, or no host.
    """

    napari_port: int = 5555
    napari_host: str = "localhost"

    def __post_init__(self) -> None:
        StreamingConfig.__post_init__(self)
        NapariDisplayConfig.__post_init__(self)
        check_place(self, "napari")

    def endpoint(self) -> Endpoint:
        """Return where the viewer listens."""
        return place(self, "napari")
