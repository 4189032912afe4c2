"""What became of every plugin that was tried: a real distribution with one of each kind."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

MODULE = """
from polystore.abc import DataSource, StorageBackend
from polystore.backends.memory import MemoryBackend

class Good(MemoryBackend):
    pass

class Half(DataSource):
    def scan(self, folder):
        return []

class Keyless(MemoryBackend):
    pass

class SelfNamed(MemoryBackend):
    _backend_type = "self_named"

class AbstractOne(StorageBackend):
    _backend_type = "abstract_one"

NUMBER = 3
"""

ENTRIES = {
    "good": "their_stores:Good",
    "half": "their_stores:Half",
    "number": "their_stores:NUMBER",
    "gone": "no_such_module:X",
    "extra": "their_extra:X [fast]",
    "disk": "their_stores:Good",
    "twice": "their_stores:Good",
}


def put(site: Path, name: str, entries: dict[str, str], modules: dict[str, str]) -> None:
    info = site / f"{name}-2.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.0\n")
    lines = ["[polystore.backends]", *(f"{key} = {value}" for key, value in entries.items())]
    (info / "entry_points.txt").write_text("\n".join(lines))
    for module, source in modules.items():
        (site / f"{module}.py").write_text(source)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    put(folder, "their-stores", ENTRIES, {"their_stores": MODULE, "their_extra": "import no_such_library"})
    put(folder, "others", {"twice": "others:X"}, {"others": "X = object"})
    return folder


def run(site: Path, *arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "polystore._cli", *arguments] if not arguments[0].startswith("-") else
        [sys.executable, *arguments],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(site), **environment}, cwd=site,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def explained(site: Path) -> list[dict[str, Any]]:
    code = "import sys; from polystore._cli import main; sys.exit(main(['backends', '--explain', '--json']))"
    return list(json.loads(run(site, "-c", code)))


def test_each_says_where_it_comes_from_and_why_it_is_missing(site: Path) -> None:
    rows = explained(site)
    states = {(row["name"], row["state"]) for row in rows}
    assert states >= {
        ("good", "usable"), ("half", "abstract"), ("number", "no class"), ("gone", "import error"),
        ("extra", "missing extra"), ("disk", "usable"), ("disk", "clash"), ("twice", "clash"), ("", "no key"),
        ("self_named", "usable"), ("abstract_one", "abstract"),
    }  # fmt: skip
    problem = {(row["name"], row["state"]): row["problem"] for row in rows}
    assert problem["half", "abstract"] == "implement kind, load"
    assert problem["gone", "import error"].startswith(
        "backend 'gone' (no_such_module:X, their-stores 2.0) needs"
    )
    assert problem["extra", "missing extra"].endswith(
        "needs no_such_library: pip install 'their-stores[fast]'"
    )
    assert "their-stores 2.0" in problem["disk", "clash"]
    assert "others 2.0" in problem["twice", "clash"]
    assert problem["", "no key"] == "set _backend_type, or declare an entry point"
    origins = {row["name"]: row["origin"] for row in rows if row["state"] == "usable"}
    assert origins["good"] == "their-stores 2.0"
    assert origins["self_named"] == "defined in their_stores"
    assert origins["disk"] == "built in"


def test_the_table_for_people_ends_with_the_problems(site: Path) -> None:
    code = "import sys; from polystore._cli import main; sys.exit(main(['backends', '--explain']))"
    lines = run(site, "-c", code).splitlines()
    assert lines[0].split() == ["name", "state", "origin", "target"]
    assert "extra: backend 'extra' needs no_such_library: pip install 'their-stores[fast]'" in lines
    assert "their_stores:Keyless: set _backend_type, or declare an entry point" in lines


def test_a_broken_plugin_is_listed_and_the_others_work(site: Path) -> None:
    code = textwrap.dedent(
        """
        from polystore.base import STORAGE_BACKENDS, storage_registry
        assert {"good", "gone", "extra", "half"} <= set(STORAGE_BACKENDS)
        assert type(storage_registry["good"]).__name__ == "Good"
        assert STORAGE_BACKENDS["disk"].__module__ == "polystore.backends.disk"
        """
    )
    run(site, "-c", code)


def test_no_gpu_leaves_out_what_feeds_viewers(site: Path) -> None:
    code = (
        "from polystore.base import STORAGE_BACKENDS as s;"
        "print('napari_stream' in s, 'disk' in s, len(s) == len(list(s)))"
    )
    assert run(site, "-c", code).split() == ["True", "True", "True"]
    assert run(site, "-c", code, OPENHCS_SUBPROCESS_NO_GPU="1").split() == ["False", "True", "True"]
    assert run(site, "-c", code, OPENHCS_SUBPROCESS_NO_GPU="0").split() == ["True", "True", "True"]


def test_a_store_that_names_itself_is_registered_when_it_is_defined() -> None:
    from polystore.backends import BACKENDS
    from polystore.backends.memory import MemoryBackend
    from polystore.base import STORAGE_BACKENDS, storage_registry
    from polystore.filemanager import FileManager

    class Mine(MemoryBackend):
        _backend_type = "mine_alone"

    try:
        assert STORAGE_BACKENDS["mine_alone"] is Mine
        FileManager().save({"a": 1}, "x.json", "mine_alone")
        assert FileManager().load("x.json", "mine_alone") == {"a": 1}
    finally:
        storage_registry.pop("mine_alone", None)
        BACKENDS.unregister("mine_alone")
        del Mine
        gc.collect()


@pytest.mark.parametrize(("name", "library"), [("zarr", "zarr"), ("cloud", "obstore")])
def test_a_library_that_a_backend_imports_later_is_missed_before(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, library: str
) -> None:
    from importlib.util import find_spec

    from polystore import _explain
    from polystore._cli import main

    asked: list[str] = []

    def without(wanted: str) -> Any:
        asked.append(wanted)
        return None if wanted == library else find_spec(wanted)

    monkeypatch.setattr(_explain, "find_spec", without)
    assert main(["backends", "--explain", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows[name]["state"] == "missing extra"
    assert rows[name]["problem"] == f"backend {name!r} needs {library}: pip install 'polystore[{name}]'"
    assert rows["disk"]["state"] == "usable"
    assert {"zarr", "obstore", "zmqruntime"} <= set(asked)
