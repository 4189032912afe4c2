from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

import polystore

EXPECTED = [
    "ROI", "Backend", "BackendNotFoundError", "Component", "DataSink", "DataSource", "DimensionMode", "DisplaySpec",
    "FileManager", "ImageKey", "ImageReceiver", "ImageSender", "MissingExtraError", "PolystoreError",
    "StorageBackend", "StreamingBackend", "VFSConfig", "VirtualBackend", "__version__", "available_backends",
    "get_backend", "open_plate", "parse_filename", "parse_path", "project_layers", "register_backend",
]  # fmt: skip


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_public_names() -> None:
    """A new one needs a reason."""
    assert polystore.__all__ == EXPECTED
    assert set(EXPECTED) <= set(dir(polystore))
    assert set(polystore._HOMES) == set(EXPECTED) - {"__version__"}


@pytest.mark.parametrize("name", EXPECTED)
def test_each_is_there_and_documented(name: str) -> None:
    if name in ("ImageReceiver", "ImageSender"):
        return  # in streaming/: they need an extra
    value = getattr(polystore, name)
    assert name == "__version__" or value.__doc__


def test_the_version_is_the_distributions() -> None:
    assert polystore.__version__ == version("polystore")


def test_other_names_are_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        polystore.nope  # noqa: B018


def test_importing_imports_next_to_nothing() -> None:
    code = (
        "import sys; before = set(sys.modules); import polystore;"
        "print(*{m.partition('.')[0] for m in set(sys.modules) - before} - sys.stdlib_module_names)"
    )
    assert run(code) == "polystore"


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import polystore; polystore.available_backends()", ["numpy", "tifffile", "zmq", "zmqruntime", "msgspec"]),
        ("import polystore; polystore.FileManager()", ["numpy", "tifffile", "zmq", "zmqruntime"]),
        ("import polystore; polystore.ImageKey(); polystore.parse_path('A01_s1_w1.tif')", ["numpy", "zmq"]),
        ("import polystore; fm = polystore.FileManager(); fm.exists('a', 'disk'); fm.exists('a', 'memory')",
         ["tifffile", "PIL", "zmq", "msgspec"]),
    ],
)  # fmt: skip
def test_each_use_imports_what_it_needs(code: str, absent: list[str]) -> None:
    found = run(f"import sys; {code}; print([m for m in {absent!r} if m in sys.modules])")
    assert found == "[]"
