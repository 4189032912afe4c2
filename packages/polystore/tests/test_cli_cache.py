"""The command ``polystore cache``."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from polystore import _scan
from polystore._cli import main
from polystore._discovery import cache_file, find
from polystore.registry_cache import RegistryCacheManager


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(_scan, "SETTLED", -3600.0)
    return tmp_path / "openhcs"


def shown(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, object]]:
    assert main(["cache", "show", "--json"]) == 0
    return {row["file"]: row for row in json.loads(capsys.readouterr().out)}


def test_what_is_kept_is_shown_and_cleared(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    find("polystore.backends")
    RegistryCacheManager("component_enums").save_cache({"a": 1, "b": 2})
    (folder / "leftover.tmp").write_text("")
    rows = shown(capsys)
    points = rows[os.path.basename(cache_file())]
    assert points["kind"] == "entry points"
    assert points["valid"]
    assert int(str(points["entries"])) > 5
    assert (rows["component_enums.json"]["entries"], rows["component_enums.json"]["valid"]) == (2, True)
    assert rows["leftover.tmp"]["reason"] == "not one of ours, or being written"
    assert main(["cache", "show"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == str(folder)
    assert lines[1].split() == ["file", "kind", "age", "entries", "state"]
    assert main(["cache", "clear"]) == 0
    assert capsys.readouterr().out == f"removed 3 files from {folder}\n"
    assert shown(capsys) == {}
    assert main(["cache", "clear"]) == 0


def test_why_a_cache_does_not_hold_is_said(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    find("polystore.backends")
    (site / "new-1.dist-info").mkdir()
    name = os.path.basename(cache_file())
    assert shown(capsys)[name]["reason"] == f"{site}: the folder has changed"
    Path(cache_file()).write_text("nothing")
    assert shown(capsys)[name]["reason"] == "damaged"
    (folder / "entry_points-1.tsv").write_text("")
    assert shown(capsys)["entry_points-1.tsv"]["reason"] == "of another Python or environment"
    RegistryCacheManager("colormap_enum", lambda: "0.0").save_cache({})
    assert shown(capsys)["colormap_enum.json"]["reason"] == "of version 0.0"
    monkeypatch.setenv("OPENHCS_DISABLE_REGISTRY_CACHE", "1")
    assert main(["cache", "show"]) == 0
    assert "switched off" in capsys.readouterr().out


def test_nothing_kept(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "show"]) == 0
    assert capsys.readouterr().out == f"{folder}\nnothing is kept\n"
