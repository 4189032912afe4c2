"""Plates through the backend: names, planes, metadata; and what independent readers say of them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from polystore.backends.memory import MemoryBackend
from polystore.backends.zarr import ZarrBackend
from polystore.components import ImageKey
from polystore.errors import (
    AlreadyExistsError,
    BatchError,
    NotFoundError,
    UnsafePathError,
    UnsupportedArrayError,
    UnsupportedFormatError,
)
from polystore.filemanager import FileManager
from polystore.microscopes import identify, open_plate
from polystore.plate import ChannelInfo, PlateInfo

ENGINE: Any = os.environ.get("POLYSTORE_TEST_ZARR_ENGINE", "zarr")
UUID = "17654C10-92C1-4DFD-AA26-9A01273114CB"

INFO = PlateInfo(
    name="Screen 7",
    rows=8,
    columns=12,
    pixel_size_um=(0.65, 0.65),
    z_step_um=2.0,
    channels={1: ChannelInfo("DAPI", emission_nm=450), 2: ChannelInfo("GFP", color="00FF00")},
    positions_um={("A01", 1): (10.0, 20.0)},
    acquired="2026-11-21T10:00:00",
)


def noise(seed: int, shape: tuple[int, ...] = (24, 32), dtype: str = "uint16") -> NDArray[Any]:
    values: NDArray[Any] = np.random.default_rng(seed).integers(0, 4000, shape).astype(dtype)
    return values


@pytest.fixture(params=["0.5", "0.4"])
def store(request: pytest.FixtureRequest) -> ZarrBackend:
    return ZarrBackend(version=request.param, engine=ENGINE)


def mixed_plate() -> dict[str, NDArray[Any]]:
    """Stacks beside projections, missing planes, labels, two sorts of names."""
    planes = {}
    for number, well in enumerate(("A01", "B03")):
        for site in (1, 2):
            for z in (3, 1, 2):
                planes[f"{well}_s{site:03d}_w1_z{z:03d}.tif"] = noise(100 * number + 10 * site + z)
            planes[f"{well}_s{site:03d}_w2.tif"] = noise(1000 + 10 * number + site)
    del planes["B03_s002_w1_z002.tif"]
    planes["A01_s001_w1_z002_labels.tif"] = noise(7, dtype="int32")
    planes["A01_s001_w2_nuclei_labels.tif"] = noise(8, dtype="uint8")
    planes[f"TimePoint_1/ZStep_2/P_C04_s1_w1{UUID}.tif"] = noise(9)
    planes[f"TimePoint_2/P_C04_s1_w1{UUID}.tif"] = noise(10)
    return planes


def validate(plate: Path, version: str, *, uniform: bool = True) -> None:
    import ome_zarr_models
    import yaozarrs
    import zarr
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader

    yaozarrs.validate_zarr_store(str(plate))
    group = zarr.open_group(plate, mode="r")
    model = ome_zarr_models.open_ome_zarr(group)
    assert type(model).__name__ == "HCS"
    assert model.ome_zarr_version == version
    fields = [path for path in plate.glob("*/*/*") if (path / "0").is_dir()]
    # It opens a whole plate only where all fields have one shape.
    for path in [*fields, plate] if uniform else fields:
        location = parse_url(path)
        assert location is not None
        node = next(iter(Reader(location)()))
        assert node.data[0].ndim >= 4
        np.asarray(node.data[-1])


def test_what_was_saved_comes_back_by_the_same_names(store: ZarrBackend, tmp_path: Path) -> None:
    plate, planes = f"{tmp_path}/p.zarr", mixed_plate()
    store.describe(plate, INFO)
    for name, plane in planes.items():
        store.save(plane, f"{plate}/{name}")
    found = store.list_files(plate, recursive=True)
    assert sorted(found) == sorted(f"{plate}/{name}" for name in planes)
    for name, plane in planes.items():
        loaded = store.load(f"{plate}/{name}")
        assert loaded.dtype == plane.dtype
        np.testing.assert_array_equal(loaded, plane)
        assert store.is_file(f"{plate}/{name}")
    assert store.list_dirs(plate) == [f"{plate}/TimePoint_1", f"{plate}/TimePoint_2"]
    assert store.list_files(f"{plate}/TimePoint_2") == [f"{plate}/TimePoint_2/P_C04_s1_w1{UUID}.tif"]
    validate(Path(plate), store.version, uniform=False)


def test_a_plate_knows_its_planes_and_what_is_known_of_it(store: ZarrBackend, tmp_path: Path) -> None:
    plate, planes = f"{tmp_path}/p.zarr", mixed_plate()
    store.save_batch(list(planes.values()), [f"{plate}/{name}" for name in planes])
    store.describe(plate, PlateInfo(name="first", rows=8))
    store.describe(plate, INFO)
    index = store.plate(plate)
    images = [name for name in planes if "labels" not in name]
    keys = {found.key.replace(plate=None) for name in images if (found := identify(name)) is not None}
    assert set(index.by_key) == keys
    assert len(index) == len(images)
    assert (index.wells, index.fields, index.channels) == (("A01", "B03", "C04"), (1, 2), (1, 2))
    assert (index.z, index.t) == ((1, 2, 3), (1, 2))
    assert index.info == INFO
    for plane in index:
        np.testing.assert_array_equal(store.load(index.path_of(plane)), planes[plane.path])
    validate(Path(plate), store.version, uniform=False)


def test_other_software_finds_sizes_channels_and_positions(store: ZarrBackend, tmp_path: Path) -> None:
    plate = tmp_path / "p.zarr"
    store.save(noise(1), plate / "A01_s001_w1_z001.tif")
    store.describe(plate, INFO)
    store.save(noise(2), plate / "A01_s001_w2_z001.tif")
    name = ".zattrs" if store.version == "0.4" else "zarr.json"
    document = json.loads((plate / "A/1/1" / name).read_text())
    ome = document if store.version == "0.4" else document["attributes"]["ome"]
    (image,) = ome["multiscales"]
    scale, translation = image["datasets"][0]["coordinateTransformations"]
    assert scale["scale"] == [1, 1, 2.0, 0.65, 0.65]
    assert translation["translation"] == [0, 0, 0, 10.0, 20.0]
    assert [channel["label"] for channel in ome["omero"]["channels"]] == ["DAPI", "GFP"]
    window = ome["omero"]["channels"][1]["window"]
    assert (window["min"], window["max"]) == (0, 65535)
    assert 0 <= window["start"] < window["end"] < 4000
    root = json.loads((plate / name).read_text())
    listed = (root if store.version == "0.4" else root["attributes"]["ome"])["plate"]
    assert [len(listed["rows"]), len(listed["columns"]), listed["name"]] == [8, 12, "Screen 7"]
    assert listed["wells"] == [{"path": "A/1", "rowIndex": 0, "columnIndex": 0}]


def test_planes_in_any_order_lie_in_theirs(store: ZarrBackend, tmp_path: Path) -> None:
    import zarr

    for z in (7, 2, 1, 3):
        store.save(np.full((4, 4), z, "u2"), tmp_path / f"p.zarr/A01_s001_w2_z{z:03d}.tif")
    stack = zarr.open_array(tmp_path / "p.zarr/A/1/1/0", mode="r")[0, 1, :, 0, 0]
    assert stack.tolist() == [1, 2, 3, 0, 0, 0, 7]
    assert len(store.list_files(tmp_path / "p.zarr")) == 4


@pytest.mark.parametrize("values", [[405, 488], [9, 8, 0], ["DAPI"]])
def test_values_that_form_no_row_are_kept_as_they_are(tmp_path: Path, values: list[Any]) -> None:
    store = ZarrBackend(engine=ENGINE)
    for value in values:
        number = value if isinstance(value, int) else 3
        store.save(
            np.full((4, 4), number, "u2"), tmp_path / f"p.zarr/A01_s001_w{number}_z{number}_t{number}.tif"
        )
    for value in values:
        number = value if isinstance(value, int) else 3
        assert store.load(tmp_path / f"p.zarr/A01_s001_w{number}_z{number}_t{number}.tif")[0, 0] == number
    assert len(store.plate(tmp_path / "p.zarr")) == len(values)


def test_a_plane_that_was_not_written_is_not_made_up(store: ZarrBackend, tmp_path: Path) -> None:
    plate = tmp_path / "p.zarr"
    store.save_batch([noise(1), noise(2)], [plate / "A01_s001_w1_z001.tif", plate / "A01_s001_w2_z003.tif"])
    for name in (
        "A01_s001_w1_z003.tif",
        "A01_s001_w1_z009.tif",
        "A01_s002_w1_z001.tif",
        "A01_s1_w1_z001.tif",
    ):
        assert not store.exists(plate / name)
        with pytest.raises(NotFoundError):
            store.load(plate / name)
    store.delete(plate / "A01_s001_w1_z001.tif")
    assert store.list_files(plate) == [f"{plate}/A01_s001_w2_z003.tif"]
    with pytest.raises(NotFoundError):
        store.load(plate / "A01_s001_w1_z001.tif")


def test_a_black_plane_is_one(store: ZarrBackend, tmp_path: Path) -> None:
    black = np.zeros((8, 8), "uint16")
    store.save(black, tmp_path / "p.zarr/A01_s001_w1.tif")
    np.testing.assert_array_equal(store.load(tmp_path / "p.zarr/A01_s001_w1.tif"), black)
    assert len(store.plate(tmp_path / "p.zarr")) == 1


@pytest.mark.parametrize("plane", [noise(3, dtype="float32"), noise(3, (24, 31))])
def test_another_dtype_or_size_in_a_field_is_refused(
    store: ZarrBackend, tmp_path: Path, plane: NDArray[Any]
) -> None:
    plate = tmp_path / "p.zarr"
    store.save(noise(1), plate / "A01_s001_w1.tif")
    with pytest.raises(UnsupportedFormatError, match="one dtype and one size"):
        store.save(plane, plate / "A01_s001_w2.tif")
    with pytest.raises(BatchError, match="item 1 of 3"):
        store.save_batch([noise(5), plane, noise(6)], [plate / f"B02_s001_w{n}.tif" for n in (1, 2, 3)])
    assert store.list_files(plate) == [f"{plate}/A01_s001_w1.tif", f"{plate}/B02_s001_w1.tif"]
    np.testing.assert_array_equal(store.load(plate / "A01_s001_w1.tif"), noise(1))


def test_the_only_plane_of_a_field_may_become_another(store: ZarrBackend, tmp_path: Path) -> None:
    path = tmp_path / "p.zarr/A01_s001_w1.tif"
    for plane in (noise(1), noise(2, (10, 12)), noise(3, (10, 12), "float32")):
        store.save(plane, path)
        np.testing.assert_array_equal(store.load(path), plane)
    folders = [entry.name for entry in (tmp_path / "p.zarr/A/1/1").iterdir() if entry.is_dir()]
    assert len([name for name in folders if list((tmp_path / "p.zarr/A/1/1" / name).rglob("*0"))]) >= 1
    validate(tmp_path / "p.zarr", store.version)


def test_two_names_of_one_plane_are_refused(store: ZarrBackend, tmp_path: Path) -> None:
    store.save(noise(1), tmp_path / "p.zarr/A01_s001_w1.tif")
    with pytest.raises(AlreadyExistsError, match="A01_s001_w1.tif"):
        store.save(noise(2), tmp_path / "p.zarr/A01_s1_w1.tif")
    with pytest.raises(AlreadyExistsError):
        store.save(noise(2), tmp_path / "p.zarr/A01_s001_w1.tif", overwrite=False)
    np.testing.assert_array_equal(store.load(tmp_path / "p.zarr/A01_s001_w1.tif"), noise(1))


@pytest.mark.parametrize(
    "dtype",
    "bool int8 uint8 int16 int32 uint32 int64 uint64 float16 float32 float64 complex64 complex128".split(),
)
def test_every_dtype_is_exact(store: ZarrBackend, tmp_path: Path, dtype: str) -> None:
    for name in ("p.zarr/A01_s001_w1.tif", "p.zarr/mean.tif"):
        plane = noise(1).astype(dtype)
        store.save(plane, tmp_path / name)
        loaded = store.load(tmp_path / name)
        assert loaded.dtype == plane.dtype
        np.testing.assert_array_equal(loaded, plane)


@pytest.mark.parametrize("dtype", ["longdouble", "U3", "M8[s]", "V4"])
def test_what_zarr_cannot_hold_is_refused(store: ZarrBackend, tmp_path: Path, dtype: str) -> None:
    with pytest.raises(UnsupportedArrayError):
        store.save(np.zeros((3, 3), dtype), tmp_path / "p.zarr/A01_s001_w1.tif")
    assert not (tmp_path / "p.zarr").exists()


@pytest.mark.parametrize(
    "shape", [(), (5,), (0, 4), (2, 3, 4), (3, 8, 9, 3), (2, 1, 2, 4, 5), (1, 2, 1, 2, 3, 2)]
)
def test_any_shape_under_any_name(store: ZarrBackend, tmp_path: Path, shape: tuple[int, ...]) -> None:
    for name in ("A01_s001_w1.tif", "out/mean", "out/mean.png", "mean.zarr", "out/a.b"):
        array = noise(3, shape)
        store.save(array, tmp_path / name)
        np.testing.assert_array_equal(store.load(tmp_path / name), array)
        assert store.load(tmp_path / name).shape == shape
        assert store.is_file(tmp_path / name)
    assert [Path(path).name for path in store.list_files(tmp_path / "out")] == [
        "a.b.zarr",
        "mean.png",
        "mean.zarr",
    ]


def test_a_plane_may_become_a_stack_and_back(store: ZarrBackend, tmp_path: Path) -> None:
    path = tmp_path / "p.zarr/A01_s001_w1.tif"
    for array in (noise(1), noise(2, (3, 4, 5)), noise(3)):
        store.save(array, path)
        np.testing.assert_array_equal(store.load(path), array)
        assert store.list_files(tmp_path / "p.zarr") == [str(path)]


def test_ordinary_folders_hold_a_plate_and_plain_files(store: ZarrBackend, tmp_path: Path) -> None:
    (tmp_path / "A").mkdir()
    store.save_batch(
        [noise(1), {"n": 1}, noise(2, (3, 4, 5))],
        [tmp_path / "A01_s001_w1.tif", tmp_path / "results.json", tmp_path / "A/stack.tif"],
    )
    assert store.list_files(tmp_path) == [f"{tmp_path}/A01_s001_w1.tif", f"{tmp_path}/results.json"]
    assert store.list_dirs(tmp_path) == [f"{tmp_path}/A"]
    validate(tmp_path / "images.zarr", store.version)
    assert json.loads((tmp_path / "results.json").read_text()) == {"n": 1}
    np.testing.assert_array_equal(store.load(tmp_path / "images.zarr/A01_s001_w1.tif"), noise(1))


def test_steps_in_a_plate_are_plates_of_their_own(store: ZarrBackend, tmp_path: Path) -> None:
    plate = tmp_path / "p.zarr"
    store.save(noise(1), plate / "A01_s001_w1.tif")
    store.save(noise(2, dtype="float32"), plate / "blur/A01_s001_w1.tif")
    np.testing.assert_array_equal(store.load(plate / "A01_s001_w1.tif"), noise(1))
    np.testing.assert_array_equal(store.load(plate / "blur/A01_s001_w1.tif"), noise(2, dtype="float32"))
    assert store.find(plate, "*.tif") == [f"{plate}/A01_s001_w1.tif", f"{plate}/blur/A01_s001_w1.tif"]
    validate(plate / "blur/images.zarr", store.version)


def test_labels_by_kind_go_to_the_labels(store: ZarrBackend, tmp_path: Path) -> None:
    plate = tmp_path / "p.zarr"
    store.save(noise(1), plate / "A01_s001_w1.tif")
    store.save(noise(2, dtype="int32"), plate / "A01_s001_w3.tif", kind="labels")
    assert (plate / "A/1/1/labels/labels").is_dir()
    np.testing.assert_array_equal(store.load(plate / "A01_s001_w3.tif"), noise(2, dtype="int32"))
    assert store.is_file(plate / "A01_s001_w3.tif")
    assert len(store.list_files(plate)) == 2
    assert len(store.plate(plate)) == 1
    store.delete(plate / "A01_s001_w3.tif")
    assert len(store.list_files(plate)) == 1
    validate(plate, store.version)


def test_labels_by_kind_through_the_filemanager(store: ZarrBackend, tmp_path: Path) -> None:
    plate, files = tmp_path / "p.zarr", FileManager({"zarr": store, "memory": MemoryBackend()})
    files.save_batch(
        [noise(2, dtype="int32")],
        [plate / "A01_s001_w3.tif"],
        ["memory", "zarr"],
        kind="labels",
        step_name="cells",
    )
    assert (plate / "A/1/1/labels/labels").is_dir()
    np.testing.assert_array_equal(files.load(plate / "A01_s001_w3.tif", "zarr"), noise(2, dtype="int32"))


def test_colours_of_labels_survive_more_labels(tmp_path: Path) -> None:
    plate, store = tmp_path / "p.zarr", ZarrBackend(engine=ENGINE)
    store.save(noise(1, dtype="int32"), plate / "A01_s001_w1_labels.tif")
    file = plate / "A/1/1/labels/labels/zarr.json"
    group = json.loads(file.read_text())
    group["attributes"]["ome"]["image-label"]["colors"] = [{"label-value": 1, "rgba": [255, 0, 0, 255]}]
    file.write_text(json.dumps(group))
    store.save(noise(2, dtype="int32"), plate / "A01_s001_w2_labels.tif")
    store.describe(plate, PlateInfo(pixel_size_um=(0.5, 0.5)))
    mark = json.loads(file.read_text())["attributes"]["ome"]["image-label"]
    assert mark["colors"] == [{"label-value": 1, "rgba": [255, 0, 0, 255]}]
    validate(plate, "0.5")


def test_missing_planes_of_a_plate_are_told(tmp_path: Path) -> None:
    plate, store = tmp_path / "p.zarr", ZarrBackend(engine=ENGINE)
    names = [
        f"{well}_s001_w{channel}_z{z:03d}.tif"
        for well in ("A01", "B02")
        for channel in (1, 2)
        for z in (1, 2)
    ]
    assert names.pop(5) == "B02_s001_w1_z002.tif"
    store.save_batch([noise(1)] * len(names), [plate / name for name in names])
    index = open_plate(plate)
    assert len(index) == 7
    assert index.missing == (ImageKey(well="B02", field=1, channel=1, z=2),)


def test_labels_come_before_their_image(store: ZarrBackend, tmp_path: Path) -> None:
    plate = tmp_path / "p.zarr"
    store.save(noise(2, dtype="int32"), plate / "A01_s001_w1_labels.tif")
    assert store.list_files(plate) == [f"{plate}/A01_s001_w1_labels.tif"]
    store.save(noise(1), plate / "A01_s001_w1.tif")
    np.testing.assert_array_equal(store.load(plate / "A01_s001_w1_labels.tif"), noise(2, dtype="int32"))
    validate(plate, store.version)


def test_the_structure_of_a_plate_is_no_place_for_files(store: ZarrBackend, tmp_path: Path) -> None:
    store.save(noise(1), tmp_path / "p.zarr/A01_s001_w1.tif")
    for name in ("zarr.json", "A", ".zattrs"):
        with pytest.raises(UnsafePathError):
            store.mkdir(tmp_path / "p.zarr" / name)
    with pytest.raises(UnsafePathError):
        store.save({}, tmp_path / "p.zarr/zarr.json")
    assert not store.exists(tmp_path / "p.zarr/A/1")
    assert store.list_dirs(tmp_path / "p.zarr") == []
