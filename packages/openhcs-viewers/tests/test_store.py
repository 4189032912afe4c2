"""Planes in memory and on disk: never half written, never more than the budget, nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openhcs_viewers._spill import SpillFile
from openhcs_viewers.errors import StoreFullError
from openhcs_viewers.store import PlaneStore, default_budget

MIB = 1024 * 1024


def plane(value: int, shape: tuple[int, ...] = (512, 512)) -> np.ndarray[Any, Any]:
    return np.full(shape, value, np.uint16)


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with_disk = PlaneStore(4 * MIB, directory=tmp_path)  # eight planes of 512x512 uint16
    yield with_disk
    with_disk.close()


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12, dtype=">u2").reshape(3, 4),
        np.asfortranarray(np.arange(12, dtype=np.float64).reshape(3, 4)),
        np.arange(24, dtype=np.int8).reshape(4, 6)[::2, ::-3],
        np.array([[True, False]]),
        np.ones((2, 2), np.float16),
        np.ones((2, 2), np.complex64) * 1j,
        np.broadcast_to(np.uint8(7), (5, 5)),
        np.arange(36, dtype=np.uint8).reshape(3, 4, 3),
    ],
    ids=lambda array: f"{array.dtype}-{array.shape}",
)
def test_planes_come_back_exactly(store: PlaneStore, array: np.ndarray[Any, Any]) -> None:
    store.put("layer", ("A01",), array)
    found = store.get("layer", ("A01",))
    assert found is not None
    np.testing.assert_array_equal(found, array)
    assert found.dtype == array.dtype.newbyteorder("=")
    assert found.flags.c_contiguous
    assert found.flags.writeable
    assert not np.shares_memory(found, array)


def test_places_without_a_plane(store: PlaneStore) -> None:
    assert store.get("layer", ("A01",)) is None
    assert store.positions("layer") == []
    assert store.count("layer") == 0
    store.drop("layer")


def test_a_replaced_planes_memory_is_used_again(store: PlaneStore) -> None:
    store.put("layer", (0,), plane(1))
    buffers = set()
    for value in range(10):
        store.put("layer", (0,), plane(value))
        found = store.get("layer", (0,))
        assert found is not None
        buffers.add(found.ctypes.data)
        del found
    assert len(buffers) <= 3
    assert store.status().planes == 1


@pytest.mark.parametrize(
    "hold", [lambda shown: shown, lambda shown: shown[5:9, ::2], lambda shown: shown.T.data]
)
def test_what_somebody_looks_at_is_never_written_to(store: PlaneStore, hold: Any) -> None:
    store.put("layer", (0,), plane(1))
    found = store.get("layer", (0,))
    held = hold(found)
    del found
    for value in range(2, 30):
        store.put("layer", (0,), plane(value))
    assert np.all(np.asarray(held) == 1)


def test_memory_that_was_given_away_is_taken_without_a_copy(store: PlaneStore) -> None:
    mine = plane(3)
    store.commit("layer", (0,), store.fill(mine, owned=True))
    found = store.get("layer", (0,))
    assert found is not None
    assert np.shares_memory(found, mine)
    del found
    for value in range(5):
        store.put("layer", (0,), plane(value))
    assert np.all(mine == 3)


def test_a_discarded_plane_was_never_there(store: PlaneStore) -> None:
    store.put("layer", (0,), plane(1))
    store.discard(store.fill(plane(2)))
    found = store.get("layer", (0,))
    assert found is not None
    assert found[0, 0] == 1
    assert store.status().bytes == found.nbytes


def test_beyond_the_budget_the_longest_unseen_go_to_disk_and_come_back(store: PlaneStore) -> None:
    for value in range(20):
        store.put("layer", (value,), plane(value))
        assert store.get("layer", (0,)) is not None  # looked at again and again: stays
    status = store.status()
    assert status.planes == 20
    assert status.bytes <= status.budget
    assert status.spilled_planes == 20 - status.bytes // plane(0).nbytes
    assert status.spilled_bytes == status.spilled_planes * plane(0).nbytes
    assert status.reads_from_disk == 0
    for value in range(20):
        found = store.get("layer", (value,))
        assert found is not None
        assert np.all(found == value)
        del found
    status = store.status()
    assert status.reads_from_disk >= 12
    assert status.bytes <= status.budget


def test_what_is_on_screen_stays_in_memory(store: PlaneStore) -> None:
    shown = []
    for value in range(4):
        store.put("layer", (value,), plane(value))
        shown.append(store.get("layer", (value,)))
    for value in range(4, 30):
        store.put("layer", (value,), plane(value))
    for value in range(4):
        assert store.get("layer", (value,)) is shown[value]
    assert store.status().reads_from_disk == 0


def test_painted_planes_come_back_painted(store: PlaneStore) -> None:
    store.put("layer", (0,), plane(0))
    for turn in range(1, 4):
        found = store.get("layer", (0,))
        assert found is not None
        found[3, 3] = turn
        store.touched("layer", (0,))
        del found
        for value in range(1, 20):
            store.put("layer", (value,), plane(value))
        found = store.get("layer", (0,))
        assert found is not None
        assert found[3, 3] == turn
        del found


def test_dropping_gives_memory_and_disk_back(store: PlaneStore) -> None:
    for value in range(20):
        store.put("one", (value,), plane(value))
        store.put("two", (value,), plane(value))
    size = store._spill.size
    store.drop("one", (0,))
    assert store.get("one", (0,)) is None
    store.drop("one")
    store.drop("two")
    status = store.status()
    assert (status.planes, status.bytes, status.spilled_planes, status.spilled_bytes) == (0, 0, 0, 0)
    for value in range(40):
        store.put("three", (value,), plane(value))
    assert store._spill.size <= size  # the file's free stretches are used again


def test_the_file_has_no_name(store: PlaneStore, tmp_path: Path) -> None:
    for value in range(20):
        store.put("layer", (value,), plane(value))
    assert store.status().spilled_planes
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_nothing_is_left_when_the_process_is_killed(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import sys, time
        import numpy as np
        from pathlib import Path
        from openhcs_viewers.store import PlaneStore
        store = PlaneStore(2**20, directory=Path(sys.argv[1]))
        for value in range(20):
            store.put("layer", (value,), np.full((512, 512), value, np.uint16))
        print(store.status().spilled_planes, flush=True)
        time.sleep(60)
        """
    )
    child = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    with child, child.stdout:
        assert int(child.stdout.readline()) > 10
        child.kill()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_a_typed_error_and_costs_nothing_that_is_there(tmp_path: Path) -> None:
    store = PlaneStore(2 * MIB, directory=tmp_path / "nowhere")
    for value in range(4):
        store.put("layer", (value,), plane(value))
    with pytest.raises(StoreFullError, match="set TMPDIR to another folder"):
        store.put("layer", (9,), plane(9))
    for value in range(4):
        found = store.get("layer", (value,))
        assert found is not None
        assert np.all(found == value)
    assert store.get("layer", (9,)) is None
    store.close()


def test_closing_twice_is_fine_and_filling_afterwards_is_refused_where_it_needs_the_disk(
    tmp_path: Path,
) -> None:
    store = PlaneStore(2 * MIB, directory=tmp_path)
    for value in range(10):
        store.put("layer", (value,), plane(value))
    store.close()
    store.close()
    assert store.status().planes == 0
    for value in range(4):
        store.put("layer", (value,), plane(value))
    with pytest.raises(StoreFullError, match="closed"):
        store.put("layer", (4,), plane(4))


def test_one_thread_writes_while_another_reads(store: PlaneStore) -> None:
    """Every plane read is whole: all its pixels are of one write."""
    done = threading.Event()
    torn: list[Any] = []

    def read() -> None:
        while not done.is_set():
            for position in range(12):
                found = store.get("layer", (position,))
                if found is not None:
                    first = found[0, 0]
                    if not np.all(found == first):
                        torn.append((position, first))

    reader = threading.Thread(target=read)
    reader.start()
    for turn in range(40):
        for position in range(12):  # more than the budget holds
            store.put("layer", (position,), plane(turn * 12 + position))
    done.set()
    reader.join()
    assert not torn
    for position in range(12):
        found = store.get("layer", (position,))
        assert found is not None
        assert np.all(found == 39 * 12 + position)


def test_the_default_budget_is_half_of_the_memory() -> None:
    assert 0 < default_budget() <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def test_free_stretches_of_the_file_grow_together(tmp_path: Path) -> None:
    file = SpillFile(tmp_path)
    arrays = [np.full(100, value, np.uint8) for value in range(6)]
    regions = [file.write(array) for array in arrays]
    for at in (1, 3, 2):
        file.free(regions[at])
    large = file.write(np.full(300, 9, np.uint8))
    assert large.offset == regions[1].offset
    into = np.empty(100, np.uint8)
    for at in (0, 4, 5):
        file.read(regions[at], into)
        assert np.all(into == at)
    assert file.size == 600
    file.close()
