"""Background subtraction and cell counting, on images whose cells are known."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from openhcs_viewers.demo.analysis import (
    cell_counting_cpu,
    construct_path,
    count_cells,
    label_cells,
    subtract_background,
)
from polystore import FileManager


def disks(centres: list[tuple[int, int]], radius: float = 9.0, size: int = 200) -> NDArray[np.float32]:
    y, x = np.mgrid[:size, :size]
    image = np.zeros((size, size), np.float32)
    for cy, cx in centres:
        image = np.maximum(
            image, 1.0 / (1.0 + np.exp(np.clip((np.hypot(y - cy, x - cx) - radius) / 0.8, -50, 50)))
        )
    return image


def photograph(image: NDArray[Any], brightness: float = 2000.0, seed: int = 0) -> NDArray[np.uint16]:
    rng = np.random.default_rng(seed)
    counts: NDArray[np.uint16] = (rng.poisson(image * brightness + 40.0)).astype(np.uint16)
    return counts


GRID = [(y, x) for y in range(25, 200, 30) for x in range(25, 200, 30)]


class TestSubtractBackground:
    def test_uneven_light_goes_and_cells_stay(self) -> None:
        y, x = np.mgrid[:512, :512] / 512.0
        haze = 300.0 + 400.0 * x + 200.0 * y**2
        cells = disks(GRID, size=512) * 2000.0
        left = subtract_background((cells + haze).astype(np.uint16))
        dark = cells < 1
        assert left[dark].mean() < 0.05 * haze.mean()
        assert abs(float(left[cells > 1990].mean()) - 2000.0) < 60

    @pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32", "float64"])
    def test_shape_and_dtype_are_kept_and_nothing_is_negative(self, dtype: str) -> None:
        image = (disks(GRID) * 100 + 50).astype(dtype)
        left = subtract_background(image)
        assert (left.shape, left.dtype) == (image.shape, image.dtype)
        assert left.min() >= 0

    @pytest.mark.parametrize("shape", [(1, 1), (7, 300), (130, 9), (33, 41)])
    def test_any_size_goes(self, shape: tuple[int, int]) -> None:
        assert not subtract_background(np.full(shape, 700, np.uint16)).any()

    def test_the_image_given_is_not_changed(self) -> None:
        image = photograph(disks(GRID))
        before = image.copy()
        subtract_background(image)
        assert np.array_equal(image, before)


class TestLabelCells:
    def test_separate_cells_are_found_where_they_are(self) -> None:
        labels = label_cells(photograph(disks(GRID)))
        assert labels.dtype == np.uint16
        found = count_cells(labels)
        assert found["count"] == len(GRID)
        centres = sorted((round(cell["y"]), round(cell["x"])) for cell in found["cells"])
        assert all(abs(a - c) <= 1 and abs(b - d) <= 1 for (a, b), (c, d) in zip(centres, GRID, strict=True))
        assert found["area_mean"] == pytest.approx(np.pi * 9**2, rel=0.25)

    def test_touching_cells_are_cut_apart(self) -> None:
        pairs = [(y, x + shift) for y in range(25, 200, 40) for x in (30, 90, 150) for shift in (0, 16)]
        assert count_cells(label_cells(photograph(disks(pairs))))["count"] == len(pairs)

    def test_dim_cells_beside_bright_ones_are_found(self) -> None:
        image = np.maximum(disks(GRID[::2]) * 1.0, disks(GRID[1::2]) * 0.25)
        assert count_cells(label_cells(photograph(image, 8000.0)))["count"] == len(GRID)

    def test_small_things_need_no_setting(self) -> None:
        beads = [(y, x) for y in range(10, 200, 14) for x in range(10, 200, 14)]
        found = count_cells(label_cells(photograph(disks(beads, radius=3.5))))["count"]
        assert found == pytest.approx(len(beads), rel=0.03)

    @pytest.mark.parametrize("seed", range(5))
    def test_an_empty_field_has_no_cells(self, seed: int) -> None:
        empty = subtract_background(photograph(np.zeros((200, 200)), seed=seed))
        assert count_cells(label_cells(empty))["count"] <= 1

    @pytest.mark.parametrize("value", [0, 7, 65535])
    def test_a_flat_image_has_no_cells(self, value: int) -> None:
        assert not label_cells(np.full((64, 64), value, np.uint16)).any()

    def test_labels_are_consecutive(self) -> None:
        labels = label_cells(photograph(disks(GRID)))
        assert np.array_equal(np.unique(labels), np.arange(len(GRID) + 1))

    def test_smallest_area_can_be_given(self) -> None:
        image = photograph(np.maximum(disks(GRID[:-1]), disks(GRID[-1:], radius=5.0)))
        assert count_cells(label_cells(image, min_area=20))["count"] == len(GRID)
        assert count_cells(label_cells(image, min_area=150))["count"] == len(GRID) - 1


def test_counts_are_plain_values() -> None:
    labels = np.zeros((20, 30), np.uint16)
    labels[2:6, 4:8] = 1
    labels[10:12, 20:25] = 3
    found = count_cells(labels)
    assert found == {
        "count": 2,
        "area_mean": 13.0,
        "area_median": 13.0,
        "coverage": round(26 / 600, 5),
        "cells": [
            {"label": 1, "y": 3.5, "x": 5.5, "area": 16},
            {"label": 3, "y": 10.5, "x": 22.0, "area": 10},
        ],
    }
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize(
    "metadata, path",
    [
        ({"output": "/out", "well": "A1", "site": 1}, "/out/A01/A01_s001_labeled"),
        ({"output": "/out/", "well": "B02", "field": "s3", "z_index": 4}, "/out/B02/B02_s003_z004_labeled"),
        (
            {"output": "/omero/plate_1", "well": "A01", "channel": "DAPI 405", "timepoint": 2, "note": "x"},
            "/omero/plate_1/A01/A01_cDAPI-405_t002_labeled",
        ),
        ({"output": "out"}, "out/plate/plate_labeled"),
    ],
)
def test_paths_say_where_a_result_belongs(metadata: dict[str, Any], path: str) -> None:
    assert construct_path(metadata, "labeled") == path


def test_metadata_without_a_folder_is_refused() -> None:
    with pytest.raises(KeyError, match="output"):
        construct_path({"well": "A01"}, "labeled")


@pytest.mark.parametrize("backend", ["disk", "memory"])
def test_cell_counting_saves_to_any_backend(tmp_path: Path, backend: str) -> None:
    filemanager = FileManager()
    metadata = {"output": str(tmp_path), "well": "A01", "site": 2}
    labels, results = cell_counting_cpu(photograph(disks(GRID)), filemanager, metadata, backend=backend)
    stem = construct_path(metadata, "labeled")
    assert np.array_equal(filemanager.load(stem, backend), labels)
    assert filemanager.load(construct_path(metadata, "results.json"), backend) == results
    assert results["count"] == len(GRID) == labels.max()


SEED = '''
def cell_counting_cpu(
    image: np.ndarray,
    filemanager: FileManager,
    metadata: Dict,
    backend: str = 'disk', # Can be 'disk', 'zarr', or 'omero'
    **params
) -> Tuple[np.ndarray, Dict]:
    """Cell counting with backend-agnostic saving."""
    # Process image
    labeled = label_cells(image)
    # Save to specified backend
    filemanager.save(
        labeled,
        construct_path(metadata, 'labeled'),
        backend=backend
    )
    # Save analysis results (JSON)
    results = count_cells(labeled)
    filemanager.save(
        results,
        construct_path(metadata, 'results.json'),
        backend=backend # Automatically becomes FileAnnotation on OMERO
    )
    return labeled, results
'''


def test_the_documented_function_runs_as_it_stands(tmp_path: Path) -> None:
    names: dict[str, Any] = {}
    imports = (
        "from typing import Dict, Tuple\nimport numpy as np\nfrom polystore import FileManager\n"
        "from openhcs_viewers.demo.analysis import construct_path, count_cells, label_cells\n"
    )
    exec(compile(imports + SEED, "seed", "exec"), names)
    metadata = {"output": str(tmp_path / "theirs"), "well": "A01", "site": 1}
    labels, results = names["cell_counting_cpu"](photograph(disks(GRID)), FileManager(), metadata)
    ours = cell_counting_cpu(
        photograph(disks(GRID)), FileManager(), {**metadata, "output": str(tmp_path / "ours")}
    )
    assert np.array_equal(labels, ours[0])
    assert results == ours[1]
    files = sorted(path.name for path in (tmp_path / "theirs").rglob("*") if path.is_file())
    assert [re.sub(r"\.tiff?$", "", name) for name in files] == ["A01_s001_labeled", "A01_s001_results.json"]
