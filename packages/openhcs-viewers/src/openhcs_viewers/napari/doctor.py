"""What the napari viewer needs of Python: looked up in package metadata, nothing of it is imported."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping

from openhcs_viewers import _findings
from openhcs_viewers._findings import FAIL, OK, WARN, Finding

__all__ = ["NAPARI_PACKAGES", "QT_BINDINGS", "look", "qt_pair"]

QT_BINDINGS = ("PySide6-Essentials", "PyQt6")
"""Distributions that hold a Qt napari 0.9 can use; one of them is enough."""

NAPARI_PACKAGES = ("napari", "qtpy")
"""Distributions the napari viewer needs beside a Qt."""


def look(topic: str, options: Mapping[str, str]) -> Iterator[Finding]:
    """Yield what there is to say: packages, and whether Qt and Python go together."""
    install = "pip install 'openhcs-viewers[napari]'"
    for name in NAPARI_PACKAGES:
        version = _findings.version_of(name)
        if version is None:
            yield Finding(topic, name, FAIL, "not installed", install)
        elif name == "napari" and not version.startswith("0.9."):
            yield Finding(topic, name, WARN, f"{version}; tested with 0.9", install)
        else:
            yield Finding(topic, name, OK, version)
    bindings = {name: version for name in QT_BINDINGS if (version := _findings.version_of(name))}
    if not bindings:
        yield Finding(topic, "Qt", FAIL, f"none of {', '.join(QT_BINDINGS)} is installed", install)
    for name, version in bindings.items():
        yield qt_pair(topic, name, version, sys.version_info[:2])


def qt_pair(topic: str, name: str, version: str, python: tuple[int, int]) -> Finding:
    """Return whether this Qt binding and this Python go together.

    PySide6 6.12.0 on CPython 3.11 loses a reference to None at every Qt call without a result, and the process
    aborts after some thousand calls (measured; 6.11 on 3.11 and 6.12 on 3.12 are sound).
    """
    major, minor = (int(part) for part in version.split(".")[:2])
    if name.startswith("PySide6") and (major, minor) >= (6, 12) and python < (3, 12):
        text = (
            f"{version} on Python {python[0]}.{python[1]}: a bad pair, it aborts after some thousand Qt calls"
        )
        return Finding(topic, name, FAIL, text, "pip install 'PySide6-Essentials<6.12'")
    return Finding(topic, name, OK, version)
