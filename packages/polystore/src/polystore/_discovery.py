"""Entry points of the installed distributions, from a cache that is checked at every use.

`importlib.metadata` reads the metadata of every distribution for that, tens of milliseconds in every process.
Here a file in the cache folder keeps, per folder on the import path, the time of the last change of the
folder and of each distribution's entry points, and the entry points themselves. Reading and checking it
costs a few hundred microseconds. What does not fit any more is read anew by `polystore._scan`, folder by
folder, so that the working directory, which changes all the time, does not spoil the rest.

The file is text with tabs: a JSON or msgpack module would cost more to import than all of this costs to run.
For the same reason nothing is imported here beyond what Python has at its own start.
"""

from __future__ import annotations

import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import TypeAlias

    Found: TypeAlias = tuple[str, str, str, str]
    """An entry point: name, target, origin, what to install when something is missing."""

__all__ = [
    "Record", "cache_dir", "cache_disabled", "cache_file", "days", "digest", "distribution", "find", "interpreter",
    "max_age", "read", "records", "stamp", "stamp_of_all", "version_of",
]  # fmt: skip

FORMAT = "polystore entry points 4"

ENTRY_POINTS = "entry_points.txt"

ENTRY = 5
"""Fields of an entry point: name, target, origin, what to install, and the name of its distribution."""

PRIME = (1 << 30) - 35
"""A number modulo a prime tells a changed file; zlib's sums would have to be imported. A prime of one digit
of Python's integers (30 bits) takes a third of the time of a larger one."""

DAYS = 7.0
"""How long a record is believed when nobody says otherwise."""

_KNOWN_FINDERS = frozenset({"_frozen_importlib_external", "importlib_metadata"})


class Record:
    """What is known of one folder on the import path.

    Parameters
    ----------
    folder
        Its path.
    changed
        The `stamp` it had.
    found
        When that was found out, in seconds since 1970.
    entries_changed
        The `stamp_of_all` of the entry points of the distributions in it.
    declaring
        The metadata folders in it that hold entry points.
    silent
        Those that hold none and might get some.
    finished
        Those without plugins that are as their installer left them: it replaces them as a whole, so they are
        not looked at.
    entries
        A line for each group, each beginning with a newline: the group, then `ENTRY` fields per entry point.
    """

    __slots__ = (
        "changed",
        "declaring",
        "entries",
        "entries_changed",
        "finished",
        "folder",
        "found",
        "silent",
    )

    def __init__(
        self,
        folder: str,
        changed: str,
        found: int,
        entries_changed: str,
        declaring: list[str],
        silent: list[str],
        finished: list[str],
        entries: str,
    ) -> None:
        self.folder = folder
        self.changed = changed
        self.found = found
        self.entries_changed = entries_changed
        self.declaring = declaring
        self.silent = silent
        self.finished = finished
        self.entries = entries

    @classmethod
    def parse(cls, text: str) -> Record:
        """The record that `text` gave."""
        head, newline, entries = text.partition("\n")
        folder, changed, found, total, first, second, *infos = head.split("\t")
        one, two = int(first), int(second)
        parts = infos[:one], infos[one:two], infos[two:]
        return cls(folder, changed, int(found), total, *parts, newline + entries)

    @property
    def text(self) -> str:
        """The record as it stands in the file."""
        first = len(self.declaring)
        head = [self.folder, self.changed, self.found, self.entries_changed, first, first + len(self.silent)]
        return "\t".join([*map(str, head), *self.infos]) + self.entries

    @property
    def infos(self) -> list[str]:
        """All metadata folders in it."""
        return [*self.declaring, *self.silent, *self.finished]

    @property
    def count(self) -> int:
        """The number of entry points."""
        return sum(line.count("\t") // ENTRY for line in self.entries.split("\n"))

    def stale(self, now: str, started: float, *, check_mtimes: bool = True) -> str:
        """Why this no longer holds, or nothing.

        Parameters
        ----------
        now
            The stamp of the folder.
        started
            The time of day, in seconds since 1970.
        check_mtimes
            Whether to look at each distribution, too.
        """
        if self.changed != now:
            return "the folder has changed"
        if not 0 <= started - self.found <= max_age():
            return "too old"
        if check_mtimes and (self.declaring or self.silent):
            try:
                if stamp_of_all(self.folder, self.declaring, self.silent) != self.entries_changed:
                    return "entry points were edited"
            except OSError:
                return "entry points have gone"
        return ""

    def of_group(self, group: str) -> list[str]:
        """The fields of the entry points of a group, one after the other."""
        start = self.entries.find(f"\n{group}\t")
        if start < 0:
            return []
        end = self.entries.find("\n", start + 1)
        return self.entries[start + len(group) + 2 : end if end > 0 else None].split("\t")


def find(group: str, *, enable_cache: bool = True, check_mtimes: bool = True) -> list[Found]:
    """The entry points of a group, in the order of the import path; imports no plugin. Thread-safe.

    Of a distribution that stands twice on the path only the first counts, as for an import.

    Parameters
    ----------
    group
        ``"polystore.backends"``; the groups of scripts are always empty.
    enable_cache
        Whether to use the cache; ``OPENHCS_DISABLE_REGISTRY_CACHE`` has the last word.
    check_mtimes
        False: trust the times of the folders on the path, without a look at each distribution.
    """
    if _is_extraordinary():
        from polystore._scan import ask_importlib

        return ask_importlib(group)
    return list(_of_group(group, records(enable_cache=enable_cache, check_mtimes=check_mtimes)))


def records(*, enable_cache: bool = True, check_mtimes: bool = True) -> list[Record]:
    """What is known of each folder on the import path, in its order; parameters as `find`."""
    folders, started = _folders(), time.time()
    use = enable_cache and not cache_disabled()
    known = read() if use else {}
    found = []
    for folder, now in folders.items():
        record = known.get(folder)
        if record is None or record.stale(now, started, check_mtimes=check_mtimes):
            from polystore._scan import renew

            return renew(folders, known, started, check_mtimes=check_mtimes, write=use)
        found.append(record)
    return found


def version_of(name: str) -> str:
    """The version of an installed distribution, by its normalised name; empty when there is none.

    It stands in the name of a folder the cache knows, so no metadata is read.
    """
    if _is_extraordinary():
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version(name)
        except PackageNotFoundError:
            return ""
    for record in records():
        for info in record.infos:
            if info[:1].lower() == name[:1] and distribution(info) == name:
                return info.rpartition(".")[0].partition("-")[2] or "unknown"
    return ""


def _is_extraordinary() -> bool:
    """Whether an importer has its own idea of what is installed, beside the folders on the path."""
    for finder in sys.meta_path:
        if hasattr(finder, "find_distributions") and getattr(finder, "__module__", "") not in _KNOWN_FINDERS:
            return True
    return False


def cache_dir() -> str:
    """The folder of all caches, which need not exist; empty when this user has none."""
    folder = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(folder):  # the XDG specification says to ignore it then
        if sys.platform == "win32":
            folder = os.environ.get("LOCALAPPDATA", "")
        else:
            folder = os.path.expanduser("~/Library/Caches" if sys.platform == "darwin" else "~/.cache")
    return os.path.join(folder, "openhcs") if os.path.isabs(folder) else ""


def cache_disabled() -> bool:
    """Whether the environment forbids caches: ``OPENHCS_DISABLE_REGISTRY_CACHE=1``."""
    return os.environ.get("OPENHCS_DISABLE_REGISTRY_CACHE", "").lower() not in ("", "0", "false", "no")


def max_age() -> float:
    """How old a record may be, in seconds: ``POLYSTORE_REGISTRY_CACHE_DAYS``, by default 7 days."""
    return days("POLYSTORE_REGISTRY_CACHE_DAYS", DAYS) * 86400


def days(variable: str, default: float) -> float:
    """A number of days from the environment; what is no number there counts as not set."""
    try:
        return float(os.environ.get(variable) or default)
    except ValueError:
        return default


def interpreter() -> str:
    """What a cache belongs to: this Python and its environment, on one line."""
    return f"{FORMAT}\t{sys.version} {sys.prefix}".replace("\n", " ")


def cache_file() -> str:
    """The file of this interpreter; empty when there is no cache folder."""
    folder = cache_dir()
    number = digest(interpreter().encode("utf-8", "surrogateescape"))
    return os.path.join(folder, f"entry_points-{number:x}.tsv") if folder else ""


def digest(data: bytes) -> int:
    """A number that changes with the bytes."""
    return int.from_bytes(data, "little") % PRIME


def read(path: str | None = None) -> dict[str, Record]:
    """The records of the cache, by folder; none when there is no such file, or it is damaged or not ours."""
    try:
        fd = os.open(path or cache_file(), os.O_RDONLY)
    except OSError:
        return {}
    try:
        info = os.fstat(fd)
        if os.name == "posix" and (info.st_uid != os.geteuid() or info.st_mode & 0o022):
            return {}  # it names what will be imported: nobody else may have written it
        data = os.read(fd, info.st_size)
    except OSError:
        return {}
    finally:
        os.close(fd)
    number, _, body = data.partition(b"\n")
    if number != b"%d" % digest(body):
        return {}
    header, *blocks = body.decode("utf-8", "surrogateescape").split("\n\n")
    if header != interpreter():
        return {}
    try:
        return {record.folder: record for record in map(Record.parse, blocks)}
    except ValueError:  # whole, and yet not what we write
        return {}


def stamp(path: str) -> str:
    """When that file or folder last changed, as text; OSError when it is not there.

    The time of the inode where there is one: it moves with every change and cannot be set back.
    """
    return str(os.stat(path).st_ctime_ns if os.name == "posix" else os.stat(path).st_mtime_ns)


def stamp_of_all(folder: str, declaring: Iterable[str], silent: Iterable[str] = ()) -> str:
    """One stamp for the entry points of all distributions in a folder; OSError when some have gone.

    It is the sum of theirs, which grows when any of them changes, and another when a metadata folder that
    had none has got some. Most of a check consists of this.
    """
    if os.name != "posix":
        below = [os.path.join(folder, info, ENTRY_POINTS) for info in silent]
        total = sum(int(stamp(os.path.join(folder, info, ENTRY_POINTS))) for info in declaring)
        return str(total + any(os.path.exists(path) for path in below))
    stat, access, there = os.stat, os.access, os.F_OK
    fd = os.open(folder, os.O_RDONLY)  # from the folder on: two thirds of the time
    try:
        total = sum([stat(f"{info}/{ENTRY_POINTS}", dir_fd=fd).st_ctime_ns for info in declaring])
        # Asking whether something is there takes half the time of asking when it changed.
        return str(total + any(access(f"{info}/{ENTRY_POINTS}", there, dir_fd=fd) for info in silent))
    finally:
        os.close(fd)


def distribution(info: str) -> str:
    """The normalised name of the distribution a metadata folder belongs to."""
    name = info.lower().rpartition(".")[0].partition("-")[0]
    name = name.replace(".", "_")
    while "__" in name:
        name = name.replace("__", "_")
    return name


def _folders() -> dict[str, str]:
    """What is on the import path and exists, with its stamp."""
    found: dict[str, str] = {}
    for entry in sys.path:
        if isinstance(entry, str):
            try:
                folder = entry if os.path.isabs(entry) else os.path.abspath(entry or ".")
                if folder not in found:
                    found[folder] = stamp(folder)
            except (OSError, ValueError):  # not there, like a working directory that was removed; or no path
                continue
    return found


def _of_group(group: str, records: Iterable[Record]) -> Iterator[Found]:
    before: list[Record] = []
    for record in records:
        fields = record.of_group(group)
        if fields:
            hidden = {distribution(info) for earlier in before for info in earlier.infos}
            for at in range(0, len(fields), ENTRY):
                name, target, origin, requires, owner = fields[at : at + ENTRY]
                if owner not in hidden:
                    yield name, target, origin, requires
        before.append(record)
