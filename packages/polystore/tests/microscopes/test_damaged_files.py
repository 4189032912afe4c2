"""Readers of vendors' files, given damaged ones: a typed error that names the file, never another one."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polystore import FileManager
from polystore._paths import StrPath
from polystore.backends._dib import read_header as read_dib
from polystore.backends.disk import DiskBackend
from polystore.errors import CorruptFileError, UnsupportedFormatError
from polystore.microscopes import open_plate
from polystore.microscopes._cellvoyager import read_attributes, read_mlf
from polystore.microscopes._harmony import read_index
from polystore.microscopes._htd import read_htd
from polystore.microscopes._metamorph import read_plane
from polystore.microscopes._openhcs import read_parts

IMAGE = (
    b"<Image><URL>a.tiff</URL><Row>1</Row><Col>2</Col><FieldID>3</FieldID><PlaneID>4</PlaneID><TimepointID>0</TimepointID>"
    b"<ChannelID>1</ChannelID><ChannelName>D</ChannelName><PositionX Unit='m'>1E-3</PositionX>"
    b"<PositionY Unit='m'>0</PositionY><ExposureTime Unit='s'>1</ExposureTime></Image>"
)
RECORD = (
    b'<R><MeasurementRecord Type="IMG" Time="2020-08-12T17:36:36+02:00" Column="3" Row="2" TimePoint="1" '
    b'FieldIndex="1" ZIndex="1" X="1" Y="2" Z="3" Ch="1">a.tif</MeasurementRecord></R>'
)
SETTING = (
    b'<S><LightSource Name="a" WaveLength="405"/><Channel Ch="1" Acquisition="BP1"><LightSourceName>a</LightSourceName>'
    b"</Channel></S>"
)
HTD = (
    b'"HTSInfoFile", Version 1.0\r\n"XWells", 3\r\n"YWells", 2\r\n"WellsSelection1", TRUE, FALSE, TRUE\r\n'
    b'"Sites", TRUE\r\n"YSites", 1\r\n"SiteSelection1", TRUE\r\n"NWavelengths", 1\r\n"WaveName1", "DAPI"\r\n'
)
OPENHCS = (
    b'{"subdirectories": {"images": {"pixel_size": 1.0, "channels": {"1": "DAPI"}, '
    b'"available_backends": {"disk": true}}}}'
)

READERS: dict[str, tuple[Callable[[BinaryIO, str], object], bytes]] = {
    "Index.xml": (read_index, IMAGE),
    "MeasurementData.mlf": (read_mlf, RECORD),
    "a.mes": (read_attributes, SETTING),
    "P.HTD": (read_htd, HTD),
    "openhcs_metadata.json": (read_parts, OPENHCS),
    "a.tif": (read_plane, b"II*\0"),
    "a.C01": (read_dib, b"\x10\0\0\0x"),
}

WORDS = [
    b"-1",
    b"1e300",
    b"99999999999999999999",
    b"nan",
    b"",
    b"x",
    b"\0",
    b"\xff",
    b"<",
    b'"',
    b"null",
    b"{}",
    b"0.5",
]


@pytest.mark.parametrize("name", READERS)
@given(
    where=st.integers(0, 10_000),
    length=st.integers(0, 6),
    word=st.sampled_from(WORDS) | st.binary(max_size=8),
)
def test_any_damage(name: str, where: int, length: int, word: bytes) -> None:
    reader, whole = READERS[name]
    where %= len(whole) + 1
    content = whole[:where] + word + whole[where + length :]
    text = name
    try:
        reader(io.BytesIO(content), name)
    except (CorruptFileError, UnsupportedFormatError) as exc:
        text = str(exc)
    assert name in text


@pytest.mark.parametrize("name", [name for name in READERS if name not in ("a.tif", "a.C01")])
def test_the_undamaged_are_read(name: str) -> None:
    reader, whole = READERS[name]
    assert reader(io.BytesIO(whole), name)


def test_numbers_no_key_can_have_name_the_line() -> None:
    text = IMAGE.replace(b"<FieldID>3", b"\n<FieldID>1e300")
    with pytest.raises(CorruptFileError, match="Index.xml, line 1: <Image> cannot be used: field="):
        read_index(io.BytesIO(text), "Index.xml")


class Failing(DiskBackend):
    """A drive that fails in the middle of a file."""

    def open_binary(self, path: StrPath) -> BinaryIO:
        class Stream(io.BytesIO):
            def read(self, size: int | None = -1) -> bytes:
                raise OSError(5, "Input/output error")

        return Stream()


def test_a_drive_that_fails_is_noted(tmp_path: Path) -> None:
    (tmp_path / "P_A01_s1_w1.tif").touch()
    files = FileManager()
    files.mount("disk", Failing())
    plate = open_plate(tmp_path, files)
    assert len(plate) == 1
    assert [note.text for note in plate.notes] == [
        f"{tmp_path}/P_A01_s1_w1.tif cannot be read: [Errno 5] Input/output error"
    ]


def test_a_folder_that_cannot_be_listed_is_noted(tmp_path: Path) -> None:
    from polystore.abc import Entry
    from polystore.errors import StorageError

    class Locked(DiskBackend):
        def scan(self, folder: StrPath) -> list[Entry]:
            if str(folder).endswith("TimePoint_2"):
                raise StorageError(f"cannot list {folder}: Permission denied")
            return list(super().scan(folder))

    for t in (1, 2):
        (tmp_path / f"TimePoint_{t}").mkdir()
        (tmp_path / f"TimePoint_{t}" / "P_A01_s1_w1.tif").touch()
    files = FileManager()
    files.mount("disk", Locked())
    plate = open_plate(tmp_path, files)
    assert [plane.path for plane in plate] == ["TimePoint_1/P_A01_s1_w1.tif"]
    assert [note.text for note in plate.notes if note.paths == ("TimePoint_2",)] == [
        f"folder left out: cannot list {tmp_path}/TimePoint_2: Permission denied"
    ]
