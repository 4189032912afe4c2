from __future__ import annotations

import json
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polystore.errors import CorruptFileError, MergeConflictError, NotFoundError, UnsupportedFormatError
from polystore.metadata import merge_json, merged, read_json, update_json
from polystore.objects import LocalObjects, ObjectStore, open_objects

MERGER = """
import sys
from polystore.metadata import merge_json
for n in range(10):
    merge_json(sys.argv[1], {"wells": {f"A{sys.argv[2]}": {f"f{n}": n}}})
"""


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    return open_objects(tmp_path if request.param == "local" else f"memory://{uuid.uuid4()}")


def test_read_and_update(store: ObjectStore) -> None:
    with pytest.raises(NotFoundError, match=r"a\.json"):
        read_json("d/a.json", store=store)
    assert read_json("d/a.json", {"n": 0}, store=store) == {"n": 0}

    def add(document: dict[str, int]) -> dict[str, int]:
        document["n"] += 1
        return document

    default = {"n": 0}
    for number in (1, 2, 3):
        assert update_json("d/a.json", add, default, store=store) == {"n": number}
    assert default == {"n": 0}
    assert read_json("d/a.json", store=store) == {"n": 3}


def test_merge(store: ObjectStore) -> None:
    merge_json("a.json", {"a": {"x": 1}, "list": [1, 2]}, store=store)
    now = merge_json("a.json", {"a": {"y": None}, "list": [3], "new": "n\u00f6"}, store=store)
    assert (
        now == read_json("a.json", store=store) == {"a": {"x": 1, "y": None}, "list": [3], "new": "n\u00f6"}
    )


@pytest.mark.parametrize(
    "new", [{"a": 1}, {"a": "text"}, {"a": [1]}, {"b": {"c": {}}}, {"b": {"c": "1"}}, {"b": {"c": True}}]
)
def test_a_conflict_says_where_and_changes_nothing(store: ObjectStore, new: dict[str, Any]) -> None:
    document = {"a": {"x": 1}, "b": {"c": 1}}
    merge_json("a.json", document, store=store)
    with pytest.raises(MergeConflictError, match="/a is an object" if "a" in new else "/b/c is a number"):
        merge_json("a.json", new, strict=True, store=store)
    assert read_json("a.json", store=store) == document
    assert merge_json("a.json", new, store=store) == merged(document, new)


def test_null_conflicts_with_nothing() -> None:
    assert merged({"a": None, "b": 1}, {"a": 1, "b": None}, strict=True) == {"a": 1, "b": None}
    assert merged({"a": 1}, {"a": 1.5}, strict=True) == {"a": 1.5}


def test_what_is_no_json_is_left_alone(store: ObjectStore) -> None:
    store.put("a.json", b'{"half": ')
    for call in (read_json, lambda path, store: merge_json(path, {}, store=store)):
        with pytest.raises(CorruptFileError, match=r"a\.json"):
            call("a.json", store=store)
    assert store.get("a.json").data == b'{"half": '
    store.put("b.json", b"[1]")
    with pytest.raises(MergeConflictError, match=r"b\.json holds an array"):
        merge_json("b.json", {"a": 1}, store=store)
    with pytest.raises(UnsupportedFormatError, match=r"b\.json"):
        update_json("b.json", lambda old: [object()], store=store)
    assert store.get("b.json").data == b"[1]"


def test_paths_and_urls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    merge_json(tmp_path / "d" / "a.json", {"a": 1})
    assert json.loads((tmp_path / "d/a.json").read_text()) == {"a": 1}
    monkeypatch.chdir(tmp_path)
    merge_json("b.json", {"b": 1})
    assert read_json(str(tmp_path / "b.json")) == {"b": 1}
    assert LocalObjects(tmp_path).get("b.json").data == b'{\n  "b": 1\n}'
    url = f"memory://{uuid.uuid4()}/p/a.json"
    merge_json(url, {"c": 1})
    assert read_json(url) == {"c": 1}


def test_processes_that_merge_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "plate.json"
    workers = [
        subprocess.Popen([sys.executable, "-c", MERGER, str(path), str(number)]) for number in range(4)
    ]
    assert [worker.wait() for worker in workers] == [0] * 4
    fields = {f"f{n}": n for n in range(10)}
    assert read_json(path) == {"wells": {f"A{number}": fields for number in range(4)}}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=2),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
)
DOCUMENTS = st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3)


@given(DOCUMENTS, DOCUMENTS)
def test_all_that_was_merged_is_there(base: dict[str, Any], changes: dict[str, Any]) -> None:
    def check(there: Any, wanted: Any) -> None:
        if isinstance(wanted, dict):
            for name, value in wanted.items():
                check(there[name], value)
        else:
            assert there == wanted

    before = json.dumps(base)
    result = merged(base, changes)
    check(result, changes)
    assert {name: value for name, value in result.items() if name not in changes} == {
        name: value for name, value in base.items() if name not in changes
    }
    assert merged(result, changes) == result
    assert json.dumps(base) == before
