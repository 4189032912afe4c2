"""The names of two real ImageXpress acquisitions, and of the other formats.

``imagexpress_names.txt`` holds the paths (no pixels) of the acquisitions of the Friedrich Miescher Institute that the
development data contain. The counts below were taken by hand from the folders.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polystore.components import ImageKey
from polystore.microscopes import (
    FILENAME_PARSERS,
    FilenameParser,
    ParsedName,
    identify,
    parse_filename,
    parse_path,
    split_suffix,
)
from polystore.microscopes.filename_parser import IMAGE_SUFFIXES

NAMES = Path(__file__).with_name("imagexpress_names.txt").read_text().splitlines()
REAL = Path(__file__).resolve().parents[5] / "shared" / "data" / "imagexpress"

UUID = "E94C24BD-45E4-450A-9919-257C714278F7"


def parsed(acquisition: str) -> list[ParsedName]:
    found = [identify(name) for name in NAMES if name.startswith(acquisition)]
    assert None not in found
    return [each for each in found if each is not None]


def values(names: list[ParsedName], component: str) -> set[Any]:
    return {name.key.get(component) for name in names}


def test_projection_mix() -> None:
    """Two wells, two sites; w1 and w2 have ten z steps and a projection, w3 a projection, w4 one z step."""
    everything = parsed("Projection-Mix")
    assert len(everything) == 192
    images = [name for name in everything if not name.thumbnail]
    assert len(images) == 96
    assert len({name.key for name in images}) == 96
    assert values(images, "plate") == {"Projection-Mix"}
    assert values(images, "well") == {"E07", "E08"}
    assert values(images, "field") == {1, 2}
    assert values(images, "t") == {None}
    assert Counter((name.key.channel, name.key.z) for name in images) == Counter(
        {
            **{(channel, z): 4 for channel in (1, 2) for z in (None, *range(1, 11))},
            (3, None): 4,
            (4, 1): 4,
        }
    )
    assert {name.parser for name in everything} == {"imagexpress"}


def test_time_points() -> None:
    """One well, two sites, three channels, two time points, no thumbnails."""
    everything = parsed("1well-3C-2S-Zmix-T")
    assert len(everything) == 12
    assert not any(name.thumbnail for name in everything)
    assert {name.key for name in everything} == {
        ImageKey.of(plate="1well-3C-2S-Zmix-T", well="C07", site=site, channel=channel, timepoint=t)
        for site in (1, 2)
        for channel in (1, 2, 3)
        for t in (1, 2)
    }


def test_the_list_is_what_is_on_disk() -> None:
    """Where the real folder is at hand, nothing was forgotten."""
    if REAL.is_dir():
        there = sorted(path.relative_to(REAL).as_posix() for path in REAL.rglob("*.tif"))
        assert sorted(NAMES) == there
    else:
        logging.getLogger(__name__).warning("no real acquisitions at %s: compared with nothing", REAL)
    assert len(NAMES) == 204


@pytest.mark.parametrize(
    ("path", "components"),
    [
        (f"P_E07_s1_w1{UUID}.tif", {"plate": "P", "well": "E07", "site": 1, "channel": 1}),
        ("P_E08_s1_w117654C10-92F1-4DFD-98AA-6A01BBD77557.tif", {"plate": "P", "well": "E08", "site": 1, "channel": 1}),
        (f"my_plate_A01_s12_w2{UUID}.TIF", {"plate": "my_plate", "well": "A01", "site": 12, "channel": 2}),
        (f"P_A01_w2{UUID}.tif", {"plate": "P", "well": "A01", "channel": 2}),
        (f"P_A01_s2{UUID}.tif", {"plate": "P", "well": "A01", "site": 2}),
        (f"P_A01{UUID}.tif", {"plate": "P", "well": "A01"}),
        ("P_A01_s1_w1.tif", {"plate": "P", "well": "A01", "site": 1, "channel": 1}),
        ("A01_B02_s1_w1.tif", {"plate": "A01", "well": "B02", "site": 1, "channel": 1}),
        ("P_A01_s1_w1_z3_t2.tif", {"plate": "P", "well": "A01", "site": 1, "channel": 1, "z": 3, "t": 2}),
        ("P/2024-04-22/1697/TimePoint_2/ZStep_3/P_A01_s1_w1.tif",
         {"plate": "P", "well": "A01", "site": 1, "channel": 1, "z": 3, "t": 2}),
        ("D:\\P\\timepoint_12\\P_A01_s1_w1.tif", {"plate": "P", "well": "A01", "site": 1, "channel": 1, "t": 12}),
        ("TimePoint_1/P_A01_s1_w1_t2.tif", {"plate": "P", "well": "A01", "site": 1, "channel": 1, "t": 2}),
        ("r01c01f01p01-ch1sk1fk1fl1.tiff", {"well": "A01", "site": 1, "z": 1, "channel": 1, "t": 1}),
        ("Images/r16c24f009p12-ch4sk21fk1fl1.tiff", {"well": "P24", "site": 9, "z": 12, "channel": 4, "t": 21}),
        ("r02c03f04p05-ch2.tif", {"well": "B03", "site": 4, "z": 5, "channel": 2}),
        ("A01_s001_z000_c000.tif", {"well": "A01", "site": 1, "z": 0, "channel": 0}),
        ("A01_s001_z000_c000_t000.tif", {"well": "A01", "site": 1, "z": 0, "channel": 0, "t": 0}),
        ("/omero/plate_123/A01/A01_s001_z000_c000.tif", {"well": "A01", "site": 1, "z": 0, "channel": 0}),
        ("A01_s001_w1_z003_t001.tif", {"well": "A01", "site": 1, "channel": 1, "z": 3, "t": 1}),
        ("A01_s001_w1.ome.tif", {"well": "A01", "site": 1, "channel": 1}),
        ("A01_s001_w1", {"well": "A01", "site": 1, "channel": 1}),
        ("AF48_s9_ch2.npy", {"well": "AF48", "site": 9, "channel": 2}),
    ],
)  # fmt: skip
def test_names(path: str, components: dict[str, Any]) -> None:
    assert parse_path(path) == ImageKey.of(**components)


@pytest.mark.parametrize(
    "name",
    ["", ".", "a.tif", "A01.tif", "x_A01.tif", "cell_s1.tif", "r00c01f01p01-ch1.tiff", "r01c01f01p01-ch1.png",
     "A01_s1_s2.tif", "A01_s001_w1_c2.tif", "a01_s1_w1.tif", f"P_A01_s1_w1{UUID[:-1]}.tif", "IMG_2041.tif",
     "A01_s" + "9" * 40 + ".tif", "A0\u0661_s\u0661.tif"],
)  # fmt: skip
def test_names_nobody_knows(name: str) -> None:
    assert parse_filename(name) is None
    assert identify(name) is None
    assert parse_path(name) == ImageKey()


def test_thumbnails_and_what_a_pipeline_adds() -> None:
    for name in (f"P_E07_s1_w1_thumb{UUID}.tif", "P_E07_s1_w1_thumb.tif", "E07_s1_w1_thumb.tif"):
        found = parse_filename(name)
        assert found is not None
        assert found.thumbnail
    found = parse_filename("A01_s001_w1_labels.tif")
    assert found == ParsedName(ImageKey.of(well="A01", site=1, channel=1), "openhcs", extra="labels")
    found = parse_filename("A01_s001_w1_cell_rois.json")
    assert found is not None
    assert found.extra == "cell_rois"


def test_asking_again_costs_a_look_up() -> None:
    assert identify(NAMES[0]) is identify(NAMES[0])
    assert parse_filename(Path(NAMES[0]).name) is parse_filename(Path(NAMES[0]).name)


@given(st.integers(1, 702), st.integers(1, 99), st.integers(0, 9999), st.integers(0, 99), st.integers(0, 999))
def test_opera_names_come_back(row: int, column: int, field: int, channel: int, z: int) -> None:
    name = f"r{row:02d}c{column:02d}f{field:02d}p{z:02d}-ch{channel}sk1fk1fl1.tiff"
    found = parse_filename(name)
    assert found is not None
    assert (found.key.field, found.key.channel, found.key.z) == (field, channel, z)


@given(st.text())
def test_no_name_is_too_strange(name: str) -> None:
    found = parse_filename(name)
    assert found is None or found.key != ImageKey()
    parse_path(name)


@given(st.text("a.", max_size=6), st.sampled_from([*IMAGE_SUFFIXES, ".json", ""]))
def test_suffixes_split_and_join(stem: str, suffix: str) -> None:
    first, second = split_suffix(stem + suffix)
    assert first + second == stem + suffix
    if "." not in stem and stem and suffix:
        assert (first, second) == (stem, suffix)


# -- parsers of others


class AcmeParser(FilenameParser):
    name = "acme"

    def parse_filename(self, name: str) -> ParsedName | None:
        return ParsedName(ImageKey.of(well="H12"), self.name) if name.endswith(".acme") else None


class HalfParser(FilenameParser):
    name = "half"


@pytest.fixture
def registered() -> Iterator[list[str]]:
    names: list[str] = []
    yield names
    for name in names:
        FILENAME_PARSERS.unregister(name)


def test_a_parser_of_somebody_else(registered: list[str]) -> None:
    assert parse_filename("x.acme") is None
    FILENAME_PARSERS.register("acme", AcmeParser)
    registered.append("acme")
    assert parse_path("folder/x.acme") == ImageKey.of(well="H12")
    assert parse_filename("A01_s001_w1.tif") is not None
    FILENAME_PARSERS.unregister("acme")
    registered.clear()
    assert parse_filename("x.acme") is None


def test_a_broken_parser_is_left_out_and_reported(
    registered: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    FILENAME_PARSERS.register("broken", "no_such_module:Parser")
    FILENAME_PARSERS.register("half", HalfParser)
    registered += ["broken", "half"]
    with caplog.at_level(logging.ERROR):
        assert parse_filename("A01_s001_w1.tif") is not None
    assert [record.getMessage() for record in caplog.records] == [
        "file-name parser 'broken' is left out",
        "file-name parser 'half' is left out",
    ]
