"""The zarr backend keeps the contract of every store, in plates and in ordinary folders, with either engine."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest

from polystore.backends.zarr import ZarrBackend
from polystore.omezarr.grouping import Version
from polystore.testing import BackendTests

ENGINE = os.environ.get("POLYSTORE_TEST_ZARR_ENGINE", "zarr")
SPAWNED = tuple(method for method in multiprocessing.get_all_start_methods() if method != "fork")
METHODS = SPAWNED if ENGINE == "tensorstore" else ("fork",)
TESTS = Path(__file__).parents[1]


class ZarrContract(BackendTests):
    start_methods = METHODS
    version: ClassVar[Version] = "0.5"
    place: ClassVar[str] = "contract"

    def make_backend(self) -> ZarrBackend:
        return ZarrBackend(self.folder, engine=ENGINE, version=self.version)  # type: ignore[arg-type]

    def path(self, name: str) -> str:
        return f"{self.place}/{name}"


class TestZarr(ZarrContract):
    start_methods = SPAWNED if ENGINE == "tensorstore" else tuple(multiprocessing.get_all_start_methods())


class TestInAPlate(ZarrContract):
    place = "plate.zarr"


class TestVersion04(ZarrContract):
    version = "0.4"
    place = "plate.zarr"


class TestS3(ZarrContract):
    """Urls of a bucket."""

    @pytest.fixture(autouse=True)
    def _place(self, bucket: str) -> None:
        self.url = bucket

    def make_backend(self) -> ZarrBackend:
        return ZarrBackend(engine=ENGINE, version=self.version)  # type: ignore[arg-type]

    def path(self, name: str) -> str:
        return f"{self.url}/plate.zarr/{name}"


@pytest.mark.timeout(900)  # it is as long as all the others together
def test_all_of_it_holds_with_tensorstore() -> None:
    # In a process of its own: one that has used tensorstore cannot be forked any more, and other tests fork.
    elsewhere = (
        "with_tensorstore",
        "TestInAPlate",
        "TestS3",
        "bucket",
        "killed",
        "full_disk",
    )  # with zarr-python
    chosen = " and ".join(f"not {name}" for name in elsewhere)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", chosen]
    done = subprocess.run(
        [*command, TESTS / "backends/test_zarr.py", TESTS / "omezarr", TESTS / "omezarr/engines_together.py"],
        env={**os.environ, "POLYSTORE_TEST_ZARR_ENGINE": "tensorstore", "CI": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
