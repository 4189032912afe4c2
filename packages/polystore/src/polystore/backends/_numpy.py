"""NumPy's own formats: ``.npy`` holds one array exactly, ``.npz`` several by name. Never any Python object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from polystore.errors import UnsupportedFormatError
from polystore.payload.arrays import as_host_array, check_array

__all__ = ["read", "write"]

_UNBOUNDED = 2**63 - 1


def write(stream: BinaryIO, suffix: str, value: Any, *, compressed: bool = False) -> None:
    """Write an array, or for ``.npz`` a mapping of names to arrays (which ``compressed`` makes smaller)."""
    if suffix == ".npy":
        if compressed:
            raise UnsupportedFormatError(".npy is never compressed; use .npz")
        np.save(stream, _checked(value), allow_pickle=False)
        return
    if not isinstance(value, Mapping) or not all(isinstance(name, str) and name for name in value):
        raise UnsupportedFormatError(f"{type(value).__name__}: .npz holds a dict of names to arrays")
    arrays = {name: _checked(array) for name, array in value.items()}
    # Not **arrays: "file" is a name an array may have, and a parameter.
    _write_npz(stream, arrays, compressed)


def read(stream: BinaryIO, suffix: str) -> NDArray[Any] | dict[str, NDArray[Any]]:
    """The array, or the dict of arrays; new, owned by the caller. A file with Python objects is refused."""
    if suffix == ".npy":
        array: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
        return array
    with np.load(stream, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _write_npz(stream: BinaryIO, arrays: Mapping[str, NDArray[Any]], compressed: bool) -> None:
    import zipfile

    method = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(stream, "w", compression=method) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def _checked(value: Any) -> NDArray[Any]:
    array = as_host_array(value)
    check_array(array, max_bytes=_UNBOUNDED)
    return array
