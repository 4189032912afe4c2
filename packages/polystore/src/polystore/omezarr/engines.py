"""Who encodes and decodes chunks: tensorstore or zarr-python, behind one small protocol.

An engine works in memory: it turns one chunk (or shard) into the bytes the specification says and back. The
bytes are stored by `polystore.objects.ObjectStore`, so that what is atomic, durable or refused does not
depend on the engine.
"""

from __future__ import annotations

import multiprocessing
from functools import cache
from importlib.util import find_spec
from typing import Any, Literal, Protocol

from numpy.typing import NDArray

from polystore.errors import MissingExtraError
from polystore.omezarr.arrays import ArrayMeta

__all__ = ["ENGINES", "Engine", "EngineName", "choose", "engine"]

EngineName = Literal["auto", "tensorstore", "zarr"]

ENGINES: tuple[EngineName, ...] = ("auto", "tensorstore", "zarr")
"""What can be asked for."""


class Engine(Protocol):
    """Encodes and decodes whole chunks. Thread-safe."""

    name: str

    def encode(self, meta: ArrayMeta, chunk: NDArray[Any]) -> bytes:
        """The bytes of one chunk of an array; its shape is the chunks' and its dtype the array's."""

    def decode(self, meta: ArrayMeta, data: bytes) -> NDArray[Any]:
        """The chunk in those bytes, new and the caller's; any exception means the bytes are no such chunk."""


def choose(name: EngineName) -> Literal["tensorstore", "zarr"]:
    """The engine that ``"auto"`` means in this process; the others as they are.

    tensorstore where it is installed, but not in a process that is likely to fork: once tensorstore has
    worked in a process, every child that is forked from it is aborted. So ``"auto"`` is zarr-python in the
    main process as long as the start method of `multiprocessing` is fork, and tensorstore in its workers
    and wherever the start method is another.
    """
    if name != "auto":
        return name
    if find_spec("tensorstore") is None:
        return "zarr"
    if multiprocessing.parent_process() is not None:
        return "tensorstore"
    # Where none has been chosen yet the first is the default. Asking without allow_none would choose it.
    method = multiprocessing.get_start_method(allow_none=True) or multiprocessing.get_all_start_methods()[0]
    return "zarr" if method == "fork" else "tensorstore"


@cache
def engine(name: Literal["tensorstore", "zarr"]) -> Engine:
    """The engine of that name.

    Raises
    ------
    MissingExtraError
        It is not installed.
    """
    extra = {"tensorstore": "fast", "zarr": "zarr"}[name]
    try:
        if name == "tensorstore":
            from polystore.omezarr._tensorstore import TensorstoreEngine

            return TensorstoreEngine()
        from polystore.omezarr._zarr import ZarrEngine

        return ZarrEngine()
    except ImportError as exc:
        # A thread that imports a module while another one's import of it fails gets half of it, and no name.
        needs = exc.name if isinstance(exc, ModuleNotFoundError) else None
        if needs is None or needs.startswith("polystore"):
            if find_spec(name) is not None:
                raise
            needs = name
        raise MissingExtraError(
            f"backend 'zarr' with engine {name!r} needs {needs}: pip install 'polystore[{extra}]'"
        ) from exc
