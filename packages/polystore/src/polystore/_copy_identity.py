"""Whether a target is a copy of the very plate that is to be copied: by a record in it, and by pixels."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from polystore._paths import join
from polystore.abc import DataSource, SupportsPlates
from polystore.components import ImageKey
from polystore.errors import AlreadyExistsError, ComponentError, PolystoreError
from polystore.filemanager import FileManager
from polystore.microscopes import parse_path
from polystore.plate import PlaneRef, PlateIndex
from polystore.virtual_names import virtual_name

__all__ = ["RECORD", "Copy", "differs", "load_plane", "own_images", "record_of"]

RECORD = ".polystore_copy.json"
"""Name of the file in the target that says what it is a copy of."""

SAMPLES = 3
"""Planes that are there already and are read from both sides before others are added."""

State: TypeAlias = Literal["same", "being replaced", "another"]


@dataclass(frozen=True, slots=True)
class Copy:
    """A target that holds images.

    Parameters
    ----------
    index
        The plate that is to be copied; keys as in the target.
    target, backend
        Where to.
    filemanager
        Finds both backends.
    """

    index: PlateIndex
    target: str
    backend: str
    filemanager: FileManager

    def state(self, present: Sequence[PlaneRef], *, overwrite: bool) -> State:
        """What the images in the target are to this plate.

        A copy of this plate has its name, its date where both are known, and comes from the same place; a
        plate that was moved is known by its pixels. Some planes that are in both are compared in any case: a
        folder may hold another plate today.

        Raises
        ------
        AlreadyExistsError
            They are no copy made here; or they are one of another plate, and ``overwrite`` is false.
        """
        path = join(self.target, RECORD)
        if not self.filemanager.is_file(path, self.backend):
            raise AlreadyExistsError(
                f"{self.target} holds images that are no copy made here; choose another target, or move them away"
            )
        found = self.filemanager.load(path, self.backend)
        record: dict[str, Any] = found if isinstance(found, dict) else {}
        why = self._other(record, present, overwrite=overwrite)
        if why and not overwrite:
            first, second = _told(record), _told(record_of(self.index))
            what = f"is a copy of {first} and not of {second}: {why}"
            if first == second:
                what = (
                    f"is a copy of {first}, but {why}: another plate, one that has changed, or a damaged copy"
                )
            raise AlreadyExistsError(
                f"{self.target} {what}; choose another target, or replace all of it (--overwrite)"
            )
        if why:
            return "another"
        return "being replaced" if record.get("replacing") is True else "same"

    def _other(self, record: dict[str, Any], present: Sequence[PlaneRef], *, overwrite: bool) -> str:
        """Why the copy is one of another plate; empty when it is not."""
        this = record_of(self.index)
        if record.get("plate") != this["plate"]:
            return "they have other names"
        if record.get("acquired") and this.get("acquired") and record["acquired"] != this["acquired"]:
            return "they were acquired at other times"
        is_moved = record.get("source") != this["source"]
        if record.get("replacing") is True:  # its images are partly another plate's
            return "nothing shows that this plate was only moved" if is_moved else ""
        compared = list(self._compared(present))
        different = [name for name, same, _ in compared if not same]
        proven = any(same and telling for _, same, telling in compared)
        if different and overwrite and proven and not is_moved:
            return ""  # some planes are damaged or were taken again: they are replaced where they are
        if different:
            return f"{different[0]} is not the same in both"
        if is_moved and not proven:
            return "nothing that is in both shows that this plate was only moved"
        return ""

    def _compared(self, present: Sequence[PlaneRef]) -> Iterator[tuple[str, bool, bool]]:
        """Some planes: the name, whether both sides are the same, and whether that tells anything."""
        source: DataSource = self.filemanager.backend(self.index.backend)
        sink: DataSource = self.filemanager.backend(self.backend)
        count = min(SAMPLES, len(present))
        for number in range(count):
            plane = present[number * (len(present) - 1) // max(1, count - 1)]
            name = virtual_name(plane.key)
            try:
                first = load_plane(source, self.index, plane)
                second = np.asarray(sink.load(join(self.target, name)))
            except (PolystoreError, OSError):  # a broken file is told when it is copied
                continue
            is_flat = first.size == 0 or bool(np.all(first == first.flat[0]))
            yield name, not differs(first, second), not is_flat


def own_images(filemanager: FileManager, target: str, backend: str) -> tuple[str, ...]:
    """The images of a target that is a copy, by the names copies have.

    Raises
    ------
    AlreadyExistsError
        There is more that belongs to its plate: labels, images of other names.
    """
    if isinstance(filemanager.backend(backend), SupportsPlates):
        found = [
            join(folder, name)[len(target) :].lstrip("/")
            for folder, _, names in filemanager.walk(target, backend)
            for name in names
        ]
        others = [name for name in found if not _is_own(name)]
    else:
        found = [path.rpartition("/")[2] for path in filemanager.list_files(target, backend)]
        others = [name for name in found if not _is_own(name) and parse_path(name) != ImageKey()]
    others = [name for name in others if name != RECORD]
    if others:
        more = f" and {len(others) - 1:,} more" if len(others) > 1 else ""
        raise AlreadyExistsError(
            f"{target} is a copy of another plate and holds what was added later ({others[0]}{more}); choose "
            "another target, or remove it yourself"
        )
    return tuple(name for name in found if _is_own(name))


def _is_own(name: str) -> bool:
    try:
        return virtual_name(parse_path(name)) == name
    except ComponentError:
        return False


def record_of(index: PlateIndex) -> dict[str, Any]:
    """What a copy notes of the plate it is made from."""
    root = index.root
    if "://" not in root and index.backend != "memory":
        root = os.path.realpath(root)
    name = index.info.name or os.path.basename(root.rstrip("/\\")) or root
    record = {"source": root, "plate": name}
    if index.info.acquired:
        record["acquired"] = index.info.acquired
    return record


def _told(record: dict[str, Any]) -> str:
    date = f", acquired {record['acquired']}" if record.get("acquired") else ""
    return f"plate {record.get('plate')!r} ({record.get('source')}{date})"


def load_plane(source: DataSource, index: PlateIndex, plane: PlaneRef) -> Any:
    """The pixels of a plane of a plate."""
    page = {} if plane.page is None else {"page": plane.page}
    return np.asarray(source.load(index.path_of(plane), **page))


def differs(first: Any, second: Any) -> str:
    """How the plane of a copy is another than its source's; empty when it is the same to the last bit."""
    if first.dtype.newbyteorder("=") != second.dtype.newbyteorder("=") or first.shape != second.shape:
        return f"{first.dtype} {first.shape} in the source, {second.dtype} {second.shape} in the copy"
    different = first != second
    if first.dtype.kind in "fc":
        different &= ~(np.isnan(first) & np.isnan(second))
    count = int(np.count_nonzero(different))
    if not count:
        return ""
    at = tuple(int(index) for index in np.unravel_index(int(np.argmax(different)), first.shape))
    verb = "differs" if count == 1 else "differ"
    return (
        f"{count:,} of {first.size:,} pixels {verb}, the first at {list(at)}: {first[at]} in the source, "
        f"{second[at]} in the copy"
    )
