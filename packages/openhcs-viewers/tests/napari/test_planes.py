"""The lazy array behaves as the stack it stands for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openhcs_viewers.napari._planes import Planes
from openhcs_viewers.store import PlaneStore
from polystore.components import Component
from polystore.projection import LayerPlan

AXES = ((Component.WELL, ("A01", "B02", "C03")), (Component.Z, (1, 5)))
SHAPE = (4, 5)


def make(
    kind: str = "image", dtype: str = "int32", components: Any = (Component.WELL, Component.Z)
) -> tuple[Planes, np.ndarray[Any, Any]]:
    """A layer with a hole at (C03, 5), and the same as one array."""
    store = PlaneStore(2**22)
    values = dict(AXES)
    whole = np.arange(3 * 2 * 4 * 5).reshape(3, 2, *SHAPE).astype(dtype)
    whole[2, 1] = 0
    for at, well in enumerate(values[Component.WELL]):
        for step, z in enumerate(values[Component.Z]):
            if (at, step) != (2, 1):
                store.put("layer", (well, z), whole[at, step])
    plan = LayerPlan(
        "layer", "name", kind, components, tuple((which, values[which]) for which in components), SHAPE, dtype
    )
    return Planes(store, plan, AXES), whole


KEYS: list[Any] = [
    (0, 1),
    (2, 1),
    (-1, 0, 2),
    (slice(None), 0),
    (0, slice(0, 1)),
    (slice(0, 1), slice(1, 2), slice(None), slice(1, 4)),
    (slice(None, None, 2), slice(None)),
    (slice(3, 1), 0),
    (Ellipsis, 3),
    (1, Ellipsis, slice(1, 3), 0),
    (slice(None), slice(None), 2, 3),
    (1, 1, slice(None, None, -1)),
    Ellipsis,
    2,
    (np.int64(1), np.uint8(0)),
    (np.array([0, 1, 2]), np.array([0, 1, 1]), np.array([0, 1, 2]), np.array([4, 3, 2])),
    (2, 0, np.array([[0, 1], [2, 3]]), np.array([[0, 0], [1, 1]])),
]


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_reading(key: Any) -> None:
    planes, whole = make()
    found = planes[key]
    np.testing.assert_array_equal(found, whole[key])
    assert np.asarray(found).dtype == whole.dtype


@pytest.mark.parametrize("key", KEYS, ids=str)
@pytest.mark.parametrize("array", [False, True])
def test_painting(key: Any, array: bool) -> None:
    planes, whole = make("labels")
    value = np.arange(whole[key].size).reshape(whole[key].shape) + 1000 if array else 7
    planes[key] = value
    whole[key] = value
    np.testing.assert_array_equal(np.asarray(planes), whole)


INDEX = st.one_of(st.integers(-2, 1), st.slices(2))


@settings(max_examples=200, deadline=None)
@given(key=st.tuples(INDEX, INDEX, INDEX, INDEX), length=st.integers(0, 4))
def test_reading_as_numpy_does(key: Any, length: int) -> None:
    planes, whole = make()
    np.testing.assert_array_equal(planes[key[:length]], whole[key[:length]])


def test_one_plane_is_handed_out_by_reference() -> None:
    planes, _ = make()
    kept = planes._store.get("layer", ("A01", 5))
    assert planes[0, 1] is kept
    assert np.shares_memory(planes[0:1, 1:2], kept)
    assert np.shares_memory(planes[0, 1, 1:3], kept)


def test_a_missing_plane_costs_no_memory() -> None:
    planes, _ = make()
    assert planes[2, 1].strides == (0, 0)
    assert not planes[2, 1].any()


def test_a_slider_the_layer_lacks_shows_the_same_at_each_value() -> None:
    planes, _ = make(components=(Component.WELL,))
    planes._store.put("layer", ("B02",), np.full(SHAPE, 9, np.int32))
    assert planes.shape == (3, 2, *SHAPE)
    assert planes[1, 0] is planes[1, 1]
    assert planes[1, 1][0, 0] == 9


def test_a_component_without_a_slider_has_its_one_value() -> None:
    store = PlaneStore(2**20)
    store.put("layer", ("E07", 5), np.ones(SHAPE, np.uint8))
    plan = LayerPlan(
        "layer",
        "name",
        "image",
        (Component.WELL, Component.Z),
        ((Component.WELL, ("E07",)), (Component.Z, (5,))),
        SHAPE,
        "uint8",
    )
    planes = Planes(store, plan, ())
    assert planes.shape == SHAPE
    assert planes[:, :].all()
    planes.change(plan, ((Component.Z, (3, 5)),))
    assert not planes[0].any()
    assert planes[1].all()


def test_values_inserted_before_others_move_nothing() -> None:
    planes, whole = make()
    planes.change(planes.plan, ((Component.WELL, ("A00", "A01", "B02", "C03")), (Component.Z, (1, 2, 5))))
    assert planes.shape == (4, 3, *SHAPE)
    np.testing.assert_array_equal(planes[1:, ::2], whole)
    assert not planes[0].any()
    assert not planes[:, 1].any()


@pytest.mark.parametrize(
    ("stored", "kind", "shown"),
    [
        ("complex64", "image", "float32"),
        ("complex128", "image", "float64"),
        ("bool", "labels", "uint8"),
        ("bool", "image", "bool"),
    ],
)
def test_what_napari_cannot_show_is_turned_into_what_it_can(stored: str, kind: str, shown: str) -> None:
    store = PlaneStore(2**20)
    store.put("layer", (), np.full(SHAPE, 3 + 4j if stored.startswith("c") else True, stored))
    planes = Planes(store, LayerPlan("layer", "name", kind, (), (), SHAPE, stored), ())
    assert planes.dtype == planes[:].dtype == np.dtype(shown)
    assert planes[0, 0] == (5 if stored.startswith("c") else 1)


def test_masks_are_painted_as_masks() -> None:
    store = PlaneStore(2**20)
    store.put("layer", (), np.zeros(SHAPE, bool))
    planes = Planes(store, LayerPlan("layer", "name", "labels", (), (), SHAPE, "bool"), ())
    planes[1, 1] = 1
    kept = store.get("layer", ())
    assert kept is not None
    assert kept.dtype == bool
    assert kept[1, 1]


def test_padding_is_read_and_not_kept() -> None:
    store = PlaneStore(2**20)
    store.put("layer", (1,), np.ones((2, 3), np.uint8))
    plan = LayerPlan("layer", "name", "image", (Component.Z,), ((Component.Z, (1, 2)),), (4, 4), "uint8")
    planes = Planes(store, plan, ((Component.Z, (1, 2)),))
    assert planes[0].sum() == 6
    assert planes[0, :2, :3].all()
    kept = store.get("layer", (1,))
    assert kept is not None
    assert kept.shape == (2, 3)


def test_what_is_no_index() -> None:
    planes, _ = make()
    for key in [(3,), (0, -3), (0, 0, 0, 0, 0)]:
        with pytest.raises(IndexError):
            planes[key]
    with pytest.raises(IndexError, match="mixed"):
        planes[0, 0, np.array([1]), :]
    with pytest.raises(ValueError, match="copy"):
        np.asarray(planes, copy=False)


def test_as_an_array() -> None:
    planes, whole = make()
    assert (len(planes), planes.ndim, planes.size, planes.nbytes) == (3, 4, whole.size, whole.nbytes)
    assert np.asarray(planes, dtype=np.float64).dtype == np.float64
    assert np.mean(planes) == np.mean(whole)
