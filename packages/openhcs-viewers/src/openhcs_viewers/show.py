"""One line: `show` an array in a viewer, whatever number of axes it has."""

from __future__ import annotations

import itertools
import sys
import types
from typing import TYPE_CHECKING, Any

from openhcs_viewers.launcher import launch

if TYPE_CHECKING:
    import numpy as np

    from openhcs_viewers.handle import ViewerHandle
    from polystore.components import ImageKey

SEND_TIMEOUT = 60.0
"""Seconds the viewer gets to take the planes; it takes them within milliseconds unless it hangs."""

BATCH = 64
"""Planes handed over at once."""

AXES = {"t": "t", "c": "channel", "z": "z", "f": "field", "w": "well", "p": "plate", "a": "acquisition"}
"""Letters an axis can have beside y, x and s (the samples of a colour)."""

_numbers = itertools.count(1)


def show(
    array: Any,
    *,
    name: str | None = None,
    viewer: str | ViewerHandle = "napari",
    port: int | None = None,
    kind: str = "image",
    colormap: str = "gray",
    contrast: tuple[float, float] | None = None,
    scale: tuple[float, float] | None = None,
    axes: str | None = None,
    **components: str | int,
) -> ViewerHandle:
    """Show an array, launching the viewer unless one runs; return its handle.

    Parameters
    ----------
    array : array
        Of NumPy, PyTorch, CuPy, JAX or anything with DLPack or ``__array__``. The last two axes are y and x;
        those before become sliders, from the inside out z, channel (layers) and t. An array of bytes with
        three axes of which the last has 3 or 4 entries is one colour picture. It may be changed afterwards.
    name : str, optional
        The layer's name. The same name again replaces what that layer shows; without a name every call makes
        a layer of its own.
    viewer : str or ViewerHandle
        Kind of viewer, or the one to show it in.
    port : int, optional
        See `launch`.
    kind : {"image", "labels"}
        Intensities, or whole numbers that label regions.
    colormap : str
        Of an image.
    contrast : (float, float), optional
        Range to show; found from the pixels when not given.
    scale : (float, float), optional
        Size of a pixel (y, x) in micrometres.
    axes : str, optional
        A letter per axis, such as ``"tzyx"`` or ``"zyxs"``: t, c, z, f (field), w (well), p (plate), a
        (acquisition), y, x and s (the samples of a colour).
    **components
        Where the array belongs: ``well="A01"``, ``channel="DAPI"``, ``z=3``.

    Raises
    ------
    LaunchError
        See `launch`.
    polystore.errors.PolystoreError
        It cannot be shown: its dtype, its axes or a component is none that can.
    """
    from polystore.components import ImageKey
    from polystore.payload.arrays import as_host_array, check_array
    from polystore.projection import DisplaySpec
    from polystore.streaming.messages import BatchContext, StreamItem
    from polystore.streaming.runs import default_run

    pixels = as_host_array(array)
    check_array(pixels)
    layer = name if name is not None else f"array_{next(_numbers)}"
    planes = _planes(pixels, axes, ImageKey.of(**components))
    items = [StreamItem(plane, key, kind, contrast, name=layer) for plane, key in planes]
    context = BatchContext(run=default_run(), display=DisplaySpec(colormap=colormap, scale=scale))
    handle = launch(viewer, port=port) if isinstance(viewer, str) else viewer
    sender = handle.sender()
    for begin in range(0, len(items), BATCH):
        sender.send(items[begin : begin + BATCH], context, policy="block", deadline=SEND_TIMEOUT)
    return handle


def _planes(pixels: np.ndarray[Any, Any], axes: str | None, key: ImageKey) -> list[tuple[Any, ImageKey]]:
    """Return the planes of an array, as views, each with its key."""
    from polystore.errors import ProjectionError
    from polystore.projection import split_planes

    if axes is None:
        return [
            (pixels[index] if index else pixels, plane)
            for index, plane in split_planes(key, pixels.shape, pixels.dtype)
        ]
    letters = axes.lower()
    tail = "yxs" if letters.endswith("s") else "yx"
    leading = letters.removesuffix(tail)
    known = f"{', '.join(AXES)}, then yx or yxs"
    if (
        len(letters) != pixels.ndim
        or not letters.endswith(tail)
        or len(set(letters)) != len(letters)
        or set(leading) - set(AXES)
    ):
        raise ProjectionError(
            f"axes={axes!r} does not fit an array of shape {pixels.shape}: give a letter per axis, each once ({known})"
        )
    return [
        (pixels[index], key.replace(**{AXES[letter]: at for letter, at in zip(leading, index, strict=True)}))
        for index in itertools.product(*(range(size) for size in pixels.shape[: len(leading)]))
    ]


class _CallableModule(types.ModuleType):
    """Lets ``from openhcs_viewers import show`` be called whichever of module and function Python finds there."""

    def __call__(self, array: Any, **options: Any) -> ViewerHandle:
        return show(array, **options)


# Importing a submodule sets its name in the package, where the function of that name is meant to be.
sys.modules[__name__].__class__ = _CallableModule
