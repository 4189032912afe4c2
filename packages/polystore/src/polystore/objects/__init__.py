"""Bytes by key, on a disk or in a cloud, changed in one step even by several processes at once."""

from __future__ import annotations

import os
from typing import Any

from polystore._paths import StrPath
from polystore.objects._place import is_url
from polystore.objects.abc import ObjectStore, Stamped
from polystore.objects.cloud import CloudObjects
from polystore.objects.local import LocalObjects

__all__ = ["CloudObjects", "LocalObjects", "ObjectStore", "Stamped", "open_objects"]


def open_objects(root: StrPath, **options: Any) -> ObjectStore:
    """The store at a folder or a url: `LocalObjects` or `CloudObjects`, with its options.

    ``file:///data/plate`` is the folder ``/data/plate``.
    """
    text = os.fspath(root)
    if text.startswith("file://"):
        from urllib.request import url2pathname

        return LocalObjects(url2pathname(text.removeprefix("file://")), **options)
    return CloudObjects(text, **options) if is_url(text) else LocalObjects(text, **options)
