"""ImageJ's jar from Maven Central, resolved by jgo into the project's own cache. Starts no Java."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from openhcs_viewers.errors import ImageJError
from openhcs_viewers.fiji_engine_config import PINNED_IJ

__all__ = ["cache_folder", "cached_jars", "fetch", "resolve"]

logger = logging.getLogger(__name__)

PINNED_SHA256 = "2e1a09961dfb41cee66ddc821b2577a41a072566ce45a49bae69267099741e20"
"""Of the jar of `PINNED_IJ`: 2.6 MB that a broken line or a strange mirror must not replace."""

LOCK_TIMEOUT = 120.0
"""Seconds to wait for another process of this user that fetches the same."""


def cache_folder() -> Path:
    """Return the folder of everything that comes from Maven: ``java`` in the project's cache."""
    from polystore.xdg_paths import get_openhcs_cache_dir

    return get_openhcs_cache_dir() / "java"


def repository() -> Path:
    """Return the local Maven repository: ``M2_REPO`` where that is set, as for jgo, else one of our own."""
    return Path(os.environ.get("M2_REPO") or cache_folder() / "m2")


def cached_jars(coordinates: str) -> tuple[Path, ...]:
    """Return the jar of an ImageJ that was fetched before, empty when it was not.

    Raises
    ------
    ImageJError
        Those are no coordinates of one version.
    """
    jar = _jar(coordinates)
    return (jar,) if jar.is_file() and _is_sound(coordinates, jar) else ()


def resolve(coordinates: str, say: Callable[[str], object] = logger.warning) -> tuple[Path, ...]:
    """Return the jars of an ImageJ, fetched from Maven Central where they are not in the cache.

    Parameters
    ----------
    coordinates
        ``group:artifact:version``.
    say
        Gets a line before anything is fetched, and one afterwards.

    Raises
    ------
    ImageJError
        Maven Central cannot be reached, or does not have it.
    """
    return cached_jars(coordinates) or fetch(coordinates, say)


def fetch(coordinates: str, say: Callable[[str], object]) -> tuple[Path, ...]:
    """Fetch it, whether it is there or not; see `resolve`."""
    from filelock import FileLock, Timeout

    folder = cache_folder()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with FileLock(folder / "fetch.lock", timeout=LOCK_TIMEOUT):
            if found := cached_jars(coordinates):  # by somebody who held the lock
                return found
            say(f"fetching {coordinates} from Maven Central into {repository()}")
            _jar(coordinates).unlink(missing_ok=True)  # one that is broken would be believed
            jars = _resolve(coordinates, folder)
    except Timeout as error:
        raise ImageJError(
            f"another process has held {folder / 'fetch.lock'} for {LOCK_TIMEOUT:g} s"
        ) from error
    except OSError as error:
        raise ImageJError(f"{coordinates} cannot be fetched: {error}") from error
    size = sum(jar.stat().st_size for jar in jars)
    say(f"fetched {coordinates}: {', '.join(jar.name for jar in jars)}, {size / 1e6:.1f} MB")
    return jars


def _resolve(coordinates: str, folder: Path) -> tuple[Path, ...]:
    import jgo
    from jgo.maven import PythonResolver

    with _repository_of_jgo():
        try:
            # Without further repositories jgo asks Maven Central alone.
            jgo.build(coordinates, cache_dir=folder / "jgo", repositories={}, resolver=PythonResolver())
        except Exception as error:
            # jgo lets pass whatever requests, its parser and itself raise: all of it means one thing here.
            raise ImageJError(
                f"{coordinates} cannot be had from Maven Central ({_first_line(error)}): go online once and run "
                "'openhcs-viewers doctor fiji --install', or name a Fiji folder: --fiji-dir DIR"
            ) from error
    jar = _jar(coordinates)
    if not jar.is_file() or not _is_sound(coordinates, jar):
        raise ImageJError(
            f"what came as {jar} is not {coordinates}: remove it, and look for a proxy in between"
        )
    return (jar,)


@contextmanager
def _repository_of_jgo() -> Iterator[None]:
    """Have jgo keep jars where we look for them; it takes that from the environment alone."""
    before = os.environ.get("M2_REPO")
    os.environ["M2_REPO"] = str(repository())
    try:
        yield
    finally:
        if before is None:
            del os.environ["M2_REPO"]


def _jar(coordinates: str) -> Path:
    parts = coordinates.split(":")
    if len(parts) != 3 or not all(parts) or any("/" in part or part.startswith(".") for part in parts):
        raise ImageJError(
            f"{coordinates!r} is no ImageJ of one version: write group:artifact:version, such as {PINNED_IJ}"
        )
    group, artifact, version = parts
    return repository().joinpath(*group.split("."), artifact, version, f"{artifact}-{version}.jar")


def _is_sound(coordinates: str, jar: Path) -> bool:
    """Return whether a jar is what it should be, as far as we know what that is; 5 ms."""
    return coordinates != PINNED_IJ or hashlib.sha256(jar.read_bytes()).hexdigest() == PINNED_SHA256


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
