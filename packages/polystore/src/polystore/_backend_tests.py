"""The contract of a store as tests: see `polystore.testing`."""

from __future__ import annotations

import multiprocessing
import os
import pickle  # noqa: TID251  # the contract is that backends travel to worker processes
import threading
import warnings
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from polystore._backend_worker import visit
from polystore.abc import DataSink, DataSource, StorageBackend, SupportsBytes, SupportsLinks
from polystore.errors import (
    AlreadyExistsError,
    BatchError,
    BatchLengthError,
    NotAFileError,
    NotAFolderError,
    NotFoundError,
    StorageError,
    UnsafePathError,
    UnsupportedArrayError,
)

__all__ = ["BackendTests", "example_image"]


def example_image(seed: int = 0, shape: tuple[int, ...] = (5, 7), dtype: str = "uint16") -> NDArray[Any]:
    """An array of random values, the same for the same arguments."""
    values = np.random.default_rng(seed).integers(0, 60_000, shape)
    array: NDArray[Any] = values.astype(dtype)
    return array


class BackendTests(ABC):
    """The contract of a `polystore.abc.StorageBackend`. Each test gets a backend of its own, empty."""

    suffix: ClassVar[str] = ".tif"
    """Of the images that are saved; a format that holds uint16 exactly."""

    shared: ClassVar[bool] = True
    """Whether all processes see the same; False for a store that belongs to its process."""

    start_methods: ClassVar[tuple[str, ...]] = tuple(multiprocessing.get_all_start_methods())
    """How worker processes are made. Leave out ``"spawn"`` and ``"forkserver"`` only for a class that cannot be
    imported in a new interpreter, such as one defined in a test."""

    patience: ClassVar[float] = 60
    """Seconds a worker process may take before it counts as hanging."""

    names: ClassVar[tuple[str, ...]] = (
        "with space", "Zellkern \u00e4\u00f6\u00fc", "\u7ec6\u80de", "a.b.c", "100%", "%41", "#1+2=3", "it's", "[x]",
        "{y}", "-dash", "~tilde", "a&b;c", "$HOME", "UPPER", "upper", "n" * 100,
    )  # fmt: skip
    """Unusual names of images (without suffix) that it takes. Names a file system tells apart by case only are
    among them: leave those out where it does not."""

    folder: Path
    """A new, empty folder of the file system for each test, for backends that need one."""

    @abstractmethod
    def make_backend(self) -> StorageBackend:
        """A new, empty backend."""

    def path(self, name: str) -> str:
        """The path under which a test finds ``name``; override where a backend needs it elsewhere."""
        return f"contract/{name}"

    @pytest.fixture
    def store(self, tmp_path: Path) -> StorageBackend:
        """The backend under test."""
        self.folder = tmp_path
        return self.make_backend()

    def image(self, name: str) -> str:
        """The path of an image."""
        return self.path(name + self.suffix)

    # -- save and load

    def test_is_a_store(self, store: StorageBackend) -> None:
        """It is a source and a sink, and keeps what it gets."""
        assert isinstance(store, DataSource)
        assert isinstance(store, DataSink)
        assert store.takes_context is False

    def test_load_returns_what_was_saved(self, store: StorageBackend) -> None:
        """Shape, dtype and every value."""
        image = example_image()
        store.save(image, self.image("a"))
        loaded = store.load(self.image("a"))
        assert isinstance(loaded, np.ndarray)
        assert loaded.dtype == image.dtype
        np.testing.assert_array_equal(loaded, image)

    def test_path_objects_are_paths(self, store: StorageBackend) -> None:
        """``pathlib`` objects work wherever text does."""
        store.save(example_image(), Path(self.image("a")))
        assert store.is_file(Path(self.image("a")))
        np.testing.assert_array_equal(store.load(Path(self.image("a"))), example_image())

    @pytest.mark.parametrize("layout", ["fortran", "strided", "read-only", "big-endian"])
    def test_layout_in_memory_does_not_matter(self, store: StorageBackend, layout: str) -> None:
        """The values are kept however the array lies in memory."""
        image = example_image(shape=(6, 8))
        given = {
            "fortran": np.asfortranarray(image),
            "strided": np.repeat(np.repeat(image, 2, 0), 3, 1)[::2, ::3],
            "read-only": image.copy(),
            "big-endian": image.astype(">u2"),
        }[layout]
        given.flags.writeable = layout != "read-only"
        store.save(given, self.image("a"))
        np.testing.assert_array_equal(store.load(self.image("a")), image)

    def test_the_store_owns_what_it_keeps(self, store: StorageBackend) -> None:
        """Changing the original afterwards changes nothing; what was loaded stays as it was."""
        image = example_image()
        store.save(image, self.image("a"))
        image += 1
        loaded = store.load(self.image("a"))
        np.testing.assert_array_equal(loaded, example_image())
        store.save(image, self.image("a"))
        np.testing.assert_array_equal(loaded, example_image())

    def test_tables_and_text(self, store: StorageBackend) -> None:
        """Results of an analysis: a dict, a table, a text."""
        rows = [{"well": "A01", "count": 3, "area": 1.5}, {"well": "B02", "count": 0, "area": 0.25}]
        for name, value in {
            "a.json": {"n": 1, "of": ["x", None]},
            "a.csv": rows,
            "a.txt": "n\u00f6 \n",
        }.items():
            store.save(value, self.path(name))
            assert store.load(self.path(name)) == value

    def test_save_replaces(self, store: StorageBackend) -> None:
        """The newest wins, whatever its shape."""
        store.save(example_image(1), self.image("a"))
        store.save(example_image(2, (3, 4)), self.image("a"))
        np.testing.assert_array_equal(store.load(self.image("a")), example_image(2, (3, 4)))

    def test_save_does_not_replace_when_told_so(self, store: StorageBackend) -> None:
        """``overwrite=False`` keeps the old value."""
        store.save(example_image(1), self.image("a"), overwrite=False)
        with pytest.raises(AlreadyExistsError) as caught:
            store.save(example_image(2), self.image("a"), overwrite=False)
        assert isinstance(caught.value, FileExistsError)
        np.testing.assert_array_equal(store.load(self.image("a")), example_image(1))

    def test_a_refused_value_leaves_the_old_one(self, store: StorageBackend) -> None:
        """Arrays of objects are refused, and nothing has happened."""
        store.save(example_image(), self.image("a"))
        with pytest.raises(UnsupportedArrayError):
            store.save(np.array([[{}, None]]), self.image("a"))
        np.testing.assert_array_equal(store.load(self.image("a")), example_image())
        assert store.list_files(self.path("")) == [self.image("a")]

    def test_nothing_to_load(self, store: StorageBackend) -> None:
        """The error is the one built-in code expects, and names the path."""
        with pytest.raises(NotFoundError, match="nowhere") as caught:
            store.load(self.image("nowhere"))
        assert isinstance(caught.value, FileNotFoundError)
        store.mkdir(self.path("sub"))
        with pytest.raises(NotAFileError):
            store.load(self.path("sub"))

    def test_no_path_at_all(self, store: StorageBackend) -> None:
        """Empty paths and paths with NUL are refused."""
        for bad in ("", "a\0b" + self.suffix):
            for call in (store.load, store.kind, store.mkdir, store.delete, store.scan):
                with pytest.raises(UnsafePathError):
                    call(bad)
            with pytest.raises(UnsafePathError):
                store.save(example_image(), bad)

    # -- batches

    def test_batches(self, store: StorageBackend) -> None:
        """Values and paths go together, in order."""
        images = [example_image(seed) for seed in range(4)]
        paths = [self.image(f"s{seed}") for seed in range(4)]
        store.save_batch(images, paths)
        for image, loaded in zip(images, store.load_batch(paths), strict=True):
            np.testing.assert_array_equal(loaded, image)

    def test_lengths_are_checked_first(self, store: StorageBackend) -> None:
        """Nothing is stored when there are fewer paths than values."""
        with pytest.raises(BatchLengthError):
            store.save_batch([example_image(1), example_image(2)], [self.image("a")])
        assert not store.exists(self.image("a"))

    def test_a_failed_batch_says_how_far_it_came(self, store: StorageBackend) -> None:
        """The values before the bad one are stored, those after it are not."""
        paths = [self.image(name) for name in "abc"]
        with pytest.raises(BatchError) as caught:
            store.save_batch([example_image(), np.array([None]), example_image()], paths)
        assert (caught.value.index, caught.value.done) == (1, 1)
        assert [store.exists(path) for path in paths] == [True, False, False]
        with pytest.raises(BatchError, match="item 1 of 3"):
            store.load_batch(paths)

    def test_batches_of_nothing_and_of_one_path_twice(self, store: StorageBackend) -> None:
        """Nothing to do is fine; of two values for one path the later stays."""
        store.save_batch([], [])
        assert store.load_batch([]) == []
        path = self.image("a")
        store.save_batch([example_image(1), example_image(2)], [path, path])
        np.testing.assert_array_equal(store.load(path), example_image(2))

    def test_options_reach_every_item_of_a_batch(self, store: StorageBackend) -> None:
        """``overwrite=False`` stops at the first that is there; it stays as it was."""
        paths = [self.image(name) for name in "abc"]
        store.save(example_image(9), paths[1])
        with pytest.raises(BatchError) as caught:
            store.save_batch([example_image(seed) for seed in range(3)], paths, overwrite=False)
        assert (caught.value.index, caught.value.done) == (1, 1)
        np.testing.assert_array_equal(store.load(paths[1]), example_image(9))
        assert not store.exists(paths[2])

    # -- names

    def test_unusual_names(self, store: StorageBackend) -> None:
        """Blanks, other scripts, signs that mean something to a shell or a URL: all are names and nothing else."""
        paths = [self.image(f"names/{name}") for name in self.names]
        images = [example_image(seed) for seed in range(len(paths))]
        store.save_batch(images, paths)
        assert sorted(store.list_files(self.path("names"))) == sorted(paths)
        assert store.find(self.path(""), "*") == store.list_files(self.path("names"))
        for image, path in zip(images, paths, strict=True):
            assert store.is_file(path)
            np.testing.assert_array_equal(store.load(path), image)
        for path in paths:
            store.delete(path)
        assert store.list_files(self.path("names")) == []

    def test_unusual_folders(self, store: StorageBackend) -> None:
        """The same as names of folders."""
        for seed, name in enumerate(self.names):
            store.save(example_image(seed), self.image(f"names/{name}/a"))
        assert sorted(store.list_dirs(self.path("names"))) == sorted(
            self.path(f"names/{name}") for name in self.names
        )
        for seed, name in enumerate(self.names):
            np.testing.assert_array_equal(store.load(self.image(f"names/{name}/a")), example_image(seed))

    # -- folders

    def test_folders_come_by_themselves(self, store: StorageBackend) -> None:
        """Saving makes the folders above."""
        store.save(example_image(), self.image("one/two/a"))
        assert store.is_dir(self.path("one"))
        assert store.is_dir(self.path("one/two"))
        assert store.list_dirs(self.path("one")) == [self.path("one/two")]

    def test_mkdir(self, store: StorageBackend) -> None:
        """An empty folder is one; making it twice is fine."""
        store.mkdir(self.path("one/two"))
        store.mkdir(self.path("one/two"))
        assert store.is_dir(self.path("one/two"))
        assert store.list_files(self.path("one/two")) == []

    def test_files_and_folders_do_not_mix(self, store: StorageBackend) -> None:
        """A file has nothing below it, a folder is not replaced by a file."""
        store.save(example_image(), self.image("a"))
        store.mkdir(self.path("d" + self.suffix))
        with pytest.raises(NotAFolderError):
            store.save(example_image(), f"{self.image('a')}/b{self.suffix}")
        with pytest.raises(NotAFolderError):
            store.mkdir(self.image("a"))
        with pytest.raises(NotAFolderError):
            store.list_files(self.image("a"))
        with pytest.raises(NotAFileError):
            store.save(example_image(), self.path("d" + self.suffix))
        with pytest.raises(NotFoundError):
            store.list_files(self.path("nowhere"))

    def test_kinds(self, store: StorageBackend) -> None:
        """exists, is_file and is_dir agree."""
        store.save(example_image(), self.image("d/a"))
        rows = {self.image("d/a"): (True, True, False), self.path("d"): (True, False, True)}
        rows[self.path("d/b")] = (False, False, False)
        for path, expected in rows.items():
            assert (store.exists(path), store.is_file(path), store.is_dir(path)) == expected

    # -- listing

    def test_natural_order(self, store: StorageBackend) -> None:
        """Numbers in names count as numbers."""
        for number in (10, 9, 1, 2, 100):
            store.save(example_image(), self.image(f"A01_s{number}"))
        assert store.list_files(self.path("")) == [
            self.image(f"A01_s{number}") for number in (1, 2, 9, 10, 100)
        ]

    def test_patterns_and_extensions(self, store: StorageBackend) -> None:
        """By shell pattern and by ending, with or without dot, in any case."""
        store.save_batch([example_image()] * 2, [self.image("A01_s1_w1"), self.image("A01_s1_w2")])
        store.save({"n": 1}, self.path("A01_w1.json"))
        ending = self.suffix.rpartition(".")[2]
        folder = self.path("")
        assert store.list_files(folder, pattern="*_w1*") == [
            self.image("A01_s1_w1"),
            self.path("A01_w1.json"),
        ]
        assert store.list_files(folder, extensions=[ending.upper()]) == store.list_files(folder, "*s1*")
        assert store.list_files(folder, extensions=[".json"]) == [self.path("A01_w1.json")]
        assert store.list_files(folder, extensions=[]) == []

    def test_recursive(self, store: StorageBackend) -> None:
        """With and without the folders below; find is the recursive form."""
        for name in ("b", "t2/a", "t10/a", "t2/deep/a"):
            store.save(example_image(), self.image(name))
        folder = self.path("")
        assert store.list_files(folder) == [self.image("b")]
        everything = store.list_files(folder, recursive=True)
        assert sorted(everything) == sorted(map(self.image, ("b", "t2/a", "t10/a", "t2/deep/a")))
        assert everything.index(self.image("t2/a")) < everything.index(self.image("t10/a"))
        assert sorted(store.find(folder, "a*")) == sorted(map(self.image, ("t2/a", "t10/a", "t2/deep/a")))

    def test_walk(self, store: StorageBackend) -> None:
        """Parents first, names sorted; what it yields can be joined and loaded."""
        for name in ("b", "t2/a", "t10/c"):
            store.save(example_image(), self.image(name))
        seen = [(folder.rstrip("/"), folders, files) for folder, folders, files in store.walk(self.path(""))]
        top = self.path("").rstrip("/")
        assert seen == [
            (top, ["t2", "t10"], ["b" + self.suffix]),
            (f"{top}/t2", [], ["a" + self.suffix]),
            (f"{top}/t10", [], ["c" + self.suffix]),
        ]

    # -- delete, copy, move

    def test_delete(self, store: StorageBackend) -> None:
        """A file is gone, its folder stays, what was loaded stays valid."""
        store.save(example_image(), self.image("d/a"))
        loaded = store.load(self.image("d/a"))
        store.delete(self.image("d/a"))
        assert not store.exists(self.image("d/a"))
        assert store.list_files(self.path("d")) == []
        np.testing.assert_array_equal(loaded, example_image())
        with pytest.raises(NotFoundError):
            store.delete(self.image("d/a"))

    def test_delete_folders(self, store: StorageBackend) -> None:
        """A full one only when told so."""
        store.save(example_image(), self.image("d/e/a"))
        with pytest.raises(StorageError, match="recursive=True"):
            store.delete(self.path("d"))
        assert store.exists(self.image("d/e/a"))
        store.delete(self.path("d"), recursive=True)
        assert not store.exists(self.path("d"))
        assert not store.exists(self.image("d/e/a"))
        store.mkdir(self.path("empty"))
        store.delete(self.path("empty"))
        assert not store.exists(self.path("empty"))

    @pytest.mark.parametrize("verb", ["copy", "move"])
    def test_copy_and_move_a_file(self, store: StorageBackend, verb: str) -> None:
        """The target is whole; only a move takes the source away."""
        store.save(example_image(), self.image("a"))
        getattr(store, verb)(self.image("a"), self.image("new/b"))
        np.testing.assert_array_equal(store.load(self.image("new/b")), example_image())
        assert store.exists(self.image("a")) == (verb == "copy")

    @pytest.mark.parametrize("verb", ["copy", "move"])
    def test_copy_and_move_a_folder(self, store: StorageBackend, verb: str) -> None:
        """With all that is in it, empty folders, too."""
        store.save(example_image(1), self.image("d/a"))
        store.save(example_image(2), self.image("d/e/b"))
        store.mkdir(self.path("d/empty"))
        getattr(store, verb)(self.path("d"), self.path("f/g"))
        np.testing.assert_array_equal(store.load(self.image("f/g/e/b")), example_image(2))
        assert store.list_files(self.path("f/g")) == [self.image("f/g/a")]
        assert store.is_dir(self.path("f/g/empty"))
        assert store.exists(self.path("d")) == (verb == "copy")

    @pytest.mark.parametrize("verb", ["copy", "move"])
    def test_copy_and_move_keep_what_is_there(self, store: StorageBackend, verb: str) -> None:
        """Unless told to replace it."""
        store.save(example_image(1), self.image("a"))
        store.save(example_image(2), self.image("b"))
        with pytest.raises(AlreadyExistsError):
            getattr(store, verb)(self.image("a"), self.image("b"))
        np.testing.assert_array_equal(store.load(self.image("b")), example_image(2))
        getattr(store, verb)(self.image("a"), self.image("b"), overwrite=True)
        np.testing.assert_array_equal(store.load(self.image("b")), example_image(1))

    @pytest.mark.parametrize("verb", ["copy", "move"])
    def test_copy_and_move_to_nowhere_sensible(self, store: StorageBackend, verb: str) -> None:
        """Onto itself, into itself, from nothing: refused, and nothing is lost."""
        store.save(example_image(), self.image("d/a"))
        for source, target in (("d", "d"), ("d", "d/e/f")):
            with pytest.raises(StorageError):
                getattr(store, verb)(self.path(source), self.path(target), overwrite=True)
        with pytest.raises(NotFoundError):
            getattr(store, verb)(self.path("nowhere"), self.path("x"))
        np.testing.assert_array_equal(store.load(self.image("d/a")), example_image())

    # -- optional abilities

    def test_links(self, store: StorageBackend) -> None:
        """Where there are links: one is loaded as what it points to, and going away leaves that alone."""
        if not isinstance(store, SupportsLinks):
            return
        source, link = self.image("d/a"), self.image("links/b")
        store.save(example_image(1), source)
        store.save(example_image(2), self.image("other"))
        store.symlink(source, link)
        assert store.is_link(link)
        assert not store.is_link(source)
        assert not store.is_link(self.image("nowhere"))
        assert len(store.list_files(self.path("links"))) == 1
        np.testing.assert_array_equal(store.load(link), example_image(1))
        with pytest.raises(AlreadyExistsError):
            store.symlink(self.image("other"), link)
        store.symlink(self.image("other"), link, overwrite=True)
        np.testing.assert_array_equal(store.load(link), example_image(2))
        with pytest.raises(AlreadyExistsError):
            store.symlink(source, self.path("d"), overwrite=True)
        with pytest.raises(NotFoundError):
            store.symlink(self.image("nowhere"), self.image("links/c"))
        store.delete(link)
        np.testing.assert_array_equal(store.load(self.image("other")), example_image(2))

    def test_mirror(self, store: StorageBackend) -> None:
        """Where there are links: a tree of them, which can be completed and written into."""
        if not isinstance(store, SupportsLinks):
            return
        store.save(example_image(1), self.image("d/a"))
        store.save(example_image(2), self.image("d/e/b"))
        assert store.mirror(self.path("d"), self.path("m")) == 2
        assert len(store.find(self.path("m"), "*")) == 2
        np.testing.assert_array_equal(store.load(self.image("m/e/b")), example_image(2))
        assert not store.is_link(self.path("m/e"))
        store.save(example_image(3), self.image("m/e/new"))
        assert not store.exists(self.image("d/e/new"))
        store.save(example_image(4), self.image("d/c"))
        assert store.mirror(self.path("d"), self.path("m")) == 1
        np.testing.assert_array_equal(store.load(self.image("m/c")), example_image(4))
        with pytest.raises(StorageError):
            store.mirror(self.path("d"), self.path("d/in"))
        with pytest.raises(NotFoundError):
            store.mirror(self.path("nowhere"), self.path("m"))

    def test_bytes(self, store: StorageBackend) -> None:
        """Where files are bytes: they can be had and put as such, and are what `load` reads."""
        if not isinstance(store, SupportsBytes):
            return
        path, again = self.path("a.json"), self.path("d/b.json")
        store.save({"n": 1}, path)
        with store.open_binary(path) as stream:
            assert stream.read(1) in b"{"
            stream.seek(0)
            store.write_bytes(stream.read(), again)
        assert store.load(again) == {"n": 1}
        with pytest.raises(AlreadyExistsError):
            store.write_bytes(b"{}", again, overwrite=False)
        store.write_bytes(b"{}", again)
        assert store.load(again) == {}
        with pytest.raises(NotFoundError):
            store.open_binary(self.path("nowhere.json"))
        with pytest.raises(NotAFileError):
            store.open_binary(self.path("d"))
        with pytest.raises(NotAFileError):
            store.write_bytes(b"", self.path("d"))

    # -- processes and threads

    def test_pickles(self, store: StorageBackend) -> None:
        """A backend travels to a worker process as a description."""
        again = pickle.loads(pickle.dumps(store))  # noqa: S301  # our own bytes
        assert type(again) is type(store)
        assert again.kind(self.path("nowhere")) is None
        store.save(example_image(), self.image("a"))
        again = pickle.loads(pickle.dumps(store))  # noqa: S301  # used by now: what it has opened stays here
        assert again.exists(self.image("a")) == self.shared

    def test_threads(self, store: StorageBackend) -> None:
        """Writers of one folder do not disturb each other, and a reader sees whole images only."""
        shapes = [(16, 16), (32, 32)]
        versions = [np.full(shape, index, dtype="uint16") for index, shape in enumerate(shapes)]
        store.save(versions[0], self.image("shared"))
        problems: list[Any] = []
        done = threading.Event()

        def read() -> None:
            while not done.is_set():
                loaded = store.load(self.image("shared"))
                if not any(np.array_equal(loaded, version) for version in versions):
                    problems.append(loaded)

        def write(number: int) -> None:
            for round_ in range(10):
                store.save(versions[round_ % 2], self.image("shared"))
                store.save(example_image(number), self.image(f"own/{number}_{round_}"))

        reader = threading.Thread(target=read)
        writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
        reader.start()
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        done.set()
        reader.join()
        assert problems == []
        assert len(store.list_files(self.path("own"))) == 40

    def test_worker_processes(self, store: StorageBackend) -> None:
        """Forked, spawned and served by a fork server, all at once: each finds what is there and adds its own."""
        image, known = example_image(), self.image("work/known")
        store.save(image, known)
        expected = [known]
        processes = []
        for method in self.start_methods:
            own = [self.image(f"work/{method}_{number}") for number in range(5)]
            expected += own
            processes.append(_start(method, store, known if self.shared else None, own, image))
        for process in processes:
            _finish(process, self.patience)
        assert len(store.list_files(self.path("work"))) == (len(expected) if self.shared else 1)
        for path in expected if self.shared else [known]:
            np.testing.assert_array_equal(store.load(path), image)

    def test_fork_while_threads_use_it(self, store: StorageBackend) -> None:
        """A child forked at any moment has no lock that somebody else still holds."""
        if "fork" not in self.start_methods:
            return
        done = threading.Event()

        def work(number: int) -> None:
            round_ = 0
            while not done.is_set():
                store.save(example_image(round_), self.image(f"threads/{number}_{round_ % 3}"))
                store.list_files(self.path("threads"))
                round_ += 1

        threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        try:
            for number in range(5):
                own = [self.image(f"children/{number}")]
                _finish(_start("fork", store, None, own, example_image(number)), self.patience)
        finally:
            done.set()
            for thread in threads:
                thread.join()
        if self.shared:
            assert len(store.list_files(self.path("children"))) == 5


def _start(method: str, *arguments: Any) -> Any:
    arguments = (*arguments, dict(os.environ))
    process = multiprocessing.get_context(method).Process(target=visit, args=arguments)  # type: ignore[attr-defined]
    with warnings.catch_warnings():
        # Newer interpreters warn of any fork beside threads; that this one is safe is what is tested.
        warnings.simplefilter("ignore", DeprecationWarning)
        process.start()
    return process


def _finish(process: Any, patience: float) -> None:
    process.join(patience)
    hung = process.is_alive()
    if hung:
        process.kill()
        process.join()
    code = process.exitcode
    process.close()
    assert not hung, "a worker process hangs in the store"
    assert code == 0, f"a worker process failed with {code}; its traceback is in the captured stderr"
