"""Which ImageJ is started, and that each way to it works: two of them against what stands in for ImageJ2."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from openhcs_viewers._cli import main
from openhcs_viewers.errors import ImageJError, ViewerStartError
from openhcs_viewers.fiji import _maven, _routes
from openhcs_viewers.fiji._before import announce
from openhcs_viewers.fiji._routes import Wanted, choose, explain
from openhcs_viewers.fiji.engine import EngineSettings
from openhcs_viewers.fiji_engine_config import PINNED_IJ
from openhcs_viewers.launcher import launch, list_viewers
from polystore.config import SettingsError

Run = Callable[..., CompletedProcess[str]]

GATEWAY_USED = """
engine.show_window("mine")
frame = java("ij.IJ").getInstance()
assert engine.version == "1.54p", engine.version
assert "2.17.0/1.54p" in engine.description
assert engine.gateway.legacy.isActive()
# The window is the gateway's: one of ours would have taken its place, and hidden it.
assert frame.getClass().getName() == "net.imagej.MainWindow"
assert frame.isVisible() and frame.getTitle() == "mine"
assert [type(one) for one in java("java.awt.Frame").getFrames() if isinstance(one, java("ij.ImageJ"))] == [type(frame)]
image = java("ij.IJ").createImage("a", "16-bit ramp", 64, 64, 3)
image.show()
assert not engine.has_quit()
frame.quit()
end = time.monotonic() + 10
while engine.gateway.legacy.isActive() and time.monotonic() < end:  # it ends with its window, just after it
    time.sleep(0.02)
assert engine.has_quit() and not engine.gateway.legacy.isActive()
engine.close()
print("lives on", engine.route)
"""


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user who never fetched anything, on a machine without a network."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("M2_REPO", raising=False)
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    return tmp_path


@pytest.fixture
def no_system_jar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_routes, "SYSTEM_JARS", (Path("/nowhere/ij.jar"),))


@pytest.fixture
def fiji(tmp_path: Path) -> Path:
    (tmp_path / "Fiji.app" / "jars").mkdir(parents=True)
    (tmp_path / "Fiji.app" / "jars" / "ij.jar").write_bytes(b"")
    return tmp_path / "Fiji.app"


# --- starting them ------------------------------------------------------------------------------------------


TO_LOOK_UP = "import scyjava; scyjava.config.endpoints.append('org.nowhere:nothing:1.0')\n"
"""What an import may have left: there is no network, and no such thing."""


def test_nothing_is_looked_up_for_a_jar(process: Run) -> None:
    done = process(TO_LOOK_UP + "print(start(headless=True).route)\n")
    assert (done.returncode, done.stdout) == (0, "maven\n"), done.stderr
    assert "Fetching" not in done.stderr  # scyjava says so of the Java that is here


def test_a_fiji_folder_starts_offline_with_its_gateway(stand_in: Any, process: Run, tmp_path: Path) -> None:
    program = TO_LOOK_UP + f"engine = start(fiji_dir={str(stand_in.fiji)!r})\n"
    # Plugins and macros of the folder are ImageJ's.
    plugins = f"assert java('ij.Menus').getPlugInsPath() == {str(stand_in.fiji / 'plugins') + '/'!r}\n"
    done = process(program + GATEWAY_USED + plugins, XDG_CACHE_HOME=str(tmp_path))
    assert (done.returncode, done.stdout) == (0, "lives on fiji-dir\n"), done.stderr
    assert not list(tmp_path.rglob("*.jar")), "it fetched something"


def test_an_endpoint_is_resolved_and_started(stand_in: Any, process: Run, tmp_path: Path) -> None:
    done = process(
        "engine = start()\n" + GATEWAY_USED,
        M2_REPO=str(stand_in.repository),
        XDG_CACHE_HOME=str(tmp_path),
        OPENHCS_FIJI_ENDPOINT="2.17.0",
    )
    assert (done.returncode, done.stdout) == (0, "lives on endpoint\n"), done.stderr
    assert (tmp_path / "openhcs" / "java" / "jgo").is_dir()


def test_a_gateway_needs_no_display_when_headless(stand_in: Any, process: Run) -> None:
    done = process(f"""
        engine = start(fiji_dir={str(stand_in.fiji)!r}, headless=True)
        engine.show_window("mine")
        objects = engine.gateway.context().service(java("org.scijava.object.ObjectService"))
        assert objects.getObject("PythonScriptRunner") is not None  # Python as a language of ImageJ2's scripts
        stack = java("ij.ImageStack")(8, 8, 2)
        print(engine.headless, java("ij.IJ").getInstance(), stack.size(), engine.has_quit())
        engine.close()
        sys.exit(3)
    """)
    assert (done.returncode, done.stdout) == (3, "True None 2 False\n"), done.stderr


@pytest.mark.parametrize(("opened", "first"), [(True, False), (False, False), (True, True)])
def test_the_stand_in_insists_on_what_the_real_one_needs(
    opened: bool, first: bool, stand_in: Any, process: Run
) -> None:
    """To be first, and to be let into Java's own classes: else the tests above would prove nothing."""
    done = process(f"""
        import jpype, scyjava
        jars = scyjava.config.find_jars({str(stand_in.fiji)!r})
        options = ["--add-opens=java.base/java.lang=ALL-UNNAMED"] if {opened} else []
        jpype.startJVM("-Djava.awt.headless=true", *options, classpath=jars)
        if not {first}:
            java("ij.IJ")
        try:
            java("net.imagej.ImageJ")()
            print("came up")
        except Exception as error:
            print(error)
    """)
    refused = "java.lang.IllegalArgumentException: Invalid service: net.imagej.legacy.LegacyService\n"
    assert done.stdout == ("came up\n" if opened and first else refused), done.stderr


def test_a_fiji_without_imagej_1_is_refused(ij_jar: Path, process: Run, tmp_path: Path) -> None:
    (tmp_path / "Fiji" / "jars").mkdir(parents=True)
    shutil.copy(ij_jar, tmp_path / "Fiji" / "jars")
    done = process(f"start(fiji_dir={str(tmp_path / 'Fiji')!r}, headless=True)")
    assert done.returncode == 1
    assert "ImageJError: ImageJ2 did not start from" in done.stderr
    assert "maven" not in done.stderr.splitlines()[-1]  # not the next route


def test_an_endpoint_that_cannot_be_resolved_is_told(process: Run, tmp_path: Path) -> None:
    done = process("start(endpoint='2.17.0', headless=True)", M2_REPO=str(tmp_path))
    assert "ImageJError: ImageJ2 did not start from '2.17.0' (endpoint)" in done.stderr


def test_a_launch_says_that_the_folder_is_wrong(own_folders: Path) -> None:
    with pytest.raises(
        ViewerStartError, match="/nowhere/Fiji.app is not there: correct --fiji-dir"
    ) as caught:
        launch("fiji", display="headless", options={"fiji_dir": "/nowhere/Fiji.app"}, detached=False)
    assert caught.value.reason == "ImageJError"
    assert isinstance(caught.value.__cause__, ImageJError)


@pytest.mark.usefixtures("empty_cache", "own_folders")
def test_who_launches_is_told_that_something_is_fetched(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ViewerStartError) as caught:
        launch("fiji", display="headless", options={"ij": "net.imagej:ij:1.54f"})
    assert "1.54f cannot be had from Maven Central" in str(caught.value)
    (record,) = caplog.records
    assert "the fiji viewer fetches net.imagej:ij:1.54f from Maven Central" in record.getMessage()


def test_nothing_is_said_where_nothing_is_fetched(
    empty_cache: Path, fiji: Path, ij_jar: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for options in (
        {"fiji_dir": str(fiji)},
        {"jar": str(ij_jar)},
        {"endpoint": "sc.fiji:fiji"},
        {"heap": "x"},
    ):
        announce(options)
    kept = empty_cache / "openhcs" / "java" / "m2" / "net" / "imagej" / "ij" / "1.54p" / "ij-1.54p.jar"
    kept.parent.mkdir(parents=True)
    kept.symlink_to(ij_jar)
    announce({})
    assert caplog.records == []
    kept.unlink()
    announce({})
    assert len(caplog.records) == 1


def test_a_folder_for_a_viewer_that_starts_no_imagej_is_refused(
    own_folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["launch", "napari", "--fiji-dir", "/opt/Fiji.app"]) == 1
    assert "napari starts none" in capsys.readouterr().err
    assert list_viewers() == []


def test_the_command_line_names_the_folder(
    own_folders: Path, fiji: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["launch", "fiji", "--display", "headless", "--fiji-dir", "/nowhere"]) == 1
    assert "the Fiji folder /nowhere is not there" in capsys.readouterr().err
    assert main(["doctor", "fiji", "--fiji-dir", str(fiji)]) == 0
    assert f"taken: {fiji}" in capsys.readouterr().out


# --- choosing -----------------------------------------------------------------------------------------------


def test_the_order_is_folder_endpoint_central_system(
    fiji: Path, ij_jar: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_routes, "SYSTEM_JARS", (ij_jar,))
    everything = Wanted(fiji_dir=str(fiji), endpoint="sc.fiji:fiji")
    assert choose(everything).name == "fiji-dir"
    assert choose(Wanted(endpoint="sc.fiji:fiji")).name == "endpoint"
    assert choose(Wanted()).name == "maven"
    assert choose(Wanted()).jars == (ij_jar,)
    assert [name for name, _ in choose(Wanted()).skipped] == ["fiji-dir", "endpoint"]
    assert [(name, taken) for name, taken, _ in explain(everything)] == [
        ("fiji-dir", True),
        ("endpoint", False),
        ("maven", False),
        ("system", False),
    ]


@pytest.mark.usefixtures("empty_cache")
def test_offline_the_systems_jar_is_taken_and_the_reason_kept(
    ij_jar: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(_routes, "SYSTEM_JARS", (ij_jar,))
    said: list[str] = []
    route = choose(Wanted(), say=said.append)
    assert (route.name, route.jars) == ("system", (ij_jar,))
    assert "cannot be had from Maven Central" in dict(route.skipped)["maven"]
    assert said[0].startswith("fetching net.imagej:ij:1.54p from Maven Central")
    assert "doctor fiji --install" in caplog.text


@pytest.mark.usefixtures("empty_cache", "no_system_jar")
def test_no_imagej_at_all_names_every_way_out() -> None:
    with pytest.raises(ImageJError) as caught:
        choose(Wanted())
    for hint in ("doctor fiji --install", "--fiji-dir", "apt-get install", "libij-java", "Maven Central"):
        assert hint in str(caught.value)


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        (Wanted(fiji_dir="/nowhere/Fiji.app"), "the Fiji folder /nowhere/Fiji.app is not there"),
        (Wanted(fiji_dir="/"), "is no Fiji"),
        (Wanted(jar="/nowhere/ij.jar"), "the jar /nowhere/ij.jar is not there"),
        (Wanted(ij="ij"), "is no ImageJ of one version"),
        (Wanted(ij="net.imagej:ij:../../../etc"), "is no ImageJ of one version"),
    ],
)
def test_what_is_named_and_is_wrong_is_an_error(wanted: Wanted, text: str) -> None:
    """And never the next route: the user would work in another program than the one they named."""
    with pytest.raises(ImageJError, match=text):
        choose(wanted, fetch=False)


def test_a_version_somebody_asked_for_is_not_replaced_by_the_systems(
    empty_cache: Path, ij_jar: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_routes, "SYSTEM_JARS", (ij_jar,))
    with pytest.raises(ImageJError, match="net.imagej:ij:1.54f cannot be had"):
        choose(Wanted(ij="net.imagej:ij:1.54f"), say=lambda line: None)


def test_a_broken_jar_in_the_cache_is_fetched_again(empty_cache: Path, ij_jar: Path) -> None:
    kept = empty_cache / "openhcs" / "java" / "m2" / "net" / "imagej" / "ij" / "1.54p" / "ij-1.54p.jar"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(ij_jar.read_bytes()[:1000])  # a line that broke
    assert _maven.cached_jars(PINNED_IJ) == ()
    with pytest.raises(ImageJError):  # there is no network here
        _maven.resolve(PINNED_IJ, lambda line: None)
    kept.write_bytes(ij_jar.read_bytes())
    assert _maven.resolve(PINNED_IJ, lambda line: None) == (kept,)


# --- settings -----------------------------------------------------------------------------------------------


def test_options_win_over_the_environment_over_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.toml").write_text('[fiji]\ndir = "/a"\njar = "/a.jar"\nheap = 100\nport = 5600\n')
    monkeypatch.setenv("OPENHCS_CONFIG", str(tmp_path / "config.toml"))
    found = EngineSettings.of({})
    assert (found.fiji_dir, found.jar, found.ij) == ("/a", "/a.jar", PINNED_IJ)
    assert found.least == 100 << 20
    monkeypatch.setenv("OPENHCS_FIJI_DIR", "/b")
    assert EngineSettings.of({}).fiji_dir == "/b"
    assert EngineSettings.of({"fiji_dir": "/c"}).fiji_dir == "/c"


@pytest.mark.parametrize("options", [{"fiji_dri": "/a"}, {"heap": "much"}, {"heap": "-1"}])
def test_an_option_that_is_none_is_refused(options: dict[str, str]) -> None:
    with pytest.raises(SettingsError):
        EngineSettings.of(options)
