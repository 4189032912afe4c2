"""The block ``image-label``, checked by a reader that is not ours."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from yaozarrs import v04, v05

from polystore.errors import RoiError
from polystore.labels import (
    image_label,
    label_colors,
    label_properties,
    labels_to_rois,
    measure_labels,
    read_image_label,
)
from polystore.rois import ROI

LABELS = np.array([[[1, 1, 0], [0, 5, 5]], [[1, 0, 0], [0, 0, 5]]])


def test_a_block_of_regions() -> None:
    rois = labels_to_rois(LABELS, properties={1: {"class": "cell", "round": True, "score": 0.5}})
    block = image_label(colors={5: (255, 0, 0), 1: (0, 0, 9, 128)}, properties=rois)
    assert block == {
        "colors": [
            {"label-value": 1, "rgba": [0, 0, 9, 128]},
            {"label-value": 5, "rgba": [255, 0, 0, 255]},
        ],
        "properties": [
            {"label-value": 1, "area": 3, "class": "cell", "round": True, "score": 0.5},
            {"label-value": 5, "area": 3},
        ],
        "source": {"image": "../../"},
    }
    assert json.loads(json.dumps(block)) == block
    assert read_image_label(block) == (
        {1: (0, 0, 9, 128), 5: (255, 0, 0, 255)},
        {1: {"area": 3, "class": "cell", "round": True, "score": 0.5}, 5: {"area": 3}},
    )


def test_another_reader_accepts_it() -> None:
    table = measure_labels(LABELS)
    rows = {row["label"]: row for row in table.rows()}
    for version, accept in (
        ("0.4", v04.ImageLabel.model_validate),
        ("0.5", v05.ImageLabel.model_validate),
    ):
        block = image_label(colors=label_colors(rows), properties=rows, version=version)
        assert (block.get("version") == "0.4") == (version == "0.4")
        read = accept(block).model_dump(by_alias=True, mode="json")
        assert [entry["label-value"] for entry in read["colors"]] == [1, 5]
        assert [list(entry["rgba"]) for entry in read["colors"]] == [
            list(colour) for colour in label_colors(rows).values()
        ]
        assert read["properties"][0]["label-value"] == 1


def test_what_planes_say_differently_is_left_out() -> None:
    def roi(**properties: Any) -> ROI:
        return ROI("point", [[0, 0]], {"label": 1, **properties})

    rois = [
        roi(area=3, mean=1.0, name="a", n=1),
        roi(area=4, mean=2.0, name="a", n=True),
        roi(name="a", area=1),
    ]
    assert label_properties(rois) == {1: {"area": 8, "name": "a"}}
    for label in (None, True, 1.0):
        with pytest.raises(RoiError, match="whole number"):
            label_properties([ROI("point", [[0, 0]], {"label": label})])


def test_colours_are_distinct_and_stay() -> None:
    colours = label_colors(range(1, 201))
    assert colours == label_colors(range(1, 201))
    assert len(set(colours.values())) > 190
    for label in range(1, 200):
        assert sum(abs(a - b) for a, b in zip(colours[label], colours[label + 1], strict=True)) > 100


def test_what_the_block_cannot_hold() -> None:
    for arguments, text in (
        ({"colors": {1: (1, 2)}}, "red, green"), ({"colors": {1: (1, 2, 300)}}, "0 to 255"),
        ({"colors": {-1: (1, 2, 3)}}, "from 0"), ({"properties": {1: {"label-value": 3}}}, "rename"),
        ({"properties": {1: {"mean": float("nan")}}}, "use None"), ({"properties": {1.5: {}}}, "whole"),
        ({"properties": {True: {}}}, "whole"),
    ):  # fmt: skip
        with pytest.raises(RoiError, match=text):
            image_label(**arguments)
    assert image_label(source=None) == {}


def test_blocks_of_others_are_read_as_far_as_they_go() -> None:
    block = {
        "colors": [{"label-value": 1}, {"label-value": 2, "rgba": [1, 2, 3, 4]}, {"rgba": [1, 2, 3, 4]}, 3],
        "properties": [{"label-value": 2, "class": ["a", "b"]}, {"class": "x"}, None],
    }
    assert read_image_label(block) == ({2: (1, 2, 3, 4)}, {2: {"class": ["a", "b"]}})
    assert read_image_label({"colors": None}) == ({}, {})
