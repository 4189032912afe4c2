"""Lookup tables of a real ImageJ, and colours for labels."""

from __future__ import annotations

import itertools
import logging
from typing import Any

import numpy as np
import pytest

from openhcs_viewers.fiji._luts import BUILT_IN, _lab, glasbey, lut, lut_name


def colours(table: Any) -> np.ndarray[Any, Any]:
    return np.array(table.getBytes()).view(np.uint8).reshape(3, 256).T


@pytest.mark.parametrize(
    ("name", "brightest"),
    [
        ("gray", (255, 255, 255)),
        ("Grays", (255, 255, 255)),
        ("blue", (0, 0, 255)),
        ("GREEN", (0, 255, 0)),
        ("magenta", (255, 0, 255)),
        ("cyan", (0, 255, 255)),
        ("yellow", (255, 255, 0)),
        ("red", (255, 0, 0)),
    ],
)
@pytest.mark.usefixtures("engine")
def test_our_words_are_imagejs_tables(name: str, brightest: tuple[int, ...]) -> None:
    assert colours(lut(name, (0.0, 1.0)))[[0, 255]].tolist() == [[0, 0, 0], list(brightest)]


@pytest.mark.usefixtures("engine")
def test_every_built_in_table_is_one_of_its_own() -> None:
    tables = {name: bytes(lut(name, (0.0, 1.0)).getBytes()) for name in BUILT_IN}
    assert len(set(tables.values())) == len(BUILT_IN)
    assert bytes(lut("Red/Green", (0.0, 1.0)).getBytes()) == tables["redgreen"]
    assert bytes(lut("3-3-2 RGB", (0.0, 1.0)).getBytes()) == tables["3-3-2 rgb"]


@pytest.mark.usefixtures("engine")
def test_a_table_carries_its_range_and_is_nobody_elses() -> None:
    first, second = lut("fire", (5.0, 50.0)), lut("fire", (1.0, 2.0))
    assert (float(first.min), float(first.max)) == (5.0, 50.0)
    assert (float(second.min), float(second.max)) == (1.0, 2.0)


@pytest.mark.usefixtures("engine")
def test_an_unknown_table_is_gray_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert [lut_name("no such table") for _ in range(3)] == ["grays"] * 3
    (record,) = caplog.records
    assert "no such table" in record.message
    assert "fire" in record.message


def test_colours_of_labels_are_told_apart() -> None:
    table = glasbey()
    assert table.shape == (256, 3)
    assert table[0].tolist() == [0, 0, 0]
    lab = _lab(table)
    distances = [np.linalg.norm(lab[a] - lab[b]) for a, b in itertools.combinations(range(256), 2)]
    assert min(distances) > 5.0  # 2.3 is what an eye just sees
    first = [np.linalg.norm(lab[a] - lab[b]) for a, b in itertools.combinations(range(12), 2)]
    assert min(first) > 40.0
    assert lab[1:, 0].min() >= 35.0  # on black


def test_colours_of_labels_never_change() -> None:
    assert glasbey()[1:5].tolist() == [[0, 255, 0], [78, 0, 255], [255, 0, 0], [0, 255, 255]]
    with pytest.raises(ValueError, match="read-only"):
        glasbey()[1] = 0


@pytest.mark.usefixtures("engine")
def test_labels_have_imagejs_form_of_them() -> None:
    assert np.array_equal(colours(lut("glasbey", (0.0, 255.0))), glasbey())
