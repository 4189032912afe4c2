"""Copying a plate into a store of its own: `copy_plate`, which goes on where it was stopped."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, TypeAlias

import numpy as np

from polystore._auto import backend_for
from polystore._copy_identity import RECORD, Copy, differs, load_plane, own_images, record_of
from polystore._paths import StrPath, check_path, join
from polystore.abc import DataSource, StorageBackend, SupportsPlates
from polystore.components import Component, ImageKey, Value, canonical
from polystore.errors import (
    BatchError,
    ComponentError,
    PolystoreError,
    UnsupportedArrayError,
    UnsupportedFormatError,
)
from polystore.filemanager import FileManager
from polystore.microscopes import parse_path
from polystore.plate import PlaneRef, PlateIndex
from polystore.virtual_names import numbered, virtual_name

__all__ = [
    "CopyPlan",
    "CopyReport",
    "Failure",
    "Progress",
    "copy_plate",
    "plan_copy",
    "select",
    "verify_copy",
]

BATCH_PLANES = 64
"""Most planes saved in one call: a store writes the metadata of a field once for each."""

BATCH_BYTES = 64 << 20
"""Most pixels a worker holds before it saves them."""

Progress: TypeAlias = Callable[[int, int], None]
"""Is told after each step how many planes are done and how many bytes of pixels they were, in all."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A plane that was not copied, or is not the same.

    Parameters
    ----------
    source
        Its file.
    target
        Its name in the target.
    reason
        Why.
    """

    source: str
    target: str
    reason: str


@dataclass(frozen=True, slots=True)
class CopyPlan:
    """What a copy will do.

    Parameters
    ----------
    index
        The planes that are wanted, and what is known of the plate; keys as they will be in the target.
    target, backend
        Where to.
    missing
        Planes that are to be copied, in order, field by field.
    present
        How many of the planes are there already.
    replaces
        Whether images of the target are replaced. Until that is done none of them counts as copied, so that
        one that was stopped begins anew and does not take an old image for a new one.
    removes
        Images of another plate's copy, which are removed before anything is copied.
    """

    index: PlateIndex
    target: str
    backend: str
    missing: tuple[PlaneRef, ...]
    present: int
    replaces: bool = False
    removes: tuple[str, ...] = ()

    def name(self, plane: PlaneRef) -> str:
        """The path of a plane in the target."""
        return join(self.target, virtual_name(plane.key))


@dataclass(frozen=True, slots=True)
class CopyReport:
    """What a copy did.

    Parameters
    ----------
    copied, present
        Planes that were copied, and those that were there already.
    nbytes
        Bytes of pixels that were copied.
    failures
        Planes whose source is broken or cannot be kept in the target; all others are there.
    """

    copied: int
    present: int
    nbytes: int
    failures: tuple[Failure, ...] = ()


def select(
    index: PlateIndex, wells: Iterable[str] | None = None, channels: Iterable[str | int] | None = None
) -> PlateIndex:
    """The part of a plate in some wells and channels; a channel by its value or by its name.

    Raises
    ------
    ComponentError
        The plate has no such well or channel; the text lists those it has.
    """
    wanted: dict[Component, set[Value]] = {}
    if wells is not None:
        wanted[Component.WELL] = {value for well in wells for value in _known(index, Component.WELL, well)}
    if channels is not None:
        found = (_known(index, Component.CHANNEL, channel) for channel in channels)
        wanted[Component.CHANNEL] = {value for values in found for value in values}

    def is_wanted(key: ImageKey) -> bool:
        return all(key.get(which) in values for which, values in wanted.items())

    planes = tuple(plane for plane in index.planes if is_wanted(plane.key))
    return replace(index, planes=planes, missing=tuple(key for key in index.missing if is_wanted(key)))


def plan_copy(
    index: PlateIndex,
    target: StrPath,
    *,
    filemanager: FileManager | None = None,
    backend: str = "auto",
    overwrite: bool = False,
) -> CopyPlan:
    """What `copy_plate` will do, from a listing of the target; nothing is written.

    Raises
    ------
    AlreadyExistsError
        The target holds images that this did not copy; or it is a copy of another plate, and ``overwrite`` is
        false or more than that copy is in it.
    ComponentError
        Planes that cannot be named, see `polystore.virtual_names.numbered`.
    """
    filemanager = filemanager or FileManager()
    target = check_path(target).rstrip("/") or "/"
    if backend == "auto":
        backend = backend_for(target)
    keys, info = numbered(index)
    planes = tuple(replace(plane, key=keys[plane.key]) for plane in index.planes)
    planes = tuple(sorted(planes, key=lambda plane: plane.key.sort_key()))
    tidy = replace(index, planes=planes, info=info)
    there: set[str] = set()
    if filemanager.exists(target, backend):
        there = {path.rpartition("/")[2] for path in filemanager.list_files(target, backend)}
    names = [virtual_name(plane.key) for plane in planes]
    present = there.intersection(names)
    replaces = overwrite
    removes: tuple[str, ...] = ()
    if any(parse_path(name) != ImageKey() for name in there):
        both = [plane for plane, name in zip(planes, names, strict=True) if name in present]
        state = Copy(tidy, target, backend, filemanager).state(both, overwrite=overwrite)
        if state == "another":
            removes = own_images(filemanager, target, backend)
            present = set()
        replaces = overwrite or state == "being replaced"
    replaces = replaces and bool(present)
    if replaces:
        present = set()
    missing = tuple(plane for plane, name in zip(planes, names, strict=True) if name not in present)
    return CopyPlan(tidy, target, backend, missing, len(present), replaces, removes)


def copy_plate(
    plan: CopyPlan,
    *,
    filemanager: FileManager | None = None,
    workers: int = 2,
    progress: Progress | None = None,
    **options: Any,
) -> CopyReport:
    """Copy the planes that are missing in the target, several fields at a time.

    A plane is whole in the target or not there, so a copy that was stopped, also by ``kill -9``, is finished by
    planning and copying again. A plane that cannot be read, or not kept, is reported and the others are copied.

    Parameters
    ----------
    plan
        As `plan_copy` made it.
    filemanager
        Finds both backends; by default a new one.
    workers
        Threads.
    progress
        Called in this thread.
    **options
        For the target's backend: ``compression=``.

    Raises
    ------
    StorageError
        The target cannot be written to: a full disk, no rights. What was copied stays.
    """
    filemanager = filemanager or FileManager()
    sink = filemanager.backend(plan.backend)
    source = filemanager.backend(plan.index.backend)
    if not isinstance(sink, StorageBackend) or not isinstance(source, DataSource):
        raise UnsupportedFormatError(
            f"{plan.index.backend!r} cannot be read, or {plan.backend!r} not written"
        )
    if plan.missing or not plan.present:
        _remove(sink, plan)
        sink.mkdir(plan.target)
        _record(sink, plan, replacing=plan.replaces)
        if isinstance(sink, SupportsPlates):
            sink.describe(plan.target, plan.index.info)
    if plan.backend == "disk" and plan.index.info.pixel_size_um is not None:
        options.setdefault("pixel_size", plan.index.info.pixel_size_um)
    stop = threading.Event()

    def work(planes: Sequence[PlaneRef], tell: _Tell) -> None:
        for batch in _loaded(source, plan, planes, tell, stop):
            if batch:
                _save(sink, plan, batch, options, tell)

    total = _run(work, _tasks(plan.missing, workers), workers, progress, stop)
    if plan.replaces:
        _record(sink, plan, replacing=False)
    return CopyReport(total.planes, plan.present, total.nbytes, tuple(total.failures))


def verify_copy(
    plan: CopyPlan,
    *,
    filemanager: FileManager | None = None,
    workers: int = 2,
    progress: Progress | None = None,
    skip: Iterable[Failure] = (),
) -> tuple[Failure, ...]:
    """Load every plane from both sides and return those that are not the same to the last bit.

    Parameters
    ----------
    plan
        What was copied.
    filemanager, workers, progress
        As for `copy_plate`.
    skip
        Planes that are known not to be there.
    """
    filemanager = filemanager or FileManager()
    sink: DataSource = filemanager.backend(plan.backend)
    source: DataSource = filemanager.backend(plan.index.backend)
    stop = threading.Event()
    known = {failure.target for failure in skip}

    def work(planes: Sequence[PlaneRef], tell: _Tell) -> None:
        for plane in planes:
            if stop.is_set():
                return
            name = plan.name(plane)
            if name in known:
                continue
            try:
                first, second = load_plane(source, plan.index, plane), np.asarray(sink.load(name))
            except PolystoreError as exc:
                tell.failures.append(Failure(plan.index.path_of(plane), name, f"cannot be compared: {exc}"))
                continue
            tell.nbytes += first.nbytes
            what = differs(first, second)
            if what:
                tell.failures.append(Failure(plan.index.path_of(plane), name, f"not the same: {what}"))
            else:
                tell.planes += 1

    return tuple(_run(work, _tasks(plan.index.planes, workers), workers, progress, stop).failures)


# -- inside


@dataclass(slots=True)
class _Tell:
    """What a worker has done so far; read by the thread that reports."""

    planes: int
    nbytes: int
    failures: list[Failure]


_Work: TypeAlias = Callable[[Sequence[PlaneRef], _Tell], None]
_Batch: TypeAlias = list[tuple[PlaneRef, Any]]

_BETWEEN_REPORTS = 0.1
_PARTS_PER_WORKER = 8
_OF_THE_VALUE = (UnsupportedFormatError, UnsupportedArrayError, ComponentError)
"""Errors of a store that are about one plane. All others are about the store, and end the copy."""


def _run(
    work: _Work,
    tasks: Iterable[Sequence[PlaneRef]],
    workers: int,
    progress: Progress | None,
    stop: threading.Event,
) -> _Tell:
    """Do the tasks in threads; the first error stops the others and is raised."""
    tells: list[_Tell] = []
    free: list[_Tell] = []

    def task(planes: Sequence[PlaneRef]) -> None:
        try:
            tell = free.pop()  # one for each worker, and not for each part
        except IndexError:
            tells.append(tell := _Tell(0, 0, []))
        if not stop.is_set():
            work(planes, tell)
        free.append(tell)

    with ThreadPoolExecutor(max(1, workers), thread_name_prefix="polystore-copy") as pool:
        coming = iter(tasks)
        waiting: set[Future[None]] = set()
        try:
            while True:
                # Few at a time: each `wait` looks at all of them.
                for planes in islice(coming, _PARTS_PER_WORKER * max(1, workers) - len(waiting)):
                    waiting.add(pool.submit(task, planes))
                if not waiting:
                    break
                done, waiting = wait(waiting, _BETWEEN_REPORTS, FIRST_COMPLETED)
                for future in done:
                    future.result()
                if progress is not None:
                    progress(
                        sum(tell.planes + len(tell.failures) for tell in tells), sum(t.nbytes for t in tells)
                    )
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    failures = sorted((failure for tell in tells for failure in tell.failures), key=lambda one: one.target)
    return _Tell(sum(tell.planes for tell in tells), sum(tell.nbytes for tell in tells), failures)


def _tasks(planes: Sequence[PlaneRef], workers: int) -> Iterator[list[PlaneRef]]:
    """The planes in parts for the workers: whole fields, several where they are small.

    A store writes the plate's own metadata once for each part, and these grow with the plate; each worker gets
    some parts, so that none is left with the last long one.
    """
    fields: dict[tuple[Value | None, Value | None], list[PlaneRef]] = {}
    for plane in planes:
        fields.setdefault((plane.key.well, plane.key.field), []).append(plane)
    size = min(BATCH_PLANES, len(planes) // (workers * _PARTS_PER_WORKER))
    part: list[PlaneRef] = []
    for field in fields.values():
        if part and len(part) + len(field) > size:
            yield part
            part = []
        part = part + field
    if part:
        yield part


def _loaded(
    source: DataSource, plan: CopyPlan, planes: Sequence[PlaneRef], tell: _Tell, stop: threading.Event
) -> Iterator[_Batch]:
    batch: _Batch = []
    held = 0
    for plane in planes:
        if stop.is_set():
            return
        try:
            array = load_plane(source, plan.index, plane)
        except (PolystoreError, OSError) as exc:
            tell.failures.append(Failure(plan.index.path_of(plane), plan.name(plane), str(exc)))
            continue
        batch.append((plane, array))
        held += array.nbytes
        if held >= BATCH_BYTES or len(batch) >= BATCH_PLANES:
            yield batch
            batch, held = [], 0
    yield batch


def _save(sink: StorageBackend, plan: CopyPlan, batch: _Batch, options: dict[str, Any], tell: _Tell) -> None:
    while batch:
        try:
            sink.save_batch(
                [array for _, array in batch], [plan.name(plane) for plane, _ in batch], **options
            )
        except BatchError as exc:
            if not isinstance(exc.__cause__, _OF_THE_VALUE):
                raise
            _count(tell, batch[: exc.done])
            plane = batch[exc.index][0]
            reason = str(exc.__cause__)
            tell.failures.append(Failure(plan.index.path_of(plane), plan.name(plane), reason))
            batch = batch[exc.done : exc.index] + batch[exc.index + 1 :]
        else:
            _count(tell, batch)
            return


def _count(tell: _Tell, batch: _Batch) -> None:
    tell.planes += len(batch)
    tell.nbytes += sum(array.nbytes for _, array in batch)


def _known(index: PlateIndex, which: Component, value: str | int) -> set[Value]:
    """The values of a plate that are meant: the value itself, or every channel of that name."""
    wanted = canonical(which, value)
    there = index.values(which)
    if wanted in there:
        return {wanted}
    named = {key: index.info.channels[key].name for key in there if key in index.info.channels}
    names = {key: name for key, name in named.items() if name and which is Component.CHANNEL}
    found = {key for key, name in names.items() if name.casefold() == str(value).casefold()}
    if found:
        return found
    known = ", ".join(str(one) for one in there)
    by_name = f"; by name: {', '.join(names.values())}" if names else ""
    raise ComponentError(f"the plate has no {which.value} {value!r} (it has {known}{by_name})")


def _remove(sink: StorageBackend, plan: CopyPlan) -> None:
    """The images first and the record last: what was stopped is still the other plate's copy."""
    if plan.removes and isinstance(sink, SupportsPlates):
        sink.delete(plan.target, recursive=True)
        return
    for name in plan.removes:
        sink.delete(join(plan.target, name))


def _record(sink: StorageBackend, plan: CopyPlan, *, replacing: bool) -> None:
    record = record_of(plan.index)
    if replacing:
        record["replacing"] = True
    sink.save(record, join(plan.target, RECORD))
