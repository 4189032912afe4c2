"""Colours and display ranges, chosen once for a plate so that all wells are shown alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from openhcs_viewers.demo.pipeline import Look, Looks, Step, StepKind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from openhcs_viewers.demo.plate import Channel, Plate, PlateImage
    from polystore.components import Value
    from polystore.filemanager import FileManager

SAMPLES = 3
"""Images of a channel its display range is taken from: the first, a middle and the last well."""

RANGE = (30.0, 99.8)
"""Percentiles shown as black and as the full colour.

Black is well inside the background, so that empty areas are dark on screen as they are in the eyepiece; the brightest
two pixels in a thousand may saturate."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A few images of one channel, from which its looks are chosen."""

    plate: str
    channel: Channel
    paths: tuple[str, ...]


def samples(plate: Plate) -> list[Sample]:
    """Return a sample of each channel of a plate."""
    return [
        Sample(plate.name, channel, tuple(image.path for image in _samples(plate, channel)))
        for channel in plate.channels
    ]


def plain_looks(sample: Sample, steps: Sequence[Step]) -> Looks:
    """Return the looks of a channel without a range: the viewer finds one."""
    return {
        (sample.plate, index, sample.channel.value): Look(sample.channel.colormap, None)
        for index in range(len(steps))
    }


def choose_looks(sample: Sample, steps: Sequence[Step], filemanager: FileManager) -> Looks:
    """Return how a channel is shown after every image step: its colour and one range for the whole plate.

    Reads the sample and runs the image steps on it, so it belongs in a worker.
    """
    arrays = filemanager.load_batch(sample.paths, "disk")
    looks = plain_looks(sample, steps)
    for index, step in enumerate(steps):
        if step.kind is not StepKind.IMAGE:
            continue
        function = step.function
        if function is not None:
            arrays = [function(array, **step.params) for array in arrays]
        looks[sample.plate, index, sample.channel.value] = Look(sample.channel.colormap, _range(arrays))
    return looks


def _samples(plate: Plate, channel: Channel) -> list[PlateImage]:
    """Images of a channel from different wells, each from the middle of its stack."""
    wells: dict[Value | None, list[PlateImage]] = {}
    for image in plate.images:
        if image.key.channel == channel.value:
            wells.setdefault(image.key.well, []).append(image)
    middles = []
    for images in wells.values():
        first = images[0].key
        stack = [
            one
            for one in images
            if one.key.field == first.field and one.key.t == first.t and one.key.z is not None
        ]
        middles.append((stack or images)[len(stack or images) // 2])
    picks = np.unique(np.linspace(0, len(middles) - 1, min(SAMPLES, len(middles))).round().astype(int))
    return [middles[at] for at in picks]


def _range(arrays: Sequence[NDArray[Any]]) -> tuple[float, float] | None:
    """The range that shows the darkest background and the brightest sample without clipping either much."""
    lows = [float(np.percentile(array, RANGE[0])) for array in arrays]
    highs = [float(np.percentile(array, RANGE[1])) for array in arrays]
    low, high = min(lows), max(highs)
    return (low, high) if high > low else None
