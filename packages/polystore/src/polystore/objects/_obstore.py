"""One bucket, through obstore: the few calls a store of bytes is made of, and its errors as ours.

Everything here may be called from any thread, but in a process that forked after obstore was used nothing of
it works: see `polystore.objects._forked`.
"""

from __future__ import annotations

import os
import random
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import obstore
from obstore import exceptions as failures
from obstore.store import from_url

from polystore.errors import AccessError, AlreadyExistsError, NotFoundError, StorageError, UnreachableError
from polystore.objects._credentials import AwsProfile
from polystore.objects._place import Place

__all__ = ["Bucket"]

_WRITER = "polystore-writer"
_PART = 8 << 20
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
_OVERALL = 600.0
"""Seconds one request may take however busy it is: a part of a large object on a slow line."""

_STATUS = re.compile(r"status code: (\d{3})")
_KEYS_OF_A_CLOUD_MACHINE = re.compile(r"/latest/(api/token|meta-data)|/metadata/identity|computeMetadata")
_CODE = re.compile(r"<Code>(\w{1,60})</Code>")
_CREDENTIAL_CODES = frozenset(
    "AccessDenied AuthenticationFailed ExpiredToken ExpiredTokenException InvalidAccessKeyId InvalidToken "
    "RequestTimeTooSkewed SignatureDoesNotMatch TokenRefreshRequired".split()
)


class Bucket:
    """The objects of one bucket by full key. Not picklable: it is made anew from its `Place`."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._server = place.endpoint or place.bucket_url
        self._store = self.open("")
        # Whoever repeats a conditional write must know whether the first one came through, so we do it ourselves.
        self._once = self.open("", retries=0)

    def open(self, prefix: str, *, retries: int | None = None) -> Any:
        """The bucket, or what is below a prefix, as an obstore store. Holds no keys where we give them."""
        place = self._place
        config, provider, authority = _settings(place)
        self._server = config.get("endpoint") or self._server
        with self._translated("open", ""):
            return from_url(
                f"{place.bucket_url}/{prefix}".rstrip("/"),
                config=config,
                client_options={
                    "allow_http": str(config.get("endpoint", "")).startswith("http://"),
                    "connect_timeout": timedelta(seconds=min(place.timeout, 10)),
                    "read_timeout": timedelta(seconds=place.timeout),
                    "timeout": timedelta(seconds=max(_OVERALL, place.timeout)),
                    **({} if authority is None else {"root_certificate": _pem(authority)}),
                },
                retry_config={
                    "max_retries": place.retries if retries is None else retries,
                    "retry_timeout": timedelta(seconds=max(_OVERALL, place.timeout)),
                    "backoff": {
                        "init_backoff": timedelta(seconds=_FIRST_PAUSE),
                        "max_backoff": timedelta(seconds=_LONGEST_PAUSE),
                        "base": 2,
                    },
                },
                **({} if provider is None else {"credential_provider": provider}),
            )

    def get(self, key: str) -> tuple[bytes, str]:
        """The bytes under a key and the stamp of this version."""
        with self._translated("read", key):
            found = obstore.get(self._store, key)
            return bytes(found.bytes()), _stamp(found.meta)

    def size(self, key: str) -> int | None:
        """How many bytes are under a key; None when nothing is."""
        try:
            with self._translated("look at", key):
                return int(obstore.head(self._store, key)["size"])
        except NotFoundError:
            return None

    def put(self, key: str, data: bytes) -> None:
        """Store bytes, large ones in parts that become visible together."""
        with self._translated("write", key):
            obstore.put(self._store, key, data, chunk_size=_PART, use_multipart=len(data) > 4 * _PART)

    def create(self, key: str, data: bytes) -> bool:
        """Store bytes if nothing is there; whether they were stored."""
        return self._conditionally(key, data, "create")

    def swap(self, key: str, data: bytes, stamp: str) -> bool:
        """Store bytes if what is there has that stamp; whether they were stored."""
        tag, _, version = stamp.partition("|")
        mode = {"e_tag": tag, "version": version} if self._place.scheme == "gs" else {"e_tag": tag}
        return self._conditionally(key, data, mode)

    def delete(self, keys: list[str]) -> None:
        """Remove what is under each key, if anything is."""
        with self._translated("delete", keys[0] if len(keys) == 1 else ""):
            obstore.delete(self._store, keys)

    def copy(self, source: str, target: str) -> None:
        """Copy within the bucket, replacing what is there, without the bytes coming here."""
        with self._translated("copy", source):
            obstore.copy(self._store, source, target)

    def scan(self, prefix: str) -> tuple[list[str], list[str]]:
        """Names of folders and of objects directly below a prefix."""
        with self._translated("list", prefix):
            found = obstore.list_with_delimiter(self._store, prefix or None)
        cut = len(prefix) + 1 if prefix else 0
        return (
            [folder.rstrip("/")[cut:] for folder in found["common_prefixes"]],
            [item["path"][cut:] for item in found["objects"]],
        )

    def keys(self, prefix: str) -> Iterator[str]:
        """All keys below a prefix."""
        with self._translated("list", prefix):
            for page in obstore.list(self._store, prefix or None):
                for item in page:
                    yield item["path"]

    def any_below(self, prefix: str) -> bool:
        """Whether there is a key below a prefix."""
        with self._translated("list", prefix):
            return any(page for page in obstore.list(self._store, prefix or None, chunk_size=1))

    def _conditionally(self, key: str, data: bytes, mode: Any) -> bool:
        """Write under a condition, repeating what may have failed on the way.

        An answer that is lost may be that of a write that was done: its repetition then finds its own bytes
        and would take them for somebody else's. So each call signs what it writes.
        """
        signature = secrets.token_hex(16)
        pause, unsure = _FIRST_PAUSE, False
        for attempt in range(self._place.retries + 1):
            try:
                obstore.put(
                    self._once, key, data, mode=mode, attributes={_WRITER: signature}, use_multipart=False
                )
                return True
            except (failures.AlreadyExistsError, failures.PreconditionError) as exc:
                if _status(exc) != 409:  # 409: two conditional writes met, and neither may have come through
                    return unsure and self._signed(key) == signature
            except FileNotFoundError as exc:
                if mode != "create" and "NoSuchBucket" not in str(exc):
                    return False  # there was something to replace, and it is gone
                raise self._error("write", key, exc) from None
            except failures.BaseError as exc:
                error = self._error("write", key, exc)
                if not isinstance(error, UnreachableError) or attempt == self._place.retries:
                    raise error from None
                unsure = True
            time.sleep(random.uniform(pause / 2, pause))  # noqa: S311  # back off; there is nothing to wait for
            pause = min(2 * pause, _LONGEST_PAUSE)
        raise UnreachableError(self._text("write", key, "it always met another write", "try again later"))

    def _signed(self, key: str) -> str | None:
        with self._translated("read", key):
            try:
                return str(obstore.get(self._store, key).attributes.get(_WRITER))
            except FileNotFoundError:
                return None

    @contextmanager
    def _translated(self, verb: str, key: str) -> Iterator[None]:
        try:
            yield
        except (failures.BaseError, FileNotFoundError, ValueError) as exc:
            # Not chained: their texts quote answers of the server, which may quote a request with its keys.
            raise self._error(verb, key, exc) from None

    def _error(self, verb: str, key: str, exc: Exception) -> StorageError:
        text = str(exc)
        status, code = _status(exc), (_CODE.search(text) or [None, ""])[1] or ""
        said = ", ".join(filter(None, (str(status or ""), code)))
        if code == "NoSuchBucket":
            return NotFoundError(
                self._text(verb, key, "there is no such bucket", "check its name and the endpoint")
            )
        if (
            isinstance(exc, failures.PermissionDeniedError | failures.UnauthenticatedError)
            or status in (401, 403)
            or code in _CREDENTIAL_CODES
        ):
            reason = (
                f"the server refuses the credentials ({said})" if said else "there are no usable credentials"
            )
            return AccessError(self._text(verb, key, reason, self._place.credentials_hint()))
        if _KEYS_OF_A_CLOUD_MACHINE.search(text):  # asked last, when no other place has any
            return AccessError(
                self._text(verb, key, "no credentials were found", self._place.credentials_hint())
            )
        if isinstance(exc, FileNotFoundError):
            return NotFoundError(self._text(verb, key, "nothing is there", ""))
        if isinstance(exc, failures.AlreadyExistsError):
            return AlreadyExistsError(
                self._text(verb, key, "it exists already", "pass overwrite=True to replace it")
            )
        if status is not None and status < 500 and status not in (408, 409, 429):
            hint = "check region and endpoint" if status in (301, 307) else "check the url and its options"
            return StorageError(self._text(verb, key, f"the server answered {said}", hint))
        if isinstance(exc, AccessError):
            return exc
        if status is None and not _is_network(text):
            return StorageError(self._text(verb, key, type(exc).__name__, "check the url and its options"))
        reason = f"the server answered {said}" if said else _network_reason(text)
        return UnreachableError(
            self._text(
                verb, key, f"{reason}, {_times(self._place.retries + 1)}",
                f"check that {self._server} is up and reachable from here",
            )
        )  # fmt: skip

    def _text(self, verb: str, key: str, reason: str, hint: str) -> str:
        where = f"{self._place.bucket_url}/{key}".rstrip("/")
        return f"cannot {verb} {where}: {reason}" + (f"; {hint}" if hint else "")


def _settings(place: Place) -> tuple[dict[str, Any], Callable[[], Any] | None, str | None]:
    """What obstore is told beyond the url, who has the keys, and the file of a certificate authority.

    It reads the environment by itself where we are silent.
    """
    config = dict(place.options)
    authority = os.environ.get("AWS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE") or None
    if place.scheme != "s3":
        if place.endpoint:
            config["endpoint"] = place.endpoint
        if place.anonymous:
            config["skip_signature"] = True
        return config, None, authority
    environ = os.environ
    name = place.profile or ("" if environ.get("AWS_ACCESS_KEY_ID") else environ.get("AWS_PROFILE", ""))
    profile = AwsProfile(name) if name and not place.anonymous else None
    values = {} if profile is None else profile.values()
    endpoint = (
        place.endpoint
        or values.get("endpoint_url")
        or environ.get("AWS_ENDPOINT_URL_S3")
        or environ.get("AWS_ENDPOINT_URL")
        or environ.get("AWS_ENDPOINT")
    )
    if endpoint:
        config["endpoint"] = endpoint
    config["region"] = (
        place.region
        or values.get("region")
        or environ.get("AWS_REGION")
        or environ.get("AWS_DEFAULT_REGION")
        or "us-east-1"
    )
    if place.anonymous:
        config["skip_signature"] = True
    return config, profile, os.environ.get("AWS_CA_BUNDLE") or values.get("ca_bundle") or authority


def _pem(path: str) -> bytes:
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except OSError as exc:
        raise StorageError(
            f"cannot read the certificates in {path}: {exc.strerror}; check AWS_CA_BUNDLE", errno=exc.errno
        ) from exc


def _times(count: int) -> str:
    return "asked once" if count == 1 else f"{count} times"


def _stamp(meta: Any) -> str:
    # Google compares its number of a version, the others their ETag.
    return f"{meta['e_tag']}|{meta['version'] or ''}"


def _status(exc: Exception) -> int | None:
    found = _STATUS.findall(str(exc))
    return int(found[-1]) if found else None


def _is_network(text: str) -> bool:
    return any(
        word in text for word in ("HTTP error", "HttpError", "retries", "Timeout", "timed out", "connection")
    )


def _network_reason(text: str) -> str:
    if "Timeout" in text or "timed out" in text or "TimedOut" in text:
        return "the server did not answer in time"
    if "certificate" in text.lower():
        return "its certificate is not trusted here (AWS_CA_BUNDLE names the file of your own authority)"
    if "Connect" in text or "dns error" in text:
        return "no connection to the server"
    return "the connection broke"
