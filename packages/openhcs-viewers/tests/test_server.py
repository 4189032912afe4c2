"""A viewer server in this process: what it answers, while its window does what it does."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from openhcs_viewers.abc import Command, ViewerSettings
from openhcs_viewers.drawn import DrawnRoi
from openhcs_viewers.errors import AnswerTooLargeError, DisplayError, MacroError, ViewerClosedError
from openhcs_viewers.handle import ViewerHandle
from openhcs_viewers.server import ViewerServer
from openhcs_viewers.testing import RecordingViewer
from polystore.components import ImageKey
from polystore.rois import ROI, rois_to_wire
from polystore.streaming import ImageSender, StreamItem
from zmqruntime.client import ControlClient
from zmqruntime.config import Endpoint
from zmqruntime.discovery import free_endpoint
from zmqruntime.errors import RemoteError
from zmqruntime.testing import wait_until


class Served:
    """A server whose window runs on a thread."""

    def __init__(self, endpoint: Endpoint, viewer: type[RecordingViewer] = RecordingViewer) -> None:
        self.server = ViewerServer(endpoint, viewer, title="a title", settings=ViewerSettings(budget=1 << 20))
        self.server.start()
        self.thread = threading.Thread(target=self.server.serve)
        self.client = ControlClient(endpoint, timeout=10.0)
        self.sender = ImageSender(endpoint, policy="block", deadline=10.0)

    def open(self) -> Served:
        self.thread.start()
        wait_until(lambda: self.client.ping().ready)
        return self

    def send(self, *values: int, **options: Any) -> None:
        items = [StreamItem(np.full((4, 6), value, np.uint8), ImageKey(field=value)) for value in values]
        self.sender.send(items, **options)

    def close(self) -> None:
        self.sender.close()
        self.server.request_shutdown()
        if self.thread.ident is not None:
            self.thread.join(10.0)
        self.server.stop()
        self.client.close()


@pytest.fixture
def serve() -> Iterator[Callable[..., Served]]:
    """Make a `Served`; it ends with the test."""
    made: list[Served] = []

    def make(viewer: type[RecordingViewer] = RecordingViewer, transport: str = "ipc") -> Served:
        made.append(Served(free_endpoint(25000, transport), viewer))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_it_answers_before_its_window_is_open(serve: Callable[..., Served]) -> None:
    served = serve()
    pong = served.client.ping()
    assert (pong.ready, pong.kind, pong.title, pong.app_idle_ms) == (False, "recording", "a title", -1.0)
    assert pong.capabilities["viewer"] == "recording"
    assert "screenshot" in pong.capabilities["commands"]
    served.send(1)  # and takes images
    served.open()
    assert served.sender.flush(10.0)
    assert served.sender.stats.displayed == 1


def test_its_status_counts_images_and_memory(serve: Callable[..., Served]) -> None:
    served = serve().open()
    served.send(1, 2, 3)
    assert served.sender.flush(10.0)
    status = served.client.status()
    assert status["images"] | {"drop_reasons": {}} == {
        "received": 3, "displayed": 3, "superseded": 0, "dropped": 0, "waiting": 0, "drop_reasons": {},
    }  # fmt: skip
    assert (status["queued"], status["layers"], status["ready"], status["window_errors"]) == (0, 1, True, 0)
    assert status["memory"]["planes"] == 3
    assert status["memory"]["budget"] == 1 << 20
    wait_until(lambda: served.client.ping().app_idle_ms < 1000)


def test_images_per_second_are_counted(serve: Callable[..., Served]) -> None:
    served = serve().open()

    def send_and_look() -> bool:
        served.send(1)
        return served.client.status()["images_per_second"] > 0

    wait_until(send_and_look)


def test_state_and_layers(serve: Callable[..., Served]) -> None:
    served = serve().open()
    served.send(1, 2)
    assert served.sender.flush(10.0)
    assert served.client.command("settle")
    state = served.client.command("state")
    assert state["viewer"] == "recording"
    assert [layer["planes"] for layer in state["layers"]] == [2]
    assert served.client.command("layers") == state["layers"]


def test_pictures_are_returned_or_written(serve: Callable[..., Served], tmp_path: Path) -> None:
    served = serve().open()
    served.send(1)
    assert served.sender.flush(10.0)
    found = served.client.command("screenshot")
    assert base64.b64decode(found["png"]).startswith(b"\x89PNG")
    assert found["shape"][1:] == [6, 4]
    path = tmp_path / "picture.png"
    assert served.client.command("screenshot", path=str(path))["path"] == str(path)
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "params", [{"path": "relative.png"}, {"path": 3}, {"canvas_only": "yes"}]
)  # fmt: skip
def test_bad_requests_for_a_picture_are_refused(serve: Callable[..., Served], params: dict[str, Any]) -> None:
    served = serve().open()
    with pytest.raises(RemoteError) as caught:
        served.client.command("screenshot", **params)
    assert caught.value.code == "bad-request"


def test_over_tcp_nobody_chooses_where_we_write(serve: Callable[..., Served], tmp_path: Path) -> None:
    served = serve(transport="tcp").open()
    with pytest.raises(RemoteError, match="ipc clients only"):
        served.client.command("screenshot", path=str(tmp_path / "x.png"))
    handle = ViewerHandle("recording", served.server.endpoint)
    data = handle.screenshot(tmp_path / "y.png")
    assert (tmp_path / "y.png").read_bytes() == data
    assert list(tmp_path.iterdir()) == [tmp_path / "y.png"]


def test_a_picture_that_cannot_be_written_is_a_typed_error(serve: Callable[..., Served]) -> None:
    served = serve().open()
    with pytest.raises(RemoteError, match="cannot be written") as caught:
        served.client.command("screenshot", path="/nowhere/x.png")
    assert caught.value.code == "ScreenshotError"


SQUARE = ROI("polygon", [[0, 0], [0, 4], [4, 4], [4, 0]], {"name": "a"})


def kept(served: Served, *rois: ROI) -> None:
    """Regions at z 3, the last of which the user drew."""
    served.sender.send([StreamItem(None, ImageKey(z=3), rois=rois_to_wire(rois), kind="rois")])
    assert served.sender.flush(10.0)
    assert served.client.command("settle")
    scene = served.server.scene
    (plan,) = scene.roi_plans()
    assert scene.roi_positions(plan.layer_id) == ((3,),)
    found = scene.rois(plan.layer_id, (3,))
    scene.keep_rois(plan.layer_id, (3,), found, found[-1:])


def test_the_users_regions_come_back_with_their_place(serve: Callable[..., Served], tmp_path: Path) -> None:
    served = serve().open()
    kept(served, SQUARE, SQUARE.replace(properties={"name": "b"}))
    answer = served.client.command("rois")
    assert answer["count"] == len(answer["rois"]) == 1
    handle = ViewerHandle("recording", served.server.endpoint)
    (found,) = handle.rois()
    assert found.roi == SQUARE.replace(properties={"name": "b"}, place={"z": 3})
    assert (found.key, found.streamed, found.source) == (ImageKey(z=3), False, "layer")
    assert found.layer == "shapes"
    both = handle.rois("all")
    assert [(one.roi.properties["name"], one.streamed) for one in both] == [("a", True), ("b", False)]
    path = tmp_path / "rois"
    assert served.client.command("rois", include="all", path=str(path)) == {"count": 2, "path": str(path)}
    assert [DrawnRoi.from_wire(one) for one in msgspec.msgpack.decode(path.read_bytes())] == both
    with pytest.raises(RemoteError, match="cannot be written"):
        served.client.command("rois", path="/nowhere/x")


def test_an_answer_that_does_not_fit_is_refused(serve: Callable[..., Served]) -> None:
    served = serve().open()
    outline = np.random.default_rng(0).random((4000, 2)) * 100
    kept(served, *[ROI("polygon", outline + n) for n in range(40)])
    handle = ViewerHandle("recording", served.server.endpoint)
    with pytest.raises(AnswerTooLargeError, match="40 regions are [0-9]+ bytes"):
        handle.rois("all")
    assert len(handle.rois()) == 1


@pytest.mark.parametrize("params", [{"include": "mine"}, {"path": "relative"}, {"path": 3}])
def test_bad_requests_for_regions_are_refused(serve: Callable[..., Served], params: dict[str, Any]) -> None:
    with pytest.raises(RemoteError) as caught:
        serve().client.command("rois", **params)
    assert caught.value.code == "bad-request"


def test_over_tcp_no_file_of_regions_is_written_and_no_trusted_command_runs(
    serve: Callable[..., Served], tmp_path: Path
) -> None:
    ran = []

    class Trusting(RecordingViewer):
        def commands(self) -> dict[str, Command]:
            return {"run_macro": Command(lambda params: ran.append(params), trusted=True, gui=False)}

    served = serve(Trusting, transport="tcp").open()
    with pytest.raises(RemoteError, match="ipc clients only"):
        served.client.command("rois", path=str(tmp_path / "x"))
    handle = ViewerHandle("recording", served.server.endpoint)
    assert handle.rois() == []
    with pytest.raises(RemoteError, match="over ipc only") as caught:
        handle.run_macro("x = 1;")
    assert caught.value.code == "refused"
    assert ran == []


def test_a_macro_too_long_for_a_message_is_never_sent(serve: Callable[..., Served]) -> None:
    handle = ViewerHandle("recording", serve().server.endpoint)
    with pytest.raises(MacroError, match="at most 500000 in all"):
        handle.run_macro("x" * 400_000, "y" * 200_000)
    with pytest.raises(RemoteError, match="no command 'run_macro'"):  # as it is sent
        handle.run_macro("\x01" * 500_000)


def test_an_unknown_command_lists_those_known(serve: Callable[..., Served]) -> None:
    with pytest.raises(RemoteError, match=r"no command 'dance'.*layers, rois, screenshot, settle, state"):
        serve().client.command("dance")


def test_closing_ends_the_window_and_refuses_what_waits(serve: Callable[..., Served]) -> None:
    served = serve()
    future = served.server.on_gui(lambda: 1)
    served.server.request_shutdown()
    served.thread.start()
    served.thread.join(10.0)
    with pytest.raises(ViewerClosedError, match="was closed: launch it again"):
        future.result(10.0)
    with pytest.raises(ViewerClosedError):
        served.server.on_gui(lambda: 1).result(10.0)
    with pytest.raises(RemoteError, match="was closed"):
        served.client.command("settle")


def test_a_shutdown_request_closes_the_window(serve: Callable[..., Served]) -> None:
    served = serve().open()
    served.client.shutdown()
    served.thread.join(10.0)
    assert not served.thread.is_alive()
    assert not served.client.ping().ready


def test_what_waits_when_the_window_closes_is_dropped_with_the_reason(serve: Callable[..., Served]) -> None:
    class Holding(RecordingViewer):
        def pump(self) -> None:
            """Show nothing."""

    served = serve(Holding).open()
    served.send(1, 2)
    wait_until(lambda: served.client.status()["queued"] == 2)
    served.server.request_shutdown()
    assert served.sender.flush(10.0)
    stats = served.sender.stats
    assert (stats.dropped, stats.refused, stats.balanced) == (2, 2, True)


def test_a_fault_of_the_window_is_counted_and_does_not_end_it(serve: Callable[..., Served]) -> None:
    class Faulty(RecordingViewer):
        faults = 1

        def pump(self) -> None:
            if self.faults:
                self.faults -= 1
                raise ValueError("a fault")
            super().pump()

    served = serve(Faulty).open()
    served.send(1)
    assert served.sender.flush(10.0)
    assert served.client.status()["window_errors"] == 1
    assert served.sender.stats.displayed == 1


def test_a_window_that_cannot_be_opened_ends_the_server(serve: Callable[..., Served]) -> None:
    class Broken(RecordingViewer):
        def open(self, title: str) -> None:
            raise ValueError("no window")

    served = serve(Broken)
    with pytest.raises(ValueError, match="no window"):
        served.server.serve()
    assert served.server.shutdown_requested


class Talkative(RecordingViewer):
    """A viewer with requests of its own; it keeps what it was told."""

    kind = "talkative"
    told: ViewerSettings

    @classmethod
    def create(cls, settings: ViewerSettings) -> Talkative:
        viewer = super().create(settings)
        viewer.told = settings
        return viewer

    def commands(self) -> dict[str, Command]:
        return {
            "where": Command(lambda params: threading.current_thread().name),
            "apart": Command(lambda params: threading.current_thread().name, gui=False),
            "dangerous": Command(lambda params: dict(params), trusted=True),
        }


def test_a_viewer_answers_requests_of_its_own(serve: Callable[..., Served]) -> None:
    served = serve(Talkative).open()
    assert {"where", "apart", "dangerous", "state"} <= set(served.client.ping().capabilities["commands"])
    assert served.client.command("where") == served.thread.name
    assert served.client.command("apart") == "apart"
    assert served.client.command("dangerous", value=3) == {"value": 3}
    assert served.server.viewer.told == ViewerSettings(budget=1 << 20)


def test_what_needs_trust_is_refused_over_tcp(serve: Callable[..., Served]) -> None:
    served = serve(Talkative, "tcp").open()
    with pytest.raises(RemoteError, match="dangerous may do anything the viewer's user may") as error:
        served.client.command("dangerous")
    assert error.value.code == "refused"
    assert served.client.command("where") == served.thread.name


def test_a_viewer_that_needs_a_window_is_not_headless() -> None:
    with pytest.raises(DisplayError, match="display='virtual'"):
        RecordingViewer.create(ViewerSettings(display="headless"))
