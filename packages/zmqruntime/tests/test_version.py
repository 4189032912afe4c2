"""The version: from this package's own tags, and in step with what the tree requires of it."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from pathlib import Path

import zmqruntime

PYPROJECT = tomllib.loads(Path(__file__).parents[1].joinpath("pyproject.toml").read_text())


def test_version_is_the_installed_one() -> None:
    assert zmqruntime.__version__ == importlib.metadata.version("zmqruntime")


def test_version_comes_from_tags_of_this_package_only() -> None:
    version = PYPROJECT["tool"]["hatch"]["version"]
    assert version["raw-options"]["git_describe_command"].endswith("--match zmqruntime-v*")
    pattern = re.compile(version["tag-pattern"])
    assert pattern.match("zmqruntime-v1.2.3")["version"] == "1.2.3"  # type: ignore[index]
    assert not pattern.match("polystore-v1.2.3")
    assert not pattern.match("v1.2.3")
