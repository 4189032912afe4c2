"""PNG (exact) and JPEG (lossy), through Pillow."""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from polystore.errors import UnsupportedFormatError
from polystore.payload.arrays import as_host_array

__all__ = ["read", "write"]


def write(stream: BinaryIO, suffix: str, value: Any, *, quality: int | None = None) -> None:
    """Write grey (h, w) or colour (h, w, 3 or 4) pixels.

    PNG holds bool, uint8 and, in grey, uint16, exactly. JPEG holds uint8 without transparency and changes
    the values; ``quality`` is from 1 to 95, by default 95.
    """
    array = as_host_array(value)
    jpeg = suffix != ".png"
    if quality is not None and not (jpeg and 1 <= quality <= 95):
        raise UnsupportedFormatError(f"quality={quality}: JPEG has 1 to 95, PNG has none")
    grey = array.ndim == 2
    colour = array.ndim == 3 and array.shape[2] in ((3,) if jpeg else (3, 4))
    name = array.dtype.newbyteorder("=").name
    fits = array.size > 0 and (
        (grey and name in (("uint8",) if jpeg else ("bool", "uint8", "uint16")))
        or (colour and name == "uint8")
    )
    if not fits:
        holds = "uint8, grey or RGB" if jpeg else "bool, uint8 and uint16 in grey, uint8 in RGB or RGBA"
        raise UnsupportedFormatError(
            f"{array.dtype} of shape {array.shape}: {suffix} holds {holds}; use .tif or .npy, which keep every value"
        )
    image = Image.fromarray(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("=")))
    if jpeg:
        image.save(stream, format="JPEG", quality=quality or 95)
    else:
        image.save(
            stream, format="PNG", compress_level=1
        )  # level 6 is 6 times slower for 5 % on camera images


def read(stream: BinaryIO, suffix: str) -> NDArray[Any]:
    """The pixels as (h, w) or (h, w, 3 or 4); a new array, owned by the caller."""
    with Image.open(stream, formats=["PNG"] if suffix == ".png" else ["JPEG"]) as image:
        if image.mode == "I":  # how Pillow before 11 opens 16-bit PNG
            return np.asarray(image).astype(np.uint16)
        if image.mode not in ("1", "L", "I;16", "RGB", "RGBA"):
            transparent = image.mode in ("LA", "PA") or "transparency" in image.info
            pixels = np.array(image.convert("RGBA" if transparent else "RGB"))
        else:
            pixels = np.array(image)
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
