"""Several values of one batch on their way at once: for stores that answer from afar."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from polystore._paths import StrPath
from polystore.abc import _batch_error
from polystore.errors import PolystoreError

__all__ = ["THREADS", "load_at_once"]

THREADS = 8
"""Requests at a time: enough to hide the way to a server, few enough to be a polite guest of it."""


def load_at_once(load: Callable[..., Any], paths: Sequence[StrPath], options: dict[str, Any]) -> list[Any]:
    """The values of several paths, in order; of those not yet taken, few are held in memory.

    Raises
    ------
    BatchError
        One could not be loaded; it names the first.
    """
    values: list[Any] = []
    count = len(paths)
    with ThreadPoolExecutor(min(THREADS, max(count, 1))) as pool:
        coming: deque[Future[Any]] = deque()
        for index in range(count):
            while len(coming) < 2 * THREADS and index + len(coming) < count:
                coming.append(pool.submit(load, paths[index + len(coming)], **options))
            try:
                values.append(coming.popleft().result())
            except (PolystoreError, OSError) as exc:
                pool.shutdown(cancel_futures=True)
                raise _batch_error("load", index, count, paths[index], exc) from exc
    return values
