"""The zarr backend keeps the contract of every store, with either engine, in plates and in ordinary folders."""

from __future__ import annotations

from typing import ClassVar

from polystore.backends.zarr import ZarrBackend
from polystore.omezarr.engines import EngineName
from polystore.omezarr.grouping import Version
from polystore.testing import BackendTests


class ZarrContract(BackendTests):
    engine: ClassVar[EngineName]
    version: ClassVar[Version] = "0.5"
    folder_name: ClassVar[str] = "contract"

    def make_backend(self) -> ZarrBackend:
        return ZarrBackend(self.folder, engine=self.engine, version=self.version)

    def path(self, name: str) -> str:
        return f"{self.folder_name}/{name}"


class TestZarrPython(ZarrContract):
    engine = "zarr"


class TestTensorstore(ZarrContract):
    engine = "tensorstore"


class TestInAPlate(ZarrContract):
    engine = "tensorstore"
    folder_name = "plate.zarr"


class TestVersion04(ZarrContract):
    engine = "zarr"
    version = "0.4"
    folder_name = "plate.zarr"
