"""What a pipeline says about its viewers: whether to stream, where to, and how to show it.

Everything here is a frozen value that can be pickled to workers; nothing imports a viewer.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, ClassVar

from openhcs_viewers._component_modes import modes_of, settle_modes, with_component_modes
from openhcs_viewers.enum_factory import NapariColormap
from polystore.config import SettingsError, VFSConfig
from polystore.config_sources import effective, section, sections
from polystore.inheritance import Lazy, lazy
from polystore.projection.spec import DimensionMode as NapariDimensionMode
from polystore.projection.spec import DisplaySpec, member
from polystore.projection.spec import VariableSize as NapariVariableSizeHandling

if TYPE_CHECKING:
    from zmqruntime.config import Endpoint

__all__ = [
    "GlobalPipelineConfig",
    "LazyNapariDisplayConfig",
    "LazyNapariStreamingConfig",
    "LazyStreamingConfig",
    "NapariColormap",
    "NapariDimensionMode",
    "NapariDisplayConfig",
    "NapariStreamingConfig",
    "NapariVariableSizeHandling",
    "PipelineConfig",
    "StreamingConfig",
    "configured_port",
]

HIGHEST_PORT = 64535
"""The control port is 1000 higher, and the last port is 65535."""


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

    def __post_init__(self) -> None:
        for name in ("enabled", "persistent"):
            if not isinstance(getattr(self, name), bool):
                raise SettingsError(f"{name}={getattr(self, name)!r}: True or False")


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
        port = self.napari_port
        if type(port) is not int or not 1 <= port <= HIGHEST_PORT:
            raise SettingsError(f"napari_port={port!r} is not a port: give 1 to {HIGHEST_PORT}")
        if not isinstance(self.napari_host, str) or not self.napari_host:
            raise SettingsError(f"napari_host={self.napari_host!r} is not a host: give its name or address")

    def endpoint(self) -> Endpoint:
        """Return where the viewer listens."""
        from zmqruntime.config import Endpoint

        return Endpoint(host=self.napari_host, data_port=self.napari_port)


LazyStreamingConfig = lazy(StreamingConfig)
"""`StreamingConfig` whose unset fields inherit; see `polystore.inheritance`."""

LazyNapariDisplayConfig = lazy(NapariDisplayConfig)
"""`NapariDisplayConfig` whose unset fields inherit."""

LazyNapariStreamingConfig = lazy(NapariStreamingConfig)
"""`NapariStreamingConfig` whose unset fields inherit: ``LazyNapariStreamingConfig(well_mode="slice")`` on a step
takes port and host from the pipeline."""


@dataclass(frozen=True)
class GlobalPipelineConfig:
    """What holds for all pipelines of a program unless one of them says otherwise.

    Parameters
    ----------
    napari_streaming : NapariStreamingConfig, optional
        Where and how steps are shown in napari; None for not at all.
    vfs : VFSConfig
        Where results are kept.
    """

    napari_streaming: NapariStreamingConfig | None = None
    vfs: VFSConfig = field(default_factory=VFSConfig)


@dataclass(frozen=True, repr=False)
class PipelineConfig(Lazy[GlobalPipelineConfig]):
    """What holds for all steps of a pipeline: the lazy variant of `GlobalPipelineConfig`, None stands for: as there.

    Parameters
    ----------
    napari_streaming : NapariStreamingConfig or its lazy variant, optional
        Where and how steps are shown in napari. None: as in the global configuration, which shows nothing unless
        it says so; `polystore.inheritance.NONE`: not at all.
    vfs : VFSConfig or its lazy variant, optional
        Where results are kept.
    """

    __concrete__: ClassVar[type[GlobalPipelineConfig]] = GlobalPipelineConfig

    napari_streaming: NapariStreamingConfig | Lazy[NapariStreamingConfig] | None = None
    vfs: VFSConfig | Lazy[VFSConfig] | None = None


def configured_port(kind: str) -> int | None:
    """Return the data port that files and environment give viewers of a kind; None where they cannot say."""
    name = f"{kind}_port"
    for cls in sections().get(kind, ()):
        if name in {each.name for each in fields(cls)}:
            port: int = getattr(effective(cls).value, name)
            return port
    return None
