"""What the tests of plates share: a disk that counts, folders of empty files, the real acquisitions."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import BinaryIO

import pytest

from polystore import FileManager
from polystore._paths import StrPath
from polystore.abc import Entry
from polystore.backends.disk import DiskBackend


class CountingDisk(DiskBackend):
    """A disk that counts how often each folder is listed and each file opened."""

    def __init__(self) -> None:
        super().__init__()
        self.listed: Counter[str] = Counter()
        self.opened: Counter[str] = Counter()

    def scan(self, folder: StrPath) -> list[Entry]:
        self.listed[str(folder)] += 1
        return list(super().scan(folder))

    def open_binary(self, path: StrPath) -> BinaryIO:
        self.opened[str(path)] += 1
        return super().open_binary(path)


@pytest.fixture
def disk() -> CountingDisk:
    return CountingDisk()


@pytest.fixture
def files(disk: CountingDisk) -> FileManager:
    manager = FileManager()
    manager.mount("disk", disk)
    return manager


@pytest.fixture
def real() -> Path:
    for folder in Path(__file__).resolve().parents:
        found = folder / "shared" / "data" / "imagexpress"
        if found.is_dir():
            return found
    pytest.skip("the real acquisitions are not part of the repository")
