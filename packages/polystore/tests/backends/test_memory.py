from __future__ import annotations

import threading

import numpy as np
import pytest

from polystore.backends.memory import MemoryBackend
from polystore.errors import NotFoundError, StorageError, UnsupportedFormatError
from polystore.testing import BackendTests, example_image


class TestMemory(BackendTests):
    shared = False

    def make_backend(self) -> MemoryBackend:
        return MemoryBackend()


class TestAbsolutePaths(BackendTests):
    shared = False
    suffix = ".any"

    def make_backend(self) -> MemoryBackend:
        return MemoryBackend()

    def path(self, name: str) -> str:
        return f"/data/plate/{name}"


def test_loading_copies_nothing_and_gives_no_way_to_change_what_is_kept() -> None:
    store = MemoryBackend()
    store.save(example_image(), "a")
    first, second = store.load("a"), store.load("a")
    assert np.shares_memory(first, second)
    with pytest.raises(ValueError, match="read-only"):
        first[0, 0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        first.flags.writeable = True


def test_copy_false_keeps_the_object_itself() -> None:
    store = MemoryBackend()
    image = example_image()
    store.save(image, "a", copy=False)
    assert np.shares_memory(store.load("a"), image)
    lock = threading.Lock()
    with pytest.raises(UnsupportedFormatError, match="copy=False"):
        store.save(lock, "lock")
    store.save({"n": 1}, "dict", copy=False)
    assert store.load("dict") == {"n": 1}


def test_other_values_are_copied_both_ways() -> None:
    store = MemoryBackend()
    value = {"list": [1]}
    store.save(value, "v")
    value["list"].append(2)
    loaded = store.load("v")
    assert loaded == {"list": [1]}
    loaded["list"].append(3)
    assert store.load("v") == {"list": [1]}


def test_one_place_has_one_name() -> None:
    store = MemoryBackend()
    store.save("text", "a/./b/../c")
    assert store.load("a/c") == "text"
    assert store.list_files("a") == ["a/c"]
    assert store.list_dirs(".") == ["a", "b"] or store.list_dirs(".") == ["a"]
    assert not store.exists("/a/c")


def test_the_top_folders_are_there_and_stay() -> None:
    store = MemoryBackend()
    assert store.is_dir("/")
    assert store.is_dir(".")
    for top in ("/", "."):
        with pytest.raises(StorageError, match="top folder"):
            store.delete(top, recursive=True)


def test_a_refused_save_makes_no_folders() -> None:
    store = MemoryBackend()
    store.save("text", "a")
    with pytest.raises(StorageError):
        store.save("text", "a/b/c/d")
    assert store.list_dirs(".") == []


def test_a_missing_path_says_that_memory_is_not_shared() -> None:
    with pytest.raises(NotFoundError, match="other processes"):
        MemoryBackend().load("a")
