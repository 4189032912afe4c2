"""What is there for each viewer, what is missing, and the exact command that installs it.

Looks at package metadata and the file system only: no viewer and no Qt is imported, so that a broken
installation cannot take the doctor down with it. ``deep`` opens a window, in a process of its own.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module, util
from typing import TypeAlias

from openhcs_viewers import _findings, system
from openhcs_viewers._findings import FAIL, MARKS, OK, WARN, Finding
from openhcs_viewers._machine import machine_findings
from openhcs_viewers.display import check_display
from openhcs_viewers.errors import DisplayError, ViewerError
from openhcs_viewers.registry import viewer_names, viewer_plugin
from polystore.registry import Plugin
from zmqruntime.errors import ZMQRuntimeError

OURS = ("openhcs-viewers", "polystore", "zmqruntime", "numpy", "pyzmq", "msgspec")
"""Packages every viewer uses."""

Look: TypeAlias = Callable[[str, Mapping[str, str]], Iterator[Finding]]
"""Yields what there is to say of a kind of viewer, beside its system packages: gets the topic, and launch options."""

VIEWER_LOOKS: dict[str, str] = {
    "fiji": "openhcs_viewers.fiji.doctor:look",
    "napari": "openhcs_viewers.napari.doctor:look",
}
"""Where each kind's `Look` is; imported when it is asked for."""

EXTRAS: dict[str, tuple[str, ...]] = {"fiji": ("pyimagej", "scyjava", "jpype1"), "napari": ("napari",)}
"""Distributions that this package's extra of that name brings; without any of them it was not asked for."""


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


def examine(
    kinds: Sequence[str] = (), *, deep: bool = False, options: Mapping[str, Mapping[str, str]] | None = None
) -> Report:
    """Return what is there and what is missing.

    Parameters
    ----------
    kinds : sequence of str
        Viewers to look at; all registered ones when empty. Then one whose extra is not installed is no failure.
    deep : bool
        Also start each viewer on a free port, take a picture of its window and stop it.
    options : mapping, optional
        Options of the launch by kind, such as ``{"fiji": {"fiji_dir": "/opt/Fiji.app"}}``.

    Raises
    ------
    ViewerNotFoundError
        A kind is not registered.
    """
    entries = [viewer_plugin(kind) for kind in kinds or viewer_names()]
    options = options or {}
    if not kinds:
        left_out = [entry for entry in entries if not _is_installed(entry.name)]
        entries = [entry for entry in entries if entry not in left_out]
    else:
        left_out = []
    found = [*_python(), *machine_findings()]
    for entry in entries:
        found += _viewer(entry, options.get(entry.name, {}))
    found += [_left_out(entry.name) for entry in left_out]
    if deep:
        found += [_opened(entry.name, options.get(entry.name, {})) for entry in entries]
    return Report(tuple(found))


def _is_installed(kind: str) -> bool:
    return kind not in EXTRAS or any(_findings.version_of(name) for name in EXTRAS[kind])


def installed_viewers() -> tuple[str, ...]:
    """Return the names of the viewers whose extra is installed."""
    return tuple(kind for kind in viewer_names() if _is_installed(kind))


def _left_out(kind: str) -> Finding:
    text = "not installed: its extra was not asked for"
    return Finding(f"viewer {kind}", kind, WARN, text, f"pip install 'openhcs-viewers[{kind}]'")


def _python() -> Iterator[Finding]:
    topic = "Python packages"
    yield Finding(topic, "python", OK, f"{sys.version.split()[0]} ({sys.executable})")
    for name in OURS:
        version = _findings.version_of(name)
        if version:
            yield Finding(topic, name, OK, version)
        else:
            yield Finding(topic, name, FAIL, "not installed", f"pip install {name}")


def _viewer(entry: Plugin, options: Mapping[str, str]) -> Iterator[Finding]:
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
    if entry.name in VIEWER_LOOKS:
        module, _, name = VIEWER_LOOKS[entry.name].partition(":")
        look: Look = getattr(import_module(module), name)
        yield from look(topic, options)
    for need in system.needs(entry.name):
        missing = need.missing()
        if missing:
            text = f"missing {', '.join(missing)} ({need.title})"
            yield Finding(topic, f"system: {need.name}", FAIL, text, system.install_command(missing))
        else:
            yield Finding(topic, f"system: {need.name}", OK, need.title)
        if need.display:
            yield _display(topic, entry.name, missing)


def _display(topic: str, kind: str, missing: Sequence[str]) -> Finding:
    try:
        return Finding(topic, "display", OK, check_display())
    except DisplayError as error:
        if missing:
            return Finding(topic, "display", FAIL, str(error))
        return Finding(topic, "display", WARN, f"{error}", f"openhcs-viewers launch {kind} --display virtual")


def _opened(kind: str, options: Mapping[str, str]) -> Finding:
    from openhcs_viewers.launcher import launch

    topic, display = f"viewer {kind}", "auto"
    if system.needs_display(kind):
        try:
            check_display()
        except DisplayError:
            display = "virtual"
    begin = time.monotonic()
    try:
        with launch(
            kind, detached=False, reuse=False, display=display, title="doctor", options=options
        ) as handle:
            seconds = time.monotonic() - begin
            picture = handle.screenshot()
    except (ViewerError, ZMQRuntimeError) as error:
        return Finding(topic, "deep", FAIL, str(error), "see the log named there")
    where = " on a virtual display" if display == "virtual" else ""
    return Finding(
        topic, "deep", OK, f"opened in {seconds:.1f} s{where}; a picture of it has {len(picture)} bytes"
    )
