"""Headers of TIFFs, without their pixels."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from polystore.errors import CorruptFileError
from polystore.microscopes._tiff_header import read_header

IMAGE = np.arange(64 * 48, dtype="u2").reshape(64, 48)


def written(**options: object) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, IMAGE, **options)
    return stream.getvalue()


@pytest.mark.parametrize(
    "options",
    [
        {"bigtiff": False}, {"bigtiff": True}, {"byteorder": ">"}, {"byteorder": ">", "bigtiff": True},
        {"rowsperstrip": 3}, {"tile": (16, 16)}, {"compression": "zlib"},
    ],
    ids=str,
)  # fmt: skip
def test_what_tifffile_writes(options: dict[str, object]) -> None:
    header = read_header(io.BytesIO(written(description="hello", metadata=None, **options)), "a.tif")
    assert (header.width, header.height, header.bits, header.description) == (48, 64, 16, b"hello")


def test_only_the_header_is_read(tmp_path: Path) -> None:
    path = tmp_path / "big.tif"
    tifffile.imwrite(path, np.zeros((4096, 4096), "u1"), description="x" * 3000, metadata=None)

    class Counting(io.FileIO):
        read_bytes = 0

        def read(self, size: int = -1) -> bytes:
            got = super().read(size)
            Counting.read_bytes += len(got)
            return got

    with Counting(path) as stream:
        assert read_header(stream, "big.tif").width == 4096
    assert Counting.read_bytes < 8192


@pytest.mark.parametrize("keep", [1, 7, 9, 100, 400, 3000])
def test_a_file_that_is_cut_off(keep: int) -> None:
    content = written(description="hello", metadata=None)
    with pytest.raises(CorruptFileError, match="a.tif (is cut off: it has|is no TIFF|is empty)"):
        read_header(io.BytesIO(content[:keep]), "a.tif")


def test_other_files() -> None:
    for content, reason in (
        (b"", "is empty"),
        (b"\x89PNG\r\n\x1a\n" * 4, "is no TIFF"),
        (bytes(100), "is no TIFF"),
    ):
        with pytest.raises(CorruptFileError, match=reason):
            read_header(io.BytesIO(content), "a.tif")


def test_absurd_headers_are_refused_before_memory_is_taken() -> None:
    tags = (0xFFFF).to_bytes(2, "little")
    with pytest.raises(CorruptFileError, match="65535 TIFF tags"):
        read_header(io.BytesIO(b"II*\0\x08\0\0\0" + tags + bytes(64)), "a.tif")
    # an ImageDescription of 2 GB at offset 0
    entry = b"".join(n.to_bytes(w, "little") for n, w in ((270, 2), (2, 2), (2**31, 4), (0, 4)))
    size = b"".join(
        b"".join(n.to_bytes(w, "little") for n, w in ((tag, 2), (3, 2), (1, 4), (9, 4))) for tag in (256, 257)
    )
    with pytest.raises(CorruptFileError, match="description of 2147483648 bytes"):
        read_header(io.BytesIO(b"II*\0\x08\0\0\0\x03\0" + size + entry + bytes(4)), "a.tif")


@given(st.binary(max_size=64), st.integers(0, 300))
def test_damaged_bytes_do_no_worse_than_a_typed_error(noise: bytes, where: int) -> None:
    content = bytearray(written(metadata=None))
    content[where : where + len(noise)] = noise
    try:
        read_header(io.BytesIO(bytes(content)), "a.tif")
    except CorruptFileError:
        pass
