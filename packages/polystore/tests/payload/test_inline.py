"""Frame codecs: exact for every dtype, and wary of what a frame says about itself."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polystore.errors import MissingExtraError, PayloadError
from polystore.payload import inline

CODECS = inline.codec_names()


def test_both_codecs_are_there() -> None:
    # The test environment has the extra; without it only the plain one would be tried.
    assert CODECS == ["lz4", "none"]


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize(
    "array",
    [
        np.arange(60, dtype="<u2").reshape(3, 20),
        np.arange(60).astype(">i4"),
        np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        np.arange(24, dtype="<c16").reshape(2, 3, 4)[:, ::2],
        np.array([True, False]),
        np.array(7, dtype="<f2"),
        np.zeros((0, 5), dtype="<u2"),
        np.zeros((2, 0), dtype="|b1"),
    ],
    ids=lambda array: f"{array.dtype.str}{array.shape}",
)
def test_every_array_arrives_exactly(name: str, array: np.ndarray[Any, Any]) -> None:
    codec = inline.codec(name)
    frame = bytes(codec.encode(array))
    data = codec.decode(frame, array.nbytes, array.itemsize)
    assert memoryview(data).nbytes == array.nbytes
    assert bytes(data) == array.tobytes()


def test_sorting_bytes_by_significance_is_what_compresses_camera_images() -> None:
    rng = np.random.default_rng(1)
    camera = rng.poisson(200, (256, 256)).astype("<u2")
    assert len(inline.codec("lz4").encode(camera)) < 0.65 * camera.nbytes
    assert len(inline.codec("none").encode(camera)) == camera.nbytes


def test_the_wrong_number_of_bytes_is_refused() -> None:
    plain, lz4 = inline.codec("none"), inline.codec("lz4")
    with pytest.raises(PayloadError, match="4 bytes where 8"):
        plain.decode(b"1234", 8, 1)
    frame = lz4.encode(np.zeros(100, np.uint8))
    with pytest.raises(PayloadError, match="decompress"):
        lz4.decode(frame, 99, 1)
    with pytest.raises(PayloadError, match="100 bytes where 101"):
        lz4.decode(frame, 101, 1)


def test_a_small_frame_that_claims_to_be_huge_is_refused_before_memory_is_taken() -> None:
    with pytest.raises(PayloadError, match="cannot hold the 1073741824"):
        inline.codec("lz4").decode(b"1234567890", 1 << 30, 2)


@given(st.binary(max_size=200), st.integers(0, 1000), st.sampled_from([1, 2, 4, 8, 16]))
def test_garbage_is_a_typed_error_or_the_right_number_of_bytes(
    frame: bytes, items: int, itemsize: int
) -> None:
    for name in CODECS:
        try:
            data = inline.codec(name).decode(frame, items * itemsize, itemsize)
        except PayloadError:
            continue
        assert memoryview(data).nbytes == items * itemsize


def test_one_machine_never_compresses_and_others_only_when_both_can() -> None:
    assert inline.choose(["lz4", "none"], same_machine=True) == "none"
    assert inline.choose(["none", "lz4"], same_machine=False) == "lz4"
    assert inline.choose(["zstd"], same_machine=False) == "none"
    assert inline.choose([], same_machine=False) == "none"


def test_unknown_and_missing_codecs_are_typed_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PayloadError, match=r"unknown frame codec 'zip' \(known: lz4, none\)"):
        inline.codec("zip")
    monkeypatch.setattr(inline, "_made", {})
    monkeypatch.setitem(sys.modules, "lz4", None)
    monkeypatch.setitem(sys.modules, "lz4.block", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'polystore\[remote\]'"):
        inline.codec("lz4")


def test_another_distribution_adds_a_codec_and_a_broken_one_is_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Theirs(inline.PlainCodec):
        name = "theirs"

    inline.CODECS.register("theirs", Theirs)
    inline.CODECS.register("broken", "no_such_module:X")
    try:
        assert inline.codec_names()[-3:] == ["broken", "theirs", "none"]
        assert inline.choose(["broken", "theirs", "none"], same_machine=False) == "theirs"
        assert "'broken' is left out" in caplog.text
        assert isinstance(inline.codec("theirs"), Theirs)
    finally:
        inline.CODECS.unregister("theirs")
        inline.CODECS.unregister("broken")
        inline._made.pop("theirs", None)
