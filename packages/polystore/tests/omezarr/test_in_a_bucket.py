"""Plates in a bucket: written by several processes at once, changed by compare-and-swap, read by other software."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaozarrs
import zarr

from polystore import FileManager
from polystore.backends.zarr import ZarrBackend
from polystore.errors import BatchError, StorageError, UnsafePathError
from polystore.objects import CloudObjects, LocalObjects
from polystore.plate import ChannelInfo, PlateInfo

WELLS = [f"{row}{column:02d}" for row in "AB" for column in (1, 2, 3, 4)]

WRITER = """
import sys
import numpy as np
from polystore.backends.zarr import ZarrBackend
from polystore.objects import CloudObjects
plate, number, mode = sys.argv[1], int(sys.argv[2]), sys.argv[3]
wells = sys.argv[4:]
store = ZarrBackend(engine="zarr", timeout=120)
print("ready", flush=True)
sys.stdin.readline()
if mode == "wells":  # one well each: only the plate's metadata is shared
    mine = [f"{wells[number]}_s{s:03d}_w{w}" for s in (1, 2) for w in (1, 2)]
else:  # a channel and field of every well each: all metadata is shared
    mine = [f"{well}_s{number % 4 + 1:03d}_w{number // 4 + 1}" for well in wells]
for name in mine:
    store.save(np.full((16, 16), sum(name.encode()), "uint16"), f"{plate}/{name}.tif")
"""


def write_by_eight(plate: str, mode: str) -> None:
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(WRITER), plate, str(number), mode, *WELLS],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for number in range(8)
    ]  # fmt: skip
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate()
    assert [writer.returncode for writer in writers] == [0] * 8


def download(plate: str, folder: Path) -> None:
    source, target = CloudObjects(plate), LocalObjects(folder)
    for key in list(source.keys()):
        target.put(key, source.get(key).data)


LONG = [pytest.mark.slow, pytest.mark.timeout(7200)]


@pytest.mark.parametrize(
    "runs, mode",
    [(1, "fields"), pytest.param(100, "fields", marks=LONG), pytest.param(100, "wells", marks=LONG)],
)
def test_eight_processes_lose_nothing(bucket: str, tmp_path: Path, runs: int, mode: str) -> None:
    for run in range(runs):
        plate = f"{bucket}/{run}/p.zarr"
        write_by_eight(plate, mode)
        fields, channels = ((1, 2), (1, 2)) if mode == "wells" else ((1, 2, 3, 4), (1, 2))
        names = {f"{well}_s{s:03d}_w{w}.tif" for well in WELLS for s in fields for w in channels}
        store = ZarrBackend()
        index = store.plate(plate)
        assert index.wells == tuple(WELLS)
        assert {path.rpartition("/")[2] for path in store.list_files(plate)} == names
        for name in names:
            assert (store.load(f"{plate}/{name}") == sum(name.removesuffix(".tif").encode())).all()
        download(plate, tmp_path / f"{run}.zarr")
        yaozarrs.validate_zarr_store(str(tmp_path / f"{run}.zarr"))


def test_zarr_python_reads_it_from_there(bucket: str) -> None:
    plate = f"{bucket}/some/p.zarr"
    image = np.random.default_rng(0).integers(0, 60_000, (40, 50)).astype("uint16")
    fm = FileManager()
    fm.save(image, f"{plate}/A01_s001_w1.tif", "auto")
    group = zarr.open_group(CloudObjects(bucket).zarr_store("some/p.zarr"), mode="r")
    assert group.attrs["ome"]["plate"]["wells"][0]["path"] == "A/1"
    np.testing.assert_array_equal(np.squeeze(group["A/1/1/0"][...]), image)
    np.testing.assert_array_equal(fm.load(f"{plate}/A01_s001_w1.tif", "auto"), image)


def test_what_is_known_of_a_plate_is_merged(bucket: str) -> None:
    store, plate = ZarrBackend(bucket), "p.zarr"
    store.save(np.zeros((8, 8), "uint16"), f"{plate}/A01_s001_w1.tif")
    store.describe(plate, PlateInfo(channels={1: ChannelInfo(name="DAPI")}))
    ZarrBackend(bucket).describe(plate, PlateInfo(pixel_size_um=(0.5, 0.5)))
    info = store.plate(plate).info
    assert info.channels[1].name == "DAPI"
    assert info.pixel_size_um == (0.5, 0.5)


def test_tables_stand_beside_the_images_and_go_to_disk(bucket: str, tmp_path: Path) -> None:
    store, plate = ZarrBackend(), f"{bucket}/p.zarr"
    store.save(np.zeros((8, 8), "uint16"), f"{plate}/A01_s001_w1.tif")
    store.save({"cells": 3}, f"{plate}/results/counts.json")
    assert store.load(f"{plate}/results/counts.json") == {"cells": 3}
    store.copy(f"{plate}/results/counts.json", tmp_path / "counts.json")
    assert (tmp_path / "counts.json").read_text() == '{\n  "cells": 3\n}'
    store.copy(tmp_path / "counts.json", f"{bucket}/other.zarr/counts.json")
    assert store.load(f"{bucket}/other.zarr/counts.json") == {"cells": 3}


def test_requests_of_a_plane_do_not_grow_with_the_plate(bucket: str, s3: Any) -> None:
    """Counted, not timed: the tenth well costs what the third did."""
    store, plane = ZarrBackend(engine="zarr"), np.zeros((16, 16), "uint16")
    counts = []
    for column in range(1, 11):
        s3.seen()
        store.save(plane, f"{bucket}/p.zarr/A{column:02d}_s001_w1.tif")
        counts.append(sum(s3.seen().values()))
    assert counts[2:] == [counts[2]] * 8
    s3.seen()
    store.load(f"{bucket}/p.zarr/A05_s001_w1.tif")
    loads = sum(s3.seen().values())
    assert loads <= 12, loads


def test_a_root_is_not_left(bucket: str) -> None:
    store = ZarrBackend(f"{bucket}/root")
    plane = np.zeros((8, 8), "uint16")
    for path in ("../p.zarr/A01_s001_w1.tif", "/p.zarr/A01_s001_w1.tif", f"{bucket}/p.zarr/A01_s001_w1.tif"):
        with pytest.raises(UnsafePathError):
            store.save(plane, path)
    assert list(CloudObjects(bucket).keys()) == []


def test_options_are_for_buckets(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="endpoint"):
        ZarrBackend(tmp_path, endpoint="http://127.0.0.1:9000")


def test_a_batch_is_loaded_in_order_and_says_what_is_missing(bucket: str) -> None:
    store = ZarrBackend(bucket)
    planes = [np.full((8, 8), number, "uint16") for number in range(24)]
    paths = [f"p.zarr/{well}_s001_w{w}.tif" for well in WELLS for w in (1, 2, 3)]
    store.save_batch(planes, paths)
    assert [int(plane[0, 0]) for plane in store.load_batch(paths)] == list(range(24))
    with pytest.raises(BatchError) as caught:
        store.load_batch([*paths[:5], "p.zarr/A01_s009_w1.tif", *paths[5:]])
    assert caught.value.index == 5
