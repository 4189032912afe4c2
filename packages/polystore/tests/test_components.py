from __future__ import annotations

import pickle  # noqa: TID251
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polystore.components import ALIASES, Component, ImageKey, canonical, component, value_order, well_name
from polystore.errors import ComponentError


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("site", "s1", 1), ("site", "001", 1), ("site", 1, 1), ("field", "F01", 1), ("field", "site_2", 2),
        ("z_index", "z003", 3), ("z", "ZStep_10", 10), ("z", "3", 3), ("z", 0, 0),
        ("timepoint", "t001", 1), ("t", "TimePoint_2", 2), ("t", "sk4", 4),
        ("channel", "DAPI", "DAPI"), ("channel", "w1", 1), ("channel", "ch02", 2), ("channel", "c000", 0),
        ("channel", "001", 1), ("channel", " DAPI ", "DAPI"), ("channel", "w", "w"), ("channel", "Cy5", "Cy5"),
        ("channel", "405 nm", "405 nm"), ("z", "top", "top"), ("field", "s1a", "s1a"),
        ("well", "A01", "A01"), ("well", "a01", "A01"), ("well", "a1", "A01"), ("well", "AF48", "AF48"),
        ("well", "row 1", "row 1"), ("well", 5, "5"), ("plate", 123, "123"), ("plate", "001", "001"),
        ("acquisition", "s1", "s1"), ("z", np.int64(3), 3), ("channel", np.uint8(3), 3), ("t", "1" * 30, "1" * 30),
    ],
)  # fmt: skip
def test_values_are_understood(name: str, value: Any, expected: Any) -> None:
    found = canonical(component(name), value)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    "bad", [True, 1.0, -1, 2**63, "", "  ", "a\0", "a\nb", "x" * 256, b"s1", [1], {}, 1j]
)
@pytest.mark.parametrize("name", ["plate", "well", "field", "channel"])
def test_other_values_are_refused_by_name(name: str, bad: Any) -> None:
    with pytest.raises(ComponentError, match=f"^{name}="):
        ImageKey.of(**{name: bad})
    with pytest.raises(ComponentError, match=f"^{name}="):
        ImageKey(**{name: bad})


def test_true_is_not_taken_for_a_cached_one() -> None:
    assert canonical(Component.Z, 1) == 1
    with pytest.raises(ComponentError):
        canonical(Component.Z, True)


def test_names_of_components() -> None:
    assert component("Z-Index") is Component.Z
    assert component("time point") is Component.T
    assert component(Component.WELL) is Component.WELL
    assert str(Component.FIELD) == "field"
    for name, which in ALIASES.items():
        assert component(name) is component(name.upper()) is which
    for bad in ("frequency", "", None, 3):
        with pytest.raises(ComponentError, match="known: plate"):
            component(bad)  # type: ignore[arg-type]


def test_the_seeds_metadata() -> None:
    key = ImageKey.of(well="A01", site="s1", channel="DAPI", z_index="z003", timepoint="t001")
    assert key == ImageKey(well="A01", field=1, channel="DAPI", z=3, t=1)
    assert key.as_dict() == {"well": "A01", "field": 1, "channel": "DAPI", "z": 3, "t": 1}
    assert list(key.as_dict()) == ["well", "field", "channel", "z", "t"]
    assert str(key) == "well=A01, field=1, channel=DAPI, z=3, t=1"
    assert str(ImageKey()) == "(no components)"


def test_the_constructor_settles_values_too() -> None:
    assert ImageKey(well="a1", field="s001", z="z3") == ImageKey.of(well="A01", site=1, z_index=3)  # type: ignore[arg-type]


def test_get_and_replace() -> None:
    key = ImageKey.of(well="A01", site=1)
    assert key.get("site") == key.get(Component.FIELD) == key.get("field") == 1
    assert key.get("z") is None
    assert key.replace(site="s2", z_index=None) == ImageKey.of(well="A01", field=2)
    assert key.replace(site=None) == ImageKey.of(well="A01")
    with pytest.raises(ComponentError, match="given twice"):
        key.replace(site=1, field=2)
    with pytest.raises(ComponentError):
        key.replace(frequency=1)


def test_two_names_of_one_component() -> None:
    assert ImageKey.of(site="s1", field=1) == ImageKey.of(field=1)
    assert ImageKey.of(site=None, field=1) == ImageKey.of(field=1)
    with pytest.raises(ComponentError, match="field given twice"):
        ImageKey.of(site=1, field=2)


def test_order() -> None:
    values: list[Any] = ["DAPI", 10, None, 2, "Cy5"]
    assert sorted(values, key=value_order) == [None, 2, 10, "Cy5", "DAPI"]
    keys = [ImageKey.of(well=well, site=site) for well in ("B01", "A01") for site in (10, 9, None)]
    ordered = sorted(keys, key=ImageKey.sort_key)
    assert [(key.well, key.field) for key in ordered[:3]] == [("A01", None), ("A01", 9), ("A01", 10)]


def test_well_names() -> None:
    assert [well_name(1, 1), well_name(8, 12), well_name(26, 1), well_name(27, 2), well_name(32, 48)] == [
        "A01", "H12", "Z01", "AA02", "AF48",
    ]  # fmt: skip
    for row, column in ((0, 1), (1, 0), (26 * 27 + 1, 1), (1, 1000)):
        with pytest.raises(ComponentError):
            well_name(row, column)


VALUES = st.one_of(
    st.none(),
    st.integers(0, 2**63 - 1),
    st.from_regex(r"\A(?:s|z|t|w)?[0-9]{1,6}\Z"),
    st.sampled_from(["DAPI", "a01"]),
)


@given(st.fixed_dictionaries({member.value: VALUES for member in Component}))
def test_a_key_is_settled_once_and_for_all(components: dict[str, Any]) -> None:
    key = ImageKey.of(**components)
    assert ImageKey.of(**key.as_dict()) == key
    assert ImageKey(**key.as_dict()) == key
    assert key.replace() == key
    assert pickle.loads(pickle.dumps(key)) == key
    assert hash(ImageKey.of(**key.as_dict())) == hash(key)
    assert set(key.as_dict()) == {name for name, value in components.items() if value is not None}


@given(st.text() | st.integers() | st.floats() | st.binary() | st.booleans())
def test_anything_is_settled_or_refused(value: Any) -> None:
    for which in Component:
        try:
            settled = canonical(which, value)
        except ComponentError:
            continue
        assert canonical(which, settled) == settled
