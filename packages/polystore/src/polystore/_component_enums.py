"""The components an experiment varies, as enums, made from the configuration: see `polystore.constants`.

Five are always there: site, channel, z_index, timepoint, well. A laboratory adds its own, by
``OPENHCS_COMPONENTS=laser,camera`` or in the configuration file::

    [components]
    added = ["laser", "camera"]
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from enum import Enum
from functools import lru_cache
from typing import Any

from polystore._discovery import days
from polystore.config_sources import config_files, read_table
from polystore.errors import SettingsError
from polystore.registry_cache import CacheConfig, RegistryCacheManager

__all__ = ["added_components", "component_names", "make"]

ALWAYS = ("site", "channel", "z_index", "timepoint", "well")
"""In the order in which the original documents list them."""

AXIS = "well"
"""What a run is distributed over: it is neither varied within a task nor grouped by."""

VARIABLE = "OPENHCS_COMPONENTS"

DAYS = 7.0
"""How long the cache is believed unless ``POLYSTORE_REGISTRY_CACHE_DAYS`` says otherwise."""


class _Component(Enum):
    """A component. A member's value is its name in file names and configurations: ``"z_index"``."""


class _GroupBy(Enum):
    """What images are grouped by; NONE for not at all."""

    @property
    def component(self) -> str | None:
        """The name of the component, None for NONE."""
        value: str | None = self.value
        return value


def component_names() -> tuple[str, ...]:
    """The names of all components: the five that are always there, then those of the configuration.

    Read once in a process.

    Raises
    ------
    SettingsError
        A name that cannot be one; the text says where it stands.
    """
    return tuple(_tables()["all_components"].values())


def make(name: str) -> type[Enum]:
    """The enum ``AllComponents``, ``VariableComponents`` or ``GroupBy``."""
    base, key = _ENUMS[name]
    made: type[Enum] = base(name, _tables()[key], module="polystore.constants", qualname=name)
    made.__doc__ = base.__doc__
    return made


_ENUMS: dict[str, tuple[Any, str]] = {
    "AllComponents": (_Component, "all_components"),
    "VariableComponents": (_Component, "variable_components"),
    "GroupBy": (_GroupBy, "group_by"),
}


@lru_cache(maxsize=1)
def _tables() -> dict[str, dict[str, Any]]:
    """The members of the three enums, from the cache when nothing they were made from has changed."""
    cache = RegistryCacheManager(
        "component_enums",
        config=CacheConfig(max_age_days=days("POLYSTORE_REGISTRY_CACHE_DAYS", DAYS)),
    )
    said = os.environ.get(VARIABLE, "")
    files = {str(path): path.stat().st_mtime for path in config_files(os.environ)}
    kept = cache.load_cache()
    if kept is not None and kept.get("made_from") == [said, sorted(files)]:
        tables: dict[str, dict[str, Any]] = kept["enums"]
        return tables
    tables = _made_of([*ALWAYS, *added_components(said, files)])
    cache.save_cache({"enums": tables, "made_from": [said, sorted(files)]}, files)
    return tables


def _made_of(names: list[str]) -> dict[str, dict[str, Any]]:
    everything = {name.upper(): name for name in dict.fromkeys(names)}
    within = {key: name for key, name in everything.items() if name != AXIS}
    return {
        "all_components": everything,
        "variable_components": within,
        "group_by": {"NONE": None, **within},
    }


def added_components(said: str, files: Iterable[str | os.PathLike[str]]) -> list[str]:
    """The components that are added, by the environment and by the files.

    Raises
    ------
    SettingsError
        A name that cannot be one; the text says where it stands.
    """
    found = [_checked(name, VARIABLE) for name in said.split(",") if name.strip()]
    for path in files:
        table = read_table(path).get("components", {})
        where = f"{path}: [components] added"
        names = table.get("added", []) if isinstance(table, Mapping) else None
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise SettingsError(f'{where}: write a list of names, such as ["laser"]')
        if unknown := table.keys() - {"added"}:
            raise SettingsError(f"{path}: [components] has no entry {min(unknown)!r} (known: added)")
        found += [_checked(name, where) for name in names]
    return found


def _checked(name: str, where: str) -> str:
    found = name.strip().lower()
    if not (found.isidentifier() and found.isascii()) or found.startswith("_") or found in ("none", "mro"):
        raise SettingsError(f"{where}: {name!r} cannot name a component; write a word such as 'laser'")
    return found
