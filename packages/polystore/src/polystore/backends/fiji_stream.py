"""The backend ``fiji_stream``: ``save_batch`` shows images as hyperstacks in an ImageJ that runs in its own process."""

from __future__ import annotations

from polystore.backends._stream import StreamBackend
from polystore.backends._stream_config import display_spec

__all__ = ["FijiStreamingBackend", "display_spec"]


class FijiStreamingBackend(StreamBackend):
    """Sends images to the ImageJ at ``localhost:5556`` or wherever it is told; see `StreamBackend`.

    polystore knows no Java: the viewer is started by ``openhcs_viewers.launch("fiji")``.
    """

    default_port = 5556
    _libraries = ("zmqruntime",)
