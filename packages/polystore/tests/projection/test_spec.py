"""How a batch wants to be shown: parsed once, hashable, the same after a trip over the wire."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest

from polystore.components import Component
from polystore.errors import ComponentError, ProjectionError
from polystore.projection import ComponentModes, DimensionMode, DisplaySpec, VariableSize


def test_defaults_are_the_seeds() -> None:
    spec = DisplaySpec()
    assert (spec.colormap, spec.variable_size) == ("gray", VariableSize.SEPARATE_LAYERS)
    layered = [which for which in Component if spec.modes[which] is DimensionMode.LAYER]
    assert layered == [Component.CHANNEL]
    assert not spec.replace_layers
    assert not spec.follow


def test_slice_is_another_name_of_layer() -> None:
    assert DimensionMode("slice") is DimensionMode.LAYER
    assert DimensionMode.SLICE is DimensionMode.LAYER
    assert DisplaySpec(modes={"site": "slice"}).modes[Component.FIELD] is DimensionMode.LAYER


def test_modes_are_a_value() -> None:
    one, two = ComponentModes({"well": "layer"}), ComponentModes({"well": "LAYER"})
    assert one == two
    assert hash(one) == hash(two)
    assert one != ComponentModes()
    assert copy.deepcopy(one) == one
    assert len(one) == len(Component)
    assert repr(one) == "ComponentModes({'well': 'layer'})"


SPECS = [
    DisplaySpec(),
    DisplaySpec(colormap="magma", modes={"well": "layer", "channel": "stack"}, follow=True),
    DisplaySpec(variable_size="pad_to_max", scale=(0.65, 0.65), replace_layers=True),
    DisplaySpec(dimensions={"well": "frame", "site": "z"}, channel_display="grayscale"),
    DisplaySpec(scale=(0.65, 0.65), z_step=2.0, frame_interval=60.0),
]


@pytest.mark.parametrize("spec", SPECS)
def test_the_wire_changes_nothing(spec: DisplaySpec) -> None:
    again = DisplaySpec.from_wire(spec.to_wire())
    assert again == spec
    assert hash(again) == hash(spec)


def test_a_newer_senders_words_are_ignored() -> None:
    assert DisplaySpec.from_wire({"follow": True, "sparkle": 3}) == DisplaySpec(follow=True)


@pytest.mark.parametrize(
    ("wire", "error"),
    [
        ({"colormap": ""}, ProjectionError),
        ({"colormap": 3}, ProjectionError),
        ({"colormap": "x" * 101}, ProjectionError),
        ({"variable_size": "shrink"}, ProjectionError),
        ({"modes": {"well": "both"}}, ProjectionError),
        ({"modes": {"frequency": "layer"}}, ComponentError),
        ({"modes": 5}, ProjectionError),
        ({"follow": "yes"}, ProjectionError),
        ({"replace_layers": 1}, ProjectionError),
        ({"scale": [1]}, ProjectionError),
        ({"scale": [0, 1]}, ProjectionError),
        ({"scale": [math.nan, 1]}, ProjectionError),
        ({"scale": ["a", "b"]}, ProjectionError),
        ({"dimensions": {"well": "layer"}}, ProjectionError),
        ({"dimensions": 5}, ProjectionError),
        ({"channel_display": "all"}, ProjectionError),
        ({"z_step": 0}, ProjectionError),
        ({"z_step": "far"}, ProjectionError),
        ({"frame_interval": math.inf}, ProjectionError),
        ([1, 2], ProjectionError),
    ],
)
def test_what_means_nothing_is_refused(wire: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        DisplaySpec.from_wire(wire)


def test_the_text_names_what_is_known() -> None:
    with pytest.raises(ProjectionError, match=r"mode of well='both' is not known \(known: layer, stack\)"):
        DisplaySpec(modes={"well": "both"})
