"""XML of instruments, read as a stream of records. The files come from anywhere, so nothing in them is trusted.

No document type is accepted, so there are no entities to expand or fetch; size, depth and length of a value are
limited before anything of that size is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass, field
from typing import BinaryIO, TypeAlias
from xml.parsers import expat

from polystore.errors import CorruptFileError

__all__ = ["Record", "XmlError", "read_records"]

MAX_BYTES = 1 << 30
"""Largest file read. An Index.xml has 2 kB for each plane: half a million planes."""

MAX_DEPTH = 64
"""Deepest nesting. Real files have seven levels."""

MAX_TEXT = 1 << 20
"""Longest text of one element, in characters. Real ones are file names, numbers and flat-field polynomials."""

_CHUNK = 1 << 18


@dataclass(slots=True)
class Record:
    """One element that was asked for.

    Parameters
    ----------
    tag
        Its name without namespace.
    attributes
        Its attributes, names without namespace.
    text
        Its own text, stripped.
    values
        The text of the elements in it by their name without namespace, at any depth; the first of each.
    units
        The ``Unit`` of those that have one.
    above
        Names of the elements around it, outermost first.
    line
        Where it begins in the file.
    """

    tag: str
    attributes: dict[str, str]
    above: tuple[str, ...]
    line: int
    path: str
    text: str = ""
    values: dict[str, str] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)

    def number(self, name: str) -> float | None:
        """An attribute or value as a number, None when it is absent or empty.

        Raises
        ------
        CorruptFileError
            It is no number; the text names file and line.
        """
        text = self.attributes.get(name) or self.values.get(name)
        if not text:
            return None
        try:
            value = float(text)
        except ValueError:
            raise self.error(f"{name} is {text[:40]!r}, not a number") from None
        return value if value == value and abs(value) != float("inf") else None

    def whole(self, name: str) -> int | None:
        """As `number`, for a whole one that is not negative."""
        value = self.number(name)
        if value is None:
            return None
        if value != int(value) or value < 0:
            raise self.error(f"{name} is {value:g}, not a whole number")
        return int(value)

    def error(self, reason: str) -> CorruptFileError:
        """An error that names file and line."""
        return CorruptFileError(f"{self.path}, line {self.line}: <{self.tag}> cannot be used: {reason}")


Take: TypeAlias = Callable[[Record], object]


class XmlError(CorruptFileError):
    """A file that is no XML, or XML that is refused."""


def read_records(
    stream: BinaryIO,
    path: str,
    wanted: Container[str],
    take: Take,
    *,
    opened: Container[str] = (),
    max_bytes: int = MAX_BYTES,
) -> None:
    """Call ``take`` with each element of the given names (without namespace), as they end.

    An element inside a wanted one is part of it and is not taken by itself. Those in ``opened`` are taken when
    they begin, with their attributes only.

    Raises
    ------
    CorruptFileError
        No XML, a document type, or over a limit. The text names the file and the line.
    """
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.buffer_size = 1 << 16
    names: list[str] = []
    record: Record | None = None
    depth_of_record = 0
    text: list[str] = []
    length = 0

    def refuse(*_: object) -> None:
        raise _error(path, parser.CurrentLineNumber, "it has a document type, which instruments do not write")

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal record, depth_of_record, length
        local = name.rpartition(":")[2]
        if len(names) >= MAX_DEPTH:
            raise _error(path, parser.CurrentLineNumber, f"it is nested deeper than {MAX_DEPTH} elements")
        if record is None and (local in wanted or local in opened):
            plain = {key.rpartition(":")[2]: value for key, value in attributes.items()}
            found = Record(local, plain, tuple(names), parser.CurrentLineNumber, path)
            if local in opened:
                take(found)
            else:
                record, depth_of_record = found, len(names)
        elif record is not None and "Unit" in attributes:
            record.units.setdefault(local, attributes["Unit"])
        names.append(local)
        text.clear()
        length = 0

    def characters(data: str) -> None:
        nonlocal length
        if record is not None:
            length += len(data)
            if length > MAX_TEXT:
                raise _error(path, parser.CurrentLineNumber, f"a text is longer than {MAX_TEXT} characters")
            text.append(data)

    def end(name: str) -> None:
        nonlocal record
        local = names.pop()
        if record is None:
            return
        content = "".join(text).strip()
        text.clear()
        if len(names) == depth_of_record:
            record.text = content
            done, record = record, None
            take(done)
        elif content:
            record.values.setdefault(local, content)

    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = characters
    size = 0
    try:
        while chunk := stream.read(_CHUNK):
            size += len(chunk)
            if size > max_bytes:
                raise _error(path, parser.CurrentLineNumber, f"it is larger than {max_bytes} bytes")
            parser.Parse(chunk, False)
        parser.Parse(b"", True)
    except expat.ExpatError as exc:
        reason = f"{expat.ErrorString(exc.code)} at column {exc.offset + 1}"
        raise _error(path, exc.lineno, reason if size else "it is empty") from exc


def _error(path: str, line: int, reason: str) -> XmlError:
    return XmlError(f"{path}, line {line}: cannot be read as XML: {reason}")
