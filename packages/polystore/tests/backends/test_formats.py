from __future__ import annotations

import io
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from polystore.backends import _formats
from polystore.backends.disk import DiskBackend
from polystore.components import ImageKey
from polystore.errors import (
    BackendLoadError,
    CorruptFileError,
    MissingExtraError,
    UnsupportedArrayError,
    UnsupportedFormatError,
)
from polystore.rois import ROI


def round_trip(value: Any, name: str, *, read: dict[str, Any] | None = None, **options: Any) -> Any:
    stream = io.BytesIO()
    _formats.write(stream, name, value, **options)
    stream.seek(0)
    return _formats.read(stream, name, **(read or {}))


NUMERIC = [
    "bool", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", "c8", "c16", ">u2", ">f4", ">c16",
]  # fmt: skip


def arrays(min_dims: int, min_side: int) -> st.SearchStrategy[Any]:
    shapes = hnp.array_shapes(min_dims=min_dims, max_dims=5, min_side=min_side, max_side=4)
    return st.sampled_from(NUMERIC).flatmap(lambda dtype: hnp.arrays(np.dtype(dtype), shapes))


@given(arrays(0, 0))
def test_npy_keeps_everything(array: Any) -> None:
    loaded = round_trip(array, "a.npy")
    assert loaded.dtype == array.dtype
    assert loaded.shape == array.shape
    np.testing.assert_array_equal(loaded, array)


@given(arrays(2, 1).filter(lambda array: array.size > 1 or array.ndim < 5), st.sampled_from([None, "zlib"]))
def test_tiff_keeps_shape_and_values(array: Any, compression: str | None) -> None:
    loaded = round_trip(array, "a.tif", compression=compression)
    assert loaded.dtype == array.dtype.newbyteorder("=")
    assert loaded.shape == array.shape
    np.testing.assert_array_equal(loaded, array)


@pytest.mark.parametrize("shape", [(), (5,), (0, 4), (3, 0), (1, 1, 1, 1, 1)])
def test_what_tiff_cannot_hold(shape: tuple[int, ...]) -> None:
    with pytest.raises(UnsupportedFormatError, match="npy"):
        round_trip(np.zeros(shape, "u2"), "a.tif")


@pytest.mark.parametrize("name", ["a.tif", "a.npy"])
@pytest.mark.parametrize("dtype", ["O", "U3", "S3", "M8[s]", "m8[s]", [("a", "i4")]])
def test_arrays_no_store_keeps(name: str, dtype: Any) -> None:
    with pytest.raises(UnsupportedArrayError, match="dtype"):
        round_trip(np.zeros((2, 2), dtype), name)


def test_tiff_axes_and_pixel_size(tmp_path: Path) -> None:
    store = DiskBackend(tmp_path)
    stack = np.arange(3 * 5 * 7, dtype="u2").reshape(3, 5, 7)
    store.save(stack, "plain.tif", axes="ZYX", pixel_size=(0.5, 0.25))
    store.save(stack, "o.ome.tif", axes="ZYX", pixel_size=(0.5, 0.25), metadata={"Name": "A01"})
    store.save(stack, "j.tif", axes="ZYX", imagej=True, pixel_size=(0.5, 0.25))
    for name in ("plain.tif", "o.ome.tif", "j.tif"):
        np.testing.assert_array_equal(store.load(name), stack)
        with tifffile.TiffFile(tmp_path / name) as file:
            assert file.series[0].axes == "ZYX"
            x = file.pages.first.tags["XResolution"].value
            y = file.pages.first.tags["YResolution"].value
            assert x[0] / x[1] == pytest.approx(2 * y[0] / y[1])
    with tifffile.TiffFile(tmp_path / "o.ome.tif") as file:
        assert 'PhysicalSizeX="0.25"' in (file.ome_metadata or "")
        assert 'Name="A01"' in (file.ome_metadata or "")
    with tifffile.TiffFile(tmp_path / "j.tif") as file:
        assert (file.imagej_metadata or {})["slices"] == 3
    with pytest.raises(UnsupportedFormatError, match="ZY"):
        store.save(stack, "x.tif", axes="ZY")


def test_tiff_colour_and_refusals() -> None:
    colour = np.arange(4 * 5 * 3, dtype="u1").reshape(4, 5, 3)
    np.testing.assert_array_equal(round_trip(colour, "a.tif", rgb=True), colour)
    with pytest.raises(UnsupportedFormatError, match="float64"):
        round_trip(np.zeros((4, 5)), "a.tif", imagej=True)
    with pytest.raises(UnsupportedFormatError, match="series=1"):
        round_trip(colour, "a.tif", read={"series": 1})


def test_tiff_compression_that_needs_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(MissingExtraError, match=r"polystore\[tiff\]"):
        round_trip(np.zeros((4, 5), "u2"), "a.tif", compression="lzw")


def test_a_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.delitem(sys.modules, "polystore.backends._pillow", raising=False)
    _formats.FORMATS.refresh()
    with pytest.raises(MissingExtraError, match=r"polystore\[png\]"):
        round_trip(np.zeros((4, 5), "u1"), "a.png")


PNG_SHAPES = st.one_of(
    st.tuples(st.just("u2"), hnp.array_shapes(min_dims=2, max_dims=2, max_side=6)),
    st.tuples(st.just(">u2"), hnp.array_shapes(min_dims=2, max_dims=2, max_side=6)),
    st.tuples(st.just("u1"), hnp.array_shapes(min_dims=2, max_dims=2, max_side=6)),
    st.tuples(st.just("bool"), hnp.array_shapes(min_dims=2, max_dims=2, max_side=9)),
    st.tuples(st.just("u1"), st.tuples(st.integers(1, 5), st.integers(1, 5), st.sampled_from([3, 4]))),
)


@given(PNG_SHAPES.flatmap(lambda kind: hnp.arrays(np.dtype(kind[0]), kind[1])))
def test_png_is_exact(array: Any) -> None:
    loaded = round_trip(array, "a.png")
    assert loaded.dtype == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(loaded, array)


@pytest.mark.parametrize(
    ("name", "dtype", "shape"),
    [
        ("a.png", "f4", (4, 4)), ("a.png", "u2", (4, 4, 3)), ("a.png", "u4", (4, 4)), ("a.png", "u1", (4, 4, 2)),
        ("a.png", "u1", (0, 4)), ("a.png", "u1", (2, 4, 4, 3)), ("a.jpg", "u2", (4, 4)), ("a.jpg", "u1", (4, 4, 4)),
    ],
)  # fmt: skip
def test_what_png_and_jpeg_cannot_hold(name: str, dtype: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(UnsupportedFormatError, match="npy"):
        round_trip(np.zeros(shape, dtype), name)


def test_jpeg_is_near(tmp_path: Path) -> None:
    grey = np.tile(np.arange(64, dtype="u1"), (64, 1))
    loaded = round_trip(grey, "a.jpeg", quality=90)
    assert loaded.shape == grey.shape
    assert np.abs(loaded.astype(int) - grey).max() < 10
    assert round_trip(np.dstack([grey] * 3), "a.jpg").shape == (64, 64, 3)
    with pytest.raises(UnsupportedFormatError, match="quality"):
        round_trip(grey, "a.jpg", quality=100)
    with pytest.raises(UnsupportedFormatError, match="quality"):
        round_trip(grey, "a.png", quality=90)


def test_png_of_others_with_a_palette(tmp_path: Path) -> None:
    picture = Image.fromarray(np.arange(12, dtype="u1").reshape(3, 4)).convert("P")
    picture.save(tmp_path / "p.png")
    assert DiskBackend(tmp_path).load("p.png").shape == (3, 4, 3)
    Image.new("L", (3, 3)).save(tmp_path / "j.png", format="JPEG")
    with pytest.raises(CorruptFileError):  # a JPEG that calls itself PNG
        DiskBackend(tmp_path).load("j.png")


@given(
    st.dictionaries(st.text("abc/.fileé", min_size=1, max_size=5), arrays(0, 0), max_size=3), st.booleans()
)
def test_npz(value: dict[str, Any], compressed: bool) -> None:
    loaded = round_trip(value, "a.npz", compressed=compressed)
    assert loaded.keys() == value.keys()
    for name, array in value.items():
        np.testing.assert_array_equal(loaded[name], array)


def test_npz_refuses_other_values() -> None:
    for bad in (np.zeros(3), {"": np.zeros(3)}, {1: np.zeros(3)}):
        with pytest.raises(UnsupportedFormatError, match="npz"):
            round_trip(bad, "a.npz")
    with pytest.raises(UnsupportedArrayError):
        round_trip({"a": np.array([None])}, "a.npz")


def test_python_objects_are_never_loaded(tmp_path: Path) -> None:
    marker = tmp_path / "executed"

    class Hostile:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (marker,)

    np.save(tmp_path / "a.npy", np.array([Hostile()]), allow_pickle=True)
    np.savez(tmp_path / "a.npz", a=np.array([Hostile()]))
    for name in ("a.npy", "a.npz"):
        with pytest.raises(CorruptFileError, match="allow_pickle"):
            DiskBackend(tmp_path).load(name)
    assert not marker.exists()


# -- tables, JSON, text

CELLS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1),
)  # fmt: skip


COLUMNS = st.sampled_from(["well", "n", "ärea", "a,b", 'q"', "line\nbreak", "c\rr"])


def survives(cell: Any) -> bool:
    """Whether a cell reads as what it is: a text that looks like a number does not."""
    if not isinstance(cell, str):
        return True
    return cell not in ("True", "False", "") and not looks_like_number(cell)


def looks_like_number(text: str) -> bool:
    for number in (int, float):
        try:
            if str(number(text)) == text:
                return True
        except ValueError:
            pass
    return False


@given(
    st.lists(COLUMNS, min_size=1, max_size=4, unique=True),
    st.data(),
    st.sampled_from(["t.csv", "t.tsv"]),
)
def test_tables_come_back(columns: list[str], data: st.DataObject, name: str) -> None:
    row = st.fixed_dictionaries({column: CELLS.filter(survives) for column in columns})
    rows = data.draw(st.lists(row, min_size=1, max_size=5))
    assert round_trip(rows, name) == rows


def test_tables_of_all_kinds() -> None:
    rows = [{"well": "A01", "n": 3}, {"well": "B02", "area": np.float32(0.5), "n": np.int64(7)}]
    expected = [{"well": "A01", "n": 3, "area": None}, {"well": "B02", "n": 7, "area": 0.5}]
    assert round_trip(rows, "t.csv") == expected
    assert round_trip(rows, "t.csv", read={"typed": False})[0] == {"well": "A01", "n": "3", "area": ""}
    assert round_trip([[1, "x"], [2, "007"]], "t.csv", read={"header": False}) == [[1, "x"], [2, "007"]]
    assert round_trip(np.eye(2), "t.tsv", read={"header": False}) == [[1.0, 0.0], [0.0, 1.0]]
    assert round_trip(rows, "t.csv", header=False, read={"header": False})[0] == ["A01", 3, None]
    assert round_trip([], "t.csv") == []
    assert math.isnan(round_trip([{"a": math.nan}], "t.csv")[0]["a"])
    for bad in ("text", {"a": 1}, [1, 2], np.zeros(3), [{"a": [1]}]):
        with pytest.raises(UnsupportedFormatError):
            round_trip(bad, "t.csv")


def test_a_ragged_table_is_damaged() -> None:
    with pytest.raises(CorruptFileError, match="row 3"):
        _formats.read(io.BytesIO(b"a,b\n1,2\n3\n"), "t.csv")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
)  # fmt: skip


@given(JSON)
def test_json(value: Any) -> None:
    assert round_trip(value, "a.json") == value


def test_json_of_results() -> None:
    roi = ROI("point", [[1, 2]], {"label": 3})
    value = {
        "count": np.int64(3), "mean": np.float32(0.5), "table": np.eye(2), "key": ImageKey.of(well="A01", site=1),
        "rois": [roi], "shape": (2, 3),
    }  # fmt: skip
    assert round_trip(value, "a.json") == {
        "count": 3, "mean": 0.5, "table": [[1.0, 0.0], [0.0, 1.0]], "key": {"well": "A01", "field": 1},
        "rois": [{"kind": "point", "points": [[1.0, 2.0]], "properties": {"label": 3}}], "shape": [2, 3],
    }  # fmt: skip
    for bad in (object(), {"a": {1j}}, "\ud800"):
        with pytest.raises(UnsupportedFormatError):
            round_trip(bad, "a.json")


@given(st.text(st.characters(codec="utf-8")))
def test_text(text: str) -> None:
    assert round_trip(text, "a.txt") == text


def test_text_refuses_other_values() -> None:
    for bad in (b"bytes", 1, "\ud800"):
        with pytest.raises(UnsupportedFormatError):
            round_trip(bad, "a.txt")


# -- suffixes and options


@pytest.mark.parametrize("name", ["a", "a.foo", ".tif", "a.tif.bak", "a.pkl", "a."])
def test_unknown_suffixes_name_the_known(name: str) -> None:
    with pytest.raises(UnsupportedFormatError, match=r"\.tif"):
        _formats.suffix_of(name)


def test_suffixes_in_any_case_and_the_longest_first() -> None:
    assert _formats.suffix_of("A.TIF") == ".tif"
    assert _formats.suffix_of("/x.y/a.b.OME.TIFF") == ".ome.tiff"


def test_unknown_options_are_told() -> None:
    with pytest.raises(UnsupportedFormatError, match=r"'compresion'.*compression"):
        round_trip(np.zeros((2, 2)), "a.tif", compresion="zlib")
    with pytest.raises(UnsupportedFormatError, match="'mode'"):
        round_trip("x", "a.txt", read={"mode": 1})


# -- planes and axes of a TIFF


class Counting(io.BytesIO):
    """A stream that counts the bytes that are read from it."""

    taken = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self.taken += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        count = super().readinto(buffer)
        self.taken += count
        return count


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"imagej": True}, {"ome": True}])
def test_one_page_of_many_is_read_alone(options: dict[str, Any]) -> None:
    stack = np.random.default_rng(0).integers(0, 60_000, (9, 64, 64)).astype("u2")
    stream = Counting()
    _formats.write(stream, "a.tif", stack, **options)
    for page in (0, 4, 8):
        stream.seek(0)
        stream.taken = 0
        loaded = _formats.read(stream, "a.tif", page=page)
        np.testing.assert_array_equal(loaded, stack[page])
        assert stream.taken < 2 * stack[0].nbytes
        loaded[0, 0] = 1
    for page in (9, -1):
        stream.seek(0)
        with pytest.raises(UnsupportedFormatError, match=f"page={page}, but the file has 9"):
            _formats.read(stream, "a.tif", page=page)


def test_pages_of_a_stack_that_notes_only_its_first() -> None:
    stack = np.arange(5 * 6 * 7, dtype="u2").reshape(5, 6, 7)
    stream = io.BytesIO()
    tifffile.imwrite(stream, stack, imagej=True, truncate=True)
    for page in range(5):
        stream.seek(0)
        np.testing.assert_array_equal(_formats.read(stream, "a.tif", page=page), stack[page])
    stream.seek(0)
    with pytest.raises(UnsupportedFormatError, match="has 5"):
        _formats.read(stream, "a.tif", page=5)


def test_a_page_of_colours() -> None:
    stack = np.arange(3 * 8 * 9 * 3, dtype="u1").reshape(3, 8, 9, 3)
    loaded = round_trip(stack, "a.tif", read={"page": 1}, rgb=True)
    np.testing.assert_array_equal(loaded, stack[1])


def test_a_page_is_all_there_is_to_say() -> None:
    for more in ({"axes": "YX"}, {"series": 1}):
        with pytest.raises(UnsupportedFormatError, match="page=0"):
            round_trip(np.zeros((2, 4, 5), "u1"), "a.tif", read={"page": 0, **more})


def test_axes_come_in_the_order_asked_for() -> None:
    stack = np.arange(2 * 3 * 4 * 5, dtype="u2").reshape(2, 3, 4, 5)
    for name in ("a.ome.tif", "a.tif"):

        def read(axes: str, name: str = name) -> Any:
            return round_trip(stack, name, read={"axes": axes}, axes="CZYX")

        np.testing.assert_array_equal(read("CZYX"), stack)
        np.testing.assert_array_equal(read("ZCYX"), stack.transpose(1, 0, 2, 3))
        assert read("tczyx").shape == (1, 2, 3, 4, 5)
        with pytest.raises(UnsupportedFormatError, match="'CZYX' of shape"):
            read("ZYX")
        with pytest.raises(UnsupportedFormatError):
            read("CZYXX")
    flat = round_trip(stack[:1, :1], "a.tif", read={"axes": "YX"}, axes="CZYX")
    np.testing.assert_array_equal(flat, stack[0, 0])


def test_ome_metadata_is_what_other_programs_read() -> None:
    stack = np.zeros((2, 3, 8, 9), "u2")
    stream = io.BytesIO()
    metadata = {"Channel": {"Name": ["DAPI", "GFP"]}}
    _formats.write(stream, "a.ome.tif", stack, axes="CZYX", pixel_size=(0.5, 0.25), metadata=metadata)
    stream.seek(0)
    with tifffile.TiffFile(stream) as file:
        text = file.ome_metadata
    assert text is not None
    for part in ('SizeC="2"', 'SizeZ="3"', 'PhysicalSizeX="0.25"', 'PhysicalSizeY="0.5"', 'Name="DAPI"'):
        assert part in text


# -- arrays of other libraries


class Tensor:
    """An array of another library: it has DLPack and nothing else of NumPy's."""

    def __init__(self, values: Any) -> None:
        self._values = values

    def __dlpack__(self, **options: Any) -> Any:
        return self._values.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)


@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif", "a.npy", "a.png", "a.csv", "a.json"])
def test_tensors_are_written_in_every_format_of_arrays(name: str) -> None:
    values = np.arange(20, dtype="u2").reshape(4, 5)
    read = {"header": False} if name == "a.csv" else {}
    np.testing.assert_array_equal(round_trip(Tensor(values), name, read=read), values)


def test_tensors_go_into_an_npz_and_to_disk(tmp_path: Path) -> None:
    values = np.arange(20, dtype="f4").reshape(4, 5)
    np.testing.assert_array_equal(round_trip({"x": Tensor(values)}, "a.npz")["x"], values)
    DiskBackend(tmp_path).save(Tensor(values), "no_suffix")
    np.testing.assert_array_equal(DiskBackend(tmp_path).load("no_suffix.tif"), values)


class Shout:
    """A format of another distribution: text in capitals."""

    @staticmethod
    def write(stream: Any, suffix: str, value: Any, *, times: int = 1) -> None:
        stream.write((value.upper() * times).encode())

    @staticmethod
    def read(stream: Any, suffix: str) -> Any:
        return stream.read().decode()


def test_another_distribution_adds_a_format(tmp_path: Path) -> None:
    _formats.FORMATS.register(".shout.txt", Shout)
    _formats.FORMATS.register(".odd", object())
    try:
        backend = DiskBackend()
        backend.save("hello", tmp_path / "a.shout.txt", times=2)
        assert backend.load(tmp_path / "a.shout.txt") == "HELLOHELLO"
        backend.save("hello", tmp_path / "a.txt")
        assert backend.load(tmp_path / "a.txt") == "hello"
        with pytest.raises(BackendLoadError, match="'.odd'.*no functions read and write"):
            backend.save("hello", tmp_path / "a.odd")
    finally:
        _formats.FORMATS.unregister(".shout.txt")
        _formats.FORMATS.unregister(".odd")
    with pytest.raises(UnsupportedFormatError):
        backend.save("hello", tmp_path / "a.odd")
