"""The examples of polystore's docs/configuration.md hold, one after the other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from openhcs_viewers.config import (
    STREAMING_CONFIGS,
    FijiEngineConfig,
    FijiLUT,
    FijiStreamingConfig,
    GlobalPipelineConfig,
    NapariColormap,
    NapariDimensionMode,
    NapariStreamingConfig,
)
from polystore.config import Settings, VFSConfig
from polystore.config_sources import effective, variables
from polystore.constants import Backend

PAGE = Path(__file__).parents[2] / "polystore" / "docs" / "configuration.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_the_examples_run() -> None:
    first, second = blocks("python")
    names: dict[str, Any] = {}
    exec(compile(first, str(PAGE), "exec"), names)
    shown = names["found"].value.napari_streaming
    assert shown == NapariStreamingConfig("fire", well_mode="slice", napari_port=5600)  # type: ignore[arg-type]
    assert names["found"].origin("napari_streaming.napari_port").level == "global"
    load, _, mask = names["steps"]
    assert names["orchestrator"].config_of(load).value.napari_streaming.napari_port == 5600
    assert names["orchestrator"].config_of(mask).value.napari_streaming is None
    exec(compile(second, str(PAGE), "exec"), names)
    assert (names["found"].value.objective, names["found"].value.exposure_ms) == ("40x", 50.0)


def test_the_file_says_what_it_seems_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "config.toml"
    file.write_text(blocks("toml")[0], encoding="utf-8")
    monkeypatch.setenv("OPENHCS_CONFIG", str(file))
    assert Settings.from_env() == Settings(arena_bytes=64 << 20, durable=True)
    assert effective(VFSConfig).value == VFSConfig(Backend.ZARR)
    streaming = effective(NapariStreamingConfig).value
    assert (streaming.napari_port, streaming.colormap, streaming.well_mode) == (
        5600, NapariColormap.VIRIDIS, NapariDimensionMode.SLICE
    )  # fmt: skip


def test_one_table_has_how_fiji_shows_and_which_fiji(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[fiji]\nport = 5600\nlut = "Fire"\ndir = "/opt/Fiji.app"\n', encoding="utf-8")
    monkeypatch.setenv("OPENHCS_CONFIG", str(file))
    shown = effective(FijiStreamingConfig).value
    assert (shown.fiji_port, shown.lut) == (5600, FijiLUT.FIRE)
    assert effective(FijiEngineConfig).value.fiji_dir == "/opt/Fiji.app"


def test_every_variable_is_listed() -> None:
    text = PAGE.read_text(encoding="utf-8")
    classes = (Settings, GlobalPipelineConfig, FijiEngineConfig)
    for name in [name for cls in classes for name in variables(cls).values()]:
        shortened = {name.removeprefix(f"OPENHCS_{kind.upper()}") for kind in STREAMING_CONFIGS}
        assert any(f"`{each}`" in text for each in {name, *shortened}), name
