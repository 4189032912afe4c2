"""Arrays born in a slot: sent without a copy, and never one slot under two arrays."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

import numpy as np
import pytest

from polystore.components import ImageKey
from polystore.errors import PayloadTooLargeError, UnsupportedArrayError
from polystore.streaming import encoder
from polystore.streaming.messages import StreamItem
from zmqruntime.stream import StreamStats

SHAPE = (100, 120)


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Bytes of each copy the sender makes into a slot."""
    made: list[int] = []
    copyto = np.copyto

    def counted(to: Any, source: Any, **options: Any) -> None:
        made.append(source.nbytes)
        copyto(to, source, **options)

    class Numpy:
        """`numpy` as the encoder sees it, its copies counted."""

        def __getattr__(self, name: str) -> Any:
            return counted if name == "copyto" else getattr(np, name)

    monkeypatch.setattr(encoder, "np", Numpy())
    return made


def used(sender: Any) -> int:
    sender.stream.collect()
    arena = sender._encoder._arena
    arena.free(arena.allocate(1))  # sweeps what was abandoned
    return arena.used


def test_an_array_born_in_a_slot_is_sent_without_a_copy(rig: Any, copies: list[int]) -> None:
    shelf = rig.shelf()
    sender = rig.sender()
    for value in range(20):
        image = sender.empty(SHAPE)
        image[:] = value
        sender.send([StreamItem(image)])
        del image
    assert sender.flush(5)
    assert copies == []
    assert shelf.places == ["arena"] * 20
    assert [int(copy.max()) for copy in shelf.copies] == list(range(20))
    assert used(sender) == 0
    sender.send([StreamItem(np.ones(SHAPE, "<u2"))])
    assert copies == [24_000]


@pytest.mark.parametrize("dtype", ["<u2", ">u2", "|b1", "<c16", "<f2"])
def test_every_dtype_is_born(rig: Any, copies: list[int], dtype: str) -> None:
    shelf = rig.shelf()
    sender = rig.sender()
    image = sender.empty((3, *SHAPE), dtype)
    image[:] = np.arange(3).reshape(3, 1, 1)
    sender.send([StreamItem(image)])
    assert sender.flush(5)
    assert copies == []
    assert shelf.copies[0].dtype == np.dtype(dtype)
    assert np.array_equal(
        shelf.copies[0], np.broadcast_to(np.arange(3).reshape(3, 1, 1), (3, *SHAPE)).astype(dtype)
    )


def test_an_array_that_is_dropped_unsent_gives_its_slot_back(rig: Any) -> None:
    rig.shelf()
    sender = rig.sender(arena_bytes=1 << 20)
    for _ in range(200):
        image = sender.empty((400, 400), "<u2")
        assert image.base is not None, "not in a slot"
        del image
    assert used(sender) == 0
    assert sender._encoder._born == {}


def test_a_slot_is_not_given_out_while_any_view_of_its_array_lives(rig: Any) -> None:
    shelf = rig.shelf(opened=False)
    sender = rig.sender()
    views = [
        sender.empty((1, *SHAPE))[0],
        sender.empty(SHAPE).reshape(-1),
        sender.empty(SHAPE).T[::2],
        sender.empty(SHAPE).view("u1"),
    ]
    gc.collect()
    assert used(sender) == 4
    images = [np.full(SHAPE, value, "<u2") for value in range(1, 6)]
    sender.send([StreamItem(image) for image in images])
    for view in views:  # the pipeline computes into them while other images are on their way
        view[...] = 77
    shelf.open()
    assert sender.flush(5)
    assert [int(copy.min()) for copy in shelf.copies] == [1, 2, 3, 4, 5]
    assert [int(copy.max()) for copy in shelf.copies] == [1, 2, 3, 4, 5]
    views.clear()
    del view
    assert used(sender) == 0


def test_sending_a_view_of_it_copies(rig: Any, copies: list[int]) -> None:
    shelf = rig.shelf()
    sender = rig.sender()
    image = sender.empty((2, *SHAPE))
    image[0], image[1] = 1, 2
    sender.send([StreamItem(image[0]), StreamItem(image[1])])
    assert sender.flush(5)
    assert copies == [24_000, 24_000]
    assert [int(copy.max()) for copy in shelf.copies] == [1, 2]


def test_sent_twice_in_one_batch_it_arrives_twice(rig: Any, copies: list[int]) -> None:
    shelf = rig.shelf()
    sender = rig.sender()
    image = sender.empty(SHAPE)
    image[:] = 5
    sender.send([StreamItem(image, ImageKey(z=0)), StreamItem(image, ImageKey(z=1))])
    assert sender.flush(5)
    assert copies == [image.nbytes]
    assert [int(copy.min()) for copy in shelf.copies] == [5, 5]
    assert sender.stats == StreamStats(sent=2, displayed=2)


def test_sent_again_later_it_is_an_array_like_any_other(rig: Any, copies: list[int]) -> None:
    rig.shelf()
    sender = rig.sender()
    image = sender.empty(SHAPE)
    image[:] = 5
    sender.send([StreamItem(image)])
    assert sender.flush(5)
    image[:] = 6  # one must not; but it harms nobody as long as nothing else is sent
    sender.send([StreamItem(image)])
    assert sender.flush(5)
    assert len(copies) == 1
    assert used(sender) == 0
    del image
    gc.collect()
    assert used(sender) == 0


def test_without_a_viewer_it_is_an_ordinary_array(rig: Any) -> None:
    sender = rig.sender(attach=False)
    image = sender.empty(SHAPE, "<f4")
    assert image.base is None
    assert (image.shape, image.dtype) == (SHAPE, np.dtype("<f4"))


def test_with_every_slot_in_use_it_is_an_ordinary_array(rig: Any) -> None:
    shelf = rig.shelf()
    sender = rig.sender(arena_bytes=1 << 20)
    held = [sender.empty((200, 200)) for _ in range(20)]
    assert sum(image.base is not None for image in held) == 12
    for value, image in enumerate(held):
        image[:] = value
    # All slots are held by arrays that are still computed: nobody can return a credit, so nobody waits for one.
    sender.send([StreamItem(np.full((200, 200), 99, "<u2"))], deadline=1)
    for image in held:
        sender.send([StreamItem(image)])
    assert sender.flush(5)
    assert [int(copy.max()) for copy in shelf.copies] == [99, *range(20)]


def test_an_array_outlives_its_viewer_and_is_sent_to_the_next(rig: Any, until: Any) -> None:
    first = rig.shelf()
    sender = rig.sender()
    images = [sender.empty(SHAPE) for _ in range(3)]
    for value, image in enumerate(images):
        image[:] = value
    first.stop()
    until(lambda: sender.state != "attached")
    second = rig.shelf()
    assert sender.wait_attached(10)
    fresh = [sender.empty(SHAPE) for _ in range(3)]
    for image in fresh:
        image[:] = 50
    sender.send([StreamItem(image) for image in images])
    sender.send([StreamItem(image) for image in fresh])
    assert sender.flush(5)
    assert [int(copy.min()) for copy in second.copies] == [0, 1, 2, 50, 50, 50]
    assert [int(copy.max()) for copy in second.copies] == [0, 1, 2, 50, 50, 50]
    del images, image
    gc.collect()
    assert used(sender) == 0


def test_an_array_registered_too_late_is_not_taken_for_a_slot_of_the_new_arena(rig: Any, until: Any) -> None:
    # `empty` runs without the stream's lock: the viewer may go between the slot and its registration.
    first = rig.shelf()
    sender = rig.sender()
    image = sender.empty(SHAPE)
    image[:] = 1
    entry = dict(sender._encoder._born)
    first.stop()
    until(lambda: sender.state != "attached")
    second = rig.shelf()
    assert sender.wait_attached(10)
    sender._encoder._born.update(entry)
    sender.send([StreamItem(image)])
    assert sender.flush(5)
    assert second.copies[0].min() == second.copies[0].max() == 1
    assert used(sender) == 0


def test_it_keeps_its_memory_after_the_sender_is_closed(rig: Any) -> None:
    rig.shelf()
    sender = rig.sender()
    image = sender.empty(SHAPE)
    image[:] = 3
    sender.close()
    del sender
    gc.collect()
    assert image.min() == 3


def test_small_ones_are_ordinary_and_absurd_ones_refused(rig: Any) -> None:
    rig.shelf()
    sender = rig.sender()
    assert sender.empty(10).base is None
    assert sender.empty((), "<f8").shape == ()
    assert sender.empty((0, 7)).shape == (0, 7)
    with pytest.raises(UnsupportedArrayError, match="negative"):
        sender.empty((-1, 5))
    with pytest.raises(UnsupportedArrayError, match="Python objects"):
        sender.empty(5, object)
    with pytest.raises(PayloadTooLargeError):
        sender.empty((1 << 20, 1 << 20))


def test_threads_may_make_and_drop_them_while_others_send(rig: Any) -> None:
    shelf = rig.shelf()
    sender = rig.sender(arena_bytes=2 << 20)
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for i in range(60):
                size = 20 + 17 * ((i + number) % 9)
                image = sender.empty((size, size + number))
                image[:] = number
                if i % 3:
                    sender.send([StreamItem(image, ImageKey(z=number))])
                else:
                    sender.send([StreamItem(np.full((size, 50), number, "<u2"), ImageKey(z=number))])
                del image
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert sender.flush(10)
    assert len(shelf.copies) == 360
    assert shelf.torn == 0
    for image, copy in zip(shelf.got, shelf.copies, strict=True):
        assert copy.min() == copy.max() == image.key.z
    assert used(sender) == 0


def test_the_memory_of_an_arena_goes_with_its_last_array(rig: Any) -> None:
    rig.shelf()
    sender = rig.sender()
    image = sender.empty(SHAPE)
    arena = weakref.ref(sender._encoder._arena)
    sender.close()
    del image
    gc.collect()
    assert arena() is None
