"""Door: `NapariStreamingBackend` under the path the original documents use."""

from __future__ import annotations

from polystore.backends.napari_stream import NapariStreamingBackend

__all__ = ["NapariStreamingBackend"]
