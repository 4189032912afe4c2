"""Virtual names to places, and patterns of names."""

from __future__ import annotations

from typing import Any

import pytest

from polystore.components import ImageKey
from polystore.omezarr.axes import extended
from polystore.omezarr.engines import choose
from polystore.omezarr.names import (
    Plain,
    Plane,
    Single,
    escaped,
    expand,
    field_path,
    locate,
    pattern_of,
    row_and_column,
    single_name,
)


@pytest.mark.parametrize(
    "path, plate, name, labels",
    [
        ("/d/p.zarr/A01_s001_w1.tif", "/d/p.zarr", "A01_s001_w1.tif", None),
        ("/d/p.ome.zarr/A01_s001_w1.png", "/d/p.ome.zarr", "A01_s001_w1.png", None),
        ("/d/out/A01_s001_w1.tif", "/d/out/images.zarr", "A01_s001_w1.tif", None),
        ("/d/p.zarr/s/A01_s001_w1.tif", "/d/p.zarr/s/images.zarr", "A01_s001_w1.tif", None),
        ("A01_s001_w1_labels.tif", "images.zarr", "A01_s001_w1_labels.tif", "labels"),
        ("A01_s001_w1_nuclei_labels.tif", "images.zarr", "A01_s001_w1_nuclei_labels.tif", "nuclei_labels"),
        ("p.zarr/TimePoint_2/ZStep_3/P_A01_s1_w1.TIF", "p.zarr", "TimePoint_2/ZStep_3/P_A01_s1_w1.TIF", None),
        ("p.zarr/ZStep_3/A01_s1_w1.tif", "p.zarr/ZStep_3/images.zarr", "A01_s1_w1.tif", None),
    ],
)
def test_planes(path: str, plate: str, name: str, labels: str | None) -> None:
    place = locate(path)
    assert isinstance(place, Plane)
    assert (place.plate, place.name, place.labels) == (plate, name, labels)


@pytest.mark.parametrize(
    "path, place",
    [
        ("p.zarr/mean.tif", Single("p.zarr/mean.tif.zarr")), ("mean", Single("mean.zarr")),
        ("mean.zarr", Single("mean.zarr")), ("mean.tif.zarr", Single("mean.tif.zarr.zarr")),
        ("A01_s001_w1_blurred.tif", Single("A01_s001_w1_blurred.tif.zarr")),
        ("P_A01_s1_w1_thumb.tif", Single("P_A01_s1_w1_thumb.tif.zarr")),
        ("p.zarr/A01_s001_w1.npy", Plain("p.zarr/A01_s001_w1.npy")), ("x.json", Plain("x.json")),
    ],
)  # fmt: skip
def test_what_is_no_plane(path: str, place: Any) -> None:
    assert locate(path) == place


@pytest.mark.parametrize(
    "name", ["mean.tif", "mean.ome.tif", "a.zarr", "a.tif.zarr", "a.b.zarr", "x.ome.zarr"]
)
def test_names_of_single_images_come_back(name: str) -> None:
    place = locate(name)
    assert isinstance(place, Single)
    assert single_name(place.path) == name


def test_no_two_wells_or_fields_share_a_place() -> None:
    wells = ["A01", "AA01", "A001x", "x41", "Well 3", "\u00e4", "a/b", "A 01"]
    places = [row_and_column(well) for well in wells]
    assert len(set(places)) == len(wells)
    assert places[0] == ("A", "1")
    fields: list[Any] = [None, 0, 1, "image", "x61", "a", "left", "a-b", "acquisition1field2"]
    paths = [field_path(ImageKey(well="A01", field=field)) for field in fields]
    paths += [field_path(ImageKey(well="A01", field=2, acquisition=1))]
    assert len(set(paths)) == len(paths)
    assert all(path.isalnum() and path.isascii() for path in paths)
    assert escaped("x61") != escaped("a")


@pytest.mark.parametrize(
    "name, key, pattern",
    [
        ("A01_s001_w1_z003_t010.tif", ImageKey(well="A01", channel=1, z=3, t=10), "A01_s001_w{c1}_z{z3}_t{t3}.tif"),
        ("r01c01f01p02-ch1sk1fk1fl1.tiff", ImageKey(channel=1, z=2, t=1), "r01c01f01p{z2}-ch{c1}sk{t1}fk1fl1.tiff"),
        ("TimePoint_1/ZStep_2/P_A1_w3.tif", ImageKey(channel=3, z=2, t=1), "TimePoint_{t1}/ZStep_{z1}/P_A1_w{c1}.tif"),
        ("A01_s001_{w1}.tif", ImageKey(channel=1), ""),
    ],
)  # fmt: skip
def test_patterns(name: str, key: ImageKey, pattern: str) -> None:
    assert pattern_of(name, key) == pattern
    if pattern:
        assert expand(pattern, key.t, key.channel, key.z) == name
        assert expand(pattern, 12, 4, 5) != name


@pytest.mark.parametrize(
    "letter, values, wanted, expected",
    [
        ("z", [], [3], [1, 2, 3]), ("z", [], [0], [0]), ("z", [1, 2, 3], [5, 2], [1, 2, 3, 4, 5]),
        ("z", [], [5, 6], [5, 6]), ("z", [1, 2], [0], [1, 2, 0]), ("z", [1, 2, 0], [3], [1, 2, 0, 3]),
        ("c", [], [405], [405]), ("c", [405], [488, "DAPI"], [405, 488, "DAPI"]), ("t", [], [999999], [999999]),
    ],
)  # fmt: skip
def test_values_get_the_place_they_will_have(letter: str, values: Any, wanted: Any, expected: Any) -> None:
    assert extended(letter, values, wanted) == expected


def test_auto_is_no_tensorstore_where_forks_are_the_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = ["fork"]
    monkeypatch.setattr("multiprocessing.get_start_method", lambda allow_none=False: chosen[0])
    monkeypatch.setattr("multiprocessing.parent_process", lambda: None)
    for method, expected in (("spawn", "tensorstore"), ("forkserver", "tensorstore"), ("fork", "zarr")):
        chosen[0] = method
        assert choose("auto") == expected
    monkeypatch.setattr("multiprocessing.parent_process", lambda: 1)
    assert choose("auto") == "tensorstore"
    assert choose("zarr") == "zarr"
    monkeypatch.setattr("polystore.omezarr.engines.find_spec", lambda name: None)
    assert choose("auto") == "zarr"
