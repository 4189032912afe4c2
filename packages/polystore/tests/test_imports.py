"""What ``import polystore`` loads: numpy, but neither ZeroMQ nor what an extra brings."""

from __future__ import annotations

import importlib
import subprocess
import sys

FORBIDDEN = frozenset(
    "PIL PyQt5 PyQt6 PySide2 PySide6 cupy dask filelock imagecodecs imageio jax jpype lz4 matplotlib napari "
    "omero pandas platformdirs psutil qtpy rich scipy skimage superqt tensorflow tifffile torch vispy "
    "zarr zmq zmqruntime".split()
)


def loaded_by(statement: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter holds after `statement`."""
    code = f"import sys; {statement}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.split())


def test_import_loads_nothing_heavy() -> None:
    assert loaded_by("import polystore") & FORBIDDEN == set()


def test_dir_loads_nothing_heavy() -> None:
    assert loaded_by("import polystore; dir(polystore)") & FORBIDDEN == set()


def test_public_names_resolve() -> None:
    module = importlib.import_module("polystore")
    assert len(module.__all__) == len(set(module.__all__))
    assert set(module.__all__) <= set(dir(module))
    for name in module.__all__:
        getattr(module, name)


def test_unknown_name_is_an_attribute_error() -> None:
    module = importlib.import_module("polystore")
    assert not hasattr(module, "no_such_name")


def test_a_pipeline_that_streams_loads_no_hyperstacks() -> None:
    """They are a viewer's; what they take is taken from every worker's start."""
    code = (
        "import sys, polystore.backends.napari_stream, polystore.backends.fiji_stream; "
        "print([name for name in sys.modules if 'hyperstack' in name or name.endswith('_roi_hosts')]); "
        "from polystore.projection import HyperstackProjection, host_of, project_hyperstacks"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
