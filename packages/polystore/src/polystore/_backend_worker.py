"""What worker processes do in the contract tests; a module of its own, so that a new interpreter can import it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polystore.abc import StorageBackend

__all__ = ["visit"]


def visit(
    store: StorageBackend,
    known: str | None,
    own: Sequence[str],
    image: NDArray[Any],
    environ: Mapping[str, str],
) -> None:
    """Load what the parent saved, then save and load what is this process's own.

    Parameters
    ----------
    store
        The backend, as it travelled here.
    known
        Where the parent saved the image; None for a store that belongs to its process.
    own
        Paths to save the image under.
    image
        The image.
    environ
        The parent's environment. A fork server has that of the time when it was started, which is another test's.
    """
    os.environ.clear()
    os.environ.update(environ)
    if known is not None:
        np.testing.assert_array_equal(store.load(known), image)
    for path in own:
        store.save(image, path)
        np.testing.assert_array_equal(store.load(path), image)
