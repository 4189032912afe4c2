"""Group ``storage``: what a plate costs beyond compressing its pixels.

96 wells of one 1024 x 1024 uint16 plane with a camera's noise, as an OME-Zarr 0.5 plate with all its metadata, in
a file system in memory where there is one. Each scheme runs in fresh processes, in turn; each process first times
the codec alone (numcodecs, blosc-zstd-1 with shuffle, memory to memory) and the ratio is to that. CPU time of the
process, user and system, so that neither threads nor a busy disk change it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.rows import BenchmarkError, Options, Row, median_row

ROOT = Path(__file__).resolve().parents[1]

ROUNDS = 5
SIZE = 1024
WELLS = [f"{row}{column:02d}" for row in "ABCDEFGH" for column in range(1, 13)]
LARGE = [f"{row}{column:02d}" for row in [*"ABCDEFGHIJKLMNOPQRSTUVWXYZ", "AA", "AB", "AC", "AD", "AE", "AF"]
         for column in range(1, 49)]  # fmt: skip
"""The wells of a plate of 1,536."""

RUN_SECONDS = 300.0

GOALS = {
    "storage.plate96.write_tensorstore_over_codec": "<= 1.7",
    "storage.plate96.write_zarr_over_codec": "<= 2.8",
    "storage.plate96.read_over_codec": "<= 1.7",
    "storage.write_1536_over_96_per_image": "<= 1.2",
    "storage.one_plane_chunks_read": "<= 1",
}


def run(options: Options) -> list[Row]:
    """Measure every scheme in turn, forwards and backwards."""
    found: dict[str, list[float]] = {}
    for number in range(1 if options.quick else ROUNDS):
        schemes = list(SCHEMES)
        for scheme in schemes if number % 2 == 0 else reversed(schemes):
            for name, value in _measured(scheme, options.quick).items():
                found.setdefault(name, []).append(value)
    return [
        median_row(f"storage.{name}", "chunks" if name.endswith("chunks_read") else "x", runs, GOALS)
        for name, runs in found.items()
    ]


def _measured(scheme: str, quick: bool) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.storage_group", scheme, "quick" if quick else "full"]
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=RUN_SECONDS, check=False,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise BenchmarkError(f"{scheme} took longer than {RUN_SECONDS:g} s") from error
    if done.returncode:
        raise BenchmarkError(f"{scheme} failed:\n{done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


# --- inside a process of its own ---------------------------------------------------------------------------


def make_planes(count: int = 8, size: int = SIZE) -> list[NDArray[np.uint16]]:
    """Return planes as a camera makes them: cells on a background, with the noise of photons."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[0:size, 0:size]
    cells = 300 + 2000 * np.exp(-((y % 128 - 64) ** 2 + (x % 128 - 64) ** 2) / 600.0)
    return [rng.poisson(cells + number).astype(np.uint16) for number in range(count)]


def cpu(work: Callable[[int], Any], count: int) -> float:
    """Return seconds of CPU per call."""
    begin = time.process_time()
    for number in range(count):
        work(number)
    return (time.process_time() - begin) / count


def codec_alone(planes: list[NDArray[np.uint16]]) -> tuple[float, float]:
    """Return seconds of CPU to encode and to decode one plane."""
    from numcodecs.blosc import Blosc

    codec = Blosc("zstd", 1, Blosc.SHUFFLE)
    encoded = [codec.encode(plane) for plane in planes]
    count = len(planes)
    encode = min(cpu(lambda n: codec.encode(planes[n % count]), 48) for _ in range(3))
    decode = min(cpu(lambda n: codec.decode(encoded[n % count]), 48) for _ in range(3))
    return encode, decode


def _ours(engine: str, folder: Path, planes: list[NDArray[np.uint16]], quick: bool) -> dict[str, float]:
    from polystore.backends.zarr import ZarrBackend

    store = ZarrBackend(engine=engine)  # type: ignore[arg-type]
    wells = WELLS[:12] if quick else WELLS
    store.save(planes[0], folder / "warm.zarr/A01_s001_w1.tif")
    store.load(folder / "warm.zarr/A01_s001_w1.tif")
    encode, decode = codec_alone(planes)
    paths = [str(folder / f"p.zarr/{well}_s001_w1.tif") for well in wells]
    write = cpu(lambda n: store.save(planes[n % len(planes)], paths[n]), len(paths))
    read = cpu(lambda n: store.load(paths[n]), len(paths))
    for number, path in enumerate(paths):
        if not np.array_equal(store.load(path), planes[number % len(planes)]):
            raise BenchmarkError(f"{path} is not what was saved")
    name = "read_over_codec" if engine == "tensorstore" else f"read_{engine}_over_codec"
    return {f"plate96.write_{engine}_over_codec": write / encode, f"plate96.{name}": read / decode}


def _tensorstore(folder: Path, planes: list[NDArray[np.uint16]], quick: bool) -> dict[str, float]:
    return _ours("tensorstore", folder, planes, quick)


def _zarr(folder: Path, planes: list[NDArray[np.uint16]], quick: bool) -> dict[str, float]:
    return _ours("zarr", folder, planes, quick) | {"one_plane_chunks_read": _chunks_read(folder)}


def _chunks_read(folder: Path) -> float:
    """Return how many chunks loading one plane of a stack reads."""
    from polystore.backends.zarr import ZarrBackend
    from polystore.omezarr.folder import PlateFolder

    store = ZarrBackend(engine="zarr")
    paths = [folder / f"stack.zarr/A01_s001_w{c}_z{z:03d}.tif" for c in (1, 2) for z in range(1, 9)]
    store.save_batch([np.full((64, 64), n, "u2") for n in range(16)], paths)
    read, keys = PlateFolder.read, []

    def counting(self: PlateFolder, key: str) -> bytes:
        keys.append(key)
        return read(self, key)

    PlateFolder.read = counting  # type: ignore[method-assign]
    store.load(paths[5])
    PlateFolder.read = read  # type: ignore[method-assign]
    return sum(not key.endswith("zarr.json") for key in keys)


def _growth(folder: Path, planes: list[NDArray[np.uint16]], quick: bool) -> dict[str, float]:
    from polystore.backends.zarr import ZarrBackend

    store = ZarrBackend(engine="tensorstore")
    store.save(planes[0], folder / "warm.zarr/A01_s001_w1.tif")
    small, large = (WELLS[:12], LARGE[:48]) if quick else (WELLS, LARGE)

    def write(plate: str, wells: list[str]) -> float:
        return cpu(
            lambda n: store.save(planes[n % len(planes)], f"{folder}/{plate}/{wells[n]}_s001_w1.tif"),
            len(wells),
        )

    # Before and after, as a process that has worked for a while may be slower or faster by then.
    before = write("small.zarr", small)
    grown = write("large.zarr", large)
    after = write("again.zarr", small)
    return {"write_1536_over_96_per_image": grown / ((before + after) / 2)}


def _ome_zarr_py(folder: Path, planes: list[NDArray[np.uint16]], quick: bool) -> dict[str, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import zarr
        from ome_zarr.format import FormatV05
        from ome_zarr.writer import write_image, write_plate_metadata, write_well_metadata
        from zarr.codecs import BloscCodec

        fmt = FormatV05()
        encode, _ = codec_alone(planes)
        wells = [f"{well[0]}/{int(well[1:])}" for well in (WELLS[:12] if quick else WELLS)]
        rows, columns = list("ABCDEFGH"), [str(number) for number in range(1, 13)]

        def plate(name: str, wells: list[str]) -> None:
            root = zarr.open_group(folder / name, mode="w", zarr_format=3)
            write_plate_metadata(root, rows, columns, wells, fmt=fmt)
            for number, well in enumerate(wells):
                group = root.require_group(well)
                write_well_metadata(group, ["0"], fmt=fmt)
                write_image(
                    planes[number % len(planes)][None, None, None], group.require_group("0"), axes="tczyx", fmt=fmt,
                    scale_factors=[],
                    storage_options={
                        "chunks": (1, 1, 1, SIZE, SIZE), "compressors": BloscCodec(cname="zstd", clevel=1),
                    },
                )  # fmt: skip

        plate("warm.zarr", wells[:1])
        return {
            "plate96.write_ome_zarr_py_over_codec": cpu(lambda _: plate("p.zarr", wells), 1)
            / len(wells)
            / encode
        }


SCHEMES: dict[str, Callable[[Path, list[NDArray[np.uint16]], bool], dict[str, float]]] = {
    "tensorstore": _tensorstore,
    "zarr": _zarr,
    "growth": _growth,
    "ome-zarr-py": _ome_zarr_py,
}
"""What is measured, each in processes of its own."""


def main() -> None:
    """Measure one scheme once and print its rows as JSON."""
    scheme, how = sys.argv[1:]
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="bench-storage-", dir=memory if memory.is_dir() else None))
    try:
        print(json.dumps(SCHEMES[scheme](folder, make_planes(), how == "quick")))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
