"""Properties of a region as ImageJ keeps them: lines ``name: value`` with the escapes of Java's Properties.

ImageJ knows text only. Numbers, ``true``, ``false`` and ``null`` stand as they are, text too, unless it would
read as one of these: then it is in double quotes, as in JSON. So every value comes back with its type.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from polystore.errors import UnsupportedFormatError
from polystore.rois import Property

__all__ = ["properties_of", "text_of"]

_WORDS: Mapping[str, Property] = {
    "true": True,
    "false": False,
    "null": None,
    "NaN": float("nan"),
    "Infinity": float("inf"),
    "-Infinity": float("-inf"),
}
_INTEGER = re.compile(r"-?[0-9]{1,4000}", re.ASCII)
_FLOAT = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?", re.ASCII)
_ESCAPES = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}


def text_of(properties: Mapping[str, Property]) -> str:
    """The lines of these properties, sorted by name as ImageJ sorts them; ASCII only."""
    return "".join(
        f"{_escaped(name, ' :=#!')}: {_escaped(_literal(name, value), '')}\n"
        for name, value in sorted(properties.items())
    )


def properties_of(text: str) -> dict[str, Property]:
    """The properties in such lines; lines without a colon or equals sign are left out, as comments are."""
    found: dict[str, Property] = {}
    for line in _lines(text):
        name, separator, value = _divided(line)
        if separator:
            found[_unescaped(_trimmed(name))] = _value(_unescaped(value.lstrip(" \t\f")))
    return found


def _literal(name: str, value: Property) -> str:
    if isinstance(value, str):
        plain = value == value.strip() and value.isprintable() and not value.startswith('"')
        return value if plain and _value(value) is value else json.dumps(value)
    for word, meaning in _WORDS.items():
        if value is meaning or (isinstance(value, float) and repr(value) == repr(meaning)):
            return word
    if isinstance(value, int) and value.bit_length() > 13_000:
        raise UnsupportedFormatError(
            f"property {name!r} is a number of {value.bit_length()} bits; give a text"
        )
    return repr(value)


def _value(text: str) -> Property:
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if text.startswith('"') and text.endswith('"') and len(text) > 1:
        try:
            quoted = json.loads(text)
        except ValueError:
            return text
        if isinstance(quoted, str):
            return quoted
    return text


def _escaped(text: str, special: str) -> str:
    parts = []
    for character in text:
        if character in special or character == "\\":
            parts.append("\\" + character)
        elif " " <= character <= "~":
            parts.append(character)
        else:
            units = character.encode("utf-16-be", "surrogatepass")
            parts += [f"\\u{units[index : index + 2].hex()}" for index in range(0, len(units), 2)]
    return "".join(parts)


def _unescaped(text: str) -> str:
    if "\\" not in text:
        return text
    units = bytearray()
    index = 0
    while index < len(text):
        character, index = text[index], index + 1
        if character == "\\" and index < len(text):
            character, index = text[index], index + 1
            digits = text[index : index + 4]
            if character == "u" and re.fullmatch(r"[0-9a-fA-F]{4}", digits):
                units += bytes.fromhex(digits)
                index += 4
                continue
            character = _ESCAPES.get(character, character)
        units += character.encode("utf-16-be", "surrogatepass")
    return units.decode("utf-16-be", "surrogatepass")


def _lines(text: str) -> Iterator[str]:
    """Logical lines: one that ends in an odd number of backslashes goes on in the next."""
    pending = ""
    for line in re.split(r"\r\n|\n|\r", text):
        line = pending + line.lstrip(" \t\f")
        pending = ""
        if (len(line) - len(line.rstrip("\\"))) % 2:
            pending = line[:-1]
        elif line and line[0] not in "#!":
            yield line
    if pending:
        yield pending


def _trimmed(name: str) -> str:
    """Without the spaces around it; one behind a backslash belongs to it."""
    trimmed = name.strip(" \t\f")
    if (len(trimmed) - len(trimmed.rstrip("\\"))) % 2:
        trimmed = name[: name.index(trimmed) + len(trimmed) + 1]
    return trimmed.lstrip(" \t\f")


def _divided(line: str) -> tuple[str, str, str]:
    escaped = False
    for index, character in enumerate(line):
        if not escaped and character in ":=":
            return line[:index], character, line[index + 1 :]
        escaped = character == "\\" and not escaped
    return line, "", ""
