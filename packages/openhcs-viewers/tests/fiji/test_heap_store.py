"""Planes in Java's memory: never half there, never more than the budget, nothing left behind."""

from __future__ import annotations

import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from openhcs_viewers.errors import StoreFullError
from openhcs_viewers.fiji import _pixels, _pool
from openhcs_viewers.fiji._java import java
from openhcs_viewers.fiji._pixels import PixelType
from openhcs_viewers.fiji._pool import ArrayPool
from openhcs_viewers.fiji.store import HeapStore
from openhcs_viewers.scene import Scene
from openhcs_viewers.store import Store
from polystore.components import ImageKey
from polystore.errors import ProjectionError
from polystore.streaming.messages import BatchContext

pytestmark = pytest.mark.usefixtures("engine")

MIB = 1024 * 1024


def plane(value: int, shape: tuple[int, ...] = (512, 512), dtype: str = "uint16") -> np.ndarray[Any, Any]:
    return np.full(shape, value, dtype)


def wait_for(condition: Callable[[], Any], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.002)


@pytest.fixture
def store(engine: Any) -> Iterator[HeapStore]:
    found = HeapStore(4 * MIB)  # eight planes of 512x512 uint16
    yield found
    found.close()


def test_it_is_a_store(store: HeapStore) -> None:
    assert_store: Store = store
    assert assert_store.get("layer", ("A01",)) is None
    assert store.plane("layer", ("A01",)) is None
    assert store.array("layer", ("A01",)) is None
    assert store.positions("layer") == []
    assert store.count("layer") == 0
    store.drop("layer")


def test_planes_by_place(store: HeapStore) -> None:
    store.put("layer", (2,), plane(2))
    store.put("layer", (1,), plane(1, (4, 6), "uint8"))
    store.put("layer", (2,), plane(3))
    assert store.positions("layer") == [(2,), (1,)]
    assert store.count("layer") == 2
    found = store.get("layer", (2,))
    assert found is not None
    np.testing.assert_array_equal(found, plane(3))
    held = store.plane("layer", (1,))
    assert held is not None
    assert (held.type, held.shape, held.nbytes) == (PixelType.BYTE, (4, 6), 24)
    assert list(held.pixels) == [1] * 24
    status = store.status()
    assert (status.planes, status.bytes, status.budget) == (2, 512 * 512 * 2 + 24, 4 * MIB)
    assert (status.spilled_planes, status.spilled_bytes, status.reads_from_disk) == (0, 0, 0)


def test_bytes_are_those_of_the_java_array(store: HeapStore) -> None:
    store.put("layer", (0,), plane(1, (10, 10), "float64"))
    assert store.status().bytes == 400
    store.put("layer", (0,), plane(1, (10, 10, 3), "uint8"))
    assert store.status().bytes == 400
    store.put("layer", (0,), plane(1, (10, 10), "bool"))
    assert store.status().bytes == 100


def test_dropping_frees(store: HeapStore) -> None:
    for value in range(5):
        store.put("layer", (value,), plane(value))
    store.put("other", (0,), plane(9))
    store.drop("layer", (1,))
    assert store.positions("layer") == [(0,), (2,), (3,), (4,)]
    assert store.status().bytes == 5 * MIB // 2
    store.drop("layer")
    assert (store.count("layer"), store.count("other")) == (0, 1)
    assert store.status().bytes == MIB // 2
    store.close()
    assert (store.status().planes, store.status().bytes, store.status().pool_bytes) == (0, 0, 0)


def test_the_watcher_is_told_when_a_plane_is_there_or_gone(store: HeapStore) -> None:
    seen: list[Any] = []

    def watcher(position: Any) -> None:  # what is told is so by then, and no lock is held
        found = store.plane("layer", position)
        seen.append((position, found and (found.pixels[0], found.type, found.shape), threading.get_ident()))

    store.put("layer", (0,), plane(1))
    store.watch("layer", watcher)
    filled = store.fill(plane(2))
    assert seen == []
    store.commit("layer", (1,), filled)
    store.put("other", (1,), plane(3))
    store.put("layer", (1,), plane(4, (3, 5), "uint8"))
    store.drop("layer", (1,))
    store.put("layer", (0,), plane(5))
    store.drop("layer")
    store.unwatch("layer")
    store.put("layer", (2,), plane(6))
    here = threading.get_ident()
    assert seen == [
        ((1,), (2, PixelType.SHORT, (512, 512)), here),
        ((1,), (4, PixelType.BYTE, (3, 5)), here),
        ((1,), None, here),
        ((0,), (5, PixelType.SHORT, (512, 512)), here),
    ]
    store.unwatch("never watched")


def test_java_collects_a_replaced_plane(store: HeapStore) -> None:
    store.put("layer", (0,), plane(1))
    kept, gone = plane(7), java("java.lang.ref.WeakReference")(store.array("layer", (0,)))
    assert gone.get() is not None
    store.put("layer", (0,), kept)
    java("java.lang.System").gc()
    assert gone.get() is None
    found = store.get("layer", (0,))
    assert found is not None
    np.testing.assert_array_equal(found, kept)


def test_a_plane_on_screen_is_never_written_to(store: HeapStore) -> None:
    store.put("layer", (0,), plane(1))
    shown = store.array("layer", (0,))
    for value in range(2, 30):
        store.put("layer", (0,), plane(value))
    assert set(shown) == {1}


# -- the budget


def test_beyond_the_budget_planes_are_refused(store: HeapStore) -> None:
    for value in range(8):
        store.put("layer", (value,), plane(value))
    with pytest.raises(StoreFullError, match="--budget"):
        store.put("layer", (8,), plane(8))
    status = store.status()
    assert (status.planes, status.bytes) == (8, 4 * MIB)
    wait_for(lambda: store.status().pool_bytes == 0)
    store.drop("layer", (3,))
    store.put("layer", (8,), plane(8))
    assert store.count("layer") == 8


def test_a_full_store_says_so_and_takes_smaller_ones(store: HeapStore) -> None:
    with pytest.raises(StoreFullError, match=f"{5 * MIB} bytes do not fit"):
        store.fill(plane(0, (1, 5 * MIB), "uint8"))
    store.put("layer", (0,), plane(0, (1, 4 * MIB), "uint8"))
    assert store.status().bytes == store.budget


def test_without_a_budget_java_s_heap_is_the_limit(engine: Any) -> None:
    store = HeapStore()
    assert MIB < store.budget < int(java("java.lang.Runtime").getRuntime().maxMemory())
    store.close()


def test_a_discarded_plane_was_never_there(store: HeapStore) -> None:
    store.put("layer", (0,), plane(1))
    store.discard(store.fill(plane(2)))
    store.discard(store.fill(plane(2, dtype="int32")))
    assert store.status().bytes == MIB // 2
    found = store.get("layer", (0,))
    assert found is not None
    assert found[0, 0] == 1


@pytest.mark.parametrize("array", [plane(0, (0, 4)), plane(0, (4, 4, 4, 4)), np.empty((2, 2), object)])
def test_what_cannot_be_shown_leaves_nothing(store: HeapStore, array: Any) -> None:
    with pytest.raises(ProjectionError):
        store.fill(array)
    assert store.status().bytes == 0


@pytest.mark.parametrize("dtype", ["uint16", "int32"])
def test_a_copy_that_fails_leaves_nothing(
    store: HeapStore, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> None:
        raise MemoryError("none")

    with monkeypatch.context() as patch:
        patch.setattr(_pixels, "_copy", fails)
        for _ in range(20):
            with pytest.raises(MemoryError, match="none"):
                store.fill(plane(1, dtype=dtype))
    assert store.status().bytes == 0
    store.put("layer", (0,), plane(1, dtype=dtype))


def test_a_full_java_is_an_error_that_helps_and_no_end(python: Callable[..., Any]) -> None:
    code = """
import jpype, numpy as np, os, sys, time
jpype.startJVM("-Xmx64m", "-Djava.awt.headless=true")
from openhcs_viewers.errors import StoreFullError
from openhcs_viewers.fiji.store import HeapStore
store = HeapStore(10**10)
planes = 0
try:
    while planes < 100:
        store.put("layer", (planes,), np.full((1024, 1024), planes, np.uint16))
        planes += 1
except StoreFullError as error:
    print(error)
end = time.monotonic() + 10
while store.status().pool_bytes and time.monotonic() < end:
    time.sleep(0.01)
held = store.status()
assert held.planes == planes and held.bytes == planes * 2**21 and held.pool_bytes == 0, held
assert planes > 10
for position in range(planes):
    assert (store.get("layer", (position,)) == position).all()
store.drop("layer")
store.put("layer", (0,), np.full((1024, 1024), 5, np.uint16))
assert (store.get("layer", (0,)) == 5).all()
print("alive")
sys.stdout.flush()
os._exit(0)
"""
    result = python("-c", code)
    assert result.returncode == 0, result.stderr
    assert "Java has no memory for 2097152 bytes more: its heap of 67108864 bytes is full" in result.stdout
    assert "--budget" in result.stdout
    assert result.stdout.endswith("alive\n")


# -- with a scene


@dataclass
class Arriving:
    """An image as the receiver hands it over."""

    array: Any
    kind: str = "image"
    torn: bool = False
    key: ImageKey = field(default_factory=lambda: ImageKey.of(well="A01"))
    context: Any = field(default_factory=lambda: BatchContext(run="run", step_index=1, step_name="blur"))
    contrast: tuple[float, float] | None = None
    path: str = ""
    name: str = ""
    rois: list[Any] | None = None
    owned: bool = False
    credits: int = 0
    outcome: str = ""
    reason: str = ""

    def intact(self) -> bool:
        return not self.torn

    def credit(self) -> None:
        self.credits += 1

    def resolve(self, outcome: str, reason: str = "") -> None:
        self.outcome, self.reason = outcome, reason

    def finish(self, outcome: str, reason: str = "") -> None:
        self.credit()
        self.resolve(outcome, reason)


def test_memory_rewritten_while_it_was_copied_is_not_shown(store: HeapStore) -> None:
    scene = Scene(store)
    for array in (plane(1), plane(1, dtype="int32"), plane(1, (3, 64, 64))):
        image = Arriving(array, torn=True)
        scene.receive([image])
        assert (image.outcome, image.credits) == ("dropped", 1)
        assert "rewritten" in image.reason
    assert (store.status().planes, store.status().bytes) == (0, 0)


def test_a_full_store_drops_the_image_and_says_why(store: HeapStore) -> None:
    image = Arriving(plane(1, (12, 512, 512)))
    Scene(store).receive([image])
    assert (image.outcome, image.credits) == ("dropped", 1)
    assert "--budget" in image.reason
    assert (store.status().planes, store.status().bytes) == (0, 0)


@pytest.mark.parametrize("kind, value", [("image", 255), ("labels", 1)])
def test_truth_depends_on_the_kind_of_image(store: HeapStore, kind: str, value: int) -> None:
    scene = Scene(store)
    image = Arriving(np.array([[True, False]]), kind=kind)
    scene.receive([image])
    (created,) = scene.take_changes().created
    (position,) = store.positions(created.layer_id)
    found = store.get(created.layer_id, position)
    assert found is not None
    assert found.tolist() == [[value, 0]]


def test_display_ranges_are_those_of_the_pixels_shown(store: HeapStore) -> None:
    ramp = np.arange(-50, 50).repeat(100).reshape(100, 100)
    for dtype in ("int16", "float32", "float64"):
        scene = Scene(store)
        scene.receive([Arriving(ramp.astype(dtype))])
        (created,) = scene.take_changes().created
        low, high = created.contrast or (0.0, 0.0)
        assert -51 < low < -48
        assert 48 < high < 51
        assert created.dtype == "float32"


# -- arrays made ahead


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many arrays were made by the thread whose job it is (its name) and by who waited for one ("")."""
    found: Counter[str] = Counter()
    make = _pool.new_array

    def counted(*arguments: Any) -> Any:
        mine = threading.current_thread() is threading.main_thread()
        found["" if mine else threading.current_thread().name] += 1
        return make(*arguments)

    monkeypatch.setattr(_pool, "new_array", counted)
    return found


@pytest.fixture
def pool(engine: Any) -> Iterator[ArrayPool]:
    found = ArrayPool(lambda: MIB)
    yield found
    found.close()


def ready(pool: ArrayPool) -> int:
    return sum(map(len, pool._ready.values()))


def test_planes_get_arrays_that_are_there_already(store: HeapStore, made: Counter[str]) -> None:
    array = plane(1, (64, 64))
    store.put("layer", (0,), array)
    for position in range(1, 30):
        wait_for(lambda: store.status().pool_bytes == _pool.FIRST * array.nbytes and ready(store._pool) == 4)
        store.put("layer", (position,), array)
    assert made[""] == 1  # the first: nobody knew what would come
    assert made["java-arrays"] >= 29


def test_more_are_kept_ready_where_planes_had_to_wait(pool: ArrayPool, made: Counter[str]) -> None:
    waited = []
    for _ in range(6):
        before = made[""]
        for _ in range(12):
            pool.take(PixelType.BYTE, 100)
        waited.append(made[""] - before)
        wait_for(lambda: ready(pool) == pool._wanted[PixelType.BYTE, 100])
        assert pool.nbytes == 100 * ready(pool)
    assert waited[0] > 0
    assert waited[-1] == 0
    assert ready(pool) >= 12


def test_what_is_ready_is_zero_and_nobody_else_s(pool: ArrayPool) -> None:
    first = pool.take(PixelType.FLOAT, 10)
    wait_for(lambda: ready(pool) == _pool.FIRST)
    others = [pool.take(PixelType.FLOAT, 10) for _ in range(_pool.FIRST)]
    first[:] = [1.0] * 10
    others[0][:] = [2.0] * 10
    assert all(set(one) == {0.0} for one in others[1:])


def test_it_never_holds_more_than_it_may(engine: Any) -> None:
    room = [10_000]
    pool = ArrayPool(lambda: room[0])
    try:
        for _ in range(100):
            pool.take(PixelType.BYTE, 3000)
            assert pool.nbytes <= 10_000
            time.sleep(0.001)
        wait_for(lambda: ready(pool) == 3)
        for pixels in range(1, 100):
            pool.take(PixelType.BYTE, pixels)
        assert len(pool._ready) <= _pool.KINDS
        pool.take(PixelType.BYTE, 20_000)
        assert pool.nbytes <= 10_000
    finally:
        pool.close()
    assert (pool.nbytes, ready(pool), pool.working) == (0, 0, False)


def test_the_thread_ends_when_nothing_comes_and_starts_again(
    pool: ArrayPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_pool, "IDLE_SECONDS", 0.03)
    for _ in range(3):
        pool.take(PixelType.SHORT, 100)
        assert pool.working
        wait_for(lambda: not pool.working)
        wait_for(lambda: not [one for one in threading.enumerate() if one.name == "java-arrays"])
        assert 0 < ready(pool) <= 2 * _pool.FIRST
        assert pool.nbytes == 200 * ready(pool)


def test_none_are_made_after_the_end(pool: ArrayPool) -> None:
    pool.take(PixelType.SHORT, 100)
    pool.close()
    assert len(pool.take(PixelType.SHORT, 100)) == 100
    assert (pool.working, pool.nbytes) == (False, 0)
    pool.close()


def test_where_java_has_no_memory_it_rests(
    pool: ArrayPool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    make, tries = _pool.new_array, Counter[bool]()

    def full(to: PixelType, pixels: int) -> Any:
        ahead = threading.current_thread() is not threading.main_thread()
        tries[ahead] += 1
        # As large as no Java allows: a real OutOfMemoryError.
        return make(to, 2**31 - 1 if ahead else pixels)

    monkeypatch.setattr(_pool, "new_array", full)
    for _ in range(10):
        assert len(pool.take(PixelType.BYTE, 100)) == 100
        wait_for(lambda: not pool.working)
    assert (tries[True], tries[False]) == (1, 10)
    assert pool.nbytes == 0
    assert caplog.text.count("heap is full") == 1
    monkeypatch.setattr(_pool, "new_array", make)
    pool._rest_until = 0.0
    pool.take(PixelType.BYTE, 100)
    wait_for(lambda: ready(pool) == _pool.FIRST)


@pytest.mark.parametrize("dtypes", [("uint16",), ("uint16", "float32", "uint8")])
def test_its_memory_is_part_of_the_budget(store: HeapStore, dtypes: tuple[str, ...]) -> None:
    for value in range(6):
        array = plane(value, dtype=dtypes[value % len(dtypes)])
        store.put("layer", (value,), array)
        status = store.status()
        # One may be on its way to the pool while the pool is told that there is no room.
        assert status.bytes + status.pool_bytes <= status.budget + MIB
        assert status.pool_bytes <= MIB
        time.sleep(0.02)
    wait_for(lambda: store.status().bytes + store.status().pool_bytes <= store.budget)


# -- for a whole day


def calls(task: Callable[[], Any]) -> int:
    """How many functions a task calls on this thread."""
    count = 0

    def profile(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        task()
    finally:
        sys.setprofile(None)
    return count


def test_the_thousandth_plane_costs_what_the_tenth_did(store: HeapStore) -> None:
    array, costs = plane(1, (8, 8)), {}
    store.watch("layer", lambda *_: None)
    for number in range(1001):
        if number in (10, 1000):
            wait_for(lambda: ready(store._pool) > 0 and store._pool.working)
            costs[number] = calls(lambda at=number: store.put("layer", (at,), array))  # type: ignore[misc]
        else:
            store.put("layer", (number,), array)
    assert costs[10] == costs[1000] < 100


def java_says(command: str) -> str:
    """What a command of the JVM's own diagnosis prints."""
    management = java("java.lang.management.ManagementFactory").getPlatformMBeanServer()
    strings, objects = java("java.lang.String[]"), java("java.lang.Object[]")
    name = java("javax.management.ObjectName")("com.sun.management:type=DiagnosticCommand")
    return str(management.invoke(name, command, objects([strings(0)]), strings(["[Ljava.lang.String;"])))


def references() -> tuple[int, int]:
    """Java's references held from outside, and the direct buffers that are alive."""
    java("java.lang.System").gc()
    found = re.search(r"JNI global refs: (\d+)", java_says("threadPrint"))
    assert found
    buffers = re.search(r" (\d+) +\d+ +java\.nio\.DirectByteBuffer ", java_says("gcClassHistogram"))
    return int(found[1]), int(buffers[1]) if buffers else 0


def test_ten_thousand_planes_leave_no_references_in_java(engine: Any) -> None:
    arrays = [plane(1, (16, 16), dtype) for dtype in ("uint8", "uint16", "float32", "int32")]
    arrays.append(plane(1, (16, 16, 3), "uint8"))

    def stream(count: int) -> tuple[int, int]:
        store = HeapStore(4 * MIB)
        for number in range(count):
            store.put("layer", (number % 10,), arrays[number % 5])
        store.close()
        return references()

    before = stream(100)
    after = stream(10_000)
    assert after[0] <= before[0] + 20
    assert after[1] <= before[1]


def test_many_threads_at_once(engine: Any) -> None:
    store = HeapStore(64 * MIB)
    errors: list[BaseException] = []

    def work(layer: str) -> None:
        try:
            for number in range(200):
                dtype = ("uint16", "int32", "uint8")[number % 3]
                store.put(layer, (number % 7,), plane(number, (40, 50), dtype))
                found = store.get(layer, (number % 7,))
                assert found is not None
                assert (found == number % (256 if dtype == "uint8" else 2**16)).all()
                if number % 13 == 0:
                    store.drop(layer, (number % 7,))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(f"layer {number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    held = [store.plane(f"layer {n}", at) for n in range(4) for at in store.positions(f"layer {n}")]
    assert store.status().planes == len(held)
    assert store.status().bytes == sum(one.nbytes for one in held if one is not None)
    store.close()
