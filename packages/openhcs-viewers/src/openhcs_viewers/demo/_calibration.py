"""How large a plate's pixels are, how far its planes and its time points are apart."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from openhcs_viewers.demo.pipeline import Calibration
from polystore.errors import PolystoreError

if TYPE_CHECKING:
    from openhcs_viewers.demo.plate import Plate

logger = logging.getLogger(__name__)


def calibration(plate: Plate) -> Calibration:
    """Return what a plate's own files say; pixels only when no microscope is known by its folder."""
    from polystore.microscopes import open_plate

    try:
        info = open_plate(plate.root).info
    except PolystoreError as error:
        logger.info("z step and frame interval of %s are unknown: %s", plate.name, error)
        return Calibration(plate.scale)
    return Calibration(plate.scale or info.pixel_size_um, info.z_step_um, info.t_step_s)
