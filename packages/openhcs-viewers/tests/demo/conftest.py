"""A small plate for all tests of the demo."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from openhcs_viewers.demo.synth import PlateDesign, write_plate

DESIGN = PlateDesign(name="Small", rows="B", columns=(2, 10), fields=2, planes=3, size=128, cells=300)


@pytest.fixture(scope="session")
def plate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2 wells, 2 fields, 3 channels, 3 planes: 36 images of 128 x 128."""
    return write_plate(tmp_path_factory.mktemp("plates"), DESIGN)


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make ``odd_steps`` importable, here and in workers."""
    folder = Path(__file__).parent.parent / "plugins"
    monkeypatch.syspath_prepend(folder)
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    monkeypatch.setenv("PYTHONPATH", path)
    return folder


@pytest.fixture
def marked_plate(tmp_path: Path) -> Callable[..., Path]:
    """Write the small plate with a mark in one image, for `odd_steps`; well and field of the mark can be given."""

    def write(well: str = "B10", field: int = 1) -> Path:
        import tifffile

        root = write_plate(tmp_path / "plates", DESIGN)
        path = next(root.rglob(f"ZStep_2/*_{well}_s{field}_w1*.tif"))
        with tifffile.TiffFile(path) as file:
            image, description = file.asarray(), file.pages[0].description
        image[0, 0] = 65535
        tifffile.imwrite(path, image, description=description, metadata=None)
        return root

    return write
