"""What every backend must do, as tests to subclass; and a check that nothing is left in shared memory.

Needs pytest. A backend passes by

    class TestMine(BackendTests):
        def make_backend(self) -> MyBackend:
            return MyBackend()
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

# So that a failed assert says what it compared.
pytest.register_assert_rewrite("polystore._backend_tests", "polystore._object_tests")

from polystore._backend_tests import BackendTests, example_image  # noqa: E402
from polystore._object_tests import ObjectStoreTests  # noqa: E402

__all__ = ["BackendTests", "ObjectStoreTests", "assert_nothing_left", "example_image"]


@contextmanager
def assert_nothing_left(within: float = 5.0) -> Iterator[None]:
    """Fail when the block leaves names of ours in shared memory that were not there before.

    Counted are the names of this process, of its descendants, and of processes that have died; other programs on
    this machine may come and go.

    Parameters
    ----------
    within
        Seconds the names have to vanish in, e.g. while a viewer ends.
    """
    from polystore.payload.shm import names

    before = {name for name, _, _ in names()}
    yield
    deadline = time.monotonic() + within
    while True:
        left = sorted(
            name for name, _, alive in names() if name not in before and (not alive or _is_ours(name))
        )
        if not left:
            return
        if time.monotonic() > deadline:
            raise AssertionError(
                f"{len(left)} names left in shared memory after {within} s: {', '.join(left[:10])}"
            )
        time.sleep(0.02)


def _is_ours(name: str) -> bool:
    """Whether the owner of a name is this process or descends from it."""
    pid = int(name.split("-")[1])
    while pid > 1:
        if pid == os.getpid():
            return True
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            return False
    return False
