"""Plates that other software wrote, in every version of OME-NGFF that is read."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

from polystore.backends.zarr import ZarrBackend
from polystore.errors import CorruptFileError, NotFoundError, PolystoreError, StorageError
from polystore.omezarr.arrays import ArrayMeta
from polystore.plate import ChannelInfo

ENGINE: Any = os.environ.get("POLYSTORE_TEST_ZARR_ENGINE", "zarr")
# On import ome-zarr-py uses what it has deprecated itself.
pytestmark = pytest.mark.filterwarnings("ignore:.*Scaler.*:DeprecationWarning")
WINDOW = {"min": 0, "max": 65535, "start": 0, "end": 3000}
CHANNELS = [
    {"label": "DAPI", "color": "0000FF", "window": WINDOW},
    {"label": "GFP", "color": "00FF00", "window": WINDOW},
]
IMAGE: NDArray[Any] = np.random.default_rng(1).integers(1, 900, (2, 3, 40, 50)).astype("uint16")


def write_plate(path: Path, version: str) -> None:
    """As ome-zarr-py writes one: two wells, two fields, two channels, three z steps, chunks of several planes."""
    from ome_zarr.format import FormatV04, FormatV05
    from ome_zarr.writer import write_image, write_plate_metadata, write_well_metadata

    fmt = {"0.4": FormatV04(), "0.5": FormatV05()}[version]
    root = zarr.open_group(path, mode="w", zarr_format=fmt.zarr_format)
    write_plate_metadata(root, ["A", "B"], ["1", "2"], ["A/1", "B/2"], fmt=fmt, name="theirs")
    for number, well in enumerate(("A/1", "B/2")):
        group = root.require_group(well)
        write_well_metadata(group, ["0", "1"], fmt=fmt)
        for field in (0, 1):
            write_image(
                IMAGE + 1000 * number + 100 * field, group.require_group(str(field)), axes="czyx", fmt=fmt,
                storage_options={"chunks": (1, 2, 16, 50)},
                scale_factors=(2,),
                scale={"c": 1.0, "z": 2.0, "y": 0.5, "x": 0.25}, axes_units=dict.fromkeys("zyx", "micrometer"),
                omero={"channels": CHANNELS},
            )  # fmt: skip


@pytest.fixture(params=["0.4", "0.5", "0.6"])
def plate(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "theirs.zarr"
    write_plate(path, "0.5" if request.param == "0.6" else request.param)
    if request.param == "0.6":
        to_06(path)
    return path


def to_06(path: Path) -> None:
    """Name axes by coordinate system and put the transformations into sequences, as 0.6 does."""
    for file in path.rglob("zarr.json"):
        document = json.loads(file.read_text())
        ome = document.get("attributes", {}).get("ome")
        if not ome:
            continue
        ome["version"] = "0.6"
        for image in ome.get("multiscales", ()):
            image["coordinateSystems"] = [{"name": "physical", "axes": image.pop("axes")}]
            for dataset in image["datasets"]:
                steps = dataset["coordinateTransformations"]
                dataset["coordinateTransformations"] = [
                    {
                        "type": "sequence",
                        "input": dataset["path"],
                        "output": "physical",
                        "transformations": steps,
                    }
                ]
        file.write_text(json.dumps(document))


def test_every_plane_is_found_by_name(plate: Path) -> None:
    store = ZarrBackend(engine=ENGINE)
    names = store.list_files(plate)
    assert len(names) == 2 * 2 * 2 * 3
    assert names[:2] == [f"{plate}/A01_s000_w1_z001.tif", f"{plate}/A01_s000_w1_z002.tif"]
    for number, well in enumerate(("A01", "B02")):
        for field in (0, 1):
            for channel in (1, 2):
                for z in (1, 2, 3):
                    loaded = store.load(plate / f"{well}_s{field:03d}_w{channel}_z{z:03d}.tif")
                    expected = IMAGE[channel - 1, z - 1] + 1000 * number + 100 * field
                    np.testing.assert_array_equal(loaded, expected)
    for name in (
        "A01_s002_w1_z001.tif",
        "A01_s000_w3_z001.tif",
        "A01_s000_w1_z004.tif",
        "A01_s000_w1.tif",
        "C01_s000_w1_z001.tif",
    ):
        assert not store.exists(plate / name)
        with pytest.raises(NotFoundError):
            store.load(plate / name)


def test_what_it_says_of_itself_is_read(plate: Path) -> None:
    index = ZarrBackend(engine=ENGINE).plate(plate)
    assert index.summary() == {
        "wells": ["A01", "B02"], "fields": [0, 1], "channels": [1, 2], "z": [1, 2, 3], "t": [], "planes": 24,
    }  # fmt: skip
    assert (index.info.name, index.info.rows, index.info.columns) == ("theirs", 2, 2)
    assert (index.info.pixel_size_um, index.info.z_step_um) == ((0.5, 0.25), 2.0)
    assert index.info.channels[1] == ChannelInfo("DAPI", color="0000FF")


def test_smaller_copies_are_read(plate: Path) -> None:
    loaded = ZarrBackend(engine=ENGINE).load(plate / "A01_s000_w1_z001.tif", level=1)
    assert loaded.shape == (20, 25)


def test_it_is_not_written_to(plate: Path) -> None:
    store = ZarrBackend(engine=ENGINE)
    before = {file: file.read_bytes() for file in plate.rglob("*") if file.is_file()}
    with pytest.raises(StorageError):
        store.save(IMAGE[0, 0], plate / "A01_s000_w1_z001.tif")
    with pytest.raises(StorageError):
        store.delete(plate / "A01_s000_w1_z001.tif")
    assert {file: file.read_bytes() for file in plate.rglob("*") if file.is_file()} == before


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_single_images_are_files(tmp_path: Path, zarr_format: int) -> None:
    from ome_zarr.format import FormatV04, FormatV05
    from ome_zarr.writer import write_image

    fmt = FormatV04() if zarr_format == 2 else FormatV05()
    for name in ("image.zarr", "collection.zarr/0"):
        group = zarr.open_group(tmp_path / name, mode="w", zarr_format=zarr_format)  # type: ignore[arg-type]
        write_image(IMAGE, group, axes="czyx", fmt=fmt, scale_factors=(2,))
    store = ZarrBackend(engine=ENGINE)
    assert store.list_files(tmp_path) == [f"{tmp_path}/image.zarr"]
    assert store.list_dirs(tmp_path) == [f"{tmp_path}/collection.zarr"]
    assert store.list_files(tmp_path / "collection.zarr") == [f"{tmp_path}/collection.zarr/0"]
    for name in ("image.zarr", "collection.zarr/0"):
        np.testing.assert_array_equal(store.load(tmp_path / name), IMAGE)


@pytest.mark.parametrize(
    "document",
    [
        {"attributes": [1]},
        {"attributes": {"ome": [1]}},
        {"node_type": "array", "shape": 3},
        {"node_type": "array", "shape": [8, 8]},
        {"node_type": "array", "shape": [8, 8], "chunk_grid": {"name": "regular"}},
        {"node_type": "array", "shape": ["a"], "chunk_grid": [1]},
    ],
)
def test_damaged_metadata_is_told(tmp_path: Path, document: dict[str, Any]) -> None:
    folder = tmp_path / "a.zarr"
    folder.mkdir()
    text = json.dumps({"zarr_format": 3, "node_type": "group", **document})
    (folder / "zarr.json").write_text(text)
    with pytest.raises(PolystoreError):
        ZarrBackend().load(folder)
    if "shape" in document:
        with pytest.raises(CorruptFileError):
            _ = (ArrayMeta(text.encode()).shape, ArrayMeta(text.encode()).chunks)
