"""Cells drawn sharp and without noise: nuclei with chromatin, bodies with a reporter, mitochondria."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from openhcs_viewers.demo.synth import PlateDesign

    Float = NDArray[np.float32]

HEIGHTS = (-1.2, 0.0, 1.2)
"""Heights in um at which cells sit. Three are enough to see some cells sharp while others are not."""

APRON = 24
"""Pixels drawn around a field and cut off again: what lies just outside blurs into it, and a blur by Fourier wraps."""


@dataclass(frozen=True, slots=True)
class _Cell:
    """One cell: centre (pixels), nuclear half axes, direction, height bin, and how it looks."""

    y: float
    x: float
    a: float
    b: float
    angle: float
    height: int
    dna: float
    reporter: float
    state: str  # "interphase", "mitotic" or "dying"


def draw_field(rng: np.random.Generator, design: PlateDesign, dose: float) -> list[list[Float]]:
    """Draw one field without blur and noise: for each dye one image per height, about 0 to 1, with an `APRON`."""
    size = design.size + 2 * APRON
    chromatin = _noise(rng, size, 1.1, 3.2)
    mottle = _noise(rng, size, 2.5, 14.0)
    # The zero crossings of band-limited noise are thin, winding and branching: mitochondria look like that.
    filaments = np.exp(-((_noise(rng, size, 1.3, 4.0) / 0.36) ** 2), dtype=np.float32)
    filaments *= np.clip(0.75 + 0.55 * _noise(rng, size, 4.0, 12.0), 0.05, 1.6)
    sheets = [[np.zeros((size, size), np.float32) for _ in HEIGHTS] for _ in range(3)]
    for cell in _place_cells(rng, design, dose):
        nucleus = _nucleus(rng, cell, chromatin)
        body = _body(rng, cell, mottle, filaments)
        for sheet, patch in zip(sheets, (nucleus, *body), strict=True):
            _stamp(sheet[cell.height], patch, cell)
    return sheets


def _place_cells(rng: np.random.Generator, design: PlateDesign, dose: float) -> list[_Cell]:
    """Cells of a field: clustered as cultures are, touching now and then, overlapping rarely; fewer with a dose."""
    scale = ((design.size + 2 * APRON) / 512.0) ** 2
    wanted = rng.poisson(design.cells * scale * (1.0 - 0.72 * dose**1.5))
    span = design.size + 2.0 * APRON
    colonies = rng.uniform(0.0, span, (max(3, int(9 * scale)), 2))
    cells: list[_Cell] = []
    for _ in range(wanted * 12):
        if len(cells) >= wanted:
            break
        if rng.random() < 0.55:
            y, x = colonies[rng.integers(len(colonies))] + rng.normal(0.0, 66.0, 2)
        else:
            y, x = rng.uniform(0.0, span, 2)
        if not (0.0 <= y <= span and 0.0 <= x <= span):
            continue
        draw = rng.random()
        dying = 0.015 + 0.16 * dose
        state = (
            "dying" if draw < dying else "mitotic" if draw < dying + 0.035 * (1.0 - dose) else "interphase"
        )
        radius = {
            "interphase": rng.normal(11.0 + 1.6 * dose, 1.1),
            "mitotic": 8.2,
            "dying": rng.uniform(4.5, 6.5),
        }[state]
        stretch = 1.0 if state == "dying" else float(np.exp(rng.normal(0.0, 0.13)))
        closest = 0.93 + 0.1 * rng.random()
        if any(np.hypot(c.y - y, c.x - x) < closest * (np.sqrt(c.a * c.b) + radius) for c in cells):
            continue
        cycle = 1.0 if rng.random() < 0.68 else 1.55  # G1, or G2 with twice the DNA in a larger nucleus
        growth = 1.13 if cycle > 1.0 and state == "interphase" else 1.0
        # The reporter answers to the dose, and differently in every cell.
        reporter = (0.16 + 0.84 / (1.0 + np.exp(-9.0 * (dose - 0.42)))) * float(np.exp(rng.normal(0.0, 0.30)))
        cells.append(
            _Cell(
                y=float(y),
                x=float(x),
                a=float(radius * stretch * growth),
                b=float(radius / stretch * growth),
                angle=float(rng.uniform(0.0, np.pi)),
                height=int(rng.choice(len(HEIGHTS), p=(0.2, 0.6, 0.2))),
                dna=float(cycle * np.exp(rng.normal(0.0, 0.10))),
                reporter=reporter,
                state=state,
            )
        )
    return cells


def _polar(cell: _Cell, half: int) -> tuple[Float, Float, Float, Float]:
    """Pixel offsets (y, x) of a patch around the cell and, in units of the nucleus, its radius and angle."""
    grid = np.arange(-half, half + 1, dtype=np.float32)
    dy = grid[:, None] - np.float32(cell.y - round(cell.y))
    dx = grid[None, :] - np.float32(cell.x - round(cell.x))
    cos, sin = np.float32(np.cos(cell.angle)), np.float32(np.sin(cell.angle))
    u, v = (dx * cos + dy * sin) / np.float32(cell.a), (dy * cos - dx * sin) / np.float32(cell.b)
    return dy, dx, np.hypot(u, v), np.arctan2(v, u)


def _outline(rng: np.random.Generator, angle: Float, strength: float, orders: int) -> Float:
    """A closed random outline: the relative radius at each angle, 1 on average."""
    radius = np.ones_like(angle)
    for order in range(2, 2 + orders):
        radius += np.float32(rng.normal(0.0, strength / order)) * np.cos(
            order * angle + np.float32(rng.uniform(0, 6.28))
        )
    return radius


def _nucleus(rng: np.random.Generator, cell: _Cell, chromatin: Float) -> Float:
    """DNA stain of one cell as a patch centred on it."""
    half = int(max(cell.a, cell.b) * 1.7) + 3
    dy, dx, rho, theta = _polar(cell, half)
    texture = _window(chromatin, cell, half)
    if cell.state == "dying":  # condensed and broken into a few bright balls
        patch = np.zeros_like(rho)
        for _ in range(int(rng.integers(2, 5))):
            y, x = rng.normal(0.0, 0.42 * cell.a, 2)
            ball = np.float32(rng.uniform(1.2, 2.4))
            patch += np.float32(rng.uniform(0.8, 1.5)) * np.exp(
                -((dy - y) ** 2 + (dx - x) ** 2) / (2 * ball**2)
            )
        return patch * np.float32(cell.dna)
    rho = rho / _outline(rng, theta, 0.10, 3)
    edge = 1.0 / (1.0 + np.exp(np.clip((rho - 1.0) / 0.05, -40, 40)))
    if cell.state == "mitotic":  # a bright bar of chromosomes across the cell
        u = (dx * np.cos(cell.angle) + dy * np.sin(cell.angle)) / (0.34 * cell.a)
        v = (dy * np.cos(cell.angle) - dx * np.sin(cell.angle)) / (0.80 * cell.b)
        bar = np.exp(-(u**2) - v**4)
        mitotic: Float = ((0.06 * edge + 1.55 * bar * (1.0 + 0.22 * texture)) * cell.dna).astype(np.float32)
        return mitotic
    dome = np.sqrt(np.clip(1.0 - 0.62 * rho**2, 0.0, 1.0))
    patch = edge * dome * (1.0 + 0.20 * texture)
    for _ in range(int(rng.integers(1, 4))):  # nucleoli hold little DNA
        y, x = rng.normal(0.0, 0.36 * min(cell.a, cell.b), 2)
        hole = rng.uniform(1.3, 2.3)
        patch *= 1.0 - rng.uniform(0.25, 0.5) * np.exp(-((dy - y) ** 2 + (dx - x) ** 2) / (2 * hole**2))
    nucleus: Float = (patch * 0.72 * cell.dna).astype(np.float32)
    return nucleus


def _body(rng: np.random.Generator, cell: _Cell, mottle: Float, filaments: Float) -> tuple[Float, Float]:
    """Reporter and mitochondria of one cell as two patches centred on it."""
    reach = {"interphase": rng.normal(2.55, 0.25), "mitotic": 1.75, "dying": 1.5}[cell.state]
    half = int(max(cell.a, cell.b) * reach * 1.5) + 4
    _, _, rho, theta = _polar(cell, half)
    strength = 0.26 if cell.state == "interphase" else 0.05
    body = rho / (reach * np.clip(_outline(rng, theta, strength, 3), 0.6, 1.5))
    inside = 1.0 / (1.0 + np.exp(np.clip((body - 1.0) / 0.06, -40, 40)))
    thick = np.exp(-((body / 0.80) ** 2))  # thickest around the nucleus, thin at the rim
    nucleus = 1.0 / (1.0 + np.exp(np.clip((rho - 0.95) / 0.08, -40, 40)))
    grain = 1.0 + 0.09 * _window(mottle, cell, half) + 0.06 * _window(filaments, cell, half)
    reporter = inside * (0.14 + 0.86 * thick) * grain * (1.0 - 0.45 * nucleus) * cell.reporter
    spread = np.exp(-((np.clip(body - 0.32, 0.0, None) / 0.46) ** 2)) * (1.0 - 0.93 * nucleus)
    energy = 0.25 if cell.state == "dying" else float(np.exp(rng.normal(-0.1, 0.22)))
    mitochondria = inside * spread * (0.12 + 0.95 * _window(filaments, cell, half)) * energy
    return np.clip(reporter, 0.0, None).astype(np.float32), mitochondria.astype(np.float32)


def _window(field: Float, cell: _Cell, half: int) -> Float:
    """The part of a periodic random field under a patch."""
    rows = np.arange(round(cell.y) - half, round(cell.y) + half + 1) % field.shape[0]
    columns = np.arange(round(cell.x) - half, round(cell.x) + half + 1) % field.shape[1]
    return field[np.ix_(rows, columns)]


def _stamp(sheet: Float, patch: Float, cell: _Cell) -> None:
    """Put a patch into the sheet. Neighbours meet at a border rather than adding up: cells do not share space."""
    half = patch.shape[0] // 2
    top, left = round(cell.y) - half, round(cell.x) - half
    y0, x0 = max(top, 0), max(left, 0)
    y1, x1 = min(top + patch.shape[0], sheet.shape[0]), min(left + patch.shape[1], sheet.shape[1])
    if y0 < y1 and x0 < x1:
        target = sheet[y0:y1, x0:x1]
        np.maximum(target, patch[y0 - top : y1 - top, x0 - left : x1 - left], out=target)


def _noise(rng: np.random.Generator, size: int, fine: float, coarse: float) -> Float:
    """Periodic noise of mean 0 and deviation 1 with structure between two sizes (sigma, pixels)."""
    spectrum = np.fft.rfft2(rng.standard_normal((size, size), dtype=np.float32))
    spectrum *= gauss(size, fine) - gauss(size, coarse)
    field = np.fft.irfft2(spectrum, s=(size, size)).astype(np.float32)
    noise: Float = field / np.float32(field.std())
    return noise


def gauss(size: int, sigma: float) -> Float:
    """Transfer function of a Gaussian blur on the half plane of `numpy.fft.rfft2`."""
    fy, fx = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :]
    transfer: Float = np.exp(-2.0 * (np.pi * sigma) ** 2 * (fy**2 + fx**2)).astype(np.float32)
    return transfer
