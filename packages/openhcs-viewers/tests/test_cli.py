"""The command line, with real viewers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from openhcs_viewers._cli import main
from openhcs_viewers.handle import ViewerHandle
from openhcs_viewers.launcher import list_viewers
from polystore.backends.disk import DiskBackend
from polystore.components import ImageKey
from polystore.rois import ROI, rois_to_wire
from polystore.streaming import StreamItem

Start = Callable[..., ViewerHandle]


def run(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    """What a command prints as JSON."""
    assert main([*arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    for command in (
        "launch",
        "list",
        "status",
        "stop",
        "stream",
        "rois",
        "macro",
        "demo",
        "doctor",
        "config",
    ):
        assert f"  openhcs-viewers {command}" in text


@pytest.mark.parametrize(
    "command", ["launch", "list", "status", "stop", "stream", "rois", "macro", "demo", "doctor", "config"]
)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    assert f"openhcs-viewers {command}" in capsys.readouterr().out


def test_launch_list_status_stop(capsys: pytest.CaptureFixture[str]) -> None:
    opened = run(capsys, "launch", "recording", "--title", "mine")
    assert opened["started"]
    assert not run(capsys, "launch", "recording")["started"]
    (listed,) = run(capsys, "list")
    assert listed | {"log": ""} == {
        "kind": "recording", "port": 5560, "endpoint": "ipc://localhost:5560", "title": "mine", "pid": opened["pid"],
        "log": "", "state": "ready", "responsive": True, "queued": 0,
    }  # fmt: skip
    (status,) = run(capsys, "status", "--port", "5560")
    assert status["images"]["received"] == 0
    assert (status["title"], status["responsive"], status["queued"]) == ("mine", True, 0)
    assert run(capsys, "stop")[0]["ended"] == "asked"
    assert run(capsys, "list") == []


def test_what_people_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    assert "no viewer of yours runs" in capsys.readouterr().out
    assert main(["launch", "recording"]) == 0
    assert "recording on port 5560 opened: ipc://localhost:5560" in capsys.readouterr().out
    assert main(["launch", "recording"]) == 0
    assert "already open" in capsys.readouterr().out
    assert main(["list"]) == 0
    head, line = capsys.readouterr().out.splitlines()
    assert head.split() == ["PORT", "KIND", "STATE", "QUEUED", "PID", "TITLE", "LOG"]
    assert line.split()[:4] == ["5560", "recording", "responsive", "0"]
    assert main(["status"]) == 0
    assert "  displayed: 0" in capsys.readouterr().out
    assert main(["stop"]) == 0
    assert "recording on port 5560 closed" in capsys.readouterr().out


def test_a_stopped_viewer_is_listed_and_ended_by_force(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    handle = start()
    os.kill(handle.pid or 0, signal.SIGSTOP)
    (listed,) = run(capsys, "list")
    assert (listed["state"], listed["responsive"], listed["queued"]) == ("silent", False, None)
    (failed,) = run(capsys, "status", code=1)
    assert (failed["state"], failed["responsive"]) == ("silent", False)
    assert "no answer" in failed["error"]
    (ended,) = run(capsys, "stop", "--force", "--port", str(handle.port), "--timeout", "0.5")
    assert ended["ended"] == "killed"
    assert list_viewers() == []


@pytest.mark.usefixtures("odd_viewers")
def test_a_starting_viewer_is_listed_as_such(
    start: Start, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLOW_VIEWER", str(tmp_path / "go"))
    start("slow", wait=False)
    (listed,) = run(capsys, "list")
    assert (listed["state"], listed["responsive"]) == ("starting", False)


def test_all_are_stopped(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    start()
    start(reuse=False)
    assert len(run(capsys, "stop", "--all")) == 2
    assert list_viewers() == []


def test_errors_go_to_people_and_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stop"]) == 1
    assert "openhcs-viewers stop: there is no viewer (running: none)" in capsys.readouterr().err
    assert run(capsys, "launch", "napri", code=1)["error"] == "ViewerNotFoundError"
    with pytest.raises(SystemExit) as caught:
        main(["launch", "--port", "many"])
    assert caught.value.code == 2


def test_files_and_folders_are_streamed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plate = tmp_path / "plate"
    (plate / "more").mkdir(parents=True)
    for name in ("A01_s1_w1.tif", "A01_s2_w1.tif", "more/A02_s1_w1.tif", "A01_s1_w1_thumb1234.tif"):
        tifffile.imwrite(plate / name, np.full((4, 6), 7, np.uint16))
    (plate / "A01_s3_w1.tif").write_bytes(b"no picture")
    (plate / "notes.txt").write_text("no image")
    single = tmp_path / "strange.npy"
    np.save(single, np.zeros((3, 4), np.uint8))
    found = run(capsys, "stream", str(plate), str(single), "--to", "recording", "--step", "raw")
    assert (found["sent"], found["displayed"], found["unreadable"]) == (4, 4, 1)
    (handle,) = list_viewers()
    names = {layer["name"]: layer["planes"] for layer in handle.state()["layers"]}
    assert names == {"raw_Channel_1": 3, "raw_strange": 1}


def test_nothing_to_stream_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "stream", str(tmp_path), "--to", "recording", code=1)["error"] == "ViewerFilesError"
    assert "there is no file or folder" in run(capsys, "stream", "/nowhere/x", code=1)["message"]
    assert list_viewers() == []


def test_doctor(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(capsys, "doctor", "recording")["healthy"]
    assert main(["doctor", "recording"]) == 0
    assert "everything needed is there" in capsys.readouterr().out
    monkeypatch.setattr("openhcs_viewers._findings.version_of", lambda name: None)
    assert main(["doctor", "recording"]) == 1


def test_demo_gets_its_own_options(monkeypatch: pytest.MonkeyPatch) -> None:
    given = []
    monkeypatch.setattr("openhcs_viewers.demo.run.main", lambda arguments: given.append(arguments) or 3)
    assert main(["demo", "--headless", "--out", "x"]) == 3
    assert given == [["--headless", "--out", "x"]]


def test_the_command_is_installed() -> None:
    command = Path(sys.executable).parent / "openhcs-viewers"
    done = subprocess.run([str(command), "--version"], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.startswith("openhcs-viewers 0.")


def test_what_holds_and_who_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[napari]\nport = 5600\ncolormap = 'fire'\n[npari]\n", encoding="utf-8")
    monkeypatch.setenv("OPENHCS_CONFIG", str(file))
    monkeypatch.setenv("OPENHCS_NAPARI_PORT", "5700")
    found = run(capsys, "config")
    (port,) = [one for one in found["settings"] if one["variable"] == "OPENHCS_NAPARI_PORT"]
    assert (port["section"], port["key"], port["value"]) == ("napari", "port", 5700)
    assert [hidden["value"] for hidden in port["hides"]] == [5600, 5555]
    assert {"vfs", "polystore", "napari"} <= {one["section"] for one in found["settings"]}
    assert any("[npari] is no table of ours" in note for note in found["notes"])
    assert main(["config", "--explain"]) == 0
    out = capsys.readouterr().out
    assert f"fire             file {file}" in out
    assert "note: " in out
    assert main(["config", "--toml"]) == 0
    assert "port = 5700\n" in capsys.readouterr().out
    monkeypatch.setenv("OPENHCS_NAPARI_PORT", "high")
    failed = run(capsys, "config", code=1)
    assert failed["error"] == "SettingsError"


def test_regions_are_listed_and_written(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, start: Start
) -> None:
    handle = start()
    assert main(["rois"]) == 0
    assert "nothing was drawn there" in capsys.readouterr().out
    rois = [ROI("polygon", [[0, 0], [0, 4], [4, 4]], {"name": "cell 1"})]
    handle.sender(policy="block", deadline=10.0).send(
        [StreamItem(None, ImageKey(well="A01", z=2), kind="rois", rois=rois_to_wire(rois))]
    )
    handle.settle()
    assert main(["rois", "--all"]) == 0
    head, line = capsys.readouterr().out.splitlines()
    assert head.split() == ["KIND", "NAME", "PLACE", "LAYER", "CAME"]
    assert line.split("  ") == ["polygon", "cell 1", "well=A01, z=2", "shapes", "by stream"]
    for suffix in (".zip", ".geojson", ".rois.json"):
        out = tmp_path / f"drawn{suffix}"
        assert run(capsys, "rois", "--all", "--out", str(out))["out"] == str(out)
        (found,) = DiskBackend().load(str(out))
        assert found.properties["name"] == "cell 1"
    assert found.place == ImageKey(well="A01", z=2)
    assert main(["rois", "--out", str(tmp_path / "drawn.odd")]) == 1
    assert "its ending is one of .zip, .geojson, .rois.json" in capsys.readouterr().err


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "openhcs_viewers._cli", "list"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(write)
    assert done.stderr == ""
    assert done.returncode == 128 + signal.SIGPIPE


def test_a_viewer_without_macros_says_so(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, start: Start
) -> None:
    start()
    (tmp_path / "m.ijm").write_text("return 1;")
    assert main(["macro", str(tmp_path / "m.ijm")]) == 1
    assert "no command 'run_macro'" in capsys.readouterr().err
