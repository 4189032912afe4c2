"""What a pipeline is: steps, the viewers they are streamed to, and what comes out.

Plain frozen values that travel to worker processes and back; nothing here does any work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from openhcs_viewers.config import FijiStreamingConfig, NapariStreamingConfig, PipelineConfig
from openhcs_viewers.demo._errors import StepError
from polystore.inheritance import Lazy
from polystore.projection.spec import DisplaySpec
from polystore.virtual_names import virtual_name
from zmqruntime.stream import StreamStats

if TYPE_CHECKING:
    from openhcs_viewers.demo.plate import FieldImages
    from polystore.components import ImageKey, Value
    from zmqruntime.config import Endpoint

BLOCK_DEADLINE = 15.0
"""Seconds a step waits for a viewer to take an image before the viewer counts as failed.

A viewer's receiving thread takes images while its window is busy, so nothing that lives stays silent this long; a
machine under heavy load was seen to take 3."""


class StepKind(StrEnum):
    """What a step makes of a field."""

    IMAGE = "image"
    """From every image another one: ``function(image, **params) -> image``; None passes images on."""

    COUNT = "count"
    """From one channel a label image and results, which the function itself saves:
    ``function(image, filemanager, metadata, backend=..., **params) -> (labels, results)``."""


@dataclass(frozen=True)
class Step:
    """One step of a pipeline.

    Parameters
    ----------
    name : str
        Names its layers: ``Step_01_<name>``.
    function : callable, optional
        A function of a module (workers import it by name); see `StepKind` for its arguments.
    kind : StepKind or str
        What it makes.
    params : mapping
        Further keyword arguments of the function.
    backend : str, optional
        The store that keeps what the step makes: ``"disk"`` keeps a folder of files named as the microscope's,
        ``"zarr"`` an OME-Zarr plate with the labels of the counting steps that follow. None keeps nothing of an
        image step, and lets a counting step save to disk.
    channel : str or int, optional
        The channel a counting step works on; by default the plate's nuclei.
    streaming : bool
        Whether viewers see it.
    napari_streaming : NapariStreamingConfig or its lazy variant, optional
        Where and how napari shows this step; what a lazy variant does not say comes from the pipeline's
        configuration, then from the global one. None: as they say; `polystore.inheritance.NONE`: not at all.
    fiji_streaming : FijiStreamingConfig or its lazy variant, optional
        The same for ImageJ.

    Raises
    ------
    SettingsError
        `napari_streaming` or `fiji_streaming` is something else.
    StepError
        An empty name, a counting step without a function, or a function workers cannot import.
    """

    name: str
    function: Callable[..., Any] | None = None
    kind: StepKind = StepKind.IMAGE
    params: Mapping[str, Any] = field(default_factory=dict)
    backend: str | None = None
    channel: Value | None = None
    streaming: bool = True
    napari_streaming: NapariStreamingConfig | Lazy[NapariStreamingConfig] | None = None
    fiji_streaming: FijiStreamingConfig | Lazy[FijiStreamingConfig] | None = None

    def __post_init__(self) -> None:
        self.config()
        object.__setattr__(self, "kind", StepKind(self.kind))
        if not self.name or not self.name.isprintable():
            raise StepError(
                f"a step named {self.name!r}: give it a short name, it stands in the viewer's layers"
            )
        if self.function is None:
            if self.kind is StepKind.COUNT:
                raise StepError(
                    f"step {self.name!r} counts without a function: give one such as cell_counting_cpu"
                )
        elif not callable(self.function):
            raise StepError(f"step {self.name!r} has {self.function!r} as function: give a function")
        elif "<" in getattr(self.function, "__qualname__", ""):
            raise StepError(
                f"step {self.name!r} has a function made inside another one or a lambda ({self.function!r}), which a "
                "worker process cannot import: define it with def at the top of a module"
            )

    def config(self) -> PipelineConfig:
        """Return what this step says of the pipeline's configuration."""
        return PipelineConfig(napari_streaming=self.napari_streaming, fiji_streaming=self.fiji_streaming)


@dataclass(frozen=True)
class ViewerTarget:
    """A viewer the steps are streamed to.

    Attributes
    ----------
    kind
        ``"napari"``, ...; also the name of its entry in the summary. Of two viewers of one kind the second is
        ``"napari localhost:5600"``.
    endpoint
        Where it listens.
    display
        How to show what is streamed; the plate adds colours and pixel size where this says nothing.
    policy, deadline
        See `polystore.streaming.ImageSender`.
    starting
        Whether it may still be on its way up.
    shows
        By index, the steps it is sent and how it shows each; None: every step that streams, by `display`.
    """

    kind: str
    endpoint: Endpoint
    display: DisplaySpec = field(default_factory=lambda: DisplaySpec(colormap="auto"))
    policy: str = "block"
    deadline: float = BLOCK_DEADLINE
    starting: bool = False
    shows: Mapping[int, DisplaySpec] | None = None

    def takes(self, index: int, step: Step) -> bool:
        """Return whether it is sent a step."""
        return step.streaming and (self.shows is None or index in self.shows)

    def display_of(self, index: int) -> DisplaySpec:
        """Return how it shows a step."""
        return self.display if self.shows is None else self.shows[index]

    @property
    def backend(self) -> str:
        """Name of the backend that streams to it."""
        return f"{self.kind}_stream"


@dataclass(frozen=True, slots=True)
class Look:
    """How one channel of one step is shown: colour map, and display range or None."""

    colormap: str
    contrast: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Calibration:
    """Sizes and distances of a plate, None where nobody knows: pixel (y, x) and z step in um, time step in s."""

    scale: tuple[float, float] | None = None
    z_step: float | None = None
    frame_interval: float | None = None


Looks: TypeAlias = "dict[tuple[str, int, Value | None], Look]"
"""By plate, step index and channel."""


@dataclass(frozen=True)
class Job:
    """All a worker needs to know before its first field.

    Attributes
    ----------
    run
        One name for all workers of a run, so that they share layers.
    output
        Folder for results, the same for all plates.
    counted
        Of each plate, the channel whose cells are counted.
    calibrations
        Of each plate, what its files say of sizes and distances.
    channels
        Of each plate, the number each channel has in an OME-Zarr plate.
    name_plates
        Whether images need their plate's name to be told apart.
    spotlight
        Plate, well, field and t of the field the viewers' sliders move to; None moves none.
    """

    run: str
    steps: tuple[Step, ...]
    targets: tuple[ViewerTarget, ...]
    output: Path
    counted: Mapping[str, Value | None]
    calibrations: Mapping[str, Calibration]
    channels: Mapping[str, Mapping[Value | None, int]]
    name_plates: bool = False
    spotlight: tuple[Value | None, ...] | None = None

    def zarr_plate(self, plate: str, step: Step) -> Path:
        """Where an image step keeps an OME-Zarr plate."""
        return self.output / plate / f"{step.name}.zarr"

    def zarr_name(self, plate: str, key: ImageKey) -> str:
        """What an image is called in an OME-Zarr plate: ``B02_s001_w1_z003.tif``."""
        channel = None if key.channel is None else self.channels[plate][key.channel]
        return virtual_name(key.replace(channel=channel))

    def images_streamed(self, images: FieldImages, target: ViewerTarget) -> int:
        """How many images one field sends to a viewer."""
        streamed = [step for index, step in enumerate(self.steps) if target.takes(index, step)]
        counts = sum(step.kind is StepKind.COUNT for step in streamed)
        return counts + (len(streamed) - counts) * len(images.images)


@dataclass(frozen=True, slots=True)
class FieldTask:
    """One field to run, and how its images are shown."""

    images: FieldImages
    looks: Looks = field(repr=False)


@dataclass(frozen=True, slots=True)
class FieldResult:
    """What became of one field.

    Attributes
    ----------
    images
        The field.
    results
        By name of the counting step, what its function returned.
    intensities
        By channel, the mean of the last image step's images where there are cells; empty without cells.
    sent
        By viewer, how many images were given to it; with ``policy="block"`` all of them.
    failures
        By viewer, why no more was sent to it.
    seconds
        Time it took.
    """

    images: FieldImages
    results: Mapping[str, Mapping[str, Any]]
    intensities: Mapping[str, float]
    sent: Mapping[str, int]
    failures: Mapping[str, str]
    seconds: float


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """What a worker says about its streams once everything it sent has an outcome.

    Attributes
    ----------
    stats
        By viewer; ``in_flight`` and ``queued`` are 0 if it was `settled`.
    skipped
        By viewer, images that were never sent because it had failed.
    block_ms
        By viewer, how long each call held the worker, in milliseconds.
    settled
        By viewer, whether every image had an outcome in time.
    block_seconds
        By viewer, how long all calls held the worker.
    """

    pid: int
    stats: Mapping[str, StreamStats]
    skipped: Mapping[str, int]
    block_ms: Mapping[str, list[float]]
    settled: Mapping[str, bool]
    block_seconds: Mapping[str, float] = field(default_factory=dict)
