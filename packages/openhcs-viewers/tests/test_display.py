"""Displays: checked by talking to them; a virtual one that ends with its owner."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from openhcs_viewers import _x11, display
from openhcs_viewers.display import VirtualDisplay, check_display
from openhcs_viewers.errors import DisplayError
from zmqruntime.testing import wait_until


@pytest.fixture
def fake_server() -> Iterator[Callable[[bytes], int]]:
    """An X server on a display number of its own that answers every client with the same bytes."""
    with ExitStack() as stack:

        def listen(answer: bytes) -> int:
            sock = stack.enter_context(socket.socket(socket.AF_UNIX))
            number = 20000 + os.getpid() % 10000
            sock.bind(f"\0/tmp/.X11-unix/X{number}")
            sock.listen()

            def serve() -> None:
                with suppress(OSError):
                    while True:
                        client, _ = sock.accept()
                        with client:
                            client.recv(1024)
                            client.sendall(answer)

            thread = threading.Thread(target=serve, daemon=True)
            thread.start()
            stack.callback(thread.join, 5.0)
            stack.callback(sock.shutdown, socket.SHUT_RDWR)
            return number

        yield listen


@pytest.mark.parametrize(
    ("env", "text"),
    [
        ({}, "neither DISPLAY nor WAYLAND_DISPLAY is set"),
        ({"DISPLAY": ":64123"}, "DISPLAY=':64123' cannot be opened: no X server listens there"),
        ({"DISPLAY": "first"}, "it is not a display name such as ':0'"),
        ({"DISPLAY": "localhost:9999"}, "no X server listens there"),
        ({"DISPLAY": ":64123", "WAYLAND_DISPLAY": "/nowhere/wayland-7"}, "DISPLAY=':64123'"),
        ({"WAYLAND_DISPLAY": "wayland-7"}, "WAYLAND_DISPLAY='wayland-7' cannot be opened"),
        ({"DISPLAY": ":0", "QT_QPA_PLATFORM": "offscreen"}, "QT_QPA_PLATFORM='offscreen' draws no canvas"),
        ({"QT_QPA_PLATFORM": "vnc:size=10x10"}, "QT_QPA_PLATFORM='vnc'"),
    ],
)
def test_no_display_is_an_error_that_says_what_to_do(env: dict[str, str], text: str) -> None:
    with pytest.raises(DisplayError) as caught:
        check_display(env)
    assert text in str(caught.value)
    assert "--display virtual" in str(caught.value)


def test_a_display_that_refuses_says_why(fake_server: Callable[[bytes], int]) -> None:
    reason = b"Maximum number of clients reached"
    padded = reason.ljust(36, b"\0")
    number = fake_server(bytes([0, len(reason), 11, 0, 0, 0, len(padded) // 4, 0]) + padded)
    with pytest.raises(DisplayError, match="the server refused: Maximum number of clients reached"):
        check_display({"DISPLAY": f":{number}", "XAUTHORITY": "/nowhere"})


def test_a_display_that_hangs_up_is_none(fake_server: Callable[[bytes], int]) -> None:
    number = fake_server(b"\1")
    with pytest.raises(DisplayError, match="closed the connection"):
        check_display({"DISPLAY": f":{number}", "XAUTHORITY": "/nowhere"})


def test_a_wayland_display_is_one_that_listens(tmp_path: Path) -> None:
    path = tmp_path / "w"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        sock.listen()
        assert check_display({"WAYLAND_DISPLAY": str(path)}) == f"Wayland {path}"
        assert check_display({"WAYLAND_DISPLAY": "w", "XDG_RUNTIME_DIR": str(tmp_path)}) == "Wayland w"


def test_a_virtual_display_can_be_opened_by_its_owner_only() -> None:
    with VirtualDisplay(size=(320, 200)) as virtual:
        assert "X.Org" in check_display(virtual.env)
        assert virtual.is_alive()
        with pytest.raises(DisplayError, match="the server refused"):
            check_display({"DISPLAY": virtual.name, "XAUTHORITY": "/nowhere"})
        assert Path(virtual.env["XAUTHORITY"]).stat().st_mode & 0o777 == 0o600
    assert not virtual.is_alive()
    assert not Path(virtual.env["XAUTHORITY"]).exists()
    with pytest.raises(DisplayError):
        check_display(virtual.env)
    virtual.close()


def test_two_virtual_displays_do_not_fight_for_a_number() -> None:
    with VirtualDisplay() as one, VirtualDisplay() as two:
        assert one.name != two.name


def test_many_at_once_are_let_in() -> None:
    refused: list[str] = []

    def come_and_go(display: VirtualDisplay) -> None:
        for _ in range(100):
            try:
                check_display(display.env)
            except DisplayError as error:
                refused.append(str(error))

    with VirtualDisplay() as virtual:
        threads = [threading.Thread(target=come_and_go, args=(virtual,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not refused


def test_a_server_that_starts_anew_is_asked_again() -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        number = 20000 + os.getpid() % 10000
        sock.bind(f"\0/tmp/.X11-unix/X{number}")
        sock.listen()

        def serve() -> None:
            for answer in (
                b"",
                b"",
                b"\1\0\0\0\0\0" + (9).to_bytes(2, "little") + bytes(16) + b"\4" + bytes(15) + b"Tess",
            ):
                client, _ = sock.accept()
                with client:
                    client.recv(1024)
                    client.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        assert check_display({"DISPLAY": f":{number}", "XAUTHORITY": "/nowhere"}) == f"X11 :{number} (Tess)"
        thread.join(5.0)


def test_a_virtual_display_ends_with_a_killed_owner(own_folders: Path) -> None:
    code = (
        "import signal; from openhcs_viewers.display import VirtualDisplay\n"
        "display = VirtualDisplay(); print(display.name, flush=True); signal.pause()"
    )
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    with owner.stdout:
        number = owner.stdout.readline().strip().removeprefix(":")
    owner.kill()
    owner.wait()
    wait_until(lambda: not Path(f"/tmp/.X11-unix/X{number}").exists(), 5.0)
    with VirtualDisplay():  # and the next one clears what it left
        assert len(list((own_folders / "run").glob("display-*"))) == 1


def test_a_missing_xvfb_is_an_error_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(DisplayError, match=r"needs Xvfb.*apt-get install -y --no-install-recommends xvfb"):
        VirtualDisplay()


def test_an_xvfb_that_fails_shows_what_it_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "Xvfb"
    fake.write_text("#!/bin/sh\necho cannot do that >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(DisplayError, match="cannot do that"):
        VirtualDisplay()


def test_use_makes_it_the_display_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "XAUTHORITY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.setenv(name, "before")
    monkeypatch.delenv("QT_QPA_PLATFORM")
    with VirtualDisplay() as virtual:
        virtual.use()
        assert check_display() == f"X11 {virtual.name} (The X.Org Foundation)"
    monkeypatch.undo()


def test_cookies_are_read_for_their_display(tmp_path: Path) -> None:
    path = tmp_path / "authority"
    _x11.write_authority(path)
    (cookie,) = _x11.read_cookies(path, "7")
    assert len(cookie) == 16
    path.write_bytes(path.read_bytes()[:-3])
    assert list(_x11.read_cookies(path, "7")) in ([], [cookie[:-3]])
    assert list(_x11.read_cookies(tmp_path / "none", "7")) == []


def test_the_pipe_of_a_silent_server_ends_in_time() -> None:
    read, write = os.pipe()
    try:
        assert display._read_line(read, 0.05) == ""
        os.write(write, b"12\nrest")
        assert display._read_line(read, 5.0) == "12"
    finally:
        os.close(read)
        os.close(write)
