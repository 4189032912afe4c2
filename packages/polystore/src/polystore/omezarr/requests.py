"""What planes are stored with: their pixels and place, and what is known of their plate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from polystore.omezarr.arrays import ZarrFormat
from polystore.omezarr.names import Plane
from polystore.omezarr.pyramids import Pyramid
from polystore.plate import PlateInfo

__all__ = ["Context", "Request"]


@dataclass(frozen=True, slots=True)
class Request:
    """A plane that is about to be stored.

    Parameters
    ----------
    place
        Where it belongs.
    plane
        Its pixels, in this machine's byte order.
    """

    place: Plane
    plane: NDArray[Any]
    overwrite: bool = True


@dataclass(frozen=True, slots=True)
class Context:
    """What an image group is made with.

    Parameters
    ----------
    version
        Of OME-NGFF: ``"0.4"`` or ``"0.5"``.
    format
        Of Zarr.
    pyramid
        Whether planes get smaller copies.
    info
        What is known of the plate.
    """

    version: str
    format: ZarrFormat
    pyramid: Pyramid
    info: PlateInfo
