"""The backend ``napari_stream``: ``save_batch`` shows images in a napari that runs in its own process."""

from __future__ import annotations

from polystore.backends._stream import StreamBackend
from polystore.backends._stream_config import display_spec

__all__ = ["NapariStreamingBackend", "display_spec"]


class NapariStreamingBackend(StreamBackend):
    """Sends images to the napari at ``localhost:5555`` or wherever it is told; see `StreamBackend`.

    polystore imports no napari: the viewer is started by ``openhcs_viewers.launch("napari")``.
    """

    default_port = 5555
    _libraries = ("zmqruntime",)
