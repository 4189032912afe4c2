"""Tables (``.csv``, ``.tsv``), structured values (``.json``) and text (``.txt``), all in UTF-8."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, BinaryIO

import msgspec
import numpy as np

from polystore.components import ImageKey
from polystore.errors import CorruptFileError, UnsupportedFormatError
from polystore.payload.arrays import as_host_array, is_array
from polystore.rois import ROI

__all__ = ["read", "write"]

_DELIMITERS = {".csv": ",", ".tsv": "\t"}


def write(stream: BinaryIO, suffix: str, value: Any, *, header: bool = True) -> None:
    """Write a text, a structured value or a table.

    A table is a list of dicts (one per row; the columns are all keys, in the order in which they first
    come), a list of lists, or a two-dimensional array. ``header=False`` leaves the row of column names out;
    lists and arrays have none. JSON has no NaN and no infinity: they become null.
    """
    if suffix == ".txt":
        if not isinstance(value, str):
            raise UnsupportedFormatError(f"{type(value).__name__}: .txt holds a str")
        stream.write(value.encode("utf-8"))
    elif suffix == ".json":
        stream.write(_to_json(value))
    else:
        _write_table(stream, value, _DELIMITERS[suffix], header)


def read(stream: BinaryIO, suffix: str, *, header: bool = True, typed: bool = True) -> Any:
    """The text, the value, or the rows of the table.

    Rows are dicts, or lists with ``header=False``. With ``typed`` a cell that reads like a Python int,
    float or bool becomes one and an empty cell None; else every cell is a str.
    """
    content = stream.read()
    if suffix == ".json":
        return msgspec.json.decode(content)
    text = content.decode("utf-8")
    if suffix == ".txt":
        return text
    rows = list(
        csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), delimiter=_DELIMITERS[suffix])
    )
    convert = _parse_cell if typed else str
    cells: list[list[Any]] = [[convert(cell) for cell in row] for row in rows]
    if not header:
        return cells
    if not rows:
        return []
    columns = rows[0]
    for number, row in enumerate(cells[1:], start=2):
        if len(row) != len(columns):
            raise CorruptFileError(f"row {number} has {len(row)} cells for {len(columns)} columns")
    return [dict(zip(columns, row, strict=True)) for row in cells[1:]]


def _to_json(value: Any) -> bytes:
    try:
        return msgspec.json.format(msgspec.json.encode(_unpacked(value), enc_hook=_plain), indent=2)
    except (TypeError, ValueError, OverflowError, RecursionError) as exc:
        raise UnsupportedFormatError(f"{type(value).__name__} is no JSON: {exc}") from exc


def _unpacked(value: Any) -> Any:
    """The same with regions and keys in their plain form; msgspec would write them field by field."""
    if isinstance(value, ROI):
        return value.to_wire()
    if isinstance(value, ImageKey):
        return value.as_dict()
    if isinstance(value, dict):
        return {name: _unpacked(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_unpacked(item) for item in value]
    return value


def _plain(value: Any) -> Any:
    """What else the results of an analysis hold: NumPy's numbers and arrays."""
    if isinstance(value, np.generic):
        return value.item()
    if is_array(value):
        return as_host_array(value).tolist()
    raise TypeError(f"it holds a {type(value).__name__}")


def _write_table(stream: BinaryIO, value: Any, delimiter: str, header: bool) -> None:
    columns, rows = _rows(value)
    text = io.TextIOWrapper(stream, encoding="utf-8", newline="", write_through=True)
    plain = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    quoted = csv.writer(text, delimiter=delimiter, lineterminator="\n", quoting=csv.QUOTE_ALL)
    if header and columns is not None:
        rows = [columns, *rows]
    for row in rows:
        cells = [_format_cell(cell) for cell in row]
        # The csv module quotes no carriage return when lines end in "\n", and then reads it as the end of a line.
        (quoted if any("\r" in cell for cell in cells) else plain).writerow(cells)
    text.detach()  # the stream is the caller's to close


def _rows(value: Any) -> tuple[list[str] | None, Iterable[Sequence[Any]]]:
    if is_array(value):
        array = as_host_array(value)
        if array.ndim != 2:
            raise UnsupportedFormatError(f"an array of shape {array.shape}: a table has two dimensions")
        return None, array.tolist()
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        if all(isinstance(row, Mapping) for row in value):
            columns = list(dict.fromkeys(str(name) for row in value for name in row))
            return columns, [
                [{str(k): v for k, v in row.items()}.get(name) for name in columns] for row in value
            ]
        if all(isinstance(row, Sequence) and not isinstance(row, str | bytes) for row in value):
            return None, value
    raise UnsupportedFormatError(
        f"{type(value).__name__}: a table is a list of dicts, a list of lists or a two-dimensional array"
    )


def _format_cell(cell: Any) -> str:
    if cell is None:
        return ""
    if isinstance(cell, np.generic):
        cell = cell.item()
    if isinstance(cell, str | int | float | bool):
        return str(cell)
    raise UnsupportedFormatError(
        f"a cell of type {type(cell).__name__}: cells are text, numbers, bool or None"
    )


def _parse_cell(cell: str) -> str | int | float | bool | None:
    if cell in _WORDS:
        return _WORDS[cell]
    if cell[0] in "-0123456789in":
        # Only what we would write the same way: '007' stays text, so does '1e3'.
        for number in (int, float):
            try:
                parsed = number(cell)
            except ValueError:
                continue
            if str(parsed) == cell:
                return parsed
    return cell


_WORDS: dict[str, bool | None] = {"": None, "True": True, "False": False}
