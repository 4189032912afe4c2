"""What ``import openhcs_viewers`` loads: no Qt, no napari and nothing that a viewer process alone needs."""

from __future__ import annotations

import importlib
import subprocess
import sys

FORBIDDEN = frozenset(
    "PIL PyQt5 PyQt6 PySide2 PySide6 cupy dask filelock imagecodecs imagej imageio jax jgo jpype lz4 matplotlib napari "
    "omero pandas platformdirs psutil qtpy rich scipy scyjava skimage superqt tensorflow tifffile torch vispy "
    "zarr".split()
)


def loaded_by(statement: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter holds after `statement`."""
    code = f"import sys; {statement}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.split())


def test_import_loads_nothing_heavy() -> None:
    assert loaded_by("import openhcs_viewers") & FORBIDDEN == set()


def test_dir_loads_nothing_heavy() -> None:
    assert loaded_by("import openhcs_viewers; dir(openhcs_viewers)") & FORBIDDEN == set()


def test_the_default_port_costs_no_numpy_where_nothing_is_configured() -> None:
    statement = "from openhcs_viewers.registry import default_port; assert default_port('napari') == 5555"
    assert "numpy" not in loaded_by(statement)


def test_public_names_resolve() -> None:
    module = importlib.import_module("openhcs_viewers")
    assert len(module.__all__) == len(set(module.__all__))
    assert set(module.__all__) <= set(dir(module))
    for name in module.__all__:
        getattr(module, name)


def test_unknown_name_is_an_attribute_error() -> None:
    module = importlib.import_module("openhcs_viewers")
    assert not hasattr(module, "no_such_name")
