"""Tables on the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

__all__ = ["print_table", "table_lines"]


def print_table(headings: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print rows under headings, in columns as wide as their widest cell."""
    for line in table_lines(headings, rows):
        print(line)


def table_lines(headings: Sequence[str], rows: Sequence[Sequence[Any]]) -> Iterator[str]:
    """The lines that `print_table` prints."""
    table = [headings, *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(headings))]
    for row in table:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
