"""The contract of stores is one that can be broken: stores with one fault each, and the test that finds it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from polystore._paths import StrPath
from polystore.backends.disk import DiskBackend
from polystore.backends.memory import MemoryBackend
from polystore.testing import BackendTests, example_image


class CopiesForLinks(DiskBackend):
    def symlink(self, source: StrPath, target: StrPath, *, overwrite: bool = False) -> None:
        self.copy(source, target, overwrite=overwrite)


class FollowsWhenItDeletes(DiskBackend):
    def delete(self, path: StrPath, *, recursive: bool = False) -> None:
        if self.is_link(path):
            Path(self._real(path)).resolve().unlink()
        super().delete(path, recursive=recursive)


class LowerCase(DiskBackend):
    def _real(self, path: StrPath) -> str:
        return super()._real(str(path).lower())


class WithAPlainLock(DiskBackend):
    """Its lock stays locked in a child that is forked while a thread saves."""

    lock: ClassVar[threading.Lock] = threading.Lock()

    def save(self, data: Any, path: StrPath, **options: Any) -> None:
        with self.lock:
            for _ in range(20):
                super().save(data, path, **options)


class HoldsWhatItOpened(DiskBackend):
    def save(self, data: Any, path: StrPath, **options: Any) -> None:
        super().save(data, path, **options)
        self.handle = threading.Lock()  # something that does not pickle


class KeepsTheCallersArray(MemoryBackend):
    def save(self, data: Any, path: StrPath, **options: Any) -> None:
        options["copy"] = options.get("copy", True) and not isinstance(data, np.ndarray)
        super().save(data, path, **options)


class Contract(BackendTests):
    """The tests, called one by one."""

    __test__ = False
    start_methods = ("fork",)
    patience = 1

    def __init__(self, store: Any, folder: Path) -> None:
        self.store = store
        self.folder = folder

    def make_backend(self) -> Any:
        return self.store


FAULTS: list[tuple[Callable[[Path], Any], str]] = [
    (CopiesForLinks, "test_links"),
    (FollowsWhenItDeletes, "test_links"),
    (LowerCase, "test_unusual_names"),
    (LowerCase, "test_unusual_folders"),
    (WithAPlainLock, "test_fork_while_threads_use_it"),
    (HoldsWhatItOpened, "test_pickles"),
    (lambda folder: MemoryBackend(), "test_worker_processes"),  # which says it is shared
    (lambda folder: KeepsTheCallersArray(), "test_the_store_owns_what_it_keeps"),
]


@pytest.mark.parametrize(("make", "name"), FAULTS)
def test_a_fault_is_found(make: Callable[[Path], Any], name: str, tmp_path: Path) -> None:
    store = make(tmp_path)
    with pytest.raises((AssertionError, TypeError, OSError)):
        getattr(Contract(store, tmp_path), name)(store)


@pytest.mark.parametrize("name", sorted({name for _, name in FAULTS}))
def test_a_sound_store_has_none(name: str, tmp_path: Path) -> None:
    store = DiskBackend(tmp_path)
    contract = Contract(store, tmp_path)
    contract.patience = 60  # type: ignore[misc]
    getattr(contract, name)(store)
    assert example_image().any()
