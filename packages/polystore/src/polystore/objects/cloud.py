"""Bytes by key in a bucket: S3 and what speaks it, Google Cloud Storage, Azure."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from polystore._locks import ForkSafeLock
from polystore._paths import check_key
from polystore.abc import Entry
from polystore.errors import (
    AlreadyExistsError,
    BusyError,
    MissingExtraError,
    NotFoundError,
    UnsafePathError,
)
from polystore.objects._place import parse_place
from polystore.objects.abc import ObjectStore, Stamped

__all__ = ["CloudObjects"]

_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 1.0

_runtime: int | None = None
_abandoned: list[Any] = []


class CloudObjects(ObjectStore):
    """Objects below a url, changed by compare-and-swap: the server replaces an object only if it is still the
    one that was read, so changes of several processes follow each other and none is lost.

    Credentials come from the environment or a profile, when the store is opened in the process that uses it;
    this object holds none and takes none. What the server refuses or cannot answer is asked again a few times
    and then an error: `polystore.errors.AccessError` for credentials, `polystore.errors.UnreachableError` for a
    server that does not answer.

    Works also in a process forked after another one was used, but slower: spawn workers where that matters.

    Parameters
    ----------
    url
        ``s3://bucket/prefix``, ``gs://``, ``az://container/prefix``, or ``memory://name`` for tests: that lasts
        as long as the process.
    endpoint
        The server, for S3 elsewhere than at Amazon (MinIO, Ceph): ``"https://minio.example.org:9000"``. By
        default that of the profile or ``AWS_ENDPOINT_URL``.
    region
        By default ``AWS_REGION``, the profile's, or ``us-east-1``.
    profile
        Name of a profile of the AWS files; by default ``AWS_PROFILE`` where no keys are in the environment.
    anonymous
        Whether to send no credentials: public buckets.
    retries
        How often a request that failed on the way is made again.
    timeout
        Seconds a server may be silent, and seconds a change is tried while others change the same key.
    options
        Further settings of obstore, none of them secret: ``virtual_hosted_style_request=True``.

    Raises
    ------
    StorageError, UnsafePathError
        No url of a bucket, or one with credentials in it; an option that would be a secret.
    """

    def __init__(
        self,
        url: str,
        *,
        endpoint: str | None = None,
        region: str | None = None,
        profile: str | None = None,
        anonymous: bool = False,
        retries: int = 5,
        timeout: float = 30.0,
        **options: Any,
    ) -> None:
        self.place, self.prefix = parse_place(
            url,
            endpoint=endpoint,
            region=region,
            profile=profile,
            anonymous=anonymous,
            retries=retries,
            timeout=timeout,
            **options,
        )
        self._lock = ForkSafeLock()
        self._opened: tuple[int, Any] | None = None

    @property
    def url(self) -> str:
        """Where it is, in its usual spelling."""
        return f"{self.place.bucket_url}/{self.prefix}".rstrip("/")

    def __repr__(self) -> str:
        return f"CloudObjects({self.url!r}, endpoint={self.place.endpoint!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CloudObjects) and (self.place, self.prefix) == (other.place, other.prefix)

    def __hash__(self) -> int:
        return hash((self.place, self.prefix))

    def __getstate__(self) -> dict[str, Any]:
        return {"place": self.place, "prefix": self.prefix}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = ForkSafeLock()
        self._opened = None

    def at(self, prefix: str) -> CloudObjects:
        """The store below a prefix of this one, over the same connections."""
        there = CloudObjects.__new__(CloudObjects)
        there.__setstate__({"place": self.place, "prefix": self._key(prefix, allow_root=True)})
        there._opened = self._opened
        return there

    def get(self, key: str) -> Stamped:
        """The bytes under a key, all of one version."""
        return Stamped(*self.bucket.get(self._key(key)))

    def holds(self, key: str) -> bool:
        """Whether an object is under a key."""
        return self.bucket.size(self._key(key)) is not None

    def put(self, key: str, data: bytes, *, overwrite: bool = True) -> None:
        """Store bytes, large ones in parts that become visible together."""
        full = self._key(key)
        if overwrite:
            self.bucket.put(full, data)
        elif not self.bucket.create(full, data):
            raise AlreadyExistsError(f"{self._text(key)} exists already; pass overwrite=True to replace it")

    def swap(self, key: str, data: bytes, stamp: str | None) -> bool:
        """Store bytes if what is there still has that stamp, decided by the server."""
        full = self._key(key)
        swapped = self.bucket.create(full, data) if stamp is None else self.bucket.swap(full, data, stamp)
        return bool(swapped)

    def update(self, key: str, change: Callable[[bytes | None], bytes | None]) -> bytes | None:
        """Read, change and swap until nobody came between; ``change`` is called each time.

        Raises
        ------
        BusyError
            Others came between until the time was up; nothing was stored.
        """
        deadline = time.monotonic() + self.place.timeout
        pause, attempts = _FIRST_PAUSE, 0
        while True:
            there = self._get_or_none(key)
            old = None if there is None else there.data
            new = change(old)
            if new is None or new == old:
                return old
            if self.swap(key, new, None if there is None else there.stamp):
                return new
            attempts += 1
            if time.monotonic() > deadline:
                raise BusyError(
                    f"{self._text(key)} was changed by others {attempts} times in {self.place.timeout:g} s while this "
                    "change was tried; try again, with fewer writers of this one key"
                )
            time.sleep(random.uniform(0, pause))  # noqa: S311  # let the others finish; nobody tells when
            pause = min(2 * pause, _LONGEST_PAUSE)

    def delete(self, key: str) -> None:
        """Remove an object."""
        full = self._key(key)
        if self.bucket.size(full) is None:  # a server says yes to the removal of nothing
            raise NotFoundError(f"cannot delete {self._text(key)}: nothing is there")
        self.bucket.delete([full])

    def scan(self, prefix: str = "") -> Iterable[Entry]:
        """What stands directly below a prefix; the root is one even before anything is in it."""
        full = self._key(prefix, allow_root=True)
        folders, names = self.bucket.scan(full)
        if not folders and not names and full != self.prefix:
            raise NotFoundError(f"nothing is below {self._text(prefix)}")
        return [Entry(name, is_folder=True) for name in folders] + [
            Entry(name, is_folder=False) for name in names
        ]

    def keys(self, prefix: str = "") -> Iterator[str]:
        """All keys below a prefix."""
        full = self._key(prefix, allow_root=True)
        cut = len(self.prefix) + 1 if self.prefix else 0
        for key in self.bucket.keys(full):
            yield key[cut:]

    def zarr_store(self, prefix: str = "", *, read_only: bool = False) -> Any:
        """A zarr-python store over what is below a prefix: for chunks, which have one writer each.

        Pickled, it holds no keys where they come from a profile or the environment.

        Raises
        ------
        MissingExtraError
            zarr is not installed.
        StorageError
            ``memory://``, or a process forked from one that had used a cloud.
        """
        try:
            from zarr.storage import ObjectStore as ZarrStore
        except ModuleNotFoundError as exc:
            raise MissingExtraError(f"a zarr store needs {exc.name}: pip install 'polystore[zarr]'") from exc
        return ZarrStore(self.bucket.open(self._key(prefix, allow_root=True)), read_only=read_only)

    @property
    def bucket(self) -> Any:
        """The calls below this class, by full key, opened in this process when first asked for."""
        opened = self._opened
        if opened is not None and opened[0] == os.getpid():
            return opened[1]
        with self._lock:
            if self._opened is None or self._opened[0] != os.getpid():
                _abandoned.append(self._opened)  # maybe the parent's: it must not even be closed here
                self._opened = os.getpid(), _open_bucket(self.place)
            return self._opened[1]

    def _get_or_none(self, key: str) -> Stamped | None:
        try:
            return self.get(key)
        except NotFoundError:
            return None  # a bucket that is missing, too, is told by the write

    def _key(self, key: str, *, allow_root: bool = False) -> str:
        text = check_key(key) if key or not allow_root else ""
        if not text and not allow_root:
            raise UnsafePathError(f"{key!r} names {self.url} itself; give a key below it")
        return "/".join(part for part in (self.prefix, text) if part)

    def _text(self, key: str) -> str:
        return f"{self.place.bucket_url}/{self._key(key, allow_root=True)}"


def _open_bucket(place: Any) -> Any:
    global _runtime
    if place.scheme == "memory":
        from polystore.objects._memory import MemoryBucket

        return MemoryBucket(place)
    if _runtime not in (None, os.getpid()):
        from polystore.objects._forked import ForkedBucket

        return ForkedBucket(place)
    try:
        from polystore.objects._obstore import Bucket
    except ModuleNotFoundError as exc:
        if (exc.name or "").partition(".")[0] != "obstore":
            raise
        raise MissingExtraError(f"{place.bucket_url} needs obstore: pip install 'polystore[cloud]'") from exc
    _runtime = os.getpid()
    return Bucket(place)
