"""The backend ``fiji_stream``: ``save_batch`` shows images as hyperstacks in an ImageJ that runs in its own process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from polystore.backends._stream import StreamBackend, warn_once
from polystore.backends._stream_config import display_spec
from polystore.components import Component
from polystore.projection.spec import Dimension, DisplaySpec

if TYPE_CHECKING:
    from polystore.streaming.messages import StreamItem

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

    def _warn_of(self, items: Sequence[StreamItem], display: DisplaySpec) -> None:
        super()._warn_of(items, display)
        if display.z_step is not None and display.scale is None:
            warn_once(
                f"z_step={display.z_step} is not shown without the size of a pixel: ImageJ has one unit for x, y "
                "and z; give pixel_size, too",
                "z_step",
            )
        for item in items:
            lost = None if item.array is None else _LOST.get(item.array.dtype.name)
            if lost and (item.kind != "labels" or item.array.dtype.kind not in "iu"):
                warn_once(
                    f"ImageJ has no {item.array.dtype} pixels: such images are shown as 32-bit floats, {lost}",
                    "fiji",
                    item.array.dtype.name,
                )


_WHOLE = "exact up to 16,777,216"
_LOST = {
    **dict.fromkeys(("int32", "uint32", "int64", "uint64"), _WHOLE),
    "float64": "with 7 digits",
    "complex64": "by their absolute values",
    "complex128": "by their absolute values",
}
"""What the pixels of a dtype lose in ImageJ. Labels are no numbers to measure with: theirs are small enough."""
