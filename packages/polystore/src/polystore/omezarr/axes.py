"""What the indices of an axis mean: values in the order of their arrival, numbers in their own order where
possible."""

from __future__ import annotations

from collections.abc import Collection

from polystore.components import Value, value_order

__all__ = ["extended"]

GAPS = {"t": 1024, "c": 16, "z": 1024}
"""Longest axis on which numbers that have not come yet get a place already. Channels may be wavelengths."""


def extended(letter: str, values: list[Value], wanted: Collection[Value]) -> list[Value]:
    """The values of an axis with more of them, those that are there in their old places.

    Planes arrive in any order, from several processes, and an array's planes cannot be moved while somebody
    writes. So a number gets the place it will have when all are there: z step 3 of an empty axis makes room
    for 1 and 2, and the viewer's slider goes from bottom to top whoever writes first. Names, and numbers
    that do not fit such a row, go to the end.

    Parameters
    ----------
    letter
        ``"t"``, ``"c"`` or ``"z"``.
    values
        What is there.
    wanted
        What is needed.
    """
    new = sorted(set(wanted) - set(values), key=value_order)
    if not new:
        return values
    result = list(values)
    numbers = [value for value in new if isinstance(value, int)]
    if not result and numbers:
        result.append(_first(numbers, GAPS[letter]))
    for value in new:
        if isinstance(value, int):
            _add_number(result, value, GAPS[letter])
        elif value not in result:
            result.append(value)
    return result


def _first(numbers: list[int], longest: int) -> int:
    """The number the axis begins with: 1 where a single one is known, as those before it are likely to come."""
    if len(numbers) == 1 and 1 <= numbers[0] <= longest:
        return 1
    return numbers[0]


def _add_number(values: list[Value], value: int, longest: int) -> None:
    if value in values:
        return
    first, last = values[0], values[-1]
    in_row = isinstance(first, int) and isinstance(last, int) and last - first == len(values) - 1
    if (
        in_row
        and isinstance(last, int)
        and isinstance(first, int)
        and value > last
        and value - first < longest
    ):
        values.extend(range(last + 1, value + 1))
        return
    values.append(value)
