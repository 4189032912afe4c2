"""Caches of what takes long to find out: believed only while nothing has changed."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from polystore import registry_cache
from polystore.registry_cache import CacheConfig, RegistryCacheManager, version_of
from polystore.xdg_paths import get_openhcs_cache_dir


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    return tmp_path / "xdg" / "openhcs"


def make(version: str = "1", **config: object) -> RegistryCacheManager:
    return RegistryCacheManager("things", lambda: version, config=CacheConfig(**config))  # type: ignore[arg-type]


def test_values_come_back(folder: Path) -> None:
    manager = make()
    assert manager.load_cache() is None
    assert manager.why_invalid() == "not there"
    assert manager.save_cache({"a": [1, None], "b": "text"})
    assert make().load_cache() == {"a": [1, None], "b": "text"}
    assert manager.why_invalid() == ""
    assert manager.cache_path == folder / "things.json"
    assert manager.cache_path.stat().st_mode & 0o777 == 0o600
    manager.clear_cache()
    manager.clear_cache()
    assert manager.load_cache() is None


def test_values_may_be_what_json_cannot_hold() -> None:
    manager = RegistryCacheManager("sets", lambda: "1", sorted, frozenset)
    manager.save_cache({"a": {3, 1}})
    assert manager.load_cache() == {"a": frozenset({1, 3})}
    manager = RegistryCacheManager("sets", lambda: "1", deserializer=lambda value: value["no such key"])
    assert manager.load_cache() is None


def test_another_version_format_python_or_age_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    make().save_cache({"a": 1})
    assert make("2").why_invalid() == "of version 1"
    assert make(cache_version="2.0").why_invalid() == "in another format"
    now = time.time()
    for later, reason in ((6.9 * 86400, ""), (7.1 * 86400, "too old"), (-60, "too old")):
        monkeypatch.setattr(registry_cache.time, "time", lambda later=later: now + later)
        assert make().why_invalid() == reason
    assert make(max_age_days=0).why_invalid() == "too old"
    monkeypatch.undo()
    make().save_cache({"a": 1})
    monkeypatch.setattr(registry_cache, "_python", lambda: "another")
    assert make().why_invalid() == "of another Python"


def test_a_file_that_has_changed_makes_it_invalid(tmp_path: Path) -> None:
    source = tmp_path / "plugin.py"
    source.write_text("one")
    make().save_cache({"a": 1}, {source: source.stat().st_mtime})
    assert make().load_cache() == {"a": 1}
    os.utime(source, (5, 5))
    assert make().why_invalid() == f"{source} has changed"
    assert make(check_mtimes=False).load_cache() == {"a": 1}
    source.unlink()
    assert make().why_invalid() == f"{source} has gone"


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"3", b"{}", b"\xff", b"[" * 100_000, b'{"cache_version": "1.0", "items": 1}'],
)
def test_a_damaged_file_is_no_cache(content: bytes) -> None:
    make().save_cache({"a": 1})
    make().cache_path.write_bytes(content)
    assert make().load_cache() is None
    assert make().why_invalid()
    make().save_cache({"a": 2})
    assert make().load_cache() == {"a": 2}


def test_the_environment_switches_caches_off(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make().save_cache({"a": 1})
    monkeypatch.setenv("OPENHCS_DISABLE_REGISTRY_CACHE", "1")
    assert make().load_cache() is None
    assert "OPENHCS_DISABLE_REGISTRY_CACHE" in make().why_invalid()
    assert not make().save_cache({"a": 2})
    monkeypatch.setenv("OPENHCS_DISABLE_REGISTRY_CACHE", "0")
    assert make().load_cache() == {"a": 1}


def test_the_folder_may_be_deleted_at_any_time(folder: Path) -> None:
    assert get_openhcs_cache_dir() == folder
    assert folder.stat().st_mode & 0o777 == 0o700
    make().save_cache({"a": 1})
    shutil.rmtree(get_openhcs_cache_dir())
    assert make().load_cache() is None
    assert make().save_cache({"a": 1})
    assert make().load_cache() == {"a": 1}


def test_a_folder_that_cannot_be_made_is_harmless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert not make().save_cache({"a": 1})
    assert make().load_cache() is None
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    assert not make().save_cache({"a": 1})
    assert make().why_invalid() == "this user has no cache folder"


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden"])
def test_a_name_that_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot name a cache"):
        RegistryCacheManager(name)


def test_the_version_of_what_is_installed() -> None:
    from importlib.metadata import version

    assert version_of("polystore") == version("polystore")
    assert version_of("no_such_distribution") == ""
    assert RegistryCacheManager("things").save_cache({})
    content = json.loads(RegistryCacheManager("things").cache_path.read_text())
    assert content["version"] == version("polystore")
