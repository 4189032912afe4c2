"""What the command prints, for people, for programs and as a file to start from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from polystore import config_sources
from polystore._cli import main
from polystore.config import Settings, VFSConfig
from polystore.config_report import report
from polystore.config_sources import effective, sections


@pytest.fixture(autouse=True)
def sections_of_polystore_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests define sections, too."""
    ours = {name: classes for name, classes in sections().items() if name in ("vfs", "polystore")}
    monkeypatch.setattr(config_sources, "_SECTIONS", ours)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration file, and an environment that outranks a line of it."""
    path = tmp_path / "config.toml"
    path.write_text('[polystore]\narena_bytes = "16MiB"\ndurable = true\n[vfs]\n', encoding="utf-8")
    monkeypatch.setenv("OPENHCS_CONFIG", str(path))
    monkeypatch.setenv("POLYSTORE_ARENA_BYTES", "8M")
    return path


def rows(text: str) -> dict[str, list[str]]:
    return {line.split()[0]: line.split()[1:] for line in text.splitlines() if line}


def test_what_holds(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config"]) == 0
    found = rows(capsys.readouterr().out)
    assert found["SETTING"] == ["VALUE"]
    assert found["polystore.arena_bytes"] == ["8MiB"]
    assert found["polystore.durable"] == ["1"]
    assert found["polystore.run"] == ['""']
    assert found["vfs.materialization_backend"] == ["disk"]


def test_and_who_said_so(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--explain"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"configuration file {file}\n")
    (line,) = [line for line in out.splitlines() if line.startswith("polystore.arena_bytes")]
    assert "environment POLYSTORE_ARENA_BYTES" in line
    assert f"16MiB (file {file}), 64MiB (default)" in line
    assert rows(out)["polystore.queue_bytes"] == ["256MiB", "default", "-", "POLYSTORE_QUEUE_BYTES"]


def test_for_programs(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["files"] == [{"path": str(file), "exists": True}]
    (arena,) = [each for each in found["settings"] if each["variable"] == "POLYSTORE_ARENA_BYTES"]
    assert arena == {
        "section": "polystore", "key": "arena_bytes", "value": 8 << 20, "variable": "POLYSTORE_ARENA_BYTES",
        "source": {"level": "environment", "detail": "POLYSTORE_ARENA_BYTES"},
        "hides": [
            {"value": 16 << 20, "level": "file", "detail": str(file)},
            {"value": 64 << 20, "level": "default", "detail": ""},
        ],
    }  # fmt: skip


def test_a_file_to_start_from_says_what_holds(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["config", "--toml"]) == 0
    text = capsys.readouterr().out
    assert '[polystore]\n# max_image_bytes = "1GiB"\narena_bytes = "8MiB"\n' in text
    before = Settings.from_env(), effective(VFSConfig).value
    file.write_text(text.replace("# ", ""), encoding="utf-8")  # defaults and all
    monkeypatch.delenv("POLYSTORE_ARENA_BYTES")
    assert (Settings.from_env(), effective(VFSConfig).value) == before


def test_what_was_ignored_is_said(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("[polystor]\n[components]\n[napari]\nport = 3\n", encoding="utf-8")
    monkeypatch.setenv("POLYSTORE_ARENA_BYTE", "1")
    monkeypatch.setenv("POLYSTORE_SOMETHING_ELSE_ALTOGETHER", "1")
    notes = report().notes
    assert len(notes) == 2
    assert "[polystor] is no table of ours" in notes[0]
    assert notes[1] == "POLYSTORE_ARENA_BYTE is no setting and was ignored; POLYSTORE_ARENA_BYTES is one"
    assert [note.split(": ")[1][:10] for note in report(complete=True).notes[:2]] == [
        "[napari] i",
        "[polystor]",
    ]


def test_a_key_above_every_table_was_ignored(file: Path) -> None:
    file.write_text("arena_bytes = 3\n[polystore]\n", encoding="utf-8")
    assert report().notes == (
        f"{file}: arena_bytes is in no table and was ignored (known tables: vfs, polystore, components)",
    )


def test_an_age_that_is_no_number_was_ignored(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYSTORE_COLORMAP_CACHE_DAYS", "0.5")
    monkeypatch.setenv("POLYSTORE_REGISTRY_CACHE_DAYS", "abc")
    assert report().notes == (
        "POLYSTORE_REGISTRY_CACHE_DAYS='abc' is no number of days and was ignored; 7 days hold",
    )


@pytest.mark.parametrize("by", ["variable", "file"])
def test_a_component_that_cannot_be_is_one_line_and_exit_status_1(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], by: str
) -> None:
    if by == "variable":
        monkeypatch.setenv("OPENHCS_COMPONENTS", "foo bar")
    else:
        file.write_text('[components]\nadded = ["foo bar"]\n', encoding="utf-8")
    assert main(["config"]) == 1
    where = "OPENHCS_COMPONENTS" if by == "variable" else f"{file}: [components] added"
    assert capsys.readouterr().err == (
        f"polystore: {where}: 'foo bar' cannot name a component; write a word such as 'laser'\n"
    )


def test_a_wrong_value_is_one_line_and_exit_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POLYSTORE_DURABLE", "perhaps")
    assert main(["config", "--explain"]) == 1
    taken = capsys.readouterr()
    assert taken.err == "polystore: POLYSTORE_DURABLE: 'perhaps' is not allowed; give 1 or 0\n"
    assert taken.out == ""
