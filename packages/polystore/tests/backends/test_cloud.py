from __future__ import annotations

import pickle  # noqa: TID251
import uuid
from typing import Any

import numpy as np
import pytest

from polystore import FileManager, available_backends
from polystore.abc import StorageBackend
from polystore.backends.cloud import CloudBackend
from polystore.errors import BatchError, NotAFolderError, StorageError, UnreachableError, UnsafePathError
from polystore.objects import CloudObjects
from polystore.testing import BackendTests, example_image


class TestS3(BackendTests):
    """Urls, as a user writes them."""

    @pytest.fixture(autouse=True)
    def _place(self, bucket: str) -> None:
        self.url = bucket

    def make_backend(self) -> CloudBackend:
        return CloudBackend()

    def path(self, name: str) -> str:
        return f"{self.url}/contract/{name}"


class TestRootedS3(BackendTests):
    suffix = ".npy"

    @pytest.fixture(autouse=True)
    def _place(self, bucket: str) -> None:
        self.url = bucket

    def make_backend(self) -> CloudBackend:
        return CloudBackend(f"{self.url}/some/root")


class TestMemoryUrl(BackendTests):
    shared = False

    def make_backend(self) -> CloudBackend:
        return CloudBackend(f"memory://{uuid.uuid4()}")

    def test_pickles(self, store: StorageBackend) -> None:
        """Within a process it is the same place."""
        store.save(example_image(), self.image("a"))
        assert pickle.loads(pickle.dumps(store)).exists(self.image("a"))


def test_by_name_and_by_url(bucket: str) -> None:
    assert "cloud" in available_backends()
    fm = FileManager()
    fm.save(example_image(), f"{bucket}/plate/A01_s1.tif", "cloud")
    np.testing.assert_array_equal(fm.load(f"{bucket}/plate/A01_s1.tif", "auto"), example_image())
    assert fm.list_files(f"{bucket}/plate", "auto") == [f"{bucket}/plate/A01_s1.tif"]
    assert fm.list_dirs(bucket, "cloud") == [f"{bucket}/plate"]


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../x.npy", "a/../../x.npy", "..", "C:\\x.npy", "a\\..\\..\\x.npy"]
)
def test_a_root_is_not_left(bucket: str, path: str) -> None:
    store = CloudBackend(f"{bucket}/root")
    CloudObjects(bucket).put("x.npy", b"untouched")
    for call in (store.load, store.kind, store.mkdir, store.delete, store.scan, store.list_files):
        with pytest.raises(UnsafePathError):
            call(path)
    with pytest.raises(UnsafePathError):
        store.save(example_image(), path)
    for outside in (f"{bucket}/x.npy", f"{bucket}/rooted/x.npy", "s3://other/root/x.npy", bucket):
        with pytest.raises(UnsafePathError):
            store.save(example_image(), outside)
    assert list(CloudObjects(bucket).keys()) == ["x.npy"]
    assert CloudObjects(bucket).get("x.npy").data == b"untouched"


def test_the_top_folder_is_not_deleted(bucket: str) -> None:
    store = CloudBackend(f"{bucket}/root")
    store.save("x", "a.txt")
    for path in (".", f"{bucket}/root"):
        with pytest.raises(UnsafePathError, match="top folder"):
            store.delete(path, recursive=True)
    with pytest.raises(UnsafePathError, match="top folder"):
        CloudBackend().delete(bucket, recursive=True)
    assert store.load("a.txt") == "x"


def test_a_path_that_is_no_url_says_what_to_write() -> None:
    with pytest.raises(StorageError, match="s3://bucket/key"):
        CloudBackend().load("a.tif")
    with pytest.raises(StorageError):
        CloudBackend("folder")


def test_an_image_without_a_suffix_is_found_again(bucket: str) -> None:
    store = CloudBackend(bucket)
    store.save(example_image(), "d/a")
    np.testing.assert_array_equal(store.load("d/a"), example_image())
    assert store.list_files("d") == ["d/a.tif"]
    store.copy("d/a", "d/b")
    store.delete("d/a")
    assert store.list_files("d") == ["d/b.tif"]


def test_arrays_of_objects_are_refused_and_not_unpickled(bucket: str) -> None:
    import io

    stream = io.BytesIO()
    np.save(stream, np.array([{}]), allow_pickle=True)
    CloudObjects(bucket).put("a.npy", stream.getvalue())
    with pytest.raises(StorageError):
        CloudBackend(bucket).load("a.npy")


def test_a_batch_is_on_its_way_at_once_and_says_what_failed(bucket: str, s3: Any) -> None:
    store = CloudBackend(bucket, retries=0)
    images = [example_image(seed) for seed in range(40)]
    paths = [f"b/s{seed}.tif" for seed in range(40)]
    store.save_batch(images, paths)
    for image, loaded in zip(images, store.load_batch(paths), strict=True):
        np.testing.assert_array_equal(loaded, image)
    s3.fail("500", 1, "PUT")
    with pytest.raises(BatchError) as caught:
        store.save_batch(images, paths)
    assert isinstance(caught.value.__cause__, UnreachableError)
    assert caught.value.index == caught.value.done
    with pytest.raises(BatchError, match="item 1 of 3"):
        store.load_batch([paths[0], "nowhere.tif", paths[1]])


def test_requests_of_a_save_do_not_grow_with_depth(bucket: str, s3: Any) -> None:
    """Folders above are looked at once; then a save is a look and a write."""
    store = CloudBackend(bucket)
    store.save(example_image(), "a/b/c/d/0.tif")
    s3.seen()
    for number in range(1, 6):
        store.save(example_image(), f"a/b/c/d/{number}.tif")
    assert s3.seen() == {"GET": 5, "PUT": 5}


def test_an_object_and_a_folder_of_one_name(bucket: str) -> None:
    """A bucket may hold both; what others put there can be read and removed."""
    CloudObjects(bucket).put("a.txt", b"x")
    CloudObjects(bucket).put("a.txt/b.txt", b"y")
    store = CloudBackend(bucket)
    assert (store.load("a.txt"), store.load("a.txt/b.txt")) == ("x", "y")
    with pytest.raises(NotAFolderError):
        store.save("z", "a.txt/c.txt")
    store.delete("a.txt")
    assert store.is_dir("a.txt")
    store.delete("a.txt", recursive=True)
    assert not store.exists("a.txt")
