"""``polystore ls``: the map, the tables and the JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from polystore import ImageKey
from polystore._cli import main
from polystore._commands._plate_map import Marks, plate_map, plate_size
from polystore._commands.ls import ranges
from polystore.plate import PlaneRef, PlateIndex, PlateInfo


def index(*wells: str, missing: tuple[str, ...] = (), info: PlateInfo | None = None) -> PlateIndex:
    planes = tuple(PlaneRef(ImageKey(well=well, field=1), f"{well}.tif") for well in wells)
    lost = tuple(ImageKey(well=well, field=2) for well in missing)
    return PlateIndex("/p", "disk", "imagexpress", planes, info or PlateInfo(), lost)


ASCII = Marks.for_encoding("ascii")


def test_the_map_of_a_96_well_plate() -> None:
    lines = plate_map(index("A01", "B02", "H12", missing=("B02", "C03")), ASCII)
    assert lines == [
        "     1  2  3  4  5  6  7  8  9 10 11 12",
        "  A  #  .  .  .  .  .  .  .  .  .  .  .",
        "  B  .  +  .  .  .  .  .  .  .  .  .  .",
        "  C  .  .  o  .  .  .  .  .  .  .  .  .",
        *(f"  {row}  .  .  .  .  .  .  .  .  .  .  .  ." for row in "DEFG"),
        "  H  .  .  .  .  .  .  .  .  .  .  .  #",
    ]


@pytest.mark.parametrize(
    ("wells", "info", "size"),
    [
        (("A01",), PlateInfo(), (8, 12, False)),
        (("A13",), PlateInfo(), (16, 24, False)),
        (("I01",), PlateInfo(), (16, 24, False)),
        (("AF48",), PlateInfo(), (32, 48, False)),
        (("A01",), PlateInfo(rows=2, columns=3), (2, 3, True)),
        (("C01",), PlateInfo(rows=2, columns=3), (8, 12, False)),
        (("AZ120",), PlateInfo(), (52, 120, False)),
    ],
)
def test_the_size_of_a_plate(wells: tuple[str, ...], info: PlateInfo, size: tuple[int, int, bool]) -> None:
    assert plate_size(index(*wells, info=info)) == size


def test_larger_plates_are_drawn_closer() -> None:
    lines = plate_map(index("P24"), ASCII)
    assert lines[0] == "    1       5        10        15        20"
    assert lines[-1] == "  P" + " ." * 23 + " #"
    lines = plate_map(index("AF48"), ASCII)
    assert (len(lines), lines[-1]) == (33, " AF" + "." * 47 + "#")


def test_wells_of_other_names_are_not_drawn() -> None:
    assert plate_map(index("positive control"), ASCII) == []


def test_marks_a_terminal_can_show() -> None:
    assert Marks.for_encoding("utf-8") == Marks()
    assert ASCII == Marks.for_encoding(None) == Marks.for_encoding("no such encoding")


def test_values_in_short() -> None:
    assert ranges([1, 2, 3, 4, 7, 9, 10]) == "1-4, 7, 9, 10"
    assert ranges([1, "DAPI", "GFP"]) == "1, DAPI GFP"
    assert ranges([f"A{n:02d}" for n in range(1, 13)]) == "A01 A02 A03 ... A12"
    assert ranges([]) == ""


def plate(folder: Path) -> Path:
    for well in ("A01", "B02"):
        for site in range(1, 10):
            (folder / f"P_{well}_s{site}_w1.tif").touch()
    return folder


def test_missing_planes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plate(tmp_path)
    for site in range(1, 9):
        (tmp_path / f"P_B02_s{site}_w1.tif").rename(tmp_path / f"P_B02_s{site}_w2.tif")
    assert main(["ls", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "planes       18   18 missing" in out
    assert out.count("missing: ") == 7
    assert "missing: and 12 more lines; --missing has them" in out
    assert main(["ls", str(tmp_path), "--missing"]) == 0
    assert capsys.readouterr().out.count("missing: ") == 18


def test_a_well_that_is_missing_as_a_whole_takes_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plate(tmp_path)
    (tmp_path / "P.HTD").write_text(
        '"HTSInfoFile", Version 1.0\n"XWells", 3\n"YWells", 2\n"WellsSelection1", TRUE, TRUE\n'
        '"WellsSelection2", FALSE, TRUE\n'
    )
    assert main(["ls", str(tmp_path)]) == 0
    out = capsys.readouterr().out.splitlines()
    assert [line for line in out if line.startswith("missing")] == ["missing: all 9 planes of well A02"]
    assert "planes       18   9 missing" in out
    assert "     1  2  3" in out, "the size is the HTD's"


def test_colours_only_for_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ls", str(plate(tmp_path))]) == 0
    assert "\x1b" not in capsys.readouterr().out
    lines = plate_map(index("A01"), ASCII.coloured())
    assert lines[1].startswith("  A  \x1b[32m#\x1b[0m  \x1b[90m.\x1b[0m")


def test_damaged_files_fail_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plate(tmp_path)
    assert main(["ls", str(tmp_path), "--check"]) == 1
    captured = capsys.readouterr()
    assert captured.out.count("damaged: ") == 18
    assert captured.err == "polystore: 18 of the plate's files are damaged\n"
    assert main(["ls", str(tmp_path), "--check", "--json"]) == 1
    assert len(json.loads(capsys.readouterr().out)["damaged"]) == 18


def test_what_was_looked_for_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ls", str(tmp_path / "nope")]) == 1
    assert "nothing is there" in capsys.readouterr().err
    assert main(["ls", str(tmp_path)]) == 1
    assert "imagexpress: images such as" in capsys.readouterr().err
    assert main(["ls", str(plate(tmp_path)), "--microscope", "phenix"]) == 1
    assert "did you mean 'opera" in capsys.readouterr().err


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_any_terminal_and_a_reader_that_leaves(tmp_path: Path, encoding: str) -> None:
    plate(tmp_path)
    environment = {"PYTHONIOENCODING": encoding, "PATH": ""}
    command = [
        sys.executable,
        "-c",
        "from polystore._cli import main; raise SystemExit(main())",
        "ls",
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, env=environment, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode(encoding).count("\n") > 10
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) in (0, 1)
