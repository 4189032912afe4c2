"""Folders one may not write to, or not enter: what is told is what is wrong."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from polystore import FileManager, _filelock
from polystore._filelock import file_lock

SHOW = """
from polystore import FileManager
from polystore._cli import main
from polystore.errors import StorageError
from polystore.metadata import merge_json
from polystore.objects import open_objects

def show(act):
    try:
        print("done:", act())
    except StorageError as exc:
        print(type(exc).__name__, exc)

fm = FileManager()
"""

Run = Callable[[str], str]


def lines(ordinary: Run, code: str) -> list[str]:
    return ordinary(SHOW + textwrap.dedent(code)).splitlines()


def forbid_writing(folder: Path) -> None:
    for path, _, _ in os.walk(folder):
        os.chmod(path, 0o555)


def test_a_folder_one_may_not_write_to_is_not_an_empty_one(tmp_path: Path, ordinary: Run) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "status.json").write_text('{"a": 1}')
    forbid_writing(tmp_path / "kept")
    told = lines(
        ordinary,
        """
        show(lambda: merge_json("kept/status.json", {"b": 2}))
        show(lambda: open_objects("kept").put("x", b"1"))
        show(lambda: open_objects("kept").delete("status.json"))
        """,
    )
    assert len(told) == 3
    for line in told:
        assert line.startswith("StorageError cannot ")
        assert "Permission denied" in line
    assert (tmp_path / "kept" / "status.json").read_text() == '{"a": 1}'


def test_deleting_from_a_plate_one_may_not_write_to_is_refused(tmp_path: Path, ordinary: Run) -> None:
    image = np.arange(16, dtype="u2").reshape(4, 4)
    path = tmp_path / "p.zarr" / "E07_s001_w1.tif"
    FileManager().save(image, path, "zarr")
    forbid_writing(tmp_path / "p.zarr")
    (line,) = lines(ordinary, 'show(lambda: fm.delete("p.zarr/E07_s001_w1.tif", "zarr"))')
    assert line.startswith("StorageError cannot delete ")
    assert "Permission denied" in line
    assert np.array_equal(FileManager().load(path, "zarr"), image)


def test_a_folder_one_may_not_enter_is_told_in_a_line(tmp_path: Path, ordinary: Run) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    told = lines(
        ordinary,
        """
        import contextlib, sys
        with contextlib.redirect_stderr(sys.stdout):
            print(main(["ls", "closed"]))
            print(main(["cp", "closed", "copy.zarr"]))
        show(lambda: fm.backend_for("closed"))
        """,
    )
    assert [line for line in told if line.isdigit()] == ["1", "1"]
    texts = [line for line in told if not line.isdigit()]
    assert len(texts) == 3
    assert all("closed" in line and "Permission denied" in line for line in texts)


def test_a_file_above_that_one_may_not_read_is_no_workspace(tmp_path: Path, ordinary: Run) -> None:
    (tmp_path / "above" / "below").mkdir(parents=True)
    (tmp_path / "above" / "openhcs_metadata.json").write_text('{"workspace_mapping": {}}')
    (tmp_path / "above" / "openhcs_metadata.json").chmod(0)
    told = lines(
        ordinary,
        """
        show(lambda: fm.backend_for("above/below/x.tif"))
        show(lambda: fm.backend_for("above"))
        """,
    )
    assert told[0] == "done: disk"
    assert told[1].startswith("StorageError cannot read ")


def test_a_lock_file_that_another_user_just_removed_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a shared folder the file of another may be waited for and not be written to."""
    answers = [PermissionError(13, "Permission denied"), FileNotFoundError(2, "gone")]
    really = os.open

    def fake(path: str, flags: int, mode: int = 0o777) -> int:
        if answers:
            raise answers.pop(0)
        return really(path, flags, mode)

    monkeypatch.setattr(_filelock.os, "open", fake)
    with file_lock(str(tmp_path / "a"), timeout=0):
        assert len(list(tmp_path.iterdir())) == 1
