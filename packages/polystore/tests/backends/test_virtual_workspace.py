from __future__ import annotations

import json
import os
import pickle  # noqa: TID251
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from polystore import FileManager, VirtualBackend
from polystore.abc import StorageBackend
from polystore.backends._workspace_file import FileRef
from polystore.backends.disk import DiskBackend
from polystore.backends.memory import MemoryBackend
from polystore.backends.virtual_workspace import VirtualWorkspaceBackend, create_workspace
from polystore.backends.zarr import ZarrBackend
from polystore.components import ImageKey
from polystore.errors import (
    AlreadyExistsError,
    CorruptFileError,
    NotAFileError,
    NotAFolderError,
    NotFoundError,
    StorageError,
    UnsafePathError,
    UnsupportedFormatError,
)
from polystore.microscopes import open_plate
from polystore.plate import ChannelInfo, PlaneRef, PlateIndex, PlateInfo
from polystore.testing import BackendTests, example_image

FILE = "polystore_workspace.json"
MIXED = [  # key, file, page
    (
        {"well": "A01", "field": 1, "channel": 1, "z": 1, "t": 1},
        "TimePoint_1/ZStep_1/p_A01_s1_w1AB.tif",
        None,
    ),
    (
        {"well": "A01", "field": 1, "channel": 1, "z": 2, "t": 1},
        "TimePoint_1/ZStep_2/p_A01_s1_w1CD.tif",
        None,
    ),
    ({"well": "A01", "field": 1, "channel": 3, "t": 1}, "TimePoint_1/p_A01_s1_w3.png", None),
    ({"well": "B02", "field": 10, "channel": 1, "z": 1, "t": 1}, "stack.tif", 0),
    ({"well": "B02", "field": 10, "channel": 1, "z": 2, "t": 1}, "stack.tif", 2),
]
NAMES = [
    "A01_s001_w1_z001_t001.tif", "A01_s001_w1_z002_t001.tif", "A01_s001_w3_t001.tif", "B02_s010_w1_z001_t001.tif",
    "B02_s010_w1_z002_t001.tif",
]  # fmt: skip
INFO = PlateInfo(
    name="p",
    rows=8,
    columns=12,
    pixel_size_um=(0.65, 0.65),
    channels={1: ChannelInfo("DAPI", 405.0, 450.0, 20.0, "0000FF"), 3: ChannelInfo("GFP")},
    positions_um={("A01", 1): (10.0, -20.5)},
    acquired="2023-02-21T13:34:00",
)


def make_plate(folder: Path) -> PlateIndex:
    """A vendor's plate on disk: folders of steps, a projection, and a stack in one file."""
    vendor = DiskBackend(folder)
    for seed, (_, path, page) in enumerate(MIXED):
        if page is None:
            vendor.save(example_image(seed), path)
    vendor.save(np.stack([example_image(3), example_image(9), example_image(4)]), "stack.tif")
    planes = tuple(PlaneRef(ImageKey(**key), path, page) for key, path, page in MIXED)  # type: ignore[arg-type]
    return PlateIndex(str(folder), "disk", "imagexpress", planes, INFO)


@pytest.fixture
def workspace(tmp_path: Path) -> str:
    return create_workspace(make_plate(tmp_path / "vendor"), tmp_path / "tidy")


class TestEmptyWorkspace(BackendTests):
    def make_backend(self) -> VirtualWorkspaceBackend:
        return VirtualWorkspaceBackend(self.folder)


class TestWorkspaceWithAPlate(BackendTests):
    """What is saved lives beside a plate that is only mapped, and neither disturbs the other."""

    def make_backend(self) -> VirtualWorkspaceBackend:
        index = make_plate(self.folder / "vendor")
        self.workspace = create_workspace(index, self.folder / "tidy", names=self._name)
        return VirtualWorkspaceBackend()

    def _name(self, key: ImageKey) -> str:
        return f"plate/{VirtualWorkspaceBackend().generate_filename(key.as_dict())}"

    def path(self, name: str) -> str:
        return f"{self.folder}/tidy/contract/{name}"


class TestMappedImages(BackendTests):
    """The same contract when every image is mapped first: what `save` does is to add it to the mapping."""

    names = ("with space", "\u7ec6\u80de", "100%", "[x]", "-dash", "a&b;c", "UPPER", "upper")

    def make_backend(self) -> StorageBackend:
        return MappingBackend(self.folder)

    # Mapped names hold images only where the mapping says so; these say something of saved files.
    test_a_refused_value_leaves_the_old_one = None  # type: ignore[assignment]
    test_threads = None  # type: ignore[assignment]
    test_worker_processes = None  # type: ignore[assignment]
    test_fork_while_threads_use_it = None  # type: ignore[assignment]
    test_bytes = None  # type: ignore[assignment]
    test_pickles = None  # type: ignore[assignment]


class MappingBackend(VirtualWorkspaceBackend):
    """A workspace that, for a test, maps images instead of keeping them."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "tidy", sources=[folder])
        self._vendor = DiskBackend(folder / "vendor")
        self._count = 0
        planes = (PlaneRef(ImageKey(well="Z26", field=9), "none.tif"),)
        create_workspace(PlateIndex(str(folder / "vendor"), "disk", "x", planes), folder / "tidy")

    def save(self, data: Any, path: Any, *, overwrite: bool = True, **options: Any) -> None:
        if not str(path).endswith(".tif"):
            return super().save(data, path, overwrite=overwrite, **options)
        place = self._place(path)
        self._check_new(place, path)
        if place.results.kind(place.folder) == "folder":
            raise NotAFileError(f"{path} is a folder")
        if not overwrite and place.name in place.mapped.files:
            raise AlreadyExistsError(f"{path} is there")
        self._count += 1
        self._vendor.save(data, f"{self._count}.tif")
        added = {place.name: FileRef("plate", f"{self._count}.tif")}
        self._change(place.workspace, lambda mapped: mapped.changed(add=added, remove=[self.first]))

    first = "Z26_s009.tif"


def test_it_is_a_tidy_plate(workspace: str) -> None:
    store = VirtualWorkspaceBackend()
    assert store.list_files(workspace) == [f"{workspace}/{name}" for name in NAMES]
    for seed, name in enumerate(NAMES):
        np.testing.assert_array_equal(store.load(f"{workspace}/{name}"), example_image(seed))
        assert store.is_file(f"{workspace}/{name}")
    assert os.listdir(workspace) == [FILE]
    assert store.list_files(workspace, "*_w1_*", recursive=True) == [
        f"{workspace}/{name}" for name in NAMES if "_w1_" in name
    ]


def test_its_name_works_in_every_call(workspace: str) -> None:
    fm = FileManager()
    for backend in ("virtual_workspace", "workspace", "auto"):
        assert fm.list_files(workspace, backend) == [f"{workspace}/{name}" for name in NAMES]
        np.testing.assert_array_equal(fm.load(f"{workspace}/{NAMES[4]}", backend), example_image(4))
    assert isinstance(fm.backend("workspace"), VirtualBackend)
    assert fm.backend_for(f"{workspace}/results/new.tif") == "virtual_workspace"
    assert fm.backend_for(os.path.dirname(workspace)) == "disk"


def test_the_mapping_reads_well(workspace: str) -> None:
    document = json.loads(Path(workspace, FILE).read_text())
    assert document["sources"] == {"plate": {"path": "../vendor"}}
    assert list(document["files"]) == NAMES
    assert document["files"][NAMES[4]] == {"source": "plate", "path": "stack.tif", "page": 2}
    assert document["plate"]["channels"][1] == {"channel": 3, "name": "GFP"}


def test_it_knows_the_plate(workspace: str) -> None:
    index = VirtualWorkspaceBackend().plate(workspace)
    assert index.info == INFO
    assert index.microscope == "imagexpress"
    assert [plane.path for plane in index.planes] == NAMES
    assert index.summary() == {
        "wells": ["A01", "B02"], "fields": [1, 10], "channels": [1, 3], "z": [1, 2], "t": [1], "planes": 5,
    }  # fmt: skip
    store = VirtualWorkspaceBackend()
    store.describe(workspace, PlateInfo(name="other"))
    assert store.plate(workspace).info == PlateInfo(name="other")


def test_a_plate_and_its_workspace_move_together(workspace: str, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("vendor", "tidy"):
        (tmp_path / name).rename(moved / name)
    loaded = VirtualWorkspaceBackend().load(moved / "tidy" / NAMES[0])
    np.testing.assert_array_equal(loaded, example_image(0))


@pytest.mark.parametrize(
    ("plate", "target", "noted"),
    [
        ("vendor", "vendor/tidy", ".."),
        ("a/vendor", "b/tidy", None),
        ("b/in/vendor", "b/tidy", "../in/vendor"),
    ],
)
def test_where_the_plate_is_noted(tmp_path: Path, plate: str, target: str, noted: str | None) -> None:
    workspace = create_workspace(make_plate(tmp_path / plate), tmp_path / target)
    document = json.loads(Path(workspace, FILE).read_text())
    assert document["sources"]["plate"]["path"] == (noted or str(tmp_path / plate))
    np.testing.assert_array_equal(VirtualWorkspaceBackend().load(f"{workspace}/{NAMES[0]}"), example_image(0))


def test_listing_looks_at_no_source(workspace: str, tmp_path: Path) -> None:
    (tmp_path / "vendor").rename(tmp_path / "away")
    store = VirtualWorkspaceBackend()
    assert len(store.list_files(workspace)) == 5
    assert store.kind(f"{workspace}/{NAMES[0]}") == "file"
    with pytest.raises(NotFoundError, match=f"{NAMES[0]} stands for TimePoint_1"):
        store.load(f"{workspace}/{NAMES[0]}")


def test_results_are_real_files_beside(workspace: str, tmp_path: Path) -> None:
    store = VirtualWorkspaceBackend()
    before = {path: path.read_bytes() for path in (tmp_path / "vendor").rglob("*") if path.is_file()}
    store.save(example_image(20), f"{workspace}/{NAMES[0]}")  # hides the mapped one
    store.save({"n": 1}, f"{workspace}/results/counts.json")
    assert tifffile.imread(Path(workspace, NAMES[0])).shape == (5, 7)
    np.testing.assert_array_equal(store.load(f"{workspace}/{NAMES[0]}"), example_image(20))
    assert store.list_files(workspace) == [f"{workspace}/{name}" for name in NAMES]
    assert store.list_dirs(workspace) == [f"{workspace}/results"]
    with pytest.raises(AlreadyExistsError, match="hide"):
        store.save(example_image(), f"{workspace}/{NAMES[1]}", overwrite=False)
    store.delete(f"{workspace}/{NAMES[0]}")
    store.delete(f"{workspace}/{NAMES[1]}")
    assert [os.path.basename(path) for path in store.list_files(workspace)] == NAMES[2:]
    assert {path: path.read_bytes() for path in (tmp_path / "vendor").rglob("*") if path.is_file()} == before


def test_copying_copies_no_pixel(workspace: str) -> None:
    store = VirtualWorkspaceBackend()
    store.copy(f"{workspace}/{NAMES[4]}", f"{workspace}/best/one.tif")
    store.move(f"{workspace}/{NAMES[0]}", f"{workspace}/best/two.tif")
    assert os.listdir(workspace) == [FILE]
    np.testing.assert_array_equal(store.load(f"{workspace}/best/one.tif"), example_image(4))
    np.testing.assert_array_equal(store.load(f"{workspace}/best/two.tif"), example_image(0))
    assert not store.exists(f"{workspace}/{NAMES[0]}")
    store.save(example_image(7), f"{workspace}/best/three.tif")
    store.copy(f"{workspace}/best", f"{workspace}/again")
    assert len(store.list_files(f"{workspace}/again")) == 3
    assert sorted(os.listdir(f"{workspace}/again")) == ["three.tif"]
    store.copy(f"{workspace}/{NAMES[1]}", f"{workspace}/again/three.tif", overwrite=True)
    np.testing.assert_array_equal(store.load(f"{workspace}/again/three.tif"), example_image(1))
    np.testing.assert_array_equal(store.load(f"{workspace}/best/three.tif"), example_image(7))


def test_files_and_folders_do_not_mix_with_mapped_ones(workspace: str) -> None:
    store = VirtualWorkspaceBackend()
    store.copy(f"{workspace}/{NAMES[0]}", f"{workspace}/d/one.tif")
    with pytest.raises(NotAFileError):
        store.save("x", f"{workspace}/d")
    for call in (store.mkdir, lambda path: store.save("x", f"{path}/a.txt"), store.list_files):
        with pytest.raises(NotAFolderError):
            call(f"{workspace}/{NAMES[0]}")
    with pytest.raises(NotAFileError):
        store.load(f"{workspace}/d")
    with pytest.raises(StorageError, match="recursive=True"):
        store.delete(f"{workspace}/d")
    store.delete(f"{workspace}/d", recursive=True)
    assert not store.exists(f"{workspace}/d")
    for path in (FILE, f"sub/{FILE}"):
        with pytest.raises(UnsafePathError, match="own file"):
            store.save({}, f"{workspace}/{path}")
    with pytest.raises(UnsafePathError, match="workspace itself"):
        store.delete(workspace, recursive=True)


def test_to_disk_goes_the_file_itself_or_the_page(workspace: str, tmp_path: Path) -> None:
    fm = FileManager()
    fm.copy(workspace, tmp_path / "out", "workspace", to_backend="disk")
    assert sorted(os.listdir(tmp_path / "out")) == NAMES
    for seed, name in enumerate(NAMES):
        np.testing.assert_array_equal(tifffile.imread(tmp_path / "out" / name), example_image(seed))
    vendor = (tmp_path / "vendor" / MIXED[0][1]).read_bytes()  # type: ignore[operator]
    assert (tmp_path / "out" / NAMES[0]).read_bytes() == vendor
    store = VirtualWorkspaceBackend()
    for name in (NAMES[2], NAMES[4]):  # a PNG by another name, a page
        with pytest.raises(UnsupportedFormatError):
            store.open_binary(f"{workspace}/{name}")


def test_outside_any_workspace(tmp_path: Path) -> None:
    store = VirtualWorkspaceBackend()
    assert not store.exists(tmp_path / "a.tif")
    for call in (store.load, store.list_files, store.mkdir, lambda path: store.save("x", path)):
        with pytest.raises(NotFoundError, match="create_workspace"):
            call(tmp_path / "a.txt")


def test_the_nearest_workspace_counts(workspace: str, tmp_path: Path) -> None:
    create_workspace(
        make_plate(tmp_path / "vendor2"),
        f"{workspace}/inner",
        names=lambda key: f"x{key.z}{key.well}{key.channel}.tif",
    )
    store = VirtualWorkspaceBackend()
    assert f"{workspace}/inner/x1A011.tif" in store.list_files(f"{workspace}/inner")
    assert store.list_dirs(workspace) == [f"{workspace}/inner"]


def test_sources_of_other_backends(tmp_path: Path) -> None:
    memory = MemoryBackend()
    memory.save(example_image(5), "/plate/one.any")
    planes = (PlaneRef(ImageKey(well="A01", field=1), "one.any"),)
    workspace = create_workspace(PlateIndex("/plate", "memory", "x", planes), tmp_path / "w")
    store = VirtualWorkspaceBackend(registry={"memory": memory})
    np.testing.assert_array_equal(store.load(f"{workspace}/A01_s001.tif"), example_image(5))


def test_a_workspace_of_a_workspace(workspace: str, tmp_path: Path) -> None:
    index = VirtualWorkspaceBackend().plate(workspace)
    second = create_workspace(index, tmp_path / "second")
    np.testing.assert_array_equal(VirtualWorkspaceBackend().load(f"{second}/{NAMES[4]}"), example_image(4))


def test_making_one_twice(workspace: str, tmp_path: Path) -> None:
    index = make_plate(tmp_path / "vendor")
    with pytest.raises(AlreadyExistsError):
        create_workspace(index, workspace)
    create_workspace(index, workspace, overwrite=True)
    with pytest.raises(StorageError, match="would both be"):
        create_workspace(index, tmp_path / "w2", names=lambda key: "same.tif")
    with pytest.raises(UnsafePathError):
        create_workspace(index, tmp_path / "w2", names=lambda key: f"../{key.well}.tif")
    assert not (tmp_path / "w2").exists()


def test_the_seeds_names() -> None:
    store: VirtualBackend = VirtualWorkspaceBackend()
    name = store.generate_filename({"well": "A01", "site": 1, "channel": 1, "z_index": 1, "timepoint": 1})
    assert name == "A01_s001_w1_z001_t001.tif"
    assert store.generate_filename({"well": "b3", "site": "s12", "extension": ".png"}) == "B03_s012.png"


# -- safety


def rewrite(workspace: str, change: Any) -> None:
    path = Path(workspace, FILE)
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    "bad",
    [
        "../secret.tif",
        "/etc/passwd",
        "a/../../secret.tif",
        "C:\\x.tif",
        "a\\..\\..\\x",
        "a//b",
        "./a",
        "",
        "a\0b",
    ],
)
@pytest.mark.parametrize("side", ["name", "source"])
def test_paths_of_a_mapping_do_not_leave_their_roots(workspace: str, bad: str, side: str) -> None:
    def change(document: Any) -> None:
        if side == "source":
            document["files"][NAMES[0]]["path"] = bad
        else:
            document["files"][bad] = document["files"].pop(NAMES[0])

    rewrite(workspace, change)
    store = VirtualWorkspaceBackend()
    for call in (store.list_files, store.plate, lambda path: store.save("x", f"{path}/a.txt")):
        with pytest.raises(UnsafePathError, match=FILE):
            call(workspace)
    with pytest.raises(UnsafePathError, match=FILE):
        store.load(f"{workspace}/{NAMES[1]}")


def test_links_out_of_a_source_are_refused(workspace: str, tmp_path: Path) -> None:
    DiskBackend().save(example_image(30), tmp_path / "secret.tif")
    (tmp_path / "vendor" / "link.tif").symlink_to(tmp_path / "secret.tif")
    (tmp_path / "vendor" / "up").symlink_to(tmp_path)
    for path in ("link.tif", "up/secret.tif"):
        rewrite(workspace, lambda document, path=path: document["files"][NAMES[0]].update(path=path))
        with pytest.raises(UnsafePathError, match="link"):
            VirtualWorkspaceBackend().load(f"{workspace}/{NAMES[0]}")


def test_a_rooted_workspace_reads_below_its_root_or_from_named_sources(
    workspace: str, tmp_path: Path
) -> None:
    name = NAMES[0]
    with pytest.raises(UnsafePathError, match="sources="):
        VirtualWorkspaceBackend(workspace).load(name)
    with pytest.raises(UnsafePathError, match="sources="):
        VirtualWorkspaceBackend(workspace, sources=[tmp_path / "vend"]).load(name)
    for store, path in (
        (VirtualWorkspaceBackend(workspace, sources=[tmp_path / "vendor"]), name),
        (VirtualWorkspaceBackend(tmp_path), f"tidy/{name}"),
    ):
        np.testing.assert_array_equal(store.load(path), example_image(0))
        again = pickle.loads(pickle.dumps(store))
        np.testing.assert_array_equal(again.load(path), example_image(0))
    rooted = VirtualWorkspaceBackend(workspace)
    assert len(rooted.list_files(".")) == 5
    for path in ("../x.tif", str(tmp_path / "x.tif"), "a/../../x"):
        for call in (rooted.load, rooted.kind, rooted.mkdir, rooted.delete, rooted.scan):
            with pytest.raises(UnsafePathError):
                call(path)


HEAD = b'{"format": "polystore.workspace", "version": %d'
SOURCE = b', "sources": {"q": {"path": "/x"}}, '


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", CorruptFileError), (b"{", CorruptFileError), (b"[]", CorruptFileError), (b"\xff", CorruptFileError),
        (b'{"format": "x", "version": 1}', CorruptFileError),
        (HEAD % 2 + b"}", UnsupportedFormatError),
        (HEAD % 1 + b', "files": {"a": {"source": "q", "path": "b"}}}', CorruptFileError),
        (HEAD % 1 + SOURCE + b'"files": {"a": {"source": "q", "path": "b"}, "a/b": {"source": "q", "path": "b"}}}',
         CorruptFileError),
        (HEAD % 1 + SOURCE + b'"files": {"a": {"source": "q", "path": "b", "page": -1}}}', CorruptFileError),
        (HEAD % 1 + b', "plate": {"channels": [{"channel": -1}]}}', CorruptFileError),
    ],
)  # fmt: skip
def test_a_damaged_mapping_is_told(tmp_path: Path, content: bytes, error: type[Exception]) -> None:
    (tmp_path / FILE).write_bytes(content)
    store = VirtualWorkspaceBackend()
    for call in (store.list_files, lambda path: store.save("x", path / "a.txt")):
        with pytest.raises(error, match=FILE):
            call(tmp_path)
    assert (tmp_path / FILE).read_bytes() == content


# -- several at once


def test_a_change_by_somebody_else_is_seen(workspace: str) -> None:
    first, second = VirtualWorkspaceBackend(), VirtualWorkspaceBackend()
    assert len(first.list_files(workspace)) == 5
    second.delete(f"{workspace}/{NAMES[0]}")
    assert len(first.list_files(workspace)) == 4


def test_many_change_one_mapping_and_nothing_is_lost(workspace: str) -> None:
    """Four processes of two threads each copy names within one workspace."""
    code = """
import sys, threading
from polystore.backends.virtual_workspace import VirtualWorkspaceBackend
workspace, name, number = sys.argv[1:]
store = VirtualWorkspaceBackend()
def work(thread):
    for round_ in range(5):
        store.copy(f"{workspace}/{name}", f"{workspace}/copies/{number}_{thread}_{round_}.tif")
threads = [threading.Thread(target=work, args=(n,)) for n in range(2)]
[t.start() for t in threads]; [t.join() for t in threads]
"""
    workers = [
        subprocess.Popen([sys.executable, "-c", code, workspace, NAMES[0], str(number)])
        for number in range(4)
    ]
    assert [worker.wait(60) for worker in workers] == [0] * 4
    store = VirtualWorkspaceBackend()
    copies = store.list_files(f"{workspace}/copies")
    assert len(copies) == 4 * 2 * 5
    assert len(store.list_files(workspace)) == 5
    np.testing.assert_array_equal(store.load(copies[-1]), example_image(0))
    assert os.listdir(workspace) == [FILE]


def test_readers_meanwhile_see_all_or_nothing_of_a_change(workspace: str) -> None:
    store, done, seen = VirtualWorkspaceBackend(), threading.Event(), set()

    def read() -> None:
        while not done.is_set():
            seen.add(len(VirtualWorkspaceBackend().plate(workspace).planes))

    reader = threading.Thread(target=read)
    reader.start()
    for round_ in range(20):
        store.move(f"{workspace}/{NAMES[round_ % 2]}", f"{workspace}/moved.tif")
        store.move(f"{workspace}/moved.tif", f"{workspace}/{NAMES[round_ % 2]}")
    done.set()
    reader.join()
    assert seen <= {4, 5}


# -- the mapping of an OpenHCS plate


@pytest.fixture
def openhcs(tmp_path: Path) -> Path:
    """A plate in place: the instrument's files, and names for them in the metadata."""
    plate = tmp_path / "plate"
    names = {"A01_s001_w1_z001_t001.tif": "TimePoint_1/x1.tif", "A01_s001_w2_z001_t001.tif": "x2.tif"}
    for seed, path in enumerate(names.values()):
        DiskBackend(plate).save(example_image(seed), path)
    part = {"workspace_mapping": names, "main": True, "available_backends": {"disk": True}}
    (plate / "openhcs_metadata.json").write_text(json.dumps({"subdirectories": {".": part}}))
    return plate


def test_a_plate_openhcs_prepared_is_a_workspace(openhcs: Path) -> None:
    fm = FileManager()
    assert fm.backend_for(openhcs) == "virtual_workspace"
    names = ["A01_s001_w1_z001_t001.tif", "A01_s001_w2_z001_t001.tif"]
    assert fm.list_files(openhcs, "auto", extensions=[".tif"]) == [f"{openhcs}/{name}" for name in names]
    np.testing.assert_array_equal(fm.load(f"{openhcs}/{names[0]}", "auto"), example_image(0))
    assert open_plate(openhcs).summary()["planes"] == 2
    fm.save({"n": 1}, openhcs / "results" / "a.json", "workspace")
    fm.delete(f"{openhcs}/{names[0]}", "workspace")
    assert fm.list_files(openhcs, "auto", extensions=[".tif"]) == [f"{openhcs}/{names[1]}"]
    np.testing.assert_array_equal(fm.load(openhcs / "TimePoint_1" / "x1.tif", "disk"), example_image(0))


def test_metadata_without_a_mapping_make_no_workspace(openhcs: Path) -> None:
    (openhcs / "openhcs_metadata.json").write_text('{"subdirectories": {".": {}}}')
    assert FileManager().backend_for(openhcs / "x2.tif") == "disk"
    with pytest.raises(NotFoundError, match="create_workspace"):
        VirtualWorkspaceBackend().load(openhcs / "x2.tif")


@pytest.mark.parametrize("bad", ["../x.tif", "/etc/passwd", "a/../../b.tif"])
def test_mappings_of_openhcs_are_checked_alike(openhcs: Path, bad: str) -> None:
    for mapping in ({bad: "x2.tif"}, {"A01_s001_w1.tif": bad}):
        (openhcs / "openhcs_metadata.json").write_text(json.dumps({"workspace_mapping": mapping}))
        with pytest.raises(UnsafePathError, match="openhcs_metadata.json"):
            VirtualWorkspaceBackend().list_files(openhcs)
    (openhcs / "openhcs_metadata.json").write_text('{"workspace_mapping": 5}')
    with pytest.raises(CorruptFileError):
        VirtualWorkspaceBackend().list_files(openhcs)


def test_a_workspace_in_the_plates_own_folder(tmp_path: Path) -> None:
    index = make_plate(tmp_path / "vendor")
    workspace = create_workspace(index, index.root)
    store = VirtualWorkspaceBackend()
    listed = store.list_files(workspace, recursive=True)
    assert [os.path.basename(path) for path in listed] == NAMES, "each image once, by its tidy name"
    np.testing.assert_array_equal(store.load(listed[4]), example_image(4))


@pytest.mark.parametrize("source", ["{top}/ws/../secret.zarr", "{top}/ws/link.zarr"])
def test_sources_of_other_backends_on_disk_stay_within_the_roots_too(tmp_path: Path, source: str) -> None:
    ZarrBackend().save(np.full((4, 4), 42, "u2"), tmp_path / "secret.zarr/A01_s001_w1.tif")
    workspace = tmp_path / "ws"
    workspace.mkdir()
    (workspace / "link.zarr").symlink_to(tmp_path / "secret.zarr")
    mapping = {
        "format": "polystore.workspace",
        "version": 1,
        "sources": {"a": {"path": source.format(top=tmp_path), "backend": "zarr"}},
        "files": {"A01_s001_w1.tif": {"source": "a", "path": "A01_s001_w1.tif"}},
    }
    (workspace / "polystore_workspace.json").write_text(json.dumps(mapping))
    with pytest.raises(UnsafePathError):
        VirtualWorkspaceBackend(workspace).load("A01_s001_w1.tif")
    allowed = VirtualWorkspaceBackend(workspace, sources=[tmp_path / "secret.zarr"])
    assert allowed.load("A01_s001_w1.tif").max() == 42
