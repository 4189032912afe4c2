"""How a hyperstack looks: composite or not, lookup tables, display ranges, calibration.

Everything here touches ImageJ's image only. What belongs to the user (his ranges, tables and modes) is told from ours
by remembering what was set.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

from openhcs_viewers.fiji._java import java
from openhcs_viewers.fiji._luts import LABELS, lut, lut_name
from polystore.components import Value
from polystore.projection import ChannelDisplay, Limits
from polystore.projection.hyperstack import HyperstackPlan

__all__ = ["MODES", "Looks", "new_image", "replace_pixels", "shown_indices"]

Entry: TypeAlias = tuple[Value | None, ...]
"""What a channel is known by: its place changes when others come."""

COMPOSITE, COLOR, GRAYSCALE = 1, 2, 3
"""`ij.CompositeImage`'s numbers."""

MODES = {
    ChannelDisplay.COMPOSITE: COMPOSITE,
    ChannelDisplay.COLOR: COLOR,
    ChannelDisplay.GRAYSCALE: GRAYSCALE,
}

MOST_COMPOSITE = 8
"""Channels shown at once (`ij.CompositeImage.MAX_CHANNELS`); more are shown one at a time, in their colours."""

LABEL_RANGE = (0.0, 255.0)
"""One colour for each label up to the number of colours."""


def new_image(plan: HyperstackPlan, stack: Any, index: int) -> Any:
    """Return an image of that stack, at that plane (1-based), looking as planned; not shown."""
    image = java("ij.ImagePlus")(plan.name, stack)
    image.setDimensions(*plan.size)
    if not plan.rgb:
        # Also with one channel: another one may come, and a plain image cannot become a composite one.
        image = java("ij.CompositeImage")(image, mode(plan))
    image.setOpenAsHyperStack(True)
    calibrate(image, plan)
    image.setPosition(index)
    image.changes = False
    return image


def mode(plan: HyperstackPlan) -> int:
    """The mode a plan asks for, as far as ImageJ can."""
    if plan.kind == "labels" or len(plan.channels) == 1 or len(plan.channels) > MOST_COMPOSITE:
        gray = plan.channel_display is ChannelDisplay.GRAYSCALE and plan.kind != "labels"
        return GRAYSCALE if gray else COLOR
    return MODES[plan.channel_display]


def calibrate(image: Any, plan: HyperstackPlan, old: HyperstackPlan | None = None) -> None:
    """Tell ImageJ how large pixels, slices and frames are; "pixel" where it is not known.

    With the plan there was before, only what that one did not say in the same way, and only while ImageJ's
    calibration is the one it gave: else it is the user's.
    """
    if old is not None:
        known = (plan.scale, plan.z_step, plan.frame_interval)
        if known == (old.scale, old.z_step, old.frame_interval):
            return
        if not image.getCalibration().equals(_calibration(image, old)):
            return
    image.setCalibration(_calibration(image, plan))


def _calibration(image: Any, plan: HyperstackPlan) -> Any:
    calibration = java("ij.measure.Calibration")(image)
    if plan.scale is not None:
        calibration.pixelHeight, calibration.pixelWidth = plan.scale
        calibration.setUnit("um")  # becomes the micron sign
        # ImageJ has one unit for x, y and z: the step alone would be so many pixels.
        if plan.z_step is not None:
            calibration.pixelDepth = plan.z_step
    if plan.frame_interval is not None:
        calibration.frameInterval = plan.frame_interval
        calibration.setTimeUnit("sec")
    return calibration


def is_composite(image: Any) -> bool:
    """Whether its channels are shown at once."""
    return bool(image.getNChannels() > 1 and image.isComposite() and image.getMode() == COMPOSITE)


def shown_indices(image: Any, plan: HyperstackPlan) -> range:
    """The planes on show (1-based): one, or all channels of it."""
    current, channels = int(image.getCurrentSlice()), len(plan.channels)
    if not is_composite(image):
        return range(current, current + 1)
    first = current - (current - 1) % channels
    return range(first, first + channels)


def replace_pixels(image: Any, plan: HyperstackPlan, index: int, array: Any) -> None:
    """Have ImageJ draw from another array where it shows plane `index`; it has processors of its own for that."""
    if index == image.getCurrentSlice():
        processor = image.getProcessor()
        processor.setPixels(array)
        processor.setSnapshotPixels(None)
    if is_composite(image):
        channel = image.getProcessor((index - 1) % len(plan.channels) + 1)
        if channel is not None:
            channel.setPixels(array)


class Looks:
    """The lookup tables, display ranges and mode of one image: set until the user chose others.

    Parameters
    ----------
    image
        ImageJ's.
    """

    def __init__(self, image: Any) -> None:
        self._image = image
        self._mode = 0
        self._ranges: dict[Entry, Limits] = {}
        self._tables: dict[Entry, str] = {}
        self._flat: set[Entry] = set()  # channels with planes of one value each, so far

    def kept(self, plan: HyperstackPlan) -> dict[Entry, tuple[Any, bool]]:
        """The table, with its range, of each channel as it is now, and whether it is switched on."""
        if plan.rgb:
            return {}
        tables, active = self._image.getLuts(), self._image.getActiveChannels()
        return {
            entry: (tables[at], bool(active[at]) if at < len(active) else True)
            for at, entry in enumerate(plan.channels)
        }

    def dress(self, plan: HyperstackPlan, kept: Mapping[Entry, tuple[Any, bool]] | None = None) -> None:
        """Set everything for a plan: new channels as planned, those that are kept as they were."""
        if plan.rgb:
            return
        image, wanted, kept = self._image, mode(plan), kept or {}
        if image.getMode() in (self._mode, wanted) or not self._mode:
            if image.getMode() != wanted:
                image.setMode(wanted)
            self._mode = wanted
        for at, entry in enumerate(plan.channels):
            table, _ = kept.get(entry, (None, True))
            name = lut_name(LABELS if plan.kind == "labels" else plan.colormaps[at])
            if table is None:
                table = lut(name, plan.contrasts[at] or first_range(plan))
                self._tables[entry] = name
            elif name != self._tables[entry] and self._is_ours(entry, table):
                # A second channel has come: the first one was gray, and would make the sum of both white.
                table = lut(name, (float(table.min), float(table.max)))
                self._tables[entry] = name
            image.setChannelLut(table, at + 1)
            if entry not in kept:
                self._ranges[entry] = self.limits(at)
        if image.getMode() == COMPOSITE:
            for at, entry in enumerate(plan.channels[:MOST_COMPOSITE]):
                image.getActiveChannels()[at] = kept.get(entry, (None, True))[1]
        for at, limits in enumerate(plan.contrasts):
            if limits is not None:
                self.set_range(plan, at, limits)
        self._show()

    def _is_ours(self, entry: Entry, table: Any) -> bool:
        """Whether the colours of a channel are those that were set."""
        ours = lut(self._tables[entry], (0.0, 1.0))
        return bool(java("java.util.Arrays").equals(ours.getBytes(), table.getBytes()))

    def suit(self, new: HyperstackPlan, old: HyperstackPlan) -> bool:
        """Whether an image that looked as planned before does so now, with more slices or frames."""
        return (new.channels, new.contrasts, new.scale, new.z_step, new.frame_interval, mode(new)) == (
            old.channels,
            old.contrasts,
            old.scale,
            old.z_step,
            old.frame_interval,
            mode(old),
        )

    def _show(self) -> None:
        """Have the processor of the plane on show look as its channel."""
        image = self._image
        if image.getMode() == COMPOSITE:
            table = image.getChannelLut()
            image.getProcessor().setLut(table)
        else:
            image.setMode(image.getMode())  # takes the table up again with the next picture

    def limits(self, at: int) -> Limits:
        """The display range of a channel (from 0), as it is now."""
        table = self._image.getChannelLut(at + 1)
        return float(table.min), float(table.max)

    def set_range(self, plan: HyperstackPlan, at: int, limits: Limits) -> bool:
        """Show another range of a channel (from 0), unless the user chose one; returns whether it is another."""
        entry = plan.channels[at]
        now = self.limits(at)
        if now != self._ranges.get(entry) or now == limits:
            return False
        table = self._image.getChannelLut(at + 1)
        table.min, table.max = limits
        self._image.setChannelLut(table, at + 1)
        self._ranges[entry] = self.limits(at)
        self._show()
        return True

    def ranges(self, plan: HyperstackPlan) -> list[Limits]:
        """The display ranges of all channels, as they are now; none of colour pictures."""
        return [] if plan.rgb else [self.limits(at) for at in range(len(plan.channels))]

    def tables(self, plan: HyperstackPlan) -> list[str]:
        """The names of the tables that were set, by channel."""
        return [] if plan.rgb else [self._tables[entry] for entry in plan.channels]

    def mode(self) -> str:
        """``"composite"``, ``"color"``, ``"grayscale"``, or ``"rgb"`` of colour pictures."""
        return str(self._image.getModeAsString()) if self._image.isComposite() else "rgb"

    def widen(self, plan: HyperstackPlan) -> bool:
        """Have the range of labels reach up to the largest one shown, and that of planes of one value reach beyond
        it; returns whether any is another then.

        Ranges of images with any contrast are the scene's to know.
        """
        labels = plan.kind == "labels"
        if plan.rgb or (not labels and None not in plan.contrasts):
            return False
        changed = False
        for index in shown_indices(self._image, plan):
            at = (max(1, index) - 1) % len(plan.channels)
            if labels or plan.contrasts[at] is None:
                # A processor of our own: ImageJ's has the range on show.
                processor = self._image.getStack().getProcessor(max(1, index))
                if processor.getBitDepth() == 8:
                    return False
                processor.resetMinAndMax()
                low, high = float(processor.getMin()), float(processor.getMax())
                changed |= self._widen(plan, at, label_range(high) if labels else flat_range(low, high))
        return changed

    def _widen(self, plan: HyperstackPlan, at: int, limits: Limits | None) -> bool:
        entry, now = plan.channels[at], self.limits(at)
        if limits is None:
            return False
        if plan.kind == "labels" or entry in self._flat:
            if limits[1] <= now[1] and (plan.kind == "labels" or limits[0] >= now[0]):
                return False
            limits = min(limits[0], now[0]), max(limits[1], now[1])
        self._flat.add(entry)
        return self.set_range(plan, at, limits)


def flat_range(low: float, high: float) -> Limits | None:
    """A range for a plane of one value (or nearly), or None for zeros: the value is a middle gray, 0 is black."""
    found = min(0.0, 2 * low), max(0.0, 2 * high)
    return found if found[0] < found[1] and all(map(math.isfinite, found)) else None


def label_range(highest: float) -> Limits:
    """The range for labels up to that one: 0 alone is black, and the others share the colours evenly.

    ImageJ maps a range to the 256 entries of a table and rounds, so several numbers in a row have one colour where
    there are more labels than colours. The range begins a little below 0 then: else the first labels were black.
    """
    return (1.0 - math.ceil(highest / (2 * 256 - 1)) or 0.0, highest)


def first_range(plan: HyperstackPlan) -> Limits:
    """A range for planes that are all of one value so far."""
    if plan.kind == "labels":
        return LABEL_RANGE
    return (0.0, 255.0) if plan.dtype == "uint8" else (0.0, 1.0)
