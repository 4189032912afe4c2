"""What is there for each viewer, what is missing, and the exact command that installs it.

Looks at package metadata and the file system only: no viewer and no Qt is imported, so that a broken
installation cannot take the doctor down with it. ``deep`` opens a window, in a process of its own.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata, util

from openhcs_viewers import system
from openhcs_viewers._findings import FAIL, MARKS, OK, WARN, Finding
from openhcs_viewers._machine import machine_findings
from openhcs_viewers.display import check_display
from openhcs_viewers.errors import DisplayError, ViewerError
from openhcs_viewers.registry import viewer_names, viewer_plugin
from polystore.registry import Plugin
from zmqruntime.errors import ZMQRuntimeError

OURS = ("openhcs-viewers", "polystore", "zmqruntime", "numpy", "pyzmq", "msgspec")
"""Packages every viewer uses."""

QT_BINDINGS = ("PySide6-Essentials", "PyQt6")
"""Distributions that hold a Qt napari 0.9 can use; one of them is enough."""

NAPARI_PACKAGES = ("napari", "qtpy")
"""Distributions the napari viewer needs beside a Qt."""


@dataclass(frozen=True, slots=True)
class Report:
    """All findings.

    Attributes
    ----------
    findings : tuple of Finding
        In the order in which they are shown.
    """

    findings: tuple[Finding, ...]

    @property
    def healthy(self) -> bool:
        """Whether nothing that was asked about fails."""
        return all(finding.level != FAIL for finding in self.findings)

    def as_json(self) -> dict[str, object]:
        """Return the report as plain values."""
        return {"healthy": self.healthy, "findings": [asdict(finding) for finding in self.findings]}

    def __str__(self) -> str:
        lines: list[str] = []
        topic = ""
        width = max((len(finding.name) for finding in self.findings), default=0)
        for finding in self.findings:
            if finding.topic != topic:
                topic = finding.topic
                lines += ["", topic] if lines else [topic]
            lines.append(f"  {MARKS[finding.level]:<7}  {finding.name:<{width}}  {finding.text}")
            if finding.remedy:
                lines.append(f"  {'':<7}  {'':<{width}}  -> {finding.remedy}")
        lines += [
            "",
            "everything needed is there"
            if self.healthy
            else "something is missing: see the lines marked 'missing'",
        ]
        return "\n".join(lines)


def examine(kinds: Sequence[str] = (), *, deep: bool = False) -> Report:
    """Return what is there and what is missing.

    Parameters
    ----------
    kinds : sequence of str
        Viewers to look at; all registered ones when empty.
    deep : bool
        Also start each viewer on a free port, take a picture of its window and stop it.

    Raises
    ------
    ViewerNotFoundError
        A kind is not registered.
    """
    entries = [viewer_plugin(kind) for kind in kinds or viewer_names()]
    found = [*_python(), *machine_findings()]
    for entry in entries:
        found += _viewer(entry)
    if deep:
        found += [_opened(entry.name) for entry in entries]
    return Report(tuple(found))


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _python() -> Iterator[Finding]:
    topic = "Python packages"
    yield Finding(topic, "python", OK, f"{sys.version.split()[0]} ({sys.executable})")
    for name in OURS:
        version = _version(name)
        if version:
            yield Finding(topic, name, OK, version)
        else:
            yield Finding(topic, name, FAIL, "not installed", f"pip install {name}")


def _viewer(entry: Plugin) -> Iterator[Finding]:
    topic = f"viewer {entry.name}"
    yield Finding(topic, "registered", OK, f"{entry.target} ({entry.origin})")
    package = str(entry.target).partition(":")[0].partition(".")[0]
    if isinstance(entry.target, str) and util.find_spec(package) is None:
        yield Finding(
            topic,
            "module",
            FAIL,
            f"package {package!r} cannot be found",
            f"install it again ({entry.origin})",
        )
    if entry.name == "napari":
        yield from _napari(topic)
    for need in system.needs(entry.name):
        missing = need.missing()
        if missing:
            text = f"missing {', '.join(missing)} ({need.title})"
            yield Finding(topic, f"system: {need.name}", FAIL, text, system.install_command(missing))
        else:
            yield Finding(topic, f"system: {need.name}", OK, need.title)
        if need.name == "display":
            yield _display(topic, missing)


def _napari(topic: str) -> Iterator[Finding]:
    install = "pip install 'openhcs-viewers[napari]'"
    for name in NAPARI_PACKAGES:
        version = _version(name)
        if version is None:
            yield Finding(topic, name, FAIL, "not installed", install)
        elif name == "napari" and not version.startswith("0.9."):
            yield Finding(topic, name, WARN, f"{version}; tested with 0.9", install)
        else:
            yield Finding(topic, name, OK, version)
    bindings = {name: version for name in QT_BINDINGS if (version := _version(name))}
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


def _display(topic: str, missing: Sequence[str]) -> Finding:
    try:
        return Finding(topic, "display", OK, check_display())
    except DisplayError as error:
        if missing:
            return Finding(topic, "display", FAIL, str(error))
        return Finding(topic, "display", WARN, f"{error}", "openhcs-viewers launch --display virtual")


def _opened(kind: str) -> Finding:
    from openhcs_viewers.launcher import launch

    topic, display = f"viewer {kind}", "auto"
    if system.needs_display(kind):
        try:
            check_display()
        except DisplayError:
            display = "virtual"
    begin = time.monotonic()
    try:
        with launch(kind, detached=False, reuse=False, display=display, title="doctor") as handle:
            seconds = time.monotonic() - begin
            picture = handle.screenshot()
    except (ViewerError, ZMQRuntimeError) as error:
        return Finding(topic, "deep", FAIL, str(error), "see the log named there")
    where = " on a virtual display" if display == "virtual" else ""
    return Finding(
        topic, "deep", OK, f"opened in {seconds:.1f} s{where}; a picture of it has {len(picture)} bytes"
    )
