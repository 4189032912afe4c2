"""A backend with a root touches nothing outside it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polystore.backends.zarr import ZarrBackend
from polystore.errors import NotFoundError, UnsafePathError, UnsupportedFormatError

ENGINE: Any = os.environ.get("POLYSTORE_TEST_ZARR_ENGINE", "zarr")
PLANE = np.ones((8, 8), "uint16")


@pytest.fixture
def store(tmp_path: Path) -> ZarrBackend:
    (tmp_path / "root").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret.json").write_text('{"s": 1}')
    return ZarrBackend(tmp_path / "root", engine=ENGINE)


def untouched(tmp_path: Path) -> bool:
    return sorted(path.name for path in (tmp_path / "outside").rglob("*")) == ["secret.json"]


@pytest.mark.parametrize(
    "path",
    [
        "../outside/p.zarr/A01_s001_w1.tif", "p.zarr/../../outside/A01_s001_w1.tif", "/tmp/p.zarr/A01_s001_w1.tif",
        "../outside/mean.tif", "../outside/x.json", "a\0b.zarr/A01_s001_w1.tif", "",
    ],
)  # fmt: skip
def test_paths_that_leave_it_are_refused(store: ZarrBackend, tmp_path: Path, path: str) -> None:
    value: Any = {"n": 1} if path.endswith("json") else PLANE
    for call in (store.load, store.kind, store.delete, store.mkdir, store.scan, store.plate, store.exists):
        with pytest.raises(UnsafePathError):
            call(path)
    with pytest.raises(UnsafePathError):
        store.save(value, path)
    assert untouched(tmp_path)
    assert list((tmp_path / "root").iterdir()) == []


@pytest.mark.parametrize(
    "link, path",
    [
        ("p.zarr", "p.zarr/A01_s001_w1.tif"), ("images.zarr", "A01_s001_w1.tif"),
        ("p.zarr/A", "p.zarr/A01_s001_w1.tif"),
        ("p.zarr/A/1/1", "p.zarr/A01_s001_w1.tif"), ("mean.tif.zarr", "mean.tif"), ("sub", "sub/mean.tif"),
    ],
)  # fmt: skip
def test_links_that_lead_out_are_not_followed(
    store: ZarrBackend, tmp_path: Path, link: str, path: str
) -> None:
    place = tmp_path / "root" / link
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(tmp_path / "outside", target_is_directory=True)
    with pytest.raises(UnsafePathError):
        store.save(PLANE, path)
    with pytest.raises((UnsafePathError, NotFoundError)):
        store.load(path)
    assert untouched(tmp_path)


def test_names_inside_a_plate_are_data(store: ZarrBackend, tmp_path: Path) -> None:
    # Whoever wrote the metadata cannot make a reader look elsewhere.
    store.save(PLANE, "p.zarr/A01_s001_w1.tif")
    file = tmp_path / "root/p.zarr/A/1/1/zarr.json"
    file.write_text(file.read_text().replace('"path":"0"', '"path":"../../../../../outside"'))
    with pytest.raises(UnsafePathError):
        store.load("p.zarr/A01_s001_w1.tif")


def test_what_cannot_be_had_is_told(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedFormatError, match=r"0\.5, 0\.4"):
        ZarrBackend(version="0.6")  # type: ignore[arg-type]
    with pytest.raises(UnsupportedFormatError, match="tensorstore"):
        ZarrBackend(engine="fast")  # type: ignore[arg-type]


def test_the_root_may_be_the_plate(tmp_path: Path) -> None:
    store = ZarrBackend(tmp_path / "p.zarr", engine=ENGINE)
    store.save(PLANE, "A01_s001_w1.tif")
    store.save(PLANE, "TimePoint_2/P_A02_s1_w1.tif")
    store.save(np.ones((2, 3, 4)), "mean.tif")
    assert store.list_files(".") == ["A01_s001_w1.tif", "mean.tif"]
    assert store.find(".", "P_*") == ["TimePoint_2/P_A02_s1_w1.tif"]
    assert store.list_dirs(".") == ["TimePoint_2"]
    assert len(store.plate(".")) == 2
    np.testing.assert_array_equal(store.load("A01_s001_w1.tif"), PLANE)
    assert not store.exists("A/1")
    with pytest.raises(UnsafePathError):
        store.mkdir("A")
    outside = ZarrBackend(engine=ENGINE)
    np.testing.assert_array_equal(outside.load(tmp_path / "p.zarr/A01_s001_w1.tif"), PLANE)


def test_the_root_may_be_a_plate_in_a_bucket(bucket: str) -> None:
    store = ZarrBackend(f"{bucket}/p.zarr", engine=ENGINE)
    store.save(PLANE, "A01_s001_w1.tif")
    store.save({"n": 1}, "results.json")
    assert store.list_files(".") == ["A01_s001_w1.tif", "results.json"]
    assert len(store.plate(".")) == 1
    np.testing.assert_array_equal(ZarrBackend(engine=ENGINE).load(f"{bucket}/p.zarr/A01_s001_w1.tif"), PLANE)


def test_a_plate_is_copied_and_moved_as_it_is(tmp_path: Path) -> None:
    store = ZarrBackend(tmp_path, engine=ENGINE)
    for name in ("p.zarr/A01_s001_w1.tif", "p.zarr/blur/A01_s001_w1.tif", "out/A01_s001_w1.tif"):
        store.save(PLANE, name)
    for source, target in (("p.zarr", "q.zarr"), ("out", "more/out"), ("q.zarr", "plain"), ("out", "o.zarr")):
        store.copy(source, target)
        assert [name[len(target) :] for name in store.list_files(target, recursive=True)] == [
            name[len(source) :] for name in store.list_files(source, recursive=True)
        ]
        np.testing.assert_array_equal(store.load(f"{target}/A01_s001_w1.tif"), PLANE)
    store.move("p.zarr", "moved.zarr")
    assert not store.exists("p.zarr")
    np.testing.assert_array_equal(store.load("moved.zarr/blur/A01_s001_w1.tif"), PLANE)
