"""The ``.HTD`` file of a MetaXpress plate: size of the plate, what was to be acquired, names of the wavelengths."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

from polystore.components import Value, well_name
from polystore.errors import ComponentError, CorruptFileError

__all__ = ["HtdFile", "read_htd"]

MAX_BYTES = 1 << 22
"""Largest file read; real ones have some kilobytes, 1,536 wells some ten."""

MAX_ROWS, MAX_COLUMNS = 702, 999
"""Largest plate: rows A to ZZ, and columns of three digits."""


@dataclass(frozen=True, slots=True)
class HtdFile:
    """What an HTD file says; None or empty where it is silent.

    Parameters
    ----------
    rows, columns
        Of the whole plate.
    wells
        Names of the wells that were selected.
    sites
        How many sites of each well were selected.
    time_points
        How many were to be taken.
    wave_names
        Number of the wavelength (from 1) to its name.
    """

    rows: int | None = None
    columns: int | None = None
    wells: tuple[str, ...] = ()
    sites: int | None = None
    time_points: int | None = None
    wave_names: Mapping[Value, str] = field(default_factory=dict)


def read_htd(stream: BinaryIO, path: str) -> HtdFile:
    """What an HTD file says.

    Raises
    ------
    CorruptFileError
        It is none; the text names the file and the line.
    """
    content = stream.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise CorruptFileError(f"{path} is larger than {MAX_BYTES} bytes, too much for an HTD file")
    lines = content.decode("utf-8-sig", "replace").splitlines()
    if not lines or not lines[0].startswith('"HTSInfoFile"'):
        raise CorruptFileError(
            f'{path}, line 1: not an HTD file: its first line does not begin with "HTSInfoFile"'
        )
    values: dict[str, tuple[int, list[str]]] = {}
    rows_of_cells = csv.reader(lines, skipinitialspace=True)
    try:
        for row in rows_of_cells:
            if row:
                values.setdefault(row[0], (rows_of_cells.line_num, [cell.strip() for cell in row[1:]]))
    except csv.Error as exc:
        raise CorruptFileError(f"{path}, line {rows_of_cells.line_num}: {exc}") from exc

    def whole(name: str) -> int | None:
        if name not in values or not values[name][1] or not values[name][1][0]:
            return None
        line, cells = values[name]
        if not cells[0].isascii() or not cells[0].isdigit():
            raise CorruptFileError(f"{path}, line {line}: {name} is {cells[0][:40]!r}, not a number")
        return int(cells[0])

    def marked(name: str) -> list[bool]:
        return [cell.upper() == "TRUE" for cell in values.get(name, (0, []))[1]]

    rows, columns = whole("YWells"), whole("XWells")
    if (rows or 0) > MAX_ROWS or (columns or 0) > MAX_COLUMNS:
        line = values["YWells" if (rows or 0) > MAX_ROWS else "XWells"][0]
        raise CorruptFileError(f"{path}, line {line}: a plate of {rows} x {columns} wells")
    wells = []
    for row_number in range(1, (rows or 0) + 1):
        for column, selected in enumerate(marked(f"WellsSelection{row_number}"), start=1):
            if selected:
                try:
                    wells.append(well_name(row_number, column))
                except ComponentError as exc:
                    line = values[f"WellsSelection{row_number}"][0]
                    raise CorruptFileError(f"{path}, line {line}: {exc}") from exc
    site_rows = [marked(f"SiteSelection{row}") for row in range(1, min(whole("YSites") or 0, 100) + 1)]
    selected_sites = sum(map(sum, site_rows)) or None
    if marked("Sites") == [False]:
        selected_sites = 1
    names: dict[Value, str] = {
        wave: cells[0]
        for wave in range(1, min(whole("NWavelengths") or 0, 99) + 1)
        if (cells := values.get(f"WaveName{wave}", (0, []))[1]) and cells[0]
    }
    return HtdFile(rows, columns, tuple(wells), selected_sites, whole("TimePoints"), names)
