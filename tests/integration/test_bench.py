"""The benchmarks run and write what they promise; how fast this machine is today is not tested."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )


def test_protocol_group_writes_rows(tmp_path: Path) -> None:
    done = bench("protocol", "--quick", "--out", str(tmp_path / "new" / "folder"))
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "new" / "folder" / "bench.json").read_text())
    assert set(result) == {"machine", "rows"}
    assert {"cpu", "cores", "kernel", "python", "packages", "load_average"} <= set(result["machine"])
    rows = {row["name"]: row for row in result["rows"]}
    assert all(set(row) == {"name", "value", "unit", "goal", "runs"} for row in rows.values())
    assert rows["protocol.100.encode_decode_over_json"]["goal"] == "<= 0.25"
    assert rows["protocol.100.encode_decode_over_json"]["unit"] == "x"
    assert rows["protocol.100.json"]["goal"] is None
    assert all(row["value"] > 0 and row["runs"] for row in rows.values())
    assert "protocol.100.encode_decode_over_json" in done.stdout
    assert "goals met" in done.stdout


def test_unknown_group_is_named(tmp_path: Path) -> None:
    done = bench("protocl", "--out", str(tmp_path / "out"))
    assert done.returncode == 2
    assert "'protocl'" in done.stderr
    assert "transport, protocol, napari" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.fixture
def rows_module() -> object:
    sys.path.insert(0, str(ROOT))
    try:
        import benchmarks.rows

        return benchmarks.rows
    finally:
        sys.path.remove(str(ROOT))


@pytest.mark.parametrize(
    ("goal", "value", "met", "margin"),
    [
        ("<= 1.10", 1.1, True, 1.0),
        ("<= 1.10", 2.2, False, 0.5),
        (">= 0.90", 0.45, False, 0.5),
        (">= 4.0", 8.0, True, 2.0),
        ("<= 0", 0.0, True, 1.0),
    ],
)
def test_goals(rows_module: object, goal: str, value: float, met: bool, margin: float) -> None:
    parsed = rows_module.Goal.parse(goal)  # type: ignore[attr-defined]
    assert parsed.met(value) is met
    assert parsed.margin(value) == pytest.approx(margin)


def test_goal_that_says_nothing(rows_module: object) -> None:
    with pytest.raises(ValueError, match=r"write '>= 0\.9'"):
        rows_module.Goal.parse("fast")  # type: ignore[attr-defined]
