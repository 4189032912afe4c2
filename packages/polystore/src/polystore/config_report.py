"""What ``polystore config`` and ``openhcs-viewers config`` print: what holds, and who said so."""

from __future__ import annotations

import argparse
import difflib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from enum import Enum
from pathlib import Path
from typing import Any

from polystore._commands._table import table_lines
from polystore._component_enums import VARIABLE, added_components
from polystore.config_sources import (
    CONFIG_VARIABLE,
    Section,
    config_files,
    config_paths,
    effective,
    read_table,
    section_of,
    sections,
    variables,
)
from polystore.inheritance import Explanation, Setting

__all__ = ["Report", "add_options", "print_report", "report"]

AGES = {"POLYSTORE_COLORMAP_CACHE_DAYS": 30, "POLYSTORE_REGISTRY_CACHE_DAYS": 7}
"""Variables that say how many days a cache is believed, and what holds without them."""

OTHER_VARIABLES = frozenset({CONFIG_VARIABLE, "POLYSTORE_SHM_DIR", *AGES})
"""Variables with our prefixes that are no fields of a configuration."""

OTHER_TABLES = frozenset({"components"})
"""Tables of the files that are no configuration class: see `polystore.constants.component_names`."""


@dataclass(frozen=True, slots=True)
class Line:
    """One setting: its section, the class it is a field of, and what `Resolved.explain` says."""

    section: Section
    cls: type[Any]
    found: Explanation

    @property
    def key(self) -> str:
        """Its name in the table of a file."""
        return self.section.key(self.found.field)

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return self.section.variable(self.found.field)

    @property
    def show(self) -> Callable[[Any], str] | None:
        """How its class writes it, when that is not plain: ``64MiB``."""
        return next(each.metadata.get("show") for each in fields(self.cls) if each.name == self.found.field)

    def shown(self, value: Any) -> str:
        """A value as a file or a variable takes it."""
        if value is None:
            return "none"
        if isinstance(value, bool):
            return "1" if value else "0"
        return str(plain(value)) if self.show is None else self.show(value)

    def toml(self) -> str:
        """The value that holds, as TOML."""
        value = plain(self.found.value)
        if value is None or self.show is not None:
            return json.dumps(self.shown(value))
        return json.dumps(value)


def plain(value: Any) -> Any:
    """A value that JSON knows."""
    if isinstance(value, Enum):
        return value.value
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


@dataclass(frozen=True, slots=True)
class Report:
    """All settings of this process, the files that were looked for, and what was ignored."""

    lines: tuple[Line, ...]
    paths: tuple[tuple[Path, bool], ...]
    notes: tuple[str, ...]


def report(environ: Mapping[str, str] | None = None, *, complete: bool = False) -> Report:
    """The settings of every section whose module was imported.

    Parameters
    ----------
    environ
        By default that of this process.
    complete
        Whether those are all there are: then any other table of a file is a mistake, and not only one whose name
        nearly fits.

    Raises
    ------
    SettingsError
        A value that cannot be understood; the text says where it stands.
    """
    environ = os.environ if environ is None else environ
    lines = []
    for classes in sections().values():
        cls = max(classes, key=lambda each: len(each.__mro__))  # the one that has the fields of all others
        owner = section_of(cls)
        assert owner is not None
        lines += [Line(owner, cls, each) for each in effective(cls, environ=environ).explain()]
    files = config_files(environ)
    added_components(environ.get(VARIABLE, ""), files)  # says which cannot be one
    paths = tuple((path, path in files) for path in config_paths(environ))
    return Report(tuple(lines), paths, tuple(_notes(environ, files, complete=complete)))


def _notes(environ: Mapping[str, str], files: tuple[Path, ...], *, complete: bool) -> Iterator[str]:
    tables = sections()
    known_tables = [*tables, *OTHER_TABLES]
    for path in files:
        table = read_table(path)
        for name in sorted(table.keys() - set(known_tables)):
            if not isinstance(table[name], Mapping):
                yield f"{path}: {name} is in no table and was ignored (known tables: {', '.join(known_tables)})"
            elif complete or difflib.get_close_matches(name, known_tables):
                yield f"{path}: [{name}] is no table of ours and was ignored (known: {', '.join(known_tables)})"
    prefixes: set[str] = set()
    known = set(OTHER_VARIABLES)
    for cls in [cls for classes in tables.values() for cls in classes]:
        known.update(variables(cls).values())
        owner = section_of(cls)
        prefixes.update({f"{owner.prefix}_"} if owner is not None else ())
    for name in sorted(environ.keys() - known):
        if name.startswith(tuple(prefixes)) and (close := difflib.get_close_matches(name, known, cutoff=0.8)):
            yield f"{name} is no setting and was ignored; {close[0]} is one"
    for name, age in AGES.items():
        if not _is_number(environ.get(name) or "0"):
            yield f"{name}={environ[name]!r} is no number of days and was ignored; {age} days hold"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command to its parser; ``--json`` is for whoever calls this to add."""
    parser.add_argument(
        "--explain", action="store_true", help="where each value comes from, and what it hides"
    )
    parser.add_argument("--toml", action="store_true", help="as a configuration file, to start one from")


def print_report(found: Report, options: argparse.Namespace) -> None:
    """Print a report as the options want it: ``explain``, ``toml``, ``json``."""
    if options.json:
        print(json.dumps(_as_json(found), indent=1))
    elif options.toml:
        print("\n".join(_as_toml(found)))
    else:
        print("\n".join(_as_text(found, explain=options.explain)))


def _as_json(found: Report) -> dict[str, Any]:
    return {
        "files": [{"path": str(path), "exists": there} for path, there in found.paths],
        "settings": [
            {
                "section": line.section.name,
                "key": line.key,
                "value": plain(line.found.value),
                "variable": line.variable,
                "source": {"level": line.found.origin.level, "detail": line.found.origin.detail},
                "hides": [
                    {"value": plain(each.value), "level": each.origin.level, "detail": each.origin.detail}
                    for each in line.found.shadowed
                ],
            }
            for line in found.lines
        ],
        "notes": list(found.notes),
    }


def _as_toml(found: Report) -> Iterator[str]:
    """Every setting as a line of a file; what has its default is commented out."""
    section = None
    for line in found.lines:
        if line.section.name != section:
            yield f"[{line.section.name}]" if section is None else f"\n[{line.section.name}]"
            section = line.section.name
        mark = "# " if line.found.origin.level == "default" else ""
        yield f"{mark}{line.key} = {line.toml()}"


def _as_text(found: Report, *, explain: bool) -> Iterator[str]:
    if explain:
        for path, there in found.paths:
            yield f"configuration file {path}{'' if there else ' (not there)'}"
        yield ""
    headings = ["SETTING", "VALUE", *(["FROM", "HIDES", "VARIABLE"] if explain else [])]
    rows = []
    for line in found.lines:
        row = [f"{line.section.name}.{line.key}", line.shown(line.found.value) or '""']
        if explain:
            row += [str(line.found.origin), _hidden(line, line.found.shadowed), line.variable]
        rows.append(row)
    yield from table_lines(headings, rows)
    if found.notes:
        yield ""
        yield from (f"note: {note}" for note in found.notes)


def _hidden(line: Line, settings: tuple[Setting, ...]) -> str:
    return ", ".join(f"{line.shown(each.value)} ({each.origin})" for each in settings) or "-"
