"""Regions in ImageJ's files: what we write others read, what others write we read, and no file does harm."""

from __future__ import annotations

import io
import struct
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from roi_strategies import FAR, FARTHEST, FLOATS, HALVES, PROPERTIES, regions
from roifile import ROI_OPTIONS, ROI_SUBTYPE, ROI_TYPE, ImagejRoi, roiread, roiwrite

from polystore import FileManager
from polystore.backends import _formats, _roi
from polystore.backends._imagej_props import properties_of, text_of
from polystore.backends.disk import DiskBackend
from polystore.components import ImageKey
from polystore.errors import (
    CorruptFileError,
    MissingExtraError,
    PolystoreError,
    UnsafePathError,
    UnsupportedFormatError,
)
from polystore.labels import labels_to_rois, rois_to_labels
from polystore.rois import ROI, RoiKind

SQUARE = [[1.5, 1.5], [1.5, 6.5], [6.5, 6.5], [6.5, 1.5]]
HOLE = [[2.5, 2.5], [3.5, 2.5], [3.5, 3.5], [2.5, 3.5]]


def round_trip(value: Any, name: str, **options: Any) -> Any:
    stream = io.BytesIO()
    _formats.write(stream, name, value, **options)
    stream.seek(0)
    return _formats.read(stream, name)


def same(first: Any, second: Any) -> bool:
    """Equal properties, where NaN is equal to NaN and True is not 1."""
    return {name: repr(value) for name, value in first.items()} == {n: repr(v) for n, v in second.items()}


# -- what comes back


@given(st.lists(regions(HALVES), max_size=4))
def test_regions_at_pixel_edges_and_centres_come_back_exactly(rois: list[ROI]) -> None:
    loaded = round_trip(rois, "a.zip")
    assert [roi.replace(properties={}) for roi in loaded] == [roi.replace(properties={}) for roi in rois]
    for roi, again in zip(rois, loaded, strict=True):
        assert same(roi.properties, again.properties)


@given(regions(FLOATS) | regions(FAR))
def test_other_coordinates_come_back_as_the_nearest_that_32_bits_hold(roi: ROI) -> None:
    again = round_trip(roi, "a.roi")
    assert again.kind == roi.kind
    assert again.place == roi.place
    assert same(roi.properties, again.properties)
    near = 3e-7 * max(1, np.abs(roi.points).max())  # boxes are kept as a corner and a size
    np.testing.assert_allclose(again.points, roi.points, rtol=0, atol=near)
    assert again.mask is None or np.array_equal(again.mask, roi.mask)


@given(PROPERTIES)
def test_properties_as_text_keep_their_types(properties: dict[str, Any]) -> None:
    text = text_of(properties)
    assert text.isascii()
    assert same(properties_of(text), properties)


def test_properties_read_well_in_imagej() -> None:
    text = text_of({"label": 3, "mean intensity": 0.5, "ok": True, "note": "a: b", "code": "007", "µ": "µm"})
    assert text.splitlines() == [
        'code: "007"', "label: 3", "mean\\ intensity: 0.5", "note: a: b", "ok: true", r"\u00b5: \u00b5m",
    ]  # fmt: skip
    others = "# comment\n\nmean intensity: 0.5\r\nlong = a\\\n   b\nnothing\n! also\npath:c\\:\\\\x\n"
    assert properties_of(others) == {"mean intensity": 0.5, "long": "ab", "path": "c:\\x"}
    assert properties_of('a: "b\nb: "\\x"\nc: \\u00') == {"a": '"b', "b": "x", "c": "u00"}


def test_labels_with_holes_and_parts_come_back_exactly(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 4, (3, 40, 50)).astype("u2")
    fm = FileManager()
    for kind in ("polygon", "mask"):
        rois = labels_to_rois(labels, kind=kind, place=ImageKey(well="A01"))
        fm.save(rois, tmp_path / f"{kind}.zip", backend="disk")
        loaded = fm.load(tmp_path / f"{kind}.zip", backend="disk")
        assert loaded == rois
        np.testing.assert_array_equal(rois_to_labels(loaded, labels.shape), labels)


def test_all_backends_give_regions_back(tmp_path: Path) -> None:
    fm = FileManager()
    rois = [
        ROI("polygon", SQUARE, {"n": 1, "ok": True}, rings=[HOLE], place={"z": 2}),
        ROI("point", [[1, 2]]),
    ]
    for name in ("a.zip", "a.geojson", "a.rois.json"):
        fm.save(rois, tmp_path / name, backend="disk")
        fm.save(rois, f"/{name}", backend="memory")
        for loaded in (fm.load(tmp_path / name, backend="disk"), fm.load(f"/{name}", backend="memory")):
            assert loaded == rois
    fm.save(rois[0], tmp_path / "a.roi", backend="disk")
    assert fm.load(tmp_path / "a.roi", backend="disk") == rois[0]
    assert round_trip([rois[0]], "a.roi") == rois[0]
    assert round_trip(rois[0], "a.zip") == [rois[0]]
    assert round_trip([], "a.zip") == []


def test_turned_ellipses_come_back_as_the_same_area() -> None:
    for corners in ([[0, 10], [20, 30], [30, 20], [10, 0]], [[0, 0], [0, 30], [20, 40], [20, 10]]):
        roi = ROI("ellipse", np.add(corners, 0.317))  # no pixel centre is exactly on it
        again = round_trip(roi, "a.roi")
        assert again.kind is RoiKind.ELLIPSE
        assert again.area == pytest.approx(roi.area)
        np.testing.assert_array_equal(again.to_mask((40, 50)), roi.to_mask((40, 50)))
        for corner in round_trip(again, "a.roi").points:
            assert np.abs(again.points - corner).max(axis=1).min() < 1e-4
    flat = ROI("ellipse", [[3, 3], [3, 3], [3, 3], [3, 3]])
    np.testing.assert_array_equal(round_trip(flat, "a.roi").points, flat.points)


def test_what_the_files_cannot_hold_is_refused() -> None:
    for roi, text in (
        (ROI("mask", [[0, 0]], mask=np.zeros((2, 2))), "without a true pixel"),
        (ROI("mask", [[0, 2.0**23]], mask=[[1]]), "tell pixels apart"),
        (ROI("point", [[0, 0]], {"polystore.kind": "x"}), "rename"),
        (ROI("point", [[0, 0]], {"n": 10**5000}), "give a text"),
    ):
        with pytest.raises(UnsupportedFormatError, match=text):
            round_trip(roi, "a.zip")
    for value in (np.zeros((2, 2)), {"a": 1}, "text", [ROI("point", [[0, 0]]), 3]):
        for name in ("a.zip", "a.roi", "a.geojson", "a.rois.json"):
            with pytest.raises(UnsupportedFormatError, match="ROI"):
                round_trip(value, name)
    for count in (0, 2):
        with pytest.raises(UnsupportedFormatError, match=r"save them as \.zip"):
            round_trip([ROI("point", [[0, 0]])] * count, "a.roi")


def test_a_refused_region_leaves_the_old_file(tmp_path: Path) -> None:
    store = DiskBackend(tmp_path)
    store.save([ROI("point", [[0, 0]])], "a.zip")
    with pytest.raises(UnsupportedFormatError):
        store.save([ROI("mask", [[0, 0]], mask=np.zeros((2, 2)))], "a.zip")
    assert store.load("a.zip") == [ROI("point", [[0, 0]])]
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.zip"]


def test_without_roifile_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "roifile", None)
    monkeypatch.delitem(sys.modules, "polystore.backends._imagej", raising=False)
    monkeypatch.delitem(sys.modules, "polystore.backends._roi", raising=False)
    _formats.FORMATS.refresh()
    with pytest.raises(MissingExtraError, match=r"polystore\[roi\]"):
        round_trip([], "a.zip")
    assert round_trip([], "a.geojson") == []


# -- what roifile reads of ours


def test_roifile_reads_what_we_write(tmp_path: Path) -> None:
    rois = [
        ROI("polygon", SQUARE, {"name": "cell", "color": "#ff8000", "group": 3, "area": 25.0, "ok": True},
            place={"channel": 2, "z": 3, "t": 4}),
        ROI("polygon", SQUARE, {"name": "cell"}, rings=[HOLE]),
        ROI("polygon", np.add(SQUARE, 0.25), {"name": "CELL"}),
        ROI("rectangle", [[1.5, 2.5], [6.5, 9.5]]), ROI("ellipse", [[1.5, 2.5], [6.5, 9.5]]),
        ROI("polyline", [[0, 1], [2, 3]]), ROI("polyline", [[0, 1], [2, 3], [4, 4]]),
        ROI("point", [[3, 4], [5, 6]]), ROI("mask", [[2, 3]], mask=np.ones((2, 3))),
        ROI("rectangle", [[1.75, 2.5], [6.5, 9.5]]),
    ]  # fmt: skip
    DiskBackend(tmp_path).save(rois, "a.zip")
    theirs = roiread(tmp_path / "a.zip")
    assert [roi.roitype.name for roi in theirs] == [
        "TRACED", "RECT", "POLYGON", "RECT", "OVAL", "LINE", "POLYLINE", "POINT", "TRACED", "RECT",
    ]  # fmt: skip
    first, holes, shifted, box, oval, line, path, point, mask, fine = theirs
    assert (first.name, first.c_position, first.z_position, first.t_position) == ("cell", 2, 3, 4)
    assert (first.group, first.hexcolor(first.stroke_color)) == (3, "#ff8000")
    assert first.properties == {"area": 25.0, "ok": True}
    # Areas from the corner of the first pixel, points and lines from its centre, x before y.
    assert first.coordinates().tolist() == [[2, 2], [7, 2], [7, 7], [2, 7]]
    outer, inner = holes.coordinates(multi=True)
    assert outer.tolist() == [[2, 2], [7, 2], [7, 7], [2, 7], [2, 2]]
    assert inner.tolist() == [[3, 3], [3, 4], [4, 4], [4, 3], [3, 3]]
    assert shifted.coordinates()[0].tolist() == [2.25, 2.25]
    assert (box.top, box.left, box.bottom, box.right) == (2, 3, 7, 10)
    assert (oval.top, oval.left, oval.bottom, oval.right) == (2, 3, 7, 10)
    assert line.coordinates().tolist() == [[1, 0], [3, 2]]
    assert path.coordinates().tolist() == [[1, 0], [3, 2], [4, 4]]
    assert point.coordinates().tolist() == [[4, 3], [6, 5]]
    assert mask.coordinates().tolist() == [[3, 2], [6, 2], [6, 4], [3, 4]]
    assert (fine.yd, fine.xd, fine.heightd, fine.widthd) == (2.25, 3, 4.75, 7)
    assert DiskBackend(tmp_path).load("a.zip") == rois


def test_names_in_a_zip_are_unique_and_files_on_every_system(tmp_path: Path) -> None:
    names = [
        None, "a", "A", "a", "a-2", "../../x", "/etc/x", "C:\\x", "con", "x\0y", " . ", "a" * 300, "µ", 7, "", "a\nb",
        "\ud800",
    ]  # fmt: skip
    rois = [ROI("point", [[n, n]], {} if name is None else {"name": name}) for n, name in enumerate(names)]
    store = DiskBackend(tmp_path)
    store.save(rois, "a.zip")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        members = archive.namelist()
    assert len({name.casefold() for name in members}) == len(rois)
    assert members[:4] == ["0001-0000-0000.roi", "a.roi", "A-2.roi", "a-3.roi"]
    assert members[8] == "_con.roi"
    for member in members:
        assert not set(member) & set('/\\:*?"<>|\0\n')
        assert len(member) < 120
    assert store.load("a.zip") == rois


def test_a_name_like_those_imagej_makes_up_is_kept() -> None:
    roi = ROI("point", [[1, 2]], {"name": "0001-0002-0003"})
    assert round_trip(roi, "a.roi") == roi
    assert round_trip([roi], "a.zip") == [roi]


def test_ten_thousand_of_one_name() -> None:
    rois = [ROI("point", [[0, 0]], {"name": "cell"})] * 10_000
    assert len({name.casefold() for name in _roi._names(rois)}) == 10_000


# -- what we read of others'


def test_regions_of_imagej_are_read(tmp_path: Path) -> None:
    def imagej(kind: ROI_TYPE, **fields: Any) -> ImagejRoi:
        roi = ImagejRoi()
        roi.roitype = kind
        for name, value in fields.items():
            setattr(roi, name, value)
        return roi

    freehand = ImagejRoi.frompoints([[1, 2], [3, 2], [3, 5]], name="hand", z=4)
    multi = imagej(ROI_TYPE.POINT, n_coordinates=2, left=1, top=2, right=9, bottom=9)
    multi.integer_coordinates = np.array([[0, 0], [4, 5]], "i4")
    multi.counters, multi.counter_positions = np.array([0, 1], "u1"), np.array([1, 3], "u4")
    angle = imagej(ROI_TYPE.ANGLE, n_coordinates=3, right=4, bottom=4)
    angle.integer_coordinates = np.array([[0, 0], [4, 0], [4, 4]], "i4")
    spline = ImagejRoi.frompoints([[1, 2], [3, 2], [3, 5]])
    spline.options |= ROI_OPTIONS.SPLINE_FIT
    turned = imagej(ROI_TYPE.FREEHAND, subtype=ROI_SUBTYPE.ROTATED_RECT, x1=2.5, y1=4.5, x2=8.5, y2=4.5)
    turned.arrow_style_or_aspect_ratio, turned.arrow_head_size, turned.rounded_rect_arc_size = struct.unpack(
        ">BBh", struct.pack(">f", 4.0)
    )
    stacked = imagej(ROI_TYPE.RECT, right=3, bottom=2, position=7, stroke_color=b"\x80\x01\x02\x03")
    text = imagej(ROI_TYPE.RECT, subtype=ROI_SUBTYPE.TEXT, right=3, bottom=2, text="hello", text_name="Sans")
    arrow = imagej(ROI_TYPE.LINE, subtype=ROI_SUBTYPE.ARROW, x1=1.0, y1=2.0, x2=3.0, y2=4.0)
    curve = imagej(ROI_TYPE.RECT)
    path = [0, 0, 0, 3, 0, 4, 4, 4, 4, 0, 2, 2, -4, 0, 0, 4, 0, 9, 9, 1, 9, 8]
    curve.multi_coordinates, curve.shape_roi_size = np.array(path, "f4"), len(path)
    roiwrite(
        tmp_path / "a.zip",
        [freehand, multi, angle, spline, turned, stacked, text, arrow, curve],
        name=["0001-0001", "multi", "angle", "sub/spline", "turned", "0002-0003", "text", "arrow", "curve"],
    )
    loaded = DiskBackend(tmp_path).load("a.zip")
    assert loaded[0] == ROI("polygon", [[1.5, 0.5], [1.5, 2.5], [4.5, 2.5]], {"name": "hand"}, place={"z": 5})
    assert "name" not in loaded[5].properties  # a label ImageJ makes of number and place is no name
    assert loaded[1] == ROI(
        "point", [[2, 1], [7, 5]], {"name": "multi", "counters": "0,1", "positions": "1,3"}
    )
    assert loaded[2] == ROI("polyline", [[0, 0], [0, 4], [4, 4]], {"name": "angle"})
    assert loaded[3].properties["imagej_type"] == "spline"
    assert loaded[4] == ROI("rectangle", [[2, 2], [2, 8], [6, 8], [6, 2]], {"name": "turned"})
    assert loaded[5] == ROI("rectangle", [[-0.5, -0.5], [1.5, 2.5]], {"color": "#01020380"}, place={"z": 7})
    assert loaded[6].properties == {"name": "text", "imagej_type": "text", "text": "hello"}
    assert loaded[7] == ROI("polyline", [[2, 1], [4, 3]], {"name": "arrow", "imagej_type": "arrow"})
    assert len(loaded[8].points) == 32
    assert loaded[8].rings == ()
    assert loaded[8].bounds == pytest.approx((-2.5, -0.5, 2.5, 3.5))


def test_a_mask_edited_in_imagej_stays_a_mask() -> None:
    """Moved: the pixels elsewhere. Made larger than its frame: cut to its new pixels."""
    mask = np.zeros((4, 5), bool)
    mask[1:3, 1:4] = True
    there = ImagejRoi.frombytes(saved(ROI("mask", [[10, 10]], {"n": 1}, mask)))
    there.left, there.right = there.left + 7, there.right + 7
    moved = _formats.read(io.BytesIO(there.tobytes()), "a.roi")
    assert moved == ROI("mask", [[10, 17]], {"n": 1}, mask)
    there.integer_coordinates = there.integer_coordinates * 3
    grown = _formats.read(io.BytesIO(there.tobytes()), "a.roi")
    assert grown.kind is RoiKind.MASK
    assert grown.area == mask.sum() * 9
    there.props = "polystore.mask: a b\n"
    assert _formats.read(io.BytesIO(there.tobytes()), "a.roi").kind is RoiKind.MASK


def saved(roi: ROI) -> bytes:
    stream = io.BytesIO()
    _formats.write(stream, "a.roi", roi)
    return stream.getvalue()


# -- files that are damaged, or meant to harm

WHOLE = [
    saved(roi)
    for roi in (
        ROI("polygon", SQUARE, {"name": "x", "n": 1}, rings=[HOLE], place={"z": 3}),
        ROI("polygon", np.add(SQUARE, 0.3), {"a": "b"}), ROI("point", [[1, 2]], place={"well": "A01"}),
        ROI("ellipse", [[0, 10], [20, 30], [30, 20], [10, 0]]), ROI("polyline", [[0, 0], [1, 1]]),
        ROI("mask", [[0, 0]], mask=np.ones((3, 3))), ROI("rectangle", [[0, 0], [4, 5]]),
    )
]  # fmt: skip


@pytest.mark.parametrize("content", WHOLE)
def test_a_truncated_region_is_told(content: bytes) -> None:
    whole = _formats.read(io.BytesIO(content), "a.roi")
    for length in range(len(content)):
        try:
            found = _formats.read(io.BytesIO(content[:length]), "a.roi")
        except CorruptFileError:
            continue
        assert found == whole  # all that was missing is padding
        assert length >= len(content) - 12


@given(st.data())
def test_garbage_is_told(data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from(WHOLE)))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(4, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        _formats.read(io.BytesIO(bytes(content)), "a.roi")
    except (CorruptFileError, UnsupportedFormatError):
        pass


@given(
    st.binary(max_size=300).filter(lambda content: content.strip() != b"[]")
)  # no regions, in our own words
def test_other_bytes_are_told(content: bytes) -> None:
    for name in ("a.roi", "a.zip", "a.geojson", "a.rois.json"):
        for stream in (io.BytesIO(content), io.BytesIO(b"Iout" + content)):
            with pytest.raises(CorruptFileError):
                _formats.read(stream, name)


def zip_of(*members: tuple[str, bytes]) -> io.BytesIO:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    stream.seek(0)
    return stream


@pytest.mark.parametrize(
    "name",
    [
        "../x.roi",
        "a/../../x.roi",
        "/etc/x.roi",
        "..\\x.roi",
        "C:\\x.roi",
        "c:x.roi",
        "\\\\host\\x.roi",
        "../x.txt",
    ],
)
def test_zip_slip_is_refused_and_nothing_is_written(name: str, tmp_path: Path) -> None:
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    (inside / "x.zip").write_bytes(zip_of(("ok.roi", WHOLE[0]), (name, WHOLE[0])).getvalue())
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UnsafePathError, match="leaves the zip"):
        DiskBackend(tmp_path).load("a/b/x.zip")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_nul_in_a_name_is_refused() -> None:
    stream = io.BytesIO(zip_of(("abcd.roi", WHOLE[0])).getvalue().replace(b"abcd.roi", b"ab\0d.roi"))
    with pytest.raises(PolystoreError):
        _formats.read(stream, "x.zip")


def test_zip_bombs_are_refused_before_they_unpack(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*arguments: Any, **options: Any) -> Any:
        raise AssertionError("unpacked")

    bomb = zip_of(("a.roi", bytes(_roi.MAX_REGION_BYTES + 1)))
    many = zip_of(*[(f"{n}.roi", WHOLE[0]) for n in range(9)])
    monkeypatch.setattr(zipfile.ZipFile, "read", never)
    monkeypatch.setattr(zipfile.ZipFile, "open", never)
    assert len(bomb.getvalue()) < 1 << 17
    with pytest.raises(CorruptFileError, match="unpacks to"):
        _formats.read(bomb, "x.zip")
    monkeypatch.setattr(_roi, "MAX_ZIP_BYTES", 1000)
    with pytest.raises(CorruptFileError, match="unpacks to"):
        _formats.read(many, "x.zip")


def test_a_member_that_lies_about_its_size_is_told() -> None:
    content = bytearray(zip_of(("a.roi", WHOLE[0] + bytes(100_000))).getvalue())
    size = struct.pack("<I", len(WHOLE[0]) + 100_000)
    assert content.count(size) == 2
    stream = io.BytesIO(bytes(content).replace(size, struct.pack("<I", 70)))
    with pytest.raises(CorruptFileError):
        _formats.read(stream, "x.zip")


def test_a_huge_table_of_contents_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_roi, "MAX_READ", 2000)
    with pytest.raises(CorruptFileError, match="table of contents|ending"):
        _formats.read(zip_of(*[(f"{n}.roi", b"") for n in range(100)]), "x.zip")


def test_a_region_that_claims_more_than_there_is_allocates_nothing() -> None:
    content = bytearray(saved(ROI("polygon", np.add(SQUARE, 0.3))))
    content[16:18] = b"\xff\xff"
    with pytest.raises(CorruptFileError):
        _formats.read(io.BytesIO(bytes(content)), "a.roi")
    content[16:22] = b"\0\0\x7f\xff\xff\xff"
    with pytest.raises(CorruptFileError):
        _formats.read(io.BytesIO(bytes(content)), "a.roi")
    mask = ImagejRoi.frombytes(saved(ROI("mask", [[0, 0]], mask=np.ones((3, 3)))))
    mask.props = f"polystore.mask: {10**9} {10**9} 0 0\n"
    assert _formats.read(io.BytesIO(mask.tobytes()), "a.roi").mask.shape == (3, 3)


def test_a_roi_file_of_any_length_is_not_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_roi, "MAX_REGION_BYTES", 100)
    with pytest.raises(CorruptFileError, match="100 bytes"):
        _formats.read(io.BytesIO(WHOLE[0]), "a.roi")


def test_other_zips_are_told(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedFormatError, match=r"no \.roi"):
        _formats.read(zip_of(("a.txt", b"x")), "x.zip")
    mac = zip_of(("cells/a.roi", WHOLE[2]), ("__MACOSX/cells/._a.roi", b"x"), ("cells/.DS_Store", b"x"))
    assert [roi.properties["name"] for roi in _formats.read(mac, "x.zip")] == ["a"]
    encrypted = bytearray(zip_of(("a.roi", WHOLE[0])).getvalue())
    encrypted[encrypted.rindex(b"PK\1\2") + 8] |= 1
    with pytest.raises(UnsupportedFormatError, match="encrypted"):
        _formats.read(io.BytesIO(bytes(encrypted)), "x.zip")
    with pytest.raises(CorruptFileError, match=r"a\.roi"):
        _formats.read(zip_of(("a.roi", b"nothing")), "x.zip")


# -- our own JSON


@given(st.lists(regions(FARTHEST), max_size=3))
def test_our_json_keeps_everything(rois: list[ROI]) -> None:
    if any("\ud800" <= sign <= "\udfff" for roi in rois for sign in repr(dict(roi.properties))):
        with pytest.raises(UnsupportedFormatError, match="surrogates"):
            round_trip(rois, "a.rois.json")
        return
    loaded = round_trip(rois, "a.rois.json")
    assert [roi.replace(properties={}) for roi in loaded] == [roi.replace(properties={}) for roi in rois]
    for roi, again in zip(rois, loaded, strict=True):
        assert same(roi.properties, again.properties)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"[]", CorruptFileError), (b'{"format": "x"}', CorruptFileError),
        (b'{"format": "polystore.rois", "version": 9}', UnsupportedFormatError),
        (b'{"format": "polystore.rois", "version": 1, "rois": [3]}', CorruptFileError),
        (b'{"format": "polystore.rois", "version": 1, "rois": [{"kind": "blob", "points": []}]}', CorruptFileError),
        (b'{"format": "polystore.rois", "version": 1, "rois": [{"kind": "point", "points": [[0,0]], "properties": 3}]}',
         CorruptFileError),
    ],
)  # fmt: skip
def test_other_json_is_told(content: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        _formats.read(io.BytesIO(content), "a.rois.json")
