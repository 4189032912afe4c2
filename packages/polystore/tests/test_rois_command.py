"""``polystore rois``: from a labels image on the disk to a file ImageJ or QuPath opens."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from polystore import FileManager
from polystore._cli import main

LABELS = np.zeros((2, 6, 8), "u2")
LABELS[0, 1:3, 1:5] = 7
LABELS[1, 1:3, 1:5] = 7
LABELS[1, 4, 4:6] = 300


@pytest.fixture
def plate(tmp_path: Path) -> Path:
    tifffile.imwrite(tmp_path / "A01_s002_w1_labels.tif", LABELS, metadata={"axes": "TYX"})
    np.save(tmp_path / "cells.npy", LABELS)
    return tmp_path


def test_the_command_itself(plate: Path) -> None:
    command = [Path(sys.executable).with_name("polystore"), "rois", "A01_s002_w1_labels.tif", "a.zip"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=plate)
    assert done.stdout == "3 regions of 2 labels in 2 planes: a.zip\n"
    rois = FileManager().load(plate / "a.zip", backend="disk")
    assert [(roi.properties["label"], roi.place.t, roi.place.z) for roi in rois] == [
        (7, 1, None), (7, 2, None), (300, 2, None),
    ]  # fmt: skip
    again = subprocess.run(command, capture_output=True, text=True, check=False, cwd=plate)
    assert again.returncode == 1
    assert again.stderr == "polystore: a.zip exists already; --overwrite replaces it\n"
    subprocess.run([*command, "--overwrite"], capture_output=True, check=True, cwd=plate)


def test_what_the_name_says_goes_with_the_regions(plate: Path) -> None:
    assert main(["rois", str(plate / "A01_s002_w1_labels.tif"), str(plate / "a.rois.json")]) == 0
    place = FileManager().load(plate / "a.rois.json", backend="disk")[0].place
    assert (place.well, place.field, place.channel, place.t) == ("A01", 2, 1, 1)


def test_for_qupath(plate: Path) -> None:
    out = plate / "a.geojson"
    assert (
        main(["rois", str(plate / "cells.npy"), str(out), "--object-type", "detection", "--kind", "point"])
        == 0
    )
    features = json.loads(out.read_bytes())["features"]
    assert {feature["properties"]["objectType"] for feature in features} == {"detection"}
    assert features[2]["geometry"] == {
        "type": "Point",
        "coordinates": [5, 4.5],
        "plane": {"c": -1, "z": 1, "t": 0},
    }
    assert features[2]["properties"]["measurements"] == {"label": 300, "area": 2}


def test_axes_may_be_given(plate: Path) -> None:
    assert main(["rois", str(plate / "cells.npy"), str(plate / "a.zip"), "--axes", "cyx"]) == 0
    assert FileManager().load(plate / "a.zip", backend="disk")[2].place.channel == 2


def test_a_mask_is_split_into_its_areas(plate: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(plate / "mask.npy", LABELS[1] > 0)
    assert main(["rois", str(plate / "mask.npy"), str(plate / "a.zip")]) == 0
    assert main(["rois", str(plate / "mask.npy"), str(plate / "b.zip"), "--split"]) == 0
    assert [line[:21] for line in capsys.readouterr().out.splitlines()] == [
        "1 regions of 1 labels",
        "2 regions of 2 labels",
    ]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["cells.npy", "a.tif"], ".geojson"), (["cells.npy", "a.zip", "--axes", "xy"], "axes"),
        (["cells.npy", "a.zip", "--object-type", "cell"], "QuPath"), (["nothing.npy", "a.zip"], "nothing is there"),
        (["float.npy", "a.zip"], "astype"), (["cells.npy", "a.roi"], "save them as .zip"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_told_in_a_line(
    plate: Path,
    arguments: list[str],
    text: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(plate)
    np.save("float.npy", LABELS.astype("f4"))
    before = sorted(Path().iterdir())
    assert main(["rois", *arguments]) == 1
    told = capsys.readouterr().err
    assert text in told
    assert told.count("\n") == 1
    assert sorted(Path().iterdir()) == before


@pytest.mark.parametrize("backend", ["zarr", "disk"])
def test_labels_may_be_in_an_ome_zarr_plate(tmp_path: Path, backend: str) -> None:
    folder = tmp_path / ("p.zarr" if backend == "zarr" else "p")
    labels = folder / "A01_s002_w1_labels.tif"
    FileManager().save(LABELS[1], labels, backend)
    assert main(["rois", str(labels), str(tmp_path / "a.zip")]) == 0
    rois = FileManager().load(tmp_path / "a.zip", backend="disk")
    assert [(roi.properties["label"], roi.place.well) for roi in rois] == [(7, "A01"), (300, "A01")]


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["rois", "--help"])
    shown = capsys.readouterr().out
    assert "ROI Manager" in shown
    assert "examples:" in shown
