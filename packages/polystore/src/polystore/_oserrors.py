"""Errors of the file system as ours."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from polystore._paths import StrPath
from polystore.errors import (
    AlreadyExistsError,
    NotAFileError,
    NotAFolderError,
    NotFoundError,
    PolystoreError,
    StorageError,
)

__all__ = ["translated"]

_REMEDIES = {
    errno.ENOSPC: "; free some space, what was there before is untouched",
    errno.EDQUOT: "; free some space, what was there before is untouched",
    errno.ENOTEMPTY: "; pass recursive=True to delete what is in it, too",
    errno.EACCES: "; check who may read and write there",
    errno.ENAMETOOLONG: "; shorten the name",
    errno.ENOLCK: "; this file system has no locks (of a network file system, mount it with them)",
    errno.EOPNOTSUPP: "; this file system lacks that (locks, maybe: mount a network file system with them)",
}


@contextmanager
def translated(verb: str, path: StrPath) -> Iterator[None]:
    """Raise errors of the file system as ours, with what was tried and the path; ours pass unchanged."""
    try:
        yield
    except PolystoreError:
        raise
    except FileNotFoundError as exc:
        raise NotFoundError(f"cannot {verb} {path!s}: nothing is there") from exc
    except FileExistsError as exc:
        raise AlreadyExistsError(f"{path!s} exists already; pass overwrite=True to replace it") from exc
    except IsADirectoryError as exc:
        raise NotAFileError(f"cannot {verb} {path!s}: it is a folder") from exc
    except NotADirectoryError as exc:
        raise NotAFolderError(f"cannot {verb} {path!s}: a file stands where a folder has to be") from exc
    except OSError as exc:
        remedy = _REMEDIES.get(exc.errno or 0, "")
        raise StorageError(f"cannot {verb} {path!s}: {exc.strerror or exc}{remedy}", errno=exc.errno) from exc
