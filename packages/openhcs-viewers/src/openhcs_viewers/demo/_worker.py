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

from openhcs_viewers.demo.analysis import construct_path
from openhcs_viewers.demo.pipeline import FieldResult, Job, Look, Step, StepKind, ViewerTarget, WorkerReport
from polystore import FileManager
from polystore.backends.napari_stream import NapariStreamingBackend
from polystore.components import ImageKey
from polystore.streaming import ImageSender, sender_for
from zmqruntime.errors import StreamError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from openhcs_viewers.demo.plate import FieldImages, PlateImage

_log = logging.getLogger(__name__)

_PLAIN = Look("auto", None)


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


class FieldWorker:
    """Runs fields of one job. One per process; used from one thread."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.filemanager = FileManager()
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

    def run(self, field: FieldImages) -> FieldResult:
        """Take one field through all steps.

        Raises
        ------
        polystore.StorageError
            An image cannot be read or a result cannot be saved.
        """
        begin = time.perf_counter()
        before = self._given()
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
            settled[target.kind] = sender.flush(0.0 if target.kind in self._failures else timeout)
            stats[target.kind] = sender.stats
            block_ms[target.kind] = sender.block_ms
        return WorkerReport(os.getpid(), stats, dict(self._skipped), block_ms, settled)

    # -- steps

    def _transform(
        self, index: int, step: Step, field: FieldImages, images: Sequence[PlateImage], arrays: Sequence[Any]
    ) -> list[Any]:
        made = list(arrays)
        paths = [image.path for image in images]
        if step.function is not None:
            made = [step.function(array, **step.params) for array in arrays]
        if step.function is not None or step.backend is not None:
            paths = [construct_path(self._metadata(image.key, field), f"{step.name}.tif") for image in images]
        stacks = any(image.key.z is not None for image in images)
        for group in _batches(images):
            key = images[group[0]].key
            batch = _Batch(
                name=f"{step.name}_projection" if stacks and key.z is None else step.name,
                keys=[images[at].key for at in group],
                arrays=[made[at] for at in group],
                paths=[paths[at] for at in group],
                look=self.job.looks.get((field.plate, index, key.channel), _PLAIN),
                store=step.backend,
            )
            self._save(index, step, field, batch)
        return made

    def _counted(
        self, step: Step, field: FieldImages, images: Sequence[PlateImage], arrays: Sequence[Any]
    ) -> tuple[ImageKey, NDArray[Any]] | None:
        """The image to count in: the microscope's projection of the channel, else the maximum over z."""
        channel = step.channel if step.channel is not None else self.job.counted.get(field.plate)
        planes = [
            (image.key, array)
            for image, array in zip(images, arrays, strict=True)
            if image.key.channel == channel
        ]
        if not planes:
            _log.warning(
                "%s has no channel %r: step %r counts nothing there", field.title, channel, step.name
            )
            return None
        key = planes[0][0].replace(channel=None, z=None)
        flat = [array for plane, array in planes if plane.z is None]
        return key, flat[0] if flat else np.maximum.reduce([array for _, array in planes])

    def _count(
        self, index: int, step: Step, field: FieldImages, chosen: tuple[ImageKey, NDArray[Any]]
    ) -> tuple[NDArray[Any], dict[str, Any]]:
        key, image = chosen
        metadata = self._metadata(key, field)
        function: Any = step.function
        labels, results = function(
            image, self.filemanager, metadata, backend=step.backend or "disk", **step.params
        )
        path = construct_path(metadata, "labeled.tif")
        self._save(index, step, field, _Batch(step.name, [key], [labels], [path], _PLAIN, kind="labels"))
        return labels, results

    def _metadata(self, key: ImageKey, field: FieldImages) -> dict[str, Any]:
        return {"output": str(self.job.output / field.plate), **key.as_dict()}

    # -- stores and viewers

    def _save(self, index: int, step: Step, field: FieldImages, batch: _Batch) -> None:
        """Keep a batch in its store and show it in every viewer; store and first viewer in one call."""
        stores = [batch.store] if batch.store is not None else []
        for target in self.job.targets if step.streaming else ():
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
                    config=self._display(target, field, batch.look),
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
        return (key.replace(plate=field.plate) if self.job.name_plates else key).as_dict()

    def _display(self, target: ViewerTarget, field: FieldImages, look: Look) -> Any:
        display = target.display
        scale = display.scale or self.job.scales.get(field.plate)
        colormap = look.colormap if display.colormap == "auto" else display.colormap
        return replace(display, colormap=colormap, scale=scale)

    def _given(self) -> Counter[str]:
        """How many images each viewer was given or refused so far, by viewer."""
        given = Counter({kind: sender.stats.sent for kind, sender in self._senders.items()})
        given.update(self._skipped)
        return given


def _batches(images: Sequence[PlateImage]) -> list[list[int]]:
    """Indices of images that go in one batch: one channel's projection, or one channel's stack.

    Projections first: what comes later lies on top, and stacks are what the sliders are for.
    """
    groups: dict[tuple[bool, Any], list[int]] = {}
    for at, image in enumerate(images):
        groups.setdefault((image.key.z is not None, image.key.channel), []).append(at)
    return [groups[place] for place in sorted(groups, key=lambda place: place[0])]


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


def run_field(field: FieldImages) -> FieldResult:
    """Run one field in this process's worker."""
    assert _worker is not None, "start() comes first"
    return _worker.run(field)


def report(timeout: float) -> WorkerReport:
    """Report what this process's worker streamed."""
    assert _worker is not None, "start() comes first"
    return _worker.report(timeout)
