"""Regions of interest belong to a position, and what the user draws is kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from polystore.components import ImageKey
from polystore.rois import ROI, rois_to_wire

SQUARE = [[2, 2], [2, 6], [6, 6], [6, 2]]


def send(rig: Any, *rois: ROI, **options: Any) -> Any:
    return rig.send(kind="rois", rois=rois_to_wire(rois), **options)


def test_all_kinds_of_outlines(rig: Any) -> None:
    mask = np.zeros((9, 9), bool)
    mask[0:3, 0:3] = mask[6:9, 6:9] = True
    rois = [
        ROI("polygon", SQUARE, {"area": 16.0, "label": "a"}),
        ROI("polyline", [[0, 0], [1, 1], [2, 0]]),
        ROI("rectangle", [[1, 2], [5, 9]]),
        ROI("ellipse", [[1, 2], [5, 9]], {"area": 4.0}),
        ROI.from_mask(mask, properties={"area": 18.0}),
    ]
    rig.send(100, z=1)
    image = send(rig, *rois)
    rig.show()
    assert image.outcome == "displayed"
    layer = rig.layer(1)
    assert layer.name == "Step_01_blur_shapes"
    assert layer.shape_type == ["polygon", "path", "rectangle", "ellipse", "polygon", "polygon"]
    np.testing.assert_array_equal(layer.data[0], SQUARE)
    np.testing.assert_array_equal(layer.data[2], [[1, 2], [1, 9], [5, 9], [5, 2]])
    assert layer.data[5].min() == pytest.approx(5.5)  # the second part of the mask, half a pixel around
    areas = list(layer.features["area"])
    assert (areas[0], areas[4:]) == (16.0, [18.0, 18.0])
    assert rig.canvas()[..., 2].min() == 0  # yellow on white


def test_points(rig: Any) -> None:
    send(rig, ROI("point", [[1, 1], [2, 2]], {"n": 1}), ROI("point", [[5, 5]], {"n": 2}), well="A01")
    rig.show()
    layer = rig.layer()
    assert layer.name == "Step_01_blur_points"
    np.testing.assert_array_equal(layer.data, [[1, 1], [2, 2], [5, 5]])
    assert list(layer.features["n"]) == [1, 1, 2]


def test_regions_are_shown_where_they_belong_and_the_layer_is_never_made_anew(rig: Any) -> None:
    for well, count in (("A01", 2), ("B02", 5), ("C03", 0)):
        rig.send(10, well=well)
        send(rig, *[ROI("polygon", np.add(SQUARE, n)) for n in range(count)], well=well, path="outlines")
        send(rig, *[ROI("point", [[n, n]]) for n in range(count)], well=well, path="centres")
    rig.show()
    image, *layers = list(rig.model.layers)
    for index, count in ((0, 2), (1, 5), (2, 0), (1, 5)):
        rig.move(well=index)
        assert {type(layer).__name__: len(layer.data) for layer in layers} == {
            "Shapes": count,
            "Points": count,
        }
    assert list(rig.model.layers) == [image, *layers]
    rig.move(well=0)
    send(rig, ROI("polygon", SQUARE), well="A01", path="outlines")
    rig.show()
    assert {type(layer).__name__: len(layer.data) for layer in layers} == {"Shapes": 1, "Points": 2}


def test_regions_of_other_positions_cost_napari_nothing(rig: Any) -> None:
    for well in ("A01", "B02"):
        rig.send(10, well=well)
        send(rig, ROI("polygon", SQUARE), well=well)
    rig.show()
    changed: list[Any] = []
    rig.layer(1).events.data.connect(changed.append)
    for _ in range(5):
        assert send(rig, ROI("polygon", SQUARE), ROI("polygon", SQUARE), well="B02").outcome == "displayed"
    rig.show()
    assert changed == []
    rig.move(well=1)
    assert len(rig.layer(1).data) == 2


def test_a_layer_without_a_component_is_shown_at_each_of_its_values(rig: Any) -> None:
    for z in (1, 2, 3):
        rig.send(10, well="A01", z=z)
    send(rig, ROI("polygon", SQUARE), well="A01")
    rig.show()
    for index in range(3):
        rig.move(z=index)
        assert len(rig.layer(1).data) == 1


def test_what_the_user_draws_is_there_when_he_comes_back(rig: Any) -> None:
    for well in ("A01", "B02"):
        rig.send(10, well=well)
        send(rig, ROI("polygon", SQUARE, {"area": 16}), ROI("point", [[1, 1]]), well=well)
    rig.show()
    shapes, points = rig.layer(1), rig.layer(2)
    shapes.add_ellipses(np.array([[0, 0], [0, 4], [4, 4], [4, 0]]))
    points.add([7.0, 8.0])
    rig.move(well=1)
    assert len(shapes.data) == len(points.data) == 1
    rig.move(well=0)
    assert shapes.shape_type == ["polygon", "ellipse"]
    np.testing.assert_array_equal(points.data, [[1, 1], [7, 8]])
    kept = rig.scene.rois("layer-2", ("A01",))
    assert [roi.kind for roi in kept] == ["polygon", "ellipse"]
    assert kept[0].properties["area"] == 16


def test_scaled_like_the_pixels(rig: Any) -> None:
    from polystore.projection import DisplaySpec
    from polystore.streaming.messages import BatchContext

    context = BatchContext(run="run", display=DisplaySpec(scale=(0.5, 0.5)))
    send(rig, ROI("polygon", SQUARE), context=context)
    rig.show()
    assert tuple(rig.layer().scale) == (0.5, 0.5)


def test_what_the_user_drew_or_changed_comes_back(rig: Any) -> None:
    mask = np.zeros((9, 9), bool)
    mask[0:3, 0:3] = True
    streamed = [
        ROI("polygon", SQUARE, {"name": "a"}),
        ROI("rectangle", [[1, 2], [5, 9]]),
        ROI.from_mask(mask),
    ]
    for z in (1, 2):
        rig.send(10, well="A01", z=z)
        send(rig, *streamed, well="A01", z=z)
        send(rig, ROI("point", [[1, 1], [2, 2]]), well="A01", z=z, path="centres")
    rig.show()
    viewer = rig.viewer
    assert viewer.rois() == []
    assert len(viewer.rois("all")) == 8
    _, shapes, points = list(rig.model.layers)
    rig.model.dims.set_point(0, 0)
    shapes.add_polygons(np.add(SQUARE, 10.0))
    points.add([[7.0, 8.0]])
    found = viewer.rois()
    assert [(one.roi.kind, one.streamed) for one in found] == [("polygon", False), ("point", False)]
    np.testing.assert_array_equal(found[0].roi.points, np.add(SQUARE, 10.0))
    np.testing.assert_array_equal(found[1].roi.points, [[7, 8]])
    assert {one.key for one in found} == {ImageKey(well="A01", z=1)}
    assert found[0].layer == shapes.name
    # Elsewhere and back, and one more: the first is still his.
    rig.model.dims.set_point(0, 1)
    assert len(shapes.data) == 3
    rig.model.dims.set_point(0, 0)
    assert len(shapes.data) == 4
    shapes.data = [np.add(data, 1.0) if n == 0 else data for n, data in enumerate(shapes.data)]
    kinds = [one.roi.points.tolist() for one in viewer.rois() if one.roi.kind == "polygon"]
    assert np.add(SQUARE, 10.0).tolist() in kinds
    assert np.add(SQUARE, 1.0).tolist() in kinds
    # A stream that sends the position anew takes them back.
    send(rig, *streamed, well="A01", z=1)
    rig.show()
    assert [one.roi.kind for one in viewer.rois()] == ["point"]


def test_layers_the_user_made_himself_are_looked_at(rig: Any) -> None:
    for z in (4, 7):
        rig.send(10, well="A01", z=z)
    rig.show()
    rig.model.add_points(np.array([[1.0, 3.0, 4.0]]), name="his")  # a slider, y and x
    rig.model.add_shapes([np.array(SQUARE, float)], shape_type="polygon", name="flat")
    points, shape = rig.viewer.rois()
    assert (points.layer, points.layer_id, points.key.z) == ("his", "", 7)
    assert (shape.layer, shape.roi.kind, shape.roi.place.z) == ("flat", "polygon", shape.key.z)
