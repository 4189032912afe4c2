"""Which of ImageJ's pixel types an array becomes, and the numpy side of getting there. No Java here.

ImageJ has four types of pixels. What it lacks is converted, and the log says so once per dtype:

==================================================  ==========================================
array                                               ImageJ
==================================================  ==========================================
uint8                                               8-bit
uint16                                              16-bit
float32                                             32-bit
uint8 of shape (y, x, 3) or (y, x, 4)               RGB; opacity is left out
bool                                                8-bit: 0 and 255, in labels 0 and 1
int8, int16, int32, uint32, int64, uint64           32-bit: exact up to 2**24
float16, float64                                    32-bit: float64 loses digits
complex                                             32-bit: absolute values
==================================================  ==========================================

Labels are the same: ``uint8`` and ``uint16`` stay what they are.
"""

from __future__ import annotations

import logging
import sys
from enum import Enum
from functools import cache
from typing import Any, TypeAlias

import numpy as np

from polystore.errors import ProjectionError

__all__ = ["PixelType", "convert", "converted", "pixel_type"]

logger = logging.getLogger(__name__)

Array: TypeAlias = np.ndarray[Any, Any]


class PixelType(Enum):
    """A type of pixels ImageJ has."""

    BYTE = "8-bit", np.uint8
    SHORT = "16-bit", np.uint16
    FLOAT = "32-bit", np.float32
    RGB = "RGB", np.int32

    sample: np.dtype[Any]
    """One element of its Java arrays, as numpy sees it; RGB is 0xRRGGBB."""

    __hash__ = object.__hash__  # members are looked up for each plane, and Enum's is a call of Python

    def __new__(cls, label: str, sample: type[np.generic]) -> PixelType:
        """Make a member whose value is ImageJ's word for it."""
        member = object.__new__(cls)
        member._value_ = label
        member.sample = np.dtype(sample)
        return member


_SAME = {kind.sample: kind for kind in (PixelType.BYTE, PixelType.SHORT, PixelType.FLOAT)}


def pixel_type(dtype: np.dtype[Any], shape: tuple[int, ...], kind: str = "image") -> PixelType:
    """Return what an array becomes in ImageJ; any thread.

    Parameters
    ----------
    dtype, shape
        Of a plane (y, x), or of a colour picture (y, x, 3|4) of bytes.
    kind
        ``"image"`` or ``"labels"``.

    Raises
    ------
    ProjectionError
        ImageJ cannot show it: not a plane, no pixels, or no numbers.
    """
    if len(shape) == 2:
        if shape[0] and shape[1]:
            return _of_samples(dtype)
        raise ProjectionError(f"an array of shape {shape} has no pixels to show")
    if len(shape) == 3 and shape[2] in (3, 4) and dtype == np.uint8 and kind == "image":
        if shape[0] and shape[1]:
            return PixelType.RGB
        raise ProjectionError(f"an array of shape {shape} has no pixels to show")
    raise ProjectionError(
        f"ImageJ shows planes (y, x), and colours as (y, x, 3) or (y, x, 4) of uint8: a {kind} of shape "
        f"{shape} and {dtype} is neither; send it plane by plane"
    )


@cache
def _of_samples(dtype: np.dtype[Any]) -> PixelType:
    """Decide by the dtype of a plane alone; being cached it speaks of each dtype once."""
    native = dtype.newbyteorder("=")
    if (same := _SAME.get(native)) is not None:
        return same
    if native.kind not in "biufc":
        raise ProjectionError(f"ImageJ has no pixels of {dtype}: send integers, floats or booleans")
    to = PixelType.BYTE if native.kind == "b" else PixelType.FLOAT
    if native == dtype:
        lost = {"b": "as 0 and 255 (labels: 0 and 1)", "c": "by their absolute values"}.get(native.kind)
        logger.warning(
            "ImageJ has no %s: such images are shown as %s%s", native, to.value, f", {lost}" if lost else ""
        )
    else:
        _of_samples(native)
    return to


def converted(array: Array, to: PixelType) -> bool:
    """Whether the pixels of `array` are other numbers in ImageJ, or the same in other bytes."""
    return to is not PixelType.RGB and array.dtype != to.sample


def convert(array: Array, out: Array, kind: str = "image") -> None:
    """Write the pixels of `array` (y, x) or (y, x, 3|4) into `out` (y, x), which has the samples of its type.

    Values a 32-bit float cannot hold become infinite, as ImageJ's own conversion does.
    """
    if array.ndim == 3:
        # Byte by byte of each sample: shifting whole numbers would need three more planes.
        samples = out.view(np.uint8).reshape(*out.shape, 4)
        red, green, blue, rest = (2, 1, 0, 3) if sys.byteorder == "little" else (1, 2, 3, 0)
        samples[..., rest] = 0
        for to, channel in zip((red, green, blue), range(3), strict=True):
            samples[..., to] = array[..., channel]
        return
    with np.errstate(over="ignore", invalid="ignore"):
        if array.dtype.kind == "c":
            np.absolute(array, out=out, casting="unsafe")
        elif array.dtype.kind == "b" and kind != "labels":
            np.multiply(array, np.uint8(255), out=out, casting="unsafe")
        else:
            np.copyto(out, array, casting="unsafe")
