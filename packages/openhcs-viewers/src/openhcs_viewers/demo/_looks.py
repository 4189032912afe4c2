"""Colours and display ranges, chosen once for a plate so that all wells are shown alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from openhcs_viewers.demo.pipeline import Look, Step, StepKind

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


def choose_looks(
    plate: Plate, steps: Sequence[Step], filemanager: FileManager
) -> dict[tuple[str, int, Value | None], Look]:
    """Return how every channel is shown after every image step: its colour and one range for the whole plate.

    Reads `SAMPLES` images per channel and runs the image steps on them.
    """
    looks: dict[tuple[str, int, Value | None], Look] = {}
    for channel in plate.channels:
        arrays = filemanager.load_batch([image.path for image in _samples(plate, channel)], "disk")
        for index, step in enumerate(steps):
            if step.kind is not StepKind.IMAGE:
                continue
            function = step.function
            if function is not None:
                arrays = [function(array, **step.params) for array in arrays]
            looks[plate.name, index, channel.value] = Look(channel.colormap, _range(arrays))
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
