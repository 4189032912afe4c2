from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from polystore._paths import join, matches, natural_key, natural_path_key, virtual_path


def test_numbers_count_as_numbers() -> None:
    names = ["s10", "s2", "s1", "S3", "A01_s2_w1", "A01_s10_w1", "10", "9", "a", "s02"]
    ordered = sorted(names, key=natural_key)
    assert ordered == ["9", "10", "a", "A01_s2_w1", "A01_s10_w1", "s1", "s02", "s2", "S3", "s10"]


def test_a_folders_files_stay_together() -> None:
    paths = ["d/a-1/x", "d/a/x", "d/a/y", "d/b"]
    backwards = paths[::-1]
    assert sorted(backwards, key=natural_path_key) == ["d/a/x", "d/a/y", "d/a-1/x", "d/b"]


@given(st.lists(st.text("aB01_. é²", max_size=6)))
def test_the_order_is_one_order(names: list[str]) -> None:
    backwards = names[::-1]
    assert sorted(names, key=natural_key) == sorted(backwards, key=natural_key)


@given(st.lists(st.sampled_from(["a", "b", "..", ".", ""]), min_size=1).map("/".join).filter(bool))
def test_virtual_paths_are_settled_once(path: str) -> None:
    settled = virtual_path(path)
    assert virtual_path(settled) == settled
    assert not settled.startswith("//")


def test_matching() -> None:
    assert matches("A01_w1.TIF", "A01*", [".tif"])
    assert matches("x.ome.tif", None, ["ome.tif"])
    assert not matches("xtif", None, ["tif"])
    assert not matches("a.tif", "A*", None)
    assert not matches("a.tif", None, [])


def test_joining() -> None:
    assert [join("a", "b"), join("a/", "b"), join("/", "b"), join(".", "b"), join("", "b")] == [
        "a/b", "a/b", "/b", "b", "b",
    ]  # fmt: skip
