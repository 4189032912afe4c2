"""Smaller copies, and planes so large that they are stored in tiles."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polystore.backends.zarr import ZarrBackend
from polystore.errors import NotFoundError
from polystore.omezarr.pyramids import halved, level_shape, levels_of

ENGINE: Any = os.environ.get("POLYSTORE_TEST_ZARR_ENGINE", "zarr")


@pytest.mark.parametrize(
    "height, width, pyramid, levels",
    [
        (2048, 2048, "auto", 1), (2160, 2560, "auto", 3), (4096, 4096, "auto", 3), (1, 9000, "auto", 1),
        (100, 100, True, 2), (9000, 9000, False, 1), (5000, 300, "auto", 4),
    ],
)  # fmt: skip
def test_only_large_planes_have_smaller_copies(height: int, width: int, pyramid: Any, levels: int) -> None:
    assert levels_of(height, width, pyramid) == levels
    assert (
        max(level_shape(height, width, levels - 1)) <= 1024
        or pyramid is False
        or levels == 1
        or pyramid is True
    )


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
@pytest.mark.parametrize("shape", [(6, 8), (5, 7)])
def test_means_of_integers_are_rounded_and_never_overflow(dtype: str, shape: tuple[int, int]) -> None:
    limits = np.iinfo(dtype)
    plane = np.random.default_rng(0).integers(limits.min, limits.max, shape, dtype, endpoint=True)
    plane[:2, :2] = limits.max
    small = halved(plane, nearest=False)
    assert small.dtype == plane.dtype
    assert small.shape == level_shape(*shape, 1)
    padded = np.pad(plane, [(0, shape[0] % 2), (0, shape[1] % 2)], mode="edge")
    for y, x in np.ndindex(small.shape):
        total = sum(int(value) for value in padded[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].ravel())
        assert int(small[y, x]) == (total + 2) // 4


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex64"])
def test_means_of_floats(dtype: str) -> None:
    plane = np.arange(64, dtype="float64").reshape(8, 8).astype(dtype)
    small = halved(plane, nearest=False)
    assert small.dtype == plane.dtype
    np.testing.assert_allclose(small, plane.reshape(4, 2, 4, 2).mean(axis=(1, 3)))


def test_labels_are_never_mixed() -> None:
    labels = np.random.default_rng(0).choice([0, 7, 1000], (9, 9)).astype("int32")
    assert set(np.unique(halved(labels, nearest=True))) <= {0, 7, 1000}


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_planes_and_labels_with_smaller_copies(tmp_path: Path, version: Any) -> None:
    import yaozarrs

    store = ZarrBackend(engine=ENGINE, version=version, pyramid=True)
    plane = np.random.default_rng(0).integers(0, 4000, (65, 50)).astype("uint16")
    labels = (plane // 1000).astype("int32")
    store.save_batch(
        [plane, labels], [tmp_path / "p.zarr/A01_s001_w1.tif", tmp_path / "p.zarr/A01_s001_w1_labels.tif"]
    )
    store.save(plane, tmp_path / "mean.tif")
    for name in ("p.zarr/A01_s001_w1.tif", "mean.tif"):
        np.testing.assert_array_equal(store.load(tmp_path / name, level=1), halved(plane, nearest=False))
        with pytest.raises(NotFoundError, match="resolution"):
            store.load(tmp_path / name, level=5)
    small = store.load(tmp_path / "p.zarr/A01_s001_w1_labels.tif", level=1)
    np.testing.assert_array_equal(small, labels[::2, ::2])
    yaozarrs.validate_zarr_store(str(tmp_path / "p.zarr"))
    yaozarrs.validate_zarr_store(str(tmp_path / "mean.tif.zarr"))
    store.delete(tmp_path / "p.zarr/A01_s001_w1.tif")
    chunks = [file for file in (tmp_path / "p.zarr/A/1/1").rglob("*") if file.is_file() and file.name == "0"]
    assert all("labels" in str(file) for file in chunks)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_very_large_plane_is_one_file(tmp_path: Path, version: Any) -> None:
    store = ZarrBackend(engine=ENGINE, version=version)
    plane = np.zeros((4100, 4200), "uint8")
    plane[::7, ::5] = 9
    plane[-1, -1] = 77
    path = tmp_path / "p.zarr/A01_s001_w1.tif"
    store.save(plane, path)
    np.testing.assert_array_equal(store.load(path), plane)
    assert store.load(path, level=3).shape == (513, 525)
    files = [
        file
        for file in (tmp_path / "p.zarr/A/1/1/0").rglob("*")
        if file.is_file() and not file.name.startswith(".") and file.name != "zarr.json"
    ]
    assert len(files) == 1
    if version == "0.5":
        (codec,) = json.loads((tmp_path / "p.zarr/A/1/1/0/zarr.json").read_text())["codecs"]
        assert codec["name"] == "sharding_indexed"
        assert codec["configuration"]["chunk_shape"] == [1, 1, 1, 1024, 1024]
