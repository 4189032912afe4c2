"""Macros in a real ImageJ: their results, their errors, and that nothing they do holds anybody up."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import jpype
import pytest

from openhcs_viewers.errors import MacroError
from openhcs_viewers.fiji._java import java, on_edt
from openhcs_viewers.fiji._macros import MAX_RESULT, Macros
from openhcs_viewers.fiji.engine import Engine
from zmqruntime.errors import RemoteError
from zmqruntime.testing import wait_until


@pytest.fixture
def macros(engine: Engine) -> Iterator[Macros]:
    yield Macros(headless=False)
    assert dialogs() == []


def dialogs() -> list[str]:
    """Titles of the dialogs on the screen."""
    windows = java("java.awt.Window").getWindows()
    return [str(w.getTitle()) for w in windows if isinstance(w, java("java.awt.Dialog")) and w.isShowing()]


def test_a_macro_returns_its_value(macros: Macros) -> None:
    assert macros.run("return getArgument() + '!';", "hey") == "hey!"
    assert macros.run("x = 1;") == ""
    assert macros.run("function f(n) { return n * 2; }\nreturn '' + f(21);") == "42"


def test_it_measures_the_image_it_looks_at(macros: Macros) -> None:
    image = java("ij.IJ").createImage("one", "8-bit black", 16, 16, 1)
    image.getProcessor().add(100)
    on_edt(image.show)
    try:
        code = 'makeRectangle(0, 0, 4, 4); getStatistics(area, mean); run("Invert"); return "" + area + "," + mean;'
        assert macros.run(code) == "16,100"
        assert macros.run("return '' + getPixel(1, 1) + ',' + getPixel(9, 9);") == "155,100"
    finally:
        image.changes = False
        on_edt(image.close)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("x = 1;\ny = nothing + 1;", r"Undefined variable.*line 2"),
        ("x = 1;\n\nif (", r"line 3"),
        ("exit('the plate is empty');", "the plate is empty"),
        ("getPixel(0, 0);", "no images open"),
        ('run("No Such Command");', "No Such Command"),
        ("x = 1;\nexit();", "cancelled in line 2"),
    ],
)
def test_an_error_is_imagejs_own_and_shows_no_dialog(macros: Macros, code: str, message: str) -> None:
    with pytest.raises(MacroError, match=message):
        macros.run(code)
    assert macros.run("return 'fine';") == "fine"


def test_messages_are_closed_and_the_macro_goes_on(macros: Macros) -> None:
    assert macros.run("showMessage('a title', 'a text'); return 'after';") == "after"


@pytest.mark.parametrize(
    "code",
    [
        "while (true) { x = 1; }",
        "waitForUser('well?'); return 'no';",
        "Dialog.create('how many?'); Dialog.addNumber('n', 1); Dialog.show(); return 'no';",
    ],
)
def test_what_takes_too_long_is_aborted(macros: Macros, code: str) -> None:
    with pytest.raises(MacroError, match=r"longer than 0\.5 s.*was aborted") as caught:
        macros.run(code, timeout=0.5)
    assert ("waited for an answer" in str(caught.value)) == ("while" not in code)
    assert macros.run("return 'fine';") == "fine"


def test_one_runs_at_a_time(macros: Macros) -> None:
    order: list[str] = []

    def slow() -> None:
        order.append(macros.run("wait(300); return 'slow';"))

    thread = threading.Thread(target=slow)
    thread.start()
    wait_until(macros._turn.locked)
    with pytest.raises(MacroError, match="another macro has been running"):
        macros.run("return 'early';", timeout=0.05)
    assert macros.run("return 'next';") == "next"
    order.append("next")
    thread.join()
    assert order == ["slow", "next"]


def test_what_it_returns_has_a_limit(macros: Macros) -> None:
    code = "s = 'x'; for (i = 0; i < 21; i++) s = s + s; return s;"
    with pytest.raises(MacroError, match=f"2097152 characters, at most {MAX_RESULT}"):
        macros.run(code)


@pytest.mark.parametrize(
    "params",
    [{}, {"macro": 3}, {"macro": "x", "argument": 1}, {"macro": "x", "seconds": "1"}, {"macro": "x", "y": 1}],
)
def test_bad_requests_are_refused(macros: Macros, params: dict[str, Any]) -> None:
    with pytest.raises(RemoteError, match="run_macro takes") as caught:
        macros.command(params)
    assert caught.value.code == "bad-request"


def test_its_thread_is_gone_from_java(macros: Macros) -> None:
    def count() -> int:
        return int(java("java.lang.Thread").activeCount())

    assert macros.run("return '1';") == "1"
    before = count()
    for _ in range(10):
        assert macros.run("return '1';") == "1"
    wait_until(lambda: count() <= before)
    assert "remote_Macro$" not in {str(one.getName()) for one in java("java.lang.Thread").getAllStackTraces()}


def test_many_messages_are_closed_one_after_the_other(macros: Macros) -> None:
    """Closed before the macro's thread waits for its end, a message holds that thread for ever: one in four did."""
    for at in range(30):
        assert macros.run(f"showMessage('T', 'x {at}'); return 'ok';", timeout=5) == "ok"


def test_the_users_own_message_stays(macros: Macros) -> None:
    def show() -> None:
        java("ij.IJ").showMessage("mine", "of the user")

    found: list[str] = []
    code = "wait(300); showMessage('T', 'x'); return 'ok';"
    macro = threading.Thread(target=lambda: found.append(macros.run(code)))
    macro.start()
    wait_until(macros._turn.locked)
    user = java("java.lang.Thread")(jpype.JProxy("java.lang.Runnable", dict={"run": show}))
    user.start()
    macro.join()
    wait_until(lambda: dialogs() == ["mine"])
    assert found == ["ok"]
    wait_until(lambda: str(user.getState()) == "WAITING")
    for window in java("java.awt.Window").getWindows():
        if isinstance(window, java("ij.gui.MessageDialog")):
            on_edt(window.dispose)
    user.join(5000)


@pytest.mark.parametrize(
    ("code", "ended"),
    [
        ('run("Open...");', "was aborted"),
        ("wait(60000);", "was aborted"),
        ('exec("sleep", "3");', "left behind"),
    ],
)
def test_what_holds_on_to_its_turn_loses_it(macros: Macros, code: str, ended: str) -> None:
    with pytest.raises(MacroError, match=ended):
        macros.run(code, timeout=0.3)
    assert macros.run("return 'next';", timeout=5) == "next"


def test_an_error_imagej_only_shows_is_an_error(macros: Macros) -> None:
    with pytest.raises(MacroError, match="nope"):
        macros.run('open("/nope.tif"); return "opened";')
    assert macros.run("return 'fine';") == "fine"


@pytest.mark.parametrize("seconds", [0, -1, -5.0, float("nan"), float("inf"), 1e12])
def test_time_has_limits(macros: Macros, seconds: float) -> None:
    with pytest.raises(RemoteError, match="more than 0 and at most 86400 seconds"):
        macros.command({"macro": "return '1';", "seconds": seconds})


def test_without_windows_macros_know_the_images_and_say_why_they_fail(process: Callable[..., Any]) -> None:
    found = process(
        """
        from openhcs_viewers.errors import MacroError
        from openhcs_viewers.fiji._macros import Macros
        start(headless=True)
        image = java("ij.IJ").createImage("one", "8-bit ramp", 32, 32, 3)
        macros = Macros(headless=True, images=lambda: [image])
        print(macros.run("return getTitle() + nSlices + '/' + nImages;"))
        measure = 'run("Measure");'
        for code in ('open("/nope.tif"); return "opened";', 'roiManager("count");', measure):
            try:
                print(macros.run(code))
            except MacroError as error:
                print(error)
        macros = Macros(headless=True)
        try:
            print(macros.run("getPixel(1, 1);"))
        except MacroError as error:
            print(error)
        """
    )
    lines = [
        line for line in found.stdout.splitlines() if "one3" in line or "ImageJ" in line or "nope" in line
    ]
    said = "\n".join(lines)
    assert "one3/1" in lines, found.stderr
    assert said.count("this viewer is headless") == 3
    for text in ("Unrecognized command", "HeadlessException", "no images open"):
        assert text in said
    assert "File not found: /nope.tif (in line 1)" in said
