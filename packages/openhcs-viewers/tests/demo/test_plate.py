"""Reading a plate: two real acquisitions by their file names, and folders that are no plate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from openhcs_viewers.demo._errors import PlateError
from openhcs_viewers.demo.plate import Plate, read_plate
from polystore import FileManager

DESCRIPTION = (
    '<MetaData><PlaneInfo><prop id="spatial-calibration-x" type="float" value="1.3668"/>'
    '<prop id="image-name" type="string" value="{name}"/><prop id="wavelength" type="float" value="{nm}"/>'
    "</PlaneInfo></MetaData>"
)


def tiff(path: Path, name: str = "", nm: int = 0) -> None:
    """Write a small image, with the properties of an ImageXpress when a name is given."""
    tifffile = pytest.importorskip("tifffile")
    path.parent.mkdir(parents=True, exist_ok=True)
    description = DESCRIPTION.format(name=name, nm=nm) if name else None
    tifffile.imwrite(path, np.zeros((8, 8), np.uint16), description=description, metadata=None)


def projection_mix(root: Path) -> Path:
    """The file names of a real acquisition: stacks, projections of them, and thumbnails of all."""
    folder = root / "Projection-Mix" / "2023-02-21" / "1334"
    for well in ("E07", "E08"):
        for site in (1, 2):
            places = [(folder, w) for w in (1, 2, 3)]
            places += [(folder / f"ZStep_{z}", w) for z in range(1, 11) for w in (1, 2)]
            places.append((folder / "ZStep_1", 4))
            for at, w in places:
                stem = f"Projection-Mix_{well}_s{site}_w{w}"
                tiff(
                    at / f"{stem}266923EBB-9960-4952-8955-D1721D112EE2.tif",
                    f"FITC_05{'' if w == 1 else f'-{w}'}",
                    536,
                )
                tiff(at / f"{stem}_thumb4D88636E-181E-4AF6-BC53-E7A435959C8F.tif")
    return root / "Projection-Mix"


@pytest.fixture(scope="module")
def mix(tmp_path_factory: pytest.TempPathFactory) -> Plate:
    return read_plate(projection_mix(tmp_path_factory.mktemp("plates")))


class TestProjectionMix:
    def test_everything_is_found(self, mix: Plate) -> None:
        assert mix.values("well") == ("E07", "E08")
        assert mix.values("field") == (1, 2)
        assert mix.values("z") == tuple(range(1, 11))
        assert mix.values("t") == ()
        assert len(mix.images) == 4 * (3 + 20 + 1)
        assert mix.thumbnails == 96
        assert mix.scale == (1.3668, 1.3668)

    def test_channels_have_names_and_colours_of_their_own(self, mix: Plate) -> None:
        assert [channel.value for channel in mix.channels] == [
            "FITC_05",
            "FITC_05-2",
            "FITC_05-3",
            "FITC_05-4",
        ]
        assert len({channel.colormap for channel in mix.channels}) == 4
        assert mix.counted == "FITC_05"

    def test_a_projection_is_an_image_without_z(self, mix: Plate) -> None:
        (field, *_rest) = mix.fields()
        assert field.title == "E07, field 1"
        third = [image.key for image in field.images if image.key.channel == "FITC_05-3"]
        assert [key.z for key in third] == [None]
        first = [image.key.z for image in field.images if image.key.channel == "FITC_05"]
        assert first == [None, *range(1, 11)]

    def test_what_was_found_is_said(self, mix: Plate) -> None:
        assert mix.describe() == (
            "Projection-Mix: 2 wells (E07 E08), 2 fields each, 4 channels (FITC_05, FITC_05-2, FITC_05-3, "
            "FITC_05-4), 10 z planes and 12 projections, 96 images in all, 1.3668 um per pixel; "
            "left out: 96 thumbnails"
        )


def test_time_points_are_read_from_folders(tmp_path: Path) -> None:
    for t in (1, 2):
        for site in (1, 2):
            for w, (name, nm) in enumerate(
                [("Copy of FITC", 536), ("Copy of Cy3", 593), ("Copy of Texas Red", 624)], 1
            ):
                tiff(
                    tmp_path
                    / "P"
                    / "2024-04-22"
                    / "1697"
                    / f"TimePoint_{t}"
                    / f"P_C07_s{site}_w{w}EADF08BD-3BFB-44F3-8214-24B191F3D15C.tif",
                    name,
                    nm,
                )
    plate = read_plate(tmp_path / "P")
    assert plate.values("t") == (1, 2)
    assert [channel.value for channel in plate.channels] == ["FITC", "Cy3", "Texas Red"]
    assert [channel.colormap for channel in plate.channels] == ["green", "yellow", "red"]
    assert [field.title for field in plate.fields()] == [
        "C07, field 1, t 1",
        "C07, field 1, t 2",
        "C07, field 2, t 1",
        "C07, field 2, t 2",
    ]
    assert "2 time points" in plate.describe()


def test_plain_names_and_channels_without_names(tmp_path: Path) -> None:
    for channel in (0, 1):
        tiff(tmp_path / f"A01_s001_z000_c{channel:03d}.tif")
    tiff(tmp_path / "overview.tif")
    (tmp_path / "notes.txt").write_text("not an image")
    plate = read_plate(tmp_path)
    assert [channel.value for channel in plate.channels] == [0, 1]
    assert plate.scale is None
    assert [Path(path).name for path in plate.unknown] == ["overview.tif"]
    assert "1 file with a name no parser knows" in plate.describe()


def test_equal_channel_names_fall_back_to_numbers(tmp_path: Path) -> None:
    for w in (1, 2):
        tiff(tmp_path / f"P_A01_s1_w{w}.tif", "FITC", 536)
    assert [channel.value for channel in read_plate(tmp_path).channels] == [1, 2]


def test_a_single_channel_is_gray(tmp_path: Path) -> None:
    tiff(tmp_path / "P_A01_s1_w1.tif", "DAPI", 461)
    assert [channel.colormap for channel in read_plate(tmp_path, FileManager()).channels] == ["gray"]


class TestNoPlate:
    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(PlateError, match=r"nowhere' does not exist; give the folder"):
            read_plate(tmp_path / "nowhere")

    def test_a_file(self, tmp_path: Path) -> None:
        tiff(tmp_path / "a.tif")
        with pytest.raises(PlateError, match=r"a\.tif' is a file; give the folder"):
            read_plate(tmp_path / "a.tif")

    def test_a_number(self) -> None:
        with pytest.raises(PlateError, match="plate 123 is no path: give that of"):
            read_plate(123)  # type: ignore[arg-type]

    def test_empty(self, tmp_path: Path) -> None:
        with pytest.raises(PlateError, match="is empty; give the folder"):
            read_plate(tmp_path)

    def test_other_files(self, tmp_path: Path) -> None:
        tiff(tmp_path / "holiday.tif")
        with pytest.raises(PlateError, match=r"1 file, such as 'holiday\.tif'.*Plate_A01_s1_w1\.tif"):
            read_plate(tmp_path)

    def test_only_thumbnails(self, tmp_path: Path) -> None:
        tiff(tmp_path / "P_A01_s1_w1_thumb4D88636E-181E-4AF6-BC53-E7A435959C8F.tif")
        with pytest.raises(PlateError, match="no image of a plate"):
            read_plate(tmp_path)

    def test_two_acquisitions_at_once(self, tmp_path: Path) -> None:
        for number in ("1333", "1334"):
            tiff(tmp_path / number / "P_A01_s1_w1.tif")
        with pytest.raises(
            PlateError, match=r"1 place of the plate with more than one image, first .*well=A01"
        ):
            read_plate(tmp_path)

    def test_it_is_also_a_value_error(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="empty"):
            read_plate(tmp_path)
