"""One line: planes of any array on sliders, in a viewer that is launched or reused."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

import openhcs_viewers
from openhcs_viewers import show
from openhcs_viewers.handle import ViewerHandle
from openhcs_viewers.launcher import list_viewers
from polystore.errors import ComponentError, ProjectionError, UnsupportedArrayError


def layers(handle: ViewerHandle) -> dict[str, dict[str, Any]]:
    sender = handle.sender()
    handle.settle()
    assert sender.stats.displayed + sender.stats.superseded == sender.stats.sent
    return {layer["name"]: layer for layer in handle.state()["layers"]}


def test_a_plane_is_one_layer_in_a_viewer_that_is_reused() -> None:
    array = np.arange(12, dtype=np.uint16).reshape(3, 4)
    handle = show(array, viewer="recording", name="first")
    assert show(array, viewer="recording", name="second").pid == handle.pid
    found = layers(handle)
    assert set(found) == {"first", "second"}
    assert found["first"]["plane_shape"] == [3, 4]
    assert len(list_viewers()) == 1


def test_the_same_name_again_replaces_what_is_shown() -> None:
    handle = show(np.zeros((3, 4)), viewer="recording", name="mine")
    show(np.ones((3, 4)), viewer=handle, name="mine")
    (layer,) = layers(handle).values()
    assert layer["planes"] == 1


def test_without_a_name_each_call_makes_a_layer() -> None:
    handle = show(np.zeros((3, 4)), viewer="recording")
    show(np.ones((3, 4)), viewer=handle)
    names = list(layers(handle))
    assert len(names) == 2
    assert all(name.startswith("array_") for name in names)


def test_leading_axes_become_sliders_and_channels_layers() -> None:
    handle = show(np.zeros((2, 3, 5, 4, 6), np.uint8), viewer="recording", name="five")
    found = layers(handle)
    assert set(found) == {f"five_Channel_{channel}" for channel in range(3)}
    assert found["five_Channel_0"]["axes"] == {"t": [0, 1], "z": [0, 1, 2, 3, 4]}
    assert all(layer["planes"] == 10 for layer in found.values())


def test_axes_can_be_named() -> None:
    handle = show(np.zeros((2, 3, 4, 6), np.uint8), viewer="recording", name="named", axes="ftyx", well="b2")
    (layer,) = layers(handle).values()
    assert layer["axes"] == {"well": ["B02"], "field": [0, 1], "t": [0, 1, 2]}


def test_a_colour_picture_is_one_plane_and_a_stack_of_them_is_named() -> None:
    handle = show(np.zeros((5, 6, 3), np.uint8), viewer="recording", name="colour")
    show(np.zeros((2, 5, 6, 4), np.uint8), viewer=handle, name="stack", axes="zyxs")
    found = layers(handle)
    assert found["colour"]["plane_shape"] == [5, 6, 3]
    assert found["stack"]["plane_shape"] == [5, 6, 4]
    assert found["stack"]["planes"] == 2


def test_how_it_is_shown_can_be_said() -> None:
    handle = show(
        np.zeros((3, 4), np.uint16),
        viewer="recording",
        name="look",
        colormap="magma",
        contrast=(10, 20),
        channel="DAPI",
    )
    show(np.zeros((3, 4), np.uint16), viewer=handle, name="cells", kind="labels")
    found = layers(handle)
    assert found["look_Channel_DAPI"]["colormap"] == "magma"
    assert found["look_Channel_DAPI"]["contrast"] == [10.0, 20.0]
    assert found["cells_labels"]["kind"] == "labels"


@pytest.mark.parametrize(
    ("array", "options", "error", "text"),
    [
        ("text", {}, UnsupportedArrayError, "no array"),
        (np.array([None]), {}, UnsupportedArrayError, "Python objects"),
        (np.zeros(3), {}, ProjectionError, "at least two axes"),
        (np.zeros((2,) * 6), {}, ProjectionError, "axes before"),
        (np.zeros((2, 3, 4)), {"axes": "yx"}, ProjectionError, "axes='yx' does not fit"),
        (np.zeros((2, 3, 4)), {"axes": "qyx"}, ProjectionError, "a letter per axis"),
        (np.zeros((2, 2, 3, 4)), {"axes": "zzyx"}, ProjectionError, "each once"),
        (np.zeros((3, 4)), {"wavelenght": 3}, ComponentError, "unknown component 'wavelenght'"),
    ],
)
def test_what_cannot_be_shown_is_refused_before_a_viewer_is_started(
    array: Any, options: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        show(array, viewer="recording", **options)
    assert list_viewers() == []


def test_the_name_can_be_called_whatever_was_imported_first() -> None:
    module = importlib.import_module("openhcs_viewers.show")
    assert callable(openhcs_viewers.show)
    handle = module(np.zeros((3, 4)), viewer="recording")
    assert handle.is_alive()
