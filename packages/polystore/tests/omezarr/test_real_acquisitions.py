"""Both real ImageXpress acquisitions as OME-Zarr plates: every plane, exactly, where it belongs."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
import yaozarrs

from polystore import FileManager
from polystore.backends.zarr import ZarrBackend
from polystore.microscopes import open_plate
from polystore.omezarr.foreign import name_of
from polystore.omezarr.names import is_name_folder
from polystore.plate import PlaneRef

ENGINE: Any = os.environ.get("POLYSTORE_TEST_ZARR_ENGINE", "zarr")


@pytest.fixture
def real() -> Path:
    for folder in Path(__file__).resolve().parents:
        found = folder / "shared" / "data" / "imagexpress"
        if found.is_dir():
            return found
    pytest.skip("the real acquisitions are not part of the repository")


def own_name(plane: PlaneRef) -> str:
    """The plane's name with the folders that say something: ``TimePoint_1/ZStep_2/..._E07_s1_w1<UUID>.tif``."""
    *folders, name = PurePosixPath(plane.path).parts
    return "/".join([*(folder for folder in folders if is_name_folder(folder)), name])


def tidy_name(plane: PlaneRef) -> str:
    return name_of(plane.key)


@pytest.mark.parametrize("named", [own_name, tidy_name])
@pytest.mark.parametrize("acquisition, planes", [("Projection-Mix", 96), ("1well-3C-2S-Zmix-T", 0)])
def test_an_acquisition_is_the_same_as_a_plate(
    real: Path, tmp_path: Path, acquisition: str, planes: int, named: Any
) -> None:
    source, files = open_plate(real / acquisition), FileManager()
    store, plate = ZarrBackend(engine=ENGINE), tmp_path / "p.zarr"
    assert not planes or len(source) == planes
    images = [files.load(source.path_of(plane), source.backend) for plane in source]
    store.save_batch(images, [plate / named(plane) for plane in source])
    store.describe(plate, source.info)
    copied = store.plate(plate)
    assert copied.summary() == source.summary()
    assert set(copied.by_key) == set(source.by_key)
    assert copied.info == source.info
    for plane, image in zip(source, images, strict=True):
        loaded = store.load(copied.path_of(copied.by_key[plane.key]))
        assert loaded.dtype == image.dtype
        np.testing.assert_array_equal(loaded, image)
    yaozarrs.validate_zarr_store(str(plate))
