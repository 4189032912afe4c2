"""Names of files to planes: acquisitions told apart, double files named, thumbnails left out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from polystore.components import ImageKey
from polystore.errors import UnsupportedFormatError
from polystore.microscopes.filename_parser import IMAGE_SUFFIXES
from polystore.plate import PlaneRef, PlateNote

if TYPE_CHECKING:
    from polystore.microscopes._files import PlateFiles
    from polystore.microscopes.microscope_base import MicroscopeHandler

__all__ = ["Found", "complete_grid", "note_many", "planes_by_name", "settle", "several_plates"]

Found: TypeAlias = Mapping[str, Sequence[tuple[ImageKey, str]]]
"""Folder of an acquisition to its planes: key without plate, path."""

SHOWN = 5
"""Paths a note carries of many."""

MAX_DOUBLE = 256
"""Planes with several files that are looked at one by one."""

_IMAGES = (*IMAGE_SUFFIXES, ".c01", ".dib", ".flex")


def planes_by_name(
    files: PlateFiles, handler: MicroscopeHandler, listed: Mapping[str, ImageKey] | None = None
) -> list[PlaneRef]:
    """The planes of a plate by what its names say, each key once.

    Parameters
    ----------
    listed
        What an index file of the plate says of some files, by path; it goes before their names.

    Raises
    ------
    UnsupportedFormatError
        The names are those of more than one plate.
    """
    found: dict[str, list[tuple[ImageKey, str]]] = {}
    plates: dict[str, str] = {}
    left_out: dict[str, list[str]] = {"thumbnail": [], "derived": [], "unknown": []}
    for folder in files.walk():
        parts = folder.path.split("/") if folder.path else []
        around = ImageKey.from_mapping(handler.parse_folders(parts))
        above = "/".join(part for part in parts if not handler.parse_folders([part]))
        prefix = f"{folder.path}/" if folder.path else ""
        here: list[tuple[ImageKey, str]] = []
        for name in folder.files:
            path = prefix + name
            if listed is not None and path in listed:
                here.append((listed[path], path))
                continue
            parsed = handler.parse(name)
            if parsed is None:
                if name.lower().endswith(_IMAGES):
                    left_out["unknown"].append(path)
            elif parsed.thumbnail:
                left_out["thumbnail"].append(path)
            elif parsed.extra:
                left_out["derived"].append(path)
            else:
                if parsed.key.plate is not None:
                    plates.setdefault(str(parsed.key.plate), path)
                    if len(plates) > SHOWN:
                        raise several_plates(files.root, plates)
                here.append((_within(around, parsed.key), path))
        if here:
            found.setdefault(above, []).extend(here)
    if len(plates) > 1:
        raise several_plates(files.root, plates)
    files.plate_name = next(iter(plates), None)
    note_many(files, "thumbnail", "{count} thumbnails left out", left_out["thumbnail"])
    note_many(files, "derived", "{count} files made from the images left out", left_out["derived"])
    note_many(files, "unknown", "{count} images whose names are not understood left out", left_out["unknown"])
    return settle(files, handler, found)


def several_plates(root: str, plates: Mapping[str, str]) -> UnsupportedFormatError:
    """The error for a folder of several plates, by name and a path of each."""
    shown = ", ".join(f"{plate} ({path})" for plate, path in list(plates.items())[:SHOWN])
    count = str(len(plates)) if len(plates) <= SHOWN else f"more than {SHOWN}"
    return UnsupportedFormatError(f"{root} holds {count} plates: {shown}; open one of them")


def _within(around: ImageKey, key: ImageKey) -> ImageKey:
    """A key without its plate, with what the folders around it say filled in; spelled out, for 50,000 of them."""
    if around == _NOTHING and key.plate is None:
        return key
    return ImageKey(
        None,
        around.acquisition if key.acquisition is None else key.acquisition,
        around.well if key.well is None else key.well,
        around.field if key.field is None else key.field,
        around.channel if key.channel is None else key.channel,
        around.z if key.z is None else key.z,
        around.t if key.t is None else key.t,
    )


_NOTHING = ImageKey()


def note_many(files: PlateFiles, kind: str, text: str, paths: Sequence[str]) -> None:
    """Note something about several files at once; nothing when there are none."""
    if paths:
        files.notes.append(PlateNote(kind, text.format(count=len(paths)), tuple(paths[:SHOWN])))


def settle(files: PlateFiles, handler: MicroscopeHandler, found: Found) -> list[PlaneRef]:
    """The planes of all folders, each key once.

    Planes that stand in several folders under the same key are several acquisitions, named after their folders.
    Several files for one key in one folder: the handler chooses, and a note names them. Where there are very many
    (a plate taken again into the same folder) the first by name counts for all, and a note says how many.
    """
    names = files.acquisitions = _acquisitions(files, found)
    planes: list[PlaneRef] = []
    double: list[tuple[ImageKey, list[str], int]] = []
    for folder, there in found.items():
        by_key: dict[ImageKey, list[str]] = {}
        for key, path in there:
            by_key.setdefault(key, []).append(path)
        name = names.get(folder)
        for key, paths in by_key.items():
            if name is not None and key.acquisition is None:
                key = key.replace(acquisition=name)
            if len(paths) > 1:
                double.append((key, paths, len(planes)))
            planes.append(PlaneRef(key, paths[0]))
    for key, paths, place in double[:MAX_DOUBLE]:
        chosen = handler.choose(files, paths) if len(double) <= MAX_DOUBLE else paths[0]
        others = [path for path in paths if path != chosen]
        text = f"{len(paths)} files for {key}: {chosen} is used, not {', '.join(others)}"
        files.notes.append(PlateNote("duplicate", text, (chosen, *others)))
        planes[place] = PlaneRef(key, chosen)
    if len(double) > MAX_DOUBLE:
        text = f"several files for {len(double)} planes, the first by name is used: sort them into folders"
        files.notes.append(PlateNote("duplicate", text))
    return planes


def _acquisitions(files: PlateFiles, found: Found) -> dict[str, str]:
    """Names for the folders when they are several acquisitions; nothing when they are parts of one."""
    folders = {folder: {key for key, _ in there} for folder, there in found.items()}
    if sum(map(len, folders.values())) == len(set().union(*folders.values())):
        return {}
    last = {
        folder: os.path.basename(folder) or os.path.basename(files.root.rstrip("/\\")) for folder in folders
    }
    if len(set(last.values())) < len(last) or not all(last.values()):
        last = {folder: folder.replace("/", "_") or "top" for folder in folders}
    text = f"{len(last)} acquisitions of the same planes: {', '.join(sorted(last.values()))}"
    files.notes.append(PlateNote("folders", text, tuple(folders)))
    return last


def complete_grid(keys: Iterable[ImageKey], fields: Iterable[tuple[object, object]] = ()) -> list[ImageKey]:
    """Every plane there would be if each field had what any field has.

    Channel by channel, so that a projection beside z stacks is expected where it belongs.

    Parameters
    ----------
    keys
        The planes that are there.
    fields
        (well, field) pairs that should be there, beside those that are.
    """
    planes: dict[object, dict[object, set[tuple[object, object]]]] = {}
    places: dict[object, set[tuple[object, object]]] = {}
    for key in keys:
        planes.setdefault(key.acquisition, {}).setdefault(key.channel, set()).add((key.z, key.t))
        places.setdefault(key.acquisition, set()).add((key.well, key.field))
    wanted = set(fields)
    return [
        ImageKey(None, acquisition, well, field, channel, z, t)  # type: ignore[arg-type]  # canonical already
        for acquisition, channels in planes.items()
        for well, field in places[acquisition] | wanted
        for channel, steps in channels.items()
        for z, t in steps
    ]
