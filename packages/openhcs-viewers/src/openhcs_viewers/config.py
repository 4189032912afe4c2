"""What a pipeline says about its viewers: whether to stream, where to, and how to show it.

Everything here is a frozen value that can be pickled to workers; nothing imports a viewer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import ClassVar, TypeAlias

from openhcs_viewers._fiji_config import (
    FijiDimensionMode,
    FijiDisplayConfig,
    FijiDisplayMode,
    FijiStreamingConfig,
    FijiVariableSizeHandling,
)
from openhcs_viewers._napari_config import (
    NapariDimensionMode,
    NapariDisplayConfig,
    NapariStreamingConfig,
    NapariVariableSizeHandling,
)
from openhcs_viewers._streaming_config import StreamingConfig
from openhcs_viewers.enum_factory import FijiLUT, NapariColormap
from openhcs_viewers.fiji_engine_config import FijiEngineConfig
from polystore.config import VFSConfig
from polystore.config_sources import effective, sections
from polystore.inheritance import Lazy, lazy

__all__ = [
    "STREAMING_CONFIGS",
    "FijiDimensionMode",
    "FijiDisplayConfig",
    "FijiDisplayMode",
    "FijiEngineConfig",
    "FijiLUT",
    "FijiStreamingConfig",
    "FijiVariableSizeHandling",
    "GlobalPipelineConfig",
    "LazyFijiDisplayConfig",
    "LazyFijiStreamingConfig",
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
    "ViewerConfig",
    "configured_port",
    "viewer_configs",
]

ViewerConfig: TypeAlias = NapariStreamingConfig | FijiStreamingConfig
"""A complete streaming configuration of some viewer."""

STREAMING_CONFIGS: Mapping[str, type[ViewerConfig]] = MappingProxyType(
    {"napari": NapariStreamingConfig, "fiji": FijiStreamingConfig}
)
"""By kind of viewer, the class of its configuration. A pipeline's configuration has a ``<kind>_streaming`` of each,
and each has its ``<kind>_port`` and ``<kind>_host``."""

LazyStreamingConfig = lazy(StreamingConfig)
"""`StreamingConfig` whose unset fields inherit; see `polystore.inheritance`."""

LazyNapariDisplayConfig = lazy(NapariDisplayConfig)
"""`NapariDisplayConfig` whose unset fields inherit."""

LazyNapariStreamingConfig = lazy(NapariStreamingConfig)
"""`NapariStreamingConfig` whose unset fields inherit: ``LazyNapariStreamingConfig(well_mode="slice")`` on a step
takes port and host from the pipeline."""

LazyFijiDisplayConfig = lazy(FijiDisplayConfig)
"""`FijiDisplayConfig` whose unset fields inherit."""

LazyFijiStreamingConfig = lazy(FijiStreamingConfig)
"""`FijiStreamingConfig` whose unset fields inherit: ``LazyFijiStreamingConfig()`` on a step shows it as the pipeline
says."""


@dataclass(frozen=True)
class GlobalPipelineConfig:
    """What holds for all pipelines of a program unless one of them says otherwise.

    Parameters
    ----------
    napari_streaming : NapariStreamingConfig, optional
        Where and how steps are shown in napari; None for not at all.
    vfs : VFSConfig
        Where results are kept.
    fiji_streaming : FijiStreamingConfig, optional
        The same for ImageJ; both at once is fine.
    """

    napari_streaming: NapariStreamingConfig | None = None
    vfs: VFSConfig = field(default_factory=VFSConfig)
    fiji_streaming: FijiStreamingConfig | None = None


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
    fiji_streaming : FijiStreamingConfig or its lazy variant, optional
        The same for ImageJ.
    """

    __concrete__: ClassVar[type[GlobalPipelineConfig]] = GlobalPipelineConfig

    napari_streaming: NapariStreamingConfig | Lazy[NapariStreamingConfig] | None = None
    vfs: VFSConfig | Lazy[VFSConfig] | None = None
    fiji_streaming: FijiStreamingConfig | Lazy[FijiStreamingConfig] | None = None


def viewer_configs(config: GlobalPipelineConfig) -> Iterator[tuple[str, ViewerConfig]]:
    """Yield kind and configuration of every viewer that is configured and enabled."""
    for kind in STREAMING_CONFIGS:
        streaming: ViewerConfig | None = getattr(config, f"{kind}_streaming")
        if streaming is not None and streaming.enabled:
            yield kind, streaming


def configured_port(kind: str) -> int | None:
    """Return the data port that files and environment give viewers of a kind; None where they cannot say."""
    name = f"{kind}_port"
    for cls in sections().get(kind, ()):
        if name in {each.name for each in fields(cls)}:
            port: int = getattr(effective(cls).value, name)
            return port
    return None
