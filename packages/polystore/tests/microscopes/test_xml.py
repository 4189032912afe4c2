"""XML from anywhere: what is read, and what is refused before it costs anything."""

from __future__ import annotations

import io
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polystore.errors import CorruptFileError
from polystore.microscopes import _xml
from polystore.microscopes._xml import Record, read_records


def records(text: str | bytes, *wanted: str, opened: tuple[str, ...] = ()) -> list[Record]:
    found: list[Record] = []
    content = text.encode() if isinstance(text, str) else text
    read_records(io.BytesIO(content), "Index.xml", wanted, found.append, opened=opened)
    return found


def test_records_have_attributes_values_units_and_lines() -> None:
    (record,) = records(
        '\ufeff<?xml version="1.0" encoding="utf-8"?>\n<b:All xmlns:b="urn:x">\n'
        '<b:Image b:Type="IMG">name.tif<b:X Unit="m"> 1E-3 </b:X><b:Deep><b:Y>2</b:Y></b:Deep><b:X>7</b:X>'
        "</b:Image></b:All>",
        "Image",
    )
    assert (record.tag, record.attributes, record.above, record.line) == (
        "Image",
        {"Type": "IMG"},
        ("All",),
        3,
    )
    assert (record.values, record.units) == ({"X": "1E-3", "Y": "2"}, {"X": "m"})
    assert record.number("X") == 0.001
    assert record.whole("Y") == 2
    assert record.number("Z") is None


def test_text_and_opened_elements() -> None:
    found = records("<A k='1'><B>one</B><C/><B>two</B></A>", "B", opened=("A",))
    assert [(record.tag, record.text) for record in found] == [("A", ""), ("B", "one"), ("B", "two")]
    assert found[0].attributes == {"k": "1"}


def test_a_value_that_is_no_number_names_file_and_line() -> None:
    (record,) = records("<A>\n\n<B><X>12,5</X><Y>1.5</Y><N>nan</N></B></A>", "B")
    with pytest.raises(
        CorruptFileError, match=r"Index.xml, line 3: <B> cannot be used: X is '12,5', not a number"
    ):
        record.number("X")
    with pytest.raises(CorruptFileError, match="line 3.* Y is 1.5, not a whole number"):
        record.whole("Y")
    assert record.number("N") is None


BOMB = """<?xml version="1.0"?>
<!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]>
<Images><Image>&c;</Image></Images>"""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_document_type_is_refused(encoding: str) -> None:
    with pytest.raises(CorruptFileError, match="line 2: .*document type"):
        records(
            BOMB.replace('version="1.0"', f'version="1.0" encoding="{encoding}"').encode(encoding), "Image"
        )


def test_external_entities_are_never_fetched(tmp_path: object) -> None:
    text = '<!DOCTYPE x SYSTEM "file:///etc/passwd" [<!ENTITY e SYSTEM "file:///etc/hostname">]><Image>&e;</Image>'
    with pytest.raises(CorruptFileError, match="document type"):
        records(text, "Image")


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CorruptFileError, match="nested deeper than 64"):
        records("<a>" * 1000 + "</a>" * 1000, "b")
    monkeypatch.setattr(_xml, "MAX_TEXT", 1000)
    with pytest.raises(CorruptFileError, match="text is longer than 1000"):
        records(f"<a><b>{'x' * 2000}</b></a>", "b")
    with pytest.raises(CorruptFileError, match="larger than 1000 bytes"):
        read_records(io.BytesIO(b"<a>" + b" " * 2000 + b"</a>"), "f", ("a",), print, max_bytes=1000)


def test_text_nobody_asked_for_is_not_kept() -> None:
    class Endless(io.RawIOBase):
        """Forty megabytes of text in an element that is not wanted."""

        left = 160

        def read(self, size: int = -1) -> bytes:
            self.left -= 1
            return b"<a><c>" if self.left == 159 else b"x" * (1 << 18) if self.left >= 0 else b""

    tracemalloc.start()
    with pytest.raises(CorruptFileError, match="no element|unclosed"):
        read_records(Endless(), "f", ("b",), print)  # type: ignore[arg-type]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


@pytest.mark.parametrize(
    ("text", "line"), [("", 1), ("<a>\n<b>\n</a>", 3), ("no xml", 1), ("<a>\n<b", 2), ("<a>&x;</a>", 1)]
)
def test_broken_files_name_the_line(text: str, line: int) -> None:
    with pytest.raises(CorruptFileError, match=f"Index.xml, line {line}: cannot be read as XML"):
        records(text, "b")


@given(st.binary(max_size=200))
def test_no_bytes_do_worse_than_a_typed_error(content: bytes) -> None:
    try:
        records(content, "a")
    except CorruptFileError:
        pass
