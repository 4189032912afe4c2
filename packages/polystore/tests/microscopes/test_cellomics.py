"""Plates of Cellomics, made here after public descriptions of its names and headers."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import pytest

from polystore import ImageKey, parse_path
from polystore.microscopes import open_plate, parse_filename


def header(width: int = 512, height: int = 512, per_metre: int = 1_550_388) -> bytes:
    return struct.pack("<IiiHHIIii", 40, width, height, 1, 16, 0, 0, per_metre, per_metre) + bytes(12)


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
