"""What is written and read is counted: metadata once, one chunk for a plane, nothing that grows with the plate."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polystore.backends.zarr import ZarrBackend
from polystore.omezarr.folder import PlateFolder

ENGINE: Any = os.environ.get("POLYSTORE_TEST_ZARR_ENGINE", "zarr")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, str]]:
    """Files read and written, by what they are."""
    counted: Counter[tuple[str, str]] = Counter()
    read, place = PlateFolder.read, PlateFolder._place

    def counting_read(self: PlateFolder, key: str) -> bytes:
        data = read(self, key)
        counted["read", "metadata" if key.endswith(("zarr.json", ".zattrs", ".zarray")) else "chunk"] += 1
        return data

    def counting_place(self: PlateFolder, path: str, data: bytes, *, overwrite: bool) -> None:
        place(self, path, data, overwrite=overwrite)
        name = os.path.relpath(path, self.root)
        what = "plate" if name == "zarr.json" else "metadata" if name.endswith("zarr.json") else "chunk"
        counted["write", what] += 1

    monkeypatch.setattr(PlateFolder, "read", counting_read)
    monkeypatch.setattr(PlateFolder, "_place", counting_place)
    return counted


PLANE = np.arange(64, dtype="uint16").reshape(8, 8)


def test_one_plane_is_one_chunk(tmp_path: Path, calls: Counter[tuple[str, str]]) -> None:
    store = ZarrBackend(engine=ENGINE)
    paths = [tmp_path / f"p.zarr/A01_s001_w{c}_z{z:03d}.tif" for c in (1, 2) for z in range(1, 9)]
    store.save_batch([PLANE] * 16, paths)
    calls.clear()
    store.load(paths[5])
    assert calls == {("read", "metadata"): 2, ("read", "chunk"): 1}


def test_a_batch_of_a_well_writes_metadata_once(tmp_path: Path, calls: Counter[tuple[str, str]]) -> None:
    store = ZarrBackend(engine=ENGINE)
    paths = [
        tmp_path / f"p.zarr/A01_s{s:03d}_w{c}_z{z:03d}.tif"
        for s in (1, 2) for c in (1, 2) for z in range(1, 9)
    ]  # fmt: skip
    store.save_batch([PLANE] * 32, paths)
    # The plate, the row, the well; two fields and their arrays.
    assert {what: number for (verb, what), number in calls.items() if verb == "write"} == {
        "plate": 1, "metadata": 2 + 2 * 2, "chunk": 32,
    }  # fmt: skip
    calls.clear()
    store.save_batch([PLANE] * 32, paths)
    assert {what: number for (verb, what), number in calls.items() if verb == "write"} == {"chunk": 32}


def test_an_image_costs_the_same_in_any_plate(tmp_path: Path, calls: Counter[tuple[str, str]]) -> None:
    store = ZarrBackend(engine=ENGINE)
    costs = []
    for number in range(1, 97):
        calls.clear()
        store.save(PLANE, tmp_path / f"p.zarr/A{number:02d}_s001_w1.tif")
        costs.append(dict(calls))
    assert all(cost == costs[1] for cost in costs[2:])
    calls.clear()
    store.save(PLANE, tmp_path / "p.zarr/A05_s001_w1.tif")
    assert calls["write", "plate"] == calls["write", "metadata"] == 0


def test_listing_reads_no_pixels(tmp_path: Path, calls: Counter[tuple[str, str]]) -> None:
    store = ZarrBackend(engine=ENGINE)
    store.save_batch([PLANE] * 20, [tmp_path / f"p.zarr/A{n:02d}_s001_w1.tif" for n in range(1, 21)])
    calls.clear()
    assert len(store.list_files(tmp_path / "p.zarr")) == 20
    assert len(store.plate(tmp_path / "p.zarr")) == 20
    assert calls["read", "chunk"] == 0
