"""Door: `FijiStreamingBackend` under the path the original documents use."""

from __future__ import annotations

from polystore.backends.fiji_stream import FijiStreamingBackend

__all__ = ["FijiStreamingBackend"]
