"""The contract on a store that does no more than it must: what stands on top of the verbs is tested with it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from polystore._paths import StrPath
from polystore.abc import DataSink, DataSource, Entry, Kind, StorageBackend, StreamingBackend, VirtualBackend
from polystore.backends.memory import MemoryBackend
from polystore.testing import BackendTests


class MinimalBackend(StorageBackend):
    """Another store behind the abstract verbs, and nothing else of it."""

    def __init__(self) -> None:
        self._inner = MemoryBackend()

    def load(self, path: StrPath, **options: Any) -> Any:
        return self._inner.load(path)

    def scan(self, folder: StrPath) -> Iterable[Entry]:
        return self._inner.scan(folder)

    def kind(self, path: StrPath) -> Kind | None:
        return self._inner.kind(path)

    def save(self, data: Any, path: StrPath, *, overwrite: bool = True, **options: Any) -> None:
        self._inner.save(data, path, overwrite=overwrite)

    def delete(self, path: StrPath, *, recursive: bool = False) -> None:
        self._inner.delete(path, recursive=recursive)

    def mkdir(self, path: StrPath) -> None:
        self._inner.mkdir(path)


class TestMinimal(BackendTests):
    shared = False
    start_methods = ("fork",)  # a spawned interpreter cannot import a test

    def make_backend(self) -> MinimalBackend:
        return MinimalBackend()


def test_the_contracts_stay_small() -> None:
    for cls in (DataSource, DataSink, StorageBackend, StreamingBackend, VirtualBackend):
        own = [name for name in cls.__abstractmethods__ if name in vars(cls)]
        assert len(own) <= 5
    assert MinimalBackend.__abstractmethods__ == frozenset()


def test_one_item_is_a_batch_of_one() -> None:
    class Sink(StreamingBackend):
        def save_batch(self, data_list: Any, file_paths: Any, **options: Any) -> Any:
            return data_list, file_paths, options

    assert Sink().save("image", "a.tif", step_index=1) == (["image"], ["a.tif"], {"step_index": 1})
    assert Sink.takes_context
