"""Pixels in Java: the same numbers, by one copy, from whatever memory they arrive in."""

from __future__ import annotations

import mmap
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from openhcs_viewers.fiji import _convert, _pixels
from openhcs_viewers.fiji._java import java
from openhcs_viewers.fiji._pixels import PixelType, copy_into, new_array, pixel_type, staging_shape, to_numpy
from polystore.errors import ProjectionError

pytestmark = pytest.mark.usefixtures("engine")

Array = np.ndarray[Any, Any]

TABLE = {
    "uint8": PixelType.BYTE,
    "uint16": PixelType.SHORT,
    "float32": PixelType.FLOAT,
    ">u2": PixelType.SHORT,
    ">f4": PixelType.FLOAT,
    "bool": PixelType.BYTE,
    **dict.fromkeys(
        "int8 int16 int32 uint32 int64 uint64 float16 float64 complex64 complex128 >i2 >f8 >c8".split(),
        PixelType.FLOAT,
    ),
}

LAYOUTS: dict[str, Any] = {
    "as it is": lambda array: array,
    "columns first": np.asfortranarray,
    "every other row, every third column backwards": lambda array: array[::2, ::-3],
    "cropped": lambda array: array[5:100, 7:90],
    "turned": lambda array: array.T,
}


def noise(dtype: str, shape: tuple[int, ...] = (120, 130)) -> Array:
    """Any bits at all, but no NaN: it is not equal to itself."""
    rng = np.random.default_rng(5)
    kind = np.dtype(dtype).kind
    if kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    if kind in "iu":
        limits = np.iinfo(dtype)
        whole = rng.integers(limits.min, limits.max, shape, np.dtype(dtype).newbyteorder("="), endpoint=True)
        return whole.astype(dtype)
    found = rng.normal(0, 1e4, shape)
    return (found + 1j * rng.normal(0, 1e4, shape) if kind == "c" else found).astype(dtype)


def through_java(array: Array, kind: str = "image") -> Array:
    to = pixel_type(array.dtype, array.shape, kind)
    pixels = new_array(to, array.shape[0] * array.shape[1])
    copy_into(array, pixels, to, kind=kind)
    return to_numpy(pixels, (array.shape[0], array.shape[1]), to)


def processor(array: Array) -> Any:
    """The plane as ImageJ's own object."""
    to = pixel_type(array.dtype, array.shape)
    height, width = array.shape[:2]
    pixels = new_array(to, height * width)
    copy_into(array, pixels, to)
    if to is PixelType.RGB:
        return java("ij.process.ColorProcessor")(width, height, pixels)
    name = {PixelType.BYTE: "Byte", PixelType.SHORT: "Short", PixelType.FLOAT: "Float"}[to]
    return java(f"ij.process.{name}Processor")(width, height, pixels, None)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", TABLE)
def test_every_pixel_arrives(dtype: str, layout: str) -> None:
    array = LAYOUTS[layout](noise(dtype))
    array.flags.writeable = False  # as the memory of an arena is
    assert pixel_type(array.dtype, array.shape) is TABLE[dtype]
    found = through_java(array)
    if array.dtype.kind == "b":
        expected = array.astype(np.uint8) * 255
    elif array.dtype.kind == "c":
        expected = np.abs(array).astype(np.float32)
    else:
        expected = array.astype(TABLE[dtype].sample)
    assert found.dtype == expected.dtype
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("dtype", [dtype for dtype in TABLE if np.dtype(dtype).kind in "biu"])
def test_labels(dtype: str) -> None:
    array = (np.arange(600).reshape(20, 30) % (2 if dtype == "bool" else 100)).astype(dtype)
    assert pixel_type(array.dtype, array.shape, "labels") is TABLE[dtype]
    np.testing.assert_array_equal(through_java(array, "labels"), array)


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_colours(layout: str, channels: int) -> None:
    array = noise("uint8", (120, 130, channels))
    array = array.transpose(1, 0, 2) if layout == "turned" else LAYOUTS[layout](array)
    assert pixel_type(array.dtype, array.shape) is PixelType.RGB
    np.testing.assert_array_equal(through_java(array), array[..., :3])


def test_imagej_sees_the_same_numbers() -> None:
    bytes_, shorts, floats = noise("uint8"), noise("uint16"), noise("float32")
    colours = noise("uint8", (120, 130, 3))
    for y, x in ((0, 0), (17, 93), (119, 129)):
        assert processor(bytes_).get(x, y) == bytes_[y, x]
        assert processor(shorts).get(x, y) == shorts[y, x]
        assert processor(floats).getf(x, y) == floats[y, x]
        assert processor(colours).get(x, y) & 0xFFFFFF == int.from_bytes(colours[y, x].tobytes(), "big")


@pytest.mark.parametrize("dtype, channels", [("uint8", 0), ("uint16", 0), ("float32", 0), ("uint8", 3)])
def test_what_imagej_saves_is_what_arrived(dtype: str, channels: int, tmp_path: Path) -> None:
    array = noise(dtype, (120, 130, channels) if channels else (120, 130))
    picture = java("ij.ImagePlus")("plane", processor(array))
    assert java("ij.io.FileSaver")(picture).saveAsTiff(str(tmp_path / "plane.tif"))
    found = tifffile.imread(tmp_path / "plane.tif")
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


def test_what_a_float_cannot_hold_becomes_infinite() -> None:
    found = through_java(np.array([[1e300, -1e300, np.nan, 2**24 + 1.0]]))
    np.testing.assert_array_equal(found, np.array([[np.inf, -np.inf, np.nan, 2.0**24]], np.float32))


@pytest.mark.parametrize(
    "dtype, shape, kind",
    [
        ("uint8", (0, 5), "image"),
        ("uint8", (5, 0), "image"),
        ("uint8", (0, 5, 3), "image"),
        ("uint8", (5,), "image"),
        ("uint8", (2, 5, 5), "image"),
        ("uint16", (5, 5, 3), "image"),
        ("uint8", (5, 5, 3), "labels"),
        ("object", (5, 5), "image"),
        ("datetime64[s]", (5, 5), "image"),
    ],
)
def test_what_is_no_plane_is_refused(dtype: str, shape: tuple[int, ...], kind: str) -> None:
    with pytest.raises(ProjectionError, match="ImageJ|no pixels"):
        pixel_type(np.dtype(dtype), shape, kind)


def test_a_conversion_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    _convert._of_samples.cache_clear()
    for dtype in ("int16", "int16", ">i2", "uint32", "int16", "uint16", "uint8", "float32", "<u2"):
        pixel_type(np.dtype(dtype), (4, 4))
    assert [record.args[0] for record in caplog.records if isinstance(record.args, tuple)] == [
        np.dtype("int16"),
        np.dtype("uint32"),
    ]
    assert "shown as 32-bit" in caplog.text


# -- how often pixels are copied


class Copies:
    """Counts the bytes Java copied, and those numpy prepared."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.java: list[int] = []
        self.numpy: list[int] = []
        copy, convert = _pixels._copy, _pixels.convert

        def counted(array: Array, *rest: Any) -> None:
            self.java.append(array.nbytes)
            copy(array, *rest)

        def prepared(array: Array, out: Array, *rest: Any) -> None:
            self.numpy.append(out.nbytes)
            convert(array, out, *rest)

        monkeypatch.setattr(_pixels, "_copy", counted)
        monkeypatch.setattr(_pixels, "convert", prepared)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_pixels_imagej_has_are_copied_once_by_java(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    copies = Copies(monkeypatch)
    array = noise(dtype, (700, 600))
    array.flags.writeable = False
    assert staging_shape(array, TABLE[dtype]) is None
    pixels = new_array(TABLE[dtype], array.size)
    assert copy_into(array, pixels, TABLE[dtype]) is array
    assert copies.java == [array.nbytes]
    assert copies.numpy == []


@pytest.mark.parametrize("dtype", ["uint16", "int32", "rgb"])
def test_others_are_prepared_once_in_the_cache_and_copied_once(
    dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = Copies(monkeypatch)
    array = noise("uint8", (900, 600, 3)) if dtype == "rgb" else noise(dtype, (900, 700))[:, 50:650]
    through_java(array)
    to = pixel_type(array.dtype, array.shape)
    assert sum(copies.numpy) == sum(copies.java) == 900 * 600 * to.sample.itemsize
    assert copies.numpy == copies.java
    assert max(copies.java) <= _pixels._BLOCK


def test_rows_that_lie_apart_need_little_memory() -> None:
    assert staging_shape(noise("uint16", (4000, 130))[:, 2:], PixelType.SHORT) == (1024, 128)
    assert staging_shape(noise("int16", (4000, 130)), PixelType.FLOAT) == (4000, 130)


def test_the_result_has_the_pixels_as_imagej_has_them() -> None:
    for array in (noise("uint16"), noise("uint16")[::2, 1:], noise(">u2"), noise("int32"), noise("bool")):
        to = pixel_type(array.dtype, array.shape)
        plane = copy_into(array, new_array(to, array.size), to)
        assert plane.dtype == to.sample
        np.testing.assert_array_equal(plane, through_java(array))


@pytest.mark.parametrize("task", ["making an array", "copying a plane"])
def test_other_threads_run_while_java_works(task: str) -> None:
    array = np.zeros((5000, 5000), np.uint16)
    pixels = new_array(PixelType.SHORT, array.size)
    turns, end = [0], threading.Event()

    def other() -> None:
        while not end.is_set():
            turns[0] += 1
            time.sleep(0.0001)

    thread = threading.Thread(target=other)
    interval = sys.getswitchinterval()
    thread.start()
    sys.setswitchinterval(1000.0)  # from now on a thread runs only when another one lets it
    most = 0
    try:
        for _ in range(20):  # the processor may have been busy elsewhere
            before = turns[0]
            if task == "making an array":
                new_array(PixelType.SHORT, array.size)
            else:
                copy_into(array, pixels, PixelType.SHORT)
            most = max(most, turns[0] - before)
            if most >= 5:
                break
    finally:
        sys.setswitchinterval(interval)
        end.set()
        thread.join()
    assert most >= 5  # one comes between two calls of Java, too


# -- the memory it comes from


def test_mapped_memory_is_given_back(tmp_path: Path) -> None:
    array = noise("uint16", (512, 512))
    (tmp_path / "arena").write_bytes(b"\0" * 64 + array.tobytes())
    with (tmp_path / "arena").open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    view = np.frombuffer(mapped, np.uint16, array.size, 64).reshape(512, 512)
    np.testing.assert_array_equal(through_java(view), array)
    del view
    mapped.close()  # BufferError if Java, or we, held it


def test_samples_at_an_odd_address() -> None:
    raw = np.zeros(120 * 130 * 4 + 1, np.uint8)[1:]
    array = raw.view(np.float32).reshape(120, 130)
    array[...] = noise("float32")
    assert not array.flags.aligned
    np.testing.assert_array_equal(through_java(array), array)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_a_plane_across_a_window_s_end(dtype: str) -> None:
    with tempfile.TemporaryFile() as file:  # addresses, hardly any memory: a file of holes
        file.truncate(2 * _pixels.GIB)
        with mmap.mmap(file.fileno(), 2 * _pixels.GIB) as mapped:
            whole = np.frombuffer(mapped, np.uint8)
            border = -whole.ctypes.data % _pixels.GIB or _pixels.GIB
            array = whole[border - 4096 : border + 16 * 4096].view(dtype).reshape(17, -1)
            array[...] = noise(dtype, array.shape)
            found, expected = through_java(array), array.copy()
            del array, whole
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name, value", [("_PIECE", 4096), ("_MAX_WINDOWS", 1), ("_absolute", lambda: False)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_other_ways_to_the_same_pixels(
    name: str, value: Any, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planes of more than half a GiB, many windows, and Java before version 13."""
    monkeypatch.setattr(_pixels, name, value)
    array = noise(dtype, (100, 130))
    np.testing.assert_array_equal(through_java(array), array)
    np.testing.assert_array_equal(through_java(array[::-1]), array[::-1])
