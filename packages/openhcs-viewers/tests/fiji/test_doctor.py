"""What the doctor says of fiji: each way to an ImageJ, Java, and the commands that help; Java is not started here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from openhcs_viewers import _findings, system
from openhcs_viewers._cli import main
from openhcs_viewers._findings import Finding
from openhcs_viewers.doctor import EXTRAS, VIEWER_LOOKS, examine
from openhcs_viewers.fiji import _routes
from openhcs_viewers.fiji.doctor import fetch_what_opening_would


def looked(**options: str) -> dict[str, Finding]:
    report = examine(["fiji"], options={"fiji": options})
    return {one.name: one for one in report.findings if one.topic == "viewer fiji"}


@pytest.fixture
def nothing_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("M2_REPO", str(tmp_path))
    monkeypatch.setattr(_routes, "SYSTEM_JARS", (Path("/nowhere/ij.jar"),))


def test_the_route_taken_is_named_and_why_the_others_were_not(ij_jar: Path) -> None:
    found = looked()
    assert found["ImageJ: maven"].text == "taken: net.imagej:ij:1.54p"
    assert found["ImageJ: fiji-dir"].text.startswith("not taken: no Fiji folder is named")
    assert found["ImageJ: endpoint"].text.startswith("not taken: no endpoint is named")
    assert [name for name in found if name.startswith("ImageJ: ")] == [f"ImageJ: {n}" for n in _routes.ROUTES]
    assert found["Java"].level == "ok"
    assert found["jpype1"].level == "ok"


@pytest.mark.usefixtures("nothing_fetched")
def test_no_imagej_comes_with_the_command_that_fetches_it() -> None:
    found = looked()
    assert (found["ImageJ"].level, found["ImageJ"].remedy) == (
        "fail",
        "openhcs-viewers doctor fiji --install",
    )
    assert "is not fetched yet" in found["ImageJ: maven"].text


def test_a_wrong_setting_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "/nowhere is not there" in looked(fiji_dir="/nowhere")["ImageJ: settings"].text
    monkeypatch.setenv("OPENHCS_FIJI_HEAP", "much")
    assert "OPENHCS_FIJI_HEAP" in looked()["settings"].text


def test_a_java_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "gone"))
    found = looked()
    assert found["Java"].level == "fail"
    assert "points nowhere" in found["Java"].text
    assert found["system: java"].remedy.endswith("install -y --no-install-recommends default-jre")


def test_a_viewer_nobody_asked_for_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    there = _findings.version_of
    monkeypatch.setattr(_findings, "version_of", lambda name: None if name in EXTRAS["fiji"] else there(name))
    report = examine()
    (found,) = [one for one in report.findings if one.topic == "viewer fiji"]
    assert (found.level, found.remedy) == ("warn", "pip install 'openhcs-viewers[fiji]'")
    assert not examine(["fiji"]).healthy


def test_every_extra_has_a_look_and_it_imports_no_java() -> None:
    assert VIEWER_LOOKS.keys() == EXTRAS.keys()
    code = (
        "import sys; from openhcs_viewers.doctor import examine; examine(['fiji']);"
        "print([m for m in sys.modules if m.partition('.')[0] in {'jpype', 'scyjava', 'imagej', 'jgo'}])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n", done.stderr


def test_install_says_what_it_fetches(ij_jar: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["doctor", "fiji", "--install"])
    said = capsys.readouterr()
    assert said.err == f"net.imagej:ij:1.54p is there: {ij_jar}\n"
    assert "taken: net.imagej:ij:1.54p" in said.out


@pytest.mark.usefixtures("nothing_fetched")
def test_install_without_a_network_fails_with_the_reason(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert main(["doctor", "fiji", "--install"]) == 1
    said = capsys.readouterr().err
    assert "fetching net.imagej:ij:1.54p from Maven Central into" in said
    assert "cannot be had from Maven Central" in said


@pytest.mark.usefixtures("nothing_fetched")
def test_what_opening_would_fetch_is_fetched_before_anything_is_judged(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    said: list[str] = []
    fetch_what_opening_would({}, said.append)
    assert "fetching net.imagej:ij:1.54p from Maven Central into" in said[0]
    assert "cannot be had from Maven Central" in said[-1]


def test_what_is_there_is_not_fetched(ij_jar: Path) -> None:
    said: list[str] = []
    fetch_what_opening_would({}, said.append)
    fetch_what_opening_would({"fiji_dir": "/nowhere"}, said.append)
    assert said == []


def test_a_demo_says_at_once_that_fiji_is_not_there(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = ["demo", "--viewer", "fiji", "--headless", "--out", str(tmp_path), "--fiji-dir", "/nowhere"]
    assert main(arguments) == 1
    assert capsys.readouterr().err.count("/nowhere") >= 1
    assert list(tmp_path.iterdir()) == []


def test_what_fiji_needs_of_the_system() -> None:
    needs = {need.name: [package for package, _ in need.packages] for need in system.needs("fiji")}
    assert needs["fiji-display"] == ["xvfb"]  # and nothing of Qt's
    # The libraries come with Debian's Java; one that was unpacked somewhere else brings none.
    assert {"default-jre", "libxtst6", "libfontconfig1", "fonts-dejavu-core"} <= set(needs["java"])
    assert system.needs_display("fiji")
    assert all(need.missing() == () for need in system.needs("fiji"))
