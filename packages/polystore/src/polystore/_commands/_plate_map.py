"""A plate as people draw it: a grid of wells with a mark for what is in each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from polystore.components import well_name
from polystore.plate import PlateIndex

__all__ = ["Marks", "plate_map", "plate_size"]

SIZES = ((8, 12), (16, 24), (32, 48), (52, 99))
"""Rows and columns of plates, for those whose files do not say: 96, 384 and 1,536 wells, and whatever is left."""

_WELL = re.compile(r"([A-Z]{1,2})([0-9]{1,3})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Marks:
    """What stands for a well with all planes, with some missing, with all missing, for one without, and for µm."""

    full: str = "●"
    partial: str = "◐"
    lost: str = "○"
    empty: str = "·"
    um: str = "µm"

    @classmethod
    def for_encoding(cls, encoding: str | None) -> Marks:
        """Those a terminal of that encoding can show."""
        try:
            "●◐○·µ".encode(encoding or "ascii")
        except (LookupError, UnicodeEncodeError):
            return cls("#", "+", "o", ".", "um")
        return cls()

    def coloured(self) -> Marks:
        """The same in green, yellow, red and grey, for a terminal."""
        colours = {"full": "32", "partial": "33", "lost": "31", "empty": "90"}
        return replace(
            self, **{name: f"\x1b[{code}m{getattr(self, name)}\x1b[0m" for name, code in colours.items()}
        )


def plate_size(index: PlateIndex) -> tuple[int, int, bool] | None:
    """Rows, columns, and whether the plate's files say so (else its wells fit in); None for wells of other names."""
    places = [place for well in _all_wells(index) if (place := _place(well)) is not None]
    if not places or len(places) < len(_all_wells(index)):
        return None
    rows, columns = max(row for row, _ in places), max(column for _, column in places)
    info = index.info
    if info.rows and info.columns and info.rows >= rows and info.columns >= columns:
        return info.rows, info.columns, True
    return next(
        (*size, False) for size in (*SIZES, (rows, columns)) if size[0] >= rows and size[1] >= columns
    )


def plate_map(index: PlateIndex, marks: Marks) -> list[str]:
    """Lines of the grid; none when the wells are not called by row and column."""
    size = plate_size(index)
    if size is None:
        return []
    rows, columns, _ = size
    states = _states(index, marks)
    width = 3 if columns <= 12 else 2 if columns <= 24 else 1
    gap = " " * (width - 1)
    lines = ["   " + _numbers(columns, width)]
    for row in range(1, rows + 1):
        cells = [states.get(well_name(row, column), marks.empty) for column in range(1, columns + 1)]
        lines.append(f"{well_name(row, 1)[:-2]:>3}" + "".join(gap + cell for cell in cells))
    return lines


def _numbers(columns: int, width: int) -> str:
    if width == 3:
        return "".join(f"{column:>3}" for column in range(1, columns + 1))
    # Every fifth, and the first: more do not fit side by side.
    line = [" "] * (columns * width + 2)
    for column in (1, *range(5, columns + 1, 5)):
        text = str(column)
        end = column * width
        line[max(0, end - len(text)) : end] = text
    return "".join(line).rstrip()


def _states(index: PlateIndex, marks: Marks) -> Mapping[str, str]:
    lacking = {str(key.well) for key in index.missing}
    there = {str(well) for well in index.wells}
    return {
        well: marks.lost if well not in there else marks.partial if well in lacking else marks.full
        for well in there | lacking
    }


def _all_wells(index: PlateIndex) -> set[str]:
    return {str(well) for well in index.wells} | {str(key.well) for key in index.missing}


def _place(well: str) -> tuple[int, int] | None:
    match = _WELL.fullmatch(well)
    if match is None:
        return None
    row = 0
    for letter in match[1]:
        row = row * 26 + ord(letter) - 64
    return row, int(match[2])
