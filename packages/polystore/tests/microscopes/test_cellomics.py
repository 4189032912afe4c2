"""Plates of Cellomics, made here after public descriptions of its names and headers."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from polystore import ImageKey, parse_path
from polystore.backends.disk import DiskBackend
from polystore.errors import CorruptFileError, UnsupportedFormatError
from polystore.microscopes import open_plate, parse_filename
from polystore.microscopes._check import check_plate


def header(
    width: int = 512,
    height: int = 512,
    per_metre: int = 1_550_388,
    planes: int = 1,
    bits: int = 16,
    method: int = 0,
) -> bytes:
    start = struct.pack("<IiiHHIIii", 40, width, height, planes, bits, method, 0, per_metre, per_metre)
    return start.ljust(52, b"\0")


def c01(content: bytes) -> bytes:
    return b"\x10\0\0\0" + zlib.compress(content + bytes(5000))


@pytest.mark.parametrize(
    ("name", "components"),
    [
        ("AS_09125_0501_D03f00d0.DIB", {"plate": "AS_09125_0501", "well": "D03", "field": 0, "channel": 0}),
        ("MFGTMP-PC_140210_A12f11d2.C01", {"plate": "MFGTMP-PC_140210", "well": "A12", "field": 11, "channel": 2}),
        ("A01f01d2.TIF", {"well": "A01", "field": 1, "channel": 2}),
        ("P_i3t001A01f01d2.TIF", {"plate": "P", "t": 1, "well": "A01", "field": 1, "channel": 2}),
    ],
)  # fmt: skip
def test_names(name: str, components: dict[str, Any]) -> None:
    assert parse_path(name) == ImageKey.of(**components)


def test_overlays_are_no_data() -> None:
    parsed = parse_filename("P_A01f00o1.TIF")
    assert parsed is not None
    assert (parsed.parser, parsed.extra) == ("cellomics", "overlay")


@pytest.mark.parametrize("suffix", ["C01", "DIB"])
def test_a_plate(tmp_path: Path, suffix: str) -> None:
    for well in ("A01", "B02"):
        for field in (0, 1):
            for channel in (0, 1):
                content = c01(header()) if suffix == "C01" else header() + bytes(5000)
                (tmp_path / f"P_{well}f{field:02d}d{channel}.{suffix}").write_bytes(content)
    (tmp_path / "P.MDB").touch()
    assert check_plate(open_plate(tmp_path)) == ()
    plate = open_plate(tmp_path)
    assert (plate.microscope, plate.info.name, plate.missing, plate.notes) == ("cellomics", "P", (), ())
    assert plate.summary() == {
        "wells": ["A01", "B02"], "fields": [0, 1], "channels": [0, 1], "z": [], "t": [], "planes": 8
    }  # fmt: skip
    assert plate.info.pixel_size_um == (0.645, 0.645)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "cut off"),
        (b"\x10\0\0\0noise", "is no C01 file"),
        (c01(header(width=0)), "no Cellomics header"),
    ],
)
def test_broken_headers_are_noted(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "P_A01f00d0.C01").write_bytes(content)
    plate = open_plate(tmp_path)
    assert len(plate) == 1
    assert plate.info.pixel_size_um is None
    (note,) = plate.notes
    assert reason in note.text


@pytest.mark.parametrize(("planes", "dtype"), [(1, "u2"), (1, "u1"), (3, "u2")])
def test_pixels(tmp_path: Path, planes: int, dtype: str) -> None:
    image = np.arange(planes * 6 * 4, dtype=dtype).reshape((planes, 6, 4) if planes > 1 else (6, 4))
    start = header(4, 6, planes=planes, bits=image.itemsize * 8)
    (tmp_path / "a.DIB").write_bytes(start + image.tobytes())
    (tmp_path / "a.C01").write_bytes(b"\x10\0\0\0" + zlib.compress(start + image.tobytes()))
    for name in ("a.DIB", "a.C01"):
        read = DiskBackend().load(tmp_path / name)
        assert (read.dtype, read.shape) == (image.dtype, image.shape)
        np.testing.assert_array_equal(read, image)
        read[...] = 0  # it is the caller's


def test_a_bomb_is_unpacked_no_further_than_its_header_says(tmp_path: Path) -> None:
    (tmp_path / "a.C01").write_bytes(b"\x10\0\0\0" + zlib.compress(header(4, 4) + bytes(64 << 20), 1))
    tracemalloc.start()
    assert DiskBackend().load(tmp_path / "a.C01").shape == (4, 4)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


@pytest.mark.parametrize(
    ("content", "error", "reason"),
    [
        (header() + bytes(100), CorruptFileError, "it has 152 bytes and needs 524340"),
        (header(bits=13), CorruptFileError, "pixels of 13 bits"),
        (header(1 << 30, 1 << 30), CorruptFileError, "no Cellomics header"),
        (header(method=1), UnsupportedFormatError, "compressed by method 1"),
    ],
)
def test_images_that_cannot_be_read(
    tmp_path: Path, content: bytes, error: type[Exception], reason: str
) -> None:
    (tmp_path / "a.dib").write_bytes(content)
    with pytest.raises(error, match=reason):
        DiskBackend().load(tmp_path / "a.dib")
    with pytest.raises(UnsupportedFormatError, match="only read; use .tif"):
        DiskBackend().save(np.zeros((2, 2), "u2"), tmp_path / "new.c01")
    assert not (tmp_path / "new.c01").exists()
