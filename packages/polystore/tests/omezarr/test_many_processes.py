"""Several processes on one plate: nothing is lost, nothing torn, whoever is killed."""

from __future__ import annotations

import importlib.util
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaozarrs

from polystore.backends.zarr import ZarrBackend
from polystore.errors import NotFoundError, StorageError

pytestmark = pytest.mark.timeout(1800)  # the slow forms are long
ENGINE: Any = os.environ.get("POLYSTORE_TEST_ZARR_ENGINE", "zarr")
WRITER = Path(__file__).with_name("plate_writer.py")
_spec = importlib.util.spec_from_file_location("plate_writer", WRITER)
assert _spec is not None
assert _spec.loader is not None
writer = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(writer)


def start(count: int, mode: str) -> list[subprocess.Popen[str]]:
    processes = [
        subprocess.Popen(
            [sys.executable, WRITER, ENGINE, str(number), str(count), mode],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for number in range(count)
    ]  # fmt: skip
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
    except BaseException:
        end(processes)
        raise
    return processes


def go(processes: list[subprocess.Popen[str]], plate: Path) -> None:
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(f"{plate}\n")
        process.stdin.flush()


def end(processes: list[subprocess.Popen[str]]) -> None:
    for process in processes:
        process.kill()
        process.communicate()


def test_eight_processes_lose_nothing(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    processes = start(8, "once")
    try:
        for run in range(100 if request.config.getoption("--slow") else 10):
            plate = tmp_path / f"{run}.zarr"
            go(processes, plate)
            for process in processes:
                assert process.stdout is not None
                assert process.stdout.readline() == "done\n", process.communicate()[1][-2000:]
            check(plate, whole=run % 10 == 0)
    finally:
        end(processes)


def check(plate: Path, *, whole: bool) -> None:
    store = ZarrBackend(engine=ENGINE)
    index = store.plate(plate)
    assert sorted(plane.path for plane in index) == sorted(writer.names())
    assert index.wells == tuple(writer.WELLS)
    for name in writer.names():
        np.testing.assert_array_equal(store.load(plate / name), writer.plane(name))
    if whole:
        yaozarrs.validate_zarr_store(str(plate))
    assert leftovers(plate) == []


def leftovers(plate: Path) -> list[Path]:
    """Unfinished files (locks that a killed process left are the next one's to take)."""
    return list(plate.rglob(".polystore-*.tmp"))


def test_killed_writers_leave_old_or_new(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    plate, store, rng = tmp_path / "p.zarr", ZarrBackend(engine=ENGINE), random.Random(4)
    allowed = {name: [writer.plane(name, version) for version in range(3)] for name in writer.names()}
    for _ in range(50 if request.config.getoption("--slow") else 2):  # of four kills each
        processes = start(4, "forever")
        go(processes, plate)
        for process in processes:
            time.sleep(rng.uniform(0.0, 0.2))  # the instant of the crash
            process.send_signal(signal.SIGKILL)
        end(processes)
        found = store.list_files(plate) if store.exists(plate) else []
        for path in found:
            loaded = store.load(path)
            assert any(np.array_equal(loaded, version) for version in allowed[Path(path).name]), path
        if found:
            yaozarrs.validate_zarr_store(str(plate))
    code = (
        "import sys; from polystore.backends.zarr import ZarrBackend; import numpy as np\n"
        f"ZarrBackend(engine={ENGINE!r}).save(np.zeros((64, 64), 'u2'), sys.argv[1] + '/D04_s001_w1_z001.tif')"
    )
    subprocess.run([sys.executable, "-c", code, plate], check=True)
    assert leftovers(plate) == []  # the next that opens the plate to write


def test_a_reader_sees_no_torn_plane(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    plate, store = tmp_path / "p.zarr", ZarrBackend(engine=ENGINE)
    processes = start(2, "forever")
    go(processes, plate)
    polls = torn = 0
    try:
        while polls < (100_000 if request.config.getoption("--slow") else 1_500):
            for name in writer.names()[::5]:
                try:
                    loaded = store.load(plate / name)
                except NotFoundError:
                    continue  # not written yet
                polls += 1
                torn += loaded.min() != loaded.max()
        assert all(process.poll() is None for process in processes)
    finally:
        end(processes)
    assert torn == 0


FULL = """
import resource, signal, sys, numpy as np
from polystore.backends.zarr import ZarrBackend
from polystore.errors import StorageError
plate, engine, name = sys.argv[1:]
store = ZarrBackend(engine=engine)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    store.save(np.random.default_rng(0).integers(0, 60000, (512, 512)).astype("u2"), f"{plate}/{name}")
except StorageError as exc:
    print(type(exc).__name__, exc.errno, exc)
"""


@pytest.mark.parametrize("name", ["A01_s001_w1.tif", "mean.tif"])
def test_a_full_disk_is_told_and_leaves_the_old(tmp_path: Path, name: str) -> None:
    plate, store = tmp_path / "p.zarr", ZarrBackend(engine=ENGINE)
    old = np.zeros((512, 512), "uint16")
    store.save(old, plate / name)
    done = subprocess.run(
        [sys.executable, "-c", FULL, plate, ENGINE, name], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("StorageError 27 "), done.stdout + done.stderr
    assert "p.zarr" in done.stdout
    np.testing.assert_array_equal(store.load(plate / name), old)
    assert leftovers(plate) == []
    assert issubclass(StorageError, OSError)
