"""The slow half of `polystore._discovery`: reads the metadata of distributions, and writes the cache.

It reads the same files as `importlib.metadata`, and decides alike, without the 50 ms that importing it costs.
It imports nothing beyond what Python has at its own start either: a working directory that changes all the
time is read, and written down, in every process, and should cost next to nothing.
"""

from __future__ import annotations

import os
import time

from polystore._discovery import (
    ENTRY_POINTS,
    Record,
    cache_file,
    digest,
    distribution,
    interpreter,
    stamp,
)  # fmt: skip

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from polystore._discovery import Found

__all__ = ["ask_importlib", "parse", "renew", "scan"]

SETTLED = 2.0
"""Seconds a folder must have been left alone before what was found there is kept: the clock of a file system
ticks every 0.01 s, on FAT every 2 s, and a second change within one tick leaves the same time."""

LEFT_ALONE = 0.2
"""Seconds an installer may take from its INSTALLER file to the last of a metadata folder; a slower one costs a
look each time, and nothing else."""

SCRIPTS = frozenset({"console_scripts", "gui_scripts"})
"""Groups that are no plugins, and half of all entry points: not kept."""

MAX_FOLDERS = 64
"""Folders kept in one file; those on the present import path come first."""

TEMPORARY = ".tmp"
"""Ending of a file that is being written."""

ABANDONED = 3600.0
"""Age in seconds of a half-written file after which its writer is gone."""


def renew(
    folders: Mapping[str, str],
    known: Mapping[str, Record],
    started: float,
    *,
    check_mtimes: bool,
    write: bool,
) -> list[Record]:
    """The records of all folders: those in ``known`` that still hold, the others read anew and written.

    Parameters
    ----------
    folders
        The folders on the import path, with the stamps they had before anything was read.
    known
        What the cache says.
    started
        The time of day before the stamps were taken or soon after, in seconds since 1970.
    check_mtimes
        Whether a record must fit every distribution, or the folder alone.
    write
        Whether to write what is new to the cache.
    """
    records: list[Record] = []
    kept: list[Record] = []
    changed = False
    for folder, now in folders.items():
        old = known.get(folder)
        if old is not None and not old.stale(now, started, check_mtimes=check_mtimes):
            records.append(old)
            kept.append(old)
            continue
        record, newest = scan(folder, now, started, old)
        records.append(record)
        names = [folder, *record.infos]
        if newest <= started - SETTLED and not any(mark in name for name in names for mark in "\t\n"):
            kept.append(record)
            changed = True
        elif old is not None:  # stale for good, but it knows what was looked at
            kept.append(old)
    if write and changed:
        others = [record for folder, record in known.items() if folder not in folders]
        others.sort(key=lambda record: record.found, reverse=True)
        _write([*kept, *others][:MAX_FOLDERS])
    return records


def scan(folder: str, now: str, started: float, old: Record | None = None) -> tuple[Record, float]:
    """The record of a folder (or a zip file), and when the last change it knows of was made.

    It is read from the metadata of the distributions in it, after their stamps: what changes meanwhile makes
    the record stale at once.
    """
    suspects = {*old.declaring, *old.silent} if old is not None else set()
    times: dict[str, int] = {}
    silent: list[str] = []
    finished: list[str] = []
    newest: dict[str, tuple[int, list[list[str]]]] = {}
    for info, name in _distributions(folder):
        path = os.path.join(folder, info)
        try:
            changed = int(stamp(os.path.join(path, ENTRY_POINTS)))
        except OSError:
            changed = 0
        plugins = [fields for fields in _entries(path, name) if fields[0] not in SCRIPTS] if changed else []
        # Two of one name in one folder: one was not removed when the other came.
        if name not in newest or newest[name][0] < changed:
            newest[name] = changed, plugins
        if not plugins and info not in suspects and _is_finished(path):
            finished.append(info)
        elif changed:
            times[info] = changed
        else:
            silent.append(info)
    found = [fields for _, plugins in newest.values() for fields in plugins]
    if os.path.isfile(folder):
        found = [fields for fields in _entries_of_zip(folder) if fields[0] not in SCRIPTS]
    total = str(sum(times.values()))
    record = Record(folder, now, int(started), total, list(times), silent, finished, _lines(found))
    return record, max([int(now), *(changed for changed, _ in newest.values())]) / 1e9


def _is_finished(info: str) -> bool:
    """Whether a metadata folder is as an installer left it: nothing in it has changed since.

    An installer that changes a distribution makes its folder anew, which shows in the folder above, so such a
    folder without plugins need not be looked at each time. One that was made, or changed, by hand may change
    by hand again.
    """
    try:
        installed = os.stat(os.path.join(info, "INSTALLER")).st_mtime
        paths = [info, *(os.path.join(info, name) for name in os.listdir(info))]
        return max(os.stat(path).st_mtime for path in paths) <= installed + LEFT_ALONE
    except OSError:  # a file of the old kind has no place for plugins
        return os.path.isfile(info)


def _lines(entries: list[list[str]]) -> str:
    groups: dict[str, list[str]] = {}
    for group, *fields in entries:
        if not any(mark in field for field in (group, *fields) for mark in "\t\n"):  # nobody can ask for that
            groups.setdefault(group, []).extend(fields)
    return "".join("\n" + "\t".join([group, *fields]) for group, fields in groups.items())


def parse(text: str) -> Iterator[tuple[str, str, str]]:
    """The group, name and value of each line of an ``entry_points.txt``."""
    group = None
    for line in map(str.strip, text.splitlines()):
        if not line or line.startswith("#"):
            continue
        if line.startswith("[") and line.endswith("]"):
            group = line.strip("[]")
        elif group is not None and "=" in line:
            name, _, value = line.partition("=")
            yield group, name.strip(), value.strip()


def ask_importlib(group: str) -> list[Found]:
    """The entry points of a group where an importer has its own idea of what is installed; not cached."""
    from importlib.metadata import entry_points

    return [
        _split(entry.value, entry.name, *((entry.dist.name, entry.dist.version) if entry.dist else ("", "")))
        for entry in entry_points(group=group)
    ]


def _distributions(folder: str) -> Iterator[tuple[str, str]]:
    """The metadata folders directly in a folder, and the distribution of each, by its normalised name."""
    try:
        children = sorted(os.listdir(folder))
    except OSError:
        return
    egg = os.path.basename(folder)
    for child in children:
        low = child.lower()
        if low.endswith((".dist-info", ".egg-info")):
            yield child, distribution(child)
        elif low == "egg-info" and egg.lower().endswith(".egg"):
            yield child, distribution(egg)


def _entries(info: str, name: str) -> Iterator[list[str]]:
    """The entry points one metadata folder declares, with their groups."""
    text = _text(os.path.join(info, ENTRY_POINTS))
    if not text:
        return
    head = _text(os.path.join(info, "METADATA")) or _text(os.path.join(info, "PKG-INFO"))
    told: dict[str, str] = {}
    for line in head.partition("\n\n")[0].splitlines():
        key, _, value = line.partition(":")
        told.setdefault(key.lower(), value.strip())
    stem, _, version = os.path.basename(info).rpartition(".")[0].partition("-")
    for group, entry, value in parse(text):
        fields = _split(value, entry, told.get("name") or stem, told.get("version") or version)
        yield [group, *fields, name]


def _split(value: str, name: str, owner: str, version: str) -> Found:
    """The fields of an entry point, from a value such as ``package.module:Class [extra]``."""
    target, bracket, extras = value.replace(" ", "").partition("[")
    requires = f"{owner}[{extras}" if bracket and extras != "]" else ""
    return name, target, f"{owner} {version}".strip() or "an unnamed distribution", requires


def _entries_of_zip(path: str) -> list[list[str]]:
    from importlib.metadata import distributions

    return [
        [
            entry.group,
            *_split(entry.value, entry.name, found.name, found.version),
            distribution(found.name + "-."),
        ]
        for found in distributions(path=[path])
        for entry in found.entry_points
    ]


def _text(path: str) -> str:
    """The text of a file; nothing where there is none. One odd byte in it harms no other line."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""


def _write(records: list[Record]) -> None:
    """Put records in the cache; where that is impossible every process reads the metadata itself."""
    path = cache_file()
    if not path:
        return
    body = "\n\n".join([interpreter(), *(record.text for record in records)])
    data = body.encode("utf-8", "surrogateescape")
    folder = os.path.dirname(path)
    # Like polystore._atomic, which takes 10 ms to import. Nobody else has this pid and this moment.
    temporary = f"{path}.{os.getpid()}-{time.monotonic_ns()}{TEMPORARY}"
    try:
        os.makedirs(folder, 0o700, exist_ok=True)
        _sweep(folder)
        try:
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
                stream.write(b"%d\n%s" % (digest(data), data))
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as exc:
        import logging

        logging.getLogger(__name__).debug("the cache of entry points is not written: %s", exc)


def _sweep(folder: str) -> None:
    """Remove what writers left that were killed while they wrote."""
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if name.endswith(TEMPORARY) and os.lstat(path).st_mtime < time.time() - ABANDONED:
            os.unlink(path)
