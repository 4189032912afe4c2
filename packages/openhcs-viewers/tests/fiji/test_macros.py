"""Macros in a real ImageJ: their results, their errors, and that nothing they do holds anybody up."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

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
    order.append(macros.run("return 'next';"))
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

    macros.run("return '1';")
    before = count()
    for _ in range(10):
        macros.run("return '1';")
    wait_until(lambda: count() <= before)
