"""The backend ``fiji_stream``: ``save_batch`` shows images as hyperstacks in an ImageJ that runs in its own process."""

from __future__ import annotations

from typing import ClassVar

from polystore.backends._stream import StreamBackend
from polystore.backends._stream_config import display_spec
from polystore.components import Component
from polystore.projection.spec import Dimension, DisplaySpec

__all__ = ["DEFAULT_DISPLAY", "FijiStreamingBackend", "display_spec"]

DEFAULT_DISPLAY = DisplaySpec(
    dimensions={Component.PLATE: Dimension.FRAME, Component.ACQUISITION: Dimension.FRAME}
)
"""What is shown where nobody says how: a window per step, well and field. Plates and acquisitions are frames: mostly
there is one, whose name then does not stand in that of every window."""


class FijiStreamingBackend(StreamBackend):
    """Sends images to the ImageJ at ``localhost:5556`` or wherever it is told; see `StreamBackend`.

    polystore knows no Java: the viewer is started by ``openhcs_viewers.launch("fiji")``.
    """

    default_port = 5556
    default_display: ClassVar[DisplaySpec] = DEFAULT_DISPLAY
    _libraries = ("zmqruntime",)
