"""What a worker process does: one field at a time, through all steps, to disk and to every viewer."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from openhcs_viewers.demo._looks import Sample, choose_looks
from openhcs_viewers.demo.pipeline import (
    FieldResult,
    FieldTask,
    Job,
    Look,
    Looks,
    Step,
    StepKind,
    ViewerTarget,
    WorkerReport,
)
from openhcs_viewers.demo.plate import PlateImage
from polystore import FileManager
from polystore.backends.napari_stream import NapariStreamingBackend
from polystore.components import Component, ImageKey
from polystore.constants import Backend
from polystore.streaming import ImageSender, sender_for
from zmqruntime.errors import StreamError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from openhcs_viewers.demo.plate import FieldImages
    from polystore.projection.spec import DisplaySpec

_log = logging.getLogger(__name__)

_PLAIN = Look("auto", None)

STILL_SECONDS = 5.0
"""After how long without any outcome the end of a run no longer waits for a viewer that images are dropped for. One
that hangs is not to hold the end up either; one that works answers within milliseconds."""


@dataclass(frozen=True, slots=True)
class _Batch:
    """Images that are kept and shown together."""

    name: str
    keys: Sequence[ImageKey]
    arrays: Sequence[Any]
    paths: Sequence[str]
    look: Look
    kind: str = "image"
    store: str | None = None
    follow: bool = False


class FieldWorker:
    """Runs fields of one job. One per process; used from one thread."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.filemanager = FileManager()
        self._looks: Looks = {}
        self._failures: dict[str, str] = {}
        self._skipped: Counter[str] = Counter()
        self._senders: dict[str, ImageSender] = {}
        for target in job.targets:
            options: dict[str, Any] = {
                "policy": target.policy,
                "deadline": target.deadline,
                "starting": target.starting,
            }
            self._senders[target.kind] = sender_for(target.endpoint, **options)
            backend = NapariStreamingBackend(target.endpoint, config=target.display, run=job.run, **options)
            self.filemanager.mount(target.backend, backend)

    def look(self, sample: Sample) -> Looks:
        """Choose how a channel is shown."""
        return choose_looks(sample, self.job.steps, self.filemanager)

    def run(self, task: FieldTask) -> FieldResult:
        """Take one field through all steps.

        Raises
        ------
        polystore.StorageError
            An image cannot be read or a result cannot be saved.
        """
        begin = time.perf_counter()
        before = self._given()
        field, self._looks = task.images, task.looks
        images = list(field.images)
        arrays = self.filemanager.load_batch([image.path for image in images], "disk")
        results: dict[str, dict[str, Any]] = {}
        intensities: dict[str, float] = {}
        for index, step in enumerate(self.job.steps):
            if step.kind is StepKind.COUNT:
                chosen = self._counted(step, field, images, arrays)
                if chosen is None:
                    continue
                labels, results[step.name] = self._count(index, step, field, chosen)
                intensities = _intensities(labels, images, arrays)
            else:
                arrays = self._transform(index, step, field, images, arrays)
        after = self._given()
        sent = {kind: after[kind] - before[kind] for kind in after}
        seconds = time.perf_counter() - begin
        return FieldResult(field, results, intensities, sent, dict(self._failures), seconds)

    def report(self, timeout: float) -> WorkerReport:
        """Wait until everything sent has an outcome, `timeout` seconds at most per viewer, and say what it was."""
        stats, block_ms, settled = {}, {}, {}
        for target in self.job.targets:
            sender = self._senders[target.kind]
            settled[target.kind] = (
                sender.flush(0.0) if target.kind in self._failures else _settle(sender, target, timeout)
            )
            stats[target.kind] = sender.stats
            block_ms[target.kind] = sender.block_ms
        held = {kind: sum(each) / 1000 for kind, each in block_ms.items()}
        return WorkerReport(os.getpid(), stats, dict(self._skipped), block_ms, settled, held)

    # -- steps

    def _transform(
        self, index: int, step: Step, field: FieldImages, images: Sequence[PlateImage], arrays: Sequence[Any]
    ) -> list[Any]:
        made = list(arrays)
        paths = [image.path for image in images]
        if step.function is not None:
            made = [step.function(array, **step.params) for array in arrays]
        if step.backend == Backend.ZARR:
            plate = self.job.zarr_plate(field.plate, step)
            paths = [str(plate / self.job.zarr_name(field.plate, image.key)) for image in images]
        elif step.function is not None or step.backend is not None:
            # Under the names the microscope gave, in a folder per step: what a step makes is a plate again.
            folder = self.job.output / field.plate / step.name
            paths = [str(folder / os.path.relpath(image.path, field.root)) for image in images]
        stacks = any(image.key.z is not None for image in images)
        spotlight = self.job.spotlight == field.place
        for group, looked_at in _batches(images, spotlight):
            key = images[group[0]].key
            batch = _Batch(
                name=f"{step.name}_projection" if stacks and key.z is None else step.name,
                keys=[images[at].key for at in group],
                arrays=[made[at] for at in group],
                paths=[paths[at] for at in group],
                look=self._looks.get((field.plate, index, key.channel), _PLAIN),
                store=step.backend,
                follow=looked_at,
            )
            self._save(index, step, field, batch)
        return made

    def _counted(
        self, step: Step, field: FieldImages, images: Sequence[PlateImage], arrays: Sequence[Any]
    ) -> tuple[PlateImage, NDArray[Any]] | None:
        """The image to count in, the microscope's projection of the channel or else the maximum over z, and its
        place in the plate, without channel and z; the path is that of the first image in it."""
        channel = step.channel if step.channel is not None else self.job.counted.get(field.plate)
        planes = [one for one in zip(images, arrays, strict=True) if one[0].key.channel == channel]
        if not planes:
            _log.warning(
                "%s has no channel %r: step %r counts nothing there", field.title, channel, step.name
            )
            return None
        planes = [one for one in planes if one[0].key.z is None][:1] or planes
        first = planes[0][0]
        image = np.maximum.reduce([array for _, array in planes])
        return PlateImage(first.path, first.key.replace(channel=None, z=None)), image

    def _count(
        self, index: int, step: Step, field: FieldImages, chosen: tuple[PlateImage, NDArray[Any]]
    ) -> tuple[NDArray[Any], dict[str, Any]]:
        place, image = chosen
        metadata = {"output": str(self.job.output / field.plate), **place.key.as_dict()}
        function: Any = step.function
        labels, results = function(
            image, self.filemanager, metadata, backend=step.backend or "disk", **step.params
        )
        kept = [each for each in self.job.steps[:index] if each.backend == Backend.ZARR]
        if kept:  # with the images they were found in, where other software looks for labels
            name = self.job.zarr_name(field.plate, place.key).removesuffix(".tif")
            path = self.job.zarr_plate(field.plate, kept[-1]) / f"{name}_{step.name}_labels.tif"
            self.filemanager.save(labels, path, Backend.ZARR)
        # A viewer with a window per step moves each to the field in the spotlight.
        follow = self.job.spotlight == field.place
        batch = _Batch(step.name, [place.key], [labels], [place.path], _PLAIN, kind="labels", follow=follow)
        self._save(index, step, field, batch)
        return labels, results

    # -- stores and viewers

    def _save(self, index: int, step: Step, field: FieldImages, batch: _Batch) -> None:
        """Keep a batch in its store and show it in every viewer; store and first viewer in one call."""
        stores = [batch.store] if batch.store is not None else []
        for target in self.job.targets:
            if not target.takes(index, step):
                continue
            if target.kind in self._failures:
                self._skipped[target.kind] += len(batch.arrays)
                continue
            sender = self._senders[target.kind]
            given = sender.stats.sent
            try:
                self.filemanager.save_batch(
                    batch.arrays,
                    batch.paths,
                    [*stores, target.backend],
                    step_index=index,
                    step_name=batch.name,
                    components=[self._components(key, field) for key in batch.keys],
                    config=self._display(target.display_of(index), field, batch),
                    kind=batch.kind,
                    contrast=batch.look.contrast,
                )
            except StreamError as error:
                # The pipeline and the other viewers go on; the run ends with an exit code that says so.
                _log.error("%s takes no more images: %s", target.kind, error)
                self._failures[target.kind] = str(error)
                self._skipped[target.kind] += len(batch.arrays) - (sender.stats.sent - given)
            stores = []  # stores come before viewers in one call, so it has the batch whatever the viewer said
        if stores:
            self.filemanager.save_batch(batch.arrays, batch.paths, stores)

    def _components(self, key: ImageKey, field: FieldImages) -> dict[str, Any]:
        """All components, those the image has none of as None: what its file name says does not count then."""
        placed = {which.value: key.get(which) for which in Component}
        return {**placed, "plate": field.plate} if self.job.name_plates else placed

    def _display(self, display: DisplaySpec, field: FieldImages, batch: _Batch) -> DisplaySpec:
        known = self.job.calibrations[field.plate]
        return replace(
            display,
            colormap=batch.look.colormap if display.colormap == "auto" else display.colormap,
            scale=display.scale or known.scale,
            z_step=display.z_step or known.z_step,
            frame_interval=display.frame_interval or known.frame_interval,
            follow=display.follow or batch.follow,
        )

    def _given(self) -> Counter[str]:
        """How many images each viewer was given or refused so far, by viewer."""
        given = Counter({kind: sender.stats.sent for kind, sender in self._senders.items()})
        given.update(self._skipped)
        return given


def _batches(images: Sequence[PlateImage], spotlight: bool) -> list[tuple[list[int], bool]]:
    """Indices of images that go in one batch, one channel's projection or stack, and whether sliders follow it.

    Projections first: what comes later lies on top, and stacks are what the sliders are for. In the spotlight the
    middle plane of a full stack goes last and alone, and the sliders move there: it is the one in focus.
    """
    groups: dict[tuple[bool, Any], list[int]] = {}
    for at, image in enumerate(images):
        groups.setdefault((image.key.z is not None, image.key.channel), []).append(at)
    deepest = max(map(len, groups.values()))
    batches = []
    for place in sorted(groups, key=lambda place: place[0]):
        group = groups[place]
        if spotlight and len(group) == deepest:
            middle = group.pop(len(group) // 2)
            batches += [(group, False)] if group else []
            batches.append(([middle], True))
        else:
            # A viewer with a window for projections moves that there, too.
            batches.append((group, spotlight and not place[0]))
    return batches


def _intensities(
    labels: NDArray[Any], images: Sequence[PlateImage], arrays: Sequence[Any]
) -> dict[str, float]:
    """By channel, the mean over all cells of the brightest plane at each pixel."""
    cells = labels > 0
    if not cells.any():
        return {}
    brightest: dict[str, NDArray[Any]] = {}
    for image, array in zip(images, arrays, strict=True):
        name = str(image.key.channel)
        brightest[name] = array if name not in brightest else np.maximum(brightest[name], array)
    return {name: round(float(plane[cells].mean()), 2) for name, plane in brightest.items()}


_worker: FieldWorker | None = None


def start(job: Job) -> None:
    """Make this process a worker of the job."""
    global _worker
    logging.basicConfig(format="%(levelname)s %(processName)s: %(message)s")
    _worker = FieldWorker(job)


def look(sample: Sample) -> Looks:
    """Choose how a channel is shown, in this process's worker."""
    assert _worker is not None, "start() comes first"
    return _worker.look(sample)


def run_field(task: FieldTask) -> FieldResult:
    """Run one field in this process's worker."""
    assert _worker is not None, "start() comes first"
    return _worker.run(task)


def _settle(sender: ImageSender, target: ViewerTarget, timeout: float) -> bool:
    """Wait for outcomes, `timeout` seconds at most; return whether there is one for every image."""
    end = time.monotonic() + timeout
    # One on its way up has every right to be silent until it is there.
    patience = timeout if target.policy == "block" or target.starting else STILL_SECONDS
    while (left := end - time.monotonic()) > 0:
        before = sender.stats
        if sender.flush(min(left, patience)):
            return True
        if sender.stats == before:
            return False
    return False


def report(timeout: float) -> WorkerReport:
    """Report what this process's worker streamed."""
    assert _worker is not None, "start() comes first"
    return _worker.report(timeout)
