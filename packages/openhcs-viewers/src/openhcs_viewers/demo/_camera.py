"""The microscope of the synthetic plate: defocus, uneven light, and a camera that counts photons."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from openhcs_viewers.demo._cells import APRON, HEIGHTS, gauss

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from openhcs_viewers.demo.synth import Dye, PlateDesign

    Float = NDArray[np.float32]

BLUR_PER_UM = 1.05
"""Growth of the blur (sigma, pixels) per um of defocus: about that of a 20x/0.75 objective at 0.65 um pixels."""

CAMERA_OFFSET = 100.0
"""Counts of a dark pixel, as sCMOS cameras are set."""

READ_NOISE = 2.2
"""Standard deviation in counts of a dark pixel."""


def photograph(
    rng: np.random.Generator, layers: list[Float], dye: Dye, design: PlateDesign, focus: float
) -> list[NDArray[np.uint16]]:
    """Take one z stack of a drawn channel: ``planes`` images of uint16, the middle one nearest to focus."""
    size = layers[0].shape[0]
    seen = slice(APRON, APRON + design.size)
    spectra = [np.fft.rfft2(layer) for layer in layers]
    y, x = np.mgrid[-1.0 : 1.0 : design.size * 1j, -1.0 : 1.0 : design.size * 1j].astype(np.float32)
    # Vignetting a little off centre, stronger at short wavelengths, and a background that leans to one side.
    lit = 1.0 - (0.20 + 25.0 / dye.emission) * ((x - 0.12) ** 2 + (y + 0.08) ** 2) / 2.0
    haze = dye.background * (1.0 + 0.12 * x - 0.18 * y)
    glow = gauss(size, 26.0)
    images = []
    for z in range(design.planes):
        height = (z - (design.planes - 1) / 2.0) * design.step_um - focus
        spectrum = np.zeros_like(spectra[0])
        for layer, at in zip(spectra, HEIGHTS, strict=True):
            spectrum += layer * gauss(size, float(np.hypot(0.75, BLUR_PER_UM * abs(height - at))))
        # Out-of-focus light of the whole cell reaches every plane as a wide halo.
        spectrum *= 0.90 + 0.10 * glow
        signal = np.clip(np.fft.irfft2(spectrum, s=(size, size))[seen, seen], 0.0, None) * dye.brightness
        expected = (signal + haze) * lit
        # Shot noise at 0.7 counts per electron; a normal law is exact enough above 100 electrons and ten times faster.
        noise = rng.standard_normal(signal.shape, dtype=np.float32) * np.sqrt(0.7 * expected + READ_NOISE**2)
        images.append(np.clip(np.rint(expected + noise + CAMERA_OFFSET), 0, 65535).astype(np.uint16))
    return images
