"""Prove, inside an environment, that its workspace packages came from the wheels in a folder.

Usage: ``python -I tools/check_wheel.py DIST PACKAGE ...``: exactly these workspace packages are installed,
each file of theirs has the checksum that the wheel in DIST records for it, and each imports with every
warning an error. The public index has other people's ``polystore`` and ``zmqruntime``: a version number
alone would prove little.
"""

from __future__ import annotations

import csv
import importlib
import importlib.metadata
import io
import sys
import tempfile
import warnings
import zipfile
from pathlib import Path

WORKSPACE = ("zmqruntime", "polystore", "openhcs-viewers")
DATA_FILES = {"openhcs-viewers": ("system_packages.json",)}

SMALL = frozenset({"zmqruntime", "polystore"})
"""What stays small: with all it needs, at most 8 distributions and 20 MiB beyond NumPy."""
MOST_DISTRIBUTIONS, MOST_BYTES = 8, 20 << 20


def recorded(text: str) -> dict[str, str]:
    """Return path and checksum of each row of a RECORD that has one, metadata left out.

    The installer adds files of its own to ``*.dist-info``; the code must be what was built.
    """
    rows = csv.reader(io.StringIO(text))
    return {path: checksum for path, checksum, _ in rows if checksum and ".dist-info/" not in path}


def check(dist_dir: Path, name: str) -> str:
    """Return the version of `name`, or exit saying what is wrong with it."""
    module_name = name.replace("-", "_")
    installed = importlib.metadata.distribution(name)
    wheels = list(dist_dir.glob(f"{module_name}-{installed.version}-*.whl"))
    if len(wheels) != 1:
        sys.exit(f"{name} {installed.version} is installed, but {dist_dir} holds {wheels or 'no such wheel'}")
    with zipfile.ZipFile(wheels[0]) as wheel:
        record = next(entry for entry in wheel.namelist() if entry.endswith(".dist-info/RECORD"))
        built = recorded(wheel.read(record).decode())
    have = recorded(installed.read_text("RECORD") or "")
    differing = sorted(path for path in built if have.get(path) != built[path])
    if differing:
        sys.exit(f"{name} {installed.version} did not come from {wheels[0].name}: {differing[:5]} differ")
    missing = {f"{module_name}/{data}" for data in ("py.typed", *DATA_FILES.get(name, ()))} - built.keys()
    if missing:
        sys.exit(f"{wheels[0].name} does not ship {sorted(missing)}")
    module = importlib.import_module(module_name)
    if not Path(module.__file__ or "").is_relative_to(sys.prefix):
        sys.exit(f"{module_name} was imported from {module.__file__}, not from {sys.prefix}")
    if module.__version__ != installed.version:
        sys.exit(f"{module_name}.__version__ is {module.__version__}, the wheel says {installed.version}")
    return installed.version


def footprint() -> str:
    """Return what is installed here, or exit when it is more than it may be."""
    # Of the environment itself, without what an installer may have put there.
    dists = {dist.metadata["Name"]: dist for dist in importlib.metadata.distributions()}
    names = sorted(dists.keys() - {"pip", "setuptools", "uv", "wheel"})
    size = sum(
        path.locate().stat().st_size
        for name in names
        if name != "numpy"
        for path in dists[name].files or ()
        if path.suffix != ".pyc" and path.locate().exists()
    )
    said = f"{len(names)} distributions ({', '.join(names)}), {size / (1 << 20):.1f} MiB beyond NumPy"
    if len(names) > MOST_DISTRIBUTIONS or size > MOST_BYTES:
        sys.exit(f"{said}: at most {MOST_DISTRIBUTIONS} and {MOST_BYTES >> 20} MiB")
    return said


def keeps_a_tiff() -> str:
    """Return how a TIFF came back that was written and read with nothing but the base."""
    import numpy as np

    files = importlib.import_module("polystore").FileManager()
    image = np.arange(12, dtype=np.uint16).reshape(3, 4)
    with tempfile.TemporaryDirectory() as folder:
        files.save(image, f"{folder}/A01_s001_w1.tif", "disk")
        files.copy(f"{folder}/A01_s001_w1.tif", "A01_s001_w1.tif", "disk", to_backend="memory")
        if not np.array_equal(files.load("A01_s001_w1.tif", "memory"), image):
            sys.exit("a TIFF did not come back as it was saved")
    return "a TIFF written, copied and read"


def main(folder: str, *expected: str) -> None:
    """Check every package of the workspace against what is expected here."""
    warnings.simplefilter("error")
    here = {dist.metadata["Name"] for dist in importlib.metadata.distributions()} & set(WORKSPACE)
    if here != set(expected):
        sys.exit(f"workspace packages here: {sorted(here)}; expected: {sorted(expected)}")
    for name in expected:
        print(f"{name} {check(Path(folder), name)}: from {folder}, imports")
    if SMALL.issuperset(expected):
        print(footprint())
    if "polystore" in expected:
        print(keeps_a_tiff())


if __name__ == "__main__":
    main(*sys.argv[1:])
