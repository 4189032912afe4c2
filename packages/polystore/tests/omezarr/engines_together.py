"""Either engine reads what the other wrote. Run by test_zarr.py in a process of its own: tensorstore and forks do
not go together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polystore.backends.zarr import ZarrBackend

PLANE = np.random.default_rng(0).integers(0, 4000, (24, 32))


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("engines", [("zarr", "tensorstore"), ("tensorstore", "zarr")])
def test_engines_read_each_other(tmp_path: Path, engines: tuple[Any, Any], version: Any) -> None:
    writer, reader = (ZarrBackend(engine=engine, version=version) for engine in engines)
    for dtype in ("bool", "uint16", "float16", "complex64"):
        for name in (f"p.zarr/A01_s001_w1_{dtype}.tif", f"{dtype}.zarr/A01_s001_w1.tif"):
            writer.save(PLANE.astype(dtype), tmp_path / name)
            np.testing.assert_array_equal(reader.load(tmp_path / name), PLANE.astype(dtype))
    large = np.zeros((4100, 4100), "uint8")
    large[::9, ::7] = 3
    writer.save(large, tmp_path / "large.tif")
    np.testing.assert_array_equal(reader.load(tmp_path / "large.tif"), large)
