"""``polystore cp``: two real acquisitions, counted by hand; kill -9; broken files; what the command says."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tifffile
import yaozarrs

from polystore import FileManager
from polystore._cli import main
from polystore._commands._progress import ProgressBar
from polystore.backends.disk import DiskBackend
from polystore.components import ImageKey
from polystore.errors import MissingExtraError
from polystore.microscopes import open_plate, parse_path
from polystore.omezarr.engines import engine
from polystore.plate import PlateIndex
from polystore.testing import example_image
from polystore.workspace import create_workspace

COMMAND = [str(Path(sys.executable).with_name("polystore")), "cp"]

Z = tuple(range(1, 11))
REAL = {
    # 2 wells x 2 fields x (w1, w2: ten z steps and a projection; w3: a projection; w4: z step 1); 96 thumbnails
    "Projection-Mix": {
        ImageKey(well=well, field=field, channel=channel, z=z)
        for well in ("E07", "E08")
        for field in (1, 2)
        for channel, steps in ((1, (None, *Z)), (2, (None, *Z)), (3, (None,)), (4, (1,)))
        for z in steps
    },
    # 1 well x 2 fields x 3 channels x 2 time points, no z
    "1well-3C-2S-Zmix-T": {
        ImageKey(well="C07", field=field, channel=channel, t=t)
        for field in (1, 2)
        for channel in (1, 2, 3)
        for t in (1, 2)
    },
}


@pytest.fixture
def real() -> Path:
    for folder in Path(__file__).resolve().parents:
        found = folder / "shared" / "data" / "imagexpress"
        if found.is_dir():
            return found
    pytest.skip("the real acquisitions are not part of the repository")


def vendor_files(plate: Path) -> dict[ImageKey, Path]:
    """Each plane's file, found without polystore: by the instrument's own scheme of names."""
    found = {}
    for path in plate.rglob("*.tif"):
        name = re.fullmatch(r".+_([A-P]\d\d)_s(\d)_w(\d)[0-9A-F]{8}-.+", path.name)
        if name is None or "_thumb" in path.name:
            continue
        z, t = (re.search(rf"{what}_(\d+)/", path.as_posix()) for what in ("ZStep", "TimePoint"))
        key = ImageKey(
            well=name[1],
            field=int(name[2]),
            channel=int(name[3]),
            z=int(z[1]) if z else None,
            t=int(t[1]) if t and "T" in plate.name else None,
        )
        assert key not in found
        found[key] = path
    return found


def test_the_hand_counts_are_those_of_the_files(real: Path) -> None:
    assert {name: len(keys) for name, keys in REAL.items()} == {
        "Projection-Mix": 96,
        "1well-3C-2S-Zmix-T": 12,
    }
    for name, keys in REAL.items():
        assert set(vendor_files(real / name)) == keys


@pytest.mark.parametrize("version", ["0.5", "0.4"])
@pytest.mark.parametrize("name", REAL)
def test_a_real_acquisition_becomes_an_ome_zarr_plate(
    real: Path, tmp_path: Path, name: str, version: str, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "plate.zarr"
    assert main(["cp", str(real / name), str(target), "--version", version, "--verify"]) == 0
    assert f"{len(REAL[name])} planes copied" in capsys.readouterr().out
    plate = open_plate(target)
    assert {plane.key for plane in plate} == REAL[name]
    source = open_plate(real / name)
    assert plate.summary() == source.summary()
    assert plate.info.pixel_size_um == source.info.pixel_size_um
    assert {key: channel.name for key, channel in plate.info.channels.items()} == {
        key: channel.name for key, channel in source.info.channels.items()
    }
    assert dict(plate.info.positions_um) == dict(source.info.positions_um)
    # Bit by bit against the instrument's files, read by tifffile.
    fm = FileManager()
    files = vendor_files(real / name)
    for path in fm.list_files(target, "zarr"):
        original = tifffile.imread(files.pop(parse_path(Path(path).name)))
        loaded = fm.load(path, "zarr")
        assert loaded.dtype == original.dtype
        np.testing.assert_array_equal(loaded, original)
    assert files == {}
    yaozarrs.validate_zarr_store(str(target))


@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_ome_zarr_py_opens_it_and_sees_the_same_pixels(real: Path, tmp_path: Path, version: str) -> None:
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Plate, Reader

    target = tmp_path / "plate.zarr"
    assert main(["cp", str(real / "1well-3C-2S-Zmix-T"), str(target), "--version", version]) == 0
    (plate,) = Reader(parse_url(str(target)))()
    assert any(isinstance(spec, Plate) for spec in plate.specs)
    files = vendor_files(real / "1well-3C-2S-Zmix-T")
    location = parse_url(str(target / "C" / "7" / "2"))
    assert location is not None
    (image,) = Reader(location)()
    pixels = np.asarray(image.data[0])
    assert pixels.shape == (2, 3, 1, *tifffile.imread(next(iter(files.values()))).shape)
    for t in (1, 2):
        for channel in (1, 2, 3):
            original = tifffile.imread(files[ImageKey(well="C07", field=2, channel=channel, t=t)])
            np.testing.assert_array_equal(pixels[t - 1, channel - 1, 0], original)
    assert image.metadata["channel_names"] == ["FITC", "Cy3", "Texas Red"]


@pytest.mark.parametrize("name", REAL)
def test_round_about_by_a_workspace_zarr_and_tiffs(real: Path, tmp_path: Path, name: str) -> None:
    workspace = create_workspace(open_plate(real / name), tmp_path / "workspace")
    assert open_plate(workspace).summary() == open_plate(real / name).summary()
    chain = [workspace, str(tmp_path / "p4.zarr"), str(tmp_path / "p5.zarr"), str(tmp_path / "tidy")]
    assert main(["cp", chain[0], chain[1], "--version", "0.4"]) == 0
    assert main(["cp", chain[1], chain[2]]) == 0
    assert main(["cp", chain[2], chain[3]]) == 0
    found = {parse_path(path.name): path for path in Path(chain[3]).glob("*.tif")}
    assert set(found) == REAL[name]
    for key, path in vendor_files(real / name).items():
        np.testing.assert_array_equal(tifffile.imread(found[key]), tifffile.imread(path))


# -- a plate of many small images

WELLS = [f"{row}{column:02d}" for row in "ABCDE" for column in range(1, 13)]


@pytest.fixture
def plate(tmp_path: Path) -> PlateIndex:
    """60 wells with two fields of two z steps."""
    vendor = DiskBackend(tmp_path / "vendor")
    for number, well in enumerate(WELLS):
        for field in (1, 2):
            for z in (1, 2):
                vendor.save(example_image(number, (16, 16)), f"{well}_s{field:03d}_w1_z{z:03d}.tif")
    return open_plate(tmp_path / "vendor")


def started(plate: PlateIndex, target: Path, *options: str) -> subprocess.Popen[str]:
    command = [*COMMAND, plate.root, str(target), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("target", ["tidy", "plate.zarr"])
def test_what_kill_9_interrupts_the_next_run_completes(
    plate: PlateIndex, tmp_path: Path, target: str, repeats: int
) -> None:
    present = [0]
    for number in range(repeats * 3 // 5):
        if number % 6 == 5:
            DiskBackend().delete(tmp_path / target, recursive=True)
            present.append(0)
        running = started(plate, tmp_path / target)
        assert running.stderr is not None
        for _ in range(1 + number % 2):
            running.stderr.readline()  # a tenth of the planes is there
        running.send_signal(signal.SIGKILL)
        running.communicate()
        if running.returncode != -signal.SIGKILL:
            break  # it was through before the signal came
        there = FileManager().list_files(tmp_path / target, "auto", "*.tif")
        for path in there:
            assert FileManager().load(path, "auto").shape == (16, 16)
        present.append(len(there))
        assert present[-1] >= present[-2]
    assert max(present) > 0
    done = subprocess.run(
        [*COMMAND, plate.root, str(tmp_path / target), "--verify", "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    report = json.loads(done.stdout)
    assert report["copied"] + report["present"] == 240
    assert report["present"] >= present[-1]
    assert report["failed"] == []
    if target == "tidy":
        assert [name for name in os.listdir(tmp_path / target) if name.startswith(".")] == [
            ".polystore_copy.json"
        ]
    else:
        yaozarrs.validate_zarr_store(str(tmp_path / target))


def test_ctrl_c_says_how_to_go_on(plate: PlateIndex, tmp_path: Path) -> None:
    running = started(plate, tmp_path / "tidy")
    assert running.stderr is not None
    running.stderr.readline()
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate()
    assert (running.returncode == 130 and "run the same command again" in errors) or running.returncode == 0
    assert "Traceback" not in errors


@pytest.mark.parametrize("target", ["tidy", "plate.zarr"])
def test_a_broken_file_is_listed_and_the_rest_copied(
    plate: PlateIndex, tmp_path: Path, target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = Path(plate.root, "A01_s001_w1_z002.tif")
    content = broken.read_bytes()
    broken.write_bytes(content[: len(content) // 2])
    assert main(["cp", plate.root, str(tmp_path / target), "--verify"]) == 1
    out, err = capsys.readouterr()
    assert "239 planes copied" in out
    assert "polystore: 1 of 240 planes was not copied:" in err
    assert str(broken) in err
    broken.write_bytes(content)
    assert main(["cp", plate.root, str(tmp_path / target), "--verify"]) == 0
    assert "1 plane copied" in capsys.readouterr().out


def test_one_plane_of_another_kind_is_listed_and_the_rest_copied(
    plate: PlateIndex, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A field of an OME-Zarr plate has one dtype: what does not fit is not cast."""
    DiskBackend(plate.root).save(example_image(0, (16, 16), "float32"), "A01_s001_w1_z002.tif")
    target = str(tmp_path / "plate.zarr")
    status = main(["cp", plate.root, target, "--json"])
    report = json.loads(capsys.readouterr().out)
    fm = FileManager()
    if status:
        assert (report["copied"], len(report["failed"])) == (239, 1)
    else:  # a store may keep it exactly, beside the others
        loaded = fm.load(f"{target}/A01_s001_w1_z002.tif", "zarr")
        np.testing.assert_array_equal(loaded, example_image(0, (16, 16), "float32"))
        assert loaded.dtype == "float32"


def test_a_target_that_cannot_be_written_ends_it(
    plate: PlateIndex, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("x")
    assert main(["cp", plate.root, str(tmp_path / "file" / "tidy")]) == 1
    assert "polystore:" in capsys.readouterr().err


def test_a_bucket_is_a_target_and_a_source(
    real: Path, bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = str(real / "1well-3C-2S-Zmix-T"), f"{bucket}/plates/tidy"
    assert main(["cp", source, target, "--verify"]) == 0
    assert main(["cp", source, target, "--json"]) == 0
    assert json.loads(capsys.readouterr().out.partition("compared\n")[2])["present"] == 12
    assert open_plate(target).summary() == open_plate(source).summary()
    workspace = create_workspace(open_plate(target), tmp_path / "workspace")
    assert main(["cp", workspace, str(tmp_path / "back.zarr")]) == 0
    fm = FileManager()
    for key, path in vendor_files(Path(source)).items():
        name = f"C07_s{key.field:03d}_w{key.channel}_t{key.t:03d}.tif"
        np.testing.assert_array_equal(fm.load(f"{tmp_path}/back.zarr/{name}", "auto"), tifffile.imread(path))


def test_an_ome_zarr_plate_in_a_bucket(
    real: Path, bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = str(real / "1well-3C-2S-Zmix-T"), f"{bucket}/plates/p.zarr"
    assert main(["cp", source, target, "--verify"]) == 0
    assert f"12 planes copied to {target}, all compared" in capsys.readouterr().out
    assert main(["cp", source, target, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["present"] == 12
    assert open_plate(target).summary() == open_plate(source).summary()
    assert main(["cp", target, str(tmp_path / "tidy")]) == 0
    found = {parse_path(path.name): path for path in (tmp_path / "tidy").glob("*.tif")}
    for key, path in vendor_files(Path(source)).items():
        np.testing.assert_array_equal(tifffile.imread(found[key]), tifffile.imread(path))


# -- what is asked for


def test_part_of_a_plate(plate: PlateIndex, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = str(tmp_path / "p.zarr")
    assert main(["cp", plate.root, target, "--wells", "A01,c3", "--channels", "w1", "--workers", "1"]) == 0
    assert open_plate(target).wells == ("A01", "C03")
    assert main(["cp", plate.root, target, "--wells", "A01,H12"]) == 1
    assert "no well 'H12'" in capsys.readouterr().err
    assert main(["cp", plate.root, target, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["present"] == 8


def test_what_is_missing_or_double_in_the_plate_is_told(
    plate: PlateIndex, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(plate.root, "C05_s002_w1_z002.tif").unlink()
    DiskBackend(plate.root).save(example_image(), "A01_s001_w1_z001.png")
    assert main(["cp", plate.root, str(tmp_path / "tidy")]) == 0
    out, err = capsys.readouterr()
    assert "239 planes copied" in out
    assert "lacks 1 plane that it should have: well=C05, field=2, channel=1, z=2" in err
    assert "A01" in err.splitlines()[-2], err
    assert main(["cp", plate.root, str(tmp_path / "part"), "--wells", "A02"]) == 0
    assert "lacks" not in capsys.readouterr().err


def test_a_dry_run_writes_nothing(
    plate: PlateIndex, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("tidy", "p.zarr"):
        assert main(["cp", plate.root, str(tmp_path / name), "--dry-run"]) == 0
        out = capsys.readouterr().out
        assert "240 planes to copy" in out
        assert "A01_s001_w1_z001.tif -> " in out
    assert main(["cp", plate.root, str(tmp_path / "tidy"), "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["to_copy"] == 240
    assert sorted(os.listdir(tmp_path)) == ["vendor"]


def test_targets_that_make_no_sense(
    plate: PlateIndex, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for target in (plate.root, str(tmp_path), f"{tmp_path}/p.zarr/inside"):
        assert main(["cp", plate.root, target]) == 1
        assert "TARGET" in capsys.readouterr().err
    assert main(["cp", str(tmp_path / "nowhere"), str(tmp_path / "x")]) == 1
    assert "nowhere" in capsys.readouterr().err
    for options in (["--workers", "0"], ["--workers", "x"], ["--wells", ","], ["--version", "0.3"]):
        with pytest.raises(SystemExit):
            main(["cp", plate.root, str(tmp_path / "x"), *options])
        capsys.readouterr()


def test_an_empty_target_is_refused_by_name(plate: PlateIndex, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cp", plate.root, ""]) == 1
    assert "TARGET is empty" in capsys.readouterr().err


def test_another_version_than_the_copys_is_refused(
    plate: PlateIndex, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = str(tmp_path / "p.zarr")
    assert main(["cp", plate.root, target, "--wells", "A01", "--version", "0.4"]) == 0
    assert main(["cp", plate.root, target, "--version", "0.5"]) == 1
    assert "is OME-Zarr 0.4 already and keeps it" in capsys.readouterr().err
    assert open_plate(target).wells == ("A01",)
    assert main(["cp", plate.root, target, "--wells", "A02"]) == 0
    assert main(["cp", plate.root, target, "--wells", "A03", "--version", "0.4"]) == 0
    assert open_plate(target).wells == ("A01", "A02", "A03")


def test_what_is_not_copied_of_an_ome_zarr_plate_is_told(
    plate: PlateIndex, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = str(tmp_path / "p.zarr"), str(tmp_path / "q.zarr")
    assert main(["cp", plate.root, first, "--wells", "A01"]) == 0
    assert "note" not in capsys.readouterr().err
    fm = FileManager()
    for name in ("A01_s001_w1_z001_cells_labels.tif", "A01_s001_w1_z002_cells_labels.tif"):
        fm.save(np.ones((16, 16), "u2"), f"{first}/{name}", "zarr", kind="labels")
    fm.save({"a": 1}, f"{first}/counts.json", "zarr")
    assert main(["cp", first, second]) == 0
    assert f"note: 2 labels images and 1 other file are in {first} and not copied" in capsys.readouterr().err


def test_planes_that_differ_are_not_told_as_not_copied(
    plate: PlateIndex, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cp", plate.root, str(tmp_path / "tidy")]) == 0
    image = example_image(1, (16, 16))
    DiskBackend(tmp_path / "tidy").save(image + 1, "A02_s001_w1_z001.tif")
    capsys.readouterr()
    assert main(["cp", plate.root, str(tmp_path / "tidy"), "--verify"]) == 1
    err = capsys.readouterr().err
    assert "1 of 240 planes is not the same in the copy:" in err
    assert "256 of 256 pixels differ, the first at [0, 0]" in err
    assert "not copied" not in err


def test_without_zarr_it_says_which_extra_and_makes_nothing(plate: PlateIndex, tmp_path: Path) -> None:
    """Threads that import it at once get half a module; so it is asked for before there are any."""
    code = (
        "import sys; sys.modules['zarr'] = sys.modules['tensorstore'] = None\n"
        "from polystore._cli import main; sys.exit(main(sys.argv[1:]))"
    )
    target = tmp_path / "p.zarr"
    done = subprocess.run(
        [sys.executable, "-c", code, "cp", plate.root, str(target)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "pip install 'polystore[zarr]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not target.exists()


def test_half_an_import_of_an_engine_is_a_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    engine.cache_clear()
    monkeypatch.setitem(sys.modules, "zarr", None)
    monkeypatch.setitem(sys.modules, "polystore.omezarr._zarr", ModuleType("polystore.omezarr._zarr"))
    with pytest.raises(MissingExtraError, match=r"needs zarr: pip install 'polystore\[zarr\]'"):
        engine("zarr")


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["cp", "--help"])
    out = capsys.readouterr().out
    for word in ("examples:", "run the same command again", "--verify", "plate.zarr"):
        assert word in out


# -- progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr("polystore._commands._progress.time.monotonic", lambda: now[0])
    return now


def test_a_bar_on_a_terminal(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    stream = Terminal()
    with ProgressBar("copying", 200, stream) as bar:
        for done in range(1, 101):
            clock[0] += 0.05
            bar(done, done * 2_000_000)
    drawn = stream.getvalue().split("\r")
    assert 30 < len(drawn) < 60, "ten a second at most"
    assert "[###############---------------] 100 of 200 planes, 40.0 MB/s, 0:0" in drawn[-1]
    assert drawn[-1].endswith("\n")
    monkeypatch.setenv("COLUMNS", "60")
    stream = Terminal()
    with ProgressBar("copying", 200, stream) as bar:
        bar(100, 100)
    assert max(len(line.replace("\x1b[K", "")) for line in re.split("[\r\n]", stream.getvalue())) < 60


def test_lines_in_a_log(clock: list[float]) -> None:
    stream = io.StringIO()
    with ProgressBar("copying", 1000, stream) as bar:
        for done in range(1, 1001):
            clock[0] += 0.01
            bar(done, done)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 10
    assert lines[-1].startswith("copying: 1,000 of 1,000 planes")
    stream = io.StringIO()
    with ProgressBar("copying", 100_000, stream) as bar:
        for done in range(1, 6):
            clock[0] += 11
            bar(done, done)
    assert len(stream.getvalue().splitlines()) == 6, "and one now and then when it is slow"
    stream = io.StringIO()
    with ProgressBar("copying", 0, stream):
        pass
    assert stream.getvalue() == "", "nothing to do, nothing to say"


def test_the_command_draws_a_bar_on_a_terminal(plate: PlateIndex, tmp_path: Path) -> None:
    pty: Any = pytest.importorskip("pty", reason="terminals of POSIX")
    leader, follower = pty.openpty()
    done = subprocess.Popen(
        [*COMMAND, plate.root, str(tmp_path / "tidy")], stderr=follower, stdout=subprocess.DEVNULL
    )
    os.close(follower)
    drawn = b""
    try:
        while chunk := os.read(leader, 4096):
            drawn += chunk
    except OSError:
        pass  # how Linux says that the other end is closed
    finally:
        os.close(leader)
    assert done.wait() == 0
    assert b"\rcopying [##" in drawn
    assert b"240 of 240 planes" in drawn
