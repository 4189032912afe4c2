"""A region of interest as ImageJ keeps it: the content of a ``.roi``. Needs ``pip install 'polystore[roi]'``."""

from __future__ import annotations

from polystore.backends._imagej import from_bytes as roi_from_imagej
from polystore.backends._imagej import to_bytes as roi_to_imagej

__all__ = ["roi_from_imagej", "roi_to_imagej"]
