"""Handlers by name: what registers, what is imported when, where plates are read and written, values of plates."""

from __future__ import annotations

import subprocess
import sys
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polystore import FileManager, ImageKey, VFSConfig
from polystore.abc import VirtualBackend
from polystore.constants import Backend
from polystore.errors import ComponentError
from polystore.microscopes import (
    HANDLERS,
    METADATA_HANDLERS,
    MICROSCOPE_HANDLERS,
    find_handler,
    open_plate,
)
from polystore.microscopes.filename_parser import FilenameParser
from polystore.microscopes.microscope_base import MetadataHandler, MicroscopeHandler
from polystore.microscopes.omero import OMEROHandler
from polystore.plate import PlaneRef, PlateIndex

BUILT_IN = ["cellomics", "cellvoyager", "imagexpress", "omero", "openhcs", "opera_phenix"]


@pytest.fixture
def cleanup() -> Iterator[list[str]]:
    names: list[str] = []
    yield names
    for name in names:
        HANDLERS.unregister(name)


def fresh(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


def test_names_are_listed_without_importing_a_handler() -> None:
    out = fresh(
        "import sys; from polystore.microscopes import MICROSCOPE_HANDLERS as m; print(list(m.keys()));"
        "print([n for n in ('polystore.microscopes.imagexpress', 'polystore.plate', 'numpy') if n in sys.modules])"
    )
    assert out.splitlines() == [str(BUILT_IN), "[]"]


def test_opening_a_plate_does_not_import_what_reads_pixels(tmp_path: Path) -> None:
    (tmp_path / "P_A01_s1_w1.tif").touch()
    out = fresh(
        "import sys; from polystore.microscopes import open_plate;"
        f"assert len(open_plate({str(tmp_path)!r})) == 1;"
        "print([n for n in ('tifffile', 'zarr', 'PIL') if n in sys.modules])"
    )
    assert out == "[]"


@pytest.mark.parametrize("name", BUILT_IN)
def test_each_built_in_is_whole(name: str) -> None:
    handler = MICROSCOPE_HANDLERS[name]()
    assert handler.microscope_type == name
    assert handler.looks_for != MicroscopeHandler.looks_for
    assert isinstance(handler.parser, FilenameParser)
    assert name == "omero" or issubclass(METADATA_HANDLERS[name], MetadataHandler)


def test_importing_a_built_in_does_not_register_it_twice() -> None:
    assert (
        fresh(
            "from polystore.microscopes.imagexpress import ImageXpressHandler as h;"
            "from polystore.microscopes import HANDLERS as r;"
            "print(r.plugin('imagexpress').origin, r.get('imagexpress') is h)"
        )
        == "built in True"
    )


def test_a_subclass_that_states_its_type_is_found_under_it(cleanup: list[str]) -> None:
    class MyMicroscopeHandler(MicroscopeHandler):
        _microscope_type = "my_microscope"

        def parse_filename(self, filename: str) -> dict[str, Any] | None:
            return {"well": filename[:3], "site": 1, "z_index": None, "extension": ".tif"}

    cleanup.append("my_microscope")
    assert MICROSCOPE_HANDLERS["my_microscope"] is MyMicroscopeHandler
    assert "my_microscope" in list(MICROSCOPE_HANDLERS.keys())
    handler = MyMicroscopeHandler()
    parsed = handler.parse("C04.tif")
    assert parsed is not None
    assert (parsed.key, parsed.parser) == (ImageKey(well="C04", field=1), "my_microscope")
    with pytest.raises(ComponentError):
        handler.parse("\0\0\0.tif")


def test_abstract_and_nameless_classes_register_nothing() -> None:
    before = list(MICROSCOPE_HANDLERS)

    class Abstract(MicroscopeHandler):
        _microscope_type = "abstract"

        @abstractmethod
        def more(self) -> None: ...

    class Nameless(MICROSCOPE_HANDLERS["imagexpress"]):  # type: ignore[misc]
        """It inherits a name and states none."""

    assert list(MICROSCOPE_HANDLERS) == before
    assert MICROSCOPE_HANDLERS["imagexpress"] is not Nameless


def test_only_parse_filename_is_abstract() -> None:
    assert MicroscopeHandler.__abstractmethods__ == {"parse_filename"}


# -- where plates are read and written


@pytest.mark.parametrize("name", ["imagexpress", "opera_phenix", "cellvoyager", "cellomics"])
def test_vendors_folders_are_read_from_disk_and_written_as_configured(name: str) -> None:
    handler, files = MICROSCOPE_HANDLERS[name](), FileManager()
    assert list(handler.compatible_backends) == [Backend.DISK]
    assert handler.get_primary_backend("/data/plate", files) == "disk"
    assert handler.get_materialization_backend("/data/plate", files) == "disk"
    zarr = VFSConfig(materialization_backend=Backend.ZARR)
    assert handler.get_materialization_backend("/data/plate", files, zarr) == "zarr"


def test_omero_is_read_and_written_in_omero_whatever_is_configured() -> None:
    handler, files = OMEROHandler(), FileManager()
    zarr = VFSConfig(materialization_backend=Backend.ZARR)
    assert list(handler.compatible_backends) == [Backend.OMERO_LOCAL]
    assert handler.get_primary_backend("/omero/plate_123", files) == "omero_local"
    assert handler.get_materialization_backend("/omero/plate_123", files, zarr) == "omero_local"
    assert isinstance(find_handler("/omero/plate_123"), OMEROHandler)


class Plates(VirtualBackend):
    """Names made from a plate's structure, as OMERO's backend makes them; counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def list_files(self, directory: str) -> list[str]:
        self.asked += 1
        return [
            f"{directory}/{well}/{well}_s{site:03d}_z{z:03d}_c{channel:03d}.tif"
            for well in ("A01", "B02")
            for site in (1, 2)
            for z in (0, 1)
            for channel in (0, 1, 2)
        ]

    def generate_filename(self, metadata: Any) -> str:
        raise NotImplementedError


def test_a_plate_in_omero_by_its_number_asks_once() -> None:
    store, files = Plates(), FileManager()
    files.mount("omero_local", store)
    plate = open_plate(123, files, microscope="omero")
    assert (plate.root, plate.backend, plate.microscope) == ("/omero/plate_123", "omero_local", "omero")
    assert plate.summary() == {
        "wells": ["A01", "B02"], "fields": [1, 2], "channels": [0, 1, 2], "z": [0, 1], "t": [], "planes": 24
    }  # fmt: skip
    assert store.asked == 1
    assert open_plate("/omero/plate_123", files) == plate
    store.asked = 1
    handler = OMEROHandler(backend=store)
    assert dict(handler.get_channel_values(123)) == {0: None, 1: None, 2: None}
    assert store.asked == 2
    assert list(handler.get_z_index_values(123)) == [0, 1]
    assert list(handler.get_timepoint_values("/omero/plate_123")) == []
    assert list(handler.get_well_values(123)) == ["A01", "B02"]
    assert store.asked == 2, "after the first question no call is made"


def test_a_store_that_lists_its_plates_itself_is_asked() -> None:
    class Listing(Plates):
        def plate(self, path: Any) -> PlateIndex:
            return PlateIndex(str(path), "omero_local", "omero", (PlaneRef(ImageKey(well="A01"), "x"),))

    files = FileManager()
    files.mount("omero_local", Listing())
    assert len(open_plate(5, files)) == 1
    assert len(open_plate(5, files, microscope="omero")) == 1


# -- what a plate holds


def test_the_handler_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    assert find_handler(tmp_path) is None
    (tmp_path / "x" / "r01c01f01p01-ch1sk1fk1fl1.tiff").touch()
    found = find_handler(tmp_path)
    assert found is not None
    assert found.microscope_type == "opera_phenix"
    assert find_handler(tmp_path / "x" / "r01c01f01p01-ch1sk1fk1fl1.tiff") is None


def test_a_broken_handler_is_left_out_and_reported(
    tmp_path: Path, cleanup: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    HANDLERS.register("broken", "no_such_module:Handler")
    cleanup.append("broken")
    (tmp_path / "P_A01_s1_w1.tif").touch()
    assert len(open_plate(tmp_path)) == 1
    assert [record.getMessage() for record in caplog.records] == ["microscope 'broken' is left out"]


def test_a_plate_in_memory(tmp_path: Path) -> None:
    files = FileManager()
    files.save(np.zeros((2, 2), "u2"), "/m/P_A01_s1_w1.tif", "memory")
    assert open_plate("/m", files, microscope="imagexpress").backend == "memory"
    files.delete("/m", "memory", recursive=True)


def test_the_example_of_the_docs(tmp_path: Path, cleanup: list[str]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "microscopes.md").read_text(encoding="utf-8")
    example = page.partition("## A microscope of your own")[2].partition("```python\n")[2].partition("```")[0]
    exec(compile(example, "microscopes.md", "exec"), {"__name__": "example"})
    cleanup.append("my_microscope")
    for name in ("B03-1-DAPI.tif", "B03-2-DAPI.tif", "notes.txt"):
        (tmp_path / name).touch()
    plate = open_plate(tmp_path)
    assert (plate.microscope, plate.fields, plate.channels) == ("my_microscope", (1, 2), ("DAPI",))
