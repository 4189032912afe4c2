"""ImageJ in this process: what it says of itself, its window, its end."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from openhcs_viewers._start import log_dir
from openhcs_viewers.errors import ImageJError, JavaError
from openhcs_viewers.fiji._boot import java_options
from openhcs_viewers.fiji._java import java
from openhcs_viewers.fiji._java_home import find_java
from openhcs_viewers.fiji._maven import repository
from openhcs_viewers.fiji.engine import Engine, EngineSettings, start_engine
from openhcs_viewers.store import default_budget

Run = Callable[..., CompletedProcess[str]]


def test_it_is_the_pinned_imagej_with_a_window(engine: Engine, java_home_folder: Path) -> None:
    assert (engine.route, engine.version, engine.gateway) == ("maven", "1.54p", None)
    assert "net.imagej:ij:1.54p" in engine.description
    frame = java("ij.IJ").getInstance()
    assert str(frame.getTitle()) == "test window"
    assert frame.isVisible()
    assert str(java("ij.Prefs").getPrefsDir()).startswith(str(java_home_folder))


def test_a_quit_imagej_leaves_python_alive_and_a_filter_does_not_hold_it(process: Run) -> None:
    """The pool of a threaded filter holds a Java that is joined for more than 80 s."""
    begin = time.monotonic()
    done = process("""
        engine = start()
        engine.show_window()
        image = java("ij.IJ").createImage("a", "16-bit ramp", 256, 256, 4)
        image.show()
        java("ij.IJ").run(image, "Gaussian Blur...", "sigma=2 stack")
        assert any(str(thread.getName()).startswith("pool-") for thread in java("java.lang.Thread").getAllStackTraces())
        image.changes = False
        java("ij.IJ").getInstance().quit()
        while not engine.has_quit():
            time.sleep(0.02)
        print("quit")
        sys.exit(3)
    """)
    assert (done.returncode, done.stdout) == (3, "quit\n"), done.stderr
    assert time.monotonic() - begin < 30


def test_signals_stay_pythons(process: Run) -> None:
    done = process("""
        import os, signal
        signal.signal(signal.SIGTERM, lambda *_: (print("told"), sys.exit(5)))
        start(headless=True)  # would take the signal over, and end the process by itself
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
    """)
    assert (done.returncode, done.stdout) == (5, "told\n"), done.stderr


def test_what_a_crashed_java_says_is_among_the_logs(process: Run, tmp_path: Path) -> None:
    log_dir().mkdir(parents=True)
    done = process(f"""
        import os, resource, signal
        os.chdir({str(tmp_path)!r})
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        start(headless=True)
        os.kill(os.getpid(), signal.SIGSEGV)
        time.sleep(10)
    """)
    assert done.returncode < 0
    assert [one.name[:11] for one in log_dir().iterdir()] == ["java-crash-"]
    assert list(tmp_path.iterdir()) == []


def test_nothing_of_the_folder_somebody_is_in_is_run_or_taken(process: Run, tmp_path: Path) -> None:
    """ImageJ takes the folder it is started in for its own, and runs the macros that lie there."""
    here, own = tmp_path / "here", tmp_path / "data" / "openhcs" / "imagej"
    for folder in (here, own):
        for name in ("macros", "plugins", "luts"):
            (folder / name).mkdir(parents=True)
        startup = f'macro "AutoRun" {{ File.saveString("ran", "{folder}/ran.txt"); }}'
        (folder / "macros" / "StartupMacros.txt").write_text(startup)
        (folder / "plugins" / f"Lies_{folder.name}.ijm").write_text("")
    (here / "IJ_Prefs.txt").write_text("")
    done = process(
        f"""
        import os
        from pathlib import Path
        os.chdir({str(here)!r})
        engine = start()
        engine.show_window()
        ran = Path({str(own)!r}, "ran.txt")
        while not ran.exists():
            time.sleep(0.02)
        for name in ("imagej", "startup", "plugins", "macros", "luts"):
            print(java("ij.IJ").getDirectory(name))
        print(java("ij.Prefs").getPrefsDir())
        print([str(one) for one in java("ij.Menus").getCommands().keySet() if str(one).startswith("Lies")])
        print(java("java.io.File")("x").getAbsolutePath())
        """,
        XDG_DATA_HOME=str(tmp_path / "data"),
    )
    assert done.returncode == 0, done.stderr
    *folders, prefs, commands, file = done.stdout.splitlines()
    assert [Path(one) for one in folders] == [own, own, own / "plugins", own / "macros", own / "luts"]
    assert not prefs.startswith(str(here))
    assert commands == "['Lies imagej']"
    assert file == str(here / "x")  # what a macro calls by a relative name is where it was
    assert not (here / "ran.txt").exists()


def test_windows_are_closed_and_preferences_written_when_it_closes(process: Run, tmp_path: Path) -> None:
    program = """
        engine = start(**OPTIONS)
        engine.show_window()
        java("ij.Prefs").set("openhcs.test", "kept")
        engine.close()
        print([str(one) for one in java("java.awt.Window").getWindows() if one.isDisplayable()])
    """
    for options, written in (({"headless": True}, False), ({}, True)):
        done = process(program.replace("OPTIONS", repr(options)), JAVA_TOOL_OPTIONS=f"-Duser.home={tmp_path}")
        assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
        # A headless ImageJ never read them: it would write its defaults over the user's.
        assert (tmp_path / ".imagej" / "IJ_Prefs.txt").exists() is written


def test_without_a_display_java_is_not_even_started(process: Run) -> None:
    done = process("start_engine(EngineSettings())")
    assert "DisplayError: there is no display" in done.stderr
    assert "Picked up JAVA_TOOL_OPTIONS" not in done.stderr.splitlines()[-1]


def test_a_java_that_sees_no_display_is_told(process: Run) -> None:
    done = process("start()", JAVA_TOOL_OPTIONS="-Djava.awt.headless=true")
    assert "DisplayError: Java found no display (DISPLAY=':" in done.stderr


def test_there_is_one_engine_in_a_process(engine: Engine) -> None:
    assert start_engine(EngineSettings()) is engine
    with pytest.raises(ImageJError, match="already"):
        start_engine(EngineSettings(headless=True))


# --- Java itself --------------------------------------------------------------------------------------------


def fake_java(home: Path, version: str, *, windows: bool = True) -> Path:
    (home / "bin").mkdir(parents=True)
    (home / "lib").mkdir()
    if windows:
        (home / "lib" / "libawt_xawt.so").touch()
    program = home / "bin" / "java"
    program.write_text(
        f"#!/bin/sh\necho '    java.home = {home}' >&2\necho '    java.version = {version}' >&2\n"
    )
    program.chmod(0o755)
    return home


def test_the_java_of_java_home_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = fake_java(tmp_path / "jdk", "21.0.2")
    monkeypatch.setenv("JAVA_HOME", str(home))
    assert (find_java(windows=True).major, find_java().home) == (21, home)


@pytest.mark.parametrize(
    ("version", "windows", "text"),
    [
        (
            "1.8.0_292",
            True,
            "is Java 1.8.0_292; .* need Java 11 or newer: run 'apt-get .* default-jre' as root",
        ),
        ("10.0.2", True, "need Java 11 or newer"),
        ("26-ea", True, "no released version"),
        ("17.0.2", False, "cannot open windows.*default-jre'.*display='headless'"),
    ],
)
def test_a_java_that_will_not_do_comes_with_the_command_that_helps(
    version: str, windows: bool, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(fake_java(tmp_path / "jdk", version, windows=windows)))
    with pytest.raises(JavaError, match=text):
        find_java(windows=True)


def test_no_java_and_a_java_home_that_points_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "gone"))
    with pytest.raises(JavaError, match="JAVA_HOME='.*gone' points nowhere"):
        find_java()
    monkeypatch.delenv("JAVA_HOME")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(JavaError, match="there is no Java .*apt-get"):
        find_java()


def test_something_called_java_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = fake_java(tmp_path / "jdk", "17")
    (home / "bin" / "java").write_text("#!/bin/sh\necho out of order >&2\nexit 1\n")
    monkeypatch.setenv("JAVA_HOME", str(home))
    with pytest.raises(JavaError, match="no Java that works .out of order."):
        find_java()


def test_the_heap_has_room_for_the_planes() -> None:
    def heap(**settings: int) -> int:
        (option,) = [one for one in java_options(EngineSettings(**settings)) if one.startswith("-Xmx")]
        return int(option.removeprefix("-Xmx").removesuffix("m"))

    assert heap(heap=8 << 30) == 10 * 1024
    assert heap(heap=64 << 20) == 64 + 512
    assert heap(heap=64 << 20, least=4 << 30) == 4096
    assert heap() >= default_budget() >> 20


def test_preferences_of_a_virtual_display_are_not_the_users(process: Run, tmp_path: Path) -> None:
    mine = tmp_path / ".imagej" / "IJ_Prefs.txt"
    mine.parent.mkdir()
    mine.write_text("ij.x=17\n.of.mine=what I set\n")
    found = process(
        """
        from openhcs_viewers.abc import ViewerSettings
        from openhcs_viewers.fiji.viewer import FijiViewer
        display = VirtualDisplay()
        display.use()
        viewer = FijiViewer.create(ViewerSettings(2**27, "virtual", {}))
        viewer.open("test")
        print(java("ij.Prefs").get("of.mine", "lost"))
        java("ij.Prefs").set("of.mine", "other")
        viewer.close()
        """,
        JAVA_TOOL_OPTIONS=f"-Duser.home={tmp_path}",
        XDG_CACHE_HOME=str(tmp_path / "cache"),
        M2_REPO=str(repository()),
    )
    assert "what I set" in found.stdout, found.stderr
    assert mine.read_text() == "ij.x=17\n.of.mine=what I set\n"
    (apart,) = (tmp_path / "cache").rglob("IJ_Prefs.txt")
    assert ".of.mine=other" in apart.read_text()
