"""Bytes by key, on a disk or in a cloud, changed in one step even by several processes at once."""

from __future__ import annotations

from polystore.objects.abc import ObjectStore, Stamped
from polystore.objects.local import LocalObjects

__all__ = ["LocalObjects", "ObjectStore", "Stamped"]
