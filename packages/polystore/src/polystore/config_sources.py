"""What the levels of this process say: the configuration files, then code, then the environment, then a call.

From the weakest to the strongest, see ``docs/decisions/0006``:

=============  =====================================================================================
default        written in the class
file           ``/etc/xdg/openhcs/config.toml``, then ``~/.config/openhcs/config.toml``
global         the global configuration of a program
pipeline       the pipeline's
step           the step's
environment    a variable, ``POLYSTORE_ARENA_BYTES=16MiB``, for this one run of an unchanged program
call           an argument of the call itself
=============  =====================================================================================

A configuration class has a *section*: its table in the files and the beginning of its variables. Files and
variables only give values; whether there is a nested configuration at all (whether a pipeline shows its
images in a viewer) is said in code.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import reduce
from pathlib import Path
from typing import Any, TypeVar

from polystore._config_values import parse_value
from polystore._lazy import hints_of, lazy, nested_fields
from polystore.errors import SettingsError
from polystore.inheritance import Origin, Partial, Resolved, Setting, fill, overlay, partial

__all__ = [
    "CONFIG_VARIABLE",
    "Section",
    "config_files",
    "config_paths",
    "effective",
    "from_environment",
    "from_file",
    "read_table",
    "section",
    "section_of",
    "sections",
    "variables",
]

T = TypeVar("T")

CONFIG_VARIABLE = "OPENHCS_CONFIG"
"""Names the one configuration file to read, in place of those of the machine and of the user."""


@dataclass(frozen=True, slots=True)
class Section:
    """Where the values of a configuration class stand outside of code.

    Parameters
    ----------
    name
        Table in a file: ``[napari]``.
    prefix
        Beginning of its variables: ``OPENHCS_NAPARI`` for ``OPENHCS_NAPARI_PORT``.
    """

    name: str
    prefix: str

    def key(self, field: str) -> str:
        """What a field is called in the table: the section's name is not said twice (``napari_port``: ``port``)."""
        return field.removeprefix(f"{self.name}_")

    def variable(self, field: str) -> str:
        """The environment variable of a field."""
        return f"{self.prefix}_{self.key(field).upper()}"


_SECTIONS: dict[str, tuple[type[Any], ...]] = {}


def section(name: str, prefix: str) -> Callable[[type[T]], type[T]]:
    """Decorate a configuration class with its `Section`. Several classes may share one."""

    def mark(cls: type[T]) -> type[T]:
        cls.__section__ = Section(name, prefix)  # type: ignore[attr-defined]
        _SECTIONS[name] = (*_SECTIONS.get(name, ()), cls)
        return cls

    return mark


def section_of(cls: type[Any]) -> Section | None:
    """The section of a class (or of the class it was derived from), or None."""
    found: Section | None = getattr(cls, "__section__", None)
    return found


def sections() -> dict[str, tuple[type[Any], ...]]:
    """The classes of every section known so far: those whose modules were imported."""
    return dict(_SECTIONS)


def variables(cls: type[Any]) -> dict[str, str]:
    """The environment variable of every field of a class, by dotted name of the field."""
    return {path: owner.variable(field) for path, field, owner, _ in _leaves(cls)}


def _leaves(cls: type[Any], prefix: str = "") -> list[tuple[str, str, Section, type[Any]]]:
    """Dotted name, name, section and class of every field that can be set from outside."""
    found = []
    nested, owner = nested_fields(cls), section_of(cls)
    for each in fields(cls):
        if each.name in nested:
            found += _leaves(nested[each.name], f"{prefix}{each.name}.")
        elif owner is not None and each.init:
            found.append((prefix + each.name, each.name, owner, cls))
    return found


def from_environment(cls: type[Any], environ: Mapping[str, str]) -> Partial:
    """What an environment says about a configuration; an empty variable says nothing.

    Raises
    ------
    SettingsError
        A value that cannot be understood; the text names the variable and what it takes.
    """
    said: dict[str, tuple[Setting, ...]] = {}
    for path, field, owner, about in _leaves(cls):
        variable = owner.variable(field)
        text = environ.get(variable, "").strip()
        if text:
            value = _checked(about, field, text, variable)
            said[path] = (Setting(value, Origin("environment", variable)),)
    return said


def from_file(cls: type[Any], path: str | os.PathLike[str]) -> Partial:
    """What a configuration file says about a configuration.

    Raises
    ------
    SettingsError
        It cannot be read, has an unknown entry in a table of this class, or a value that cannot be understood.
    """
    tables, leaves = read_table(path), _leaves(cls)
    said: dict[str, tuple[Setting, ...]] = {}
    known: dict[str, set[str]] = {}
    origin = Origin("file", os.fspath(path))
    for dotted, field, owner, about in leaves:
        table, key = tables.get(owner.name, {}), owner.key(field)
        if not isinstance(table, Mapping):
            raise SettingsError(
                f"{origin.detail}: {owner.name} is a table: write [{owner.name}] above its entries"
            )
        if owner.name not in known:
            # A class derived from one with a section shares it, and adds entries of its own.
            known[owner.name] = keys_of(owner.name) | {
                owner.key(one) for _, one, its, _ in leaves if its == owner
            }
            unknown = table.keys() - known[owner.name]
            if unknown:
                raise SettingsError(
                    f"{origin.detail}: [{owner.name}] has no entry {min(unknown)!r} "
                    f"(known: {', '.join(sorted(known[owner.name]))})"
                )
        if key in table:
            where = f"{origin.detail}: [{owner.name}] {key}"
            said[dotted] = (Setting(_checked(about, field, table[key], where), origin),)
    return said


def keys_of(name: str) -> set[str]:
    """The entries the table of a section may have."""
    return {
        owner.key(field)
        for cls in _SECTIONS.get(name, ())
        for _, field, owner, _ in _leaves(cls)
        if owner.name == name
    }


def config_paths(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Where configuration files are looked for, the weakest first: the machine's, then the user's.

    ``OPENHCS_CONFIG`` names the only one to read (``/dev/null`` for none). Otherwise they are
    ``openhcs/config.toml`` in ``XDG_CONFIG_DIRS`` (``/etc/xdg``; on Windows ``%PROGRAMDATA%``) and in
    ``XDG_CONFIG_HOME`` (``~/.config``; on Windows ``%APPDATA%``).
    """
    only = environ.get(CONFIG_VARIABLE, "")
    if only:
        return (Path(only),)
    windows = sys.platform == "win32"
    machine = environ.get("XDG_CONFIG_DIRS") or (environ.get("PROGRAMDATA", "") if windows else "/etc/xdg")
    home = environ.get("HOME", "")
    user = environ.get("XDG_CONFIG_HOME") or (
        environ.get("APPDATA", "") if windows else home and os.path.join(home, ".config")
    )
    # The standard ignores relative folders, and lists the strongest of the machine's first.
    folders = [each for each in (*reversed(machine.split(os.pathsep)), user) if os.path.isabs(each)]
    return tuple(dict.fromkeys(Path(each, "openhcs", "config.toml") for each in folders))


def config_files(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Those of `config_paths` that are there.

    Raises
    ------
    SettingsError
        ``OPENHCS_CONFIG`` names a file that is not there.
    """
    # os.path: a folder this user may not look into (HOME=/root in a container) has no file for them.
    found = tuple(path for path in config_paths(environ) if os.path.exists(path))
    if environ.get(CONFIG_VARIABLE) and not found:
        raise SettingsError(f"{CONFIG_VARIABLE}={environ[CONFIG_VARIABLE]!r}: there is no such file")
    return found


def read_table(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The tables of a configuration file.

    Raises
    ------
    SettingsError
        It cannot be read or is no TOML; the text names the file and the line.
    """
    import tomllib  # here: most machines have no such file

    try:
        with open(path, encoding="utf-8-sig") as file:  # editors on Windows begin a file with a mark
            return tomllib.loads(file.read())
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else exc
        raise SettingsError(f"configuration file {os.fspath(path)}: {reason}") from exc


def effective(
    cls: type[T],
    *,
    global_config: object = None,
    pipeline: object = None,
    step: object = None,
    call: object = None,
    environ: Mapping[str, str] | None = None,
) -> Resolved[T]:
    """The configuration that holds in this process, and where each value comes from.

    Parameters
    ----------
    cls
        A frozen dataclass; with a section, files and variables count.
    global_config, pipeline, step, call
        What is said there: an object of `cls`, its lazy variant, a mapping, or None for nothing.
    environ
        The environment, by default this process's. It also says where the files are.

    Raises
    ------
    SettingsError
        A value that cannot be understood; the text says where it stands.
    """
    environ = os.environ if environ is None else environ
    levels = [from_file(cls, path) for path in config_files(environ)]
    code = {"global": global_config, "pipeline": pipeline, "step": step}
    levels += [partial(cls, given, Origin(name)) for name, given in code.items()]
    levels += [from_environment(cls, environ), partial(cls, call, Origin("call"))]
    return fill(cls, reduce(overlay, levels, {}))


def _checked(cls: type[Any], field: str, given: Any, where: str) -> Any:
    """The value of a field from text or from a TOML value, checked by the class itself."""
    parser = next(each.metadata.get("parse") for each in fields(cls) if each.name == field)
    try:
        value = parse_value(hints_of(cls)[field], given, parser)
        if value is None:
            return None
        return getattr(lazy(cls)(**{field: value}), field)
    except SettingsError as exc:
        raise SettingsError(f"{where}: {exc}") from None
    except (ValueError, TypeError) as exc:
        raise SettingsError(f"{where}: {exc}") from exc
