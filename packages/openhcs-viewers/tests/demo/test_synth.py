"""The synthetic plate: the same each time, laid out as a microscope would, and plausible as biology."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from openhcs_viewers.demo.analysis import count_cells, label_cells, subtract_background
from openhcs_viewers.demo.plate import read_plate
from openhcs_viewers.demo.synth import DYES, PlateDesign, field_images, write_plate

SMALL = PlateDesign(rows="B", columns=(2, 10), fields=1, planes=3, size=256)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_plate(tmp_path_factory.mktemp("plates"), SMALL)


def test_two_writings_give_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    again = write_plate(tmp_path, SMALL)
    first = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    second = {path.relative_to(again): path.read_bytes() for path in again.rglob("*") if path.is_file()}
    assert first == second
    assert len(first) == SMALL.images + 1  # and the HTD file


def test_another_seed_gives_another_plate() -> None:
    other = PlateDesign(rows="B", columns=(2, 10), fields=1, planes=3, size=256, seed=8)
    assert not np.array_equal(field_images(SMALL, "B02", 1)[0][2], field_images(other, "B02", 1)[0][2])


def test_it_is_read_like_any_plate(folder: Path) -> None:
    plate = read_plate(folder)
    assert len(plate.images) == SMALL.images == 18
    assert plate.values("well") == ("B02", "B10")
    assert plate.values("z") == (1, 2, 3)
    assert [channel.value for channel in plate.channels] == [dye.name for dye in DYES]
    assert [channel.colormap for channel in plate.channels] == ["blue", "green", "magenta"]
    assert plate.scale == (0.65, 0.65)
    assert plate.counted == "DAPI"
    assert (plate.thumbnails, plate.unknown) == (0, ())


def test_progress_counts_every_image(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    write_plate(tmp_path, SMALL, progress=lambda done, total: told.append((done, total)))
    assert told == [(9, 18), (18, 18)]


def test_images_look_like_a_camera_took_them() -> None:
    images = {(channel, z): image for channel, z, image in field_images(SMALL, "B02", 1)}
    assert len(images) == 9
    for image in images.values():
        assert image.shape == (256, 256)
        assert image.dtype == np.uint16
        assert image.min() > 100  # the camera's offset
        assert image.max() < 65535  # not saturated
    # The middle plane is in focus: it has the finest detail.
    detail = {z: float(np.abs(np.diff(images[1, z].astype(float), axis=1)).mean()) for z in (1, 2, 3)}
    assert detail[2] > detail[1]
    assert detail[2] > detail[3]


def test_the_dose_kills_cells_and_switches_the_reporter_on() -> None:
    design = PlateDesign(rows="B", fields=1, planes=1)
    counts, reporter = [], []
    for well in design.wells:
        images = {channel: image for channel, _, image in field_images(design, well, 1)}
        labels = label_cells(subtract_background(images[1]))
        counts.append(count_cells(labels)["count"])
        reporter.append(float(subtract_background(images[2])[labels > 0].mean()))
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > 3 * counts[-1] > 30
    assert reporter == sorted(reporter)
    assert reporter[-1] > 3 * reporter[0]


@pytest.mark.parametrize("size", [64, 300])
def test_any_size_goes(size: int) -> None:
    design = PlateDesign(rows="A", columns=(1,), fields=1, planes=1, size=size)
    assert [image.shape for _, _, image in field_images(design, "A01", 1)] == [(size, size)] * 3
