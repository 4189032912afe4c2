"""Where a cloud store is, as a plain description: what crosses processes and stands in a repr."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from polystore._paths import check_key
from polystore.errors import StorageError, UnsafePathError

__all__ = ["Place", "is_url", "parse_place", "split_url"]

_SCHEMES = {
    "s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "az": "az", "azure": "az", "abfs": "az", "abfss": "az",
    "memory": "memory",
}  # fmt: skip

# One slash is what pathlib leaves of two. A drive's letter is no scheme.
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/{1,2}(.*)", re.DOTALL)

_HINTS = {
    "s3": "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN, which expires) in the "
    "environment or the profile, the clock of this machine, and what the bucket allows",
    "gs": "check GOOGLE_APPLICATION_CREDENTIALS in the environment, and what the bucket allows",
    "az": "check AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY or _SAS_TOKEN in the environment",
}


_SECRET = ("key", "secret", "token", "password", "credential", "sas", "bearer")
_NOT_SECRET = ("skip_signature",)


def _looks_secret(option: str) -> bool:
    """Whether an option of a store would hold a credential."""
    name = option.lower()
    return name not in _NOT_SECRET and any(word in name for word in _SECRET)


@dataclass(frozen=True, slots=True)
class Place:
    """A bucket and how to reach it. Holds no credentials.

    Parameters
    ----------
    scheme
        ``"s3"``, ``"gs"``, ``"az"`` or ``"memory"``.
    bucket
        The bucket; of Azure the container.
    endpoint, region, profile, anonymous, retries, timeout
        As in `polystore.objects.CloudObjects`.
    options
        Further settings of the library, none of them secret.
    """

    scheme: str
    bucket: str
    endpoint: str | None = None
    region: str | None = None
    profile: str | None = None
    anonymous: bool = False
    retries: int = 5
    timeout: float = 30.0
    options: tuple[tuple[str, Any], ...] = field(default=())

    @property
    def bucket_url(self) -> str:
        """``s3://bucket``."""
        return f"{self.scheme}://{self.bucket}"

    def credentials_hint(self) -> str:
        """What to check when it refuses us."""
        if self.profile:
            return f"check the keys of profile {self.profile!r}: they may have expired"
        return _HINTS.get(self.scheme, "")


def is_url(text: str) -> bool:
    """Whether a text is the url of something and not a path."""
    return _URL.fullmatch(text) is not None


def split_url(url: str) -> tuple[str, str, str]:
    """Scheme, bucket and key of a url.

    Raises
    ------
    StorageError
        No scheme we know, or no bucket.
    UnsafePathError
        It holds credentials or a query, or its key leaves the bucket. The text does not show them.
    """
    match = _URL.fullmatch(url)
    if match is None:
        raise StorageError(f"{url!r} is no url; write s3://bucket/key")
    given, rest = match[1].lower(), match[2]
    scheme = _SCHEMES.get(given)
    if scheme is None:
        raise StorageError(f"no store for {given}:// (known: {', '.join(sorted(_SCHEMES))})")
    bucket, _, key = rest.partition("/")
    if "@" in bucket:
        raise UnsafePathError(
            f"a url must not hold credentials: write {given}://bucket/key, and put them into the environment or a "
            "profile"
        )
    if scheme != "memory" and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", bucket):
        raise StorageError(f"{given}://{bucket!r} names no bucket; write {given}://bucket/key")
    return scheme, bucket, check_key(key) if key.strip("/") else ""


def parse_place(
    url: str,
    *,
    endpoint: str | None = None,
    region: str | None = None,
    profile: str | None = None,
    anonymous: bool = False,
    retries: int = 5,
    timeout: float = 30.0,
    **options: Any,
) -> tuple[Place, str]:
    """The bucket a url names, and the key in it; raises as `split_url`."""
    scheme, bucket, key = split_url(url)
    if endpoint is not None:
        parts = urlsplit(endpoint)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise StorageError("endpoint= is the url of a server: https://minio.example.org:9000")
        if parts.username or parts.password or parts.query:
            raise UnsafePathError(
                "endpoint= must not hold credentials; put them into the environment or a profile"
            )
    for name in options:
        if _looks_secret(name):
            raise UnsafePathError(
                f"{name}= is not taken, so that no secret travels with this description; put it into the "
                "environment (AWS_ACCESS_KEY_ID, ...) or name a profile="
            )
    place = Place(
        scheme, bucket, endpoint, region, profile, anonymous, retries, timeout, tuple(sorted(options.items()))
    )
    return place, key
