"""``polystore cache``: what is kept between processes, and whether it still holds."""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from polystore._commands._table import print_table

if TYPE_CHECKING:
    from polystore._cli import Commands

__all__ = ["add"]

DESCRIPTION = """\
What is kept between processes: the entry points of plugins, the names of components and of colormaps. It is
made again when anything it was made from changes, so clearing it is never needed and always harmless.
"""

SOURCES = {"colormap_enum": ("napari", "POLYSTORE_COLORMAP_CACHE_DAYS", 30.0)}
"""The distribution whose version a cache depends on, the variable of its age, and its age in days; others depend
on polystore and live for 7."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One file of the cache folder, as ``--json`` shows it."""

    file: str
    kind: str
    age_seconds: float
    entries: int
    valid: bool
    reason: str


def add(commands: Commands) -> None:
    """Add the command to the parser."""
    cache = commands.add_parser("cache", help="what is kept between processes", description=DESCRIPTION)
    actions = cache.add_subparsers(title="actions", required=True, metavar="ACTION")
    shown = actions.add_parser("show", help="list it, with its age and whether it still holds")
    shown.add_argument("--json", action="store_true", help="for programs")
    shown.set_defaults(run=_show)
    cleared = actions.add_parser("clear", help="remove it; the next process makes it again")
    cleared.set_defaults(run=_clear)


def _show(arguments: argparse.Namespace) -> None:
    from polystore._discovery import cache_dir, cache_disabled

    folder = cache_dir()
    kept = [one for path in _files(folder) if (one := _examined(path)) is not None]
    if arguments.json:
        print(json.dumps([asdict(one) for one in kept], indent=2))
        return
    print(folder or "this user has no cache folder")
    if cache_disabled():
        print("switched off: OPENHCS_DISABLE_REGISTRY_CACHE is set")
    if kept:
        rows = [
            [one.file, one.kind, _age(one.age_seconds), one.entries, one.reason or "valid"] for one in kept
        ]
        print_table(["file", "kind", "age", "entries", "state"], rows)
    else:
        print("nothing is kept")


def _clear(arguments: argparse.Namespace) -> None:
    from polystore._discovery import cache_dir

    folder = cache_dir()
    removed = 0
    for path in _files(folder):
        path.unlink(missing_ok=True)
        removed += 1
    print(f"removed {removed} file{'' if removed == 1 else 's'} from {folder or 'no folder'}")


def _files(folder: str) -> list[Path]:
    return sorted(path for path in Path(folder).iterdir() if path.is_file()) if os.path.isdir(folder) else []


def _examined(path: Path) -> Kept | None:
    """What a file holds; None when it has gone meanwhile."""
    try:
        written = path.stat().st_mtime
    except FileNotFoundError:
        return None
    if path.suffix == ".tsv":
        kind, (entries, reason) = "entry points", _entry_points(path)
    elif path.suffix == ".json":
        kind, (entries, reason) = path.stem.replace("_", " "), _values(path)
    else:
        kind, entries, reason = "unknown", 0, "not one of ours, or being written"
    return Kept(path.name, kind, max(0.0, time.time() - written), entries, not reason, reason)


def _entry_points(path: Path) -> tuple[int, str]:
    from polystore import _discovery

    records = _discovery.read(str(path))
    entries = sum(record.count for record in records.values())
    if str(path) != _discovery.cache_file():
        return entries, "of another Python or environment"
    if not records:
        return 0, "damaged"
    now = time.time()
    reasons = []
    for record in records.values():
        try:
            reason = record.stale(_discovery.stamp(record.folder), now)
        except OSError:
            reason = "the folder has gone"
        if reason:
            reasons.append(f"{record.folder}: {reason}")
    more = f" (and {len(reasons) - 1} more of {len(records)})" if len(reasons) > 1 else ""
    return entries, f"{reasons[0]}{more}" if reasons else ""


def _values(path: Path) -> tuple[int, str]:
    from polystore.registry_cache import CacheConfig, RegistryCacheManager, days, version_of

    default = ("polystore", "POLYSTORE_REGISTRY_CACHE_DAYS", 7.0)
    distribution, variable, age = SOURCES.get(path.stem, default)
    config = CacheConfig(max_age_days=days(variable, age))
    manager = RegistryCacheManager(path.stem, lambda: version_of(distribution), config=config)
    reason = manager.why_invalid()
    return (0 if reason else len(manager.load_cache() or {})), reason


def _age(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
