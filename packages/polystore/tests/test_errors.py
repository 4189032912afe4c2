from __future__ import annotations

import errno
import pickle  # noqa: TID251

import pytest

from polystore import errors
from polystore.errors import BatchError, NotFoundError, PolystoreError, StorageError

CLASSES = [getattr(errors, name) for name in errors.__all__]


@pytest.mark.parametrize("cls", CLASSES)
def test_texts_stay_as_given_and_cross_processes(cls: type[PolystoreError]) -> None:
    assert issubclass(cls, PolystoreError)
    again = pickle.loads(pickle.dumps(cls("cannot 'do' it")))
    assert type(again) is cls
    assert str(again) == "cannot 'do' it"
    assert cls.__doc__


def test_the_builtin_errors_people_expect() -> None:
    expected = {
        "BackendNotFoundError": LookupError,
        "BackendClashError": ValueError,
        "MissingExtraError": ImportError,
        "ComponentError": ValueError,
        "ProjectionError": ValueError,
        "UnsupportedArrayError": TypeError,
        "PayloadTooLargeError": ValueError,
        "NoSharedMemoryError": OSError,
        "StorageError": OSError,
        "NotFoundError": FileNotFoundError,
        "AlreadyExistsError": FileExistsError,
        "NotAFileError": IsADirectoryError,
        "NotAFolderError": NotADirectoryError,
        "UnsupportedFormatError": ValueError,
        "UnsafePathError": ValueError,
    }
    for name, builtin in expected.items():
        assert issubclass(getattr(errors, name), builtin)


def test_numbers_of_the_system() -> None:
    assert NotFoundError("x").errno == errno.ENOENT
    full = StorageError("no space on /data", errno=errno.ENOSPC)
    assert (full.errno, str(full)) == (errno.ENOSPC, "no space on /data")
    assert pickle.loads(pickle.dumps(full)).errno == errno.ENOSPC


def test_a_batch_error_says_how_far_it_came() -> None:
    again = pickle.loads(pickle.dumps(BatchError("x", index=3, done=2, errno=errno.EIO)))
    assert (again.index, again.done, again.errno) == (3, 2, errno.EIO)


def test_the_tree_at_the_top_names_every_class() -> None:
    drawing = (errors.__doc__ or "").split("The text of each")[0]
    drawn = {line.split()[1] for line in drawing.splitlines() if line.strip().startswith(("*", "+", "-"))}
    assert drawn == set(errors.__all__)
