"""Enums of components, made from the configuration."""

from __future__ import annotations

import json
import multiprocessing.reduction
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from polystore.constants import AllComponents, GroupBy, VariableComponents, component_names
from polystore.xdg_paths import get_openhcs_cache_dir

FIVE = ["site", "channel", "z_index", "timepoint", "well"]

CODE = """
import json, sys
from polystore.constants import AllComponents, GroupBy, VariableComponents, component_names
print(json.dumps({
    "all": [m.value for m in AllComponents], "variable": [m.value for m in VariableComponents],
    "group": [m.component for m in GroupBy], "names": component_names(), "toml": "tomllib" in sys.modules,
}))
"""


def listed(**environment: str) -> dict[str, Any]:
    """What a fresh process says, for a user with no configuration file but the one that is given."""
    nowhere = dict.fromkeys(("XDG_CONFIG_HOME", "XDG_CONFIG_DIRS"), environment["XDG_CACHE_HOME"])
    done = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True,
        env={**os.environ, "OPENHCS_CONFIG": "", **nowhere, **environment},
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stderr.splitlines()[-1])
    return dict(json.loads(done.stdout))


def test_the_standard_components() -> None:
    assert [member.value for member in AllComponents] == FIVE
    assert list(component_names()) == FIVE
    assert [member.value for member in VariableComponents] == FIVE[:-1]
    assert [member.name for member in GroupBy] == ["NONE", "SITE", "CHANNEL", "Z_INDEX", "TIMEPOINT"]
    assert GroupBy.NONE.value is None
    assert GroupBy.NONE.component is None
    assert GroupBy("z_index").component == "z_index"
    assert AllComponents("well") is AllComponents.WELL


def test_members_are_documented_and_travel_to_other_processes() -> None:
    for enum in (AllComponents, VariableComponents, GroupBy):
        assert enum.__doc__
        for member in enum:
            sent = bytes(multiprocessing.reduction.ForkingPickler.dumps(member))
            assert multiprocessing.reduction.ForkingPickler.loads(sent) is member


def test_the_seeds_property_survives_the_cache(tmp_path: Path) -> None:
    first = listed(XDG_CACHE_HOME=str(tmp_path))
    assert (tmp_path / "openhcs" / "component_enums.json").exists()
    assert first["group"] == [None, *FIVE[:-1]]
    assert listed(XDG_CACHE_HOME=str(tmp_path)) == first


def test_a_component_is_added_by_the_environment(tmp_path: Path) -> None:
    found = listed(XDG_CACHE_HOME=str(tmp_path), OPENHCS_COMPONENTS="Laser, camera,site")
    assert found["names"] == found["all"] == [*FIVE, "laser", "camera"]
    assert found["variable"] == [*FIVE[:-1], "laser", "camera"]
    assert listed(XDG_CACHE_HOME=str(tmp_path))["names"] == FIVE


def test_a_component_is_added_by_the_configuration_file_and_the_cache_saves_reading_it(
    tmp_path: Path,
) -> None:
    config = tmp_path / "mine.toml"
    config.write_text('[components]\nadded = ["laser"]\n')
    environment = {"XDG_CACHE_HOME": str(tmp_path), "OPENHCS_CONFIG": str(config)}
    first = listed(**environment)
    assert first["names"] == [*FIVE, "laser"]
    assert first["toml"]
    again = listed(**environment)
    assert again == {**first, "toml": False}
    config.write_text('[components]\nadded = ["camera"]\n')
    os.utime(config, (7, 7))
    assert listed(**environment)["names"] == [*FIVE, "camera"]
    (tmp_path / "openhcs" / "component_enums.json").write_text("{")
    assert listed(**environment)["names"] == [*FIVE, "camera"]
    assert listed(XDG_CACHE_HOME=str(tmp_path))["names"] == FIVE


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('[components]\nadded = ["two words"]', "'two words' cannot name a component"),
        ('[components]\nadded = "laser"', "write a list of names"),
        ("components = 3", "write a list of names"),
        ("[components]\nadd = []", "no entry 'add'"),
    ],
)
def test_what_is_no_component_is_refused_with_where_it_stands(tmp_path: Path, text: str, reason: str) -> None:
    config = tmp_path / "config.toml"
    config.write_text(text)
    with pytest.raises(RuntimeError, match=f"SettingsError: {config}.*{reason}"):
        listed(XDG_CACHE_HOME=str(tmp_path), OPENHCS_CONFIG=str(config))


def test_a_wrong_variable_is_named(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="OPENHCS_COMPONENTS: '_x' cannot name a component"):
        listed(XDG_CACHE_HOME=str(tmp_path), OPENHCS_COMPONENTS="laser,_x")


def test_other_names_are_not_there() -> None:
    import polystore.constants

    with pytest.raises(AttributeError, match="no attribute 'Nope'"):
        polystore.constants.Nope  # noqa: B018
    assert get_openhcs_cache_dir().name == "openhcs"
