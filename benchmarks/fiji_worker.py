"""The processes of the ``fiji`` group: our way into ImageJ beside memcpy, and beside ImageJ alone.

``python -m benchmarks.fiji_worker PART ROUNDS [SIZE]`` prints what it measured as one line of JSON. Times are wall
times in microseconds (planes) or milliseconds (windows).
"""

from __future__ import annotations

import json
import mmap
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rows import BenchmarkError

Image = np.ndarray[Any, Any]

ROTATION = 8
"""Different images in turn, and as many places for numpy's copies: neither side finds its pixels in the cache."""

BATCH = 8
"""Planes that arrive at once. The first after a pause finds the processor's caches cold, with numpy as with us."""

PAUSES = {512: 0.02, 2048: 0.1}
"""Seconds between batches: 400 planes of 512x512 a second, 80 of 2048x2048."""

STACK = 300
FEW = 10

CHANNELS, SLICES = 3, 10
"""Of the stack of 30 planes."""

BATCHES = 24
FRAME = 1 / 20
"""Seconds between two updates of a window, at least: as `openhcs_viewers.fiji.viewer` does it."""

RANGE = (500.0, 800.0)


@contextmanager
def arena(size: int) -> Iterator[list[Image]]:
    """Give images in mapped memory that can only be read, as they arrive."""
    rng = np.random.default_rng(1)
    noisy = rng.normal(600, 25, (size, size)).clip(0, 65535).astype(np.uint16)
    folder = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryFile(dir=folder) as file:
        for number in range(ROTATION):
            file.write(np.roll(noisy, number).tobytes())
        file.flush()
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    yield list(np.frombuffer(mapped, np.uint16).reshape(ROTATION, size, size))


def microseconds(task: Callable[[], Any]) -> float:
    """How long a task takes."""
    begin = time.perf_counter_ns()
    task()
    return (time.perf_counter_ns() - begin) / 1e3


def engine() -> None:
    """Start Java as a viewer without windows does."""
    from openhcs_viewers.fiji.engine import EngineSettings, start_engine

    start_engine(EngineSettings.of({}, headless=True))


def planes(rounds: int, size: int) -> dict[str, Any]:
    """A plane's way from mapped memory into a preallocated stack of ImageJ, beside numpy's copy of the same.

    Ours is `HeapStore.fill` and `commit`, with the plane put into its slot of an `ij.ImageStack`. Batches of one and of
    the other take turns, and who begins takes turns, too; a batch counts with the median of its planes.
    """
    engine()
    from openhcs_viewers.fiji._java import java
    from openhcs_viewers.fiji.store import HeapStore

    store = HeapStore()
    found: dict[str, Any] = {"ours": [], "memcpy": [], "ours_mean": [], "memcpy_mean": []}
    stack = java("ij.ImageStack")(size, size, STACK)
    store.watch("stack", lambda position: stack.setPixels(store.array("stack", position), position[0] + 1))
    with arena(size) as images:
        targets = [np.zeros_like(image) for image in images]
        at = 0

        def ours(index: int) -> None:
            store.commit("stack", (index % STACK,), store.fill(images[index % ROTATION]))

        def theirs(index: int) -> None:
            np.copyto(targets[index % ROTATION], images[index % ROTATION])

        for number in range(-5, rounds):  # the first few warm up
            time.sleep(PAUSES[size])
            pair = [("ours", ours), ("memcpy", theirs)]
            for name, task in pair if number % 2 else pair[::-1]:
                times = [microseconds(lambda i=index, do=task: do(i)) for index in range(at, at + BATCH)]
                if number >= 0:
                    found[name].append(statistics.median(times))
                    found[f"{name}_mean"].append(statistics.fmean(times))
            at += BATCH
        last = store.get("stack", ((at - 1) % STACK,))
        if last is None or not np.array_equal(last, images[(at - 1) % ROTATION]):
            raise BenchmarkError("a plane arrived that is not what was sent")
    store.close()
    return found


def growth(rounds: int, size: int) -> dict[str, Any]:
    """The same for the planes of a stack that fills up: those after the first 10, and those after 290."""
    engine()
    from openhcs_viewers.fiji._java import java
    from openhcs_viewers.fiji.store import HeapStore

    store = HeapStore()
    found: dict[str, Any] = {"few": [], "many": [], "all": []}
    with arena(size) as images:
        for number in range(-1, rounds):
            stack = java("ij.ImageStack")(size, size, STACK)
            store.watch("s", lambda at, into=stack: into.setPixels(store.array("s", at), at[0] + 1))
            times = []
            for index in range(STACK):
                if index % BATCH == 0:
                    time.sleep(PAUSES[size])
                image = images[index % ROTATION]
                times.append(microseconds(lambda at=index, a=image: store.put("s", (at,), a)))
            if number >= 0:
                found["few"].append(statistics.fmean(times[FEW : 2 * FEW]))
                found["many"].append(statistics.fmean(times[-FEW:]))
                found["all"].append(statistics.fmean(times))
            store.unwatch("s")
            store.drop("s")
    store.close()
    return found


# -- with windows


@dataclass
class Arriving:
    """An image as the receiver hands it over."""

    array: Image
    key: Any
    context: Any
    kind: str = "image"
    contrast: tuple[float, float] | None = RANGE
    path: str = ""
    name: str = ""
    rois: list[Any] | None = None
    owned: bool = False
    outcome: str = field(default="", compare=False)

    def intact(self) -> bool:
        """Nobody rewrites it."""
        return True

    def credit(self) -> None:
        """Nobody waits for it."""

    def resolve(self, outcome: str, reason: str = "") -> None:
        """Take down what became of it."""
        self.outcome = f"{outcome} {reason}".strip()

    finish = resolve


class Ours:
    """Our viewer in a window of its own, pumped by hand."""

    def __init__(self) -> None:
        from openhcs_viewers.abc import ViewerSettings
        from openhcs_viewers.fiji.viewer import FijiViewer

        self.viewer = FijiViewer.create(ViewerSettings())
        self.viewer.open("bench")

    def images(self, run: str, arrays: list[Image], keys: list[dict[str, Any]]) -> list[Arriving]:
        """Images of one step of a run."""
        from polystore.components import ImageKey
        from polystore.streaming.messages import BatchContext

        context = BatchContext(run=run, step_index=1, step_name=run)
        pairs = zip(arrays, keys, strict=True)
        return [Arriving(array, ImageKey.of(well="A01", **key), context) for array, key in pairs]

    def show(self, images: list[Arriving], title: str) -> None:
        """Take images in, as the receiving thread does, do all the windows need for them, and wait for the paint."""
        self.viewer.scene.receive(images)
        while changes := self.viewer.scene.take_changes():
            self.viewer.scene.applied(changes, self.viewer.apply(changes))
        painted(window(title))

    def stream(self, batches: list[list[Arriving]], title: str) -> None:
        """Take batches in on a thread of their own, without a pause, while the window follows as when served."""

        def receive() -> None:
            for batch in batches:
                self.viewer.scene.receive(batch)

        thread = threading.Thread(target=receive)
        thread.start()
        end = time.monotonic() + 30.0
        while not all(image.outcome for batch in batches for image in batch):
            self.viewer.pump()
            if time.monotonic() > end:
                raise BenchmarkError(f"not all images of {title} are shown")
            time.sleep(FRAME)
        thread.join()
        painted(window(title))

    def check(self, images: list[Arriving], title: str) -> None:
        """Make sure that they are on show, and close their window."""
        if any(image.outcome != "displayed" for image in images):
            raise BenchmarkError(f"an image was not shown: {[image.outcome for image in images]}")
        close(title)
        self.viewer.pump()


def windows(title: str) -> list[Any]:
    """The images on show whose title has a word."""
    from openhcs_viewers.fiji._java import java

    manager = java("ij.WindowManager")
    found = [manager.getImage(identity) for identity in manager.getIDList() or ()]
    return [image for image in found if title in str(image.getTitle())]


def window(title: str) -> Any:
    """The only image whose title has a word."""
    found = windows(title)
    if len(found) != 1:
        raise BenchmarkError(f"{len(found)} windows have {title!r} in their title, not one")
    return found[0]


def painted(image: Any) -> None:
    """Wait until an image was painted: once more, for it cannot be told whether it just was. The same for all sides."""
    from openhcs_viewers.fiji._java import on_edt

    def again() -> Any:
        canvas = image.getCanvas()
        canvas.setPaintPending(True)
        canvas.repaint()
        return canvas

    canvas, end = on_edt(again), time.monotonic() + 10.0
    while canvas.getPaintPending():
        if time.monotonic() > end:
            raise BenchmarkError(f"ImageJ does not paint {image.getTitle()}")
        time.sleep(0.0002)


def close(title: str) -> None:
    """Close all windows whose title has a word."""
    from openhcs_viewers.fiji._java import on_edt

    for image in windows(title):
        image.changes = False
        on_edt(image.close)
    on_edt(lambda: None)


def native(title: str, arrays: Any, channels: int, slices: int, frames: int) -> None:
    """Make a composite hyperstack and show it, all of it inside Java: its pixels are copies of Java arrays."""
    from openhcs_viewers.fiji._java import java, on_edt

    stack = java("ij.ImageStack")(512, 512)
    for index in range(channels * slices * frames):
        stack.addSlice("", arrays[index % ROTATION].clone())
    image = java("ij.ImagePlus")(title, stack)
    image.setDimensions(channels, slices, frames)
    image.setOpenAsHyperStack(True)
    composite = java("ij.CompositeImage")(image, 1)
    for channel in range(1, channels + 1):
        composite.setC(channel)
        composite.setDisplayRange(*RANGE)
    composite.setPosition(1, 1, 1)
    on_edt(composite.show)
    painted(composite)


def java_images(images: list[Image]) -> list[Any]:
    """The same images as Java arrays."""
    from openhcs_viewers.fiji._pixels import PixelType, copy_into, new_array

    found = []
    for image in images:
        found.append(new_array(PixelType.SHORT, image.size))
        copy_into(image, found[-1], PixelType.SHORT)
    return found


def show(rounds: int, _size: int) -> dict[str, Any]:
    """30 planes arrived, built and shown by our whole path, beside what ImageJ alone needs for the same."""
    ours = Ours()
    keys = [{"channel": c + 1, "z": z + 1} for z in range(SLICES) for c in range(CHANNELS)]
    found: dict[str, Any] = {"ours": [], "native": []}
    with arena(512) as images:
        arrays = java_images(images)
        for number in range(-2, rounds):
            title = f"round{number + 2}x"
            arriving = ours.images(title, [images[i % ROTATION] for i in range(len(keys))], keys)

            def one(what: list[Arriving] = arriving, name: str = title) -> None:
                ours.show(what, name)

            def other(name: str = f"native {title}") -> None:
                native(name, arrays, CHANNELS, SLICES, 1)

            pair = [("ours", one, title), ("native", other, f"native {title}")]
            for name, task, window in pair if number % 2 else pair[::-1]:
                time.sleep(0.1)
                taken = microseconds(task) / 1e3
                if number >= 0:
                    found[name].append(taken)
                if name == "ours":
                    ours.check(arriving, window)
                else:
                    close(window)
    return found


def rebuild(rounds: int, _size: int) -> dict[str, Any]:
    """24 batches of a frame with three channels into one stack on show: grown, and rebuilt for each.

    *rebuild* is what the viewer this project started from does with a batch: every plane so far becomes a Java array
    again, number by number as JPype converts numpy's arrays; the stack is made a hyperstack by ImageJ's converter and
    shown, and the window before is closed. *bulk* is the same with our copy in place of that conversion. *ours* is all
    24 batches sent without a pause: each is taken in, and the window is brought up to date at most 20 times a second,
    as `FijiViewer.run` does. *singly* waits until each batch is on show before the next comes, so nothing is saved by
    drawing several at once. All wait for the paint. Cost is processor time of the whole process, all threads.
    """
    import jpype

    from openhcs_viewers.fiji._java import java, on_edt
    from openhcs_viewers.fiji._pixels import PixelType, copy_into, new_array

    def bulk(image: Image) -> Any:
        pixels = new_array(PixelType.SHORT, image.size)
        copy_into(image, pixels, PixelType.SHORT)
        return pixels

    def by_number(image: Image) -> Any:
        return jpype.JArray(jpype.JShort)(image.view(np.int16).ravel())

    def anew(images: list[Image], frames: int, convert: Callable[[Image], Any]) -> None:
        stack = java("ij.ImageStack")(512, 512)
        for index in range(frames * CHANNELS):
            stack.addSlice("", convert(images[index % ROTATION]))
        image = java("ij.ImagePlus")("rebuilt", stack)
        close("rebuilt")
        make = java("ij.plugin.HyperStackConverter").toHyperStack
        made = make(image, CHANNELS, 1, frames, "default", "Composite")
        for channel in range(1, CHANNELS + 1):
            made.setC(channel)
            made.setDisplayRange(*RANGE)
        made.setPosition(1, 1, 1)
        on_edt(made.show)
        painted(made)

    def batches(images: list[Image], title: str) -> Iterator[list[Arriving]]:
        for frame in range(BATCHES):
            picked = [images[(frame * CHANNELS + c) % ROTATION] for c in range(CHANNELS)]
            keys = [{"channel": c + 1, "timepoint": frame + 1} for c in range(CHANNELS)]
            yield ours.images(title, picked, keys)

    ours = Ours()
    ways = ("ours", "singly", "rebuild", "bulk")
    found: dict[str, Any] = {f"{name}{what}": [] for name in ways for what in ("", "_wall")}
    with arena(512) as images:
        for number in range(-4, rounds):  # Java compiles what it does often, and that counts, too
            stream, single = (
                list(batches(images, f"round{number}a")),
                list(batches(images, f"round{number}b")),
            )
            for name in ways if number % 2 else ways[::-1]:
                java("java.lang.System").gc()  # or one way pays for what another has left behind
                time.sleep(0.2)
                cpu, begin = time.process_time(), time.perf_counter()
                if name == "ours":
                    ours.stream(stream, f"round{number}a")
                elif name == "singly":
                    for batch in single:
                        ours.show(batch, f"round{number}b")
                else:
                    for frames in range(1, BATCHES + 1):
                        anew(images, frames, by_number if name == "rebuild" else bulk)
                cpu, wall = time.process_time() - cpu, time.perf_counter() - begin
                if [int(image.getStackSize()) for image in windows("")] != [BATCHES * CHANNELS]:
                    raise BenchmarkError(f"{name}: not one window with all planes")
                close("")
                ours.viewer.pump()
                if number >= 0:
                    found[name].append(cpu * 1e3)
                    found[f"{name}_wall"].append(wall * 1e3)
    return found


PARTS = {"planes": planes, "growth": growth, "show": show, "rebuild": rebuild}


def main() -> None:
    """Measure one part and print it."""
    print(json.dumps(PARTS[sys.argv[1]](int(sys.argv[2]), int(sys.argv[3]))), flush=True)
    os._exit(0)  # Java's threads would hold the process


if __name__ == "__main__":
    main()
