"""The backend `napari_stream`: paths to keys, checks before anything is sent, one sender per endpoint.

The viewer is a server in this process that takes everything down.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polystore import FileManager
from polystore.backends import STORAGE_BACKENDS
from polystore.backends.napari_stream import NapariStreamingBackend, display_spec
from polystore.components import ImageKey
from polystore.errors import BatchLengthError, ComponentError, PayloadTooLargeError, UnsupportedArrayError
from polystore.projection import DisplaySpec
from polystore.rois import ROI, rois_from_wire
from polystore.streaming.receiver import ImageReceiver, ReceivedImage
from polystore.streaming.runs import default_run
from polystore.streaming.sender import close_senders, sender_for
from zmqruntime.config import Endpoint
from zmqruntime.errors import SendTimeout
from zmqruntime.server import ZMQServer
from zmqruntime.stream_receiver import Peer


@dataclass
class Taken:
    """One image as it arrived."""

    image: ReceivedImage
    array: np.ndarray[Any, Any] | None


class Viewer(ZMQServer):
    """Takes every image at once, or none while it is told to hold them."""

    def __init__(self, endpoint: Endpoint, *, holding: bool = False) -> None:
        super().__init__(endpoint, kind="viewer")
        self.taken: list[Taken] = []
        self.held: list[ReceivedImage] = []
        self.holding = holding
        self._images = ImageReceiver(self.take)

    def attach(self, peer: Peer, body: bytes) -> bytes:
        return self._images.attach(peer, body)

    def note(self, peer: Peer, body: bytes) -> bytes:
        return self._images.note(peer, body)

    def items(self, peer: Peer, seq: int, count: int, body: bytes, frames: list[Any]) -> None:
        self._images.items(peer, seq, count, body, frames)

    def detach(self, peer: Peer) -> None:
        self._images.detach(peer)

    def take(self, images: list[ReceivedImage]) -> None:
        for image in images:
            self.taken.append(Taken(image, None if image.array is None else image.array.copy()))
            if self.holding:
                self.held.append(image)
            else:
                image.finish("displayed")

    def let_go(self) -> None:
        self.holding = False
        while self.held:
            self.held.pop().finish("displayed")


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    folder = Path(tempfile.mkdtemp(prefix="ps-"))  # short: socket paths have 107 bytes at most
    monkeypatch.setenv("ZMQRUNTIME_DIR", str(folder))
    monkeypatch.delenv("POLYSTORE_RUN", raising=False)
    yield
    close_senders(0.0)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def viewer() -> Iterator[Callable[..., Viewer]]:
    """Start a viewer on a port, 5555 when none is given."""
    started: list[Viewer] = []

    def start(port: int = 5555, **options: Any) -> Viewer:
        server = Viewer(Endpoint(data_port=port), **options)
        server.start()
        started.append(server)
        return server

    yield start
    for server in started:
        server.stop()


def image(value: int = 1) -> np.ndarray[Any, Any]:
    return np.full((4, 6), value, np.uint16)


def flushed(port: int = 5555) -> None:
    sender = sender_for(Endpoint(data_port=port))
    assert sender.flush(10.0)
    assert sender.stats.balanced


# ---------------------------------------------------------------------- from path to picture


def test_one_call_is_all_a_pipeline_needs(viewer: Callable[..., Viewer]) -> None:
    there = viewer()
    paths = ["out/A01_s1_w2_z003.tif", "out/A01_s2_w2_z003.tif"]
    report = FileManager().save_batch([image(1), image(2)], paths, backend="napari_stream")
    assert report == (2, 0)
    flushed()
    assert [one.image.key for one in there.taken] == [
        ImageKey(well="A01", field=1, channel=2, z=3),
        ImageKey(well="A01", field=2, channel=2, z=3),
    ]
    assert [one.image.path for one in there.taken] == paths
    assert [int(one.array[0, 0]) for one in there.taken if one.array is not None] == [1, 2]
    assert {one.image.kind for one in there.taken} == {"image"}
    assert {one.image.name for one in there.taken} == {""}


def test_save_sends_one(viewer: Callable[..., Viewer]) -> None:
    there = viewer()
    assert FileManager().save(image(), "A01_s1_w1.tif", "napari_stream", step_name="one").accepted == 1
    flushed()
    assert there.taken[0].image.context.step_name == "one"


def test_where_a_batch_belongs_goes_along(viewer: Callable[..., Viewer]) -> None:
    there = viewer()
    FileManager().save_batch(
        [image()],
        ["A01_s1_w1.tif"],
        "napari_stream",
        step_index=2,
        step_name="gaussian_blur",
        run="run 7",
        producer="worker",
        config=DisplaySpec(colormap="magma"),
        contrast=(1, 9),
    )
    flushed()
    taken = there.taken[0].image
    context = taken.context
    assert (context.step_index, context.step_name, context.run, context.producer) == (
        2, "gaussian_blur", "run 7", "worker",
    )  # fmt: skip
    assert context.display.colormap == "magma"
    assert taken.contrast == (1.0, 9.0)


@pytest.mark.parametrize("style", ["keywords", "positions", "direct"])
def test_keywords_and_positions_both_work(viewer: Callable[..., Viewer], style: str) -> None:
    there = viewer()
    data, paths = [image()], ["A01_s1_w1.tif"]
    if style == "keywords":
        FileManager().save_batch(data=data, paths=paths, backend="napari_stream")
    elif style == "positions":
        FileManager().save_batch(data, paths, "napari_stream")
    else:
        STORAGE_BACKENDS["napari_stream"]().save_batch(data, paths)
    flushed()
    assert len(there.taken) == 1


def test_components_outrank_the_name_for_all_or_for_each(viewer: Callable[..., Viewer]) -> None:
    there = viewer()
    paths = ["A01_s1_w1.tif", "A01_s2_w1.tif"]
    fm = FileManager()
    fm.save_batch([image(), image()], paths, "napari_stream", components={"well": "B07", "channel": "DAPI"})
    fm.save_batch(
        [image(), image()], paths, "napari_stream", components=[{"z_index": "z003"}, {"timepoint": "t1"}]
    )
    flushed()
    assert [one.image.key for one in there.taken] == [
        ImageKey(well="B07", field=1, channel="DAPI"),
        ImageKey(well="B07", field=2, channel="DAPI"),
        ImageKey(well="A01", field=1, channel=1, z=3),
        ImageKey(well="A01", field=2, channel=1, t=1),
    ]


def test_a_name_no_parser_knows_is_shown_under_its_stem_with_one_warning(
    viewer: Callable[..., Viewer], caplog: pytest.LogCaptureFixture
) -> None:
    there = viewer()
    backend = NapariStreamingBackend()
    backend.save_batch([image(), image()], ["some image.tif", "another.one.npy"])
    backend.save_batch([image()], ["third.tif"])
    backend.save_batch([image(), image()], ["fourth.tif", "fifth.tif"], components={"well": "A01"})
    backend.save_batch([image()], ["sixth.tif"], components={"well": "A01"})
    backend.save_batch([image()], ["seventh.tif"], components=[{"well": "A02"}])
    flushed()
    names = ["some image", "another.one", "third", "fourth", "fifth", "", ""]
    assert [one.image.name for one in there.taken] == names
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "no file-name parser knows 'some image.tif'" in warnings[0].getMessage()


def test_what_a_name_adds_names_the_layer(viewer: Callable[..., Viewer]) -> None:
    there = viewer()
    backend = NapariStreamingBackend()
    backend.save_batch([image()], ["A01_s001_w1_mask.tif"])
    backend.save_batch([image()], ["A01_s001_w1_labels.tif"], kind="labels")
    flushed()
    assert [(one.image.name, one.image.kind) for one in there.taken] == [("mask", "image"), ("", "labels")]


def test_labels_and_contrast_can_be_given_for_each(viewer: Callable[..., Viewer]) -> None:
    there = viewer()
    NapariStreamingBackend().save_batch(
        [image(), image()],
        ["A01_s1_w1.tif", "A01_s2_w1.tif"],
        kind=["image", "labels"],
        contrast=[(np.float32(0), 5), None],
    )
    flushed()
    assert [(one.image.kind, one.image.contrast) for one in there.taken] == [
        ("image", (0.0, 5.0)),
        ("labels", None),
    ]


def test_regions_travel_as_such(viewer: Callable[..., Viewer]) -> None:
    there = viewer()
    rois = [ROI("polygon", np.array([[0, 0], [0, 5], [5, 5]])), ROI("point", np.array([[1, 1]]), {"id": 3})]
    backend = NapariStreamingBackend()
    backend.save_batch([rois, rois[0], []], ["A01_s1_w1.roi.zip", "A01_s2_w1_rois.zip", "A01_s3_w1.tif"])
    flushed()
    assert [rois_from_wire(one.image.rois or []) for one in there.taken] == [rois, rois[:1], []]
    assert [one.image.key for one in there.taken] == [
        ImageKey(well="A01", field=at, channel=1) for at in (1, 2, 3)
    ]
    assert {one.image.kind for one in there.taken} == {"rois"}


# ---------------------------------------------------------------------- refused before anything is sent


@pytest.mark.parametrize(
    ("bad", "path", "error", "text"),
    [
        ({"count": 3}, "A01_s2_w1.tif", UnsupportedArrayError, "'A01_s2_w1.tif'.*dict is no array"),
        ("a,b\n1,2", "A01_s2_w1.tif", UnsupportedArrayError, "str is no array"),
        (
            np.zeros((3, 3)),
            "results.csv",
            UnsupportedArrayError,
            "'results.csv' is a table or text.*save it to disk",
        ),
        (np.array([{}]), "A01_s2_w1.tif", UnsupportedArrayError, "Python objects"),
        (np.zeros(3, "U4"), "A01_s2_w1.tif", UnsupportedArrayError, "text is no image"),
        ([image(), 3], "A01_s2_w1.tif", UnsupportedArrayError, "list is no array"),
        (np.broadcast_to(np.uint8(0), (1 << 20, 1 << 20)), "A01_s2_w1.tif", PayloadTooLargeError, "limit"),
    ],
)
def test_what_cannot_be_shown_is_refused_with_its_neighbours_unsent(
    viewer: Callable[..., Viewer], bad: Any, path: str, error: type[Exception], text: str
) -> None:
    there = viewer()
    backend = NapariStreamingBackend()
    with pytest.raises(error, match=text):
        backend.save_batch([image(), bad], ["A01_s1_w1.tif", path])
    backend.save_batch([image(9)], ["A01_s3_w1.tif"])
    flushed()
    assert [one.image.key.field for one in there.taken] == [3]
    assert sender_for(Endpoint()).stats.sent == 1


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"components": [{"well": "A01"}]}, BatchLengthError, "2 images and 1 components"),
        ({"kind": ["image"]}, BatchLengthError, "2 images and 1 kinds"),
        ({"contrast": [(0, 1)] * 3}, BatchLengthError, "2 images and 3 contrasts"),
        ({"kind": "sculpture"}, UnsupportedArrayError, "kind 'sculpture'.*known: image, labels"),
        ({"components": {"colour": 3}}, ComponentError, "unknown component 'colour'"),
        ({"config": 7}, TypeError, "config=7 says nothing about a display"),
        ({"compression": "lzw"}, TypeError, "knows no option 'compression'"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    options: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        NapariStreamingBackend().save_batch([image(), image()], ["A01_s1_w1.tif", "A01_s2_w1.tif"], **options)


def test_as_many_paths_as_images() -> None:
    with pytest.raises(BatchLengthError, match="2 images and 1 paths"):
        NapariStreamingBackend().save_batch([image(), image()], ["A01_s1_w1.tif"])


# ---------------------------------------------------------------------- where it goes


@dataclass(frozen=True)
class Config:
    """What openhcs_viewers' configurations look like from here."""

    port: int = 5600
    colormap: str = "fire"

    def endpoint(self) -> Endpoint:
        return Endpoint(data_port=self.port)

    def display_spec(self) -> DisplaySpec:
        return DisplaySpec(colormap=self.colormap)


def test_the_call_outranks_the_backend_and_the_backend_the_configuration() -> None:
    config = Config()
    assert NapariStreamingBackend().endpoint_for() == Endpoint(data_port=5555)
    assert NapariStreamingBackend().endpoint_for(config=config) == Endpoint(data_port=5600)
    bound = NapariStreamingBackend("5700")
    assert bound.endpoint_for(config=config) == Endpoint(data_port=5700)
    assert bound.endpoint_for(port=5800, config=config) == Endpoint(data_port=5800)
    assert str(bound.endpoint_for(host="elsewhere")) == "tcp://elsewhere:5700"
    assert str(bound.endpoint_for(transport="tcp")) == "tcp://localhost:5700"


def test_a_configuration_says_where_and_how(viewer: Callable[..., Viewer]) -> None:
    there = viewer(5600)
    FileManager().save_batch([image()], ["A01_s1_w1.tif"], "napari_stream", config=Config())
    flushed(5600)
    assert there.taken[0].image.context.display.colormap == "fire"


def test_two_backends_in_two_file_managers_work_side_by_side(viewer: Callable[..., Viewer]) -> None:
    one, two = viewer(5600), viewer(5601)
    managers = []
    for port, colormap in ((5600, "red"), (5601, "blue")):
        fm = FileManager()
        fm.mount(
            "napari_stream", NapariStreamingBackend(Endpoint(data_port=port), config=Config(9999, colormap))
        )
        managers.append(fm)
    for fm in managers:
        fm.save_batch([image()], ["A01_s1_w1.tif"], "napari_stream")
    flushed(5600)
    flushed(5601)
    assert [len(there.taken) for there in (one, two)] == [1, 1]
    assert one.taken[0].image.context.display.colormap == "red"
    assert two.taken[0].image.context.display.colormap == "blue"


def test_all_backends_of_a_process_share_one_sender(viewer: Callable[..., Viewer]) -> None:
    there = viewer()
    for step in range(3):
        FileManager().save_batch([image()], [f"A01_s{step}_w1.tif"], "napari_stream", step_index=step)
        NapariStreamingBackend().save(image(), f"A02_s{step}_w1.tif")
    flushed()
    assert len(there.peers) == 1
    assert sender_for(Endpoint()).stats.displayed == 6


def test_equal_settings_make_one_context(viewer: Callable[..., Viewer]) -> None:
    there = viewer()
    for _ in range(3):
        NapariStreamingBackend().save(
            image(), "A01_s1_w1.tif", step_index=1, step_name="same", config=Config(5555)
        )
    flushed()
    assert len({id(one.image.context) for one in there.taken}) == 1


def test_it_can_be_sent_to_workers() -> None:
    backend = NapariStreamingBackend(
        Endpoint(data_port=5700), config=Config(), run="r", policy="block", deadline=3.0
    )
    again = ForkingPickler.loads(ForkingPickler.dumps(backend))
    assert again.endpoint_for() == Endpoint(data_port=5700)
    assert vars(again) == vars(backend)


def test_configurations_that_cannot_be_hashed_are_understood() -> None:
    class Unhashable(Config):
        __hash__ = None  # type: ignore[assignment]

    assert display_spec(Unhashable()).colormap == "fire"
    assert display_spec(None) == DisplaySpec()
    spec = DisplaySpec(follow=True)
    assert display_spec(spec) is spec


# ---------------------------------------------------------------------- the pipeline is not held up


def test_without_a_viewer_a_stall_costs_the_deadline_once(caplog: pytest.LogCaptureFixture) -> None:
    backend = NapariStreamingBackend(deadline=0.3)
    begin = time.monotonic()
    first = backend.save_batch([image()] * 3, [f"A01_s{at}_w1.tif" for at in range(3)])
    waited = time.monotonic() - begin
    for step in range(20):
        backend.save_batch([image()], ["A01_s1_w1.tif"], step_index=step)
    total = time.monotonic() - begin
    assert first == (0, 3)
    assert 0.2 < waited < 1.0
    assert total < waited + 0.5
    stats = sender_for(Endpoint()).stats
    assert (stats.sent, stats.dropped, stats.balanced) == (23, 23, True)
    assert sum("drop" in record.getMessage() for record in caplog.records) == 1


def test_the_default_deadline_is_one_second() -> None:
    begin = time.monotonic()
    FileManager().save_batch([image()], ["A01_s1_w1.tif"], "napari_stream")
    assert 0.8 < time.monotonic() - begin < 2.0


def test_block_raises_within_its_deadline() -> None:
    with pytest.raises(SendTimeout):
        FileManager().save_batch([image()], ["A01_s1_w1.tif"], "napari_stream", policy="block", deadline=0.2)
    assert sender_for(Endpoint()).stats.dropped == 1


def test_images_wait_for_a_viewer_that_is_starting(viewer: Callable[..., Viewer]) -> None:
    backend = NapariStreamingBackend(starting=True)
    assert backend.save_batch([image(1), image(2)], ["A01_s1_w1.tif", "A01_s2_w1.tif"]) == (2, 0)
    there = viewer()
    flushed()
    assert len(there.taken) == 2


def test_a_viewer_that_comes_back_gets_what_is_sent_then(viewer: Callable[..., Viewer]) -> None:
    first = viewer()
    backend = NapariStreamingBackend(deadline=5.0)
    backend.save(image(), "A01_s1_w1.tif")
    flushed()
    first.stop()
    second = viewer()
    backend.save(image(), "A01_s2_w1.tif", policy="block", deadline=10.0)
    flushed()
    assert [one.image.key.field for one in second.taken] == [2]


def test_threads_share_it(viewer: Callable[..., Viewer]) -> None:
    there = viewer()
    backend = NapariStreamingBackend(policy="block", deadline=20.0)

    def send(field: int) -> None:
        for z in range(10):
            backend.save(image(), f"A01_s{field}_w1_z{z}.tif")

    threads = [threading.Thread(target=send, args=(field,)) for field in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    flushed()
    assert len({one.image.key for one in there.taken}) == 40


# ---------------------------------------------------------------------- runs


def test_workers_of_one_pipeline_are_one_run() -> None:
    mine = default_run()
    assert mine.startswith(f"{os.getpid()}-")
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert {pool.apply(default_run) for _ in range(4)} == {mine}
        pool.close()
        pool.join()


def test_a_run_can_be_named(viewer: Callable[..., Viewer], monkeypatch: pytest.MonkeyPatch) -> None:
    there = viewer()
    NapariStreamingBackend().save(image(), "A01_s1_w1.tif")
    NapariStreamingBackend(run="mine").save(image(), "A01_s1_w1.tif")
    monkeypatch.setenv("POLYSTORE_RUN", "the environment's")
    NapariStreamingBackend().save(image(), "A01_s1_w1.tif")
    flushed()
    assert [one.image.context.run for one in there.taken[1:]] == ["mine", "the environment's"]
    assert there.taken[0].image.context.run.startswith(f"{os.getpid()}-")


def test_the_old_path_is_a_door() -> None:
    from polystore import napari_stream

    assert napari_stream.NapariStreamingBackend is NapariStreamingBackend
