"""The contract of a store of bytes by key as tests: see `polystore.testing`."""

from __future__ import annotations

import pickle  # noqa: TID251  # the contract is that stores travel to worker processes
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from polystore.errors import AlreadyExistsError, NotFoundError, UnsafePathError
from polystore.objects.abc import ObjectStore

__all__ = ["ObjectStoreTests"]

OUTSIDE = ["/etc/passwd", "../x", "a/../../x", "..", "C:\\x", "\\\\host\\x", "a\\..\\..\\x", "a\0b", ""]


class ObjectStoreTests(ABC):
    """The contract of a `polystore.objects.ObjectStore`. Each test gets a store of its own, empty."""

    folder: Path
    """A new, empty folder of the file system for each test, for stores that need one."""

    @abstractmethod
    def make_store(self) -> ObjectStore:
        """A new, empty store."""

    @pytest.fixture
    def objects(self, tmp_path: Path) -> ObjectStore:
        """The store under test."""
        self.folder = tmp_path
        return self.make_store()

    def test_get_returns_what_was_put(self, objects: ObjectStore) -> None:
        """Any bytes, none at all too; the newest wins."""
        for data in (b"", b"\0\xff" * 1000, b"new"):
            objects.put("a/b.json", data)
            assert objects.holds("a/b.json")
            assert objects.get("a/b.json").data == data

    def test_nothing_there(self, objects: ObjectStore) -> None:
        """The error is the one built-in code expects, and names the key."""
        objects.put("a/b", b"")
        assert not objects.holds("a")
        for key in ("nowhere.json", "a/nowhere.json", "a/b/nowhere.json"):
            assert not objects.holds(key)
            with pytest.raises(NotFoundError, match=r"nowhere\.json"):
                objects.get(key)
            with pytest.raises(NotFoundError, match=r"nowhere\.json"):
                objects.delete(key)

    def test_create_if_absent(self, objects: ObjectStore) -> None:
        """The first stays."""
        objects.put("a", b"first", overwrite=False)
        with pytest.raises(AlreadyExistsError) as caught:
            objects.put("a", b"second", overwrite=False)
        assert isinstance(caught.value, FileExistsError)
        assert objects.get("a").data == b"first"

    def test_swap(self, objects: ObjectStore) -> None:
        """Only what was read is replaced; None means that nothing is there."""
        assert not objects.swap("d/a", b"x", "no such stamp")
        assert objects.swap("d/a", b"1", None)
        assert not objects.swap("d/a", b"2", None)
        read = objects.get("d/a")
        assert objects.swap("d/a", b"2", read.stamp)
        assert not objects.swap("d/a", b"3", read.stamp)
        assert objects.get("d/a").data == b"2"
        objects.delete("d/a")
        assert not objects.swap("d/a", b"3", read.stamp)

    def test_update(self, objects: ObjectStore) -> None:
        """What is returned stands there; None leaves all as it is, also where nothing is."""
        assert objects.update("d/a", lambda old: None) is None
        assert list(objects.keys()) == []
        assert objects.update("d/a", lambda old: b"1" if old is None else b"wrong") == b"1"
        assert objects.update("d/a", lambda old: (old or b"") + b"2") == b"12"
        assert objects.update("d/a", lambda old: None) == b"12"
        assert objects.get("d/a").data == b"12"

    def test_an_error_of_a_change_passes(self, objects: ObjectStore) -> None:
        """As it is, whatever it is, and nothing has happened; the key is free again."""
        objects.put("a", b"old")

        def fail(old: bytes | None) -> bytes:
            raise FileNotFoundError("mine")

        with pytest.raises(FileNotFoundError, match=r"^mine$"):
            objects.update("a", fail)
        assert objects.update("a", lambda old: (old or b"") + b"!") == b"old!"

    def test_delete(self, objects: ObjectStore) -> None:
        """Gone for get and for listings."""
        objects.put("d/a", b"1")
        objects.put("d/b", b"2")
        objects.delete("d/a")
        assert list(objects.keys()) == ["d/b"]
        with pytest.raises(NotFoundError):
            objects.delete("d/a")

    def test_listing(self, objects: ObjectStore) -> None:
        """Folders are what stands before a slash; a prefix is a folder and not the beginning of a name."""
        assert list(objects.scan()) == []
        assert list(objects.keys("no")) == []
        for key in ("a", "d/b", "d/e/c", "dd"):
            objects.put(key, b"")
        assert {(entry.name, entry.is_folder) for entry in objects.scan()} == {
            ("a", False),
            ("d", True),
            ("dd", False),
        }
        assert {(entry.name, entry.is_folder) for entry in objects.scan("d/")} == {("b", False), ("e", True)}
        with pytest.raises(NotFoundError):
            objects.scan("nowhere")
        assert sorted(objects.keys()) == ["a", "d/b", "d/e/c", "dd"]
        assert sorted(objects.keys("d")) == ["d/b", "d/e/c"]
        assert list(objects.keys("d/e")) == ["d/e/c"]

    def test_one_key_has_many_spellings(self, objects: ObjectStore) -> None:
        """``.`` and doubled slashes do not count."""
        objects.put("./d//a", b"1")
        assert objects.get("d/a").data == b"1"
        assert list(objects.keys("./d/.")) == ["d/a"]

    @pytest.mark.parametrize(
        "key", ["with space", "\u7ec6\u80de.json", "100%", "%41", "#1+2=3", "a?b", "~x", "[x]{y}"]
    )
    def test_unusual_names(self, objects: ObjectStore, key: str) -> None:
        """Signs that mean something in a URL are signs."""
        objects.put(f"d/{key}", key.encode())
        assert objects.get(f"d/{key}").data == key.encode()
        assert list(objects.keys()) == [f"d/{key}"]
        assert [entry.name for entry in objects.scan("d")] == [key]
        assert objects.update(f"d/{key}", lambda old: b"2") == b"2"
        objects.delete(f"d/{key}")
        assert list(objects.keys()) == []

    @pytest.mark.parametrize("key", OUTSIDE)
    def test_keys_that_leave_the_root(self, objects: ObjectStore, key: str) -> None:
        """Refused by every verb."""
        for call in (
            lambda: objects.get(key),
            lambda: objects.holds(key),
            lambda: objects.put(key, b""),
            lambda: objects.swap(key, b"", None),
            lambda: objects.update(key, lambda old: b""),
            lambda: objects.delete(key),
        ):
            with pytest.raises(UnsafePathError):
                call()
        if key:
            with pytest.raises(UnsafePathError):
                objects.scan(key)
            with pytest.raises(UnsafePathError):
                list(objects.keys(key))
        assert list(objects.keys()) == []

    def test_pickles(self, objects: ObjectStore) -> None:
        """It travels to a worker process as a description."""
        objects.put("a", b"1")
        again = pickle.loads(pickle.dumps(objects))  # noqa: S301  # our own bytes
        assert type(again) is type(objects)
        assert again.get("a").data == b"1"

    def test_threads(self, objects: ObjectStore) -> None:
        """No change is lost."""

        def add() -> None:
            for _ in range(10):
                objects.update("n", lambda old: str(int(old or b"0") + 1).encode())

        with ThreadPoolExecutor(4) as pool:
            for done in [pool.submit(add) for _ in range(4)]:
                done.result()
        assert objects.get("n").data == b"40"
