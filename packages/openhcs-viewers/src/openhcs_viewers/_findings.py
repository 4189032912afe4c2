"""One finding of the doctor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata

OK, WARN, FAIL = "ok", "warn", "fail"

MARKS = {OK: "ok", WARN: "note", FAIL: "missing"}
"""What people read for each level."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes
    ----------
    topic, name : str
        What it belongs to, and what it is.
    level : {"ok", "warn", "fail"}
        There, there with a remark, or missing.
    text : str
        What was found.
    remedy : str
        Command or advice; empty when nothing is to be done.
    """

    topic: str
    name: str
    level: str
    text: str
    remedy: str = ""


def version_of(distribution: str) -> str | None:
    """Return the version of an installed distribution, None when it is not installed. Imports nothing of it."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def distributions(topic: str, names: Sequence[str], install: str) -> Iterator[Finding]:
    """Yield a finding for each distribution: its version, or the command that installs it."""
    for name in names:
        version = version_of(name)
        yield (
            Finding(topic, name, OK, version)
            if version
            else Finding(topic, name, FAIL, "not installed", install)
        )
