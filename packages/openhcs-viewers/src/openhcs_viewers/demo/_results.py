"""What a run keeps beside its images: what is known of its OME-Zarr plates, and what was counted."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from openhcs_viewers.demo.pipeline import FieldResult, Job, StepKind
from polystore import FileManager
from polystore.constants import Backend
from polystore.plate import ChannelInfo, PlateInfo

if TYPE_CHECKING:
    from openhcs_viewers.demo.plate import Plate
    from polystore.components import Value


def describe_plates(job: Job, plates: Sequence[Plate]) -> None:
    """Begin the OME-Zarr plates of the run: what is known of them stands there before the first image."""
    for step in job.steps:
        if step.backend != Backend.ZARR or step.kind is not StepKind.IMAGE:
            continue
        for plate in plates:
            channels: dict[Value, ChannelInfo] = {
                number: ChannelInfo(str(channel.value), emission_nm=channel.emission, color=channel.rgb)
                for number, channel in enumerate(plate.channels, 1)
                if channel.value is not None
            }
            known = job.calibrations[plate.name]
            info = PlateInfo(
                plate.name,
                pixel_size_um=known.scale,
                z_step_um=known.z_step,
                t_step_s=known.frame_interval,
                channels=channels,
            )
            FileManager().backend(Backend.ZARR).describe(job.zarr_plate(plate.name, step), info)


def write_results(job: Job, plates: Sequence[Plate], fields: Sequence[FieldResult]) -> None:
    """Write ``<plate>/<well>/results.json`` of every well and ``counts.csv`` of the run."""
    channels = list(dict.fromkeys(str(channel.value) for plate in plates for channel in plate.channels))
    wells: dict[tuple[str, str], list[dict[str, Any]]] = {}
    rows = []
    for field in fields:
        images = field.images
        well = str(images.well)
        place = {"plate": images.plate, "well": well, "field": images.field, "t": images.t}
        entry = {**place, "intensity": dict(field.intensities), "steps": dict(field.results)}
        wells.setdefault((images.plate, well), []).append(entry)
        for step, found in field.results.items():
            intensity = [field.intensities.get(channel, "") for channel in channels]
            rows.append([*place.values(), step, found.get("count"), found.get("area_mean"), *intensity])
    for (plate, well), entries in wells.items():
        counts = {
            step.name: sum(entry["steps"].get(step.name, {}).get("count", 0) for entry in entries)
            for step in job.steps
            if step.kind is StepKind.COUNT
        }
        folder = job.output / plate / well
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"plate": plate, "well": well, "counts": counts, "fields": entries}, indent=1)
        (folder / "results.json").write_text(text + "\n", encoding="utf-8")
    header = ["plate", "well", "field", "t", "step", "count", "area_mean"]
    with (job.output / "counts.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*header, *(f"mean_{channel}" for channel in channels)])
        writer.writerows(rows)
