"""Every error polystore raises on purpose.

* PolystoreError
  + BackendNotFoundError (also KeyError)         no backend or plugin of that name
  + BackendClashError (also ValueError)          two plugins claim one name
  + BackendLoadError (also ImportError)          a plugin is known but cannot be used
    - MissingExtraError                          ... because an optional dependency is not installed
  + ComponentError (also ValueError)             a component name or value nobody understands
  + ProjectionError (also ValueError)            images cannot be laid out as asked
  + PayloadError                                 an array cannot travel
    - UnsupportedArrayError (also TypeError)     not a plain numeric array
    - PayloadTooLargeError (also ValueError)     over a stated limit; checked before anything is allocated
    - NoSharedMemoryError (also OSError)         no room or no place for shared memory
    - TornPayloadError                           the bytes were rewritten while they were read
  + RoiError (also ValueError)                   a region of interest that cannot be drawn or stored
  + SettingsError (also ValueError)              a setting that cannot be understood; says where it stands
  + StorageError (also OSError)                  a store refused or failed
    - NotFoundError (also FileNotFoundError)
    - AlreadyExistsError (also FileExistsError)
    - NotAFileError (also IsADirectoryError)
    - NotAFolderError (also NotADirectoryError)
    - UnsupportedFormatError (also ValueError)   no reader or writer for that suffix or value
    - CorruptFileError (also ValueError)         a file is not what its suffix says
    - MergeConflictError (also ValueError)       documents that cannot be merged; says where
    - UnsafePathError (also ValueError)          a path that leaves the root, or is no path at all
    - BusyError (also TimeoutError)              others held or kept changing it until the deadline
    - UnreachableError (also ConnectionError)    a store elsewhere gave no usable answer, asked again and again
    - AccessError (also PermissionError)         credentials that are missing, wrong, expired or not enough
    - BatchError                                 one item of a batch failed; says which and what is done
  + BatchLengthError (also ValueError)           as many paths as images are needed

The text of each says what failed, with the value, and what to do about it. All of them survive pickling, so
they cross process pools unchanged.
"""

from __future__ import annotations

import errno as _codes
from typing import Any

__all__ = [
    "AccessError",
    "AlreadyExistsError",
    "BackendClashError",
    "BackendLoadError",
    "BackendNotFoundError",
    "BatchError",
    "BatchLengthError",
    "BusyError",
    "ComponentError",
    "CorruptFileError",
    "MergeConflictError",
    "MissingExtraError",
    "NoSharedMemoryError",
    "NotAFileError",
    "NotAFolderError",
    "NotFoundError",
    "PayloadError",
    "PayloadTooLargeError",
    "PolystoreError",
    "ProjectionError",
    "RoiError",
    "SettingsError",
    "StorageError",
    "TornPayloadError",
    "UnreachableError",
    "UnsafePathError",
    "UnsupportedArrayError",
    "UnsupportedFormatError",
]


class PolystoreError(Exception):
    """Base of every error polystore raises on purpose."""


class BackendNotFoundError(PolystoreError, KeyError):
    """No backend (or other plugin) has the given name; the text lists the known ones."""

    __str__ = Exception.__str__  # a KeyError shows its text in quotes


class BackendClashError(PolystoreError, ValueError):
    """Two different plugins claim one name; the text names both."""


class BackendLoadError(PolystoreError, ImportError):
    """A plugin is known by name but importing or constructing it failed; the cause is chained."""


class MissingExtraError(BackendLoadError):
    """An optional dependency is not installed; the text is the command that installs it."""


class ComponentError(PolystoreError, ValueError):
    """A component name or value nobody understands: ``frequency``, ``well=1.5``."""


class ProjectionError(PolystoreError, ValueError):
    """Images cannot be laid out as asked, e.g. two producers on one coordinate."""


class PayloadError(PolystoreError):
    """An array cannot be sent or received."""


class UnsupportedArrayError(PayloadError, TypeError):
    """Not a plain numeric array: object, structured, string or date dtypes, or no array at all."""


class PayloadTooLargeError(PayloadError, ValueError):
    """A shape or a size over the stated limit. Raised before anything of that size is allocated."""


class NoSharedMemoryError(PayloadError, OSError):
    """Shared memory is full, too small or absent; the sender falls back to inline frames where it may."""


class TornPayloadError(PayloadError):
    """The bytes of a payload were rewritten while they were being read; the copy was refused."""


class RoiError(PolystoreError, ValueError):
    """A region of interest with impossible points, kind or properties."""


class SettingsError(PolystoreError, ValueError):
    """An environment variable, an entry of a file or a configured value that cannot be understood."""


class StorageError(PolystoreError, OSError):
    """A store refused or failed.

    ``errno`` is that of the cause where there is one (``ENOSPC`` for a full disk).
    """

    _default_errno: int | None = None

    def __init__(self, message: str = "", *, errno: int | None = None) -> None:
        super().__init__(message)
        code = self._default_errno if errno is None else errno
        if code is not None:
            # Set after construction: OSError(errno, text) would put "[Errno 28]" before our text.
            self.errno = code

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self.args, {**self.__dict__, "errno": self.errno}


class NotFoundError(StorageError, FileNotFoundError):
    """Nothing is stored at that path."""

    _default_errno = _codes.ENOENT


class AlreadyExistsError(StorageError, FileExistsError):
    """Something is stored at that path already and the call must not replace it."""

    _default_errno = _codes.EEXIST


class NotAFileError(StorageError, IsADirectoryError):
    """A folder stands where a file is needed."""

    _default_errno = _codes.EISDIR


class NotAFolderError(StorageError, NotADirectoryError):
    """A file stands where a folder is needed."""

    _default_errno = _codes.ENOTDIR


class UnsupportedFormatError(StorageError, ValueError):
    """No reader or writer for that suffix, or the format cannot hold that value exactly."""


class CorruptFileError(StorageError, ValueError):
    """A file exists but is not what its suffix says."""


class MergeConflictError(StorageError, ValueError):
    """A value in a document has another kind than the one it would replace; the text says where."""


class UnsafePathError(StorageError, ValueError):
    """A path that leaves the root, or that no store can name (empty, or with a NUL)."""


class BusyError(StorageError, TimeoutError):
    """Others held something, or kept changing it, until the deadline; the text names them where known."""

    _default_errno = _codes.ETIMEDOUT


class UnreachableError(StorageError, ConnectionError):
    """A store elsewhere gave no usable answer, however often it was asked; the text names it."""

    _default_errno = _codes.EHOSTUNREACH


class AccessError(StorageError, PermissionError):
    """A store refuses these credentials, or there are none; the text says which to check, and shows none."""

    _default_errno = _codes.EACCES


class BatchError(StorageError):
    """One item of a batch failed; the cause is chained.

    Parameters
    ----------
    message
        What failed, with the path.
    index
        Position of the failed item in the batch.
    done
        How many items before it are stored (or were loaded): they are always the first ``done`` of the batch.
    """

    def __init__(self, message: str = "", *, index: int = 0, done: int = 0, errno: int | None = None) -> None:
        super().__init__(message, errno=errno)
        self.index = index
        self.done = done


class BatchLengthError(PolystoreError, ValueError):
    """Numbers of images and paths differ. Raised before anything is written."""
