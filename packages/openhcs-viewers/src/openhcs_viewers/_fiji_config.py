"""How ImageJ shows a plate, and where it listens."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from openhcs_viewers._component_modes import modes_of, settle_modes, with_component_modes
from openhcs_viewers._streaming_config import StreamingConfig, check_place, place
from openhcs_viewers.enum_factory import FijiLUT
from polystore.backends.fiji_stream import DEFAULT_DISPLAY
from polystore.components import Component
from polystore.config_sources import section
from polystore.errors import ProjectionError
from polystore.projection.spec import ChannelDisplay as FijiDisplayMode
from polystore.projection.spec import Dimension, DisplaySpec, member, positive
from polystore.projection.spec import VariableSize as FijiVariableSizeHandling

if TYPE_CHECKING:
    from zmqruntime.config import Endpoint

logger = logging.getLogger(__name__)

__all__ = [
    "FijiDimensionMode",
    "FijiDisplayConfig",
    "FijiDisplayMode",
    "FijiStreamingConfig",
    "FijiVariableSizeHandling",
    "dimension_of",
]


class FijiDimensionMode(StrEnum):
    """What one component becomes in ImageJ, whose images have channels, slices and frames."""

    STACK = "stack"
    """The dimension made for it: channels for the channel, slices for z, frames for everything else."""

    SLICE = "slice"
    """Of the channel the same as STACK; everything else is appended to the slices."""

    SEPARATE = "separate"
    """A window for each of its values."""

    CHANNEL = "channel"
    """Channels, whatever the component: `Dimension` under its own name, and so the next three."""

    Z = "z"
    """Slices."""

    FRAME = "frame"
    """Frames."""

    WINDOW = "window"
    """A window for each of its values."""


_KNOWN_LUTS = frozenset({
    "auto", "gray", "grey", "greys", "redgreen",
    *(each.value.lower() for each in FijiLUT),
    # The folder of a Fiji directory.
    "viridis", "magma", "plasma", "inferno", "mpl-viridis", "mpl-magma", "mpl-plasma", "mpl-inferno",
    "16_colors", "5_ramps", "6_shades", "blue_orange_icb", "brgbcmyw", "cool", "cyan hot", "edges", "gem",
    "green fire blue", "hilo", "ica", "ica2", "ica3", "magenta hot", "orange hot", "phase", "physics",
    "rainbow rgb", "red hot", "royal", "sepia", "smart", "thal", "thallium", "thermal", "unionjack", "yellow hot",
})  # fmt: skip
_told_luts: set[str] = set()


def _check_lut(name: str) -> None:
    """Say here, where the script's author sees it, that a name may be a slip; the viewer's log says whether it is."""
    if name.strip().lower() not in _KNOWN_LUTS and name not in _told_luts:
        _told_luts.add(name)
        logger.warning(
            "lut=%r is none of ImageJ's own: images are gray unless it is in the luts folder of your Fiji (known: %s, "
            "auto)",
            name,
            ", ".join(FijiLUT),
        )


_STACKS = {Component.CHANNEL: Dimension.CHANNEL, Component.Z: Dimension.Z}
"""What STACK means; frames for all other components."""


def dimension_of(which: Component, mode: FijiDimensionMode) -> Dimension:
    """Return the dimension of a hyperstack that a component becomes.

    The documents use SLICE in two senses, so it is settled here for each component.
    """
    if mode is FijiDimensionMode.SEPARATE:
        return Dimension.WINDOW
    if mode is FijiDimensionMode.STACK:
        return _STACKS.get(which, Dimension.FRAME)
    if mode is FijiDimensionMode.SLICE:
        return Dimension.CHANNEL if which is Component.CHANNEL else Dimension.Z
    return Dimension(mode.value)


@section("fiji", "OPENHCS_FIJI")
@dataclass(frozen=True)
@with_component_modes(FijiDimensionMode.SEPARATE)
class FijiDisplayConfig:
    """How ImageJ shows a plate. A component added in the configuration has its ``<component>_mode`` here, too.

    Parameters
    ----------
    lut : FijiLUT or str
        Lookup table of image windows. A name that ImageJ does not know is shown gray, with a warning here and in the
        viewer's log; ``"auto"`` gives every channel a colour of its own.
    variable_size_handling : FijiVariableSizeHandling
        What to do with images of different sizes.
    display_mode : FijiDisplayMode
        Channels at once in their colours (composite), or one at a time, in its colour (color) or gray (grayscale).
    pixel_size, z_step : float, optional
        Side of a pixel and distance of two planes, in micrometres. ImageJ has one unit for all three directions, so
        it shows no `z_step` while the size of a pixel is unknown. For pixels that are not square give
        ``DisplaySpec(scale=(y, x))`` in place of this configuration.
    frame_interval : float, optional
        Time between two time points, in seconds.
    site_mode, channel_mode, z_index_mode, timepoint_mode, well_mode : FijiDimensionMode
        See `FijiDimensionMode`. The defaults make a window of every step, well and site.

    Raises
    ------
    polystore.errors.ProjectionError
        A value is none of those known. Strings such as ``"stack"`` are understood too.
    """

    lut: FijiLUT | str = FijiLUT.GRAYS
    variable_size_handling: FijiVariableSizeHandling = FijiVariableSizeHandling.SEPARATE_LAYERS
    display_mode: FijiDisplayMode = FijiDisplayMode.COMPOSITE
    pixel_size: float | None = None
    z_step: float | None = None
    frame_interval: float | None = None
    site_mode: FijiDimensionMode = FijiDimensionMode.SEPARATE
    channel_mode: FijiDimensionMode = FijiDimensionMode.SLICE
    z_index_mode: FijiDimensionMode = FijiDimensionMode.STACK
    timepoint_mode: FijiDimensionMode = FijiDimensionMode.STACK
    well_mode: FijiDimensionMode = FijiDimensionMode.SEPARATE

    def __post_init__(self) -> None:
        # Refuses now what would be refused at the first image; 'stack' and STACK are one value from here on.
        for name, kind in (
            ("variable_size_handling", FijiVariableSizeHandling),
            ("display_mode", FijiDisplayMode),
        ):
            object.__setattr__(self, name, member(kind, name, getattr(self, name)))
        settle_modes(self, FijiDimensionMode)
        # Here they have other names than in the display they become.
        if not isinstance(self.lut, str) or not 0 < len(self.lut) <= 100:
            raise ProjectionError(
                f"lut={self.lut!r}: give the name of a lookup table, such as 'Fire', or 'auto'"
            )
        _check_lut(self.lut)
        if self.pixel_size is not None:
            positive("pixel_size", self.pixel_size)
        self.display_spec()

    def display_spec(self, *, replace_layers: bool = False) -> DisplaySpec:
        """Return the same in the words of the projection, which knows no ImageJ.

        Parameters
        ----------
        replace_layers : bool
            Whether a later run takes over the windows of the one before.
        """
        return DisplaySpec(
            colormap=self.lut.value if isinstance(self.lut, FijiLUT) else self.lut,
            variable_size=self.variable_size_handling,
            dimensions={
                **DEFAULT_DISPLAY.dimensions,  # of plates and acquisitions, which have modes only where added
                **{which: dimension_of(which, mode) for which, mode in modes_of(self).items()},
            },
            channel_display=self.display_mode,
            replace_layers=replace_layers,
            scale=None if self.pixel_size is None else (self.pixel_size, self.pixel_size),
            z_step=self.z_step,
            frame_interval=self.frame_interval,
        )


@section("fiji", "OPENHCS_FIJI")
@dataclass(frozen=True)
class FijiStreamingConfig(StreamingConfig, FijiDisplayConfig):
    """Stream to an ImageJ at a port of a machine, shown in a certain way.

    Parameters
    ----------
    fiji_port : int
        Data port; the control port is 1000 higher.
    fiji_host : str
        ``"localhost"``, or the name of the machine the viewer runs on. A viewer is never started on another
        machine.

    Raises
    ------
    SettingsError
        That is no port, or no host.
    """

    fiji_port: int = 5556
    fiji_host: str = "localhost"

    def __post_init__(self) -> None:
        StreamingConfig.__post_init__(self)
        FijiDisplayConfig.__post_init__(self)
        check_place(self, "fiji")

    def endpoint(self) -> Endpoint:
        """Return where the viewer listens."""
        return place(self, "fiji")
