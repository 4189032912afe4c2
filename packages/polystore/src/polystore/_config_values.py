"""Values as people write them in files and variables."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, get_args

from polystore._lazy import is_optional
from polystore.errors import SettingsError

__all__ = ["parse_value"]


def parse_value(hint: Any, given: Any, parser: Callable[[str], Any] | None = None) -> Any:
    """The value of a field from what a file or a variable gives.

    Parameters
    ----------
    hint
        Type of the field.
    given
        Text, or a value of a TOML file.
    parser
        Of the field itself, for texts such as ``64MiB``.

    Raises
    ------
    SettingsError
        It cannot be understood; the text says what can.
    """
    if isinstance(given, str):
        if given.lower() == "none" and is_optional(hint):
            return None
        return parser(given) if parser is not None else _parse_text(_choices(hint), given)
    if any(type(given) is choice for choice in _choices(hint)):
        return given
    if type(given) is int and float in _choices(hint):
        return float(given)
    raise SettingsError(f"{given!r} is not allowed; give {_wanted(_choices(hint))}")


def _choices(hint: Any) -> tuple[Any, ...]:
    return tuple(one for one in get_args(hint) or (hint,) if one is not type(None))


def _parse_text(choices: tuple[Any, ...], text: str) -> Any:
    for choice in choices:
        if isinstance(choice, type) and issubclass(choice, Enum):
            for name, member in choice.__members__.items():  # aliases, too
                if text.lower() in (name.lower(), str(member.value).lower()):
                    return member
    for choice in choices:
        if choice in _PARSERS:
            try:
                return _PARSERS[choice](text)
            except (ValueError, KeyError):
                continue
    raise SettingsError(f"{text!r} is not allowed; give {_wanted(choices)}")


_BOOLS = {
    "1": True,
    "true": True,
    "yes": True,
    "on": True,
    "0": False,
    "false": False,
    "no": False,
    "off": False,
}

_PARSERS: dict[Any, Callable[[str], Any]] = {
    bool: lambda text: _BOOLS[text.lower()],
    int: lambda text: int(text),
    float: lambda text: float(text),
    str: lambda text: text,
}

_WORDS = {bool: "1 or 0", int: "a whole number", float: "a number", str: "text"}


def _wanted(choices: tuple[Any, ...]) -> str:
    words = []
    for choice in choices:
        if isinstance(choice, type) and issubclass(choice, Enum):
            names = dict.fromkeys(
                word
                for name, member in choice.__members__.items()
                for word in (str(member.value), name.lower())
            )
            words.append("one of " + ", ".join(sorted(names)))
        else:
            words.append(_WORDS.get(choice, str(choice)))
    return " or ".join(words)
