"""A fluorescence plate drawn by numbers, written as an ImageXpress folder.

The demo needs a plate when nobody gives it one. This one has what makes real plates awkward: touching nuclei, chromatin
texture, mitotic and dying cells, cells at different heights, vignetting, camera offset, shot and read noise, and a dose
along the columns that kills cells and switches a reporter on, so that the counts of a segmentation mean something.

A field is drawn sharp (`draw_field`, one image per channel and height), then photographed (`photograph`): blurred by
its distance from focus, unevenly lit, and counted photon by photon. Everything follows from one seed.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from openhcs_viewers.demo._camera import photograph
from openhcs_viewers.demo._cells import draw_field

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Dye:
    """One channel: its name, how bright it is in counts, its background in counts, and its emission in nm."""

    name: str
    brightness: float
    background: float
    emission: int


DYES = (
    Dye("DAPI", 5200.0, 260.0, 461),
    Dye("GFP", 3400.0, 330.0, 509),
    Dye("Cy5", 2600.0, 190.0, 670),
)


@dataclass(frozen=True, slots=True)
class PlateDesign:
    """What to draw.

    Attributes
    ----------
    rows, columns
        Wells: every row with every column. The dose rises from the first column to the last.
    fields, planes
        Fields per well; z planes per field.
    size
        Side of an image in pixels.
    cells
        Cells of a field of 512 x 512 pixels without a dose, on average; scaled with the area.
    pixel_um, step_um
        Pixel size and distance of the z planes in um.
    seed
        Two designs that are equal give the same bytes.
    """

    name: str = "Synthetic-Dose"
    rows: str = "BC"
    columns: tuple[int, ...] = (2, 6, 10)
    fields: int = 2
    planes: int = 5
    size: int = 512
    cells: float = 105.0
    pixel_um: float = 0.65
    step_um: float = 1.5
    seed: int = 7

    @property
    def wells(self) -> tuple[str, ...]:
        """Names of the wells, row by row."""
        return tuple(f"{row}{column:02d}" for row in self.rows for column in self.columns)

    @property
    def images(self) -> int:
        """Number of files `write_plate` writes, thumbnails aside."""
        return len(self.wells) * self.fields * len(DYES) * self.planes

    def dose(self, well: str) -> float:
        """Dose of a well, 0 to 1."""
        index = self.columns.index(int(well[1:]))
        return index / (len(self.columns) - 1) if len(self.columns) > 1 else 0.0


def write_plate(
    folder: str | Path,
    design: PlateDesign | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write the plate and return its folder, ``folder/<name>``, laid out as an ImageXpress writes one.

    ``<name>/<date>/<number>/ZStep_k/<name>_<well>_s<field>_w<channel><uuid>.tif`` and ``<name>.HTD``. Existing files
    are overwritten with the same bytes. ``progress(done, total)`` is called after each field, in images.
    """
    design = design or PlateDesign()
    root = Path(folder) / design.name
    run = root / "2024-05-17" / "1001"
    for z in range(1, design.planes + 1):
        (run / f"ZStep_{z}").mkdir(parents=True, exist_ok=True)
    (run / f"{design.name}.HTD").write_text(_htd(design), encoding="ascii")
    done = 0
    for well in design.wells:
        for field in range(1, design.fields + 1):
            for channel, z, image in field_images(design, well, field):
                name = f"{design.name}_{well}_s{field}_w{channel}"
                guid = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{name}/{z}/{design.seed}")).upper()
                _write_tiff(run / f"ZStep_{z}" / f"{name}{guid}.tif", image, design, channel, z)
                done += 1
            if progress is not None:
                progress(done, design.images)
    return root


def field_images(design: PlateDesign, well: str, field: int) -> list[tuple[int, int, NDArray[np.uint16]]]:
    """All images of one field as (channel from 1, z from 1, image of ``size`` x ``size`` uint16)."""
    entropy = [design.seed, ord(well[0]), int(well[1:]), field]
    rng = np.random.default_rng(entropy)
    sharp = draw_field(rng, design, design.dose(well))
    focus = rng.normal(0.0, 0.35)
    images = []
    for channel, (dye, layers) in enumerate(zip(DYES, sharp, strict=True), start=1):
        for z, image in enumerate(photograph(rng, layers, dye, design, focus), start=1):
            images.append((channel, z, image))
    return images


def _write_tiff(path: Path, image: NDArray[np.uint16], design: PlateDesign, channel: int, z: int) -> None:
    """Write one plane with the properties MetaXpress puts into its files: channel, emission, pixel size, height."""
    import tifffile

    dye = DYES[channel - 1]
    description = (
        "<MetaData>\n"
        '<prop id="ApplicationName" type="string" value="openhcs-viewers demo"/>\n'
        "<PlaneInfo>\n"
        '<prop id="spatial-calibration-state" type="bool" value="on"/>\n'
        f'<prop id="spatial-calibration-x" type="float" value="{design.pixel_um}"/>\n'
        f'<prop id="spatial-calibration-y" type="float" value="{design.pixel_um}"/>\n'
        '<prop id="spatial-calibration-units" type="string" value="um"/>\n'
        f'<prop id="z-position" type="float" value="{z * design.step_um:g}"/>\n'
        f'<prop id="image-name" type="string" value="{dye.name}"/>\n'
        f'<prop id="wavelength" type="float" value="{dye.emission}"/>\n'
        "</PlaneInfo>\n</MetaData>\n"
    )
    tifffile.imwrite(path, image, description=description, metadata=None, software=False, datetime=False)


def _htd(design: PlateDesign) -> str:
    """The plate's HTD file: what was acquired where."""
    rows, last = 8, 12
    lines = [
        '"HTSInfoFile", Version 1.0',
        '"Description", "A synthetic plate with a dose along its columns"',
        '"TimePoints", 1',
        '"ZSeries", TRUE',
        f'"ZSteps", {design.planes}',
        '"ZProjection", FALSE',
        f'"XWells", {last}',
        f'"YWells", {rows}',
    ]
    for row in range(rows):
        letter = chr(ord("A") + row)
        used = ", ".join(
            str(f"{letter}{column:02d}" in design.wells).upper() for column in range(1, last + 1)
        )
        lines.append(f'"WellsSelection{row + 1}", {used}')
    lines += ['"Sites", TRUE', f'"XSites", {design.fields}', '"YSites", 1']
    lines += ['"Waves", TRUE', f'"NWavelengths", {len(DYES)}']
    lines += [f'"WaveName{index}", "{dye.name}"' for index, dye in enumerate(DYES, start=1)]
    return "\r\n".join([*lines, '"EndFile"', ""])
