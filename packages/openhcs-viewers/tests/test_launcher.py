"""Launching: reuse or start, under a lock; ports; errors that say what to do. Real processes, no window."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openhcs_viewers import _start, errors
from openhcs_viewers import handle as handle_module
from openhcs_viewers.errors import (
    DisplayError,
    LaunchError,
    MissingExtraError,
    PortTakenError,
    ViewerHungError,
    ViewerNotFoundError,
    ViewerStartError,
    ViewerStopError,
    ViewerUnreachableError,
)
from openhcs_viewers.fiji_stream_visualizer import FijiStreamVisualizer
from openhcs_viewers.handle import ViewerHandle
from openhcs_viewers.launcher import find_viewer, launch, list_viewers
from openhcs_viewers.napari_stream_visualizer import NapariStreamVisualizer
from openhcs_viewers.registry import OTHER_PORT
from polystore import FileManager
from zmqruntime.config import Endpoint
from zmqruntime.discovery import ConnectionInfo, connections_dir, free_endpoint, write_connection
from zmqruntime.errors import AddressInUseError, EndpointFormatError
from zmqruntime.process import process_start_time, same_process
from zmqruntime.testing import wait_until

Start = Callable[..., ViewerHandle]
Python = Callable[..., subprocess.CompletedProcess[str]]


def send(handle: ViewerHandle, images: list[np.ndarray[Any, Any]], **options: Any) -> None:
    paths = [f"A01_s{number}_w1.tif" for number in range(1, len(images) + 1)]
    FileManager().save_batch(images, paths, "napari_stream", port=handle.port, **options)


# ---------------------------------------------------------------------- starting and stopping


def test_a_viewer_is_started_named_and_stopped() -> None:
    handle = launch("recording", title="mine")
    pong = handle.ping()
    assert handle.started
    assert handle.port == OTHER_PORT
    assert pong.ready
    assert (pong.pid, pong.kind, pong.title, pong.log) == (handle.pid, "recording", "mine", str(handle.log))
    assert pong.versions.keys() == {"openhcs-viewers", "polystore", "zmqruntime"}
    assert handle.status()["log"] == str(handle.log)
    assert "is ready on" in (handle.log or Path()).read_text()
    assert [each.pid for each in list_viewers()] == [handle.pid]
    assert handle.stop() == "asked"
    assert not handle.is_alive()
    assert list(connections_dir().iterdir()) == []
    assert handle.stop() == "gone"


def test_a_running_viewer_is_used_again() -> None:
    first = launch("recording", title="first")
    second = launch("recording", title="second", port=first.port)
    assert (second.pid, second.title, second.started) == (first.pid, "first", False)
    with second:
        pass
    assert first.is_alive()  # the second did not start it


def test_reuse_can_be_refused(start: Start) -> None:
    first = start()
    second = start(reuse=False)
    assert second.pid != first.pid
    assert second.port == first.port + 1
    with pytest.raises(PortTakenError, match=rf"a recording of yours \(pid {first.pid}"):
        launch("recording", port=first.port, reuse=False)


def test_a_child_ends_with_its_block() -> None:
    with launch("recording", detached=False) as handle:
        assert handle.is_alive()
    assert not handle.is_alive()


def test_a_detached_viewer_goes_on_after_its_block() -> None:
    with launch("recording") as handle:
        pass
    assert handle.is_alive()


def test_eight_threads_get_one_viewer() -> None:
    with ThreadPoolExecutor(8) as pool:
        handles = list(pool.map(lambda _: launch("recording"), range(8)))
    assert len({handle.pid for handle in handles}) == 1
    assert sum(handle.started for handle in handles) == 1
    assert len(list_viewers()) == 1
    assert all(handle.ping().ready for handle in handles)


def test_eight_processes_get_one_viewer() -> None:
    code = (
        "from openhcs_viewers import launch; h = launch('recording'); print(h.pid, h.started, h.ping().ready)"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(8)
    ]
    lines = [process.communicate(timeout=120)[0].split() for process in processes]
    assert len({pid for pid, _, _ in lines}) == 1
    assert sorted(started for _, started, _ in lines) == ["False"] * 7 + ["True"]
    assert {ready for _, _, ready in lines} == {"True"}


def test_a_detached_viewer_survives_the_process_that_launched_it(python: Python) -> None:
    done = python("-c", "from openhcs_viewers import launch; print(launch('recording').pid)")
    (handle,) = list_viewers()
    assert handle.pid == int(done.stdout)
    assert handle.ping().ready


@pytest.mark.parametrize("display", ["auto", "virtual"])
def test_a_child_and_its_display_end_with_a_killed_parent(display: str) -> None:
    code = (
        "import signal; from openhcs_viewers import launch\n"
        f"print(launch('recording', detached=False, display={display!r}).pid, flush=True); signal.pause()"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    assert parent.stdout.readline()
    (handle,) = list_viewers()
    text = (handle.log or Path()).read_text()
    parent.kill()
    parent.wait()
    parent.stdout.close()
    killed = time.monotonic()
    wait_until(lambda: not handle.is_alive(), 5.0, "the viewer is to end")
    if display == "virtual":
        number = text.partition("X11 :")[2].split()[0]
        wait_until(lambda: not Path(f"/tmp/.X11-unix/X{number}").exists(), 5.0, "Xvfb is to end")
    assert time.monotonic() - killed < 5.0
    assert list_viewers() == []


def test_sigterm_closes_a_viewer_in_good_order(start: Start) -> None:
    handle = start()
    os.kill(handle.pid or 0, signal.SIGTERM)
    wait_until(lambda: not handle.is_alive(), 5.0)
    assert "ended in good order" in (handle.log or Path()).read_text()
    assert list(connections_dir().iterdir()) == []


@pytest.mark.usefixtures("odd_viewers")
def test_a_window_closed_by_its_user_ends_the_process(start: Start, images: list[Any]) -> None:
    handle = start("closedbyuser")
    send(handle, images)
    wait_until(lambda: not handle.is_alive(), 5.0)
    assert "ended in good order" in (handle.log or Path()).read_text()


@pytest.mark.usefixtures("odd_viewers")
def test_a_window_that_does_not_close_is_ended_all_the_same(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = start("deaf")
    begin = time.monotonic()
    handle.stop(timeout=20.0)
    assert not handle.is_alive()
    assert time.monotonic() - begin < 15.0
    assert "Timeout" in (handle.log or Path()).read_text()  # the stacks of its threads


# ---------------------------------------------------------------------- ports


def tcp_pair() -> int:
    return free_endpoint(20000 + os.getpid() % 20000, "tcp").data_port


@pytest.mark.parametrize("offset", [0, 1000])
def test_a_given_port_taken_by_a_stranger_is_an_error(
    offset: int, stranger: Callable[[int], socket.socket]
) -> None:
    port = tcp_pair()
    stranger(port + offset)
    with pytest.raises(PortTakenError) as caught:
        launch("recording", port=port, transport="tcp")
    text = str(caught.value)
    assert f"port {port}" in text
    assert f"pid {os.getpid()}" in text
    assert "the next free pair is" in text
    assert list_viewers() == []


def test_without_a_port_a_stranger_is_avoided(
    start: Start, stranger: Callable[[int], socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    port = tcp_pair()
    monkeypatch.setattr("openhcs_viewers.launcher.default_port", lambda kind: port)
    stranger(port)
    handle = start(transport="tcp")
    assert handle.port > port
    assert handle.title == f"recording {handle.port}"
    assert [each.port for each in list_viewers()] == [handle.port]
    again = launch("recording", transport="tcp")
    assert again.pid == handle.pid


def test_tcp_binds_exactly_the_two_ports(start: Start) -> None:
    port = tcp_pair()
    handle = start(port=port, transport="tcp")
    assert handle.endpoint.data_url == f"tcp://127.0.0.1:{port}"
    for one in (port, port + 1000):
        with socket.create_connection(("127.0.0.1", one), timeout=2):
            pass
    assert handle.ping().ready


def test_a_stranger_on_a_socket_file_is_named() -> None:
    endpoint = Endpoint(data_port=5600)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(endpoint.data_url.removeprefix("ipc://"))
        sock.listen()
        with pytest.raises(PortTakenError, match=rf"pid {os.getpid()}.*the next free pair is 5601"):
            launch("recording", port=5600)


def test_another_kind_of_viewer_on_the_port_is_named(start: Start, odd_viewers: None) -> None:
    first = start()
    with pytest.raises(PortTakenError, match=rf"a recording of yours \(pid {first.pid}"):
        launch("faulty", port=first.port)
    assert start("faulty").port == first.port + 1


def test_the_control_port_of_another_viewer_is_not_taken(start: Start) -> None:
    first = start(port=5700)
    with pytest.raises(PortTakenError, match="control channel"):
        launch("recording", port=6700)
    assert first.is_alive()


def test_a_viewer_whose_connection_file_was_lost_is_found_by_its_answer(start: Start) -> None:
    first = start()
    for path in connections_dir().iterdir():
        path.unlink()
    second = launch("recording")
    assert (second.pid, second.started) == (first.pid, False)
    second.stop()
    assert not first.is_alive()


def test_ports_and_transports_are_checked() -> None:
    with pytest.raises(EndpointFormatError, match="port 70000"):
        launch("recording", port=70000)
    with pytest.raises(EndpointFormatError, match="udp"):
        launch("recording", transport="udp")


# ---------------------------------------------------------------------- what goes wrong


def test_an_unknown_viewer_is_named_with_those_known() -> None:
    with pytest.raises(
        ViewerNotFoundError, match=r"unknown viewer 'napri' \(known: fiji, napari, recording\).*napari"
    ):
        launch("napri")


def test_a_missing_display_is_an_error_before_anything_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", ":77123")
    with pytest.raises(DisplayError, match=r"DISPLAY=':77123' cannot be opened.*--display virtual"):
        launch("napari")
    with pytest.raises(DisplayError, match=r"DISPLAY=':77124'"):
        launch("napari", display=":77124")
    assert list_viewers() == []


@pytest.mark.usefixtures("odd_viewers")
def test_an_error_in_the_viewer_process_comes_back_with_its_reason() -> None:
    begin = time.monotonic()
    with pytest.raises(ViewerStartError, match="there is no display ':77': correct DISPLAY") as caught:
        launch("nodisplay")
    assert time.monotonic() - begin < 20.0
    assert caught.value.reason == "DisplayError"
    assert isinstance(caught.value.__cause__, DisplayError)
    assert caught.value.log is not None
    assert str(caught.value.log) in str(caught.value)
    assert "Traceback" in caught.value.log.read_text()
    assert list_viewers() == []


@pytest.mark.usefixtures("odd_viewers")
def test_a_missing_package_comes_back_with_what_to_do() -> None:
    with pytest.raises(
        ViewerStartError, match=r"a_package_that_nobody_has.*openhcs-viewers doctor needsmore"
    ) as caught:
        launch("needsmore")
    assert isinstance(caught.value.__cause__, MissingExtraError)


@pytest.mark.usefixtures("odd_viewers")
def test_a_viewer_that_dies_shows_the_end_of_its_log() -> None:
    with pytest.raises(ViewerStartError, match=r"(?s)ended before its window was up.*the last words"):
        launch("dying")


@pytest.mark.usefixtures("odd_viewers")
def test_a_viewer_that_takes_too_long_can_be_waited_for(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLOW_VIEWER", str(tmp_path / "go"))
    with pytest.raises(
        ViewerStartError, match=r"was not ready within 1 s; wait longer.*stop --force --port 5560"
    ):
        launch("slow", timeout=1.0, detached=False)
    (tmp_path / "go").touch()
    assert start("slow").ping().ready
    assert len(list_viewers()) == 1


def test_a_stopped_viewer_is_told_from_a_slow_one(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handle_module, "HUNG_AFTER", 1.5)
    handle = start()
    os.kill(handle.pid or 0, signal.SIGSTOP)
    command = f"openhcs-viewers stop --force --port {handle.port}"
    with pytest.raises(ViewerHungError, match=rf"pid {handle.pid}.*it has not answered.*{command}"):
        launch("recording")
    assert [each.pid for each in list_viewers()] == [handle.pid]  # nothing was started beside it
    other = find_viewer(handle.port)
    with pytest.raises(ViewerStopError, match=command):
        other.stop(timeout=1.0)
    assert other.stop(force=True, timeout=0.5) == "killed"
    assert not handle.is_alive()
    assert start().pid != handle.pid


@pytest.mark.usefixtures("odd_viewers")
def test_a_window_that_does_not_move_is_noticed(
    start: Start, images: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handle_module, "HUNG_AFTER", 1.5)
    handle = start("stuck")
    send(handle, images)
    wait_until(lambda: handle.ping().app_idle_ms > 1500, 10.0)  # the pong itself still comes
    with pytest.raises(ViewerHungError, match="its window has not moved"):
        launch("stuck")
    assert handle.status()["queued"] >= 0


def test_a_viewer_of_another_machine_is_only_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openhcs_viewers.launcher.HUNG_AFTER", 0.5)
    with pytest.raises(
        ViewerUnreachableError, match=r"openhcs-viewers launch recording --port 5990.*ssh -L 5990"
    ):
        launch("recording", host="192.0.2.1", port=5990)
    assert list_viewers() == []


def test_listening_for_others_needs_a_key() -> None:
    with pytest.raises(ViewerStartError, match="without a key") as caught:
        launch("recording", listen="*", port=tcp_pair())
    assert caught.value.reason == "InsecureBindError"


def test_a_viewer_with_a_key_takes_images(start: Start, tmp_path: Path, images: list[Any]) -> None:
    from zmqruntime.security import KeyPair

    key = KeyPair.generate().save(tmp_path / "viewer.key")
    handle = start(listen="*", port=tcp_pair(), key=key)
    assert handle.server_key is not None
    again = launch("recording", port=handle.port, transport="tcp")
    assert (again.pid, again.server_key) == (handle.pid, handle.server_key)
    from polystore.streaming import StreamItem

    sender = again.sender()
    sender.send(
        [StreamItem(image, name=str(at)) for at, image in enumerate(images)], policy="block", deadline=20.0
    )
    assert sender.flush(20.0)
    assert sender.stats.displayed == len(images)


def test_the_lock_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_start, "LOCK_TIMEOUT", 0.2)
    with _start.launch_lock(), pytest.raises(LaunchError, match="another launch has held"):
        launch("recording")


def test_finding_a_viewer_says_which_there_are(start: Start) -> None:
    with pytest.raises(LaunchError, match=r"there is no viewer \(running: none\)"):
        find_viewer()
    first, second = start(), start(reuse=False)
    with pytest.raises(LaunchError, match=rf"give a port \({first.port}, {second.port}\)"):
        find_viewer()
    assert find_viewer(second.port).pid == second.pid
    with pytest.raises(LaunchError, match="there is no viewer on port 5999"):
        find_viewer(5999)


# ---------------------------------------------------------------------- in the background


@pytest.mark.usefixtures("odd_viewers")
def test_images_sent_while_it_starts_wait_and_are_shown(
    start: Start, images: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLOW_VIEWER", str(tmp_path / "go"))
    begin = time.monotonic()
    handle = start("slow", wait=False)
    send(handle, images)
    assert time.monotonic() - begin < 2.0
    images[0][:] = 77  # theirs again
    sender = handle.sender()
    assert sender.stats.sent == 4
    (tmp_path / "go").touch()
    handle.wait_ready()
    assert sender.flush(10.0)
    assert sender.stats.displayed == 4
    handle.settle()
    (layer,) = handle.state()["layers"]
    assert layer["planes"] == 4
    assert handle.status()["queued_here"] == 0


@pytest.mark.usefixtures("odd_viewers")
def test_images_for_a_viewer_that_does_not_start_are_counted(
    images: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    handle = launch("nodisplay", wait=False)
    send(handle, images)
    sender = handle.sender()
    wait_until(lambda: sender.stats.dropped == 4, 20.0)
    assert sender.stats.balanced
    assert any("there is no display ':77'" in record.getMessage() for record in caplog.records)


@pytest.mark.usefixtures("odd_viewers")
def test_a_viewer_launched_again_after_its_death_gets_what_is_sent_meanwhile(
    start: Start, images: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "go").touch()
    monkeypatch.setenv("SLOW_VIEWER", str(tmp_path / "go"))
    first = start("slow")
    send(first, images)
    sender = first.sender()
    assert sender.flush(10.0)
    first.stop()
    wait_until(lambda: sender.state != "attached", 10.0)
    second = start("slow", wait=False)
    send(second, images)
    second.wait_ready()
    assert sender.flush(10.0)
    assert sender.stats.displayed == 8


# ---------------------------------------------------------------------- scripts


def test_a_script_without_a_guard_starts_one_viewer_and_no_copy_of_itself(
    python: Python, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import numpy\n"
        "from openhcs_viewers import launch, show\n"
        "print('started')\n"
        "handle = launch('recording')\n"
        "show(numpy.ones((4, 4)), viewer='recording')\n"
        "print(handle.pid)\n"
    )
    done = python(str(script))
    assert done.stderr == ""
    (handle,) = list_viewers()
    assert done.stdout.split() == ["started", str(handle.pid)]
    wait_until(lambda: handle.status()["images"]["displayed"] == 1)


def test_a_file_called_like_the_viewer_is_not_taken_for_it(
    tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numpy.py").write_text("raise RuntimeError('the wrong numpy')")
    monkeypatch.chdir(tmp_path)
    assert start().ping().ready


def test_a_start_report_is_plain_json(tmp_path: Path) -> None:
    log = tmp_path / "viewer.log"
    _start.write_report(str(log), DisplayError("no display"))
    assert json.loads(_start.report_path(log).read_bytes()) == {
        "error": "DisplayError",
        "message": "no display",
    }
    report = _start.read_report(log)
    assert report is not None
    assert getattr(errors, report.error) is DisplayError
    assert _start.read_report(tmp_path / "other.log") is None


def test_old_logs_are_removed_but_not_those_in_use(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    handle = start()
    monkeypatch.setattr(_start, "LOGS_KEPT", 2)
    for number in range(4):
        log = _start.new_log("recording", number)
        log.touch()
        os.utime(log, (time.time() + number, time.time() + number))
    left = sorted(path.name for path in _start.log_dir().glob("*.log"))
    assert handle.log is not None
    assert handle.log.name in left
    assert len(left) <= 3


def test_a_bound_port_is_not_bound_again(start: Start) -> None:
    handle = start()
    from openhcs_viewers.server import ViewerServer
    from openhcs_viewers.testing import RecordingViewer

    server = ViewerServer(handle.endpoint, RecordingViewer)
    with pytest.raises(AddressInUseError):
        server.start()
    assert same_process(handle.ping().pid, handle.ping().start_time)


def test_a_viewer_that_is_just_ending_is_not_the_one_launch_returns() -> None:
    """Killed, a process with many threads is there for some milliseconds more."""
    child = subprocess.Popen(["sleep", "0.3"])
    endpoint = free_endpoint(OTHER_PORT)
    start_time = process_start_time(child.pid)
    assert start_time is not None
    info = ConnectionInfo(
        kind="recording",
        pid=child.pid,
        start_time=start_time,
        data_port=endpoint.data_port,
        control_port=endpoint.control_port,
        transport=endpoint.transport,
        created=time.time(),
    )
    write_connection(info)
    try:
        assert launch("recording").pid != child.pid
    finally:
        child.wait()


def test_what_is_sent_after_a_launch_that_followed_a_crash_is_taken(
    images: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from zmqruntime import _attachment, stream_sender

    first = launch("recording")
    send(first, images)
    # As it is after some seconds without a viewer: it is looked for every few seconds.
    monkeypatch.setattr(_attachment, "_EAGER_SECONDS", 0.0)
    monkeypatch.setattr(stream_sender, "_TICK", 3.0)
    os.kill(first.pid or 0, signal.SIGKILL)
    wait_until(lambda: not first.is_alive())
    send(first, images)
    second = launch("recording")
    assert second.port == first.port
    assert second.sender().state == "attached"
    before = second.sender().stats.dropped
    send(second, images)
    assert second.sender().stats.dropped == before


def test_a_number_is_used_under_one_transport_only(start: Start) -> None:
    first = start(transport="tcp")
    second = start(reuse=False)
    assert second.endpoint.transport == "ipc"
    assert second.port == first.port + 1
    with pytest.raises(PortTakenError, match=r"a recording of yours that listens there by tcp"):
        launch("recording", port=first.port, transport="ipc")


def test_the_environment_says_what_display_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "OPENHCS_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(DisplayError, match="OPENHCS_DISPLAY=virtual"):
        launch("napari")
    with pytest.raises(DisplayError, match="fiji also runs without any: display='headless'"):
        launch("fiji")
    monkeypatch.setenv("OPENHCS_DISPLAY", ":4711")
    with pytest.raises(DisplayError, match="DISPLAY=':4711' cannot be opened"):
        launch("napari")


@pytest.mark.parametrize("visualizer", [NapariStreamVisualizer, FijiStreamVisualizer])
def test_a_visualizer_takes_a_display(visualizer: Any) -> None:
    with pytest.raises(DisplayError, match="DISPLAY=':4711' cannot be opened"):
        visualizer(FileManager(), display=":4711").start_viewer()


def test_a_budget_no_machine_has_is_named() -> None:
    with pytest.raises(ViewerStartError, match=r"give a smaller budget \(--budget, in megabytes"):
        launch("fiji", display="headless", budget=10**17)
