"""One finding of the doctor."""

from __future__ import annotations

from dataclasses import dataclass

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
