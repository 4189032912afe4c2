"""The doctor: what is there, what is missing, and the command that installs it; nothing heavy is imported."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from collections.abc import Callable
from importlib import util
from pathlib import Path

import pytest

from openhcs_viewers import _findings, system
from openhcs_viewers._findings import Finding
from openhcs_viewers.doctor import examine
from openhcs_viewers.errors import ViewerNotFoundError
from openhcs_viewers.napari.doctor import QT_BINDINGS, qt_pair
from polystore.payload import shm


def level(name: str, *kinds: str) -> Finding:
    (found,) = [finding for finding in examine(kinds or ("recording",)).findings if finding.name == name]
    return found


def test_what_is_there_is_named_with_its_version() -> None:
    report = examine(["recording"])
    assert report.healthy
    assert level("zmqruntime").text == importlib.metadata.version("zmqruntime")
    assert "everything needed is there" in str(report)
    assert report.as_json()["healthy"] is True


def test_all_registered_viewers_are_looked_at() -> None:
    topics = {finding.topic for finding in examine().findings}
    assert {"viewer napari", "viewer recording"} <= topics


def test_an_unknown_viewer_is_an_error() -> None:
    with pytest.raises(ViewerNotFoundError):
        examine(["nobody"])


def test_it_imports_no_qt_and_no_viewer() -> None:
    code = (
        "import sys; from openhcs_viewers.doctor import examine; examine(['napari']);"
        "print([m for m in sys.modules if m.partition('.')[0] in {'napari', 'qtpy', 'PySide6', 'PyQt6', 'vispy'}])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_a_missing_package_comes_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        _findings, "version_of", lambda name: None if name in ("napari", *QT_BINDINGS) else "1.0"
    )
    report = examine(["napari"])
    assert not report.healthy
    assert level("napari", "napari").remedy == "pip install 'openhcs-viewers[napari]'"
    assert "none of PySide6-Essentials, PyQt6" in level("Qt", "napari").text
    assert "-> pip install 'openhcs-viewers[napari]'" in str(report)


@pytest.mark.parametrize(
    ("name", "version", "python", "good"),
    [
        ("PySide6-Essentials", "6.12.0", (3, 11), False),
        ("PySide6-Essentials", "6.12.1", (3, 11), False),
        ("PySide6-Essentials", "6.11.3", (3, 11), True),
        ("PySide6-Essentials", "6.12.0", (3, 12), True),
        ("PyQt6", "6.12.0", (3, 11), True),
    ],
)
def test_bad_pairs_are_named(name: str, version: str, python: tuple[int, int], good: bool) -> None:
    finding = qt_pair("viewer napari", name, version, python)
    assert (finding.level == "ok") is good
    if not good:
        assert "bad pair" in finding.text
        assert finding.remedy == "pip install 'PySide6-Essentials<6.12'"


def test_missing_system_packages_come_with_one_command(monkeypatch: pytest.MonkeyPatch) -> None:
    need = system.Need(
        "display", "a display", ("napari",), (("xvfb", {"command": "Xvfb-of-nobody"}), ("a", {}))
    )
    monkeypatch.setattr(system, "needs", lambda viewer=None: (need,))
    found = level("system: display", "napari")
    assert found.level == "fail"
    assert "missing xvfb" in found.text
    assert found.remedy.endswith("apt-get install -y --no-install-recommends xvfb")


def test_a_display_is_looked_at_by_talking_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":64123")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    found = level("display", "napari")
    assert "':64123' cannot be opened" in found.text
    assert "--display virtual" in found.remedy


def test_little_shared_memory_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    info = os.statvfs("/")
    small = os.statvfs_result((4096, 4096, 16384, 16384, 16384, 0, 0, 0, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda path: small if path == shm.SHM_DIR else info)
    found = level("shared memory")
    assert "64 MB free of 64 MB" in found.text
    assert "--shm-size" in found.remedy


def test_what_dead_processes_left_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        shm, "names", lambda: [("polystore-1-1-1", 3 << 20, False), ("polystore-2-2-2", 1, True)]
    )
    found = level("leftovers")
    assert "1 names of dead processes hold 3 MB" in found.text
    assert "polystore shm gc" in found.remedy


def test_an_unusable_socket_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZMQRUNTIME_DIR", str(tmp_path / ("long" * 30)))
    found = level("socket folder")
    assert found.level == "fail"
    assert "the limit is 107" in found.text
    assert "ZMQRUNTIME_DIR" in found.remedy


def test_running_servers_are_named_and_stale_files_removed(
    own_folders: Path, start: Callable[..., object]
) -> None:
    start()
    stale = own_folders / "run" / "connections" / "napari-5555-1.json"
    stale.write_text(
        '{"kind": "napari", "pid": 1, "start_time": 1, "data_port": 5555, "control_port": 6555, "transport": "ipc"}'
    )
    text = level("running servers").text
    assert "recording on 5560" in text
    assert "removed 1 connection files" in text
    assert not stale.exists()


def test_deep_opens_a_viewer_and_closes_it() -> None:
    report = examine(["recording"], deep=True)
    found = report.findings[-1]
    assert (found.name, found.level) == ("deep", "ok")
    assert "opened in" in found.text


@pytest.mark.usefixtures("odd_viewers")
def test_deep_reports_what_went_wrong() -> None:
    report = examine(["nodisplay"], deep=True)
    assert not report.healthy
    assert "there is no display ':77'" in report.findings[-1].text


def test_a_viewer_whose_package_is_gone_is_named(odd_viewers: None, monkeypatch: pytest.MonkeyPatch) -> None:
    found = level("module", "faulty")
    assert found.level == "fail"
    assert util.find_spec("odd_viewers") is None


def test_the_list_of_system_packages_is_whole() -> None:
    (need,) = system.needs("napari")
    assert need.name == "display"
    assert "xvfb" in dict(need.packages)
    assert system.needs("recording") == ()
    assert system.needs_display("napari")
    assert not system.needs_display("recording")
    assert system.install_command(("a", "b")).endswith(" a b")
