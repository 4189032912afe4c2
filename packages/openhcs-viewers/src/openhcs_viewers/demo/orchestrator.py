"""Runs steps over plates in worker processes, keeps what they make, and streams it to viewers."""

from __future__ import annotations

import os
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from openhcs_viewers.config import GlobalPipelineConfig, viewer_configs
from openhcs_viewers.demo._calibration import calibration
from openhcs_viewers.demo._counts import Unreported, ViewerCounts, add_up
from openhcs_viewers.demo._errors import PlateError, StepError
from openhcs_viewers.demo._looks import plain_looks, samples
from openhcs_viewers.demo._pool import WorkerPool, refuse_second_copy
from openhcs_viewers.demo._results import describe_plates, write_results
from openhcs_viewers.demo.pipeline import (
    FieldResult,
    FieldTask,
    Job,
    Looks,
    Step,
    StepKind,
    ViewerTarget,
    WorkerReport,
)
from openhcs_viewers.demo.plate import Plate, read_plate
from polystore.config_sources import effective
from zmqruntime.config import is_loopback

if TYPE_CHECKING:
    from openhcs_viewers.config import PipelineConfig, ViewerConfig
    from openhcs_viewers.demo._pool import Outcome
    from openhcs_viewers.demo.plate import FieldImages
    from openhcs_viewers.handle import ViewerHandle
    from polystore.components import Value
    from polystore.inheritance import Resolved

FLUSH_SECONDS = 60.0
"""How long the end of a run waits for outcomes of images on their way, per viewer."""

Progress = Callable[["FieldImages", FieldResult | None], None]
"""Called in the caller's thread after each field; the result is None when the field failed."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run made.

    Attributes
    ----------
    output
        The folder of results; a folder per plate in it.
    plates
        What was read.
    fields
        Of every field that went through, in the order of the plates.
    failures
        One line for every field that did not, and for every viewer given up.
    viewers
        By kind, what became of every image.
    workers
        Pids of all processes that worked, dead ones included.
    seconds
        From start to the last outcome.
    """

    output: Path
    plates: tuple[Plate, ...]
    fields: tuple[FieldResult, ...]
    failures: tuple[str, ...]
    viewers: dict[str, ViewerCounts]
    workers: tuple[int, ...]
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether every field went through, and every image that a viewer had to be waited for arrived."""
        return not self.failures and all(counts.ok for counts in self.viewers.values())


class PipelineOrchestrator:
    """Runs steps over plates.

    Parameters
    ----------
    plate_paths : sequence of path
        Folders of acquisitions; see `openhcs_viewers.demo.plate.read_plate`.
    steps : sequence of Step
        Run in order on every field.
    global_config : GlobalPipelineConfig or PipelineConfig, optional
        With ``napari_streaming`` or ``fiji_streaming`` enabled, that viewer is started in the background (or reused)
        and shows every step; with both, both do. The policy is that of the streaming backends: the pipeline is
        never held up. Its ``vfs`` says where counting steps without a `backend` of their own save.
    viewers : sequence of ViewerTarget, optional
        Further viewers, which somebody else launched.
    output : path, optional
        Folder for results, by default ``./out``.
    workers : int, optional
        Processes; by default one per processor, at most 8.
    pipeline_config : PipelineConfig, optional
        What it says outranks `global_config`. What a step says (`Step.napari_streaming`) outranks both, and
        environment variables (``OPENHCS_NAPARI_PORT``) outrank all three; see `polystore.config_sources`. Steps
        that name another port or machine are shown in a viewer of their own.

    Attributes
    ----------
    handle
        Of the first viewer started by `run`, for whoever wants to look at it or end it; None without.
    handles
        Of all of them.

    Raises
    ------
    StepError
        No steps, or two of one name.
    SettingsError
        A configuration, a configuration file or an environment variable that cannot be understood.
    """

    def __init__(
        self,
        plate_paths: Sequence[str | os.PathLike[str]],
        steps: Sequence[Step],
        global_config: GlobalPipelineConfig | PipelineConfig | None = None,
        *,
        viewers: Sequence[ViewerTarget] = (),
        output: str | os.PathLike[str] = "out",
        workers: int | None = None,
        pipeline_config: PipelineConfig | None = None,
    ) -> None:
        names = Counter(step.name for step in steps)
        if not names or max(names.values()) > 1:
            raise StepError(
                f"steps {[step.name for step in steps]}: give at least one, each with a name of its own"
            )
        self.plate_paths = tuple(plate_paths)
        self.global_config = global_config
        self.pipeline_config = pipeline_config
        self.steps = tuple(self._with_backend(step) for step in steps)
        self.viewers = tuple(viewers)
        self.output = Path(output).resolve()
        self.workers = workers if workers is not None else min(8, os.cpu_count() or 1)
        self.handles: tuple[ViewerHandle, ...] = ()

    @property
    def handle(self) -> ViewerHandle | None:
        """The first viewer started by `run`."""
        return self.handles[0] if self.handles else None

    def config_of(self, step: Step) -> Resolved[GlobalPipelineConfig]:
        """Return the configuration that holds for a step, with where each value comes from."""
        return effective(
            GlobalPipelineConfig,
            global_config=self.global_config,
            pipeline=self.pipeline_config,
            step=step.config(),
        )

    def _with_backend(self, step: Step) -> Step:
        if step.kind is not StepKind.COUNT or step.backend is not None:
            return step
        return replace(step, backend=self.config_of(step).value.vfs.materialization_backend.value)

    def run(self, progress: Progress | None = None) -> RunResult:
        """Run all steps on all fields and return what became of them. Failing fields do not stop the others.

        Raises
        ------
        PlateError
            A path is no plate.
        UnguardedScriptError
            The script that calls this has no ``if __name__ == "__main__"`` guard.
        LaunchError
            A viewer asked for cannot be started.
        """
        refuse_second_copy()
        begin = time.perf_counter()
        plates = self._read()
        targets = (*self._launch(), *self.viewers)
        job = self._job(plates, targets)
        describe_plates(job, plates)
        fields = _in_order(plates, job)
        from openhcs_viewers.demo import _worker

        run = _Run(job)
        # More workers than fields would only cost their start.
        with WorkerPool(min(self.workers, len(fields)), _worker.start, (job,)) as pool:
            looks = self._looks(pool, plates) if targets else {}
            for outcome in pool.run(_worker.run_field, [FieldTask(images, looks) for images in fields]):
                run.add(outcome)
                if progress is not None:
                    progress(outcome.task.images, outcome.value)
            # Nobody waits for a viewer that was closed; with several, for those that are left.
            there = not self.handles or any(handle.is_alive() for handle in self.handles)
            for report in pool.each(_worker.report, FLUSH_SECONDS if there else 0.0):
                run.close(report)
        places = [field.place for plate in plates for field in plate.fields()]
        results = tuple(run.results[place] for place in places if place in run.results)
        write_results(job, plates, results)
        return RunResult(
            self.output,
            plates,
            results,
            tuple(run.failures),
            run.counts(),
            tuple(run.workers),
            time.perf_counter() - begin,
        )

    def _read(self) -> tuple[Plate, ...]:
        if not self.plate_paths:
            raise PlateError("no plate: give plate_paths=[folder, ...]")
        plates = tuple(read_plate(path) for path in self.plate_paths)
        twins = [name for name, count in Counter(plate.name for plate in plates).items() if count > 1]
        if twins:
            raise PlateError(
                f"two plates are named {twins[0]!r}: run them one by one, with an output folder each"
            )
        return plates

    def _launch(self) -> tuple[ViewerTarget, ...]:
        configs: dict[tuple[str, str, int], dict[int, ViewerConfig]] = {}
        for index, step in enumerate(self.steps):
            if not step.streaming:
                continue
            for kind, config in viewer_configs(self.config_of(step).value):
                place = config.endpoint()
                # localhost and 127.0.0.1 are one viewer, whose images are counted once.
                host = "localhost" if is_loopback(place.host) else place.host
                configs.setdefault((kind, host, place.data_port), {})[index] = config
        targets: list[ViewerTarget] = []
        self.handles = ()
        for (kind, host, port), steps in configs.items():
            handle = _start(kind, host, port, persistent=any(config.persistent for config in steps.values()))
            self.handles = (*self.handles, handle)
            first = all(target.kind != kind for target in targets)
            target = ViewerTarget(
                kind if first else f"{kind} {host}:{handle.port}",
                handle.endpoint,
                policy="drop",
                deadline=1.0,
                starting=True,
                shows={index: config.display_spec() for index, config in steps.items()},
            )
            targets.append(target)
        return tuple(targets)

    def _looks(self, pool: WorkerPool, plates: Sequence[Plate]) -> Looks:
        """How every channel is shown. In workers: the steps are run for it, and they may fail."""
        from openhcs_viewers.demo import _worker

        looks: Looks = {}
        for outcome in pool.run(_worker.look, [sample for plate in plates for sample in samples(plate)]):
            looks.update(plain_looks(outcome.task, self.steps) if outcome.value is None else outcome.value)
        return looks

    def _job(self, plates: Sequence[Plate], targets: tuple[ViewerTarget, ...]) -> Job:
        self.output.mkdir(parents=True, exist_ok=True)
        return Job(
            run=uuid.uuid4().hex,
            steps=self.steps,
            targets=targets,
            output=self.output,
            counted={plate.name: plate.counted for plate in plates},
            calibrations={plate.name: calibration(plate) for plate in plates},
            channels={plate.name: _numbers(plate) for plate in plates},
            name_plates=len(plates) > 1,
            spotlight=_spotlight(plates[0]),
        )


def _start(kind: str, host: str, port: int, *, persistent: bool) -> ViewerHandle:
    from openhcs_viewers.launcher import launch
    from openhcs_viewers.registry import asked_port

    # In the background: the pipeline begins at once, and what it sends meanwhile is kept and shown. The default
    # port counts as not given: taken by a stranger, it is the next free one (`handle` says which).
    return launch(kind, port=asked_port(kind, port), host=host, detached=persistent, wait=False)


def _spotlight(plate: Plate) -> tuple[Value | None, ...]:
    """A field in the middle of a well two thirds of the way through the plate: controls tend to be at its edges."""
    fields = plate.fields()
    wells = list(dict.fromkeys(field.well for field in fields))
    chosen = wells[min(len(wells) - 1, round(0.7 * len(wells)))]
    there = [field.place for field in fields if field.well == chosen]
    return there[len(there) // 2]


def _in_order(plates: Sequence[Plate], job: Job) -> list[FieldImages]:
    """All fields, that in the spotlight first: there is something to look at from the start."""
    fields = [field for plate in plates for field in plate.fields()]
    return sorted(fields, key=lambda field: field.place != job.spotlight)


class _Run:
    """What is known of a run while it goes on."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.results: dict[tuple[Value | None, ...], FieldResult] = {}
        self.failures: list[str] = []
        self.workers: dict[int, None] = {}
        self._given: dict[int, Counter[str]] = {}  # by worker, images given to each viewer so far
        self._unreported: list[Unreported] = []
        self._reports: list[WorkerReport] = []
        self._given_up: dict[str, str] = {}

    def add(self, outcome: Outcome[FieldTask, FieldResult]) -> None:
        """Take in what became of one field."""
        self.workers[outcome.worker] = None
        given = self._given.setdefault(outcome.worker, Counter())
        if outcome.value is not None:
            self.results[outcome.task.images.place] = outcome.value
            given.update(outcome.value.sent)
            for kind, reason in outcome.value.failures.items():
                self._give_up(kind, reason)
            return
        self.failures.append(f"{outcome.task.images.title}: {outcome.error}")
        if outcome.died:
            images = outcome.task.images
            given.update(
                {target.kind: self.job.images_streamed(images, target) for target in self.job.targets}
            )
            self._unreported.append(Unreported(dict(given)))

    def close(self, outcome: Outcome[float, WorkerReport]) -> None:
        """Take in a worker's report."""
        if outcome.value is not None:
            self._reports.append(outcome.value)
            for target in self.job.targets:
                if not outcome.value.settled[target.kind] and target.policy == "block":
                    self._give_up(
                        target.kind, f"images on their way had no outcome within {FLUSH_SECONDS:g} s"
                    )
            return
        self.failures.append(f"report of worker {outcome.worker}: {outcome.error}")
        self._unreported.append(Unreported(dict(self._given.get(outcome.worker, {}))))

    def counts(self) -> dict[str, ViewerCounts]:
        """The counts of every viewer."""
        policies = {target.kind: target.policy for target in self.job.targets}
        return add_up(policies, self._reports, self._unreported, self._given_up)

    def _give_up(self, kind: str, reason: str) -> None:
        if kind not in self._given_up:
            self._given_up[kind] = reason
            self.failures.append(f"{kind}: {reason}")


def _numbers(plate: Plate) -> dict[Value | None, int]:
    return {channel.value: number for number, channel in enumerate(plate.channels, 1)}
