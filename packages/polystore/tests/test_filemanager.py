from __future__ import annotations

import multiprocessing
import pickle  # noqa: TID251
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import polystore.base
from polystore import Backend, FileManager
from polystore.abc import DataSink, StreamingBackend, VirtualBackend
from polystore.backends import (
    BACKENDS,
    STORAGE_BACKENDS,
    BackendInstances,
    available_backends,
    get_backend,
    register_backend,
    storage_registry,
)
from polystore.backends.disk import DiskBackend
from polystore.backends.memory import MemoryBackend
from polystore.errors import (
    BackendClashError,
    BackendLoadError,
    BackendNotFoundError,
    BatchError,
    BatchLengthError,
)
from polystore.testing import example_image


class Recorder(StreamingBackend):
    """A viewer that notes what it is given."""

    def __init__(self) -> None:
        self.calls: list[tuple[list[Any], list[Any], dict[str, Any]]] = []

    def save_batch(self, data_list: Sequence[Any], file_paths: Sequence[Any], **options: Any) -> str:
        self.calls.append((list(data_list), list(file_paths), options))
        return f"sent {len(data_list)}"


class Plate(VirtualBackend):
    """A plate without files, as in the seeds."""

    def list_files(self, directory: str) -> list[str]:
        return [f"{directory}/A01_s{site}.tif" for site in (10, 9)] + [f"{directory}/notes.txt"]

    def generate_filename(self, metadata: Mapping[str, Any]) -> str:
        return f"{metadata['well']}_s{metadata['site']:03d}.tif"


@pytest.fixture
def fm() -> FileManager:
    manager = FileManager()
    manager.mount("memory", MemoryBackend())
    return manager


@pytest.fixture
def viewer(fm: FileManager) -> Recorder:
    recorder = Recorder()
    fm.mount("napari_stream", recorder)
    return recorder


CONTEXT = {
    "step_index": 2,
    "step_name": "blur",
    "components": None,
    "port": 5555,
    "host": "localhost",
    "config": None,
}


def test_one_interface_for_all_stores(fm: FileManager, tmp_path: Path) -> None:
    for backend, base in (
        ("memory", "/plate"),
        ("disk", str(tmp_path)),
        (Backend.DISK, str(tmp_path / "again")),
    ):
        images = [example_image(seed) for seed in range(3)]
        paths = [f"{base}/A01_s{seed}.tif" for seed in (1, 2, 10)]
        fm.save_batch(images, paths, backend=backend)
        for image, loaded in zip(images, fm.load_batch(paths, backend), strict=True):
            np.testing.assert_array_equal(loaded, image)
        assert fm.list_files(base, backend) == paths
        assert fm.find(base, "*_s2*", backend) == [paths[1]]
        fm.mkdir(f"{base}/d", backend)
        fm.copy(paths[0], f"{base}/d/x.tif", backend)
        fm.move(paths[1], f"{base}/d/y.tif", backend)
        assert fm.list_dirs(base, backend) == [f"{base}/d"]
        assert [files for _, _, files in fm.walk(f"{base}/d", backend)] == [["x.tif", "y.tif"]]
        assert fm.exists(paths[0], backend)
        assert not fm.exists(paths[1], backend)
        assert fm.is_file(paths[0], backend)
        assert fm.is_dir(f"{base}/d", backend)
        fm.save({"count": 3}, f"{base}/results.json", backend=backend)
        assert fm.load(f"{base}/results.json", backend) == {"count": 3}
        fm.delete(f"{base}/d", backend, recursive=True)
        assert fm.list_files(base, backend, extensions=["tif"], recursive=True) == [paths[0], paths[2]]
        assert fm.list_files(base, backend, extensions=".tif", recursive=True) == [paths[0], paths[2]]


def test_the_seeds_call(fm: FileManager, viewer: Recorder) -> None:
    images, paths = [example_image()], ["A01_s001_z000_c000.tif"]
    assert fm.save_batch(data=images, paths=paths, backend="napari_stream") == "sent 1"
    assert viewer.calls == [(images, paths, {})]


def test_where_a_batch_belongs_goes_to_viewers(fm: FileManager, viewer: Recorder) -> None:
    fm.save_batch([example_image()], ["a.tif"], "napari_stream", **CONTEXT, kind="labels")
    assert viewer.calls[0][2] == {**CONTEXT, "kind": "labels"}
    fm.save_batch([example_image()], ["a.tif"], "memory", **CONTEXT)
    fm.save(example_image(), "b.tif", "memory", **CONTEXT)
    assert fm.list_files(".", "memory") == ["a.tif", "b.tif"]


def test_a_store_and_a_viewer_in_one_call(fm: FileManager, viewer: Recorder, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    result = fm.save_batch(
        [example_image()], [path], ["napari_stream", "disk"], **CONTEXT, compression="zlib"
    )
    assert result == {"disk": None, "napari_stream": "sent 1"}
    assert viewer.calls[0][2] == CONTEXT
    assert path.is_file()
    # What cannot be stored is not shown either.
    with pytest.raises(BatchError):
        fm.save_batch([np.array([None])], [path], ["napari_stream", "disk"])
    assert len(viewer.calls) == 1


def test_options_of_a_store_are_checked_by_it(fm: FileManager, tmp_path: Path) -> None:
    with pytest.raises(BatchError, match="compresion"):
        fm.save_batch([example_image()], [tmp_path / "a.tif"], "disk", compresion="zlib")


def test_lengths_are_checked_before_anything_is_written(fm: FileManager, viewer: Recorder) -> None:
    with pytest.raises(BatchLengthError, match=r"2 items, 1 paths"):
        fm.save_batch([1, 2], ["a"], ["memory", "napari_stream"])
    assert viewer.calls == []
    assert fm.list_files(".", "memory") == []


def test_batches_of_other_kinds(fm: FileManager) -> None:
    stack = np.stack([example_image(1), example_image(2)])
    fm.save_batch(stack, ["a", "b"], "memory")
    np.testing.assert_array_equal(fm.load("b", "memory"), stack[1])
    images: Any = (example_image(seed) for seed in (3, 4))
    paths: Any = iter(["c", "d"])
    fm.save_batch(images, paths, "memory")
    np.testing.assert_array_equal(fm.load("d", "memory"), example_image(4))


def test_unknown_backends_list_the_known(fm: FileManager) -> None:
    with pytest.raises(BackendNotFoundError, match=r"unknown backend 'zar'.*disk, fiji_stream, memory"):
        fm.save(1, "a", "zar")
    with pytest.raises(BackendNotFoundError, match="'omero_local'"):
        fm.save(1, "a", Backend.OMERO_LOCAL)
    with pytest.raises(BackendNotFoundError, match=r"'zarr' .known: memory"):
        FileManager({"memory": MemoryBackend()}).save(1, "a", Backend.ZARR)
    with pytest.raises(BackendNotFoundError):
        fm.save(1, "a", ["memory", "zar"])
    assert not fm.exists("a", "memory")


def test_what_a_backend_cannot_do_is_told(fm: FileManager, viewer: Recorder) -> None:
    fm.mount("plate", Plate())
    for call in (
        lambda: fm.load("a", "napari_stream"),
        lambda: fm.exists("a", "napari_stream"),
        lambda: fm.delete("a", "napari_stream"),
        lambda: fm.save(1, "a", "plate"),
        lambda: fm.load("a", "plate"),
    ):
        with pytest.raises(BackendLoadError, match=r"cannot be|keeps no"):
            call()


def test_virtual_stores_are_listed_by_their_metadata(fm: FileManager) -> None:
    fm.mount("plate", Plate())
    assert fm.list_files("/omero/plate_1", "plate", extensions="tif") == fm.list_files(
        "/omero/plate_1", "plate", extensions=[".tif"]
    )
    assert fm.list_files("/omero/plate_1", "plate", extensions=[".tif"]) == [
        "/omero/plate_1/A01_s9.tif",
        "/omero/plate_1/A01_s10.tif",
    ]
    assert fm.list_files("/omero/plate_1", "plate", "notes*") == ["/omero/plate_1/notes.txt"]
    assert Plate().generate_filename({"well": "A01", "site": 3}) == "A01_s003.tif"


def test_mounting_is_this_file_managers_alone(viewer: Recorder, fm: FileManager) -> None:
    assert fm.backend("napari_stream") is viewer
    assert FileManager().backend("napari_stream") is not viewer
    fm.unmount("napari_stream")
    fm.unmount("never")
    assert fm.backend("napari_stream") is FileManager().backend("napari_stream")


def test_file_managers_share_the_registrys_instances() -> None:
    FileManager().save("shared", "test_filemanager/shared", "memory")
    assert FileManager().load("test_filemanager/shared", "memory") == "shared"
    FileManager().delete("test_filemanager", "memory", recursive=True)
    own = FileManager({"memory": MemoryBackend()})
    assert not own.exists("test_filemanager/shared", "memory")
    assert "memory" in repr(own)


def test_it_pickles(fm: FileManager, tmp_path: Path) -> None:
    fm.mount("out", DiskBackend(tmp_path))
    again = pickle.loads(pickle.dumps(fm))
    again.save("x", "a.txt", "out")
    assert fm.load("a.txt", "out") == "x"
    assert again.backend("disk") is fm.backend("disk")


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_it_works_in_every_kind_of_worker(tmp_path: Path, method: str) -> None:
    manager = FileManager()
    path = str(tmp_path / "a.tif")
    with multiprocessing.get_context(method).Pool(1) as pool:
        pool.apply(manager.save, (example_image(), path, "disk"))
        assert pool.apply(manager.exists, (path, "disk"))
        assert not pool.apply(manager.exists, (path, "memory"))
    np.testing.assert_array_equal(manager.load(path, "disk"), example_image())


# -- the registry of backends


@pytest.fixture
def clean() -> Iterator[None]:
    yield
    for name in ("mine", "mine2"):
        if name in storage_registry._instances:
            del storage_registry[name]
        if name in BACKENDS._registered:
            BACKENDS.unregister(name)


def test_the_seeds_door() -> None:
    assert polystore.base.storage_registry is storage_registry
    assert polystore.base.STORAGE_BACKENDS is STORAGE_BACKENDS
    assert issubclass(polystore.base.StreamingBackend, DataSink)
    assert {"memory", "disk", "napari_stream"} <= set(STORAGE_BACKENDS)
    assert STORAGE_BACKENDS["disk"] is DiskBackend
    assert "disk" in STORAGE_BACKENDS
    assert len(STORAGE_BACKENDS) == len(list(STORAGE_BACKENDS))


def test_live_objects_are_put_in_by_name(clean: None) -> None:
    backend = MemoryBackend()
    storage_registry["mine"] = backend
    assert FileManager().backend("mine") is backend
    assert "mine" in available_backends()
    del storage_registry["mine"]
    assert "mine" not in storage_registry
    assert storage_registry.get("mine") is None
    with pytest.raises(BackendNotFoundError):
        del storage_registry["mine"]


def test_classes_are_registered_by_name(clean: None) -> None:
    register_backend("mine", MemoryBackend)
    assert isinstance(get_backend("mine"), MemoryBackend)
    assert get_backend("mine") is get_backend("mine")
    with pytest.raises(BackendClashError):
        register_backend("mine", DiskBackend)
    register_backend("mine2", "polystore.backends.disk:DiskBackend")
    assert isinstance(get_backend("mine2"), DiskBackend)


def test_aliases_name_the_same_instance() -> None:
    instances = BackendInstances(BACKENDS)
    live = MemoryBackend()
    instances["omero"] = live
    assert instances["omero_local"] is live
    assert "omero" in instances
    assert len(instances) == len(list(instances)) == len(BACKENDS.names()) + 1


def test_a_backend_that_needs_arguments_says_what_to_do(clean: None) -> None:
    def factory(connection: object) -> MemoryBackend:
        raise AssertionError(connection)

    register_backend("mine", factory)  # type: ignore[arg-type]
    with pytest.raises(BackendLoadError, match=r"storage_registry\['mine'\] = backend"):
        get_backend("mine")
