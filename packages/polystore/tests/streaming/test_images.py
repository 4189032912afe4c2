"""Every kind of array arrives exactly, by each way there is; what cannot travel is refused before anything is sent."""

from __future__ import annotations

import logging
import os
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest

from polystore.components import ImageKey
from polystore.errors import PayloadError, PayloadTooLargeError, UnsupportedArrayError
from polystore.payload import inline, segment, shm
from polystore.projection.spec import DisplaySpec
from polystore.streaming import encoder
from polystore.streaming.messages import MAX_CONTEXT_BYTES, BatchContext, StreamItem
from polystore.streaming.sender import ImageSender
from zmqruntime.discovery import free_endpoint
from zmqruntime.stream import StreamStats

RNG = np.random.default_rng(7)
BIG = RNG.integers(0, 60000, (70, 90), dtype="<u2")  # larger than what travels in the message


def read_only(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    array = array.copy()
    array.flags.writeable = False
    return array


ARRAYS: dict[str, np.ndarray[Any, Any]] = {
    "0-d": np.array(3.25),
    "0-d bool": np.array(True),
    "1 x 1": np.full((1, 1), 9, np.uint8),
    "empty": np.zeros((0, 10), "<u2"),
    "empty the other way": np.zeros((10, 0, 3), "<f4"),
    "uint16": BIG,
    "small uint16": BIG[:4, :4].copy(),
    "uint8": BIG.astype("u1"),
    "int8": BIG.astype("i1"),
    "int64": BIG.astype("<i8") * -(2**40),
    "uint64": BIG.astype("<u8") * 2**47,
    "bool": BIG > 30000,
    "float16": (BIG / 7).astype("<f2"),
    "float32 with nan": np.where(BIG > 100, BIG / 3, np.nan).astype("<f4"),
    "float64": BIG / 3,
    "complex64": (BIG + 1j * BIG.T[:1, :1]).astype("<c8"),
    "complex128": BIG * (1 - 2j),
    "big endian uint16": BIG.astype(">u2"),
    "big endian float64": (BIG / 3).astype(">f8"),
    "big endian complex": (BIG * 1j).astype(">c16"),
    "small big endian": BIG[:4, :4].astype(">u2"),
    "Fortran order": np.asfortranarray(BIG),
    "transposed": BIG.T,
    "every second": BIG[::2, ::-3],
    "one row repeated": np.broadcast_to(BIG[0], (50, 90)),
    "read-only": read_only(BIG),
    "memory map": BIG.view(np.memmap),
    "5-d": RNG.integers(0, 255, (2, 3, 4, 20, 21), dtype="u1"),
    "32-d": np.zeros((1,) * 32, "u1"),
    "colour": RNG.integers(0, 255, (40, 50, 3), dtype="u1"),
}


@pytest.mark.parametrize("way", ["arena", "segment", "frame", "lz4"])
def test_every_array_arrives_exactly_by_every_way(
    rig: Any, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    names: list[str] = []
    if way == "segment":
        monkeypatch.setattr(encoder, "SMALL_BYTES", 0)
        publish = segment.publish
        monkeypatch.setattr(segment, "publish", lambda array: names.append(publish(array)) or names[-1])
    if way == "lz4":
        # As between two machines: no shared memory there, and whatever codec both have.
        rig.endpoint = free_endpoint(21000, "tcp")
        monkeypatch.setattr("zmqruntime._attachment.host_id", lambda: "elsewhere")
    shelf = rig.shelf(shared_memory=way in ("arena", "segment"))
    sender = rig.sender(arena_bytes=0 if way == "segment" else 8 << 20)
    items = [StreamItem(array, ImageKey(channel=name)) for name, array in ARRAYS.items()]
    assert sender.send(items) == (len(items), 0)
    assert sender.flush(20)
    assert sender.stats == StreamStats(sent=len(items), displayed=len(items))
    assert len(shelf.copies) == len(items)
    for item, copy, image in zip(items, shelf.copies, shelf.got, strict=True):
        assert copy is not None
        assert copy.dtype == item.array.dtype, item.key
        assert copy.shape == item.array.shape
        assert copy.tobytes() == np.asarray(item.array).tobytes(), item.key
        assert image.key == item.key
        assert image.array is not None
        assert not image.array.flags.writeable
    large = sum(array.nbytes > encoder.SMALL_BYTES for array in ARRAYS.values())
    assert shelf.places.count("arena") == (large if way == "arena" else 0)
    if way == "segment":
        assert len(names) == large
    if way == "lz4":
        assert sender._encoder._codec is inline.codec("lz4")


def test_what_is_said_about_an_image_arrives_with_it(rig: Any) -> None:
    shelf = rig.shelf()
    sender = rig.sender()
    key = ImageKey.of(plate="P1", well="a1", site="s3", channel="DAPI", z=4, timepoint="t002")
    spec = DisplaySpec(
        colormap="magma", modes={"well": "layer"}, replace_layers=True, scale=(0.5, 0.25), follow=True
    )
    context = BatchContext("run 1", 2, "gaussian_blur", "worker 3", spec)
    sender.send([StreamItem(BIG, key, "labels", (1, 2.5), "/data/A01.tif", None, "stem")], context)
    sender.send(
        [StreamItem(None, key, "rois", rois=[["polygon", [1.5, 2], {"area": 3}]], name=None)], context
    )  # type: ignore[arg-type]
    assert sender.flush(5)
    image, regions = shelf.got
    assert (image.key, image.kind, image.contrast, image.path, image.name) == (
        key,
        "labels",
        (1.0, 2.5),
        "/data/A01.tif",
        "stem",
    )
    assert image.context == context
    assert image.rois is None
    assert regions.array is None
    assert (regions.kind, regions.rois) == ("rois", [["polygon", [1.5, 2], {"area": 3}]])
    assert regions.context is image.context
    assert regions.nbytes == 0


def test_values_of_numpy_and_paths_that_are_no_text_travel_too(rig: Any) -> None:
    shelf = rig.shelf()
    sender = rig.sender()
    odd = os.fsdecode(b"/data/\xff\xfe.tif")
    sender.send(
        [
            StreamItem(BIG, contrast=tuple(np.percentile(BIG, [1, 99]))),
            StreamItem(BIG, contrast=(np.uint16(3), np.float32(4.5)), path=PurePosixPath("/a/b.tif")),  # type: ignore[arg-type]
            StreamItem(BIG, path=odd, name=np.str_("stem")),
            StreamItem(BIG, path="Bild \u00e4.tif"),
        ]
    )
    assert sender.flush(5)
    assert [image.path for image in shelf.got] == ["", "/a/b.tif", "/data/??.tif", "Bild \u00e4.tif"]
    assert shelf.got[1].contrast == (3.0, 4.5)
    assert shelf.got[2].name == "stem"


REFUSED: dict[str, tuple[StreamItem, type[Exception], str]] = {
    "objects": (StreamItem(np.array([{}, None])), UnsupportedArrayError, "Python objects"),
    "fields": (StreamItem(np.zeros(3, [("a", "u2")])), UnsupportedArrayError, "fields one by one"),
    "text": (StreamItem(np.array(["a"])), UnsupportedArrayError, "text is no image"),
    "bytes": (StreamItem(np.array([b"a"])), UnsupportedArrayError, "text is no image"),
    "dates": (StreamItem(np.array(["2020-01-01"], "M8[D]")), UnsupportedArrayError, "dates"),
    "long double": (StreamItem(np.zeros(3, np.longdouble)), UnsupportedArrayError, "float64"),
    "masked": (StreamItem(np.ma.zeros(3)), UnsupportedArrayError, "mask"),
    "no array": (StreamItem([[1, 2]]), UnsupportedArrayError, "no array"),
    "nothing": (StreamItem(), UnsupportedArrayError, "no array"),
    "33 dimensions": (
        StreamItem(np.zeros((1,) * 33, "u1"))
        if np.lib.NumpyVersion(np.__version__) >= "2.0.0"
        else StreamItem(),
        UnsupportedArrayError if np.lib.NumpyVersion(np.__version__) < "2.0.0" else PayloadTooLargeError,
        "32|no array",
    ),
    "too large": (
        StreamItem(np.broadcast_to(np.uint8(0), (1 << 20, 1 << 11))),
        PayloadTooLargeError,
        "1,073,741,824",
    ),
    "a kind nobody knows": (
        StreamItem(BIG, kind="movie"),
        UnsupportedArrayError,
        "'movie'.*image, labels, rois",
    ),
    "regions as an image": (StreamItem(None, rois=[]), UnsupportedArrayError, "no array"),
    "an array as regions": (StreamItem(BIG, kind="rois", rois=[]), UnsupportedArrayError, "list of regions"),
    "no regions": (StreamItem(kind="rois"), UnsupportedArrayError, "list of regions"),
    "regions of objects": (
        StreamItem(kind="rois", rois=[object()]),
        PayloadError,
        "regions cannot be written",
    ),
    "very many regions": (
        StreamItem(kind="rois", rois=[b"x" * 9_000_000]),
        PayloadTooLargeError,
        "several lists",
    ),
    "a contrast of words": (StreamItem(BIG, contrast=("low", "high")), PayloadError, "contrast"),  # type: ignore[arg-type]
    "a contrast of one": (StreamItem(BIG, contrast=(1.0,)), PayloadError, "contrast"),  # type: ignore[arg-type]
    "a path that is none": (StreamItem(BIG, path=7), PayloadError, "no path or name"),  # type: ignore[arg-type]
    "an endless path": (StreamItem(BIG, path="x" * 10_000), PayloadTooLargeError, "10000 letters"),
}


@pytest.mark.parametrize("why", REFUSED)
@pytest.mark.parametrize("attached", [True, False], ids=["viewer", "no viewer"])
def test_what_cannot_travel_is_refused_before_anything_is_sent_or_counted(
    rig: Any, why: str, attached: bool
) -> None:
    item, error, text = REFUSED[why]
    if attached:
        shelf = rig.shelf()
    sender = rig.sender(attach=attached, policy="drop", deadline=0)
    with pytest.raises(error, match=text):
        sender.send([StreamItem(BIG), item, StreamItem(BIG)])
    assert sender.stats == StreamStats()
    if attached:
        sender.send([StreamItem(BIG)])
        assert sender.flush(5)
        assert len(shelf.got) == 1


def test_a_context_that_cannot_travel_is_refused_too(rig: Any) -> None:
    sender = rig.sender(attach=False)
    with pytest.raises(PayloadTooLargeError, match=f"limit of {MAX_CONTEXT_BYTES}"):
        sender.send([StreamItem(BIG)], BatchContext(step_name="x" * MAX_CONTEXT_BYTES))
    with pytest.raises(PayloadError, match="cannot be written"):
        sender.send([StreamItem(BIG)], BatchContext(run=object()))  # type: ignore[arg-type]
    with pytest.raises(PayloadError, match="cannot be written"):
        sender.send([StreamItem(BIG)], BatchContext(step_name="\udcff"))
    assert sender.stats == StreamStats()


def test_an_image_larger_than_the_viewer_takes_is_refused_with_both_sizes(rig: Any) -> None:
    rig.shelf(max_bytes=10_000)
    sender = rig.sender()
    with pytest.raises(PayloadTooLargeError, match=r"12600 bytes.*\(10000\)"):
        sender.send([StreamItem(BIG)])
    assert sender.stats == StreamStats()


def test_an_image_that_waited_for_a_viewer_that_takes_less_is_counted(rig: Any) -> None:
    sender = rig.sender(attach=False, starting=True)
    sender.send([StreamItem(BIG), StreamItem(BIG[:10])])
    shelf = rig.shelf(max_bytes=10_000)
    assert sender.flush(10)
    assert sender.stats == StreamStats(sent=2, displayed=1, dropped=1, refused=1)
    assert len(shelf.got) == 1


def test_many_regions_go_in_several_messages(rig: Any) -> None:
    shelf = rig.shelf()
    sender = rig.sender()
    outline = [[float(i), float(i)] for i in range(20_000)]  # 380 KB each: 64 of them would be no message
    assert sender.send([StreamItem(kind="rois", rois=outline) for _ in range(64)]) == (64, 0)
    assert sender.flush(30)
    assert len(shelf.got) == 64
    assert sender.stats.displayed == 64


def test_many_frames_go_in_several_messages(rig: Any) -> None:
    # No shared memory: 40 images of 4 MB are 160 MB, far more than the window of 8 MB lets go at once.
    shelf = rig.shelf(shared_memory=False, window_bytes=8 << 20)
    sender = rig.sender()
    image = np.zeros((1024, 2048), "<u2")
    largest = 0
    original = shelf.items

    def items(peer: Any, seq: int, count: int, body: bytes, frames: list[Any]) -> None:
        nonlocal largest
        largest = max(largest, sum(len(frame) for frame in frames))
        original(peer, seq, count, body, frames)

    shelf.items = items
    sender.send([StreamItem(image)] * 40)
    assert sender.flush(30)
    assert len(shelf.got) == 40
    assert largest <= encoder.MESSAGE_FRAME_BYTES + image.nbytes


def test_batches_of_different_contexts_follow_each_other(rig: Any) -> None:
    shelf = rig.shelf(opened=False, window_items=1)
    sender = rig.sender(policy="drop", deadline=0)
    sender.send([StreamItem(BIG)], BatchContext(step_name="first"))
    for i in range(6):
        sender.send(
            [StreamItem(BIG, ImageKey(z=i))], BatchContext(step_name=f"step {i % 2}"), policy="latest"
        )
    shelf.open()
    assert sender.flush(5)
    assert [(image.context.step_name, image.key.z) for image in shelf.got] == [
        ("first", None),
        *[(f"step {i % 2}", i) for i in range(6)],
    ]


def test_the_same_place_of_the_same_step_is_superseded_under_latest(rig: Any) -> None:
    shelf = rig.shelf(opened=False, window_items=1)
    sender = rig.sender(policy="latest")
    sender.send([StreamItem(BIG)])
    for value in range(10):
        sender.send([StreamItem(np.full((50, 50), value, "u1"), ImageKey(z=z)) for z in (0, 1)])
    sender.send(
        [StreamItem(np.full((50, 50), 99, "u1"), ImageKey(z=0), "labels")]
    )  # another kind: another place
    shelf.open()
    assert sender.flush(5)
    assert sorted(int(copy.max()) for copy in shelf.copies[1:] if copy is not None) == [9, 9, 99]
    assert sender.stats == StreamStats(sent=22, displayed=4, superseded=18)


def test_what_waits_is_a_copy_unless_deferred(rig: Any) -> None:
    sender = rig.sender(attach=False, starting=True)
    image = BIG.copy()
    sender.send([StreamItem(image)])
    sender.send([StreamItem(image)], deferred=True)
    image[:] = 1
    shelf = rig.shelf()
    assert sender.flush(10)
    first, second = shelf.copies
    assert first is not None
    assert second is not None
    assert np.array_equal(first, BIG)
    assert second.max() == 1  # mutated although one must not: the proof that nothing was copied


def test_an_image_rewritten_before_its_credit_is_never_shown(rig: Any, until: Any) -> None:
    # A sender that breaks the rule, played by stamping a slot that is still out.
    shelf = rig.shelf(opened=False)
    sender = rig.sender(policy="drop", deadline=0)
    sender.send([StreamItem(BIG), StreamItem(BIG)])
    until(lambda: len(shelf.held) == 2)
    arena = sender._encoder._arena
    assert arena is not None
    arena.stamp(min(arena._used), BIG.nbytes)
    shelf.open()
    assert sender.flush(5)
    assert shelf.torn == 1
    assert sender.stats == StreamStats(sent=2, displayed=1, dropped=1, refused=1)


def test_a_slot_that_was_rewritten_on_the_way_is_refused(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = rig.shelf()
    sender = rig.sender(policy="drop", deadline=0)
    stamp = sender._encoder._arena.stamp
    monkeypatch.setattr(sender._encoder._arena, "stamp", lambda base, nbytes: stamp(base, nbytes) - 1)
    sender.send([StreamItem(BIG)])
    assert sender.flush(5)
    assert shelf.got == []
    assert sender.stats == StreamStats(sent=1, dropped=1, refused=1)


def test_sending_says_how_long_it_held_the_pipeline(rig: Any) -> None:
    rig.shelf()
    sender = rig.sender()
    for _ in range(5):
        sender.send([StreamItem(BIG)])
    assert len(sender.block_ms) == 5
    assert all(0 < value < 1000 for value in sender.block_ms)


def test_of_how_long_it_held_the_pipeline_only_the_last_calls_are_kept(
    rig: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polystore.streaming.sender._BLOCK_TIMES", 4)
    sender = rig.sender(attach=False, policy="drop")
    for deadline in (0, 0, 0.2, 0, 0.1, 0):
        sender._stream._stalled = False  # so that each call waits anew
        sender.send([StreamItem(BIG)], deadline=deadline)
    assert [value > 90 for value in sender.block_ms] == [True, False, True, False]
    assert sender.block_ms[0] > 190


# --------------------------------------------------------------------------- little or no shared memory


def test_a_receiver_without_shared_memory_gets_frames(rig: Any) -> None:
    shelf = rig.shelf(shared_memory=False)
    sender = rig.sender()
    before = {name for name in os.listdir(shm.SHM_DIR) if name.startswith(f"polystore-{os.getpid()}-")}
    sender.send([StreamItem(BIG)])
    assert sender.flush(5)
    assert shelf.places == ["own"]
    assert {
        name for name in os.listdir(shm.SHM_DIR) if name.startswith(f"polystore-{os.getpid()}-")
    } == before


def test_a_receiver_that_cannot_map_our_memory_gets_frames(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # As in another container: the same kernel, another /dev/shm.
    def elsewhere(*_: Any) -> Any:
        from polystore.errors import NoSharedMemoryError

        raise NoSharedMemoryError("no such file here")

    monkeypatch.setattr("polystore.streaming.receiver.MappedArena", elsewhere)
    shelf = rig.shelf()
    sender = rig.sender()
    sender.send([StreamItem(BIG)])
    assert sender.flush(5)
    assert shelf.places == ["own"]


def test_without_a_folder_of_shared_memory_images_travel_in_messages(
    rig: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shm, "SHM_DIR", "/nowhere")
    shelf = rig.shelf()
    sender = rig.sender()
    sender.send([StreamItem(BIG)])
    assert sender.flush(5)
    assert shelf.places == ["own"]
    monkeypatch.undo()


def test_a_full_memory_when_attaching_is_said_once_and_images_travel_in_messages(
    rig: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    shelf = rig.shelf()
    sender = rig.sender()
    for _ in range(5):
        sender.send([StreamItem(BIG)])
    assert sender.flush(5)
    assert shelf.places == ["own"] * 5
    warnings = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert len([text for text in warnings if "No space left" in text and "shm-size" in text]) <= 2
    assert sender.stats == StreamStats(sent=5, displayed=5)


def test_an_image_larger_than_the_arena_takes_a_segment_of_its_own(
    rig: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[str] = []
    publish = segment.publish
    monkeypatch.setattr(segment, "publish", lambda array: names.append(publish(array)) or names[-1])
    shelf = rig.shelf(opened=False)
    sender = rig.sender(arena_bytes=1 << 20)
    large = RNG.integers(0, 60000, (1000, 1000), dtype="<u2")
    sender.send([StreamItem(BIG), StreamItem(large), StreamItem(large[:100])])
    shelf.open()
    assert sender.flush(10)
    assert shelf.places == ["arena", "own", "arena"]
    assert len(names) == 1
    assert np.array_equal(shelf.copies[1], large)
    # It may keep the image for good: the memory is its own now, and no name is left.
    assert np.array_equal(shelf.got[1].array, large)


def test_segments_on_their_way_stay_within_the_window_in_bytes(rig: Any) -> None:
    shelf = rig.shelf(opened=False, window_bytes=10_000_000)
    sender = rig.sender(arena_bytes=0, policy="drop", deadline=0)
    large = np.zeros((1000, 1000), "<u2")
    accepted = sum(sender.send([StreamItem(large)]).accepted for _ in range(30))
    assert accepted <= 7
    shelf.open()
    assert sender.flush(10)
    assert sender.stats.balanced


def test_segments_that_do_not_fit_are_said_once(
    rig: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shelf = rig.shelf()
    sender = rig.sender(arena_bytes=0)
    monkeypatch.setattr(shm, "free_bytes", lambda: 1000)
    for _ in range(20):
        sender.send([StreamItem(BIG)])
    assert sender.flush(10)
    assert len(shelf.got) == 20
    assert sum("such images travel in messages" in r.getMessage() for r in caplog.records) == 1


def test_unread_segments_leave_no_name_when_the_receiver_goes(rig: Any, until: Any) -> None:
    shelf = rig.shelf()
    sender = rig.sender(arena_bytes=0, policy="drop", deadline=0)
    shelf.items = lambda *_: None  # reads the message, never the segment
    for _ in range(4):
        sender.send([StreamItem(BIG)])
    prefix = shm.new_name().rpartition("-")[0]
    until(lambda: sum(name.startswith(prefix) for name in os.listdir(shm.SHM_DIR)) == 4)
    shelf.stop()
    until(lambda: sender.stats.lost_in_flight == 4)
    assert not any(name.startswith(prefix) for name in os.listdir(shm.SHM_DIR))


# --------------------------------------------------------------------------- one sender per process


def test_sender_for_gives_everybody_the_same(rig: Any, tmp_path: Path) -> None:
    from polystore.streaming.sender import close_senders, sender_for

    rig.shelf()
    first = sender_for(rig.endpoint, policy="block")
    try:
        assert sender_for(rig.endpoint) is first
        first.close()
        second = sender_for(rig.endpoint)
        assert second is not first
        second.send([StreamItem(BIG)])
    finally:
        close_senders(5)
    assert second.state == "closed"
    assert second.stats == StreamStats(sent=1, displayed=1)


def test_leaving_the_block_closes_the_sender(rig: Any) -> None:
    rig.shelf()
    with ImageSender(rig.endpoint) as sender:
        assert sender.wait_attached(5)
        assert sender.endpoint == rig.endpoint
    assert sender.state == "closed"
