"""One-shot segments: exact whatever the dtype and order, and never a name left behind."""

from __future__ import annotations

import gc
import os
from typing import Any

import numpy as np
import pytest

from polystore.errors import NoSharedMemoryError
from polystore.payload import segment, shm

ARRAYS = {
    "uint16": np.arange(600, dtype="<u2").reshape(20, 30),
    "big endian": np.arange(600).reshape(20, 30).astype(">u4"),
    "complex": (np.arange(6) + 1j).reshape(2, 3),
    "big endian complex": (np.arange(6) - 2j).astype(">c8"),
    "float16": np.arange(6, dtype="<f2"),
    "bool": np.array([True, False, True]),
    "Fortran order": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "every second": np.arange(100, dtype=np.int64)[::-2],
    "one number": np.array(3.5),
}


@pytest.fixture(autouse=True)
def _no_names_left() -> Any:
    before = _our_names()
    yield
    assert _our_names() <= before


def _our_names() -> set[str]:
    return {name for name in os.listdir(shm.SHM_DIR) if name.startswith(f"polystore-{os.getpid()}-")}


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_arrives_exactly_read_only_and_without_a_name(name: str) -> None:
    array = ARRAYS[name]
    there = segment.publish(array)
    assert there in os.listdir(shm.SHM_DIR)
    seen = segment.receive(there, array.nbytes, array.shape, array.dtype)
    assert there not in os.listdir(shm.SHM_DIR)
    assert seen.dtype == array.dtype
    assert np.array_equal(seen, array)
    assert not seen.flags.writeable


def test_the_memory_goes_with_the_array() -> None:
    def mapped() -> int:
        with open("/proc/self/maps") as maps:
            return sum("polystore-" in line for line in maps)

    gc.collect()
    before = mapped()
    seen = segment.receive(segment.publish(np.zeros(1 << 16)), 1 << 19, (1 << 16,), np.dtype(float))
    part = seen[10:20]
    del seen
    assert mapped() == before + 1
    assert part.sum() == 0
    del part
    gc.collect()
    assert mapped() == before


def test_a_segment_that_is_gone_or_another_is_refused() -> None:
    with pytest.raises(NoSharedMemoryError, match="cannot open"):
        segment.receive("polystore-1-1-1", 8, (1,), np.dtype(float))
    name = segment.publish(np.zeros(2))
    with pytest.raises(NoSharedMemoryError, match="not what was offered: 16 bytes.*not 8 of yours"):
        segment.receive(name, 8, (1,), np.dtype(float))
    assert shm.unlink(name)


def test_more_than_half_of_what_is_free_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shm, "free_bytes", lambda: 1000)
    segment.receive(segment.publish(np.zeros(500, np.uint8)), 500, (500,), np.dtype("u1"))
    with pytest.raises(NoSharedMemoryError, match="501 bytes are more than half"):
        segment.publish(np.zeros(501, np.uint8))


def test_a_disk_that_fills_up_meanwhile_leaves_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(NoSharedMemoryError, match="cannot fill 8 bytes.*No space left"):
        segment.publish(np.zeros(1))
    monkeypatch.undo()
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(NoSharedMemoryError, match="cannot reserve 8 bytes.*polystore shm gc.*shm-size"):
        segment.publish(np.zeros(1))
