"""TIFF, OME-TIFF and ImageJ hyperstacks, through tifffile."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
import tifffile
from numpy.typing import NDArray

from polystore.errors import MissingExtraError, UnsupportedFormatError
from polystore.payload.arrays import as_host_array, check_array

__all__ = ["read", "write"]

# Those tifffile does by itself; for the others it needs imagecodecs.
_OWN_COMPRESSIONS = frozenset({"none", "zlib", "deflate", "adobe_deflate"})

_UNBOUNDED = 2**63 - 1


def write(
    stream: BinaryIO,
    suffix: str,
    value: Any,
    *,
    axes: str | None = None,
    compression: str | None = None,
    rgb: bool = False,
    ome: bool | None = None,
    imagej: bool = False,
    pixel_size: tuple[float, float] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write an array of two or more dimensions.

    Parameters
    ----------
    axes
        One letter per dimension (``"TCZYX"``), kept in the file.
    compression
        ``"zlib"`` works everywhere, others (``"zstd"``, ``"lzw"``) with ``polystore[tiff]``.
    rgb
        Whether the last dimension (3 or 4) is colour; else it is an ordinary one.
    ome, imagej
        OME-TIFF (what the suffixes ``.ome.tif`` and ``.ome.tiff`` mean by themselves), or an ImageJ
        hyperstack.
    pixel_size
        Height and width of a pixel in micrometres.
    metadata
        What else tifffile puts into the file's description, e.g. OME ``{"Channel": {"Name": ["DAPI"]}}``.
    """
    array = as_host_array(value)
    check_array(array, max_bytes=_UNBOUNDED)
    # tifffile writes a single pixel of five or more dimensions, and cannot read it again.
    if array.ndim < 2 or array.size == 0 or (array.size == 1 and array.ndim > 4):
        raise UnsupportedFormatError(
            f"an image of shape {array.shape}: TIFF needs two dimensions and a pixel; use .npy"
        )
    if axes is not None and len(axes) != array.ndim:
        raise UnsupportedFormatError(
            f"axes={axes!r} has {len(axes)} letters for an array of shape {array.shape}"
        )
    description = dict(metadata or {})
    if axes is not None:
        description["axes"] = axes
    ome = suffix.startswith(".ome") if ome is None else ome
    options: dict[str, Any] = {}
    if pixel_size is not None:
        height, width = pixel_size
        options |= {"resolution": (1e4 / width, 1e4 / height), "resolutionunit": "CENTIMETER"}
        if ome:
            description |= {
                "PhysicalSizeX": width, "PhysicalSizeXUnit": "µm",
                "PhysicalSizeY": height, "PhysicalSizeYUnit": "µm",
            }  # fmt: skip
        elif imagej:
            options["resolution"] = (1 / width, 1 / height)
            options["resolutionunit"] = "NONE"
            description["unit"] = "um"
    if compression is not None and compression.lower() != "none":
        options["compression"] = _compression(compression)
    try:
        tifffile.imwrite(
            stream,
            array,
            photometric="rgb" if rgb else "minisblack",
            ome=ome,
            imagej=imagej,
            metadata=description,
            **options,
        )
    except (ValueError, TypeError) as exc:
        # tifffile's own refusals: dtypes ImageJ cannot hold, axes OME does not know, an unknown compression
        raise UnsupportedFormatError(f"{array.dtype} of shape {array.shape}: {exc}") from exc


def read(
    stream: BinaryIO, suffix: str, *, series: int = 0, page: int | None = None, axes: str | None = None
) -> NDArray[Any]:
    """The array of one image series, by default the first; a new array in native byte order, owned by the
    caller.

    Files written by `write` come back with the same shape and values.

    Parameters
    ----------
    series
        Which series, from 0.
    page
        One plane of the file instead of a series, from 0; only that one is read.
    axes
        The dimensions in this order (``"TCZYX"``), whatever the file's: those it lacks have length 1, those of
        length 1 that are not named are left out.
    """
    with tifffile.TiffFile(stream) as file:
        if page is not None:
            if axes is not None or series:
                raise UnsupportedFormatError(f"page={page} is one plane: leave series= and axes= out")
            return _page(file, page)
        if not 0 <= series < len(file.series):
            raise UnsupportedFormatError(f"series={series}, but the file has {len(file.series)}")
        array: NDArray[Any] = np.asarray(file.series[series].asarray())
        return array if axes is None else _arranged(array, file.series[series].axes, axes)


def _page(file: Any, page: int) -> NDArray[Any]:
    pages = file.pages
    if 0 <= page < len(pages):
        plane: NDArray[Any] = np.asarray(pages[page].asarray())
        return plane
    # ImageJ notes only the first page of a stack over 4 GB; the others follow it.
    whole = file.series[0]
    count = int(np.prod(whole.shape[:-2])) if len(pages) == 1 and len(whole.shape) > 2 else len(pages)
    if not 0 <= page < count:
        raise UnsupportedFormatError(f"page={page}, but the file has {count}, counted from 0")
    return np.array(whole.asarray().reshape(count, *whole.shape[-2:])[page])


def _arranged(array: NDArray[Any], have: str, wanted: str) -> NDArray[Any]:
    wanted = wanted.upper()
    lost = [
        axis for axis, length in zip(have, array.shape, strict=True) if length != 1 and axis not in wanted
    ]
    if lost or len(set(wanted)) != len(wanted) or len(set(have)) != len(have):
        raise UnsupportedFormatError(f"axes={wanted!r}, but the file has {have!r} of shape {array.shape}")
    kept = [axis for axis in have if axis in wanted]
    array = array.reshape([length for axis, length in zip(have, array.shape, strict=True) if axis in wanted])
    array = array.transpose([kept.index(axis) for axis in wanted if axis in kept])
    lengths = dict(zip([axis for axis in wanted if axis in kept], array.shape, strict=True))
    return np.ascontiguousarray(array.reshape([lengths.get(axis, 1) for axis in wanted]))


def _compression(name: str) -> str:
    name = name.lower()
    if name not in _OWN_COMPRESSIONS:
        try:
            import imagecodecs  # noqa: F401
        except ModuleNotFoundError:
            raise MissingExtraError(
                f"TIFF compression {name!r} needs imagecodecs: pip install 'polystore[tiff]', or use 'zlib'"
            ) from None
    return name
