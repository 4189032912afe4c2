"""Copying a plate: what is planned, what is left, what is told. The command and real plates: test_cp.py."""

from __future__ import annotations

import errno
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import tifffile

from polystore import FileManager, StorageBackend
from polystore.backends.disk import DiskBackend
from polystore.backends.memory import MemoryBackend
from polystore.components import ImageKey
from polystore.errors import AlreadyExistsError, BatchError, ComponentError, StorageError
from polystore.microscopes import open_plate
from polystore.plate import ChannelInfo, PlaneRef, PlateIndex, PlateInfo
from polystore.plate_copy import CopyReport, copy_plate, plan_copy, select, verify_copy
from polystore.testing import example_image

WELLS, FIELDS, CHANNELS, STEPS = ("A01", "B02"), (1, 2), (1, 2), (1, 2, 3)


@pytest.fixture
def fm() -> FileManager:
    manager = FileManager()
    manager.mount("memory", MemoryBackend())
    return manager


@pytest.fixture
def plate(tmp_path: Path) -> PlateIndex:
    """Two wells, two fields, a channel with a stack and one without."""
    vendor = DiskBackend(tmp_path / "vendor")
    planes = []
    for well in WELLS:
        for field in FIELDS:
            for channel in CHANNELS:
                for z in STEPS if channel == 1 else (None,):
                    key = ImageKey(well=well, field=field, channel=channel, z=z)
                    path = f"{well}/f{field}_c{channel}_{z}.tif"
                    vendor.save(example_image(len(planes)), path)
                    planes.append(PlaneRef(key, path))
    info = PlateInfo(
        name="p", pixel_size_um=(0.5, 0.25), channels={1: ChannelInfo("DAPI"), 2: ChannelInfo("GFP")}
    )
    return PlateIndex(str(tmp_path / "vendor"), "disk", "test", tuple(planes), info)


def copy(fm: FileManager, plate: PlateIndex, target: Any, **options: Any) -> CopyReport:
    return copy_plate(plan_copy(plate, target, filemanager=fm, **options), filemanager=fm)


def names(folder: Path) -> list[str]:
    return sorted(name for name in os.listdir(folder) if not name.startswith("."))


def test_a_folder_of_tidy_tiffs(fm: FileManager, plate: PlateIndex, tmp_path: Path) -> None:
    report = copy(fm, plate, tmp_path / "out")
    assert (report.copied, report.present, report.failures) == (16, 0, ())
    assert report.nbytes == 16 * 5 * 7 * 2
    assert names(tmp_path / "out")[:4] == [
        "A01_s001_w1_z001.tif", "A01_s001_w1_z002.tif", "A01_s001_w1_z003.tif", "A01_s001_w2.tif",
    ]  # fmt: skip
    for number, name in enumerate(names(tmp_path / "out")):
        np.testing.assert_array_equal(tifffile.imread(tmp_path / "out" / name), example_image(number))
    with tifffile.TiffFile(tmp_path / "out" / "A01_s001_w2.tif") as file:
        assert (
            file.pages[0].tags["XResolution"].value[0] / file.pages[0].tags["XResolution"].value[1] == 40_000
        )


def test_a_second_run_copies_what_is_missing(fm: FileManager, plate: PlateIndex, tmp_path: Path) -> None:
    copy(fm, plate, tmp_path / "out")
    stamps = {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in names(tmp_path / "out")}
    for name in ("A01_s001_w2.tif", "B02_s002_w1_z003.tif"):
        (tmp_path / "out" / name).unlink()
        del stamps[name]
    report = copy(fm, plate, tmp_path / "out")
    assert (report.copied, report.present) == (2, 14)
    assert {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in stamps} == stamps
    report = copy(fm, plate, tmp_path / "out")
    assert (report.copied, report.present, report.nbytes) == (0, 16, 0)


def test_broken_files_are_told_and_the_others_copied(
    fm: FileManager, plate: PlateIndex, tmp_path: Path
) -> None:
    vendor = tmp_path / "vendor"
    (vendor / "A01" / "f1_c1_2.tif").write_bytes(b"II*\0 half a file")
    (vendor / "B02" / "f2_c2_None.tif").unlink()
    report = copy(fm, plate, tmp_path / "out")
    assert report.copied == 14
    assert [Path(failure.source).name for failure in report.failures] == ["f1_c1_2.tif", "f2_c2_None.tif"]
    assert [Path(failure.target).name for failure in report.failures] == [
        "A01_s001_w1_z002.tif",
        "B02_s002_w2.tif",
    ]
    assert "nothing is there" in report.failures[1].reason
    assert len(names(tmp_path / "out")) == 14
    # When they are mended, only they are copied.
    DiskBackend().save(example_image(1), vendor / "A01" / "f1_c1_2.tif")
    report = copy(fm, plate, tmp_path / "out")
    assert (report.copied, report.present, len(report.failures)) == (1, 14, 1)


class Picky(MemoryBackend):
    """A store that cannot keep some values, and later nothing at all."""

    full = False

    def save(self, data: Any, path: Any, **options: Any) -> None:
        if self.full and str(path).endswith(".tif"):
            raise StorageError(f"cannot write {path}: no space", errno=errno.ENOSPC)
        if "_z002" in str(path):
            from polystore.errors import UnsupportedFormatError

            raise UnsupportedFormatError(f"{path} has another dtype than the others")
        super().save(data, path, **options)

    def __reduce__(self) -> Any:
        raise NotImplementedError


def test_planes_a_store_cannot_keep_are_told_and_the_others_copied(
    fm: FileManager, plate: PlateIndex
) -> None:
    fm.mount("picky", Picky())
    report = copy(fm, plate, "out", backend="picky")
    assert (report.copied, len(report.failures)) == (12, 4)
    assert all("another dtype" in failure.reason for failure in report.failures)
    assert len(fm.list_files("out", "picky", "*.tif")) == 12


def test_a_full_store_ends_the_copy(fm: FileManager, plate: PlateIndex) -> None:
    store = Picky()
    store.full = True
    fm.mount("picky", store)
    with pytest.raises(BatchError, match="no space") as caught:
        copy(fm, plate, "out", backend="picky")
    assert caught.value.errno == errno.ENOSPC


def test_part_of_a_plate(fm: FileManager, plate: PlateIndex, tmp_path: Path) -> None:
    part = select(plate, ["b2"], ["dapi"])
    assert part.summary() == {
        "wells": ["B02"], "fields": [1, 2], "channels": [1], "z": [1, 2, 3], "t": [], "planes": 6,
    }  # fmt: skip
    assert len(select(plate, channels=["w2"])) == len(select(plate, channels=[2])) == 4
    with pytest.raises(ComponentError, match=r"no well 'C03' .it has A01, B02"):
        select(plate, ["C03"])
    with pytest.raises(ComponentError, match="by name: DAPI, GFP"):
        select(plate, channels=["Cy5"])
    assert copy(fm, part, tmp_path / "out").copied == 6
    assert copy(fm, plate, tmp_path / "out").copied == 10


def test_channels_of_one_name_are_all_meant_and_gaps_are_those_of_the_part(plate: PlateIndex) -> None:
    info = PlateInfo(channels={1: ChannelInfo("FITC"), 2: ChannelInfo("fitc")})
    gaps = (ImageKey(well="A01", field=3, channel=1), ImageKey(well="B02", field=3, channel=2))
    twice = PlateIndex(plate.root, "disk", "test", plate.planes, info, gaps)
    assert len(select(twice, channels=["FITC"])) == 16
    assert select(twice, wells=["A01"]).missing == gaps[:1]
    assert select(twice, channels=[2]).missing == gaps[1:]


def test_another_plates_images_are_not_taken_for_this_ones(
    fm: FileManager, plate: PlateIndex, tmp_path: Path
) -> None:
    DiskBackend().save(example_image(99), tmp_path / "out" / "A01_s001_w2.tif")
    with pytest.raises(AlreadyExistsError, match="no copy made here"):
        plan_copy(plate, tmp_path / "out", filemanager=fm, overwrite=True)
    assert names(tmp_path / "out") == ["A01_s001_w2.tif"]
    (tmp_path / "out" / "A01_s001_w2.tif").unlink()
    assert copy(fm, plate, tmp_path / "out").copied == 16
    other = PlateIndex(plate.root, plate.backend, plate.microscope, plate.planes, PlateInfo(name="q"))
    with pytest.raises(AlreadyExistsError, match="plate 'p' .* and not of plate 'q' .*--overwrite"):
        plan_copy(other, tmp_path / "out", filemanager=fm)
    # Also when no name is the same: two plates in one folder would look like one.
    planes = tuple(PlaneRef(plane.key.replace(well="H12"), plane.path) for plane in plate.planes[:4])
    other = PlateIndex(plate.root, "disk", "x", planes, PlateInfo(name="q"))
    with pytest.raises(AlreadyExistsError, match="of plate 'p'"):
        plan_copy(other, tmp_path / "out", filemanager=fm)
    DiskBackend().save("x", tmp_path / "notes" / "notes.txt")
    assert copy(fm, plate, tmp_path / "notes").copied == 16


def moved(plate: PlateIndex, folder: Path, *, shift: int = 0, **info: Any) -> PlateIndex:
    """The plate in another folder; with a shift the pixels are another plate's."""
    vendor = DiskBackend(folder)
    for number, plane in enumerate(plate):
        vendor.save(example_image(number + shift), plane.path)
    known = replace(plate.info, **info)
    return PlateIndex(str(folder), "disk", "test", plate.planes, known)


@pytest.mark.parametrize("target", ["out", "out.zarr"])
def test_two_plates_of_one_name_are_never_mixed(
    fm: FileManager, plate: PlateIndex, tmp_path: Path, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    other = moved(plate, tmp_path / "d2", shift=100)
    assert copy(fm, select(replace(plate, root="vendor"), ["A01"]), target).copied == 8
    for part in (other, select(other, ["A01"]), select(other, ["B02"]), replace(other, root="d2")):
        with pytest.raises(AlreadyExistsError, match=r"copy of plate 'p' \(.*vendor\) and not .*d2\)"):
            plan_copy(part, target, filemanager=fm)
    # In the very place of the first one, too.
    moved(plate, tmp_path / "vendor", shift=100)
    with pytest.raises(AlreadyExistsError, match=r"A01_s001_w1_z001.tif is not the same in both"):
        plan_copy(plate, target, filemanager=fm)
    dated = replace(plate.info, acquired="2026-01-01T00:00:00")
    copy(fm, replace(plate, info=dated), f"dated-{target}")
    later = replace(plate.info, acquired="2026-01-02T00:00:00")
    with pytest.raises(AlreadyExistsError, match="acquired at other times"):
        plan_copy(replace(plate, info=later), f"dated-{target}", filemanager=fm)


@pytest.mark.parametrize("target", ["out", "out.zarr"])
def test_a_plate_that_grew_or_was_moved_goes_on(
    fm: FileManager, plate: PlateIndex, tmp_path: Path, target: str
) -> None:
    copy(fm, select(plate, ["A01"]), tmp_path / target)
    report = copy(fm, moved(plate, tmp_path / "d2"), tmp_path / target)
    assert (report.copied, report.present) == (8, 8)
    report = copy(fm, moved(plate, tmp_path / "d3"), tmp_path / target)
    assert (report.copied, report.present) == (0, 16)


def test_planes_of_one_value_do_not_prove_that_a_plate_was_moved(
    fm: FileManager, plate: PlateIndex, tmp_path: Path
) -> None:
    for folder in ("vendor", "d2"):
        for plane in plate:
            DiskBackend(tmp_path / folder).save(np.zeros((5, 7), "u2"), plane.path)
    copy(fm, select(plate, ["A01"]), tmp_path / "out")
    with pytest.raises(AlreadyExistsError, match="nothing that is in both shows .* only moved"):
        plan_copy(replace(plate, root=str(tmp_path / "d2")), tmp_path / "out", filemanager=fm)
    assert copy(fm, plate, tmp_path / "out").present == 8


@pytest.mark.parametrize("target", ["out", "out.zarr"])
def test_replacing_another_plates_copy_leaves_nothing_of_it(
    fm: FileManager, plate: PlateIndex, tmp_path: Path, target: str
) -> None:
    copy(fm, plate, tmp_path / target)
    other = select(moved(plate, tmp_path / "d2", shift=100, name="q", channels={}), ["B02"])
    if target == "out":
        (tmp_path / target / "notes.txt").write_text("mine")
    plan = plan_copy(other, tmp_path / target, filemanager=fm, overwrite=True)
    assert (len(plan.removes), len(plan.missing), plan.present) == (16, 8, 0)
    assert copy_plate(plan, filemanager=fm).copied == 8
    assert verify_copy(plan, filemanager=fm) == ()
    found = open_plate(tmp_path / target, fm)
    assert found.wells == ("B02",)
    if target == "out":
        assert (tmp_path / target / "notes.txt").read_text() == "mine"
    else:
        assert (found.info.name, {one.name for one in found.info.channels.values()}) == ("q", set())
        fm.save(np.ones((5, 7), "u2"), tmp_path / target / "B02_s001_w2_labels.tif", "zarr", kind="labels")
        with pytest.raises(AlreadyExistsError, match=r"added later \(B02_s001_w2_labels.tif\)"):
            plan_copy(plate, tmp_path / target, filemanager=fm, overwrite=True)


def test_replacing_that_was_stopped_begins_anew(fm: FileManager, plate: PlateIndex, tmp_path: Path) -> None:
    """Else images that were not replaced yet would count as copied."""
    copy(fm, plate, tmp_path / "out")
    ordered = sorted(plate, key=lambda plane: plane.key.sort_key())
    for plane in ordered[1:]:  # the first one shows that it is the same plate
        DiskBackend(plate.root).save(example_image(500), plane.path)
    with pytest.raises(AlreadyExistsError, match="not the same in both: .* or a damaged copy"):
        plan_copy(plate, tmp_path / "out", filemanager=fm)

    class Stops(DiskBackend):
        saved = 0

        def save(self, data: Any, path: Any, **options: Any) -> None:
            Stops.saved += str(path).endswith(".tif")
            if Stops.saved > 5:
                raise StorageError("stopped")
            super().save(data, path, **options)

    fm.mount("disk", Stops())
    plan = plan_copy(plate, tmp_path / "out", filemanager=fm, overwrite=True)
    with pytest.raises(BatchError):
        copy_plate(plan, filemanager=fm)
    fm.unmount("disk")
    assert copy(fm, plate, tmp_path / "out").copied == 16
    assert verify_copy(plan, filemanager=fm) == ()
    assert copy(fm, plate, tmp_path / "out").copied == 0


def test_verifying_finds_what_differs(fm: FileManager, plate: PlateIndex, tmp_path: Path) -> None:
    plan = plan_copy(plate, tmp_path / "out", filemanager=fm)
    report = copy_plate(plan, filemanager=fm)
    assert verify_copy(plan, filemanager=fm) == ()
    disk = DiskBackend(tmp_path / "out")
    changed = example_image(3)
    changed[4, 6] ^= 1
    disk.save(changed, "A01_s001_w2.tif")
    disk.save(example_image(4).astype("f4"), "A01_s002_w1_z001.tif")
    disk.delete("B02_s001_w2.tif")
    told: list[int] = []
    found = verify_copy(
        plan, filemanager=fm, skip=report.failures, progress=lambda done, nbytes: told.append(done)
    )
    assert told[-1] == 16
    assert [Path(failure.target).name for failure in found] == [
        "A01_s001_w2.tif", "A01_s002_w1_z001.tif", "B02_s001_w2.tif",
    ]  # fmt: skip
    first, second = int(example_image(3)[4, 6]), int(changed[4, 6])
    assert found[0].reason == (
        f"not the same: 1 of 35 pixels differs, the first at [4, 6]: {first} in the source, {second} in the copy"
    )
    assert "uint16 (5, 7) in the source, float32 (5, 7) in the copy" in found[1].reason


def test_names_become_numbers_and_stay_known(fm: FileManager, tmp_path: Path) -> None:
    vendor = DiskBackend(tmp_path / "vendor")
    planes = []
    for number, channel in enumerate(("GFP", "DAPI", 1)):
        vendor.save(example_image(number), f"{channel}.tif")
        planes.append(PlaneRef(ImageKey(plate="x", well="A01", channel=channel), f"{channel}.tif"))
    info = PlateInfo(channels={"DAPI": ChannelInfo(emission_nm=450.0)})
    plate = PlateIndex(str(tmp_path / "vendor"), "disk", "test", tuple(planes), info)
    plan = plan_copy(plate, tmp_path / "out", filemanager=fm)
    copy_plate(plan, filemanager=fm)
    assert names(tmp_path / "out") == ["A01_w1.tif", "A01_w2.tif", "A01_w3.tif"]
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out" / "A01_w2.tif"), example_image(1))
    assert plan.index.info.channels == {2: ChannelInfo("DAPI", emission_nm=450.0), 3: ChannelInfo("GFP")}


@pytest.mark.parametrize(
    "keys",
    [
        [{"well": "A01", "field": 1, "acquisition": "1"}, {"well": "A01", "field": 1, "acquisition": "2"}],
        [{"well": "A01"}, {"well": "A01", "field": 1}],
        [{"field": 1}],
        [{"well": "control", "field": 1}],
        [{"well": "A01", "field": 10**12}],
    ],
)
def test_planes_that_have_no_name_are_refused(
    fm: FileManager, tmp_path: Path, keys: list[dict[str, Any]]
) -> None:
    planes = tuple(PlaneRef(ImageKey(**key), f"{number}.tif") for number, key in enumerate(keys))
    with pytest.raises(ComponentError):
        plan_copy(PlateIndex("x", "disk", "test", planes), tmp_path / "out", filemanager=fm)
    assert not (tmp_path / "out").exists()


def test_progress_counts_every_plane(fm: FileManager, plate: PlateIndex, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    (tmp_path / "vendor" / "A01" / "f1_c1_2.tif").unlink()
    plan = plan_copy(plate, tmp_path / "out", filemanager=fm)
    copy_plate(plan, filemanager=fm, workers=3, progress=lambda done, nbytes: seen.append((done, nbytes)))
    assert seen == sorted(seen)
    assert seen[-1] == (16, 15 * 70)


def test_stopping_it_leaves_whole_images_and_no_thread(
    fm: FileManager, plate: PlateIndex, tmp_path: Path
) -> None:
    def interrupt(done: int, nbytes: int) -> None:
        raise KeyboardInterrupt

    before = threading.active_count()
    plan = plan_copy(plate, tmp_path / "out", filemanager=fm)
    with pytest.raises(KeyboardInterrupt):
        copy_plate(plan, filemanager=fm, progress=interrupt)
    assert threading.active_count() == before
    plan = plan_copy(plate, tmp_path / "out", filemanager=fm)
    copy_plate(plan, filemanager=fm)
    assert verify_copy(plan, filemanager=fm) == ()
    assert isinstance(fm.backend("disk"), StorageBackend)


def test_small_fields_are_saved_together_and_large_plates_in_parts(
    fm: FileManager, plate: PlateIndex
) -> None:
    """A store writes a plate's metadata for every call, and they grow with the plate."""

    class Counts(MemoryBackend):
        batches: ClassVar[list[int]] = []

        def save_batch(self, data_list: Any, file_paths: Any, **options: Any) -> None:
            self.batches.append(len(data_list))
            super().save_batch(data_list, file_paths, **options)

    fm.mount("counts", Counts())
    planes = tuple(
        PlaneRef(ImageKey(well=f"A{well:03d}", field=1), plate.planes[0].path) for well in range(1, 901)
    )
    many = PlateIndex(plate.root, "disk", "test", planes)
    assert copy(fm, many, "out", backend="counts").copied == 900
    assert len(Counts.batches) < 20
    assert max(Counts.batches) <= 64
